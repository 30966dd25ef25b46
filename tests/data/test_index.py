"""The index of a folder: its columns, its rows, what it may point at, and how large it may be
(S5, S8)."""

import os
import time
import tracemalloc

import fsspec
import numpy as np
import pytest

from lensjax.data import index as index_module
from lensjax.data import indexed, reading
from lensjax.data.index import MAX_BYTES, MAX_ROWS, read_index
from lensjax.data.told import Told
from lensjax.schema import ExitCode, LensjaxError
from tests.data.stamp_sets import index_rows, link_out, open_set, pairs, write_index, write_set

LOCAL = fsspec.filesystem("file")


def read(tmp_path, raw):
    path = tmp_path / "stamps.csv"
    path.write_bytes(raw)
    return read_index(LOCAL, str(path))


def refusal(tmp_path, raw):
    with pytest.raises(LensjaxError) as caught:
        read(tmp_path, raw)
    return caught.value


def test_columns_by_their_names_in_any_order_with_blanks(tmp_path):
    found = read(
        tmp_path,
        b"\xef\xbb\xbfpsfdepth_r, file ,ra,odd,psf_fwhm_used_r,psf_fwhm_arcsec\r\n"
        b' 23.5 ,"a, b.npz",1e2,x,9,1.1\r\n\r\n,c.npz,,"y\nz",9,\r\n',
    )
    assert found.rows == 2 and found.unknown == ("odd",)
    assert found.words["file"].to_pylist() == ["a, b.npz", "c.npz"]
    np.testing.assert_array_equal(found.numbers["ra"], [100, np.nan])
    np.testing.assert_array_equal(found.numbers["psf_depth"], [23.5, np.nan])
    np.testing.assert_array_equal(found.numbers["psf_fwhm_arcsec"], [1.1, np.nan])  # not the 9s
    assert not found.has_control.any()


@pytest.mark.parametrize(
    ("raw", "message", "where"),
    [
        (b"", "truncated (0 bytes)", ""),
        (b"file,ra\n", "0 rows", ""),
        (b"name,ra\na,1\n", "column 'file' is missing, has ['name', 'ra']", ""),
        (b"file,ra,ra\na,1,2\n", "a column is named twice", ""),
        (b"file,ra\na,1\nb\n", "line 3: Expected 2 columns, got 1", ""),
        (b"file,ra\na,1\nb,2,3\n", "line 3: Expected 2 columns, got 3", ""),
        (b"file,ra\na,1\nb,12h\n", "column 'ra' is '12h', expected a number", "row 1"),
        (b"file,task_id\na,x\nb," + b"y" * 65, "'task_id' is longer than 64 characters", "row 1"),
        (b"file\n\xff\xfe\n", "not a CSV text", ""),
        (b"\x89PNG\r\n", "not a CSV text", ""),
        (b"file,ra\n\x1b[2J\n", r"got 1: \x1b[2J", ""),
    ],
)
def test_what_is_no_index_is_named(tmp_path, raw, message, where):
    error = refusal(tmp_path, raw)
    assert message in error.what and (error.code, error.where) == (ExitCode.DATA_INVALID, where)
    assert "\x1b" not in str(error)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"file\n" + b"a\n" * (MAX_ROWS + 2), "lines, at most"),
        (b"file\r" + b"a\r" * (MAX_ROWS + 2), "lines, at most"),
        (b"file," + b"," * 300, "more than 256 columns"),
        (b"f" * 2**17, "more than 256 columns"),
        (b"file\na\0b\n", "NUL bytes"),
        (b"file,ra\n" + b"a" * MAX_BYTES, "larger than 50,000,000 bytes"),
    ],
)
def test_hostile_sizes_are_refused_at_once(tmp_path, raw, message):
    begun = time.perf_counter()
    error = refusal(tmp_path, raw)
    assert time.perf_counter() - begun < 2
    assert error.code == ExitCode.REFUSED_INPUT and message in error.what


def test_control_without_the_bound_a_million_columns_are_made(tmp_path, monkeypatch):
    raw = b"file," + b",".join(b"%d" % k for k in range(20_000)) + b"\n" + b"," * 20_000
    assert refusal(tmp_path, raw).code == ExitCode.REFUSED_INPUT
    monkeypatch.setattr(index_module, "MAX_COLUMNS", 10**6)
    monkeypatch.setattr(index_module, "_MAX_HEADER_BYTES", 10**6)
    tracemalloc.start()
    assert len(read(tmp_path, raw).unknown) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak > 50 * len(raw)


