"""Stored npz of stamps that repeat: one is parsed, the others are compared with it, many at once.

Not another reader: numpy.savez writes the same bytes again and again but for the pixels and their
CRCs, so a blob whose other bytes are those of one that `npz` has read is read alike, its CRCs
compared. Whatever differs goes through `npz`, which says what is wrong.

    >>> layout = learn(blob, ("image_g", "image_r", "image_z"))
    >>> decoded = decode_alike(layout, blobs, out)      # blobs: uint8 [b, size]
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np

from lensjax import schema
from lensjax.data.npz import directory, npy_header, payload_start

_SHAPE = (schema.STAMP_SIZE, schema.STAMP_SIZE)
_BAND_BYTES = 4 * schema.STAMP_SIZE**2
_LOCAL_CRC, _CENTRAL_CRC, _CENTRAL_NAME = 14, 16, 46  # offsets in the two headers of a zip member
_CENTRAL_SIZES = slice(28, 34)


class Layout(NamedTuple):
    """Where things are in a blob of `size` bytes: `fixed` int64 [m] the bytes that must be `values`
    uint8 [m]; of each band, in our order, where its CRC is (4 bytes), what the CRC covers (first
    and last byte), and where its pixels begin."""

    size: int
    fixed: np.ndarray
    values: np.ndarray
    crcs: tuple[int, ...]
    covered: tuple[tuple[int, int], ...]
    pixels: tuple[int, ...]


def learn(blob: bytes | memoryview, names: tuple[str, ...]) -> Layout | None:
    """The layout of npz bytes that `npz.read_npz` has accepted, with the members `names`; None for
    one that is packed, or whose bands are not little-endian float32 in rows."""
    data = memoryview(blob).cast("B")
    if data[:2] != b"PK":
        return None
    members = {member.name[:-4]: member for member in directory(data)}
    if set(members) != set(names):
        return None
    fixed = np.ones(len(data), bool)
    crcs, covered, pixels = [], [], []
    for name in names:
        member = members[name]
        start = payload_start(data, member)
        end = start + member.size
        header = npy_header(data[start:end], name)
        plain = member.method == 0 and member.packed == member.size
        if not plain or header.dtype != np.dtype("<f4") or header.shape != _SHAPE or header.fortran:
            return None
        crc = _central_crc(data, name)
        first = start + header.begin
        for a, b in (
            (crc, crc + 4),
            (member.offset + _LOCAL_CRC, member.offset + _LOCAL_CRC + 4),
            (first, first + _BAND_BYTES),
        ):
            fixed[a:b] = False
        crcs.append(crc)
        covered.append((start, end))
        pixels.append(first)
    index = np.flatnonzero(fixed)
    values = np.frombuffer(data, np.uint8)[index]
    return Layout(len(data), index, values, tuple(crcs), tuple(covered), tuple(pixels))


def _central_crc(data: memoryview, name: str) -> int:
    """Where the central directory has the CRC of a member."""
    wanted, at = f"{name}.npy".encode(), bytes(data).rfind(b"PK\x05\x06")
    at = int.from_bytes(data[at + 16 : at + 20], "little")
    while True:
        sizes = np.frombuffer(data[at:][_CENTRAL_SIZES], "<u2").tolist()
        if data[at + _CENTRAL_NAME : at + _CENTRAL_NAME + sizes[0]] == wanted:
            return at + _CENTRAL_CRC
        at += _CENTRAL_NAME + sum(sizes)


def decode_alike(layout: Layout, blobs: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Decode `blobs`, uint8 [b, size], into `out`, float32 [b, 3, 64, 64]; bool [b], those that
    have this layout and the CRCs that they claim. The others' pixels are not to be used."""
    alike = (blobs[:, layout.fixed] == layout.values).all(axis=1)
    for crc, (start, end) in zip(layout.crcs, layout.covered, strict=True):
        claimed = blobs[:, crc : crc + 4].copy().view("<u4").ravel().tolist()
        for k in np.flatnonzero(alike).tolist():
            alike[k] = zlib.crc32(blobs[k, start:end].data) == claimed[k]
    for band, first in enumerate(layout.pixels):
        plane = blobs[:, first : first + _BAND_BYTES]
        out.view(np.uint8).reshape(*out.shape[:2], -1)[:, band] = plane
    return alike
