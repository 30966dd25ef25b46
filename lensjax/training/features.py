"""Simple measures of a stamp that the gates' probes are fitted on. Pure; judge nothing.

Evaluation stores them beside the logits, so that a verdict needs the arrays alone.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from lensjax import schema
from lensjax.training.preprocess import outer_statistics, raw_robust, ring_medians, rings

RADIUS = schema.radius_map().astype(np.float32)
OUTSKIRTS = rings(np.array([28.0]), np.array([64.0]))  # r >= 28 px, corners included
_OUTSIDE = RADIUS >= 28.0
_AROUND = np.argsort(  # pixels by 1-px annulus, within one by angle
    np.floor(RADIUS.ravel()) * 10 + np.arctan2(*(np.indices(RADIUS.shape) - schema.CENTRE)).ravel()
)
_SAME_RING = np.floor(RADIUS.ravel())[_AROUND][1:] == np.floor(RADIUS.ravel())[_AROUND][:-1]


def core_box(stamps: np.ndarray) -> np.ndarray:
    """Rows and columns 27..36: [n, 64, 64, 3] -> [n, 10, 10, 3]."""
    return stamps[:, schema.CORE_BOX, schema.CORE_BOX]


def noise_sigma(stamps: jax.Array) -> jax.Array:
    """1.4826 MAD of the outer annulus, float32 [n, 3], in the units of the stamps."""
    return outer_statistics(stamps)[1]


def outskirts(stamps: jax.Array) -> jax.Array:
    """What the stamp's outskirts (r >= 28 px) tell of its survey: float32 [n, 12].

    For each band: log10 of 1.4826 MAD (nanomaggies), median over that sigma, and the correlation of
    pixels with their right and with their lower neighbour.

    The checks measure the same of every row before there is a run, in numpy
    (lensjax.checks.measure); tests/checks/test_measure.py holds the two together.
    """
    median = ring_medians(stamps, OUTSKIRTS)
    sigma = (
        schema.MAD_TO_SIGMA * ring_medians(jnp.abs(stamps - median[:, :, None, :]), OUTSKIRTS)[:, 0]
    )
    values = jnp.clip((stamps - median[:, :, None, :]) / sigma[:, None, None, :], -4.0, 4.0)
    across = _correlation(values[:, :, 1:], values[:, :, :-1], _OUTSIDE[:, 1:] & _OUTSIDE[:, :-1])
    down = _correlation(values[:, 1:], values[:, :-1], _OUTSIDE[1:] & _OUTSIDE[:-1])
    columns = [jnp.log10(sigma), median[:, 0] / sigma, across, down]
    return jnp.stack(columns, axis=-1).reshape(stamps.shape[0], -1)


def _correlation(a: jax.Array, b: jax.Array, where: np.ndarray) -> jax.Array:
    """Pearson correlation over the pixels in `where`: [n, h, w, band] -> [n, band]."""
    weight = jnp.asarray(where, jnp.float32)[None, :, :, None]
    total = weight.sum()

    def mean(x: jax.Array) -> jax.Array:
        return (x * weight).sum((1, 2), keepdims=True) / total

    a, b = a - mean(a), b - mean(b)
    norm = jnp.sqrt(mean(a * a) * mean(b * b))
    return (mean(a * b) / jnp.maximum(norm, 1e-12))[:, 0, 0]


def high_frequency_core(inputs: jax.Array) -> jax.Array:
    """RMS over the core box of second differences of the model's inputs: float32 [n, 12].

    For each band: horizontal, vertical, diagonal, anti-diagonal; [1, -2, 1] along each.
    """
    low, high = schema.CORE_BOX.start, schema.CORE_BOX.stop

    def box(dy: int, dx: int) -> jax.Array:
        return inputs[:, low + dy : high + dy, low + dx : high + dx]

    directions = ((0, 1), (1, 0), (1, 1), (1, -1))
    curves = [box(dy, dx) - 2 * box(0, 0) + box(-dy, -dx) for dy, dx in directions]
    rms = [jnp.sqrt((curve**2).mean((1, 2))) for curve in curves]
    return jnp.stack(rms, axis=-1).reshape(inputs.shape[0], -1)


def arc_snr_outside(stamps: jax.Array, controls: jax.Array, arc_snr: jax.Array) -> jax.Array:
    """Signal to noise that the arc keeps at r >= R, for R in schema.MASK_RADII: float32 [n, 6].

    arc_snr * sqrt(sum over r >= R of arc^2 / sum of arc^2) in the r band: sky noise is one number a
    stamp and cancels. 0 where there is no arc to see.
    """
    power = (stamps - controls)[..., schema.R_BAND] ** 2
    total = power.sum((1, 2))
    kept = [(power * (radius <= RADIUS)[None]).sum((1, 2)) for radius in schema.MASK_RADII]
    fraction = jnp.stack(kept, axis=-1) / jnp.maximum(total, 1e-30)[:, None]
    return jnp.where(total[:, None] > 0, arc_snr[:, None] * jnp.sqrt(fraction), 0.0)


def hard_negative_audit(stamps: jax.Array, hard: jax.Array, theta_e: jax.Array) -> jax.Array:
    """Two one-number statistics of a positive and of its hard negative: float32 [n, 4].

    Of the raw_robust stamp: roughness in r (mean absolute difference of neighbours along 1-px
    annuli within 3 theta_E, over the mean absolute value there), and the correlation of g and r
    within r < 20 px. First of `stamps`, then of `hard` (nanomaggies); theta_e in arcsec, [n].
    """
    return jnp.concatenate([_statistics(stamps, theta_e), _statistics(hard, theta_e)], axis=1)


def _statistics(stamps: jax.Array, theta_e: jax.Array) -> jax.Array:
    values = raw_robust(stamps)
    pixels = values[..., schema.R_BAND].reshape(values.shape[0], -1)[:, _AROUND]
    reach = 3.0 * theta_e / schema.PIXEL_SCALE_ARCSEC
    inside = jnp.asarray(RADIUS.ravel()[_AROUND])[None, :] < reach[:, None]
    pair = inside[:, 1:] & jnp.asarray(_SAME_RING)[None, :]
    step = (jnp.abs(jnp.diff(pixels, axis=1)) * pair).sum(1) / jnp.maximum(pair.sum(1), 1)
    level = (jnp.abs(pixels) * inside).sum(1) / jnp.maximum(inside.sum(1), 1)
    near = RADIUS < 20.0
    colour = _correlation(values[..., 0:1], values[..., 1:2], near)[:, 0]
    return jnp.stack([step / jnp.maximum(level, 1e-12), colour], axis=1)
