"""Bytes that do harm to a reader that trusts them: npz bombs, npy headers that lie, pickles, zips.

Not a fuzzer (tests/fuzz is): each is one known trick, made from a sound stamp, float32 [3, 64, 64].

    blob = TRICKS["S4 duplicate"](stamp)
"""

from __future__ import annotations

import functools
import io
import os
import pickle
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tests.faults.roots import members_of

Member = tuple[str, bytes]
CANARY = "canary"  # a folder in the working directory, made by code that must never run
_MIB = 2**20


class Canary:
    """An object whose unpickling makes a folder."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.makedirs, (CANARY, 0o777, True)


def npy(array: np.ndarray) -> bytes:
    """npy bytes."""
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def members(stamp: np.ndarray) -> dict[str, bytes]:
    """The npy members of a sound stamp, by their names in the zip."""
    return {f"{name}.npy": npy(plane) for name, plane in members_of(stamp).items()}


def zipped(*parts: Member, change: Callable[[zipfile.ZipInfo], None] | None = None) -> bytes:
    """A zip of `parts`; `change` is made to the entry of image_r.npy."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, content in parts:
            info = zipfile.ZipInfo(name)
            if change and name == "image_r.npy":
                change(info)
            made.writestr(info, content)
    return out.getvalue()


def with_r(stamp: np.ndarray, content: bytes, name: str = "image_r.npy") -> bytes:
    """An npz whose member image_r.npy is called `name` and holds `content`."""
    parts = [(x, y) for x, y in members(stamp).items() if x != "image_r.npy"]
    return zipped(*parts, (name, content))


# -- S1 -------------------------------------------------------------------------------------------


@functools.cache
def _zeros(mebibytes: int, side: int) -> tuple[bytes, int, int]:
    """An npy array of side x side zeros, deflated; its CRC and its size."""
    head = io.BytesIO()
    form = {"descr": "<f4", "fortran_order": False, "shape": (side, side)}
    np.lib.format.write_array_header_1_0(head, form)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = [packer.compress(head.getvalue()), packer.flush(zlib.Z_FULL_FLUSH)]
    block = bytes(_MIB)
    packed += [packer.compress(block), packer.flush(zlib.Z_FULL_FLUSH)]
    again = zlib.compressobj(9, zlib.DEFLATED, -15)
    one = again.compress(block) + again.flush(zlib.Z_FULL_FLUSH)
    crc = zlib.crc32(head.getvalue())
    for _ in range(mebibytes):
        crc = zlib.crc32(block, crc)
    end = zlib.compressobj(9, zlib.DEFLATED, -15).flush()
    body = b"".join(packed) + one * (mebibytes - 1) + end
    return body, crc, len(head.getvalue()) + mebibytes * _MIB


def bomb(stamp: np.ndarray, mebibytes: int = 1024) -> bytes:
    """An npz whose band r is that many MiB of zeros, in a thousandth of it."""
    side = int((mebibytes * _MIB / 4) ** 0.5)
    body, crc, size = _zeros(mebibytes, side)
    blob = bytearray(with_r(stamp, body))
    local = blob.index(b"image_r.npy") - 30
    central = blob.rindex(b"image_r.npy") - 46
    for at, first in ((local, 8), (central, 10)):
        blob[at + first : at + first + 2] = (8).to_bytes(2, "little")  # deflated
        crc_at = at + first + 6
        blob[crc_at : crc_at + 4] = crc.to_bytes(4, "little")
        blob[crc_at + 8 : crc_at + 12] = size.to_bytes(4, "little")
    return bytes(blob)


# -- S2 -------------------------------------------------------------------------------------------


def header(shape: str) -> Callable[[np.ndarray], bytes]:
    """Band r claims another shape than its bytes have."""

    def trick(stamp: np.ndarray) -> bytes:
        plain = npy(stamp[1])
        claimed = plain[:128].replace(b"(64, 64)", shape.encode())
        claimed = claimed[:127].rstrip(b"\n ").ljust(127) + b"\n"
        return with_r(stamp, claimed + plain[128:])

    return trick


