"""Split manifests: read as written, and refused where they are hostile, damaged or edited."""

import errno
import json
from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lensjax.data import split_manifest, split_table
from lensjax.data.rows import Coded
from lensjax.data.split_manifest import KEY, read, write
from lensjax.data.split_table import Asked, SplitManifest, content_digest
from lensjax.schema import ExitCode, LensjaxError

ASKED = Asked(42, (0.7, 0.15, 0.15), 0.05, 24.0, "stamps", {"psf_bin": [1.0, 1.1, 1.2]})
FILES = ("train/a.parquet", "val/b.parquet")


@pytest.fixture
def manifest():
    """Forty rows of two files, in no order."""
    rng = np.random.default_rng(1)
    order = rng.permutation(40)
    split = rng.integers(-1, 3, 40).astype(np.int8)
    made = SplitManifest(
        ASKED,
        Coded(np.repeat(np.array([0, 1], np.int32), 20), FILES),
        np.tile(np.arange(20, dtype=np.int32), 2),
        pa.array([f"task-{k}é" for k in range(40)]),
        pa.array([f"J{k // 2:05d}" for k in range(40)]),
        Coded(rng.integers(0, 3, 40).astype(np.int32), ("0002p000", "0000p000", "0005m002")),
        rng.uniform(0, 360, 40),
        rng.uniform(-90, 90, 40),
        split,
        np.where(split < 0, 0, rng.integers(0, 3, 40)).astype(np.int8),
    )
    return shuffled(made, order)


def shuffled(made, order):
    columns = {
        name: getattr(made, name)[order] for name in ("row", "ra", "dec", "split", "unpaired")
    }
    columns |= {name: getattr(made, name).take(pa.array(order)) for name in ("task_id", "lrg_id")}
    columns |= {
        name: Coded(getattr(made, name).code[order], getattr(made, name).names)
        for name in ("file", "brick")
    }
    return replace(made, **columns)


def failure(call, *args):
    with pytest.raises(LensjaxError) as caught:
        call(*args)
    return caught.value


@pytest.fixture
def crafted(manifest, tmp_path):
    """Writes a manifest's columns and metadata, changed in some way and with no check made, and
    says how reading it ends."""

    def craft(change=lambda columns: columns, told=lambda told: told, **options):
        made = split_table.in_order(manifest)
        text = {"format": 1, "rows": 40, "digest": content_digest(made), **asdict(made.asked)}
        columns = {
            name: column.to_pylist()
            for name, column in zip(
                split_manifest._COLUMNS, split_manifest._table(made).itercolumns(), strict=True
            )
        }
        columns["row"] = pa.array(columns["row"], pa.int32())
        table = pa.table(change(columns))
        text = told(text)
        path = tmp_path / "crafted.parquet"
        plain = {"compression": "NONE", "write_page_checksum": True}
        with pq.ParquetWriter(path, table.schema, **{**plain, **options}) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata(
                {KEY.decode(): text if text is None else json.dumps(text)}
            )
        return failure(read, str(path))

    return craft


def put(name, row, value):
    """Puts `value` into a row of a column."""

    def change(columns):
        values = list(columns[name]) if name != "row" else columns[name].to_pylist()
        values[row] = value
        columns[name] = pa.array(values, pa.int32()) if name == "row" else values
        return columns

    return change


def test_what_is_written_is_read_in_order_and_with_the_same_digest(manifest, tmp_path):
    digest = write(tmp_path / "a.parquet", manifest)
    found = read(str(tmp_path / "a.parquet"))
    assert found.asked == ASKED and content_digest(found) == digest and len(found) == 40
    assert found.file.names == FILES and found.brick.names == ("0000p000", "0002p000", "0005m002")
    np.testing.assert_array_equal(found.row, np.tile(np.arange(20), 2))
    order = np.lexsort([manifest.row, manifest.file.code])
    for name in ("ra", "dec", "split", "unpaired"):
        np.testing.assert_array_equal(getattr(found, name), getattr(manifest, name)[order])
    assert found.task_id.to_pylist() == [f"task-{k}é" for k in range(40)]
    assert found.lrg_id.to_pylist() == [f"J{k // 2:05d}" for k in range(40)]


def test_a_name_that_stands_twice_is_one(manifest, tmp_path):
    names = ("0000p000", "0002p000", "0000p000")
    twice = replace(manifest, brick=Coded(manifest.brick.code, names))
    write(tmp_path / "a.parquet", twice)
    assert read(str(tmp_path / "a.parquet")).brick.names == ("0000p000", "0002p000")