def test_it_is_read_once_and_again_when_it_changes(tmp_path, monkeypatch):
    first = read(tmp_path, b"file\na\n")
    assert read_index(LOCAL, str(tmp_path / "stamps.csv")) is first
    assert read(tmp_path, b"file\nbb\n").words["file"].to_pylist() == ["bb"]


def test_rows_say_what_they_are(tmp_path):
    raw = b"file,control_file,control_row,kind\na,b,,\na,,3,pair\na,,,lens\na,,,\n"
    found = read(tmp_path, raw)
    assert found.has_control.tolist() == [True, True, False, False]
    assert found.place(0, control=True) == ("b", 0) and found.place(1, control=True) == ("a", 3)
    assert found.place(2, control=False) == ("a", 0)
    shard = indexed.Shard("/r/val/stamps.csv", "val/stamps.csv", "val", 4, ())
    made = found.metadata(shard, found.has_control)
    assert made["kind"].tolist() == ["pair", "pair", "lens", ""]
    assert made["task_id"].tolist() == [f"val-stamps-000000{k}" for k in range(4)]


def test_a_row_that_is_not_said_to_be_anything_is_an_error(tmp_path):
    made = write_set(tmp_path / "root", "npy")
    rows = index_rows("train", ".npy")
    rows[3]["control_file"] = ""
    write_index(tmp_path / "root" / "train", rows)
    (found,) = made.metadata()[1]
    assert (found.severity, found.code, found.where) == ("ERROR", 10, "train/stamps.csv row 3")
    assert found.message == "no control, and no column 'kind' to say what it is"
    for row in rows:
        row["kind"] = "lens" if row["control_file"] == "" else "pair"
    rows[0]["kind"], rows[1]["control_file"] = "ring", ""
    write_index(tmp_path / "root" / "train", rows)
    assert made.metadata()[1] == []
    assert [(row, one.message.split(" (")[0]) for row, one in made.faults()] == [
        (0, "kind is 'ring', with a control"),
        (0, "kind is 'ring', with a control"),
        (1, "kind is 'pair', without a control"),
    ]


def test_stamps_alone_have_one_member(tmp_path):
    made = write_set(tmp_path / "root", "npy")
    rows = index_rows("train", ".npy")
    for row in rows:
        row["kind"] = "ring"
        del row["control_file"]
    write_index(tmp_path / "root" / "train", rows)
    np.testing.assert_array_equal(made.pixels(), pairs("train")[:1])


def test_an_unknown_column_is_noted_with_the_nearest_known(tmp_path):
    made = write_set(tmp_path / "root", "npy")
    rows = [{**row, "arc_snrr": 1, "colour": "red"} for row in index_rows("train", ".npy")]
    write_index(tmp_path / "root" / "train", rows)
    first, second = made.metadata()[1]
    assert first.message == "column 'arc_snrr' is not known and not read: is it 'arc_snr'?"
    assert second.message == "column 'colour' is not known and not read"
    assert {first.severity, second.severity} == {"NOTE"}


def test_a_row_may_tell_of_itself_alone(tmp_path):
    write_set(tmp_path / "root", "npy")
    rows = index_rows("train", ".npy")
    for k, row in enumerate(rows):
        row.update(unit="counts/s" if k else "", zero_point=20.0 + k if k else "")
        row["pixel_scale_arcsec"] = 0.25 if k == 2 else ""
    write_index(tmp_path / "root" / "train", rows)
    made = open_set(tmp_path / "root", "npy")
    expected = pairs("train") * 10.0 ** ((2.5 - np.r_[2.5, 1:6]) / 2.5)[:, None, None, None]
    np.testing.assert_allclose(made.pixels(), expected, rtol=1e-6)
    scales = made.metadata()[0]["pixel_scale_arcsec"]
    assert scales.tolist() == [0.262, 0.262, 0.25, 0.262, 0.262, 0.262]
    rows[5]["unit"], rows[4]["pixel_scale_arcsec"], rows[3]["row"] = "parsec", -1, 0.5
    for row in rows:
        row.setdefault("row", "")
    write_index(tmp_path / "root" / "train", rows)
    assert [one.message.split(" (")[0] for _, one in made.faults()[::2]] == [
        "column row is 0.5, expected 0, 1, 2, ...",
        "column pixel_scale_arcsec: -1.0 is not a pixel scale",
        "column unit: unknown unit 'parsec'",
    ]


