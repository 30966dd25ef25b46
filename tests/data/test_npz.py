"""The npz reader: right on what numpy writes, closed to what is hostile (S1-S4, S9)."""

import gzip
import io
import os
import pickle
import struct
import time
import tracemalloc
import warnings
import zipfile
import zlib

import numpy as np
import pytest

from lensjax.data import npz
from lensjax.data.npz import read_npz
from lensjax.schema import ExitCode, LensjaxError

NAMES = ("image_g", "image_r", "image_z")
REFUSED, DAMAGED = ExitCode.REFUSED_INPUT, ExitCode.DATA_INVALID


def arrays(dtype="<f4"):
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=(64, 64)).astype(dtype) for name in NAMES}


def zipped(members, method=zipfile.ZIP_STORED, change=None):
    """A zip of raw member bytes [(name, bytes)]; `change(info)` may spoil a header."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            if change:
                change(info)
            archive.writestr(info, data)
    return out.getvalue()


def npy(array=None, header=None, body=b""):
    """npy bytes of `array`, or of a forged `header` text."""
    out = io.BytesIO()
    if array is not None:
        np.lib.format.write_array(out, array, allow_pickle=True)
        return out.getvalue()
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


def code_of(blob, allowed=NAMES):
    with pytest.raises(LensjaxError) as caught:
        read_npz(blob, allowed)
    return caught.value.code


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<i2"])
def test_reads_what_numpy_writes(save, wrap, dtype):
    out = io.BytesIO()
    save(out, **arrays(dtype))
    read = read_npz(wrap(out.getvalue()), NAMES)
    for name, expected in arrays(dtype).items():
        assert read[name].dtype == expected.dtype
        np.testing.assert_array_equal(read[name], expected)


def test_reads_fortran_order_version_2_and_streamed_members(tmp_path):
    array = np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4))
    out = io.BytesIO()
    np.lib.format.write_array(out, array, version=(2, 0))

    class Unseekable(io.RawIOBase):  # zipfile then writes sizes after the data
        def __init__(self):
            super().__init__()
            self.data = b""

        def writable(self):
            return True

        def write(self, data):
            self.data += bytes(data)
            return len(data)

    sink = Unseekable()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image_g.npy", out.getvalue())
    np.testing.assert_array_equal(read_npz(sink.data, NAMES)["image_g"], array)


def bomb(size=64 * 2**20):
    return zipped([("image_g.npy", bytes(size))], zipfile.ZIP_DEFLATED)


def lying_bomb():
    """A bomb whose headers claim 100 bytes."""
    blob = bytearray(bomb())
    real = struct.pack("<I", 64 * 2**20)
    assert blob.count(real) >= 2
    return bytes(blob.replace(real, struct.pack("<I", 100)))


@pytest.mark.parametrize("make", [bomb, lying_bomb, lambda: gzip.compress(bytes(64 * 2**20))])
def test_bombs_are_refused_at_once_and_small(make):
    blob = make()
    tracemalloc.start()
    begun = time.process_time()  # the machine may be busy with other things
    assert code_of(blob) == REFUSED
    took, peak = time.process_time() - begun, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert took < 0.1
    assert peak < 16 * 2**20


def test_control_without_the_bounds_the_bomb_unpacks(monkeypatch):
    monkeypatch.setattr(npz, "MAX_MEMBER_BYTES", 2**40)
    tracemalloc.start()
    assert code_of(bomb()) == DAMAGED  # only after 64 MiB of zeros turn out to be no array
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak > 60 * 2**20


@pytest.mark.parametrize(
    "shape", ["(1000000, 1000000)", "(2147483648, 2147483648)", "(-1, 64)", "(64,)", "()"]
)
def test_array_headers_must_be_true(shape):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    blob = zipped([("image_g.npy", npy(header=header, body=bytes(64)))])
    assert code_of(blob) == REFUSED


@pytest.mark.parametrize("header", ["{", "(" * 900, "{'descr': 'O'}", "__import__('os')", "\x00"])
def test_array_headers_must_be_readable(header):
    assert code_of(zipped([("image_g.npy", npy(header=header, body=bytes(64)))])) == REFUSED


class Canary:
    """Unpickling it makes a directory."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (os.mkdir, (self.path,))


