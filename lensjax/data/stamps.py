"""Stamps: decode the bytes of one, and say what is wrong with many.

Not a reader of files: `parquet` finds the bytes and names file and row. Decoding refuses what
is hostile or misshapen; `validate` names what is wrong with the pixels. Nothing is ever repaired:
a NaN does not become 0, a missing band is not filled.

    >>> stamp = decode(blob)            # float32 [64, 64, 3], nanomaggies, bands g, r, z
    >>> causes = validate(stamp[None])  # [] if it is sound
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lensjax import schema
from lensjax.data.npz import read_npz
from lensjax.schema import ExitCode, LensjaxError

MEMBERS = tuple(f"image_{band}" for band in schema.BANDS)
LEGACY_MEMBER = "img"
SENTINEL = 1e29  # pixels at or beyond hold a 1e30 sentinel, not a flux
FILLS = (-99.0, -999.0, -9999.0)  # exact values that pipelines write for "no data"
MAX_ABS = 1e6  # nanomaggies
_BAND_SHAPE = (schema.STAMP_SIZE, schema.STAMP_SIZE)
_RADIUS = schema.radius_map()
_ANNULUS = np.flatnonzero(
    ((schema.OUTER_ANNULUS[0] <= _RADIUS) & (schema.OUTER_ANNULUS[1] > _RADIUS)).ravel()
)


class Cause(NamedTuple):
    """One thing wrong with one band of one stamp of a batch."""

    row: int
    band: str
    name: str
    message: str


def decode(blob: bytes | memoryview) -> np.ndarray:
    """The stamp of one npz blob: float32 [64, 64, 3], nanomaggies, bands g, r, z, native order.

    Raises LensjaxError: DATA_INVALID for a missing band, wrong shape or dtype, or damaged
    bytes; REFUSED_INPUT for hostile ones. `where` names the band, if it is one band's fault."""
    bands = np.empty((len(schema.BANDS), *_BAND_SHAPE), np.float32)
    decode_into(blob, bands)
    return np.ascontiguousarray(np.moveaxis(bands, 0, -1))


def decode_into(blob: bytes | memoryview, out: np.ndarray) -> None:
    """`decode` into `out`, float32 [3, 64, 64] (bands first, as they are stored)."""
    arrays = read_npz(blob, (*MEMBERS, LEGACY_MEMBER))
    if LEGACY_MEMBER in arrays:
        arrays = _legacy_bands(arrays)
    if len(arrays) != len(MEMBERS):
        raise _missing_bands([b for b in schema.BANDS if f"image_{b}" in arrays])
    for k, member in enumerate(MEMBERS):
        array = arrays[member]
        if array.shape != _BAND_SHAPE:
            raise _band_error(k, f"shape {array.shape}, expected {_BAND_SHAPE}")
        if array.dtype.kind != "f" or array.dtype.itemsize != 4:
            raise _band_error(k, f"dtype {array.dtype}, expected float32")
        out[k] = array


