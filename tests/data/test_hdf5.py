"""HDF5 files: layouts, columns and attributes, D3, D4, D21, and what is hostile (S1-S3, S5, S8).
D1, D2, D5, D6 and D7 are in test_stamp_faults.py."""

import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from pathlib import Path

import fsspec
import h5py
import numpy as np
import pytest

from lensjax.data import hdf5 as hdf5_module
from lensjax.data import hdf5_file
from lensjax.data.cutouts import cut
from lensjax.data.told import Told
from tests.data.stamp_sets import Made, link_out, open_set, pairs, write_set

HOSTS = Path(__file__).resolve().parents[3] / "shared" / "data" / "ps1_hosts" / "hosts.npz"
LOCAL = fsspec.filesystem("file")
DECLARED = {"unit": "nanomaggy", "pixel_scale_arcsec": 0.262, "bands": "grz"}


def changed(tmp_path, change, told=None, **how) -> Made:
    """A set whose train file `change(file)` has changed."""
    made = write_set(tmp_path / "r", "hdf5", **how)
    with h5py.File(tmp_path / "r" / "train" / "part.h5", "a") as file:
        change(file)
    return open_set(made.root, "hdf5", told)


def written(tmp_path, told=None, *, stamps=None, attributes=DECLARED, **datasets) -> Made:
    """A train file of these datasets and no others."""
    folder = tmp_path / "r" / "train"
    folder.mkdir(parents=True)
    with h5py.File(folder / "part.h5", "w") as file:
        file["stamps"] = pairs("train")[0] if stamps is None else stamps
        file.attrs.update(attributes)
        for name, values in datasets.items():
            file[name] = values
    return open_set(tmp_path / "r", "hdf5", told)


# -- layouts, columns, attributes ------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"compression": "gzip"},
        {"compression": "gzip", "shuffle": True, "fletcher32": True, "chunks": (2, 3, 64, 64)},
        {"chunks": (4, 1, 32, 64)},
        {"dtype": ">f4"},
    ],
)
def test_d21_plain_packed_and_big_endian_files_are_read_alike(tmp_path, how):
    made = write_set(tmp_path / "r", "hdf5", **how)
    np.testing.assert_array_equal(made.pixels(), pairs("train"))
    assert made.pixels().dtype.isnative


def test_bands_last_and_larger_stamps_are_cut(tmp_path):
    stamps = np.moveaxis(pairs("train", 91)[0], 1, -1)
    made = written(tmp_path, stamps=stamps, kind=["lens"] * 6)
    np.testing.assert_array_equal(made.pixels()[0], cut(np.moveaxis(stamps, -1, 1)))
    (note,) = made.metadata()[1]
    assert note.severity == "NOTE" and "91 x 91 pixels cut to 64 x 64" in note.message


def test_columns_of_numbers_and_words(tmp_path):
    made = written(
        tmp_path,
        ra=np.arange(6, dtype=">f4"),
        dec=np.arange(6),
        psfdepth_r=np.full(6, 23.5),
        task_id=[f"é-{k}" for k in range(6)],
        kind=np.array([b"lens", b"ring", b"", b"lens", b"lens", b"lens"]),
        arc_snrr=np.zeros(6),
        group=np.zeros((2, 2)),
    )
    columns, findings = made.metadata()
    assert columns["kind"].tolist() == ["lens", "ring", "", "lens", "lens", "lens"]
    assert columns["task_id"][5] == "é-5" and columns["ra"].tolist() == [0, 1, 2, 3, 4, 5]
    assert (columns["psf_depth"] == 23.5).all() and all(columns["brickname"])
    assert {one.severity for one in findings} == {"NOTE"}
    assert "column 'arc_snrr' is not known and not read: is it 'arc_snr'?" in [
        one.message for one in findings
    ]
    assert {"psf_depth", "brickname", "task_id"} <= set(made.shard().columns)


