"""A bounded reader of npz bytes from strangers: checks every size before it reads anything.

Not numpy.load: that opens bombs (a 1 MB file to 1 GiB), takes the last of two members of one
name, and with allow_pickle runs code. Here the zip directory and each array header are checked
first (members known, unique, no paths, not encrypted, sizes bounded and true), then each member
is inflated through a bounded stream and its CRC compared. Stored and deflated members, gzip
around the whole, npy versions 1 and 2; nothing else is needed by what writes stamps.

    >>> arrays = read_npz(blob, allowed=("image_g", "image_r", "image_z", "img"))
"""

from __future__ import annotations

import functools
import itertools
import math
import re
import struct
import zlib
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from lensjax.schema import ExitCode, LensjaxError

MAX_BLOB_BYTES = 4 * 2**20  # a stamp is 48 KiB; a float64 one of 128 x 128 x 3 is 384 KiB
MAX_MEMBER_BYTES = 2**20
MAX_MEMBERS = 16
MAX_HEADER_BYTES = 4096  # of an npy array
MAX_SIDES = 8  # dimensions of an array; numpy itself has none of over 64
_STORED, _DEFLATED = 0, 8
_EOCD = struct.Struct("<4sHHHHIIH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_HEADER = re.compile(
    rb"\{'descr': '(?P<descr>[<>|=]?[a-zA-Z]\d{0,4})', 'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<shape>(-?\d{1,20}, ?)*(-?\d{1,20})?)\),? ?\}\s*"
)
_ZIP64 = 0xFFFFFFFF
_ENCRYPTED, _STREAMED = 0x1, 0x8  # flag bits
_SYMLINK, _FILE_TYPE = 0o120000, 0o170000


class Member(NamedTuple):
    name: str
    method: int
    crc: int
    packed: int
    size: int
    offset: int


def read_npz(blob: bytes | memoryview, allowed: Collection[str]) -> dict[str, np.ndarray]:
    """The arrays of npz bytes by member name (without .npy), read-only views where possible.

    Raises LensjaxError: REFUSED_INPUT for what looks hostile (bombs, sizes that are not true,
    duplicate or path-like names, links, encryption, pickles), DATA_INVALID for what looks
    damaged or foreign (truncated, wrong CRC, a member not in `allowed`)."""
    data = memoryview(blob).cast("B")
    if len(data) > MAX_BLOB_BYTES:
        raise refused(f"{len(data)} bytes where a stamp has under {MAX_BLOB_BYTES}")
    if data[:2] == b"\x1f\x8b":
        data = memoryview(gunzip(data, MAX_BLOB_BYTES))
    if data[:2] != b"PK":
        raise _not_npz(data)
    members = directory(data)
    _check_names(members, allowed)
    arrays, taken = {}, []
    for member in members:
        start = payload_start(data, member)
        taken.append((member.offset, start + member.packed))
        arrays[member.name[:-4]] = _array(_payload(data, member, start), member.name)
    taken.sort()
    if any(end > start for (_, end), (start, _) in itertools.pairwise(taken)):
        raise refused("zip members overlap")
    return arrays


def refused(what: str) -> LensjaxError:
    """A LensjaxError that refuses hostile input (exit 17)."""
    return LensjaxError(
        ExitCode.REFUSED_INPUT, what, remedy="Do not open this file; ask where it came from"
    )


def damaged(what: str) -> LensjaxError:
    """A LensjaxError for damaged or foreign input (exit 10)."""
    return LensjaxError(ExitCode.DATA_INVALID, what, remedy="Write or copy the file again")


def is_pickle(data: bytes | memoryview) -> bool:
    """Whether `data` begins as a pickle does, of protocol 2 (2003) or later."""
    return bytes(data[:1]) == b"\x80" and bytes(data[1:2]) in (b"\2", b"\3", b"\4", b"\5")


def _not_npz(data: memoryview) -> LensjaxError:
    if is_pickle(data):
        return refused("a pickle, not an npz")
    return damaged(f"not an npz ({len(data)} bytes beginning {bytes(data[:4])!r})")


