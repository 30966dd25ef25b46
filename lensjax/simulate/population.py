"""What is drawn for each brick, galaxy, arc and look-alike: pure functions of a key.

Not the drawing on pixels (`scene`). Figures are of luminous red galaxies at Legacy Survey depth:
5-sigma point source g 24.0, r 23.4, z 22.5 and r-band seeing 1.18 +- 0.16 arcsec (Dey et al. 2019,
AJ 157, 168), red sequence and sizes of LRGs at z 0.25-0.9, arcs of SIE or EPL lenses plus shear.
Seeing, depth and extinction belong to a brick, with a little scatter from galaxy to galaxy.

    >>> sky = draw_sky(brick_key, host_key)
    >>> host = draw_host(key)
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lensjax import schema
from lensjax.simulate import psf
from lensjax.simulate.grid import Array

DEPTH = np.array([24.0, 23.4, 22.5], np.float32)  # 5 sigma, point source, magnitudes
SKY_BRIGHTNESS = np.array([22.0, 20.9, 18.9], np.float32)  # magnitudes per square arcsec
SEEING = 1.18  # arcsec, r band
SEEING_RATIO = np.array([1.08, 1.0, 0.93], np.float32)  # of each band to r
SEEING_RANGE = (0.9, 1.6)  # arcsec
# Scatter between bricks and, within one, between galaxies: together 0.16 arcsec and 0.25 mag.
SEEING_SCATTER = (0.15, 0.055)
DEPTH_SCATTER = (0.22, 0.12)
EXTINCTION = np.array(
    [3.214, 2.165, 1.211], np.float32
)  # magnitudes per E(B-V), DECam g, r, z (Dey+ 2019)
PSF_BIN_EDGES = np.array([1.07, 1.18, 1.29], np.float32)  # arcsec
DEPTH_BIN_EDGES = np.array([23.22, 23.4, 23.58], np.float32)  # magnitudes
NEIGHBOURS = 6  # at most; Poisson with mean 1.3 exceeds it once in 3,000
_NEIGHBOUR_MEAN = 1.3
_NEIGHBOUR_CDF = np.cumsum(
    [math.exp(-1.3) * 1.3**k / math.factorial(k) for k in range(NEIGHBOURS)]
).astype(np.float32)
SIE_SHARE = 0.3  # of the lenses; the rest are EPL
CLUMP_RADIUS = 0.05  # arcsec, at least: 0.4 kpc at z 1-2.6, as large as star-forming clumps


class Sky(NamedTuple):
    """Seeing and depth of a stamp; arrays [3] are g, r, z."""

    fwhm: jax.Array  # arcsec, [3]
    depth: jax.Array  # 5 sigma, point source, magnitudes, [3]
    sigma: jax.Array  # sky noise, nanomaggies a pixel, [3]
    pedestal: jax.Array  # error of the sky subtraction, sky sigmas, [3]
    ebv: jax.Array  # magnitudes


class Galaxy(NamedTuple):
    """An elliptical Sersic galaxy; arrays [3] are g, r, z."""

    magnitude: jax.Array  # total, [3]
    radius: jax.Array  # half-light, arcsec
    n: jax.Array
    q: jax.Array
    phi: jax.Array  # radians
    x: jax.Array  # arcsec from the stamp's centre
    y: jax.Array


class Lens(NamedTuple):
    """Mass: EPL about the host's centre (SIE where gamma is 2), and shear."""

    theta_e: jax.Array  # arcsec
    gamma: jax.Array
    q: jax.Array
    phi: jax.Array
    gamma1: jax.Array
    gamma2: jax.Array


class Lensed(NamedTuple):
    """A lensed source: Sersic with up to two Gaussian clumps (fraction 0 where there is none)."""

    x: jax.Array  # arcsec, in the source plane
    y: jax.Array
    radius: jax.Array
    n: jax.Array
    q: jax.Array
    phi: jax.Array
    clump_x: jax.Array  # [2]
    clump_y: jax.Array  # [2]
    clump_radius: jax.Array  # half-light, [2]
    clump_fraction: jax.Array  # of the smooth light as lensed, [2]
    colour: jax.Array  # magnitude in g, r, z relative to r, [3]


Number = jax.Array | float


def draws(
    key: jax.Array, uniforms: int, normals: int, shape: tuple[int, ...] = ()
) -> tuple[jax.Array, jax.Array]:
    """Float32 numbers [uniforms, ...] in [0, 1) and [normals, ...] of unit scatter: all that one
    thing needs in two calls, as each call of the generator takes a third of a second to compile."""
    first, second = jax.random.split(key)
    return (
        jax.random.uniform(first, (uniforms, *shape), jnp.float32),
        jax.random.normal(second, (normals, *shape), jnp.float32),
    )


def between(u: jax.Array, low: Number, high: Number) -> jax.Array:
    """Uniform in [low, high), of `u` uniform in [0, 1)."""
    return low + (high - low) * u


def log_between(u: jax.Array, low: Number, high: Number) -> jax.Array:
    """Uniform in the logarithm, of `u` uniform in [0, 1)."""
    return jnp.exp(between(u, jnp.log(low), jnp.log(high)))


def flux(magnitude: Array) -> jax.Array:
    """Nanomaggies."""
    return jnp.exp(-0.4 * math.log(10.0) * (magnitude - schema.ZERO_POINT))


