"""Folders of npz and of npy files: what they may hold, and what is refused (D3, D4, D21; S1-S3).
D1, D2, D5, D6 and D7 are in test_stamp_faults.py."""

import gzip
import io
import os
import pickle
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lensjax.data import folders, reading
from lensjax.data.cutouts import cut
from lensjax.data.told import Told
from lensjax.schema import ExitCode
from tests.data.stamp_sets import open_set, pairs, write_index, write_set

HOSTS = Path(__file__).resolve().parents[3] / "shared" / "data" / "ps1_hosts" / "hosts.npz"
TOLD = {"unit": "nanomaggy", "pixel_scale_arcsec": 0.262}


def stamp_file(made, kind, row=4):
    return Path(made.root) / "train" / f"stamp-{row}.{kind}"


def npy(header, body=b""):
    """npy bytes with a forged header text."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


def header(shape, descr="<f4", fortran=False):
    return f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}"


# -- npz ----------------------------------------------------------------------------------------


def test_d3_a_missing_band_is_named(tmp_path):
    where, what, severity, code = write_set(tmp_path / "r", "npz", lambda x: x[:2]).fault()
    assert where == "train/stamps.csv row 4 band z" and (severity, code) == ("QUARANTINE", 10)
    assert what == "missing band z (has g, r; expected g, r, z) (stamp-4.npz)"


def test_control_without_its_check_a_missing_band_is_a_traceback(tmp_path, monkeypatch):
    made = write_set(tmp_path / "r", "npz", lambda x: x[:2])
    monkeypatch.setattr(folders, "band_planes", lambda declared, told, planes: (0, 1, 2))
    with pytest.raises(KeyError, match="image_z"):
        made.fault()


def test_the_legacy_member_needs_to_be_told_its_bands(tmp_path):
    made = write_set(tmp_path / "r", "npz")
    for name, member in zip(("stamp", "control"), pairs("train"), strict=True):
        for k, stamp in enumerate(member):
            np.savez(tmp_path / "r" / "train" / f"{name}-{k}.npz", img=stamp)
    (found,) = made.metadata()[1]
    assert (found.severity, found.code, found.where) == ("ERROR", 10, "train/stamps.csv row 0")
    assert "no bands" in found.message and "--config.data.bands is not given" in found.message
    told = open_set(tmp_path / "r", "npz", Told(**TOLD, bands="grz"))
    np.testing.assert_array_equal(told.pixels(), pairs("train"))
    swapped = open_set(tmp_path / "r", "npz", Told(**TOLD, bands="zrg"))  # D4
    assert len(swapped.faults()) == 12
    assert "band-order mismatch: 'zrg' declared, expected 'grz'" in swapped.faults()[0][1].message


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"img": np.zeros((3, 64, 64), "f4"), "image_g": np.zeros((64, 64), "f4")}, "beside"),
        ({"img": np.zeros((64, 64), "f4")}, "no bands"),
        ({"image_g": np.zeros((64, 64), "f4"), "extra": np.zeros(3)}, "unexpected member"),
        ({"image_" + b: np.zeros((2, 64, 64), "f4") for b in "grz"}, "shape (2, 64, 64)"),
    ],
)
def test_other_members_are_refused(tmp_path, arrays, message):
    made = write_set(tmp_path / "r", "npz")
    np.savez(stamp_file(made, "npz"), **arrays)
    _, what, severity, code = made.fault()
    assert message in what and (severity, code) == ("QUARANTINE", 10)


def test_d21_gzip_compressed_and_big_endian_npz_are_read_alike(tmp_path):
    made = write_set(tmp_path / "r", "npz")
    bands = {
        f"image_{b}": x.astype(">f4") for b, x in zip("grz", pairs("train")[0, 4], strict=True)
    }
    out = io.BytesIO()
    np.savez_compressed(out, **bands)
    stamp_file(made, "npz").write_bytes(gzip.compress(out.getvalue()))
    np.testing.assert_array_equal(made.pixels(), pairs("train"))


def bomb():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image_g.npy", bytes(64 * 2**20))
    return out.getvalue()


class Canary:
    """Unpickling it makes a directory."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("make", [bomb, lambda: gzip.compress(bytes(64 * 2**20))])
