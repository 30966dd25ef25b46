"""Split manifests of roots that are not Parquet: the reader of each format follows them."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lensjax import configuration, schema
from lensjax.data import files as module
from lensjax.data.rows import Coded
from lensjax.data.source import open_source
from lensjax.data.split_manifest import write
from lensjax.data.split_table import Asked, SplitManifest
from lensjax.schema import ExitCode, LensjaxError
from tests.data.stamp_sets import FORMATS, ROWS, SOUND, index_rows, pairs, write_index, write_set

ASKED = Asked(42, (0.7, 0.15, 0.15), 0.05, 24.0, "root", None)


def manifest_of(files):
    """Of `files`, {name: split folder that its rows were written as}: rows go round train, val,
    test, and one in four is set aside."""
    rows = [(name, k, row) for name in files for k, row in enumerate(index_rows(files[name], ""))]
    n, names = len(rows), tuple(sorted(files))
    return SplitManifest(
        ASKED,
        Coded(np.array([names.index(name) for name, _, _ in rows], np.int32), names),
        np.array([k for _, k, _ in rows], np.int32),
        pa.array([f"task-{k}" for k in range(n)]),
        pa.array([f"J{k}" for k in range(n)]),
        Coded(np.arange(n, dtype=np.int32), tuple(f"{k:04d}p000" for k in range(n))),
        np.array([row["ra"] for _, _, row in rows]),
        np.array([row["dec"] for _, _, row in rows]),
        np.array([(0, 1, 2, -1)[k % 4] for k in range(n)], np.int8),
        np.zeros(n, np.int8),
    )


@pytest.fixture
def opened(tmp_path):
    """Opens tmp_path/root by data.source, as main.py does, with the manifest of `files`."""

    def open_root(kind, files, told=None):
        write(tmp_path / "split.parquet", manifest_of(files))
        told = SOUND[told or kind] if kind != "parquet" else None
        fields = {"unit": told.unit, "pixel_scale_arcsec": told.pixel_scale_arcsec} if told else {}
        fields = {name: str(value) for name, value in fields.items() if value}
        fields |= {"bands": told.bands} if told and told.bands else {}
        fields |= {"source": kind, "root": str(tmp_path / "root")}
        fields |= {"manifest": str(tmp_path / "split.parquet"), "cache_dir": str(tmp_path / "c")}
        overrides = [(f"data.{name}", value) for name, value in fields.items()]
        config = configuration.load_config("configs/b3.py:tiny", overrides)
        return open_source(config.data, config.population)

    return open_root


def names(kind):
    return {f"{x}/{'part.h5' if kind == 'hdf5' else 'stamps.csv'}": x for x in sorted(ROWS)}


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_the_manifest_decides_and_not_the_folders(tmp_path, opened, kind):
    write_set(tmp_path / "root", kind, splits=schema.SPLITS)
    source = opened(kind, names(kind))
    rows, findings = source.listing
    assert [one for one in findings if one.severity != "NOTE"] == []
    every = np.concatenate([pairs(split) for split in sorted(ROWS)], axis=1)
    where = [(name, k) for name, split in names(kind).items() for k in range(ROWS[split])]
    for number, split in enumerate(schema.SPLITS):
        made = source.read(split, None)
        taken = np.arange(number, len(where), 4)
        assert len(made) == 2 * len(taken)
        expected = np.moveaxis(every[0, taken], 1, -1)  # the stamps with an arc
        found = made.stamps[made.table["label"] == 1]
        assert {x.tobytes() for x in found} == {x.tobytes() for x in expected}
    assert (rows.split < 0).sum() == len(where) // 4


@pytest.mark.parametrize("kind", ["fits", "npy"])
def test_the_digest_is_of_the_stamps_too(tmp_path, opened, kind, monkeypatch):
    write_set(tmp_path / "root", kind, splits=schema.SPLITS)
    (tmp_path / "root" / "val" / "notes.txt").write_text("of no row")
    source = opened(kind, names(kind))
    there = {str(path.relative_to(tmp_path / "root")) for path in (tmp_path / "root").rglob("*.*")}
    assert set(source.files) == there - {"val/notes.txt"}
    before, stamp = source.digest(), next((tmp_path / "root" / "val").glob("stamp-1*"))

    def change():
        raw = bytearray(stamp.read_bytes())
        raw[-3000] ^= 1
        stamp.write_bytes(raw)

    change()
    assert opened(kind, names(kind)).digest() != before
    monkeypatch.setattr(
        module.FileSource,
        "_files_of",
        lambda self, manifest: {name: f"{self.root}/{name}" for name in manifest.file.names},
    )
    before = opened(kind, names(kind)).digest()
    change()
    assert opened(kind, names(kind)).digest() == before  # harm: another set, and nobody sees it


def test_an_index_may_lie_anywhere_the_root_included(tmp_path, opened):
    write_set(tmp_path / "root", "npy", splits=schema.SPLITS)
    root = tmp_path / "root"
    (root / "deep").mkdir()
    os.rename(root / "train", root / "deep" / "er")
    for path in (root / "val").iterdir():
        os.rename(path, root / path.name)
    files = {"deep/er/stamps.csv": "train", "stamps.csv": "val", "test/stamps.csv": "test"}
    source = opened("npy", files)
    assert [one for one in source.listing[1] if one.severity != "NOTE"] == []
    assert sum(len(source.read(split, None)) for split in schema.SPLITS) == 2 * 9
    assert "stamp-0.npy" in source.files and "deep/er/control-5.npy" in source.files


def changed(root: Path, how: str) -> None:
    if how == "row less":
        write_index(root / "val", index_rows("val", ".npy")[:-1])
    elif how == "moved":
        write_index(root / "val", index_rows("val", ".npy")[::-1])
    elif how == "gone":
        (root / "val" / "stamps.csv").unlink()
    else:
        (root / "val" / "stamps.csv").write_text("file,row\na.npy,one\n")


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [
        ("row less", 12, "holds 2 rows, the split manifest 3 of it"),
        ("moved", 12, "row 0: is at another ra, dec than in the split manifest"),
        ("gone", 10, "no stamps.csv"),
        ("damaged", 10, "row 0: column 'row' is 'one', expected a number"),
    ],
)
def test_an_index_that_is_another_is_noticed(tmp_path, opened, how, code, words):
    write_set(tmp_path / "root", "npy", splits=schema.SPLITS)
    changed(tmp_path / "root", how)
    errors = [x for x in opened("npy", names("npy")).listing[1] if x.severity == "ERROR"]
    assert [int(one.code) for one in errors] == [code]
    assert errors[0].where.startswith("val/stamps.csv")
    assert words in f"{errors[0].where}: {errors[0].message}"


@pytest.mark.parametrize(("made", "source"), [("npy", "parquet"), ("hdf5", "npy"), ("npz", "hdf5")])
def test_a_manifest_of_another_format_is_refused_at_once(tmp_path, opened, made, source):
    write_set(tmp_path / "root", made, splits=schema.SPLITS)
    with pytest.raises(LensjaxError, match=f"data.source={source} does not read") as caught:
        opened(source, names(made))
    assert caught.value.code == ExitCode.USAGE and "--config.data.source" in caught.value.remedy


def test_a_manifest_without_a_root_is_refused(tmp_path):
    with pytest.raises(LensjaxError, match="no root is given") as caught:
        configuration.load_config("configs/b3.py:tiny", [("data.manifest", "split.parquet")])
    assert caught.value.code == ExitCode.USAGE