def _legacy_bands(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    image = arrays[LEGACY_MEMBER]
    if len(arrays) > 1:
        raise LensjaxError(
            ExitCode.DATA_INVALID, f"legacy member {LEGACY_MEMBER!r} beside {sorted(arrays)}"
        )
    if image.ndim == 2:
        image = image[None]
    if image.ndim != 3:
        raise LensjaxError(
            ExitCode.DATA_INVALID, f"shape {image.shape}, expected (3, 64, 64), bands g, r, z"
        )
    if len(image) != len(MEMBERS):
        raise LensjaxError(
            ExitCode.DATA_INVALID,
            f"missing bands: legacy {LEGACY_MEMBER!r} has {len(image)}, "
            f"expected {len(MEMBERS)} ({', '.join(schema.BANDS)})",
            remedy="Write the three bands as image_g, image_r and image_z",
        )
    return dict(zip(MEMBERS, image, strict=True))


def _missing_bands(present: list[str]) -> LensjaxError:
    missing = [band for band in schema.BANDS if band not in present]
    return LensjaxError(
        ExitCode.DATA_INVALID,
        f"missing band {', '.join(missing)} (has {', '.join(present) or 'none'}; "
        f"expected {', '.join(schema.BANDS)})",
        where=f"band {missing[0]}",
        remedy="Cut the stamp out again in all bands, or leave the row out",
    )


def _band_error(k: int, what: str) -> LensjaxError:
    return LensjaxError(ExitCode.DATA_INVALID, what, where=f"band {schema.BANDS[k]}")


def shape_fault(shape: tuple[int, ...]) -> str:
    """What is wrong with an array of `shape` where a whole stamp is expected, in words."""
    bands = f"({len(schema.BANDS)}, {schema.STAMP_SIZE}, {schema.STAMP_SIZE})"
    return f"shape {shape}, expected {bands} or {schema.STAMP_SHAPE}"


def validate(stamps: np.ndarray) -> list[Cause]:
    """What is wrong with `stamps`, float32 [n, 64, 64, 3] nanomaggies; see `validate_planes`.
    Raises LensjaxError for another shape."""
    if stamps.shape[1:] != schema.STAMP_SHAPE:
        raise LensjaxError(
            ExitCode.DATA_INVALID, f"shape {stamps.shape[1:]}, expected {schema.STAMP_SHAPE}"
        )
    return validate_planes(np.ascontiguousarray(np.moveaxis(stamps, -1, 1)))


def validate_planes(planes: np.ndarray) -> list[Cause]:
    """What is wrong with `planes`, float32 [n, 3, 64, 64] nanomaggies, contiguous: NaN,
    infinities, the 1e30 sentinel, fill values, |value| > 1e6, constant bands, and bands whose outer
    annulus (20 <= r < 32) has a MAD below 1e-6 of the band's range (contracts.md: the normaliser
    would blow them up). Sorted by row and band; [] if sound."""
    n, bands = len(planes), len(schema.BANDS)
    flat = planes.reshape(n * bands, schema.STAMP_SIZE**2)
    low, high = flat.min(axis=1, initial=np.inf), flat.max(axis=1, initial=-np.inf)
    bounded = (low >= -MAX_ABS) & (high <= MAX_ABS)  # False for NaN, without a warning
    found = []
    for index in np.flatnonzero(~bounded):
        found += [(index, *cause) for cause in _value_causes(flat[index])]
    for index in np.flatnonzero(bounded & (low <= max(FILLS))):
        found += [(index, *cause) for cause in _fill_causes(flat[index])]
    constant = bounded & (low == high)
    for index in np.flatnonzero(constant):
        found.append((index, "zero variance", f"zero variance (constant {low[index]:g})"))
    for index in _narrow(flat, low, high, np.flatnonzero(bounded & ~constant)):
        found.append((index, "narrow annulus", _narrow_message(high[index] - low[index])))
    found.sort(key=lambda cause: cause[0])
    return [
        Cause(int(index) // bands, schema.BANDS[int(index) % bands], name, message)
        for index, name, message in found
    ]


def _value_causes(pixels: np.ndarray) -> list[tuple[str, str]]:
    """Causes of one band with values that are not finite or beyond 1e6."""
    finite = np.isfinite(pixels)
    size = np.abs(np.where(finite, pixels, 0.0))
    sentinel = size >= SENTINEL
    counts = {
        "NaN": np.isnan(pixels),
        "+Inf": np.isposinf(pixels),
        "-Inf": np.isneginf(pixels),
        "sentinel": sentinel,
        "out of range": (size > MAX_ABS) & ~sentinel,
    }
    text: dict[str, Callable[[int], str]] = {
        "sentinel": lambda k: f"{k} of the 1e30 sentinel",
        "out of range": lambda k: (
            f"{k} beyond {MAX_ABS:g} nanomaggies (out of range, largest "
            f"{size[~sentinel].max(initial=0.0):g})"
        ),
    }
    causes = []
    for name, mask in counts.items():
        if k := int(mask.sum()):
            causes.append((name, text.get(name, lambda k, name=name: f"{k} {name}")(k)))
    return causes + _fill_causes(pixels)


def _fill_causes(pixels: np.ndarray) -> list[tuple[str, str]]:
    counts = [(fill, int((pixels == fill).sum())) for fill in FILLS]
    return [("fill", f"{k} of the {fill:g} fill") for fill, k in counts if k]


def _narrow(
    flat: np.ndarray, low: np.ndarray, high: np.ndarray, candidates: np.ndarray
) -> np.ndarray:
    """Those of `candidates` whose annulus MAD is below 1e-6 of the range.

    Medians are slow, so most bands are cleared by counting: if the MAD were at most e, half of
    the pixels would lie within 2e of each other; then of disjoint triples of pixels at least a
    quarter (pigeonhole: (n/2 - n/3) / 2 of n/3) would hold two within 2e."""
    annulus = np.take(flat[candidates], _ANNULUS, axis=1)
    limit = schema.MIN_MAD_OF_RANGE * (high[candidates].astype(np.float64) - low[candidates])
    third = annulus.shape[1] // 3
    a, b, c = annulus[:, :third], annulus[:, third : 2 * third], annulus[:, 2 * third : 3 * third]
    near = np.minimum(np.minimum(np.abs(a - b), np.abs(b - c)), np.abs(a - c))
    # 2.1, and a fifth for a quarter: room for rounding and the pixels outside the triples
    close = (near <= 2.1 * limit[:, None]).sum(axis=1)
    doubtful = np.flatnonzero(close >= third // 5)
    pixels = annulus[doubtful].astype(np.float64)
    mad = np.median(np.abs(pixels - np.median(pixels, axis=1)[:, None]), axis=1)
    return candidates[doubtful[mad < limit[doubtful]]]


def _narrow_message(extent: float) -> str:
    return (
        f"MAD of the outer annulus is below {schema.MIN_MAD_OF_RANGE:g} of the range {extent:g} "
        "(padded or masked outskirts)"
    )
