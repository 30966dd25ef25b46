"""One look at the pixels: all that the checks need to know of each stamp and of each pair.

Not a check. Works on blocks small enough for the processor's cache, in any process; what it
returns of a stamp is 120 bytes, so that sets larger than memory can be measured.

    >>> measured = measure(planes)          # planes: float32 [n, 3, 64, 64], nanomaggies
    >>> measured.outskirts.shape            # [n, 12], see OUTSKIRTS_COLUMNS
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lensjax import schema

OUTSKIRTS_RADIUS = 0.4375 * schema.STAMP_SIZE  # 28 pixels; beyond it, corners included, no arc
# of theta_E < 2.5 arcsec shows
CLIP_SIGMA = 4.0  # neighbours' pixels count no more than this in autocorrelation and fingerprint
FINGERPRINT_SIZE = 12
OUTSKIRTS_COLUMNS = tuple(
    f"{name}_{band}"
    for band in schema.BANDS
    for name in ("log10_sigma", "median_over_sigma", "autocorrelation_h", "autocorrelation_v")
)

_BANDS = len(schema.BANDS)
_RADIUS = schema.radius_map()
_RADIUS_FLAT = _RADIUS.ravel().astype(np.float32)
_OUTSIDE = _RADIUS >= OUTSKIRTS_RADIUS
_OUTSIDE_INDEX = np.flatnonzero(_OUTSIDE.ravel())
_OUTSIDE_FLOAT = _OUTSIDE.astype(np.float32)
_N_OUTSIDE = len(_OUTSIDE_INDEX)
_N_LEFT = int((_OUTSIDE[:, 1:] & _OUTSIDE[:, :-1]).sum())  # neighbours both outside, each way
_QUARTER = schema.STAMP_SIZE // 2
_PUBLISHED = 20260207  # seeds the weights: any number does


class Measured(NamedTuple):
    """Of n stamps, row by row."""

    content: np.ndarray  # uint64 [n, 2], the same for all 8 turns and mirrorings of a stamp
    layout: np.ndarray  # uint64 [n], another for each of them
    outskirts: np.ndarray  # float32 [n, 12], OUTSKIRTS_COLUMNS; NaN where not measurable
    fingerprint: np.ndarray  # float16 [n, 12], of the noise outside r = 28 px, in its sigmas: told
    # apart to 0.1 and less; NaN likewise


class Difference(NamedTuple):
    """Of n pairs, stamp less control."""

    differ: np.ndarray  # bool [n], in any pixel of any band
    total: np.ndarray  # float64 [n], nanomaggies, summed over the r band
    outside: np.ndarray  # float32 [n], share of the summed absolute r-band difference beyond the
    # arc's reach; NaN where that is unknown


def unmeasured(n: int) -> Measured:
    """Room for n stamps."""
    return Measured(
        np.zeros((n, 2), np.uint64),
        np.zeros(n, np.uint64),
        np.full((n, len(OUTSKIRTS_COLUMNS)), np.nan, np.float32),
        np.full((n, FINGERPRINT_SIZE), np.nan, np.float16),
    )


def measure(planes: np.ndarray) -> Measured:
    """Measures `planes`, float32 [n, 3, 64, 64] nanomaggies, contiguous. Values that are not finite
    give NaN, never an exception."""
    if not len(planes):
        return unmeasured(0)
    content, layout = hashes(planes)
    with np.errstate(all="ignore"):  # unusable stamps are named by the reader
        scaled, outskirts = _outskirts(planes)
        return Measured(content, layout, outskirts.astype(np.float32), _fingerprint(scaled))


def difference(stamps: np.ndarray, controls: np.ndarray, reach: np.ndarray) -> Difference:
    """Compares pairs, float32 [n, 3, 64, 64] each; `reach` float [n] pixels: how far from the
    centre the arc may go (contracts.md: 3 theta_E + 2 PSF FWHM), NaN if unknown. Values that are
    not finite are no exception here either."""
    with np.errstate(all="ignore"):
        return _difference(stamps, controls, reach)


def _difference(stamps: np.ndarray, controls: np.ndarray, reach: np.ndarray) -> Difference:
    n = len(stamps)
    r_band = (stamps[:, schema.R_BAND] - controls[:, schema.R_BAND]).reshape(n, _RADIUS.size)
    differ = np.asarray(r_band.any(axis=1))  # NaN counts as a difference
    for k in np.flatnonzero(~differ):
        differ[k] = not np.array_equal(stamps[k], controls[k])
    size = np.abs(r_band)
    whole = size.sum(axis=1, dtype=np.float64)
    beyond = np.zeros(n)
    for k in np.flatnonzero(np.isfinite(reach)):
        beyond[k] = size[k, _ORDER[np.searchsorted(_ORDERED, reach[k], "right") :]].sum()
    share = np.where(whole > 0, beyond / whole, 0.0)
    outside = np.where(np.isfinite(reach), share, np.nan).astype(np.float32)
    return Difference(differ, r_band.sum(axis=1, dtype=np.float64), outside)


_ORDER = np.argsort(_RADIUS_FLAT, kind="stable")  # pixels from the centre outwards
_ORDERED = _RADIUS_FLAT[_ORDER]


def hashes(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`content` uint64 [n, 2] and `layout` uint64 [n] of float32 [n, 3, 64, 64].

    Sums of the pixels' bit patterns with random weights, modulo 2^64. The weights of `content` are
    symmetric under the 8 turns and mirrorings, so it is the same for all of them; two different
    stamps agree in both words about once in 2^128. `layout` is of one corner."""
    bits = planes.view(np.uint32)
    down = bits[:, :, :_QUARTER] + bits[:, :, : _QUARTER - 1 : -1]  # modulo 2^32
    quarter = down[..., :_QUARTER] + down[..., : _QUARTER - 1 : -1]
    content = quarter.reshape(len(planes), -1).astype(np.uint64) @ _CONTENT_WEIGHTS
    corner = bits[:, :, :_QUARTER, :_QUARTER].reshape(len(planes), -1)
    return content, corner.astype(np.uint64) @ _LAYOUT_WEIGHTS


