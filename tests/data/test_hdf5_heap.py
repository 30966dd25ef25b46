"""Heaps of words in HDF5 files: whatever h5py writes passes, what libhdf5 would never leave does
not; and that it would not."""

import io
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest

from lensjax.data.hdf5 import Hdf5Format
from lensjax.data.hdf5_heap import check_heaps
from lensjax.data.paths import open_filesystem
from lensjax.data.told import Told
from lensjax.schema import ExitCode, LensjaxError

WORDS = [f"task-{k}" for k in range(300)]


def written(fill, **options):
    out = io.BytesIO()
    with h5py.File(out, "w", **options) as file:
        fill(file)
    return out.getvalue()


def words(file):
    file["task_id"] = WORDS
    file.attrs["bands"] = "grz"


def edited(file):
    """Words deleted, and others in their place."""
    file["long"] = ["x" * 50_000] * 3
    words(file)
    del file["long"]
    file["other"] = ["zz" * k for k in range(100)]


def numbers(file):
    file["pixels"] = np.frombuffer(b"GCOL\x01\0\0\0" * 100, "<f4")


@pytest.mark.parametrize("fill", [words, edited, numbers, lambda file: None])
@pytest.mark.parametrize("options", [{}, {"libver": "latest"}, {"userblock_size": 1024}])
def test_whatever_h5py_writes_passes(fill, options):
    check_heaps(io.BytesIO(written(fill, **options)))


def heap_of(data):
    """Where the heap begins, and its free space."""
    start = data.index(b"GCOL")
    at = start + 16
    while number := int.from_bytes(data[at : at + 2], "little"):
        assert number
        at += 16 + (int.from_bytes(data[at + 8 : at + 16], "little") + 7) // 8 * 8
    return start, at


SIZES = {"none": 0, "less": 16, "negative": 2**64 - 16, "huge": 2**63}


def endless(size=0, *, free=True):
    """A file whose heap has an object of `size`: its free space, or its first word."""
    data = bytearray(written(lambda file: file.attrs.update(bands="grz")))
    start, rest = heap_of(data)
    at = rest if free else start + 16
    data[at + 8 : at + 16] = size.to_bytes(8, "little")
    return bytes(data)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("free", [True, False])
def test_a_heap_that_its_objects_do_not_fill_is_damaged(name, free):
    with pytest.raises(LensjaxError, match="a damaged heap of words") as caught:
        check_heaps(io.BytesIO(endless(SIZES[name], free=free)))
    assert caught.value.code == ExitCode.DATA_INVALID


def test_a_heap_across_two_pieces_is_found(monkeypatch):
    data = endless()
    start = data.index(b"GCOL")
    for piece in (start + 1, start + 4, start + 5):
        monkeypatch.setattr("lensjax.data.hdf5_heap._CHUNK_BYTES", piece)
        with pytest.raises(LensjaxError):
            check_heaps(io.BytesIO(data))


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda data: data[:8] + b"\x07" + data[9:], "unknown superblock"),
        (lambda data: data[:14] + b"\x04" + data[15:], "another width than 8 bytes"),
        (lambda data: b"x" + data[1:], "not an HDF5 file"),
        (lambda data: b"", "not an HDF5 file"),
    ],
)
def test_other_superblocks_are_not_read(spoil, what):
    with pytest.raises(LensjaxError, match=what):
        check_heaps(io.BytesIO(spoil(written(words))))


def test_the_reader_names_the_file(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.h5").write_bytes(endless())
    filesystem, root = open_filesystem(str(tmp_path))
    shards, (found,) = Hdf5Format(Told()).list_split(filesystem, root, "train")
    assert shards == [] and found.where == "train/a.h5" and "heap of words" in found.message


def test_control_libhdf5_never_leaves_such_a_heap(tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(endless())
    read = "import h5py, signal, sys; signal.alarm(2); h5py.File(sys.argv[1]).attrs['bands']"
    done = subprocess.run([sys.executable, "-c", read, path], capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGALRM
