"""Hard negatives: a control that carries its pair's arc, shuffled along 1-px annuli.

The shuffled arc has the arc's flux at every radius and in every band, and none of its shape. One
permutation of each annulus serves all bands, so colours stay; a wider annulus or a permutation a
band is what a one-number roughness statistic sees through.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from lensjax.training.preprocess import ANNULUS_OF_PIXEL

_ANNULUS = ANNULUS_OF_PIXEL.ravel()
# Place of each pixel when they are sorted by annulus, innermost first.
_PLACE = np.argsort(np.argsort(_ANNULUS, kind="stable"))
_RANDOM_BITS = 25  # of the sort key; the annulus number has the bits above


def azimuthal_shuffle(keys: jax.Array, arcs: jax.Array) -> jax.Array:
    """Permute the pixels of each 1-px annulus, all bands alike.

    keys: one a stamp; arcs: float32 [n, 64, 64, 3] (any unit) -> the same shape.
    """

    def shuffle(key: jax.Array, arc: jax.Array) -> jax.Array:
        noise = jax.random.bits(key, (_ANNULUS.size,), jnp.uint32) >> (32 - _RANDOM_BITS)
        order = jnp.argsort(jnp.asarray(_ANNULUS, jnp.uint32) << _RANDOM_BITS | noise)
        return arc.reshape(-1, arc.shape[-1])[order[_PLACE]].reshape(arc.shape)

    return jax.vmap(shuffle)(keys, arcs)


def hard_negative(keys: jax.Array, stamps: jax.Array, controls: jax.Array) -> jax.Array:
    """control + shuffle(stamp - control): float32 [n, 64, 64, 3], nanomaggies, like its inputs."""
    return controls + azimuthal_shuffle(keys, stamps - controls)