def test_anybody_reads_the_columns(manifest, tmp_path):
    write(tmp_path / "a.parquet", manifest)
    file = pq.ParquetFile(tmp_path / "a.parquet", page_checksum_verification=True)
    names = ["file", "row", "task_id", "lrg_id", "brick", "ra", "dec", "split", "unpaired"]
    assert file.schema_arrow.names == names
    words = set(file.read()["split"].to_pylist()), set(file.read()["unpaired"].to_pylist())
    assert words == ({"", "train", "val", "test"}, {"", "stamp", "control"})
    told = json.loads(file.metadata.metadata[KEY])
    assert (told["format"], told["rows"], told["seed"], told["root"]) == (1, 40, 42, "stamps")


def test_the_order_of_rows_changes_no_byte(manifest, tmp_path):
    for name, order in (("a", np.arange(40)), ("b", np.arange(40)[::-1])):
        write(tmp_path / f"{name}.parquet", shuffled(manifest, order))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_a_full_disk_leaves_the_old_file_and_no_other(manifest, tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    write(path, manifest)
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(split_manifest.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(path, replace(manifest, asked=replace(ASKED, seed=43)))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


NAMES = {
    "../../etc/passwd": ExitCode.REFUSED_INPUT,
    "/etc/passwd": ExitCode.REFUSED_INPUT,
    "train/../../x.parquet": ExitCode.REFUSED_INPUT,
    "s3://bucket/x.parquet": ExitCode.REFUSED_INPUT,
    "..\\x.parquet": ExitCode.REFUSED_INPUT,
    "": ExitCode.REFUSED_INPUT,
    "train//a.parquet": ExitCode.DATA_INVALID,
    "./train/a.parquet": ExitCode.DATA_INVALID,
}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_outside_the_root_is_refused(crafted, manifest, tmp_path, name):
    error = crafted(put("file", 3, name))
    assert error.code == NAMES[name] and repr(name) in error.what
    other = replace(manifest, file=Coded(manifest.file.code, (name, "z.parquet")))
    assert failure(write, tmp_path / "a.parquet", other).code == NAMES[name]
    assert not (tmp_path / "a.parquet").exists()


def test_without_the_check_it_would_be_read(crafted, monkeypatch):
    monkeypatch.setattr(split_table, "leads_out", lambda name: False)
    monkeypatch.setattr(split_manifest, "content_digest", lambda manifest: "same")
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        crafted(put("file", 3, "../../etc/passwd"), lambda told: {**told, "digest": "same"})


INVALID = {
    "unknown word 'trian' in column split": put("split", 0, "trian"),
    "unknown word 'both' in column unpaired": put("unpaired", 0, "both"),
    "negative row (train/a.parquet row -1)": put("row", 0, -1),
    "file and row are there twice (train/a.parquet row 6)": put("row", 5, 6),
    "ra is not finite": put("ra", 2, np.nan),
    "dec outside -90..90": put("dec", 2, 90.5),
    "brick is empty": put("brick", 1, ""),
    "lrg_id is empty": put("lrg_id", 1, ""),
    "column task_id holds nulls": put("task_id", 1, None),
    "column split holds nulls": put("split", 1, None),
    "has the columns": lambda columns: {**columns, "extra": columns["ra"]},
    "expected ['file', 'row', 'task_id'": lambda columns: {
        k: v for k, v in columns.items() if k != "dec"
    },
    "column row is": lambda columns: {**columns, "row": [str(k) for k in range(40)]},
    "holds 39 rows": lambda columns: (
        {name: list(x)[:39] for name, x in columns.items()} | {"row": columns["row"][:39]}
    ),
}


@pytest.mark.parametrize("words", INVALID)
def test_what_cannot_be_is_named(crafted, words):
    error = crafted(INVALID[words])
    assert error.code == ExitCode.DATA_INVALID and words in str(error)
    assert "python -m lensjax.data split" in error.remedy


def test_a_row_of_the_guard_band_gives_nothing_to_unpaired_runs(manifest, tmp_path):
    both = replace(manifest, unpaired=np.ones(40, np.int8))
    error = failure(write, tmp_path / "a.parquet", both)
    assert error.code == ExitCode.DATA_INVALID and "in no split, but in unpaired" in str(error)


EDITED = {
    "a row to another split": (put("split", 7, "val"), lambda told: told),
    "a position": (put("ra", 7, 1.0), lambda told: told),
    "an id": (put("task_id", 7, "other"), lambda told: told),
    "the seed": (lambda columns: columns, lambda told: {**told, "seed": 7}),
    "the proportions": (lambda columns: columns, lambda told: {**told, "proportions": [1, 0, 0]}),
}


@pytest.mark.parametrize("what", EDITED)
def test_an_edited_manifest_is_another(crafted, what):
    error = crafted(*EDITED[what])
    assert error.code == ExitCode.MISMATCH and "edited" in error.what


def test_without_the_digest_an_edited_row_goes_unseen(crafted, monkeypatch):
    monkeypatch.setattr(split_manifest, "content_digest", lambda manifest: "same")
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        crafted(put("ra", 7, 1.0), lambda told: {**told, "digest": "same"})


METADATA = {
    "no key": lambda told: {"format": 1},
    "another format": lambda told: {**told, "format": 2},
    "an unknown key": lambda told: {**told, "more": 1},
    "no list": lambda told: {**told, "proportions": 0.7},
    "two shares": lambda told: {**told, "proportions": [0.7, 0.3]},
    "infinity": lambda told: {**told, "guard_band_deg": float("inf")},
    "a word": lambda told: {**told, "seed": "42"},
    "edges": lambda told: {**told, "bin_edges": {"psf_bin": ["x"]}},
    "no object": lambda told: [told],
}


@pytest.mark.parametrize("what", METADATA)
def test_metadata_that_is_none(crafted, what):
    error = crafted(told=METADATA[what])
    assert error.code == ExitCode.DATA_INVALID
    assert "metadata is not that of a split manifest" in error.what


def test_what_is_packed_is_refused_before_it_is_unpacked(crafted):
    error = crafted(compression="zstd")
    assert error.code == ExitCode.REFUSED_INPUT and "compressed" in error.what


def test_more_text_than_the_file_is_refused(crafted):
    """A long id, stored once and meant for every row."""
    error = crafted(lambda columns: {**columns, "task_id": ["x" * 100_000] * 40})
    assert error.code == ExitCode.REFUSED_INPUT and "more text than the file" in error.what


def test_more_rows_than_bytes_are_refused(crafted):
    """A row for a few bits: all rows alike, stored as their number."""

    def many(columns):
        columns = {name: list(x)[:1] * 200_000 for name, x in columns.items() if name != "row"}
        return {
            name: pa.array([0] * 200_000, pa.int32()) if name == "row" else columns[name]
            for name in split_manifest._COLUMNS
        }

    error = crafted(many, lambda told: {**told, "rows": 200_000}, use_dictionary=True)
    assert error.code == ExitCode.REFUSED_INPUT and "claims 200000 rows" in error.what


@pytest.mark.parametrize("kept", [0, 4, 0.5, 0.99])
def test_a_truncated_or_absent_file_is_named(manifest, tmp_path, kept):
    path = tmp_path / "a.parquet"
    assert failure(read, str(path)).code == ExitCode.DATA_INVALID
    write(path, manifest)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if kept < 1 else kept])
    error = failure(read, str(path))
    assert error.code == ExitCode.DATA_INVALID and str(path) in str(error)