def test_a_row_may_tell_of_itself_alone(tmp_path):
    made = written(
        tmp_path,
        attributes={"bands": "grz", "pixel_scale_arcsec": 0.25},
        kind=["lens"] * 6,
        unit=["counts/s"] * 6,
        zero_point=20.0 + np.arange(6),
    )
    factors = 10.0 ** ((2.5 - np.arange(6)) / 2.5)
    expected = pairs("train")[0] * factors[:, None, None, None]
    np.testing.assert_allclose(made.pixels()[0], expected, rtol=1e-6)
    assert (made.metadata()[0]["pixel_scale_arcsec"] == 0.25).all()


def test_attributes_of_the_dataset_count_and_must_agree(tmp_path):
    def change(file):
        for name in DECLARED:
            file["stamps"].attrs[name] = file.attrs[name]
            del file.attrs[name]

    made = changed(tmp_path, change)
    np.testing.assert_array_equal(made.pixels(), pairs("train"))
    with h5py.File(tmp_path / "r" / "train" / "part.h5", "a") as file:
        file.attrs["unit"] = "counts/s"
    (found,) = made.metadata()[1]
    assert (found.severity, found.code) == ("ERROR", 10)
    assert "attribute unit says counts/s, but stamps attribute unit says nanomaggy" in found.message


@pytest.mark.parametrize("name", ["unit", "pixel_scale_arcsec", "bands"])
def test_what_neither_says_is_asked_for(tmp_path, name):
    less = {key: value for key, value in DECLARED.items() if key != name}
    made = written(tmp_path, attributes=less, kind=["lens"] * 6)
    (found,) = made.listed() if name == "bands" else made.metadata()[1]
    assert (found.severity, found.code) == ("ERROR", 10)
    assert f"--config.data.{name} is not given" in found.message
    told = open_set(tmp_path / "r", "hdf5", Told(**{name: DECLARED[name]}))
    np.testing.assert_array_equal(told.pixels()[0], pairs("train")[0])


def test_pairs_and_stamps_alone_in_one_file(tmp_path):
    made = written(
        tmp_path, controls=pairs("train")[1], kind=["pair", "ring", "", "lens", "pair", "merger"]
    )
    pixels, columns = made.pixels(), made.metadata()[0]
    assert columns["kind"].tolist() == ["pair", "ring", "pair", "lens", "pair", "merger"]
    paired = [0, 2, 4]
    np.testing.assert_array_equal(pixels[0], pairs("train")[0])
    np.testing.assert_array_equal(pixels[1, paired], pairs("train")[1, paired])
    assert not pixels[1, [1, 3, 5]].any()


def test_pairs_without_controls_are_an_error(tmp_path):
    (found,) = written(tmp_path, kind=["lens", "pair"] * 3).metadata()[1]
    assert (found.severity, found.where) == ("ERROR", "train/part.h5 row 1")
    assert found.message == "kind is 'pair', but there is no dataset 'controls'"
    (tmp_path / "other").mkdir()
    (found,) = written(tmp_path / "other").metadata()[1]
    assert found.message == "no control, and no column 'kind' to say what it is"


# -- what is refused -------------------------------------------------------------------------------


def test_d3_a_missing_band_is_named(tmp_path):
    made = written(
        tmp_path, stamps=pairs("train")[0][:, :2], attributes={**DECLARED, "bands": "gr"}
    )
    (found,) = made.listed()
    assert found.message == "missing band z (has g, r; expected g, r, z)" and found.code == 10


def test_d4_bands_in_another_order_are_refused(tmp_path, monkeypatch):
    stamps = pairs("train")[0][:, ::-1]
    made = written(tmp_path, stamps=stamps, attributes={**DECLARED, "bands": ["z", "r", "g"]})
    (found,) = made.listed()
    assert (found.where, found.code) == ("train/part.h5", 10)
    message = "band-order mismatch: 'zrg' declared by attribute bands, expected 'grz'"
    assert found.message == message
    monkeypatch.setattr(hdf5_module, "band_planes", lambda *_: (0, 1, 2))  # the control
    np.testing.assert_array_equal(made.pixels()[0], stamps)