@pytest.mark.parametrize("name", ["../x.npy", "/etc/passwd", "a/../../x.npy", "s3://b/x", "..\\x"])
@pytest.mark.parametrize("column", ["file", "control_file"])
def test_s5_an_entry_that_leads_out_is_refused(tmp_path, name, column):
    made = write_set(tmp_path / "root", "npy")
    rows = index_rows("train", ".npy")
    rows[2][column] = name
    write_index(tmp_path / "root" / "train", rows)
    (found,) = made.listed()
    assert (found.severity, found.code) == ("ERROR", ExitCode.REFUSED_INPUT)
    assert found.where == "train/stamps.csv row 2" and "leads out of the data root" in found.message


def test_s5_links_that_lead_out_are_refused(tmp_path):
    root = tmp_path / "root"
    made = write_set(root, "npy", splits=("train", "val", "test"))
    link_out(root, root / "train" / "stamp-2.npy")
    where, message, severity, code = made.fault()
    assert (severity, code) == ("ERROR", 17) and where == "train/stamps.csv row 2"
    assert message == "'train/stamp-2.npy' is a link that leads out of the data root (stamp-2.npy)"
    assert str(root / "train" / "stamp-2.npy") not in made.form.files(LOCAL, made.shard())
    link_out(root, root / "val" / "stamps.csv")
    assert made.listed("val")[0].code == 17
    link_out(root, root / "test")
    assert made.listed("test")[0].code == 17


def test_a_link_within_the_root_is_a_file_like_any_other(tmp_path):
    root = tmp_path / "root"
    made = write_set(root, "npy", splits=("train", "val"))
    os.rename(root / "train" / "stamp-2.npy", root / "val" / "moved.npy")
    (root / "train" / "stamp-2.npy").symlink_to("../val/moved.npy")
    np.testing.assert_array_equal(made.pixels(), pairs("train"))


def test_control_without_the_guards_files_outside_are_read(tmp_path, monkeypatch):
    root = tmp_path / "root"
    made = write_set(root, "npy")
    rows = index_rows("train", ".npy")
    np.save(tmp_path / "secret.npy", pairs("train")[0, 0] + 7)
    rows[2]["file"] = "../../secret.npy"
    write_index(root / "train", rows)
    monkeypatch.setattr(indexed, "leads_out", lambda name: False)
    assert made.fault()[3] == 17  # the second guard, where the file is opened
    monkeypatch.setattr(reading, "leads_out", lambda name: False)
    assert made.fault()[3] == 17  # the third: where the path really is
    monkeypatch.setattr(
        reading.os.path, "realpath", lambda path: "/" if path == str(root) else path
    )
    monkeypatch.setattr(reading.os, "sep", "")
    np.testing.assert_array_equal(made.pixels()[0, 2], pairs("train")[0, 0] + 7)


def test_a_missing_file_and_what_is_no_file_are_named(tmp_path):
    root = tmp_path / "root"
    made = write_set(root, "npy")
    (root / "train" / "stamp-1.npy").unlink()
    (root / "train" / "stamp-2.npy").unlink()
    (root / "train" / "stamp-2.npy").mkdir()
    (root / "train" / "stamp-3.npy").unlink()
    os.mkfifo(root / "train" / "stamp-3.npy")  # reading it would wait for ever
    assert [(row, one.message) for row, one in made.faults()] == [
        (1, "no such file (stamp-1.npy)"),
        (2, "'train/stamp-2.npy' is no file (stamp-2.npy)"),
        (3, "'train/stamp-3.npy' is no file (stamp-3.npy)"),
    ]
    assert len(made.form.files(LOCAL, made.shard())) == 1 + 9


def test_no_folder_no_index(tmp_path):
    made = open_set(tmp_path, "npy", Told())
    assert made.listed()[0].message == "no folder train, expected train, val, test"
    (tmp_path / "train").mkdir()
    (found,) = made.listed()
    assert found.message == "no stamps.csv, the index of the stamps" and found.code == 10


def test_s8_names_from_an_index_are_escaped(tmp_path):
    made = write_set(tmp_path / "root", "npy")
    rows = index_rows("train", ".npy")
    rows[0]["file"] = "\x1b]0;owned\x07.npy"
    write_index(tmp_path / "root" / "train", rows)
    where, message, _, _ = made.fault()
    assert "\x1b" not in where + message and r"\x1b]0;owned\x07.npy" in message