def gunzip(data: bytes | memoryview, limit: int) -> bytes:
    """What one gzip stream unpacks to. Raises LensjaxError: REFUSED_INPUT beyond `limit` bytes,
    DATA_INVALID for a damaged or truncated stream, or one with anything after it."""
    stream = zlib.decompressobj(31)
    try:
        plain = stream.decompress(data, limit + 1)
    except zlib.error as error:
        raise damaged(f"damaged gzip: {error}") from error
    if len(plain) > limit:
        raise refused(f"gzip unpacks to more than {limit} bytes")
    if not stream.eof:
        raise damaged("truncated gzip")
    if stream.unused_data:
        raise damaged(f"{len(stream.unused_data)} bytes after the gzip stream")
    return plain


def directory(data: memoryview) -> list[Member]:
    """The members as the central directory lists them, each field bounded."""
    tail = max(0, len(data) - 2**16 - _EOCD.size)  # a comment may follow the end record
    end = tail + bytes(data[tail:]).rfind(b"PK\x05\x06")
    if end < tail or end + _EOCD.size > len(data):
        raise damaged("truncated npz: the zip has no end record")
    _, disk, first_disk, here, total, size, offset, _ = _EOCD.unpack_from(data, end)
    if disk or first_disk or here != total or offset == _ZIP64 or offset + size != end:
        raise refused("the zip end record does not describe this file")
    if total > MAX_MEMBERS:
        raise refused(f"{total} zip members, at most {MAX_MEMBERS} expected")
    members = []
    for _ in range(total):
        if offset + _CENTRAL.size > end:
            raise refused("the zip directory is shorter than it says")
        field = _CENTRAL.unpack_from(data, offset)
        flags, method, crc, packed, plain = field[3], field[4], field[7], field[8], field[9]
        name_end = offset + _CENTRAL.size + field[10]
        name = bytes(data[offset + _CENTRAL.size : name_end]).decode("latin-1")
        if field[0] != b"PK\x01\x02":
            raise refused("the zip directory is damaged")
        if flags & _ENCRYPTED:
            raise refused(f"member {name!r} is encrypted")
        if (field[15] >> 16) & _FILE_TYPE == _SYMLINK:
            raise refused(f"member {name!r} is a symbolic link")
        if plain > MAX_MEMBER_BYTES or packed > MAX_MEMBER_BYTES:
            raise refused(f"member {name!r} claims {plain} bytes, at most {MAX_MEMBER_BYTES}")
        members.append(Member(name, method, crc, packed, plain, field[16]))
        offset = name_end + field[11] + field[12]
    if offset != end:
        raise refused("the zip directory holds more than it lists")
    return members


def _check_names(members: list[Member], allowed: Collection[str]) -> None:
    names = [member.name for member in members]
    for name in names:
        if any(part in name for part in ("/", "\\", "..", ":", "\0")):
            raise refused(f"member {name!r} is a path")
        if names.count(name) > 1:
            raise refused(f"member {name!r} is there twice")
        if not name.endswith(".npy") or name[:-4] not in allowed:
            raise damaged(f"unexpected member {name!r}, expected {', '.join(allowed)}")


def payload_start(data: memoryview, member: Member) -> int:
    """Where the member's bytes begin; its local header must say what the directory says."""
    if member.offset + _LOCAL.size > len(data):
        raise refused(f"member {member.name!r} lies outside the file")
    field = _LOCAL.unpack_from(data, member.offset)
    name_start = member.offset + _LOCAL.size
    start = name_start + field[9] + field[10]
    name = bytes(data[name_start : name_start + field[9]]).decode("latin-1")
    if field[0] != b"PK\x03\x04" or name != member.name or field[3] != member.method:
        raise refused(f"the headers of member {member.name!r} disagree")
    if not field[2] & _STREAMED:
        packed, size = field[7], field[8]
        if packed == _ZIP64 and size == _ZIP64:  # numpy.savez always writes zip64 here
            extra = data[name_start + field[9] : start]
            if len(extra) < 20 or extra[:4] != b"\x01\x00\x10\x00":
                raise refused(f"the headers of member {member.name!r} disagree")
            size, packed = struct.unpack_from("<QQ", extra, 4)
        if (packed, size) != (member.packed, member.size):
            raise refused(f"the headers of member {member.name!r} disagree in size")
    if start + member.packed > len(data):
        raise refused(f"member {member.name!r} lies outside the file")
    return start


