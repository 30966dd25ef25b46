"""The heaps of a stranger's HDF5 file, where its words of variable length are: do they end?

Not a reader. libhdf5 1.14 walks a heap by the sizes that its objects claim and checks none of them:
one of size 0 keeps it there for ever. Where the heaps are nothing says but what points to them, so
the whole file is searched for their signature, at some 3 GB/s. HDF5 File Format Specification 3.0,
section III.E (support.hdfgroup.org/documentation).

    >>> with filesystem.open(path, "rb") as handle:
    ...     check_heaps(handle)
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

from lensjax.data.npz import damaged

_CHUNK_BYTES = 2**24
_SUPERBLOCK = b"\x89HDF\r\n\x1a\n"
_WIDTH_AT = {0: 14, 1: 14, 2: 10, 3: 10}  # by version: which byte says how wide lengths are
_HEAP = re.compile(b"GCOL\x01")
_HEADER = struct.Struct("<4sB3xQ")  # signature, version, size of all
_OBJECT = struct.Struct("<HH4xQ")  # number, references, size
_LEAST_BYTES = 4096  # of a heap
_MOST_BYTES = 2**26  # of a heap: a million words of 64 bytes


def check_heaps(handle: BinaryIO) -> None:
    """Raises LensjaxError (DATA_INVALID) for a heap whose objects do not fill it, and for a file
    that is no HDF5 with lengths of 8 bytes. OSError if it cannot be read."""
    size = handle.seek(0, os.SEEK_END)
    _check_widths(handle, size)
    for at in _signatures(handle, size):
        handle.seek(at)
        head = handle.read(_HEADER.size)
        if len(head) == _HEADER.size:
            length = _HEADER.unpack(head)[2]
            if _LEAST_BYTES <= length <= size - at:  # else these bytes are pixels, or no heap
                _check_heap(handle, at, length)


def _check_widths(handle: BinaryIO, size: int) -> None:
    """The sizes below are read as they are written: eight bytes wide."""
    at = 0
    while at + 16 <= size:
        handle.seek(at)
        head = handle.read(16)
        if head[:8] == _SUPERBLOCK:
            if head[_WIDTH_AT.get(head[8], 8)] != 8:
                raise damaged("lengths of another width than 8 bytes, or an unknown superblock")
            return
        at = 2 * at or 512  # a block of the user's may be before it
    raise damaged(f"not an HDF5 file ({size} bytes)")


def _signatures(handle: BinaryIO, size: int) -> Iterator[int]:
    """Where in the file a heap may begin."""
    for first in range(0, size, _CHUNK_BYTES):
        handle.seek(first)
        chunk = handle.read(_CHUNK_BYTES + len(_HEAP.pattern) - 1)
        for match in _HEAP.finditer(chunk):
            yield first + match.start()


def _check_heap(handle: BinaryIO, start: int, length: int) -> None:
    if length > _MOST_BYTES:
        raise damaged(f"a heap of {length} bytes (byte {start}), at most {_MOST_BYTES} are read")
    handle.seek(start)
    heap, at = handle.read(length), _HEADER.size
    while at + _OBJECT.size <= length:
        number, _, claimed = _OBJECT.unpack_from(heap, at)
        # the free space, number 0, is the last, and its header is part of it
        need = claimed if number == 0 else _OBJECT.size + (claimed + 7) // 8 * 8
        if need < _OBJECT.size or at + need > length or (number == 0 and at + need != length):
            what = f"an object of {claimed} bytes (byte {start}; h5repack makes it anew)"
            raise damaged(f"a damaged heap of words: {what}")
        at += need
