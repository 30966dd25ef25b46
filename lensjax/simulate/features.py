"""Light drawn in real space on the fine grid: lensed arcs, and the look-alikes of arcs.

Not galaxies of plain Sersic form (`scene` draws those in Fourier space). Each function returns the
light of one thing, float32 [144, 144], sum 1, about the host; how bright it is and in what colour
is the scene's business.

    >>> arc = lensed_image(lens, source, host.x, host.y)
    >>> ring = LOOKALIKES["ring"](key, radius=2.0, x0=host.x, y0=host.y)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from lensjax.simulate import lensing
from lensjax.simulate.grid import FINE_X, FINE_Y
from lensjax.simulate.population import Lens, Lensed, normal, uniform
from lensjax.simulate.profiles import sersic


def unit(image: jax.Array) -> jax.Array:
    """`image` with sum 1."""
    return image / jnp.maximum(image.sum(), 1e-20)


def deflection(x: jax.Array, y: jax.Array, lens: Lens) -> tuple[jax.Array, jax.Array]:
    """Deflection (arcsec), at `x`, `y` from the centre, of SIE or EPL, as the lens is, and shear."""
    shape = {"theta_e": lens.theta_e, "q": lens.q, "phi": lens.phi}
    sie = lensing.sie_deflection(x, y, **shape)
    epl = lensing.epl_deflection(x, y, gamma=lens.gamma, **shape)
    shear = lensing.shear_deflection(x, y, gamma1=lens.gamma1, gamma2=lens.gamma2)
    ax, ay = (jnp.where(lens.isothermal, s, e) for s, e in zip(sie, epl, strict=True))
    return ax + shear[0], ay + shear[1]


def lensed_image(lens: Lens, source: Lensed, x0: jax.Array, y0: jax.Array) -> jax.Array:
    """The source as the lens at `x0`, `y0` (arcsec) shows it."""
    x, y = FINE_X - x0, FINE_Y - y0
    ax, ay = deflection(x, y, lens)
    bx, by = x - ax, y - ay
    smooth = unit(
        sersic(
            bx - source.x,
            by - source.y,
            radius=source.radius,
            n=source.n,
            q=source.q,
            phi=source.phi,
        )
    )
    for k in range(2):
        clump = sersic(
            bx - source.clump_x[k],
            by - source.clump_y[k],
            radius=source.clump_radius[k],
            n=jnp.float32(1.0),
            q=jnp.float32(1.0),
            phi=jnp.float32(0.0),
        )
        smooth = smooth + source.clump_fraction[k] * unit(clump)
    return unit(smooth)


def _polar(x0, y0, q, phi) -> tuple[jax.Array, jax.Array]:
    """Elliptical radius (arcsec) and angle of the fine grid about `x0`, `y0`."""
    x, y = FINE_X - x0, FINE_Y - y0
    c, s = jnp.cos(phi), jnp.sin(phi)
    u, v = (c * x + s * y) * jnp.sqrt(q), (-s * x + c * y) / jnp.sqrt(q)
    return jnp.sqrt(u * u + v * v + 1e-8), jnp.arctan2(v, u)


def ring(key: jax.Array, radius: jax.Array, x0: jax.Array, y0: jax.Array) -> jax.Array:
    """A star-forming ring: closed, round or inclined, uneven, of an Einstein ring's size."""
    keys = jax.random.split(key, 5)
    r, angle = _polar(x0, y0, q=uniform(keys[0], 0.5, 1.0), phi=uniform(keys[1], 0.0, math.pi))
    width = radius * uniform(keys[2], 0.08, 0.22)
    uneven = uniform(keys[3], 0.0, 0.5) * jnp.cos(angle - uniform(keys[4], 0.0, 2 * math.pi))
    return unit(jnp.exp(-0.5 * ((r - radius) / width) ** 2) * (1.0 + uneven))