def draw_sky(brick: jax.Array, host: jax.Array) -> Sky:
    """Conditions of one stamp, from the keys of its brick and of its host."""
    of_brick = jax.random.normal(brick, (3,), jnp.float32)
    of_host = jax.random.normal(host, (11,), jnp.float32)
    own, of_band = of_host[:2], of_host[2:].reshape(3, 3)
    seeing = SEEING + SEEING_SCATTER[0] * of_brick[0] + SEEING_SCATTER[1] * own[0]
    ratio = SEEING_RATIO * jnp.clip(1.0 + 0.03 * of_band[0], 0.9, 1.1)
    fwhm = jnp.clip(seeing, *SEEING_RANGE) * ratio
    offset = DEPTH_SCATTER[0] * of_brick[1] + DEPTH_SCATTER[1] * own[1]
    depth = jnp.asarray(DEPTH) + offset + 0.08 * of_band[1]
    sigma = flux(depth) / 5.0 / jnp.sqrt(psf.noise_pixels(fwhm))
    ebv = 0.03 * jnp.exp(0.5 * of_brick[2])
    return Sky(fwhm, depth, sigma, 0.1 * of_band[2], ebv)


def draw_host(key: jax.Array) -> Galaxy:
    """A luminous red galaxy, its centre within a fraction of a pixel of the stamp's."""
    u, z = draws(key, 2, 8)
    redshift = jnp.clip(0.55 + 0.13 * z[0], 0.25, 0.9)
    z_band = 18.7 + 2.2 * (redshift - 0.55) + 0.55 * z[1]
    r_band = z_band + 0.75 + 0.9 * (redshift - 0.3) + 0.08 * z[2]
    g_band = r_band + 1.65 + 0.12 * z[3]
    return Galaxy(
        magnitude=jnp.stack([g_band, r_band, z_band]),
        radius=jnp.clip(1.2 * jnp.exp(0.4 * z[4]), 0.4, 4.0),
        n=jnp.clip(4.0 + 0.6 * z[5], 2.0, 5.5),
        q=between(u[0], 0.6, 1.0),
        phi=between(u[1], 0.0, math.pi),
        x=0.08 * z[6],
        y=0.08 * z[7],
    )


def draw_neighbours(key: jax.Array) -> tuple[Galaxy, jax.Array]:
    """NEIGHBOURS galaxies in the stamp (each field with that many), and which of them are there:
    bool [6], their number Poisson with mean 1.3."""
    u, z = draws(key, 8, 2, (NEIGHBOURS,))
    count = (u[7, 0] > _NEIGHBOUR_CDF).sum()
    distance = 8.4 * jnp.sqrt(between(u[0], 0.06, 1.0))
    angle = between(u[1], 0.0, 2 * math.pi)
    # triangular over 19.5-23.8 with its mode at 23.5, by its inverse
    rise, fall = 4.3 * (23.5 - 19.5), 4.3 * (23.8 - 23.5)
    r = jnp.where(
        u[2] < (23.5 - 19.5) / 4.3,
        19.5 + jnp.sqrt(u[2] * rise),
        23.8 - jnp.sqrt((1.0 - u[2]) * fall),
    )
    galaxies = Galaxy(
        magnitude=jnp.stack([r + 0.9 + 0.5 * z[0], r, r - 0.5 - 0.35 * z[1]], axis=-1),
        radius=between(u[3], 0.15, 0.9),
        n=between(u[4], 0.7, 3.0),
        q=between(u[5], 0.35, 1.0),
        phi=between(u[6], 0.0, math.pi),
        x=distance * jnp.cos(angle),
        y=distance * jnp.sin(angle),
    )
    return galaxies, jnp.arange(NEIGHBOURS) < count


def draw_lens(key: jax.Array, host: Galaxy, theta_e: jax.Array) -> Lens:
    """The mass of `host`, its Einstein radius uniform in the span `theta_e` (arcsec, [2])."""
    u, z = draws(key, 4, 3)
    shear, angle = between(u[1], 0.0, 0.08), between(u[2], 0.0, math.pi)
    return Lens(
        theta_e=between(u[3], *theta_e),
        gamma=jnp.where(u[0] < SIE_SHARE, 2.0, jnp.clip(2.0 + 0.12 * z[0], 1.7, 2.3)),
        q=jnp.clip(host.q + 0.06 * z[1], 0.5, 0.98),
        phi=host.phi + 0.15 * z[2],
        gamma1=shear * jnp.cos(2 * angle),
        gamma2=shear * jnp.sin(2 * angle),
    )


def draw_source(key: jax.Array, theta_e: jax.Array) -> Lensed:
    """A source within 0.55 theta_E of the optical axis."""
    u, z = draws(key, 10, 7)
    distance, angle = 0.55 * theta_e * jnp.sqrt(u[0]), between(u[1], 0.0, 2 * math.pi)
    x, y = distance * jnp.cos(angle), distance * jnp.sin(angle)
    radius = jnp.clip(0.22 * jnp.exp(0.4 * z[0]), 0.07, 0.6)
    count = jnp.floor(between(u[2], 0.0, 3.0))  # of clumps: none, one or two
    return Lensed(
        x=x,
        y=y,
        radius=radius,
        n=between(u[3], 0.6, 2.0),
        q=between(u[4], 0.4, 1.0),
        phi=between(u[5], 0.0, math.pi),
        clump_x=x + 0.7 * radius * z[1:3],
        clump_y=y + 0.7 * radius * z[3:5],
        clump_radius=jnp.maximum(radius * between(u[6:8], 0.15, 0.35), CLUMP_RADIUS),
        clump_fraction=between(u[8:10], 0.05, 0.25) * (jnp.arange(2) < count),
        colour=blue_colour(z[5:7]),
    )


def blue_colour(normals: jax.Array) -> jax.Array:
    """Magnitudes in g, r, z relative to r, float32 [3], of a star-forming source, of two numbers of
    unit scatter."""
    return jnp.stack([0.45 + 0.25 * normals[0], jnp.float32(0.0), -0.3 - 0.25 * normals[1]])