@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_s1_bombs_are_refused_at_once(tmp_path, make, kind):
    made = write_set(tmp_path / "r", kind)
    blob = make()
    stamp_file(made, kind).write_bytes(blob)
    tracemalloc.start()
    begun = time.perf_counter()
    _, what, severity, code = made.fault()
    took, peak = time.perf_counter() - begun, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert took < 2 and peak < 60 * 2**20
    if blob[:2] == b"PK" and kind == "npy":
        assert (severity, code) == ("QUARANTINE", 10) and "not an npy array" in what
    else:
        assert (severity, code) == ("ERROR", 17)


def test_control_without_the_bound_a_gzip_unpacks(tmp_path, monkeypatch):
    made = write_set(tmp_path / "r", "npy")
    stamp_file(made, "npy").write_bytes(gzip.compress(bytes(96 * 2**20)))
    monkeypatch.setattr(reading, "MAX_PACKED_BYTES", 2**27)
    tracemalloc.start()
    assert made.fault()[3] == 10  # only after 96 MiB of zeros turn out to be no array
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak > 90 * 2**20


@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_s3_pickles_never_load(tmp_path, kind):
    made, mark = write_set(tmp_path / "r", kind), tmp_path / "fired"
    save = np.save if kind == "npy" else lambda path, array: np.savez(path, image_g=array)
    save(stamp_file(made, kind), np.array([Canary(mark)], dtype=object))
    assert made.fault()[2:] == ("ERROR", 17)
    stamp_file(made, kind).write_bytes(pickle.dumps(Canary(mark)))
    assert made.fault()[3] in (10, 17)
    assert not mark.exists()
    np.save(tmp_path / "x.npy", np.array([Canary(mark)], dtype=object))
    np.load(tmp_path / "x.npy", allow_pickle=True)  # the guard off: it fires
    assert mark.exists()


# -- npy ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["first", "last", "stack", "stack last", "fortran", "big"])
def test_layouts_of_npy_files(tmp_path, layout):
    made = write_set(tmp_path / "r", "npy")
    stamps, controls = pairs("train")
    folder = Path(made.root) / "train"
    if "stack" in layout:
        last = -1 if "last" in layout else 1
        np.save(folder / "all.npy", np.moveaxis(np.concatenate([stamps, controls]), 1, last))
        rows = [{"file": "all.npy", "row": k, "control_row": 6 + k} for k in range(6)]
        write_index(folder, rows)
    else:
        change = {
            "first": lambda x: x,
            "last": lambda x: np.moveaxis(x, 0, -1),
            "fortran": lambda x: np.asfortranarray(np.moveaxis(x, 0, -1)),
            "big": lambda x: x.astype(">f4"),
        }[layout]
        for k in range(6):
            np.save(folder / f"stamp-{k}.npy", change(stamps[k]))
    np.testing.assert_array_equal(made.pixels(), pairs("train"))


@pytest.mark.parametrize(
    ("told", "field"),
    [
        (Told(pixel_scale_arcsec=0.262, bands="grz"), "unit"),
        (Told(unit="nanomaggy", bands="grz"), "pixel_scale_arcsec"),
        (Told(**TOLD), "bands"),
        (Told(unit="counts/s", pixel_scale_arcsec=0.262, bands="grz"), "zero_point"),
    ],
)
def test_what_an_npy_does_not_say_must_be_told(tmp_path, told, field):
    write_set(tmp_path / "r", "npy")
    (found,) = open_set(tmp_path / "r", "npy", told).metadata()[1]
    assert (found.severity, found.code) == ("ERROR", ExitCode.DATA_INVALID)
    assert f"--config.data.{field} is not given" in found.message


def test_d4_bands_told_in_another_order_are_refused(tmp_path):
    write_set(tmp_path / "r", "npy")
    found = open_set(tmp_path / "r", "npy", Told(**TOLD, bands="rgz")).faults()
    assert len(found) == 12 and {one.code for _, one in found} == {10}
    assert "band-order mismatch: 'rgz' declared, expected 'grz'" in found[0][1].message


def test_d4_control_without_the_check_bands_are_exchanged_unseen(tmp_path, monkeypatch):
    write_set(tmp_path / "r", "npy", every=lambda x: x[::-1])
    monkeypatch.setattr(folders, "band_planes", lambda declared, told, planes: (0, 1, 2))
    made = open_set(tmp_path / "r", "npy", Told(**TOLD, bands="zrg"))
    np.testing.assert_array_equal(made.pixels(), pairs("train")[:, :, ::-1])