# -- S3 -------------------------------------------------------------------------------------------


def pickled_objects(stamp: np.ndarray) -> bytes:
    """Band r is an array of objects."""
    objects = np.empty(1, object)
    objects[0] = Canary()
    return with_r(stamp, npy(objects))


def bare_pickle(stamp: np.ndarray) -> bytes:
    """No npz at all."""
    del stamp
    return pickle.dumps(Canary())


# -- S4 -------------------------------------------------------------------------------------------


def named(name: str) -> Callable[[np.ndarray], bytes]:
    """Band r under a name that is a path."""
    return lambda stamp: with_r(stamp, npy(stamp[1]), name)


def duplicate(stamp: np.ndarray) -> bytes:
    """Band r twice: the second is not what the first says."""
    return zipped(*members(stamp).items(), ("image_q.npy", npy(stamp[1] * 3))).replace(
        b"image_q", b"image_r"
    )


def encrypted(stamp: np.ndarray) -> bytes:
    """Band r is said to need a password."""
    blob = bytearray(zipped(*members(stamp).items()))
    for at, flags in ((blob.index(b"image_r") - 30, 6), (blob.rindex(b"image_r") - 46, 8)):
        blob[at + flags] |= 1
    return bytes(blob)


def link(stamp: np.ndarray) -> bytes:
    """Band r has the attributes of a symbolic link."""

    def attributes(info: zipfile.ZipInfo) -> None:
        info.create_system, info.external_attr = 3, 0o120777 << 16

    return zipped(*members(stamp).items(), change=attributes)


def lying(by: int) -> Callable[[np.ndarray], bytes]:
    """Band r says that it unpacks to `by` bytes more than it does."""

    def trick(stamp: np.ndarray) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
            for name, content in members(stamp).items():
                made.writestr(name, content)
        blob = bytearray(out.getvalue())
        said = (len(npy(stamp[1])) + by).to_bytes(4, "little")
        for at, size in ((blob.index(b"image_r") - 30, 22), (blob.rindex(b"image_r") - 46, 24)):
            blob[at + size : at + size + 4] = said
        return bytes(blob)

    return trick


def zip64(stamp: np.ndarray) -> bytes:
    """Sizes and place of band r are said to be in a zip64 field, which is not there."""
    blob = bytearray(zipped(*members(stamp).items()))
    at = blob.rindex(b"image_r") - 46
    blob[at + 20 : at + 28] = b"\xff" * 8
    return bytes(blob)


def overlap(stamp: np.ndarray) -> bytes:
    """Band z lies inside band r, header and all."""
    blob = bytearray(zipped(*members(stamp).items()))
    local, central = blob.index(b"image_r") - 30, blob.rindex(b"image_r") - 46
    begin, end = local + 30 + len("image_r.npy"), blob.index(b"PK\x01\x02")
    size = (end - begin).to_bytes(4, "little")
    crc = zlib.crc32(blob[begin:end]).to_bytes(4, "little")
    for at, first in ((local, 14), (central, 16)):
        blob[at + first : at + first + 12] = crc + size + size
    return bytes(blob)


TRICKS: Mapping[str, Callable[[np.ndarray], bytes]] = {
    "S1 bomb": bomb,
    "S2 elements": header("(1000000, 1000000)"),
    "S2 overflow": header("(2147483648, 2147483648)"),
    "S2 negative": header("(-64, 64)"),
    "S3 objects": pickled_objects,
    "S3 pickle": bare_pickle,
    "S4 climbing": named("../../image_r.npy"),
    "S4 absolute": named("/image_r.npy"),
    "S4 duplicate": duplicate,
    "S4 encrypted": encrypted,
    "S4 link": link,
    "S4 size less": lying(-64),
    "S4 size more": lying(64),
    "S4 zip64": zip64,
    "S4 overlap": overlap,
}