def test_pickles_never_load_and_would_fire_with_numpy(tmp_path):
    mark = tmp_path / "fired"
    blob = zipped([("image_g.npy", npy(np.array([Canary(mark)], dtype=object)))])
    assert code_of(blob) == REFUSED
    assert code_of(pickle.dumps(Canary(mark))) == REFUSED
    assert not mark.exists()
    _ = np.load(io.BytesIO(blob), allow_pickle=True)["image_g"]  # the guard off: it fires
    assert mark.exists()


def symlink(info):
    info.create_system = 3
    info.external_attr = 0o120777 << 16


GOOD = npy(np.zeros((64, 64), np.float32))


@pytest.mark.parametrize("name", ["../../x.npy", "/etc/x.npy", "a\\b.npy", "C:x.npy", "..npy"])
def test_member_names_are_no_paths(name):
    assert code_of(zipped([(name, GOOD)])) == REFUSED


def test_links_are_refused():
    assert code_of(zipped([("image_g.npy", GOOD)], change=symlink)) == REFUSED


def test_encrypted_members_are_refused():
    blob = bytearray(zipped([("image_g.npy", GOOD)]))
    blob[blob.rfind(b"PK\x01\x02") + 8] |= 1
    assert code_of(bytes(blob)) == REFUSED


def test_duplicate_members_are_refused_and_numpy_takes_the_last():
    other = npy(np.ones((64, 64), np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of the duplicate
        blob = zipped([("image_g.npy", GOOD), ("image_g.npy", other)])
    assert code_of(blob) == REFUSED
    assert np.load(io.BytesIO(blob))["image_g"].mean() == 1  # the guard off: silently the second


def test_headers_that_disagree_are_refused():
    blob = bytearray(zipped([("image_g.npy", GOOD)], zipfile.ZIP_DEFLATED))
    blob[blob.find(b"PK\x03\x04") + 22] ^= 1  # the size in the local header
    assert code_of(bytes(blob)) == REFUSED


def test_overlapping_members_are_refused():
    blob = bytearray(zipped([("image_g.npy", GOOD), ("image_r.npy", GOOD)]))
    second = blob.rfind(b"PK\x01\x02")
    blob[second + 42 : second + 46] = bytes(4)  # the second's offset: the first's data
    assert code_of(bytes(blob)) == REFUSED


def test_zip64_sizes_in_the_directory_are_refused():
    blob = bytearray(zipped([("image_g.npy", GOOD)]))
    central = blob.rfind(b"PK\x01\x02")
    blob[central + 24 : central + 28] = b"\xff" * 4
    assert code_of(bytes(blob)) == REFUSED


def test_damage_is_told_from_hostility():
    blob = zipped([("image_g.npy", GOOD)])
    flipped = bytearray(blob)
    flipped[500] ^= 1
    assert code_of(bytes(flipped)) == DAMAGED  # CRC
    for cut in (0, 1, 40, len(blob) // 2, len(blob) - 1):
        assert code_of(blob[:cut]) == DAMAGED
    assert code_of(gzip.compress(blob)[:-9]) == DAMAGED
    assert code_of(zipped([("extra.npy", GOOD)])) == DAMAGED
    assert code_of(b"SIMPLE  =") == DAMAGED


def test_control_without_the_crc_a_flipped_bit_is_silent(monkeypatch):
    blob = bytearray(zipped([("image_g.npy", GOOD)]))
    blob[5000] ^= 0x40
    true_crc = zlib.crc32(GOOD)
    monkeypatch.setattr(npz.zlib, "crc32", lambda data: true_crc)
    assert np.count_nonzero(read_npz(bytes(blob), NAMES)["image_g"]) == 1


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_mutations_end_in_documented_ways(method):
    rng = np.random.default_rng(42)
    members = [(f"{name}.npy", npy(x[:8, :8].copy())) for name, x in arrays().items()]
    blob = zipped(members, method)
    outcomes = set()
    for _ in range(500):
        spoilt = bytearray(blob)
        for _ in range(rng.integers(1, 4)):
            kind, at = rng.integers(3), int(rng.integers(len(spoilt) - 4))
            if kind == 0:
                spoilt[at] ^= 1 << int(rng.integers(8))
            elif kind == 1:
                spoilt[at : at + 4] = rng.bytes(4)
            else:
                del spoilt[at : at + int(rng.integers(1, 9))]
        try:
            read_npz(bytes(spoilt), NAMES)
            outcomes.add("read")
        except LensjaxError as error:
            outcomes.add(error.code)
    assert outcomes <= {"read", REFUSED, DAMAGED}
    assert len(outcomes) == 3
