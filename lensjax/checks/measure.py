"""One pass over the pixels: all that the checks need to know of each stamp.

Not a check. Works through memory-mapped stamps in chunks small enough for the processor's
cache (about 0.15 ms a stamp on one core), so that a set larger than memory can be measured.

    >>> measured = measure(stamps)          # stamps: float32 [n, 64, 64, 3], nanomaggies
    >>> measured.outskirts.shape            # [n, 12], see OUTSKIRTS_COLUMNS
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lensjax import schema
from lensjax.data.stamps import Cause, validate

CHUNK_ROWS = 64  # 3 MB of pixels
OUTSKIRTS_RADIUS = 28.0  # pixels; beyond it, corners included, no arc of theta_E < 2.5 arcsec shows
CLIP_SIGMA = 4.0  # neighbours' pixels count no more than this in autocorrelation and fingerprint
FINGERPRINT_SIZE = 12
OUTSKIRTS_COLUMNS = tuple(
    f"{name}_{band}"
    for band in schema.BANDS
    for name in ("log10_sigma", "median_over_sigma", "autocorrelation_h", "autocorrelation_v")
)
MAD_TO_SIGMA = 1.4826

_OUTSIDE = schema.radius_map() >= OUTSKIRTS_RADIUS
_OUTSIDE_INDEX = np.flatnonzero(_OUTSIDE.ravel())
_OUTSIDE_FLOAT = _OUTSIDE.astype(np.float32)
_N_OUTSIDE = len(_OUTSIDE_INDEX)
_N_LEFT = int((_OUTSIDE[:, 1:] & _OUTSIDE[:, :-1]).sum())  # neighbours both outside, each way
_QUARTER = schema.STAMP_SIZE // 2


class Measured(NamedTuple):
    """Of n stamps, row by row."""

    causes: list[Cause]  # what makes a stamp unusable, by row and band
    pixel_sum: np.ndarray  # uint64 [n, 3], sum of the pixels' bit patterns: the same for any order
    outskirts: np.ndarray  # float32 [n, 12], OUTSKIRTS_COLUMNS; NaN where not measurable
    fingerprint: np.ndarray  # float32 [n, 12], of the noise outside r = 28 px; NaN likewise


def measure(stamps: np.ndarray, advance: Callable[[int], object] | None = None) -> Measured:
    """Measures all of `stamps`, float32 [n, 64, 64, 3] nanomaggies, calling `advance(rows)` after
    each chunk. Values that are not finite give causes and NaN, never an exception."""
    n = len(stamps)
    causes: list[Cause] = []
    pixel_sum = np.zeros((n, len(schema.BANDS)), np.uint64)
    outskirts = np.full((n, len(OUTSKIRTS_COLUMNS)), np.nan, np.float32)
    fingerprint = np.full((n, FINGERPRINT_SIZE), np.nan, np.float32)
    for start in range(0, n, CHUNK_ROWS):
        chunk = np.asarray(stamps[start : start + CHUNK_ROWS])
        rows = slice(start, start + len(chunk))
        causes += [cause._replace(row=cause.row + start) for cause in validate(chunk)]
        planes = np.ascontiguousarray(np.moveaxis(chunk, -1, 1))
        pixel_sum[rows] = bit_sum(planes)
        with np.errstate(all="ignore"):  # unusable stamps are named in `causes`
            scaled, outskirts[rows] = _outskirts(planes)
            fingerprint[rows] = _fingerprint(scaled)
        if advance is not None:
            advance(len(chunk))
    return Measured(causes, pixel_sum, outskirts, fingerprint)


def bit_sum(planes: np.ndarray) -> np.ndarray:
    """Sum over pixels of their float32 bit patterns: uint64 [n, 3] of float32 [n, 3, 64, 64].

    The same for every order of the pixels, hence for the 8 dihedral copies; two unrelated noisy
    stamps agree in all three bands about once in 2^100."""
    return planes.view(np.uint32).reshape(*planes.shape[:2], -1).sum(axis=-1, dtype=np.uint64)


def _outskirts(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outskirts in sigmas, zero inside r = 28 px and clipped, float32 [n, 3, 64, 64]; and noise
    level, background and lag-1 autocorrelations there, [n, 12], OUTSKIRTS_COLUMNS. These carry the
    survey (depth, PSF and pixel scale through the noise's correlation), not the galaxy.

    Evaluation measures the same of what it has on the accelerator (lensjax.training.features, in
    jax); the checks see every row before any run, in numpy, so that user data need no jax and are
    read once, in the pass that looks for damage. A test holds the two together."""
    n, bands = planes.shape[:2]
    pixels = np.take(planes.reshape(n * bands, -1), _OUTSIDE_INDEX, axis=1)
    median = _middle(pixels)
    sigma = MAD_TO_SIGMA * _middle(np.abs(pixels - median[:, None]))
    sigma[~(sigma > 0)] = np.nan
    scaled = planes - median.reshape(n, bands, 1, 1)
    scaled /= sigma.reshape(n, bands, 1, 1)
    np.clip(scaled, -CLIP_SIGMA, CLIP_SIGMA, out=scaled)
    scaled *= _OUTSIDE_FLOAT[None, None]
    variance = np.einsum("nbij,nbij->nb", scaled, scaled) / _N_OUTSIDE
    across = np.einsum("nbij,nbij->nb", scaled[..., 1:], scaled[..., :-1]) / _N_LEFT
    down = np.einsum("nbij,nbij->nb", scaled[..., 1:, :], scaled[..., :-1, :]) / _N_LEFT
    sigma, median = sigma.reshape(n, bands), median.reshape(n, bands)
    columns = (np.log10(sigma), median / sigma, across / variance, down / variance)
    return scaled, np.stack(columns, axis=-1).reshape(n, -1)


def _middle(values: np.ndarray) -> np.ndarray:
    """Upper median along the last axis (np.median costs three times as much)."""
    middle = values.shape[-1] // 2
    return np.partition(values, middle, axis=-1)[..., middle]


def _fingerprint_weights() -> np.ndarray:
    """float32 [3 * 32 * 32, 12]: random, symmetric under transposition, so that with the stamp
    folded twice the projection is the same for all 8 dihedral copies; unit variance on white
    noise."""
    rng = np.random.default_rng(20260207)
    shape = (len(schema.BANDS), _QUARTER, _QUARTER, FINGERPRINT_SIZE)
    weights = rng.standard_normal(shape)
    weights = (weights + weights.swapaxes(1, 2)) * _OUTSIDE[None, :_QUARTER, :_QUARTER, None]
    weights /= 2.0 * np.sqrt((weights**2).sum(axis=(0, 1, 2)))  # four folded pixels: sigma 2
    return weights.reshape(-1, FINGERPRINT_SIZE).astype(np.float32)


_WEIGHTS = _fingerprint_weights()


def _fingerprint(scaled: np.ndarray) -> np.ndarray:
    folded = scaled[..., :_QUARTER, :] + scaled[..., : _QUARTER - 1 : -1, :]
    folded = folded[..., :_QUARTER] + folded[..., : _QUARTER - 1 : -1]
    return folded.reshape(len(scaled), -1) @ _WEIGHTS
