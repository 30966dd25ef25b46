"""From cutouts of any size and unit to stamps: 64 x 64 pixels, nanomaggies.

Not a registration: the three bands are taken to share one grid. The centre of a stamp is the
geometric centre of its cutout; cut from a cutout of odd size it lies half a pixel below, in rows
and in columns, because no 64 pixels have a middle one. Resampling keeps the centre.

    >>> cutout = Cutout([g, r, z], [Declared(unit={"BUNIT": "nanomaggy"})] * 3)    # [120, 120]
    >>> pixels = stamp(cutout, Told(pixel_scale_arcsec=0.25, resample=True))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lensjax import schema
from lensjax.data.told import SAME_SCALE, Declared, Told, calibration
from lensjax.schema import ExitCode, LensjaxError

SIZE = schema.STAMP_SIZE
MAX_SIDE = 1024  # pixels; what is larger is no cutout of a galaxy


class Cutout(NamedTuple):
    """The planes g, r, z [h, w] of one stamp, in the units of its files, and what is declared of
    each."""

    planes: Sequence[np.ndarray]
    declared: Sequence[Declared]


def stamp(cutout: Cutout, told: Told) -> np.ndarray:
    """float32 [3, 64, 64], nanomaggies. Raises LensjaxError (DATA_INVALID) for another shape, for
    bands that differ in shape or pixel scale, and as told.calibration; `where` names the band."""
    found = []
    for band, plane, declared in zip(schema.BANDS, *cutout, strict=True):
        try:
            check_shape(plane.shape)
            found.append(calibration(declared, told))
        except LensjaxError as error:
            error.where = f"band {band}"
            raise
    shapes = [plane.shape for plane in cutout.planes]
    scales = [one.pixel_scale_arcsec for one in found]
    if len(set(shapes)) > 1:
        raise LensjaxError(ExitCode.DATA_INVALID, f"bands differ in shape: {shapes}")
    if not math.isclose(min(scales), max(scales), rel_tol=SAME_SCALE):
        raise LensjaxError(ExitCode.DATA_INVALID, f"bands differ in pixel scale: {scales} arcsec")
    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
        pixels = np.stack([np.asarray(plane, np.float64) for plane in cutout.planes])
    ratio = schema.PIXEL_SCALE_ARCSEC / scales[0]
    if told.resample and not math.isclose(ratio, 1.0, rel_tol=SAME_SCALE):
        pixels = resample(pixels, ratio)
    factors = np.array([one.nanomaggies for one in found])
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 is infinite, and named
        return (cut(pixels) * factors[:, None, None]).astype(np.float32)


def check_shape(shape: tuple[int, ...]) -> None:
    """Raises LensjaxError (DATA_INVALID) unless `shape` is (h, w) of at least 64 and at most 1024
    pixels a side."""
    if len(shape) != 2 or min(shape) < SIZE:
        what = f"shape {shape}, expected ({SIZE}, {SIZE}) or larger"
        raise LensjaxError(ExitCode.DATA_INVALID, what)
    if max(shape) > MAX_SIDE:
        what = f"shape {shape}: an image of more than {MAX_SIDE} pixels a side is no cutout"
        raise LensjaxError(ExitCode.DATA_INVALID, what)


def band_axis(shape: tuple[int, ...], bands: int) -> int:
    """Which axis of `shape`, (bands, h, w) or (h, w, bands), is that of the bands. Raises
    LensjaxError (DATA_INVALID) for another shape, and as `check_shape`."""
    if len(shape) == 3:
        for axis in (0, -1):
            if shape[axis] == bands:
                check_shape(shape[1:] if axis == 0 else shape[:-1])
                return axis
    what = f"shape {shape}, expected ({bands}, {SIZE}, {SIZE}) or ({SIZE}, {SIZE}, {bands})"
    raise LensjaxError(ExitCode.DATA_INVALID, what)


def off_centre(height: int, width: int) -> str:
    """What is to be noted where `cut` moves the centre; empty where it does not."""
    if height % 2 == 0 and width % 2 == 0:
        return ""
    return (
        f"{height} x {width} pixels cut to {SIZE} x {SIZE}: the middle of an odd number lies half "
        "a pixel off the stamp's centre"
    )


def cut(cutout: np.ndarray) -> np.ndarray:
    """The middle 64 x 64 of `cutout` [..., h, w], a view."""
    top, left = ((side - SIZE) // 2 for side in cutout.shape[-2:])
    return cutout[..., top : top + SIZE, left : left + SIZE]


def resample(cutout: np.ndarray, ratio: float) -> np.ndarray:
    """64 x 64 pixels, each `ratio` pixels of `cutout` wide, about its centre: float64 [..., 64,
    64] of `cutout` [..., h, w], flux a pixel in and out.

    A pixel's surface brightness times the area that it shares with a new pixel goes to that new
    pixel, so flux is kept; this is drizzling with pixfrac 1 and equal weights (Fruchter & Hook
    2002, PASP 114, 144, section 2). Noise of neighbouring pixels becomes correlated. What is not
    finite makes every new pixel that it touches NaN.

    Raises LensjaxError (DATA_INVALID) if the cutout does not reach that far."""
    height, width = cutout.shape[-2:]
    need = SIZE * ratio
    if min(height, width) < need * (1 - 1e-9):
        what = f"shape ({height}, {width}): resampled to {schema.PIXEL_SCALE_ARCSEC} arcsec it is "
        what += f"smaller than {SIZE} pixels ({need:.1f} of its own are needed)"
        raise LensjaxError(ExitCode.DATA_INVALID, what)
    down, along = shared_lengths(height, ratio), shared_lengths(width, ratio)
    unusable = ~np.isfinite(cutout)
    resampled = down @ np.where(unusable, 0.0, cutout) @ along.T
    if unusable.any():
        resampled[down @ unusable @ along.T > 0] = np.nan
    return resampled


def shared_lengths(side: int, ratio: float) -> np.ndarray:
    """float64 [64, side]: the length, in old pixels, that each of 64 new pixels of width `ratio`,
    centred on the old ones, shares with each old pixel."""
    edges = side / 2 + ratio * (np.arange(SIZE + 1) - SIZE / 2)
    old = np.arange(side)
    shared = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    return np.clip(shared, 0.0, None)