def _hash_weights() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(_PUBLISHED)
    top = np.iinfo(np.uint64).max
    content = rng.integers(0, top, (_BANDS, _QUARTER, _QUARTER, 2), np.uint64, endpoint=True)
    content = content + content.swapaxes(1, 2)  # modulo 2^64
    layout = rng.integers(0, top, _BANDS * _QUARTER**2, np.uint64, endpoint=True)
    return content.reshape(-1, 2) | np.uint64(1), layout | np.uint64(1)


_CONTENT_WEIGHTS, _LAYOUT_WEIGHTS = _hash_weights()


def _outskirts(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outskirts in sigmas, zero inside r = 28 px and clipped, float32 [n, 3, 64, 64]; and noise
    level, background and lag-1 autocorrelations there, [n, 12], OUTSKIRTS_COLUMNS. These carry the
    survey (depth, PSF and pixel scale through the noise's correlation), not the galaxy.

    Evaluation measures the same of what it has on the accelerator (lensjax.training.features, in
    jax); the checks see every row before any run, in numpy, so that user data need no jax and are
    read once, in the pass that looks for damage. A test holds the two together."""
    n, bands = planes.shape[:2]
    pixels = np.take(planes.reshape(n * bands, -1), _OUTSIDE_INDEX, axis=1)
    median = upper_median(pixels)
    sigma = schema.MAD_TO_SIGMA * upper_median(np.abs(pixels - median[:, None]))
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


def upper_median(values: np.ndarray) -> np.ndarray:
    """Of the last axis, the upper one of an even number: np.median takes three times as long."""
    middle = values.shape[-1] // 2
    return np.partition(values, middle, axis=-1)[..., middle]


def _fingerprint_weights() -> np.ndarray:
    """float32 [3 * 32 * 32, 12]: random, symmetric under transposition, so that with the stamp
    folded twice the projection is the same for all 8 dihedral copies; unit variance on white
    noise."""
    rng = np.random.default_rng(_PUBLISHED)
    shape = (_BANDS, _QUARTER, _QUARTER, FINGERPRINT_SIZE)
    weights = rng.standard_normal(shape)
    weights = (weights + weights.swapaxes(1, 2)) * _OUTSIDE[None, :_QUARTER, :_QUARTER, None]
    weights /= 2.0 * np.sqrt((weights**2).sum(axis=(0, 1, 2)))  # four folded pixels: sigma 2
    return weights.reshape(-1, FINGERPRINT_SIZE).astype(np.float32)


_WEIGHTS = _fingerprint_weights()


def _fingerprint(scaled: np.ndarray) -> np.ndarray:
    folded = scaled[..., :_QUARTER, :] + scaled[..., : _QUARTER - 1 : -1, :]
    folded = folded[..., :_QUARTER] + folded[..., : _QUARTER - 1 : -1]
    return (folded.reshape(len(scaled), -1) @ _WEIGHTS).astype(np.float16)
