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


def uniform(key: jax.Array, low: Number, high: Number, shape: tuple[int, ...] = ()) -> jax.Array:
    """Uniform float32 in [low, high)."""
    return jax.random.uniform(key, shape, jnp.float32, low, high)


def log_uniform(key: jax.Array, low: Number, high: Number) -> jax.Array:
    """Uniform in the logarithm, a float32 scalar."""
    return jnp.exp(uniform(key, jnp.log(low), jnp.log(high)))


def normal(key: jax.Array, mean: Number, scatter: float, shape: tuple[int, ...] = ()) -> jax.Array:
    """Normal float32."""
    return mean + scatter * jax.random.normal(key, shape, jnp.float32)


def flux(magnitude: Array) -> jax.Array:
    """Nanomaggies."""
    return 10.0 ** (-0.4 * (magnitude - schema.ZERO_POINT))


def draw_sky(brick: jax.Array, host: jax.Array) -> Sky:
    """Conditions of one stamp, from the keys of its brick and of its host."""
    seeing_key, depth_key, dust_key = jax.random.split(brick, 3)
    keys = jax.random.split(host, 5)
    seeing = SEEING + normal(seeing_key, 0.0, SEEING_SCATTER[0])
    seeing = jnp.clip(seeing + normal(keys[0], 0.0, SEEING_SCATTER[1]), *SEEING_RANGE)
    fwhm = seeing * SEEING_RATIO * jnp.clip(normal(keys[1], 1.0, 0.03, (3,)), 0.9, 1.1)
    offset = normal(depth_key, 0.0, DEPTH_SCATTER[0]) + normal(keys[2], 0.0, DEPTH_SCATTER[1])
    depth = jnp.asarray(DEPTH) + offset + normal(keys[3], 0.0, 0.08, (3,))
    pixels = psf.noise_pixels(fwhm)
    sigma = flux(depth) / 5.0 / jnp.sqrt(pixels)
    ebv = 0.03 * jnp.exp(normal(dust_key, 0.0, 0.5))
    return Sky(fwhm, depth, sigma, normal(keys[4], 0.0, 0.1, (3,)), ebv)


def draw_host(key: jax.Array) -> Galaxy:
    """A luminous red galaxy, its centre within a fraction of a pixel of the stamp's."""
    keys = jax.random.split(key, 9)
    redshift = jnp.clip(normal(keys[0], 0.55, 0.13), 0.25, 0.9)
    z = normal(keys[1], 18.7 + 2.2 * (redshift - 0.55), 0.55)
    r = z + normal(keys[2], 0.75 + 0.9 * (redshift - 0.3), 0.08)
    g = r + normal(keys[3], 1.65, 0.12)
    centre = normal(keys[8], 0.0, 0.08, (2,))
    return Galaxy(
        magnitude=jnp.stack([g, r, z]),
        radius=jnp.clip(jnp.exp(normal(keys[4], math.log(1.2), 0.4)), 0.4, 4.0),
        n=jnp.clip(normal(keys[5], 4.0, 0.6), 2.0, 5.5),
        q=uniform(keys[6], 0.6, 1.0),
        phi=uniform(keys[7], 0.0, math.pi),
        x=centre[0],
        y=centre[1],
    )


def draw_neighbours(key: jax.Array) -> tuple[Galaxy, jax.Array]:
    """NEIGHBOURS galaxies in the stamp (each field with that many), and which of them are there:
    bool [6], their number Poisson with mean 1.3."""
    keys = jax.random.split(key, 10)
    n = (NEIGHBOURS,)
    count = (uniform(keys[0], 0.0, 1.0) > _NEIGHBOUR_CDF).sum()
    distance = 8.4 * jnp.sqrt(uniform(keys[1], 0.06, 1.0, n))
    angle = uniform(keys[2], 0.0, 2 * math.pi, n)
    u = uniform(keys[3], 0.0, 1.0, n)
    # triangular over 19.5-23.8 with its mode at 23.5, by its inverse
    rise, fall = (23.5 - 19.5) / 4.3, 4.3 * (23.8 - 23.5)
    r = jnp.where(
        u < rise,
        19.5 + jnp.sqrt(u * 4.3 * (23.5 - 19.5)),
        23.8 - jnp.sqrt(jnp.maximum(1.0 - u, 0.0) * fall),
    )
    g, z = r + normal(keys[4], 0.9, 0.5, n), r - normal(keys[5], 0.5, 0.35, n)
    galaxies = Galaxy(
        magnitude=jnp.stack([g, r, z], axis=-1),
        radius=uniform(keys[6], 0.15, 0.9, n),
        n=uniform(keys[7], 0.7, 3.0, n),
        q=uniform(keys[8], 0.35, 1.0, n),
        phi=uniform(keys[9], 0.0, math.pi, n),
        x=distance * jnp.cos(angle),
        y=distance * jnp.sin(angle),
    )
    return galaxies, jnp.arange(NEIGHBOURS) < count


def draw_lens(key: jax.Array, host: Galaxy, theta_e: jax.Array) -> Lens:
    """The mass of `host`, its Einstein radius uniform in the span `theta_e` (arcsec, [2])."""
    keys = jax.random.split(key, 7)
    isothermal = uniform(keys[0], 0.0, 1.0) < SIE_SHARE
    gamma = jnp.where(isothermal, 2.0, jnp.clip(normal(keys[1], 2.0, 0.12), 1.7, 2.3))
    shear, angle = uniform(keys[2], 0.0, 0.08), uniform(keys[3], 0.0, math.pi)
    return Lens(
        theta_e=uniform(keys[4], *theta_e),
        gamma=gamma,
        q=jnp.clip(host.q + normal(keys[5], 0.0, 0.06), 0.5, 0.98),
        phi=host.phi + normal(keys[6], 0.0, 0.15),
        gamma1=shear * jnp.cos(2 * angle),
        gamma2=shear * jnp.sin(2 * angle),
    )


def draw_source(key: jax.Array, theta_e: jax.Array) -> Lensed:
    """A source within 0.55 theta_E of the optical axis."""
    keys = jax.random.split(key, 12)
    distance = 0.55 * theta_e * jnp.sqrt(uniform(keys[0], 0.0, 1.0))
    angle = uniform(keys[1], 0.0, 2 * math.pi)
    x, y = distance * jnp.cos(angle), distance * jnp.sin(angle)
    radius = jnp.clip(jnp.exp(normal(keys[2], math.log(0.22), 0.4)), 0.07, 0.6)
    count = jax.random.randint(keys[3], (), 0, 3)
    away = normal(keys[4], 0.0, 0.7, (2, 2)) * radius
    return Lensed(
        x=x,
        y=y,
        radius=radius,
        n=uniform(keys[5], 0.6, 2.0),
        q=uniform(keys[6], 0.4, 1.0),
        phi=uniform(keys[7], 0.0, math.pi),
        clump_x=x + away[0],
        clump_y=y + away[1],
        clump_radius=jnp.maximum(radius * uniform(keys[8], 0.15, 0.35, (2,)), CLUMP_RADIUS),
        clump_fraction=uniform(keys[9], 0.05, 0.25, (2,)) * (jnp.arange(2) < count),
        colour=blue_colour(keys[10]),
    )


def blue_colour(key: jax.Array) -> jax.Array:
    """Magnitudes in g, r, z relative to r, float32 [3], of a star-forming source."""
    g, z = jax.random.split(key)
    return jnp.stack([normal(g, 0.45, 0.25), jnp.float32(0.0), -normal(z, 0.3, 0.25)])
