"""ArrayRecord files: any rows without the rest and without TensorFlow; damage is never silent."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordReader

from lensjax.data import array_records, prepared
from lensjax.data.array_records import StampRecords
from lensjax.data.prepared import folder_of, load, open_rows, prepare
from lensjax.data.stampset import content_digest
from lensjax.schema import ExitCode, LensjaxError

DIGEST = "0123456789abcdef" * 4
REPOSITORY = Path(__file__).parents[2]
SHARD_ROWS = "lensjax.data.lens_stamps.lens_stamps_dataset_builder.SHARD_ROWS"


@pytest.fixture(scope="module")
def train(awkward_set):
    return awkward_set("train", 50)


@pytest.fixture
def root(train, tmp_path, monkeypatch):
    monkeypatch.setattr(SHARD_ROWS, 16)
    for reader in ("array_record", "arrays"):
        prepare({"train": train}, tmp_path, DIGEST, reader)
    return tmp_path


def shards_of(root):
    return sorted(folder_of(root, DIGEST, "array_record").rglob("*.array_record-*"))


# TensorFlow is hidden as if it were not installed; or it is there, and must not be imported.
# (None in sys.modules will not do: TFDS takes any entry for a TensorFlow that is imported.)
CHILD = """
import sys
from importlib.machinery import PathFinder
from pathlib import Path

class Hidden:
    def find_spec(self, name, path=None, target=None):
        gone = {hidden} and name.split(".")[0] == "tensorflow"
        return None if gone else PathFinder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(PathFinder, name)

sys.meta_path[sys.meta_path.index(PathFinder)] = Hidden()
if {hidden}:
    try:
        import tensorflow
    except ImportError:
        pass
    else:
        raise SystemExit("TensorFlow is not hidden")
from lensjax.data import prepared
from lensjax.data.stampset import content_digest
train = prepared.load(Path({source!r}), {digest!r}, "train", "arrays")
if {hidden}:
    assert prepared.resolve_reader("auto") == "arrays"
for root in (Path({source!r}), Path({root!r})):  # one written with TensorFlow there, one here
    prepared.prepare({{"train": train}}, root, {digest!r}, "array_record")
    loaded = prepared.load(root, {digest!r}, "train", "array_record")
    assert content_digest(loaded) == content_digest(train)
    some = prepared.open_rows(root, {digest!r}, "train", "array_record").read([49, 0, 17])
    assert some.stamps.tobytes() == train.stamps[[49, 0, 17]].tobytes()
