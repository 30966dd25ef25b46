"""Preprocessing: stamps in nanomaggies to model inputs in sky sigmas. Pure, jitted by the caller.

    raw_robust               (stamp - median) / (1.4826 MAD) over the outer annulus, clipped
    residual_radial_profile  the same unclipped, less the median of each 1-px annulus, then clipped

One centre, (31.5, 31.5); the outer annulus is 20 <= r < 32. Medians are found exactly by bisection
on the ordered bit patterns of float32, all annuli at once: XLA's sort on a CPU is 5 times slower.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lensjax import schema
from lensjax.schema import ExitCode, LensjaxError

GROUP = 16  # stamps worked on at once: their pixels stay in a core's cache
BITS = 32
LARGEST = np.int32(2**31 - 1)
Rings = tuple[np.ndarray, np.ndarray]


def rings(lower: np.ndarray, upper: np.ndarray) -> Rings:
    """Pixels of each ring lower <= r < upper: indices [ring, width], padded with 4096; counts."""
    radius = schema.radius_map().ravel()
    members = [
        np.flatnonzero((low <= radius) & (radius < up))
        for low, up in zip(lower, upper, strict=True)
    ]
    counts = np.array([len(m) for m in members])
    padded = np.full((len(members), counts.max()), radius.size)
    for row, m in zip(padded, members, strict=True):
        row[: len(m)] = m
    return padded, counts


ANNULI = rings(np.arange(45.0), np.arange(1.0, 46.0))  # k <= r < k + 1, the corners included
OUTER = rings(np.array([schema.OUTER_ANNULUS[0]]), np.array([schema.OUTER_ANNULUS[1]]))
ANNULUS_OF_PIXEL = np.floor(schema.radius_map()).astype(np.int32)  # [64, 64], 0..44


def _ordered(values: jax.Array) -> jax.Array:
    """float32 as int32 in the same order, and back (the map is its own inverse on the bits)."""
    bits = lax.bitcast_convert_type(values, jnp.int32)
    return jnp.where(bits < 0, bits ^ LARGEST, bits)


def _unordered(bits: jax.Array) -> jax.Array:
    return lax.bitcast_convert_type(jnp.where(bits < 0, bits ^ LARGEST, bits), jnp.float32)


def ring_medians(stamps: jax.Array, rings: Rings) -> jax.Array:
    """np.median of the pixels of each ring: float32 [n, 64, 64, band] -> [n, ring, band], exact."""
    n = stamps.shape[0]
    if n % GROUP or n == GROUP:
        return _ring_medians(stamps, rings)
    groups = stamps.reshape(n // GROUP, GROUP, *stamps.shape[1:])
    return lax.map(lambda group: _ring_medians(group, rings), groups).reshape(n, len(rings[1]), -1)


def _ring_medians(stamps: jax.Array, rings: Rings) -> jax.Array:
    pixels, counts = rings
    n, bands = stamps.shape[0], stamps.shape[-1]
    lanes = jnp.moveaxis(_ordered(stamps).reshape(n, -1, bands), 1, 0).reshape(-1, n * bands)
    padding = jnp.full((1, n * bands), LARGEST)
    values = jnp.concatenate([lanes, padding])[pixels]  # [ring, width, lane]
    rank = jnp.asarray((counts - 1) // 2, jnp.int32)[:, None]

    def halve(_, bounds):
        low, high = bounds
        middle = (low & high) + ((low ^ high) >> 1)  # floor of the mean, without overflow
        enough = (values <= middle[:, None, :]).sum(1, dtype=jnp.int32) > rank
        return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    start = (
        jnp.full((len(counts), n * bands), -LARGEST - 1),
        jnp.full((len(counts), n * bands), LARGEST),
    )
    lower, _ = lax.fori_loop(0, BITS, halve, start)
    above = jnp.where(values > lower[:, None, :], values, LARGEST).min(1)
    repeated = (values <= lower[:, None, :]).sum(1, dtype=jnp.int32) > rank + 1
    odd = jnp.asarray(counts % 2 == 1)[:, None]
    upper = jnp.where(odd | repeated, lower, above)
    median = 0.5 * _unordered(lower) + 0.5 * _unordered(upper)
    return jnp.moveaxis(median.reshape(len(counts), n, bands), 0, 1)


def outer_statistics(stamps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Median and 1.4826 MAD of the outer annulus: float32 [n, 64, 64, 3] -> two of [n, 3].

    In the units of the stamps.
    """
    median = ring_medians(stamps, OUTER)
    deviation = jnp.abs(stamps - median[:, :, None, :])
    return median[:, 0], schema.MAD_TO_SIGMA * ring_medians(deviation, OUTER)[:, 0]


def _standardised(stamps: jax.Array) -> jax.Array:
    median, sigma = outer_statistics(stamps)
    return (stamps - median[:, None, None, :]) / sigma[:, None, None, :]


def raw_robust(stamps: jax.Array, clip: float = 100.0) -> jax.Array:
    """float32 [n, 64, 64, 3], nanomaggies -> the same shape in sky sigmas, clipped at +-`clip`."""
    return jnp.clip(_standardised(stamps), -clip, clip)


def residual_radial_profile(stamps: jax.Array, clip: float = 100.0) -> jax.Array:
    """float32 [n, 64, 64, 3], nanomaggies -> the same in sky sigmas, without its radial profile.

    The profile is the median of each annulus k <= r < k + 1, k = 0..44, of the unclipped stamp.
    """
    values = _standardised(stamps)
    profile = ring_medians(values, ANNULI)
    return jnp.clip(values - profile[:, ANNULUS_OF_PIXEL], -clip, clip)


def is_sound(stamps: jax.Array) -> jax.Array:
    """Can the bands be divided by their noise: finite, and a MAD of the outer annulus of at least
    schema.MIN_MAD_OF_RANGE of the range? float32 [n, 64, 64, 3] -> bool [n, 3].

    NaN is asked for by name: compiled for a CPU, a maximum drops it (seen with jax 0.10.2).
    """
    finite = jnp.isfinite(stamps).all((1, 2))
    extent = stamps.max((1, 2)) - stamps.min((1, 2))
    mad = outer_statistics(stamps)[1] / schema.MAD_TO_SIGMA
    return finite & (mad > 0) & (mad >= schema.MIN_MAD_OF_RANGE * extent)


def preprocess(stamps: jax.Array, name: str, clip: float) -> jax.Array:
    """The preprocessing called `name`, one of schema.PREPROCESSINGS.

    Raises:
        LensjaxError: exit 2 for another name.
    """
    if name == "raw_robust":
        return raw_robust(stamps, clip)
    if name == "residual_radial_profile":
        return residual_radial_profile(stamps, clip)
    raise LensjaxError(
        ExitCode.USAGE,
        f"unknown preprocessing {name!r}",
        "preprocessing.name",
        f"Use {schema.PREPROCESSINGS}",
    )


def radial_profile(stamps: jax.Array) -> jax.Array:
    """Medians of the annuli k <= r < k + 1, k = 0..31, of the raw_robust stamp (clip 100).

    stamps: float32 [n, 64, 64, 3], nanomaggies -> float32 [n, 32, 3], sky sigmas.
    """
    pixels, counts = (part[: schema.PROFILE_RINGS] for part in ANNULI)
    return ring_medians(raw_robust(stamps), (pixels, counts))
