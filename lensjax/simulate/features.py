"""Light drawn in real space on the fine grid: lensed arcs, and the look-alikes of arcs.

Not galaxies of plain Sersic form (`scene` draws those in Fourier space). Each function returns the
light of one thing, float32 [224, 224], sum 1, about the host; how bright it is and in what colour
is the scene's business. Look-alikes are made of `u`, float32 [9, 3] uniform in [0, 1), as many
numbers as any of them needs.

    >>> arc = lensed_image(lens, source, host.x, host.y)
    >>> ring = LOOKALIKES["ring"](u, radius=2.0, x0=host.x, y0=host.y)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lensjax.simulate import lensing
from lensjax.simulate.grid import FINE_X, FINE_Y, Array
from lensjax.simulate.population import Lens, Lensed, between
from lensjax.simulate.profiles import sersic


def unit(image: jax.Array) -> jax.Array:
    """`image` with sum 1."""
    return image / jnp.maximum(image.sum(), 1e-20)


# Light that is drawn ends with the fine grid, 7.3 arcsec from the centre: fade before.
_FADE = (6.0, 7.2)  # arcsec
_RADIUS = np.hypot(FINE_X, FINE_Y)
_FADED = 0.5 + 0.5 * np.cos(math.pi * np.clip((_RADIUS - _FADE[0]) / np.ptp(_FADE), 0.0, 1.0))


def faded(image: jax.Array) -> jax.Array:
    """`image` less what nears the edge of the fine grid, where it would stop short."""
    return image * _FADED.astype(np.float32)


def deflection(x: Array, y: Array, lens: Lens) -> tuple[jax.Array, jax.Array]:
    """Deflection (arcsec) of elliptical mass and shear, at `x`, `y` (arcsec) from the centre."""
    mass = lensing.epl_deflection(
        x, y, theta_e=lens.theta_e, gamma=lens.gamma, q=lens.q, phi=lens.phi
    )
    shear = lensing.shear_deflection(x, y, gamma1=lens.gamma1, gamma2=lens.gamma2)
    return mass[0] + shear[0], mass[1] + shear[1]


def _quarters(values: jax.Array) -> list[jax.Array]:
    """A map on the fine grid [224, 224] as four, at the quarters of each point's cell, by its
    slopes there. Light is sampled at all four: at the points alone, the steep light of small
    sources is off by up to 3 % of the peak."""
    along_y, along_x = (slope / 4.0 for slope in jnp.gradient(values))
    signs = ((-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0))
    return [values + a * along_y + b * along_x for a, b in signs]


def lensed_image(lens: Lens, source: Lensed, x0: jax.Array, y0: jax.Array) -> jax.Array:
    """The source as the lens at `x0`, `y0` (arcsec) shows it."""
    x, y = FINE_X - x0, FINE_Y - y0
    ax, ay = deflection(x, y, lens)
    bx, by = jnp.asarray(x - ax), jnp.asarray(y - ay)
    points = list(zip(_quarters(bx), _quarters(by), strict=True))
    shape = {"radius": source.radius, "n": source.n, "q": source.q, "phi": source.phi}
    total = jnp.zeros(FINE_X.shape, jnp.float32)
    for px, py in points:
        total = total + sersic(px - source.x, py - source.y, **shape)
    total = unit(total)
    for k in range(2):
        clump = jnp.zeros_like(total)
        for px, py in points:
            r2 = (px - source.clump_x[k]) ** 2 + (py - source.clump_y[k]) ** 2
            clump = clump + jnp.exp(-math.log(2.0) * r2 / source.clump_radius[k] ** 2)
        total = total + source.clump_fraction[k] * unit(clump)
    return unit(total)


def _polar(x0, y0, q, phi) -> tuple[jax.Array, jax.Array]:
    """Elliptical radius (arcsec) and angle of the fine grid about `x0`, `y0`."""
    x, y = FINE_X - x0, FINE_Y - y0
    c, s = jnp.cos(phi), jnp.sin(phi)
    u, v = (c * x + s * y) * jnp.sqrt(q), (-s * x + c * y) / jnp.sqrt(q)
    return jnp.sqrt(u * u + v * v + 1e-8), jnp.arctan2(v, u)


def _hand(u: jax.Array) -> jax.Array:
    """1 or -1, as likely."""
    return jnp.where(u < 0.5, 1.0, -1.0)


def ring(u: jax.Array, radius: jax.Array, x0: jax.Array, y0: jax.Array) -> jax.Array:
    """A star-forming ring: closed, round or inclined, uneven, of an Einstein ring's size."""
    r, angle = _polar(x0, y0, q=between(u[0, 0], 0.5, 1.0), phi=between(u[1, 0], 0.0, math.pi))
    width = radius * between(u[2, 0], 0.08, 0.22)
    uneven = between(u[3, 0], 0.0, 0.5) * jnp.cos(angle - between(u[4, 0], 0.0, 2 * math.pi))
    return unit(jnp.exp(-0.5 * ((r - radius) / width) ** 2) * (1.0 + uneven))