assert "tensorflow" not in sys.modules
"""


@pytest.mark.parametrize("hidden", [True, False])
def test_neither_reading_nor_writing_needs_tensorflow(root, tmp_path, hidden):
    script = CHILD.format(hidden=hidden, source=str(root), root=str(tmp_path / "r"), digest=DIGEST)
    command, env = [sys.executable, "-c", script], {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr


def test_content_is_that_of_the_other_readers(root, train):
    for reader in ("array_record", "arrays"):
        assert content_digest(load(root, DIGEST, "train", reader)) == content_digest(train)


def test_tfds_reads_the_same_set_as_its_users_do(root, train):
    import tensorflow_datasets as tfds

    folder = folder_of(root, DIGEST, "array_record") / "lens_stamps" / "parquet" / "1.0.1"
    source = tfds.builder_from_directory(folder).as_data_source("train")
    assert len(source) == 50
    for row in (0, 17, 49):  # record k is row k
        example = source[row]
        assert example["row"] == row
        assert example["stamp_id"].decode() == train.table["stamp_id"][row]
        assert example["stamp"].tobytes() == train.stamps[row].tobytes()


@pytest.mark.parametrize("reader", ["array_record", "arrays"])
def test_any_rows_in_any_order(root, train, reader):
    rows = [49, 0, 17, 17, 3]
    reader = open_rows(root, DIGEST, "train", reader)
    some = reader.read(rows)
    assert len(reader) == 50 and some.split == "train"
    assert some.stamps.tobytes() == train.stamps[rows].tobytes()
    for name, column in train.table.items():
        assert some.table[name].tobytes() == column[rows].tobytes(), name
    assert len(reader.read([])) == 0
    for beyond in ([0, 50], [-1]):
        with pytest.raises(IndexError):
            reader.read(beyond)


def test_rows_are_read_without_the_rest(root, train):
    reader = open_rows(root, DIGEST, "train", "array_record")
    first, _, *others = shards_of(root)  # rows 16 to 31 are in the one that stays
    for path in (first, *others):
        path.unlink()
    assert reader.read([31, 16]).stamps.tobytes() == train.stamps[[31, 16]].tobytes()
    with pytest.raises(FileNotFoundError):
        reader.read([32])


def test_few_files_are_held_open(root, train, monkeypatch):
    folder, rows = folder_of(root, DIGEST, "array_record"), np.arange(50)
    records = StampRecords(folder, "parquet", "train")
    assert np.array_equal(records[rows], train.stamps) and len(records._readers) == 4
    monkeypatch.setattr(array_records.resource, "getrlimit", lambda _: (7, 7))
    records = StampRecords(folder, "parquet", "train")
    assert np.array_equal(records[rows], train.stamps) and len(records._readers) == 0


def test_tf_data_has_no_rows_to_offer(root):
    with pytest.raises(LensjaxError, match="end to end") as caught:
        open_rows(root, DIGEST, "train", "tf.data")
    assert caught.value.code == ExitCode.USAGE


# -- damage ---------------------------------------------------------------------------------


def test_a_record_flipped_after_opening_is_never_silent(root, train):
    """The hash of a record is checked at every read; the SHA-256 of its file was, at opening."""
    path = shards_of(root)[1]
    good, rng = path.read_bytes(), np.random.default_rng(5)
    reader, found = open_rows(root, DIGEST, "train", "array_record"), 0
    for _ in range(100):
        bad, bit = bytearray(good), int(rng.integers(len(good) * 8))
        bad[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bad)
        try:
            assert reader.read(range(16, 32)).stamps.tobytes() == train.stamps[16:32].tobytes()
        except LensjaxError as error:
            assert error.code == ExitCode.DATA_INVALID and path.name in error.where
            found += 1
        reader.stamps.close()
    assert found > 50  # the others are bits of the padding between records
    with pytest.raises(LensjaxError, match=f"{path.name}.*differs from the manifest"):
        load(root, DIGEST, "train", "array_record")


@pytest.mark.parametrize("keep", [0, 1000, 70_000])
def test_a_file_cut_short_after_opening_is_named(root, keep):
    reader = open_rows(root, DIGEST, "train", "array_record")
    path = shards_of(root)[2]
    path.write_bytes(path.read_bytes()[:keep])
    assert ArrayRecordReader(str(path)).num_records() == 0  # that is all that the library says
    with pytest.raises(LensjaxError, match=f"{path.name}: 0 records, expected 16") as caught:
        reader.read([40])
    assert caught.value.code == ExitCode.DATA_INVALID


def test_records_of_other_rows_are_refused(root, monkeypatch):
    reader = open_rows(root, DIGEST, "train", "array_record")
    first, second = shards_of(root)[:2]
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)
    with pytest.raises(LensjaxError, match="record of row 3 is of"):
        reader.read([3])


def test_a_missing_split_or_info_is_named(root):
    folder = folder_of(root, DIGEST, "array_record")
    with pytest.raises(LensjaxError, match="no split 'val'"):
        StampRecords(folder, "parquet", "val")
    next(folder.rglob("dataset_info.json")).unlink()
    with pytest.raises(LensjaxError, match="no split 'train'"):
        StampRecords(folder, "parquet", "train")
    with pytest.raises(LensjaxError, match=r"missing .*dataset_info\.json") as caught:
        prepared.load(root, DIGEST, "train", "array_record")
    assert caught.value.code == ExitCode.MISMATCH