def replace(name, values):
    def change(file):
        del file[name]
        file[name] = values

    return change


def linked(name, link):
    def change(file):
        del file[name]
        file[name] = link

    return change


def grouped(file):
    del file["stamps"]
    file.create_group("stamps")


def virtual(file):
    layout = h5py.VirtualLayout((6, 3, 64, 64), "f4")
    layout[:] = h5py.VirtualSource("/etc/elsewhere.h5", "stamps", (6, 3, 64, 64))
    del file["stamps"]
    file.create_virtual_dataset("stamps", layout)


def external(file):
    del file["stamps"]
    kept = [("/etc/passwd", 0, 6 * 3 * 64 * 64 * 4)]
    file.create_dataset("stamps", (6, 3, 64, 64), "f4", external=kept)


def unwritten(file):
    del file["stamps"]
    file.create_dataset("stamps", (10**9, 3, 64, 64), "f4", chunks=(1, 3, 64, 64))


def lzf(file):
    del file["stamps"]
    file.create_dataset("stamps", data=pairs("train")[0], compression="lzf")


def huge_chunks(file):
    del file["stamps"]
    made = file.create_dataset(
        "stamps", (600, 3, 1024, 1024), "f4", chunks=(12, 3, 1024, 1024), compression="gzip"
    )
    made.id.write_direct_chunk((0, 0, 0, 0), zlib.compress(bytes(100)))