def spiral(u: jax.Array, radius: jax.Array, x0: jax.Array, y0: jax.Array) -> jax.Array:
    """Two logarithmic arms in an inclined disc, brightest near `radius` on its major axis."""
    q = between(u[0, 0], 0.45, 1.0)
    r, angle = _polar(x0, y0, q=q, phi=between(u[1, 0], 0.0, math.pi))
    r = r / jnp.sqrt(q)  # along the major axis, on which the disc ends within the frame
    pitch = between(u[2, 0], 0.25, 0.6)  # radians
    phase = _hand(u[3, 0]) * jnp.log(r / radius) / jnp.tan(pitch) + between(
        u[4, 0], 0.0, 2 * math.pi
    )
    arms = jnp.exp(between(u[5, 0], 2.0, 5.0) * (jnp.cos(2 * (angle - phase)) - 1.0))
    return unit(arms * jnp.exp(-0.5 * ((r - radius) / (0.45 * radius)) ** 2))


def merger(u: jax.Array, radius: jax.Array, x0: jax.Array, y0: jax.Array) -> jax.Array:
    """A companion about `radius` away and the tail that the encounter drew, an open arc."""
    angle, distance = between(u[0, 0], 0.0, 2 * math.pi), radius * between(u[1, 0], 0.7, 1.3)
    cx, cy = x0 + distance * jnp.cos(angle), y0 + distance * jnp.sin(angle)
    body = sersic(
        FINE_X - cx,
        FINE_Y - cy,
        radius=between(u[2, 0], 0.2, 0.6),
        n=between(u[3, 0], 1.0, 2.0),
        q=between(u[4, 0], 0.5, 1.0),
        phi=between(u[5, 0], 0.0, math.pi),
    )
    # the tail starts at the companion and curves past the host, about a point beside it
    bend, hand = distance * between(u[6, 0], 0.6, 1.5), _hand(u[7, 0])
    side = angle + math.pi + 0.7 * hand
    r, along = _polar(cx + bend * jnp.cos(side), cy + bend * jnp.sin(side), 1.0, 0.0)
    gone = jnp.mod(hand * (along - side - math.pi), 2 * math.pi) * bend  # arcsec along the tail
    tail = jnp.exp(-0.5 * ((r - bend) / 0.3) ** 2 - gone / distance)
    return unit(unit(body) + between(u[8, 0], 0.8, 1.6) * unit(tail))


def blue_companion(u: jax.Array, radius: jax.Array, x0: jax.Array, y0: jax.Array) -> jax.Array:
    """One to three blue galaxies near `radius`, elongated as arcs are, at any angle."""
    count = jnp.floor(between(u[5, 0], 1.0, 4.0))
    angle, distance = between(u[0], 0.0, 2 * math.pi), radius * between(u[1], 0.8, 1.3)
    size, q = between(u[2], 0.15, 0.45), between(u[3], 0.3, 0.9)
    phi = angle + math.pi / 2 + between(u[6], -1.2, 1.2)  # along the tangent, roughly
    weight = between(u[4], 0.3, 1.0) * (jnp.arange(3) < count)
    total = jnp.zeros(FINE_X.shape, jnp.float32)
    for k in range(3):
        x = FINE_X - x0 - distance[k] * jnp.cos(angle[k])
        y = FINE_Y - y0 - distance[k] * jnp.sin(angle[k])
        body = sersic(x, y, radius=size[k], n=jnp.float32(1.0), q=q[k], phi=phi[k])
        total = total + weight[k] * unit(body)
    return unit(total)


Shape = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]
LOOKALIKES: dict[str, Shape] = {
    "ring": ring,
    "spiral": spiral,
    "merger": merger,
    "blue_companion": blue_companion,
}
