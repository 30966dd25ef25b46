"""Light profiles: elliptical Sersic, in real space and as its Fourier transform.

Not a fitter. Radii are half-light radii in arcsec on the geometric mean of the axes, `q` is the
axis ratio and `phi` the angle of the major axis from +x. The transform comes from a table over
index and frequency made once by a fast Hankel transform: total fluxes are analytic (the whole
profile, not what falls in the frame) and the cusp costs no sampling.

    >>> brightness = sersic(x, y, radius=0.3, n=1.0, q=0.7, phi=0.2)
    >>> transform = sersic_transform(kx, ky, TABLE, radius=1.2, n=4.0, q=0.8, phi=0.2)
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from scipy import fft, special

from lensjax.simulate.grid import Array

N_RANGE = (0.5, 6.0)  # Sersic indices of the table
_N_ROWS = 48
_K_RANGE = (1e-3, 3e2)  # 2 pi times frequency times half-light radius
_K_COLUMNS = 640


def sersic_b(n: jax.Array) -> jax.Array:
    """b_n, for which the Sersic radius holds half the light, to 1e-4 for n >= 0.5. Ciotti &
    Bertin 1999, A&A 352, 447, eq. 18."""
    return 2.0 * n - 1.0 / 3.0 + 4.0 / (405.0 * n) + 46.0 / (25515.0 * n * n)


def sersic(
    x: Array,
    y: Array,
    *,
    radius: jax.Array,
    n: jax.Array,
    q: jax.Array,
    phi: jax.Array,
) -> jax.Array:
    """Surface brightness, 1 at the half-light radius, of an elliptical Sersic profile at the
    origin, at `x`, `y` (arcsec, any shape)."""
    c, s = jnp.cos(phi), jnp.sin(phi)
    u, v = c * x + s * y, -s * x + c * y
    r2 = jnp.maximum((q * u * u + v * v / q) / (radius * radius), 1e-8)
    return jnp.exp(-sersic_b(n) * (jnp.exp(jnp.log(r2) * (0.5 / n)) - 1.0))


@functools.cache
def sersic_table() -> np.ndarray:
    """float32 [48, 640]: transforms of circular Sersic profiles of unit flux and unit half-light
    radius, rows log-spaced in n over N_RANGE, columns log-spaced in 2 pi frequency over 1e-3 to
    300. By fast Hankel transform (Hamilton 2000, MNRAS 312, 257; scipy.fft.fht)."""
    k = np.geomspace(*_K_RANGE, _K_COLUMNS)
    points = 4096
    step = math.log(1e16) / points
    r = np.exp(step * (np.arange(points) - (points - 1) / 2))
    rows = []
    for n in np.geomspace(*N_RANGE, _N_ROWS):
        b = special.gammaincinv(2 * n, 0.5)
        flux = 2 * math.pi * n * b ** (-2 * n) * special.gamma(2 * n)
        profile = np.exp(-b * r ** (1 / n)) / flux
        offset = fft.fhtoffset(step, mu=0.0)
        transform = 2 * math.pi * np.asarray(fft.fht(profile * r, step, mu=0.0, offset=offset))
        at = np.exp(offset) / r[::-1]
        rows.append(np.interp(np.log(k), np.log(at), transform / at))
    return np.asarray(rows, np.float32)


def sersic_transform(
    kx: Array,
    ky: Array,
    table: Array,
    *,
    radius: jax.Array,
    n: jax.Array,
    q: jax.Array,
    phi: jax.Array,
) -> jax.Array:
    """Fourier transform, at frequencies `kx`, `ky` (cycles per arcsec, broadcast together), of
    an elliptical Sersic profile of unit total flux at the origin; `table` is sersic_table()."""
    c, s = jnp.cos(phi), jnp.sin(phi)
    u, v = c * kx + s * ky, -s * kx + c * ky
    # the transform of an ellipse is an ellipse of inverse axis ratio
    k2 = (u * u / q + v * v * q) * (2.0 * math.pi * radius) ** 2
    row = _position(jnp.log(n), N_RANGE, _N_ROWS)
    lower = jnp.floor(row)
    at = lower.astype(jnp.int32)
    line = table[at] + (row - lower) * (table[at + 1] - table[at])
    column = _position(0.5 * jnp.log(jnp.maximum(k2, 1e-12)), _K_RANGE, _K_COLUMNS)
    left = jnp.floor(column)
    index = left.astype(jnp.int32)
    slope = jnp.append(jnp.diff(line), 0.0)
    return line[index] + (column - left) * slope[index]


def _position(log_value: jax.Array, span: tuple[float, float], size: int) -> jax.Array:
    """Fractional index of a value in a log-spaced table, kept inside it."""
    low, high = math.log(span[0]), math.log(span[1])
    scaled = (log_value - low) * ((size - 1) / (high - low))
    return jnp.clip(scaled, 0.0, size - 1.001)
