"""Folders of npz files (one a stamp) and of npy files (one a stamp, or stacks of them).

Not of other arrays: an npz has what a stamp of a Parquet file has, an npy is [3, h, w], [h, w, 3]
or a stack of either, float32. Neither says its unit and pixel scale, and an npy not its bands: the
user tells them.

    >>> form = NpzFormat(Told(unit="nanomaggy", pixel_scale_arcsec=0.262))
    >>> shards, findings = form.list_split(filesystem, root, "train")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from lensjax import schema
from lensjax.data.cutouts import Cutout, band_axis
from lensjax.data.indexed import IndexedFormat
from lensjax.data.npz import (
    MAX_BLOB_BYTES,
    MAX_HEADER_BYTES,
    NpyHeader,
    damaged,
    npy_header,
    read_npz,
)
from lensjax.data.reading import Bytes
from lensjax.data.stamps import LEGACY_MEMBER, MEMBERS
from lensjax.data.told import Declared, Told, band_planes, letters
from lensjax.schema import ExitCode, LensjaxError

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class NpzFormat(IndexedFormat):
    """Format of npz files with image_g, image_r and image_z, or with the one member img."""

    name: ClassVar[str] = "npz"

    def opened(self, file: Bytes) -> Arrays:
        """Its arrays; see npz.read_npz for what is refused."""
        blob = file.read(0, min(file.size, MAX_BLOB_BYTES + 1))
        return read_npz(blob, (*MEMBERS, LEGACY_MEMBER))

    def cutout(self, parts: Sequence[Arrays], row: int, told: Told) -> Cutout:
        """The one stamp of a file."""
        (arrays,) = parts
        if row:
            raise damaged(f"row {row} of an npz file, which has one stamp")
        if LEGACY_MEMBER in arrays and len(arrays) > 1:
            raise damaged(
                f"member {LEGACY_MEMBER!r} beside {sorted(set(arrays) - {LEGACY_MEMBER})}"
            )
        if LEGACY_MEMBER in arrays:
            planes = np.atleast_3d(arrays[LEGACY_MEMBER])
            planes = [planes[k] for k in band_planes({}, told, len(planes))]
        else:
            bands = "".join(b for b in schema.BANDS if f"image_{b}" in arrays)
            band_planes({"its members": bands}, told, len(bands))
            planes = [arrays[member] for member in MEMBERS]
        return floats(planes)


class Stack(NamedTuple):
    """An npy file and what its header says."""

    file: Bytes
    header: NpyHeader


@dataclass(frozen=True)
class NpyFormat(IndexedFormat):
    """Format of npy files, a stamp [3, h, w] or [h, w, 3], or stacks [n, ...] of them."""

    name: ClassVar[str] = "npy"

    def opened(self, file: Bytes) -> Stack:
        """Its header, checked against the file before an element is read."""
        header = npy_header(file.read(0, min(file.size, MAX_HEADER_BYTES + 12)), "the file")
        file.hold(header.begin + header.size)
        if header.begin + header.size < file.size:
            raise damaged(f"{file.size} bytes, {header.begin + header.size} expected")
        return Stack(file, header)

    def cutout(self, parts: Sequence[Stack], row: int, told: Told) -> Cutout:
        """The stamp of a row of the stack."""
        ((file, header),) = parts
        shape = header.shape if len(header.shape) == 4 else (1, *header.shape)
        bands = len(letters(told.bands)) or len(schema.BANDS)
        axis = band_axis(shape[1:], bands)
        if row >= shape[0]:
            raise damaged(f"row {row} of an npy file that has {shape[0]}")
        if header.fortran and shape[0] > 1:
            what = "a stack in Fortran order: write it with np.ascontiguousarray"
            raise LensjaxError(ExitCode.DATA_INVALID, what)
        size = header.size // shape[0]
        flat = np.frombuffer(file.read(header.begin + row * size, size), header.dtype)
        stamp = flat.reshape(shape[1:], order="F" if header.fortran else "C")
        planes = np.moveaxis(stamp, axis, 0)
        return floats([planes[k] for k in band_planes({}, told, bands)])


def floats(planes: Sequence[np.ndarray]) -> Cutout:
    """The cutout of planes of which nothing is declared. Raises LensjaxError (DATA_INVALID) for
    other numbers than float32."""
    for band, plane in zip(schema.BANDS, planes, strict=True):
        if plane.dtype.kind != "f" or plane.dtype.itemsize != 4:
            what = f"dtype {plane.dtype}, expected float32"
            raise LensjaxError(ExitCode.DATA_INVALID, what, f"band {band}")
    return Cutout(planes, [Declared()] * len(planes))