def _payload(data: memoryview, member: Member, start: int) -> bytes | memoryview:
    """The member's plain bytes: exactly as many as it claims, with the CRC it claims."""
    packed = data[start : start + member.packed]
    if member.method == _STORED:
        plain, true_size = packed, member.packed == member.size
    elif member.method == _DEFLATED:
        stream = zlib.decompressobj(-15)
        try:
            plain = stream.decompress(packed, member.size + 1)
        except zlib.error as error:
            raise damaged(f"member {member.name!r} cannot be inflated: {error}") from error
        true_size = len(plain) == member.size
    else:
        raise damaged(f"member {member.name!r} is packed by method {member.method}")
    if not true_size:
        raise refused(f"member {member.name!r} does not have the size it claims")
    if zlib.crc32(plain) != member.crc:
        raise damaged(f"the CRC of member {member.name!r} does not match its bytes")
    return plain


def _array(plain: bytes | memoryview, name: str) -> np.ndarray:
    """The array of one npy member, its header checked against the bytes that are there."""
    header = npy_header(plain, f"member {name!r}")
    there = len(plain) - header.begin
    if header.size != there:
        raise refused(
            f"the npy header of member {name!r} claims {header.count} elements in {there} bytes"
        )
    flat = np.frombuffer(plain, header.dtype, header.count, header.begin)
    return flat.reshape(header.shape, order="F" if header.fortran else "C")


class NpyHeader(NamedTuple):
    """What an npy header says: the elements begin at byte `begin`."""

    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool
    begin: int

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """Bytes of all elements."""
        return self.count * self.dtype.itemsize


def npy_header(plain: bytes | memoryview, what: str) -> NpyHeader:
    """The header of npy bytes (`plain` may end after it), called `what` in messages.

    Raises LensjaxError: DATA_INVALID for what is no npy array of version 1 or 2, REFUSED_INPUT
    for pickled objects, negative sides and headers that numpy does not write."""
    head = bytes(plain[:12])
    if head[:6] != b"\x93NUMPY" or len(plain) < 12 or head[6] not in (1, 2):
        raise damaged(f"{what} is not an npy array of version 1 or 2")
    wide = head[6] == 2
    length = int.from_bytes(head[8:12] if wide else head[8:10], "little")
    begin = (12 if wide else 10) + length
    if length > MAX_HEADER_BYTES or begin > len(plain):
        raise refused(f"the npy header of {what} claims {length} bytes")
    dtype, shape, fortran = _npy_header(bytes(plain[12 if wide else 10 : begin]), what)
    if dtype.hasobject:
        raise refused(f"{what} holds pickled objects")
    if min(shape, default=0) < 0 or dtype.itemsize == 0:
        raise refused(f"the npy header of {what} has a negative side or empty elements")
    if len(shape) > MAX_SIDES:
        raise refused(f"the npy header of {what} has {len(shape)} dimensions")
    return NpyHeader(dtype, shape, fortran, begin)


@functools.lru_cache(maxsize=256)
def _npy_header(header: bytes, what: str) -> tuple[np.dtype, tuple[int, ...], bool]:
    """dtype, shape and Fortran order of an npy header (headers repeat: cached). Numpy evaluates
    the header as a Python literal; here it must look as numpy writes it."""
    match = _HEADER.fullmatch(header)
    if not match:
        raise refused(f"the npy header of {what} cannot be read: {header[:60]!r}")
    try:
        dtype = np.dtype(match["descr"].decode())
    except TypeError as error:
        raise refused(f"the npy header of {what} has no known dtype: {error}") from error
    shape = tuple(int(side) for side in match["shape"].split(b",") if side.strip())
    return dtype, shape, match["fortran"] == b"True"
