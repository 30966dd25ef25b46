"""Augmentation: the dihedral group and core dropout, drawn per stamp from (seed, epoch, stamp).

Pure and jitted by the caller; the same key gives the same stamp whatever the batch it is in.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lensjax import schema
from lensjax.schema import ExitCode, LensjaxError
from lensjax.training.preprocess import outer_statistics

RADIUS = schema.radius_map().astype(np.float32)  # [64, 64], pixels
Fill = tuple[jax.Array, jax.Array]


def stamp_keys(key: jax.Array, epochs: jax.Array, ids: jax.Array) -> jax.Array:
    """A key for each stamp, from the root key, its epoch (int32 [n]) and its id (int32 [n])."""
    return jax.vmap(lambda epoch, i: jax.random.fold_in(jax.random.fold_in(key, epoch), i))(
        epochs, ids
    )


def draw_dihedral(keys: jax.Array) -> jax.Array:
    """One of the 8 symmetries for each key: int32 [n] in 0..7; 0 is the identity."""
    return jax.vmap(lambda key: jax.random.randint(key, (), 0, 8))(keys)


def dihedral(codes: jax.Array, stamps: jax.Array) -> jax.Array:
    """Symmetry `codes` (int32 [n], 0..7) of stamps [n, 64, 64, 3]: bit 0 flips the rows, bit 1 the
    columns, bit 2 then transposes."""

    def bit(number: int) -> jax.Array:
        return (codes >> number & 1).astype(bool)[:, None, None, None]

    stamps = jnp.where(bit(0), stamps[:, ::-1], stamps)
    stamps = jnp.where(bit(1), stamps[:, :, ::-1], stamps)
    return jnp.where(bit(2), stamps.swapaxes(1, 2), stamps)


def mask_schedule(
    epochs: int, schedule: Sequence[tuple[float, float, float]]
) -> tuple[np.ndarray, np.ndarray]:
    """Core dropout of each epoch: radius (pixels) and probability, float32 [epochs] each.

    schedule: (from this fraction of the epochs on, radius, probability), in order from 0.

    Raises:
        LensjaxError: exit 2 for a schedule that does not start at 0 or is out of order.
    """
    starts = [start for start, _, _ in schedule]
    if not schedule or starts[0] != 0 or starts != sorted(starts):
        raise LensjaxError(
            ExitCode.USAGE, f"the starts {starts} must begin at 0 and rise", "core_dropout.schedule"
        )
    stage = np.searchsorted(np.multiply(starts, epochs), np.arange(epochs) + 1e-9, "right") - 1
    _, radius, probability = np.asarray(schedule, np.float32).T
    return radius[stage], probability[stage]


def core_fill(inputs: jax.Array) -> Fill:
    """What a core is filled with: median and sigma (1.4826 MAD) of the outer annulus of the model's
    inputs [n, 64, 64, 3], float32 [n, 3] each. The dihedral group does not change them."""
    return outer_statistics(inputs)


def core_weight(radius: jax.Array, soft_edge_px: float = 0.0) -> jax.Array:
    """How much of each pixel is masked, 0..1: radius float32 [n] -> [n, 64, 64, 1].

    A hard edge masks r < radius; a soft one ramps down linearly over `soft_edge_px` beyond it.
    """
    distance = jnp.asarray(RADIUS)[None] - radius[:, None, None]
    if soft_edge_px:
        weight = jnp.where(
            radius[:, None, None] > 0, jnp.clip(1.0 - distance / soft_edge_px, 0.0, 1.0), 0.0
        )
    else:
        weight = (distance < 0).astype(jnp.float32)
    return weight[..., None]


def _blend(stamps: jax.Array, filling: jax.Array, weight: jax.Array) -> jax.Array:
    return jnp.where(weight > 0, stamps * (1 - weight) + filling * weight, stamps)


def core_dropout(
    keys: jax.Array,
    stamps: jax.Array,
    fill: Fill,
    radius: jax.Array,
    probability: jax.Array,
    *,
    mode: str = "outer_median",
    soft_edge_px: float = 0.0,
) -> jax.Array:
    """Mask the core of each stamp with its own probability, whatever its label.

    stamps: model inputs float32 [n, 64, 64, 3]; fill: `core_fill` of them; radius (pixels) and
    probability: float32 [n]. mode: 'outer_median', 'zero', or 'noise' (normal, with the median and
    sigma of the outer annulus).

    Raises:
        LensjaxError: exit 2 for another mode.
    """
    if mode not in schema.DROPOUT_MODES:
        raise LensjaxError(
            ExitCode.USAGE,
            f"unknown mode {mode!r}",
            "core_dropout.mode",
            f"Use {schema.DROPOUT_MODES}",
        )
    median, sigma = (part[:, None, None, :] for part in fill)
    draw, noise = jax.vmap(lambda key: tuple(jax.random.split(key)))(keys)
    chosen = jax.vmap(jax.random.uniform)(draw) < probability
    filling = jnp.zeros_like(stamps) if mode == "zero" else jnp.broadcast_to(median, stamps.shape)
    if mode == "noise":
        normal = jax.vmap(lambda key: jax.random.normal(key, schema.STAMP_SHAPE))(noise)
        filling = filling + sigma * normal
    weight = core_weight(jnp.where(chosen, radius, 0.0), soft_edge_px)
    return _blend(stamps, filling, weight)


def mask_core(inputs: jax.Array, median: jax.Array, radius: jax.Array) -> jax.Array:
    """Model inputs [n, 64, 64, 3] with r < `radius` (pixels) filled with `median` [n, 3]."""
    weight = core_weight(jnp.full(inputs.shape[:1], radius))
    return _blend(inputs, median[:, None, None, :], weight)


def keep_core_only(
    inputs: jax.Array, median: jax.Array, radius: float = schema.CORE_RADIUS
) -> jax.Array:
    """Model inputs [n, 64, 64, 3] with r >= `radius` (pixels) filled with `median` [n, 3]."""
    weight = 1.0 - core_weight(jnp.full(inputs.shape[:1], radius))
    return _blend(inputs, median[:, None, None, :], weight)
