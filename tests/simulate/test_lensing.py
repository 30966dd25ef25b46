"""Deflections and images against lenstronomy."""

import functools
import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lensjax.simulate import features, lensing, population, scene

_SPEC = importlib.util.spec_from_file_location(
    "lenstronomy_images", Path(__file__).with_name("lenstronomy_images.py")
)
lenstronomy_images = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(lenstronomy_images)

N = 100


def one(tree, i):
    return jax.tree.map(lambda a: np.asarray(a[i], np.float64), tree)


@functools.cache
def masses():
    """N lenses of the widest population, and 200 positions outside 0.05 arcsec about each."""

    @jax.jit
    @jax.vmap
    def draw(key):
        keys = jax.random.split(key, 3)
        span = jnp.array([0.3, 3.0], jnp.float32)
        lens = population.draw_lens(keys[0], population.draw_host(keys[1]), span)
        polar = jax.random.uniform(keys[2], (2, 200))
        r, angle = 0.0501 + 8.0 * polar[0] ** 2, 2 * jnp.pi * polar[1]
        return lens, r * jnp.cos(angle), r * jnp.sin(angle)

    return draw(jax.random.split(jax.random.key(1), N))


def worst_deflection(isothermal):
    """Largest error (arcsec) of N lenses of one kind."""
    lens, x, y = masses()
    lens = lens._replace(gamma=jnp.where(isothermal, 2.0, lens.gamma + 1e-3))
    mine = jax.jit(jax.vmap(features.deflection))(x, y, lens)
    worst = 0.0
    for i in range(N):
        model, keywords = lenstronomy_images.mass(one(lens, i))
        at = np.asarray(x[i], np.float64), np.asarray(y[i], np.float64)
        for got, truth in zip(one(mine, i), model.alpha(*at, keywords), strict=True):
            worst = max(worst, np.abs(got - truth).max())
    return worst


@pytest.mark.parametrize("isothermal", [True, False], ids=["SIE", "EPL"])
def test_deflections_agree_with_lenstronomy(isothermal):
    assert worst_deflection(isothermal) < 1e-4


def test_a_series_too_short_would_show(monkeypatch):
    monkeypatch.setattr(lensing, "EPL_TERMS", 4)
    assert worst_deflection(False) > 1e-4


@functools.cache
def lensed():
    """N lenses, sources and skies, SIE and EPL in turn, and their noiseless images."""

    @jax.jit
    @jax.vmap
    def draw(key, isothermal):
        keys = jax.random.split(key, 5)
        host = population.draw_host(keys[0])
        lens = population.draw_lens(keys[1], host, jnp.array([0.5, 2.5], jnp.float32))
        lens = lens._replace(gamma=jnp.where(isothermal, 2.0, lens.gamma))
        source = population.draw_source(keys[2], lens.theta_e)
        sky = population.draw_sky(keys[3], keys[4])
        return host, lens, source, sky

    return draw(jax.random.split(jax.random.key(5), N), jnp.arange(N) % 2 == 0)


def image_errors(rows, **source_shape):
    """Largest difference from lenstronomy in r, in parts of the peak, of each of `rows`."""

    @jax.jit
    @jax.vmap
    def paint(host, lens, source, sky):
        shape = features.lensed_image(lens, source, host.x, host.y)
        spectrum = jnp.broadcast_to(scene.grid.to_spectrum(shape), (3, 2, 96, 49))
        return scene.observed(spectrum, sky)[14:-14, 14:-14, 1]

    drawn = jax.tree.map(lambda a: a[np.asarray(rows)], lensed())
    changed = {k: jnp.full(len(rows), v, jnp.float32) for k, v in source_shape.items()}
    drawn = drawn[0], drawn[1], drawn[2]._replace(**changed), drawn[3]
    images, errors = np.asarray(paint(*drawn)), []
    for i, mine in enumerate(images):
        host, lens, source, sky = (one(part, i) for part in drawn)
        truth = lenstronomy_images.image(lens, source, host.x, host.y, sky.fwhm[1])
        errors.append(np.abs(mine - truth).max() / truth.max())
    return np.array(errors)


def test_images_agree_with_lenstronomy():
    assert image_errors(range(N)).max() < 0.01


def test_light_sampled_on_the_fine_grid_alone_would_show(monkeypatch):
    steep = {"radius": 0.08, "n": 1.5, "q": 0.6}
    assert image_errors(range(6), **steep).max() < 0.01
    monkeypatch.setattr(features, "_quarters", lambda values: [values])
    assert image_errors(range(6), **steep).max() > 0.01


def test_the_ring_of_a_centred_source_has_the_einstein_radius(field, keys):
    zero, size = jnp.zeros(16), jnp.full(16, 0.1)
    theta_e = jnp.linspace(1.5, 2.5, 16)
    lens = population.Lens(theta_e, size * 20, size * 10, zero, zero, zero)
    none = jnp.zeros((16, 2))
    source = population.Lensed(
        zero, zero, size, size * 10, size * 10, zero, none, none, none + 0.1, none,
        jnp.zeros((16, 3)),
    )  # fmt: skip
    arc = scene._paint_arcs(lens, source, jnp.full(16, 30.0), field)
    for i in range(16):
        r = np.hypot(features.FINE_X, features.FINE_Y)
        x0, y0 = float(field.host.x[i]), float(field.host.y[i])
        shape = np.asarray(features.lensed_image(*(one(t, i) for t in (lens, source)), 0.0, 0.0))
        assert (shape * r).sum() == pytest.approx(float(theta_e[i]), rel=0.03)
        axis = (np.arange(64) - 31.5) * 0.262
        r = np.hypot(axis[None, :] - x0, axis[:, None] - y0)
        light = np.asarray(arc.light[i, ..., 1])
        profile = [light[(r >= a) & (r < a + 0.262)].mean() for a in np.arange(0.0, 4.0, 0.131)]
        assert 0.131 * np.argmax(profile) + 0.131 == pytest.approx(float(theta_e[i]), abs=0.3)