REFUSED = {
    "no stamps": (lambda file: file.move("stamps", "stemps"), "no dataset 'stamps' (has ", 10),
    "group": (grouped, "'stamps' is a group", 10),
    "integers": (replace("stamps", np.ones((6, 3, 64, 64), "i2")), "is int16 (6, 3, 64, 64)", 10),
    "one shape": (replace("stamps", np.ones((3, 64, 64), "f4")), "shape (64, 64), expected (3", 10),
    "other shape": (
        replace("controls", np.ones((5, 3, 64, 64), "f4")),
        "'controls' is float32",
        10,
    ),
    "empty": (replace("stamps", np.ones((0, 3, 64, 64), "f4")), "'stamps' is empty", 10),
    "unwritten": (unwritten, "'stamps' was never written", 10),
    "lzf": (lzf, "expected gzip, shuffle, fletcher32 (h5repack -f GZIP=4)", 10),
    "huge chunks": (huge_chunks, "'stamps' has chunks (12, 3, 1024, 1024)", 17),
    "external link": (linked("stamps", h5py.ExternalLink("/etc/x.h5", "/stamps")), "is a link", 17),
    "soft link": (linked("stamps", h5py.SoftLink("/controls")), "'stamps' is a link", 17),
    "virtual": (virtual, "'stamps' is kept in other files", 17),
    "external": (external, "'stamps' is kept in other files", 17),
    "attribute": (lambda file: file.attrs.update(unit=3.0), "attribute unit is 3.0", 10),
    "attribute text": (lambda f: f.attrs.update(zero_point="x\x1b[2J"), r"is 'x\x1b[2J'", 10),
    "large attribute": (lambda f: f.attrs.update(unit=np.zeros(1000)), "attribute 'unit' is", 17),
    "too many": (
        lambda f: [f.create_group(str(k)) for k in range(300)],
        "datasets, at most 256",
        17,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_and_how(tmp_path, name):
    change, message, code = REFUSED[name]
    made = changed(tmp_path, change)
    tracemalloc.start()
    begun = time.perf_counter()
    (found,) = made.listed()
    took, peak = time.perf_counter() - begun, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert took < 2 and peak < 50 * 2**20
    assert message in found.message and (found.severity, found.code) == ("ERROR", code)
    assert found.where == "train/part.h5"


@pytest.mark.parametrize(
    ("change", "message", "code"),
    [
        (replace("ra", np.zeros(5)), "dataset 'ra' is float64 (5,), expected numbers (6,)", 10),
        (replace("ra", ["x"] * 6), "dataset 'ra' is object (6,), expected numbers (6,)", 10),
        (
            lambda f: f.create_dataset("kind", data=np.zeros(6)),
            "'kind' is float64 (6,), expected",
            10,
        ),
        (lambda f: f.create_dataset("kind", data=np.array([b"\xff"] * 6)), "is no UTF-8 text", 10),
        (lambda f: f.create_dataset("kind", data=["x" * 33] * 6), "longer than 32 characters", 10),
        (linked("ra", h5py.ExternalLink("/etc/x.h5", "/ra")), "'ra' is a link", 17),
        (lambda f: f.create_dataset("ebv", (6,), "f8", chunks=(1,)), "was never written", 10),
    ],
)
def test_columns_that_are_refused(tmp_path, change, message, code):
    columns, (found,) = changed(tmp_path, change).metadata()
    assert columns == {} and found.severity == "ERROR"
    assert message in found.message and found.code == code


def bombed(file):
    """The chunk of rows 2 and 3 unpacks to a hundred times what it claims."""
    del file["stamps"]
    made = file.create_dataset(
        "stamps", data=pairs("train")[0], chunks=(2, 3, 64, 64), compression="gzip"
    )
    size = 2 * 3 * 64 * 64 * 4
    made.id.write_direct_chunk((2, 0, 0, 0), zlib.compress(bytes(size) * 100))


def test_s1_a_chunk_that_is_a_bomb_is_refused(tmp_path):
    made = changed(tmp_path, bombed)
    found = [one for _, one in made.faults()]
    assert {(one.severity, one.code) for one in found} == {("ERROR", 17)}
    assert "a chunk unpacks to more than the 98304 bytes that it claims" in found[0].message


def test_control_without_the_check_hdf5_unpacks_it_all(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_file, "_check_inflated", lambda name, raw, claimed: None)
    made = changed(tmp_path, bombed)
    found = [one for _, one in made.faults()]  # read, all 9.8 MB of it: zeros
    assert {one.message for one in found} == {"zero variance (constant 0)"}


def test_chunks_too_small_to_read_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_file, "MAX_CHUNKS", 50)
    made = write_set(tmp_path / "r", "hdf5", chunks=(1, 1, 8, 64))
    found = [one for _, one in made.faults()]
    assert {one.code for one in found} == {10} and "too small to read 6 rows" in found[0].message


def flip(path, at):
    raw = bytearray(path.read_bytes())
    raw[at] ^= 0xFF
    path.write_bytes(raw)


def test_damaged_chunks_end_the_reading_with_an_oserror(tmp_path):
    made = write_set(tmp_path / "r", "hdf5", compression="gzip", chunks=(2, 3, 64, 64))
    path = tmp_path / "r" / "train" / "part.h5"
    with h5py.File(path) as file:
        where = file["stamps"].id.get_chunk_info_by_coord((2, 0, 0, 0))
    flip(path, where.byte_offset + where.size // 2)
    with pytest.raises(OSError, match="damaged chunk"):
        made.faults()
    made = write_set(tmp_path / "s", "hdf5", fletcher32=True, chunks=(2, 3, 64, 64))
    path = tmp_path / "s" / "train" / "part.h5"
    with h5py.File(path) as file:
        where = file["stamps"].id.get_chunk_info_by_coord((2, 0, 0, 0))
    flip(path, where.byte_offset + 100)
    with pytest.raises(OSError, match="Can't"):
        made.faults()


@pytest.mark.parametrize("kept", [0, 4, 0.01, 0.5, 0.99])
def test_truncated_files_are_named(tmp_path, kept):
    made = write_set(tmp_path / "r", "hdf5")
    path = tmp_path / "r" / "train" / "part.h5"
    raw = path.read_bytes()
    path.write_bytes(raw[: kept if isinstance(kept, int) else int(kept * len(raw))])
    (found,) = made.listed()
    assert (found.severity, found.code, found.where) == ("ERROR", 10, "train/part.h5")
    assert len(found.message) < 250 and "\n" not in found.message


def test_s5_a_file_that_is_a_link_out_is_refused(tmp_path):
    made = write_set(tmp_path / "r", "hdf5")
    link_out(tmp_path / "r", tmp_path / "r" / "train" / "part.h5")
    (found,) = made.listed()
    assert (found.severity, found.code) == ("ERROR", 17)


def test_stray_files_are_named(tmp_path):
    made = write_set(tmp_path / "r", "hdf5")
    folder = tmp_path / "r" / "train"
    for name in ("_SUCCESS", ".hidden", "other.csv", "part.h5.tmp"):
        (folder / name).write_bytes(b"")
    (folder / "sub").mkdir()
    shards, findings = made.form.list_split(LOCAL, made.root, "train")
    assert [shard.name for shard in shards] == ["train/part.h5"]
    assert [(one.where, one.severity) for one in findings] == [
        ("train/.hidden", "NOTE"),
        ("train/_SUCCESS", "NOTE"),
        ("train/other.csv", "ERROR"),
        ("train/part.h5.tmp", "ERROR"),
        ("train/sub", "ERROR"),
    ]
    (folder / "part.h5").unlink()
    assert "no *.h5 or *.hdf5 file (stray: " in made.listed()[0].message
    (tmp_path / "r" / "val").mkdir()
    assert made.listed("val")[0].message == "empty directory"


def test_s8_names_are_escaped(tmp_path):
    made = changed(tmp_path, lambda file: file.move("stamps", "\x1b[2J"))
    assert r"\x1b[2J" in made.listed()[0].message and "\x1b" not in made.listed()[0].message


@pytest.mark.skipif(not HOSTS.is_file(), reason=f"{HOSTS} is not there")
def test_117_hosts_are_read_as_numpy_reads_them(tmp_path):
    with np.load(HOSTS, allow_pickle=False) as hosts:
        stamps, ra, dec = hosts["stamps"], hosts["ra"], hosts["dec"]
        declared = {**DECLARED, "pixel_scale_arcsec": float(hosts["pixel_scale_arcsec"])}
    kind = ["control"] * len(stamps)
    made = written(tmp_path, stamps=stamps, attributes=declared, ra=ra, dec=dec, kind=kind)
    np.testing.assert_array_equal(made.pixels()[0], cut(np.moveaxis(stamps, -1, 1)))
    columns, findings = made.metadata()
    assert findings == [] and (columns["pixel_scale_arcsec"] == 0.25).all()
    np.testing.assert_array_equal(columns["ra"], ra)


CLAIM = 600 * 2**20  # bytes that a text claims
READ_ANYHOW = """
import sys
from lensjax.data import hdf5_file
import fsspec
hdf5_file.MAX_CALL_BYTES = int(sys.argv[2])
try:
    with hdf5_file.open_hdf5(fsspec.filesystem("file"), sys.argv[1]) as file:
        hdf5_file.attribute(file, "unit")
except Exception as error:
    print(type(error).__name__)
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


@pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="memory is bounded on Linux alone"
)
@pytest.mark.parametrize(("most", "guarded"), [(2**28, True), (2**40, False)])
def test_s1_a_text_that_claims_to_be_long_is_not_made_room_for(tmp_path, most, guarded):
    write_set(tmp_path / "r", "hdf5")
    path = tmp_path / "r" / "train" / "part.h5"
    raw = path.read_bytes()
    heap = struct.pack("<Q", raw.index(b"GCOL"))
    claim = struct.pack("<I", len(DECLARED["unit"])) + heap
    assert raw.count(claim) == 1
    path.write_bytes(raw.replace(claim, struct.pack("<I", CLAIM) + heap))
    command = [sys.executable, "-c", READ_ANYHOW, str(path), str(most)]
    error, peak = subprocess.run(command, capture_output=True, text=True).stdout.split()
    assert error == "OSError"
    assert (int(peak) < 300_000) == guarded  # KiB
