"""Mutations of npz: fields of the zip's headers, npy headers, and whole archives made hostile.

Not of any zip. A mutated member is mostly given its true CRC and sizes again, so that what reads
it gets that far.

    >>> mutated(random.Random("0 17"), blob, others=[blob])
"""

from __future__ import annotations

import gzip
import io
import random
import struct
import warnings
import zipfile
import zlib
from collections.abc import Sequence

from tests.fuzz import mutate

_LOCAL, _CENTRAL, _END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
# offset and width of the fields of each header
_FIELDS = {
    _LOCAL: ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)),
    _CENTRAL: ((4, 2), (6, 2), (8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2),
               (32, 2), (34, 2), (38, 4), (42, 4)),
    _END: ((4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
}  # fmt: skip
_NAMES = (
    *("image_g.npy", "image_r.npy", "image_z.npy", "img.npy", "image_g.npy", "image_x.npy"),
    *("../../x.npy", "/etc/passwd", "C:\\x.npy", "image_g.npy\0.npy", "\x1b[2Jimage_g.npy", ".npy"),
    *("image_g", "IMAGE_G.NPY", "a" * 300 + ".npy", "image_g.npy/", "\u202eimage.npy"),
)
_KINDS = ("<f4", ">f4", "<f8", "|O", "|S9999", "<U4", "|V1", "<f2", "|b1", "<c8", "<M8", "f", "<i9")
_SHAPES = (
    *("(64, 64)", "(3, 64, 64)", "(64, 64, 3)", "(64,)", "()", "(0,)", "(-1, 64)", "(8, 8)"),
    *("(1000000, 1000000)", "(2147483648, 2147483648)", "(64, 64.0)", "(64, 6_4)", "(" * 500),
    "(" + "1, " * 64 + "64, 64)",
)
_HEADERS = (
    "{'descr': 'DESCR', 'fortran_order': ORDER, 'shape': SHAPE, }",
    "{'shape': SHAPE, 'descr': 'DESCR', 'fortran_order': ORDER}",
    "{'descr': [('a', 'DESCR')], 'fortran_order': ORDER, 'shape': SHAPE, }",
    "{'descr': 'DESCR', 'fortran_order': ORDER, 'shape': SHAPE, 'x': __import__('os').getcwd()}",
    "{'descr': 'DESCR', 'fortran_order': ORDER, 'shape': SHAPE",
)


def mutated(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """npz bytes, or gzip bytes around them, that were those of `data` before."""
    kind = rng.random()
    if kind < 0.15:
        return _crafted(rng)
    wrapped = data[:2] == b"\x1f\x8b"
    if wrapped and rng.random() < 0.5:
        made = mutate.mutated(rng, data, others, [(0, 16), (len(data) - 8, len(data))])
        return made
    plain = gzip.decompress(data) if wrapped else data
    if kind < 0.5:
        made = _field(rng, plain)
    elif kind < 0.7:
        made = _member(rng, plain)
    else:
        made = mutate.mutated(rng, plain, others, _hot(plain))
    return gzip.compress(made, 1, mtime=0) if wrapped or rng.random() < 0.05 else made


def _places(data: bytes) -> list[tuple[bytes, int]]:
    """Every header of the zip, and where it begins."""
    found = []
    for magic in _FIELDS:
        at = data.find(magic)
        while at >= 0:
            found.append((magic, at))
            at = data.find(magic, at + 1)
    return found


def _hot(data: bytes) -> list[tuple[int, int]]:
    """Headers of the zip, with the npy header behind a local one."""
    return [
        (at, min(len(data), at + (200 if magic == _LOCAL else 60))) for magic, at in _places(data)
    ]


def _field(rng: random.Random, data: bytes) -> bytes:
    """Some fields of headers at extreme values; a size mostly in both headers alike."""
    made, places = bytearray(data), _places(data)
    for _ in range(mutate.how_many(rng)):
        magic, at = rng.choice(places)
        offset, width = rng.choice(_FIELDS[magic])
        number, was = mutate.extreme(rng, width), bytes(made[at + offset : at + offset + width])
        if width == 4 and rng.random() < 0.3:
            made = bytearray(bytes(made).replace(was, number, 4))
        else:
            made[at + offset : at + offset + width] = number
    return bytes(made)


def _member(rng: random.Random, data: bytes) -> bytes:
    """One member's bytes mutated, its CRC and sizes made true again (those of the first header)."""
    members = [at for magic, at in _places(data) if magic == _LOCAL]
    at = rng.choice(members)
    names = struct.unpack_from("<HH", data, at + 26)
    start = at + 30 + sum(names)
    end = min([x for x in members if x > at] + [data.find(_CENTRAL)])
    if end <= start:
        return mutate.mutated(rng, data, [data])
    payload = mutate.mutated(rng, data[start:end], [data[start:end]], [(0, 128)])
    payload = payload.ljust(end - start, b"\0")[: end - start]  # what follows stays in its place
    was = struct.pack("<I", zlib.crc32(data[start:end]))
    made = data[:start] + payload + data[end:]
    return made.replace(was, struct.pack("<I", zlib.crc32(payload)))


def _crafted(rng: random.Random) -> bytes:
    """A zip of members with hostile names and npy headers, written by zipfile."""
    out = io.BytesIO()
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        with zipfile.ZipFile(out, "w", method) as archive:
            for k in range(rng.choice((0, 1, 3, 3, 3, 20))):
                usual = ("image_g.npy", "image_r.npy", "image_z.npy")
                name = rng.choice(_NAMES) if rng.random() < 0.3 or k > 2 else usual[k]
                info = zipfile.ZipInfo(name)
                info.compress_type = method
                info.comment = rng.choice((b"", b"", b"\x1b[31m", bytes(2**15)))
                info.external_attr = rng.choice((0, 0, 0, 0o120777 << 16, 0o40755 << 16))
                archive.writestr(info, _npy(rng))
            archive.comment = rng.choice((b"", b"PK\x05\x06" + bytes(18), bytes(65_535)))
    return out.getvalue()


def _npy(rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        kind, shape = "<f4", "(64, 64)"
    else:
        kind, shape = rng.choice(_KINDS), rng.choice(_SHAPES)
    header = rng.choice(_HEADERS) if rng.random() < 0.3 else _HEADERS[0]
    order = rng.choice(("False", "False", "True", "None"))
    text = header.replace("DESCR", kind).replace("ORDER", order).replace("SHAPE", shape).encode()
    version = rng.choice((b"\1\0", b"\1\0", b"\2\0", b"\3\0", b"\0\0"))
    length = len(text) if rng.random() < 0.9 else rng.choice((0, 2**16 - 1, len(text) + 1))
    size = struct.pack("<I" if version[0] > 1 else "<H", length)
    body = rng.choice((rng.randbytes(64), bytes(4 * 64**2), bytes(2**21), b"\x80\x04\x95."))
    if kind == "<f4" and rng.random() < 0.8:
        body = rng.randbytes(4 * 64**2)
    return b"\x93NUMPY" + version + size + text + body
