"""The point spread function: a circular Moffat profile of beta 3.5, as its Fourier transform.

Not a kernel image: light is multiplied by the transform, which is exact and elementary for this
beta. That also means that no kernel is ever cut at its edge; a PSF too wide for the stamp would
spread its light past the frame instead, and is refused.

    >>> refuse_wide_psf(fwhm_arcsec)
    >>> blur = moffat_transform(frequency, fwhm_arcsec)
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from lensjax import schema
from lensjax.schema import ExitCode, LensjaxError

BETA = 3.5
FWHM_TO_ALPHA = 0.5 / math.sqrt(2 ** (1 / BETA) - 1)
ENCLOSED = 0.99  # of a point source's light must fall within half a stamp


def moffat_transform(frequency: jax.Array, fwhm: jax.Array) -> jax.Array:
    """Fourier transform of a Moffat profile of unit flux, beta 3.5 and `fwhm` (arcsec), at
    `frequency` (cycles per arcsec, any shape; `fwhm` broadcasts against it). Its general form is
    t^(beta-1) K_(beta-1)(t) 2^(2-beta) / Gamma(beta-1), t = 2 pi alpha k (Trujillo et al. 2001,
    MNRAS 328, 977, eq. 4 for the profile); the Bessel function of order 5/2 is elementary."""
    t = 2.0 * math.pi * FWHM_TO_ALPHA * fwhm * frequency
    return jnp.exp(-t) * (1.0 + t + t * t / 3.0)


def enclosed_radius(fwhm: np.ndarray | float) -> np.ndarray:
    """Radius (arcsec) that holds ENCLOSED of the light of a point source of `fwhm` (arcsec)."""
    growth = (1 - ENCLOSED) ** (-1 / (BETA - 1)) - 1
    return np.asarray(fwhm, np.float64) * FWHM_TO_ALPHA * math.sqrt(growth)


def refuse_wide_psf(
    fwhm: np.ndarray | float,
    *,
    pixels: int = schema.STAMP_SIZE,
    pixel_scale: float = schema.PIXEL_SCALE_ARCSEC,
) -> None:
    """Raise LensjaxError (USAGE) where a PSF of `fwhm` (arcsec, any shape) is not positive and
    finite, or is wider than a stamp of `pixels` pixels of `pixel_scale` arcsec: more than
    1 - ENCLOSED of the light of a source at the centre would miss it."""
    values = np.atleast_1d(np.asarray(fwhm, np.float64))
    half = pixels * pixel_scale / 2
    bad = ~(np.isfinite(values) & (values > 0)) | (enclosed_radius(values) > half)
    if bad.any():
        raise LensjaxError(
            ExitCode.USAGE,
            f"a PSF of FWHM {values[bad][0]:.3g} arcsec does not fit a stamp of "
            f"{2 * half:.3g} arcsec",
            where="PSF",
            remedy=f"Use a positive FWHM of at most {half / enclosed_radius(1.0):.2f} arcsec",
        )


def noise_pixels(fwhm: jax.Array, pixel_scale: float = schema.PIXEL_SCALE_ARCSEC) -> jax.Array:
    """Pixels over which a point source of `fwhm` (arcsec, any shape) is measured, 1 / sum of its
    squared profile: pi alpha^2 (2 beta - 1) / (beta - 1)^2 in pixels, from the integral of the
    squared Moffat profile. 5-sigma flux / 5 / its root is the sky noise a pixel."""
    alpha = FWHM_TO_ALPHA * fwhm / pixel_scale
    return math.pi * alpha**2 * (2 * BETA - 1) / (BETA - 1) ** 2
