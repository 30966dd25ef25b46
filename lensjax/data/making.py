"""A folder that is being made: what is finished outlives a kill, and nothing counts before the end.

Not a format: it is given functions that write files. Each finished file is synced and entered with
its SHA-256 in a journal; the folder gets its own name last. A process that is killed leaves a
folder `.making-NAME`, which the next one for the same NAME goes on with: files that the journal
vouches for are taken over, all else is written again.

    >>> with locked(parent):
    ...     making = Making(parent / "name", about={"train": content_digest(train)})
    ...     making.file(making.content / "a.npy", lambda path: numpy.save(path, a))
    ...     making.publish()
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

log = logging.getLogger(__name__)

_PREFIX = ".making-"
_JOURNAL = "journal"


@contextlib.contextmanager
def locked(parent: Path) -> Iterator[None]:
    """One process at a time makes folders in `parent`: others wait for the lock (the kernel frees
    it on any death) and so find what the first made."""
    with (parent / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            log.info("waiting for another process that prepares stamps in %s", parent)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Making:
    """The making of `folder` (absent so far), by one process at a time.

    `about` says what its files are made from: of what a killed process left, files made from
    anything else are removed. `content` is where the files go."""

    def __init__(self, folder: Path, about: Mapping[str, str]):
        self._folder, self._root = folder, folder.with_name(_PREFIX + folder.name)
        self.content, self._finished = self._root / "content", self._root / "finished"
        self._head = {"about": dict(about)}
        self._known = self._read_journal()  # SHA-256 by file name
        if not self._known:
            self.remove()
            return
        self._finished.mkdir(exist_ok=True)
        for path in self.content.rglob("*") if self.content.exists() else ():
            if path.is_file() and path.name in self._known:
                os.replace(path, self._finished / path.name)
        shutil.rmtree(self.content, ignore_errors=True)
        log.info("going on with %d files that a killed process finished", len(self._known))

    def bytes_finished(self) -> int:
        """Bytes on disk that a killed process left, to be taken over."""
        return sum(p.stat().st_size for p in self._finished.glob("*"))

    def begin(self) -> None:
        """Create the folder; where nothing was left, nothing is written before."""
        self.content.mkdir(parents=True)
        self._finished.mkdir(exist_ok=True)
        entries = [self._head, *({"name": n, "sha256": sha} for n, sha in self._known.items())]
        text = "".join(f"{json.dumps(entry)}\n" for entry in entries)
        _write_synced(self._root / f"{_JOURNAL}.new", text)
        os.replace(self._root / f"{_JOURNAL}.new", self._root / _JOURNAL)

    def file(self, path: Path, write: Callable[[Path], object]) -> None:
        """The file `path`, of a name of its own: as a killed process finished it, if it is still
        what the journal says, else as `write(path)` makes it."""
        finished, recorded = self._finished / path.name, self._known.get(path.name)
        if recorded and finished.is_file() and file_digest(finished) == recorded:
            os.replace(finished, path)
            return
        write(path)
        _sync(path)
        self._known[path.name] = file_digest(path)
        entry = {"name": path.name, "sha256": self._known[path.name]}
        with (self._root / _JOURNAL).open("a") as journal:
            journal.write(json.dumps(entry) + "\n")
            journal.flush()
            os.fsync(journal.fileno())

    def digests(self) -> dict[str, str]:
        """SHA-256, in hex, of every file in `content`, by its path there."""
        found = files_in(self.content)
        return {n: self._known.get(Path(n).name) or file_digest(self.content / n) for n in found}

    def publish(self, name: str, text: str) -> None:
        """Write `text` as the file `name`, the last; then the folder takes its name."""
        _write_synced(self.content / name, text)
        for inner in (*self.content.rglob("*"), self.content):
            _sync(inner)
        os.rename(self.content, self._folder)
        _sync(self._folder.parent)
        self.remove()

    def remove(self) -> None:
        """Remove what was made so far."""
        shutil.rmtree(self._root, ignore_errors=True)

    def _read_journal(self) -> dict[str, str]:
        """What the journal says is finished: nothing if it is of other files, or damaged."""
        try:
            lines = (self._root / _JOURNAL).read_text().split("\n")
            head, *entries = map(json.loads, lines[:-1])  # a kill may have torn the last
            return {e["name"]: e["sha256"] for e in entries} if head == self._head else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}


def sweep(folder: Path) -> None:
    """Remove what is left beside `folder` of makings that came to their end, and tell of those
    that did not (`folder`'s own aside): they go on when the same is prepared again."""
    for left in sorted(folder.parent.glob(f"{_PREFIX}*")):
        name = left.name.removeprefix(_PREFIX)
        if (folder.parent / name).exists():
            shutil.rmtree(left, ignore_errors=True)
        elif name != folder.name:
            size = sum(p.stat().st_size for p in left.rglob("*") if p.is_file())
            log.warning(
                "%s: %.1f GB that a killed process left, for when the same is prepared again. "
                "Delete it if it will not be",
                *(left, size / 1e9),
            )


def files_in(folder: Path) -> list[str]:
    """Paths of all files below `folder`, relative to it, sorted."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def file_digest(path: Path) -> str:
    """SHA-256, in hex, of the bytes of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_synced(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    """What was written to a file, or the names in a folder, onto the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
