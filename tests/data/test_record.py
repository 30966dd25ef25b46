"""The record of a data root: what is one, what is none, what is hostile, and what differs.

What phase 0 makes of it is tried in tests/checks/test_recorded.py."""

import json

import fsspec
import pytest

from lensjax.data import record as module
from lensjax.data.record import FILE, compare, leads_out, load_record, make_record, write_record
from lensjax.schema import ExitCode, LensjaxError

LOCAL = fsspec.filesystem("file")
FILES = {
    f"{split}/part-{k}": f"{i}{k}" * 32 for i, split in enumerate(("train", "val")) for k in (0, 1)
}
LABELS = {"train": "a" * 64, "val": "b" * 64}


def test_what_is_written_is_what_is_loaded(tmp_path):
    record = make_record(dict(reversed(FILES.items())), LABELS)
    assert write_record(LOCAL, str(tmp_path), record) == f"{tmp_path}/{FILE}"
    assert load_record(LOCAL, str(tmp_path)) == record
    assert list(record["files"]) == sorted(FILES)
    assert record["lensjax_manifest"] == 1
    assert load_record(LOCAL, str(tmp_path / "elsewhere")) is None
    text = (tmp_path / FILE).read_text()
    write_record(LOCAL, str(tmp_path), make_record(FILES, LABELS))
    assert (tmp_path / FILE).read_text() == text  # the same bytes, whatever the order


def refused(tmp_path, text):
    (tmp_path / FILE).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(LensjaxError) as caught:
        load_record(LOCAL, str(tmp_path))
    assert caught.value.where == FILE and "\n" not in str(caught.value)
    return caught.value


SOUND = dict(make_record(FILES, LABELS))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        b"\xff\xfe",
        b"\x80\x04N.",
        "[" * 100_000,
        json.dumps({**SOUND, "lensjax_manifest": 2}),
        json.dumps({**SOUND, "more": {}}),
        json.dumps({k: v for k, v in SOUND.items() if k != "labels"}),
        json.dumps({**SOUND, "files": []}),
        json.dumps({**SOUND, "files": {"train/a": "short"}}),
        json.dumps({**SOUND, "files": {"train/a": "A" * 64}}),
        json.dumps({**SOUND, "files": {"train/a": 5}}),
        json.dumps({**SOUND, "files": {"train/a": {"x": "0" * 64}}}),
        json.dumps({**SOUND, "labels": {"trian": "0" * 64}}),
        json.dumps({**SOUND, "labels": {"train": None}}),
    ],
)
def test_what_is_no_record_is_invalid_data(tmp_path, text):
    error = refused(tmp_path, text)
    assert error.code == ExitCode.DATA_INVALID and "is no record of a data root" in error.what
    assert "python -m lensjax.data record" in error.remedy


def test_a_record_that_cannot_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    """Exit 16, as README says of permission; what to do is about reading."""
    (tmp_path / FILE).write_text(json.dumps(SOUND))

    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied", FILE)

    monkeypatch.setattr(type(LOCAL), "cat_file", denied)
    with pytest.raises(LensjaxError, match="cannot be read: Permission denied") as caught:
        load_record(LOCAL, str(tmp_path))
    assert caught.value.code == ExitCode.RESOURCE and FILE in caught.value.where
    assert "leave to read" in caught.value.remedy and "write" not in caught.value.remedy


def test_a_record_beyond_bounds_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    monkeypatch.setattr(module.json, "loads", None)
    error = refused(tmp_path, json.dumps(SOUND))
    assert error.code == ExitCode.REFUSED_INPUT and "beyond 100 bytes" in error.what


OUTSIDE = (
    "../x", "..", "a/../../x", "/etc/passwd", "\\etc", "..\\x", "C:\\x", "C:x", "s3://b/x", "",
    "a\0b",
)  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_s5_a_name_that_leads_out_is_refused(tmp_path, name, monkeypatch):
    record = {**SOUND, "files": {**FILES, name: "0" * 64}}
    error = refused(tmp_path, json.dumps(record))
    assert error.code == ExitCode.REFUSED_INPUT and "leads out of the data root" in error.what
    assert "\0" not in str(error)
    monkeypatch.setattr(module, "leads_out", lambda name: False)
    loaded = load_record(LOCAL, str(tmp_path))
    assert loaded is not None and name in loaded["files"]  # the guard off


@pytest.mark.parametrize("name", ["train/a.parquet", "a", "a..b/c", "тест/звезда ☆", "a/b:c"])
def test_a_plain_name_leads_nowhere_else(name):
    assert not leads_out(name)


# -- what differs -------------------------------------------------------------------------------


def differences(digests, labels=LABELS, *, complete=True):
    """(code, check, where, message) of each finding against SOUND."""
    found = compare(SOUND, digests, labels, complete)
    return [(int(one.code), one.check, one.where, one.message) for one in found]


def test_the_same_differs_in_nothing():
    assert differences(FILES) == []


def test_d14_bytes_that_differ_are_named():
    ((code, check, where, message),) = differences({**FILES, "val/part-1": "e" * 64})
    assert (code, check, where) == (10, "stamps", "val/part-1")
    assert message == "its bytes differ from the manifest (eeeeeeeeeeee, was 111111111111)"
    assert len(differences(dict.fromkeys(FILES, "e" * 64))) == 4  # each of them


def test_d17_files_missing_and_extra_are_listed():
    digests = {name: sha for name, sha in FILES.items() if not name.endswith("0")}
    (found,) = differences(digests)
    assert found[:3] == (12, "labels", FILE)
    assert found[3] == "2 files: each is missing (train/part-0, val/part-0)"
    extra = {f"train/new-{k}": f"{k}e" * 32 for k in range(7)}
    (found,) = differences({**FILES, **extra})
    assert found[0] == 12 and found[3].startswith(
        "7 files: each is not in the manifest (train/new-0"
    )
    assert found[3].endswith("train/new-4, ...)")


def test_d9_a_label_column_that_differs_is_named():
    (found,) = differences(FILES, {**LABELS, "val": "c" * 64})
    assert found[:3] == (12, "labels", "val/")
    assert found[3] == ("label column differs from the manifest (cccccccccccc, was bbbbbbbbbbbb)")
    assert differences(FILES, {**LABELS, "val": "c" * 64}, complete=False) == []
    assert differences(FILES, {**LABELS, "test": "c" * 64}) == []  # nothing was recorded of it


def test_d12_a_file_of_another_split_is_named_and_not_called_missing():
    swapped = {
        "val/part-0": FILES["train/part-0"],
        "val/part-1": FILES["train/part-1"],
        "train/part-0": FILES["val/part-0"],
        "train/part-1": FILES["val/part-1"],
    }
    other_labels = {"train": "b" * 64, "val": "a" * 64}
    found = differences(swapped, other_labels)
    assert [one[:2] for one in found] == [(11, "splits")] * 4
    assert (11, "splits", "val/part-0", "the manifest says that this file is train/part-0") in found
    moved = {**FILES, "val/part-9": FILES["train/part-0"]}
    del moved["train/part-0"]
    assert [one[0] for one in differences(moved)] == [11]


def test_a_file_renamed_in_its_split_is_missing_and_extra():
    renamed = {**FILES, "val/part-9": FILES["val/part-0"]}
    del renamed["val/part-0"]
    assert [one[0] for one in differences(renamed)] == [12, 12]


def test_a_copy_of_a_file_in_another_split_is_a_leak():
    found = differences({**FILES, "val/copy": FILES["train/part-0"]})
    assert [one[:3] for one in found] == [(11, "splits", "val/copy")]
