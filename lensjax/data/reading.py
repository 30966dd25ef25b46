"""Bytes of a stranger's file: in bounded ranges, from inside the data root alone.

Not a parser. Works on any fsspec filesystem: a small file is one request, of a large one only the
ranges asked for are read. A gzip is unpacked, up to a bound.

    >>> file = Bytes(filesystem, inside(filesystem, root, "train/J2231_g.fits"))
    >>> file.read(0, 2880)
"""

from __future__ import annotations

import os
import posixpath
import stat
from typing import cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from lensjax.data.npz import damaged, gunzip, refused
from lensjax.data.record import leads_out
from lensjax.schema import ExitCode, LensjaxError

HEAD_BYTES = 2**20  # read at once; most files end before
MAX_PACKED_BYTES = 2**24  # of a gzip, before and after
FAR_BEYOND = 100  # a claim of this many times the file, and of 64 MiB, is no broken download
_FAR_BYTES = 2**26
GZIP = b"\x1f\x8b"


def inside(filesystem: fsspec.AbstractFileSystem, root: str, name: str) -> str:
    """The path of `name`, relative to `root`. Raises LensjaxError: REFUSED_INPUT for a name or a
    link that leads out of the root, DATA_INVALID for what is no file."""
    if leads_out(name):
        raise refused(f"{name!r} leads out of the data root")
    path = posixpath.join(root, name)
    if isinstance(filesystem, LocalFileSystem):
        real = os.path.realpath(path)
        if not real.startswith(os.path.realpath(root) + os.sep):
            raise refused(f"{name!r} is a link that leads out of the data root")
        try:
            if not stat.S_ISREG(os.stat(real).st_mode):  # a pipe would be waited for
                raise damaged(f"{name!r} is no file")
        except OSError as error:
            raise _unreadable(error) from error
    return path


class Bytes:
    """A file opened for reading: `size` in bytes, once unpacked.

    Raises LensjaxError: DATA_INVALID for a file that cannot be read or a damaged gzip,
    REFUSED_INPUT for a gzip that holds more than 16 MiB."""

    def __init__(self, filesystem: fsspec.AbstractFileSystem, path: str):
        self._filesystem, self._path = filesystem, path
        self._head = self._fetch(0, HEAD_BYTES)
        self.size = len(self._head)
        if self._head[:2] == GZIP:
            packed = self._fetch(0, MAX_PACKED_BYTES + 1)
            if len(packed) > MAX_PACKED_BYTES:
                raise refused(f"a gzip of more than {MAX_PACKED_BYTES} bytes")
            self._head = gunzip(packed, MAX_PACKED_BYTES)
            self.size = len(self._head)
        elif self.size == HEAD_BYTES:
            self.size = self._length()

    def read(self, start: int, count: int) -> bytes:
        """`count` bytes from `start` on. Raises LensjaxError (DATA_INVALID) if the file ends
        before."""
        end = start + count
        self.hold(end)
        if end <= len(self._head):
            return self._head[start:end]
        found = self._fetch(start, end)
        if len(found) != count:
            raise damaged(f"truncated at byte {start + len(found)}")
        return found

    def hold(self, end: int) -> None:
        """Raises LensjaxError if the file has less than `end` bytes: DATA_INVALID for one that was
        cut off, REFUSED_INPUT for a claim far beyond it."""
        if end > FAR_BEYOND * self.size and end > _FAR_BYTES:
            raise refused(f"its header claims {end} bytes of a file of {self.size}")
        if end > self.size:
            raise damaged(f"truncated: {self.size} bytes, {end} expected")

    def _fetch(self, start: int, end: int) -> bytes:
        try:
            return bytes(cast(bytes, self._filesystem.cat_file(self._path, start=start, end=end)))
        except OSError as error:
            raise _unreadable(error) from error

    def _length(self) -> int:
        try:
            return int(self._filesystem.size(self._path) or 0)
        except OSError as error:
            raise _unreadable(error) from error


def _unreadable(error: OSError) -> LensjaxError:
    if isinstance(error, FileNotFoundError):
        return LensjaxError(ExitCode.DATA_INVALID, "no such file")
    return LensjaxError(ExitCode.DATA_INVALID, f"cannot be read: {error.strerror or error}")