BODY = bytes(4 * 3 * 64 * 64)


@pytest.mark.parametrize(
    ("blob", "message", "code"),
    [
        (npy(header("(1000000, 3, 1000, 1000)"), BODY), "claims", 17),
        (npy(header("(2147483648, 2147483648)"), BODY), "claims", 17),
        (npy(header("(-1, 64, 64)"), BODY), "negative side", 17),
        (npy(header("(3, 64, 64)", "|O"), BODY), "pickled objects", 17),
        (npy("__import__('os').system('x')", BODY), "cannot be read", 17),
        (npy(header("(3, 64, 64)"), BODY[:-4]), "truncated: ", 10),
        (npy(header("(3, 64, 64)"), BODY + b"x"), "bytes, ", 10),
        (npy(header("(64, 64)"), bytes(4 * 64 * 64)), "shape (64, 64), expected (3, 64, 64)", 10),
        (npy(header("()"), bytes(4)), "shape (), expected (3, 64, 64)", 10),
        (npy(header("(0, 3, 64, 64)")), "row 0 of an npy file that has 0", 10),
        (npy(header("(2, 3, 64, 64)", fortran=True), 2 * BODY), "Fortran order", 10),
        (b"SIMPLE  =", "not an npy array", 10),
        (b"", "not an npy array", 10),
    ],
)
def test_s2_headers_must_be_true(tmp_path, blob, message, code):
    made = write_set(tmp_path / "r", "npy")
    stamp_file(made, "npy").write_bytes(blob)
    begun = time.perf_counter()
    _, what, severity, found = made.fault()
    assert time.perf_counter() - begun < 1
    assert message in what and found == code
    assert severity == ("ERROR" if code == 17 else "QUARANTINE")


def test_control_without_the_check_a_claim_is_believed(tmp_path, monkeypatch):
    made = write_set(tmp_path / "r", "npy")
    stamp_file(made, "npy").write_bytes(npy(header("(3, 64, 64)"), BODY[:-4]))
    unchecked = lambda self, start, count: self._head[start : start + count]  # noqa: E731
    monkeypatch.setattr(reading.Bytes, "hold", lambda self, end: None)
    monkeypatch.setattr(reading.Bytes, "read", unchecked)
    with pytest.raises(ValueError, match="reshape"):
        made.fault()


def test_a_row_beyond_the_file_is_named(tmp_path):
    made = write_set(tmp_path / "r", "npy")
    np.save(Path(made.root) / "train" / "all.npy", pairs("train")[0])
    rows = [{"file": "all.npy", "row": k, "kind": "ring"} for k in (0, 6)]
    write_index(Path(made.root) / "train", rows)
    ((row, one),) = made.faults()
    assert (row, one.message) == (1, "row 6 of an npy file that has 6 (all.npy)")


# -- real galaxies ------------------------------------------------------------------------------


@pytest.mark.skipif(not HOSTS.is_file(), reason=f"{HOSTS} is not there")
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_117_hosts_are_read_as_numpy_reads_them(tmp_path, kind):
    with np.load(HOSTS, allow_pickle=False) as hosts:
        stamps, ra, dec = hosts["stamps"], hosts["ra"], hosts["dec"]
        scale = float(hosts["pixel_scale_arcsec"])
    folder = tmp_path / "r" / "train"
    folder.mkdir(parents=True)
    rows = [
        {"file": "all.npy", "row": k, "kind": "control", "ra": ra[k], "dec": dec[k]}
        for k in range(len(stamps))
    ]
    if kind == "npy":
        np.save(folder / "all.npy", stamps)
    else:
        for k, stamp in enumerate(stamps):
            rows[k].update(file=f"{k}.npz", row="")
            np.savez(
                folder / f"{k}.npz", **{f"image_{b}": stamp[..., i] for i, b in enumerate("grz")}
            )
    write_index(folder, rows)
    told = Told(unit="nanomaggy", pixel_scale_arcsec=scale, bands="grz")
    made = open_set(tmp_path / "r", kind, told)
    np.testing.assert_array_equal(made.pixels()[0], cut(np.moveaxis(stamps, -1, 1)))
    columns, findings = made.metadata()
    assert findings == [] and (columns["pixel_scale_arcsec"] == scale).all()
    np.testing.assert_array_equal(columns["ra"], ra)
    assert set(columns["kind"]) == {"control"}
