"""The two grids of a stamp, and the Fourier plane between them: pixels, finer points, frequencies.

Not an FFT: only the frequencies that a stamp's pixels can hold are wanted, on a plane somewhat
wider than the stamp so that wings do not wrap around, and for those a product with cosines and
sines is as fast, exact, and free of aliasing.

    >>> spectrum = to_spectrum(fine_image)
    >>> pixels = to_pixels(spectrum * blur)
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from lensjax import schema

Array = jax.Array | np.ndarray  # what the functions of arrays take; they return jax.Array
PIXEL = schema.PIXEL_SCALE_ARCSEC  # arcsec
PERIOD = 96  # pixels; light that leaves the stamp comes back only after 32 more
FINE = 4  # points a pixel and axis, of what is drawn in real space
FINE_PIXELS = 56  # pixels a side that the fine grid covers, about the centre
_N_FINE = FINE * FINE_PIXELS

FREQUENCY_Y = np.fft.fftfreq(PERIOD, PIXEL).astype(np.float32)  # [96], cycles per arcsec
FREQUENCY_X = np.fft.rfftfreq(PERIOD, PIXEL).astype(np.float32)  # [49]


def _about_centre(n: int, step: float) -> np.ndarray:
    return (np.arange(n) - (n - 1) / 2) * step


_FINE_AXIS = _about_centre(_N_FINE, PIXEL / FINE)
FINE_X = np.broadcast_to(_FINE_AXIS.astype(np.float32)[None, :], (_N_FINE, _N_FINE))  # arcsec
FINE_Y = np.broadcast_to(_FINE_AXIS.astype(np.float32)[:, None], (_N_FINE, _N_FINE))
FREQUENCY = np.hypot(FREQUENCY_Y[:, None], FREQUENCY_X[None, :])  # [96, 49]
# A pixel counts the light that falls on it: the transform of its square.
PIXEL_WINDOW = (
    np.sinc(FREQUENCY_Y[:, None] * PIXEL) * np.sinc(FREQUENCY_X[None, :] * PIXEL)
).astype(np.float32)


@functools.cache
def _forward() -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of the fine grid's points: [224, 98] along x, [192, 224] along y."""
    x = 2 * math.pi * _FINE_AXIS[:, None] * FREQUENCY_X[None, :].astype(np.float64)
    y = 2 * math.pi * FREQUENCY_Y[:, None].astype(np.float64) * _FINE_AXIS[None, :]
    along_x = np.concatenate([np.cos(x), np.sin(x)], axis=1)
    along_y = np.concatenate([np.cos(y), np.sin(y)], axis=0)
    return along_x.astype(np.float32), along_y.astype(np.float32)


@functools.cache
def _backward() -> tuple[np.ndarray, np.ndarray]:
    """The inverse: [128, 192] from the parts of 96 frequencies along y, [98, 64] along x."""
    axis = _about_centre(schema.STAMP_SIZE, PIXEL)
    y = 2 * math.pi * axis[:, None] * FREQUENCY_Y[None, :].astype(np.float64)
    x = 2 * math.pi * FREQUENCY_X[:, None].astype(np.float64) * axis[None, :]
    twice = np.full((len(FREQUENCY_X), 1), 2.0)  # the half plane that is not kept
    twice[0] = twice[-1] = 1.0
    along_y = np.block([[np.cos(y), -np.sin(y)], [np.sin(y), np.cos(y)]])
    along_x = np.concatenate([twice * np.cos(x), -twice * np.sin(x)], axis=0) / PERIOD**2
    return along_y.astype(np.float32), along_x.astype(np.float32)


def _product(a: Array, b: Array) -> jax.Array:
    """In full float32, also where an accelerator would round the factors."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def to_spectrum(image: jax.Array) -> jax.Array:
    """Fourier transform of light on the fine grid (any unit a point), float32 [224, 224], about the
    stamp's centre: real and imaginary part, float32 [2, 96, 49]."""
    along_x, along_y = _forward()
    parts = _product(along_y, _product(image, along_x))
    half, columns = PERIOD, len(FREQUENCY_X)
    cc, cs = parts[:half, :columns], parts[:half, columns:]
    sc, ss = parts[half:, :columns], parts[half:, columns:]
    return jnp.stack([cc - ss, -(sc + cs)])


def to_pixels(spectrum: jax.Array) -> jax.Array:
    """The stamp of a spectrum, float32 [2, 96, 49] -> [64, 64], in the same unit, a pixel."""
    along_y, along_x = _backward()
    half = _product(along_y, spectrum.reshape(2 * PERIOD, -1))
    n = schema.STAMP_SIZE
    return _product(jnp.concatenate([half[:n], half[n:]], axis=1), along_x)


def shifted(transform: jax.Array, x0: jax.Array, y0: jax.Array) -> jax.Array:
    """The spectrum float32 [2, 96, 49] of something symmetric, with real `transform` [96, 49],
    moved from the origin to `x0`, `y0` (arcsec)."""
    phase = 2 * math.pi * (FREQUENCY_X[None, :] * x0 + FREQUENCY_Y[:, None] * y0)
    return jnp.stack([transform * jnp.cos(phase), -transform * jnp.sin(phase)])
