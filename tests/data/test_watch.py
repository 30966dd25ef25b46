"""A watched file that is replaced, written to, removed or joined by another is named (D19)."""

import os

import pytest

from lensjax.data.digests import file_key
from lensjax.data.paths import open_filesystem
from lensjax.data.watch import Watch
from lensjax.schema import ExitCode, LensjaxError


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.fixture
def keys(folder):
    filesystem, _ = open_filesystem(str(folder))
    return lambda: {path.name: file_key(filesystem, str(path)) for path in folder.iterdir()}


def replace(folder):
    """The same bytes under the same name and time, in another file."""
    status = os.stat(folder / "a")
    (folder / "new").write_text("a")
    os.utime(folder / "new", ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(folder / "new", folder / "a")


CHANGES = {
    "replaced": replace,
    "written": lambda folder: (folder / "a").write_text("x"),
    "removed": lambda folder: (folder / "a").unlink(),
    "added": lambda folder: (folder / "c").write_text("c"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_is_named(folder, keys, change):
    watch = Watch(keys)
    watch.look()
    CHANGES[change](folder)
    with pytest.raises(LensjaxError) as caught:
        watch.look()
    assert caught.value.code == ExitCode.DATA_INVALID
    assert caught.value.where == ("c" if change == "added" else "a")


def test_reading_changes_nothing(folder, keys):
    watch = Watch(keys)
    (folder / "a").read_text()
    watch.look()


def test_many_files_are_counted(folder, keys):
    watch = Watch(keys)
    for k in range(9):
        (folder / f"n{k}").write_text("")
    with pytest.raises(LensjaxError, match="n0, n1, n2 and 6 more"):
        watch.look()