def test_another_parquet_file_is_no_manifest(tmp_path):
    pq.write_table(pa.table({"ra": [1.0]}), tmp_path / "a.parquet")
    assert "is no split manifest" in str(failure(read, str(tmp_path / "a.parquet")))


def test_mutations_end_as_documented_or_change_nothing(manifest, tmp_path):
    write(tmp_path / "a.parquet", manifest)
    whole, digest = (
        (tmp_path / "a.parquet").read_bytes(),
        content_digest(read(str(tmp_path / "a.parquet"))),
    )
    rng, codes = np.random.default_rng(0), []
    path = tmp_path / "b.parquet"
    for _ in range(300):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place] ^= 1 << rng.integers(0, 8)
        path.write_bytes(data)
        try:
            assert content_digest(read(str(path))) == digest
        except LensjaxError as error:
            codes.append(error.code)
    assert set(codes) <= {10, 12, 17} and len(codes) > 250


def test_of_file_gives_the_rows_of_a_file_in_their_order(manifest, tmp_path):
    write(tmp_path / "a.parquet", manifest)
    found = read(str(tmp_path / "a.parquet"))
    mine = slice(20, 40)
    split, unpaired = found.of_file("val/b.parquet", found.ra[mine], found.dec[mine])
    np.testing.assert_array_equal(split, found.split[mine])
    np.testing.assert_array_equal(unpaired, found.unpaired[mine])
    assert failure(found.of_file, "c.parquet", found.ra, found.dec).code == ExitCode.MISMATCH
    short = failure(found.of_file, "val/b.parquet", found.ra[:19], found.dec[:19])
    assert short.code == ExitCode.MISMATCH and "holds 19 rows" in str(short)
    other = found.ra[mine].copy()
    other[[4, 5]] = other[[5, 4]]
    moved = failure(found.of_file, "val/b.parquet", other, found.dec[mine])
    assert moved.code == ExitCode.MISMATCH and "val/b.parquet row 4" in str(moved)
