"""D1, D2, D5, D6, D7 and a sound set in every format beside Parquet, each guard also switched
off (D3, D4 and D21 are in the tests of each format)."""

import json
import pickle
from pathlib import Path

import fsspec
import h5py
import numpy as np
import pytest

from lensjax import schema
from lensjax.checks.rows import of_sets
from lensjax.checks.splits import check_splits
from lensjax.data import blocks, cutouts, folders
from lensjax.data.files import FileSource
from lensjax.data.formats import NUMBERS, WORDS
from tests.data.stamp_sets import (
    FORMATS,
    PIXEL_FAULTS,
    Made,
    open_set,
    pairs,
    set_pixel,
    write_index,
    write_set,
)

PROTOCOL = Path(__file__).resolve().parents[2] / "configs/protocols/default.json"
every_format = pytest.mark.parametrize("kind", FORMATS)


@every_format
def test_a_sound_set_is_read_as_it_was_written(tmp_path, kind):
    made = write_set(tmp_path / "root", kind, splits=schema.SPLITS)
    for split in schema.SPLITS:
        np.testing.assert_array_equal(made.pixels(split), pairs(split))
        columns, findings = made.metadata(split)
        assert findings == [] and list(columns) == [*NUMBERS, *WORDS]
        assert set(columns["kind"]) == {"pair"} and len(set(columns["task_id"])) == len(
            columns["ra"]
        )
        assert columns["psf_depth"].tolist() == [23.5] * len(columns["ra"])
        assert (columns["pixel_scale_arcsec"] == 0.262).all()
        assert all(columns["brickname"])


@every_format
def test_blocks_are_the_same_from_a_remote_store_and_from_a_pickled_format(tmp_path, kind):
    made = write_set(tmp_path / "root", kind)
    memory = fsspec.filesystem("memory")
    remote = f"/{tmp_path.name}"
    memory.put(made.root, remote, recursive=True)
    try:
        far = Made(remote, pickle.loads(pickle.dumps(made.form)), memory)
        np.testing.assert_array_equal(far.pixels(), made.pixels())
        assert far.metadata()[1] == []
        assert [far.listed(split)[0].message for split in ["nowhere"]] == [
            "no folder nowhere, expected train, val, test"
        ]
    finally:
        memory.rm(remote, recursive=True)


@every_format
def test_files_are_all_that_a_shard_is_made_of(tmp_path, kind):
    made = write_set(tmp_path / "root", kind)
    files = made.form.files(made.filesystem, made.shard())
    there = [str(path) for path in (tmp_path / "root" / "train").iterdir()]
    assert files == sorted(there)


@every_format
def test_pieces_have_every_row_once(tmp_path, kind):
    made = write_set(tmp_path / "root", kind)
    shard = made.shard()
    pieces = made.form.pieces(made.filesystem, shard)
    assert [row for piece in pieces for row in piece] == list(range(shard.rows))
    assert [len(piece) for piece in blocks.pieces(600)] == [256, 256, 88]
    one = list(made.form.blocks(made.filesystem, shard, range(2, 5)))
    assert [(block.first, block.pixels.shape[1]) for block in one] == [(2, 3)]
    np.testing.assert_array_equal(one[0].pixels, pairs("train")[:, 2:5])


@every_format
@pytest.mark.parametrize("name", PIXEL_FAULTS)
def test_a_bad_pixel_is_named_by_file_row_and_band(tmp_path, kind, name):
    change, message = PIXEL_FAULTS[name]
    made = write_set(tmp_path / "root", kind, change)
    where, what, severity, code = made.fault()
    assert where == f"{made.shard().name} row 4 band r" and what.startswith(message)
    assert (severity, code) == ("QUARANTINE", 10)
    assert ("stamp-4" in what) == (kind != "hdf5")


@every_format
def test_control_without_validation_a_nan_is_passed_on(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(blocks, "validate_planes", lambda planes: [])
    made = write_set(tmp_path / "root", kind, set_pixel(np.nan))
    assert np.isnan(made.pixels()[0, 4, 1, 5, 6])


def short(stamp):
    return stamp[:, :63]


@pytest.mark.parametrize("kind", ["fits", "npz", "npy"])
def test_d5_a_short_stamp_is_refused(tmp_path, kind):
    row, found = write_set(tmp_path / "root", kind, short).faults()[0]
    assert "shape (63, 64), expected (64, 64) or larger" in found.message
    assert (row, found.severity, found.code) == (4, "QUARANTINE", 10)


def test_d5_short_stamps_of_an_hdf5_file_are_refused_with_it(tmp_path):
    (found,) = write_set(tmp_path / "root", "hdf5", every=short).listed()
    assert (found.where, found.severity, found.code) == ("train/part.h5", "ERROR", 10)
    assert found.message.startswith("shape (63, 64), expected (64, 64) or larger")


@pytest.mark.parametrize("kind", ["npz", "npy", "hdf5"])
@pytest.mark.parametrize("dtype", ["int16", "float64"])
def test_d5_numbers_other_than_float32_are_refused(tmp_path, kind, dtype):
    made = write_set(tmp_path / "root", kind, every=lambda stamp: stamp.astype(dtype))
    if kind == "hdf5":
        (found,) = made.listed()
        assert f"{dtype} (6, 3, 64, 64), expected float32" in found.message and found.code == 10
    else:
        found = made.faults()
        assert len(found) == 12  # stamps and controls
        assert found[0][1].message.startswith(f"dtype {dtype}, expected float32")


def test_control_without_its_guards_one_row_is_a_stamp_and_counts_pass(tmp_path, monkeypatch):
    made = write_set(tmp_path / "root", "npy", short)
    monkeypatch.setattr(cutouts, "check_shape", lambda shape: None)
    assert np.ptp(made.pixels()[0, 4], axis=1).max() == 0  # its last row, 64 times
    counts = write_set(tmp_path / "n", "npy", every=lambda x: np.rint(9000 * x + 5000).astype("i2"))
    monkeypatch.setattr(folders, "floats", lambda x: cutouts.Cutout(x, [cutouts.Declared()] * 3))
    assert counts.pixels().max() > 9000  # nanomaggies, for all that anyone can tell


@every_format
def test_d7_a_split_of_one_class_is_refused(tmp_path, kind):
    write_set(tmp_path / "root", kind, splits=schema.SPLITS)
    limits = json.loads(PROTOCOL.read_text())["phase0"]["limits"]

    def verdict():
        form = open_set(tmp_path / "root", kind).form
        source = FileSource(str(tmp_path / "root"), form, tmp_path / "cache")
        rows = of_sets({split: source.read(split, None) for split in schema.SPLITS})
        found = check_splits(rows, limits=limits, proportions=None, simulated=False).findings
        return [one.message for one in found if one.code == 10]

    assert verdict() == []  # the control: both classes
    if kind == "hdf5":
        with h5py.File(tmp_path / "root" / "val" / "part.h5", "a") as file:
            del file["controls"]
            file["kind"] = ["lens"] * 3
    else:
        suffix = {"fits": "_{band}.fits", "npz": ".npz", "npy": ".npy"}[kind]
        lines = [
            {"file": f"stamp-{k}{suffix}", "kind": "lens", "ra": 30.0 + k, "dec": -5.0}
            for k in range(3)
        ]
        write_index(tmp_path / "root" / "val", lines)
    assert verdict() == ["val has 0 negatives"]