def spiral(key: jax.Array, radius: jax.Array, x0: jax.Array, y0: jax.Array) -> jax.Array:
    """Two logarithmic arms in an inclined disc, brightest near `radius`."""
    keys = jax.random.split(key, 6)
    r, angle = _polar(x0, y0, q=uniform(keys[0], 0.45, 1.0), phi=uniform(keys[1], 0.0, math.pi))
    pitch = uniform(keys[2], 0.25, 0.6)  # radians
    hand = jnp.where(uniform(keys[3], 0.0, 1.0) < 0.5, 1.0, -1.0)
    phase = hand * jnp.log(r / radius) / jnp.tan(pitch) + uniform(keys[4], 0.0, 2 * math.pi)
    arms = jnp.exp(uniform(keys[5], 2.0, 5.0) * (jnp.cos(2 * (angle - phase)) - 1.0))
    return unit(arms * r * jnp.exp(-r / (0.6 * radius)))


def merger(key: jax.Array, radius: jax.Array, x0: jax.Array, y0: jax.Array) -> jax.Array:
    """A companion about `radius` away and the tail that the encounter drew, an open arc."""
    keys = jax.random.split(key, 9)
    angle = uniform(keys[0], 0.0, 2 * math.pi)
    distance = radius * uniform(keys[1], 0.7, 1.5)
    cx, cy = x0 + distance * jnp.cos(angle), y0 + distance * jnp.sin(angle)
    body = sersic(
        FINE_X - cx,
        FINE_Y - cy,
        radius=uniform(keys[2], 0.3, 0.9),
        n=uniform(keys[3], 1.0, 2.5),
        q=uniform(keys[4], 0.5, 1.0),
        phi=uniform(keys[5], 0.0, math.pi),
    )
    # the tail curves about a point beside the companion, not about the host
    bend = distance * uniform(keys[6], 0.8, 2.0)
    side = angle + jnp.where(uniform(keys[7], 0.0, 1.0) < 0.5, 0.5, -0.5) * math.pi
    r, along = _polar(cx + bend * jnp.cos(side), cy + bend * jnp.sin(side), 1.0, 0.0)
    gap = jnp.abs(jnp.mod(along - side, 2 * math.pi) - math.pi)
    tail = jnp.exp(-0.5 * ((r - bend) / 0.3) ** 2 - gap / 0.7)
    return unit(unit(body) + uniform(keys[8], 0.2, 0.6) * unit(tail))


def blue_companion(key: jax.Array, radius: jax.Array, x0: jax.Array, y0: jax.Array) -> jax.Array:
    """One to three blue galaxies near `radius`, elongated as arcs are, at any angle."""
    keys = jax.random.split(key, 7)
    count = jax.random.randint(keys[0], (), 1, 4)
    angle = uniform(keys[1], 0.0, 2 * math.pi, (3,))
    distance = radius * uniform(keys[2], 0.8, 1.3, (3,))
    size, q = uniform(keys[3], 0.15, 0.45, (3,)), uniform(keys[4], 0.3, 0.9, (3,))
    phi = angle + math.pi / 2 + normal(keys[5], 0.0, 0.7, (3,))  # along the tangent, roughly
    weight = uniform(keys[6], 0.3, 1.0, (3,)) * (jnp.arange(3) < count)
    total = jnp.zeros(FINE_X.shape, jnp.float32)
    for k in range(3):
        x = FINE_X - x0 - distance[k] * jnp.cos(angle[k])
        y = FINE_Y - y0 - distance[k] * jnp.sin(angle[k])
        body = sersic(x, y, radius=size[k], n=jnp.float32(1.0), q=q[k], phi=phi[k])
        total = total + weight[k] * unit(body)
    return unit(total)


LOOKALIKES: dict[str, Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]] = {
    "ring": ring,
    "spiral": spiral,
    "merger": merger,
    "blue_companion": blue_companion,
}
RED = ("merger",)  # look-alikes of the host's own colour, not a star-forming one
