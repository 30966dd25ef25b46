"""All files below a folder: none is passed over, and a folder that cannot be read is an error."""

import fsspec
import pytest

from lensjax.data.listing import files_below, list_files
from lensjax.schema import ExitCode, LensjaxError


@pytest.fixture
def closed(tmp_path, shut):
    """A root in which train/deep cannot be read, whoever runs the tests."""
    root = tmp_path / "root"
    for name in ("train/a.parquet", "train/deep/b.parquet", "val/c.parquet"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    shut("/deep")
    return str(root)


def test_all_files_are_found_in_order(closed, monkeypatch):
    monkeypatch.undo()
    found = files_below(fsspec.filesystem("file"), closed)
    names = ["train/a.parquet", "train/deep/b.parquet", "val/c.parquet"]
    assert found == [f"{closed}/{name}" for name in names]


def test_a_folder_that_cannot_be_read_is_named(closed):
    filesystem = fsspec.filesystem("file")
    with pytest.raises(LensjaxError, match="cannot be read: Permission denied") as caught:
        files_below(filesystem, closed)
    assert caught.value.code == ExitCode.RESOURCE and caught.value.where == f"{closed}/train/deep"
    assert "leave to read" in caught.value.remedy
    with pytest.raises(LensjaxError, match="cannot be read: Permission denied"):
        list_files(filesystem, closed, "train/deep", (".parquet",), lambda path, name: None)


def test_without_the_guard_its_files_are_missing_without_a_word(closed):
    found = fsspec.filesystem("file").find(closed)
    assert found == [f"{closed}/train/a.parquet", f"{closed}/val/c.parquet"]
