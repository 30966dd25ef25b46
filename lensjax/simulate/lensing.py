"""Deflections of light by elliptical mass: EPL (SIE among them) and external shear, in float32.

Not a lens-modelling library: a series and a closed form, no potentials and no time delays. The
singular isothermal ellipsoid is the elliptical power law of slope `gamma` = 2.
Conventions are those of lenstronomy: `theta_e` is the Einstein radius on the intermediate axis,
`q` the axis ratio of the mass, `phi` the angle of its major axis from +x, in radians; lengths are
in arcsec, x along columns and y along rows.

    >>> ax, ay = epl_deflection(x, y, theta_e=1.5, gamma=2.1, q=0.8, phi=0.3)
    >>> sx, sy = shear_deflection(x, y, gamma1=0.03, gamma2=-0.01)
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lensjax.simulate.grid import Array

EPL_TERMS = 12  # relative error below ((1 - q) / (1 + q))^12: 2e-6 at q = 0.5, lower are not drawn
_TINY = 1e-12  # arcsec^2


def epl_deflection(
    x: Array,
    y: Array,
    *,
    theta_e: jax.Array,
    gamma: jax.Array,
    q: jax.Array,
    phi: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Deflection (arcsec) of an elliptical power law at the origin, three-dimensional slope
    `gamma` (2: isothermal), at `x`, `y` (arcsec, any shape); the other arguments are scalars.
    Tessore & Metcalf 2015, A&A 580, A79, eqs. 13 and 29, the series as a polynomial by
    Horner's rule."""
    t = gamma - 1.0
    f = (1.0 - q) / (1.0 + q)
    b = theta_e * jnp.sqrt(q)
    u, v = _rotate(x, y, phi)
    r2 = jnp.maximum(q * q * u * u + v * v, _TINY)
    inverse = jax.lax.rsqrt(r2)
    c, s = q * u * inverse, v * inverse  # of the elliptical angle
    wr, wi = -f * (c * c - s * s), -2.0 * f * c * s
    k = jnp.arange(1, EPL_TERMS, dtype=jnp.float32)
    series = jnp.cumprod((2 * k - (2 - t)) / (2 * k + (2 - t)))
    re, im = jnp.full_like(wr, series[-1]), jnp.zeros_like(wr)
    for i in reversed(range(EPL_TERMS - 2)):
        re, im = re * wr - im * wi + series[i], re * wi + im * wr
    re, im = re * wr - im * wi + 1.0, re * wi + im * wr
    size = b * (1.0 + f) * jnp.exp(0.5 * (t - 1.0) * jnp.log(b * b / r2))
    return _rotate(size * (c * re - s * im), size * (c * im + s * re), -phi)


def shear_deflection(
    x: Array, y: Array, *, gamma1: jax.Array, gamma2: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Deflection (arcsec) of external shear about the origin, at `x`, `y` (arcsec)."""
    return gamma1 * x + gamma2 * y, gamma2 * x - gamma1 * y


def _rotate(x: Array, y: Array, phi: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Coordinates in axes turned by `phi`."""
    c, s = jnp.cos(phi), jnp.sin(phi)
    return c * x + s * y, -s * x + c * y
