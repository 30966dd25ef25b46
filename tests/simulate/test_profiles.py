"""The Sersic transform, against integrals and against images in real space."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special

from lensjax.simulate import grid, psf
from lensjax.simulate.profiles import sersic, sersic_table, sersic_transform


def transform(kx, n, q=1.0, phi=0.0, radius=1.0, ky=0.0):
    return np.asarray(
        sersic_transform(
            jnp.float32(kx), jnp.float32(ky), sersic_table(),
            radius=jnp.float32(radius), n=jnp.float32(n), q=jnp.float32(q), phi=jnp.float32(phi),
        )
    )  # fmt: skip


@pytest.mark.parametrize("n", [0.6, 1.0, 2.0, 3.3, 4.0, 5.5])
def test_transform_is_the_hankel_integral(n):
    b = special.gammaincinv(2 * n, 0.5)
    whole = 2 * np.pi * n * b ** (-2 * n) * special.gamma(2 * n)
    for k in (0.02, 0.1, 0.3, 1.0):

        def integrand(s, k=k):  # r = s^(2n): smooth at the cusp
            r = s ** (2 * n)
            return r * np.exp(-b * s**2) * special.j0(2 * np.pi * k * r) * 2 * n * r / s

        edges = np.linspace(1e-9, (45 / b) ** 0.5, 120)
        parts = [
            integrate.quad(integrand, a, c, limit=400)[0] for a, c in itertools.pairwise(edges)
        ]
        assert transform(k, n) == pytest.approx(2 * np.pi * sum(parts) / whole, abs=2e-3)
    assert transform(0.0, n) == pytest.approx(1.0, abs=2e-3)


def test_transform_and_image_of_an_inclined_galaxy_agree():
    shape = {"radius": 0.8, "n": 1.0, "q": 0.5, "phi": 0.6}
    image = np.asarray(
        sersic(grid.FINE_X, grid.FINE_Y, **{k: jnp.float32(v) for k, v in shape.items()})
    )
    drawn = np.asarray(grid.to_spectrum(jnp.asarray(image / image.sum())))
    ky, kx = grid.FREQUENCY_Y[:, None], grid.FREQUENCY_X[None, :]
    known = transform(kx, 1.0, q=0.5, phi=0.6, radius=0.8, ky=ky)
    low = grid.FREQUENCY < 1.0
    assert np.abs(drawn[0] - known)[low].max() < 5e-3
    assert np.abs(drawn[1])[low].max() < 1e-4
    turned = transform(kx, 1.0, q=0.5, phi=-0.6, radius=0.8, ky=ky)
    assert np.abs(drawn[0] - turned)[low].max() > 0.1  # an angle of the wrong sign would show


def test_moffat_transform_and_noise_pixels_are_those_of_its_profile():
    fwhm, beta = 1.3, 3.5
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))

    def profile(r):
        return (beta - 1) / (np.pi * alpha**2) * (1 + (r / alpha) ** 2) ** -beta

    r = np.linspace(0, 150, 600_001)
    for k in (0.1, 0.4, 1.0):
        integral = integrate.simpson(
            2 * np.pi * r * profile(r) * special.j0(2 * np.pi * k * r), x=r
        )
        got = psf.moffat_transform(jnp.float32(k), jnp.float32(fwhm))
        assert float(got) == pytest.approx(integral, abs=1e-5)
    squared = integrate.simpson(2 * np.pi * r * profile(r) ** 2, x=r)
    assert float(psf.noise_pixels(jnp.float32(fwhm), 1.0)) == pytest.approx(1 / squared, rel=1e-4)
    held = integrate.quad(lambda s: 2 * np.pi * s * profile(s), 0, float(psf.enclosed_radius(fwhm)))
    assert held[0] == pytest.approx(psf.ENCLOSED, abs=1e-5)
