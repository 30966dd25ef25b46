"""What is drawn has the distributions that the documents state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lensjax.simulate import population as p
from lensjax.simulate import scene

N = 2048


@pytest.fixture(scope="module")
def drawn():
    """Skies of N hosts in 512 bricks, hosts, and what a sky and an arc of each are."""
    bricks = jnp.repeat(jax.random.split(jax.random.key(1), N // 8), 8)
    keys = jax.random.split(jax.random.key(2), N)
    parts = jax.jit(jax.vmap(lambda *pair: scene._draw_field(*pair)[:3]))(bricks, keys)
    return jax.tree.map(np.asarray, parts)


@pytest.fixture(scope="module")
def arcs(drawn, spans):
    host = jax.tree.map(jnp.asarray, drawn[1])
    return jax.tree.map(
        np.asarray, scene._draw_arcs(jax.random.split(jax.random.key(3), N), host, *spans)
    )


def test_einstein_radii_are_uniform_and_snr_log_uniform(arcs):
    lens, _, snr = arcs
    assert stats.kstest(lens.theta_e, stats.uniform(1.5, 1.0).cdf).pvalue > 1e-3
    assert stats.kstest(snr, stats.loguniform(8.0, 50.0).cdf).pvalue > 1e-3
    assert stats.kstest(snr, stats.uniform(8.0, 42.0).cdf).pvalue < 1e-6  # the test can tell
    assert abs(stats.spearmanr(lens.theta_e, snr).statistic) < 0.06


def test_seeing_and_depth_are_those_of_the_survey(drawn):
    sky = drawn[0]
    brick = sky.fwhm[:, 1].reshape(-1, 8).mean(1)
    assert sky.fwhm[:, 1].mean() == pytest.approx(1.18, abs=0.025)
    assert sky.fwhm[:, 1].std() == pytest.approx(0.16, abs=0.02)
    assert brick.std() > 0.1  # a brick has its own
    assert (sky.fwhm.mean(0) / sky.fwhm[:, 1].mean()) == pytest.approx([1.08, 1, 0.93], abs=0.01)
    assert sky.depth.mean(0) == pytest.approx([24.0, 23.4, 22.5], abs=0.04)
    assert sky.depth.std(0) == pytest.approx([0.26] * 3, abs=0.04)
    assert np.abs(sky.pedestal).max() < 0.6


def test_every_bin_of_seeing_and_depth_is_populated(drawn):
    sky = drawn[0]
    for values, edges in ((sky.fwhm, p.PSF_BIN_EDGES), (sky.depth, p.DEPTH_BIN_EDGES)):
        assert np.bincount(np.searchsorted(edges, values[:, 1])).min() > 0.1 * N


def test_hosts_are_luminous_red_galaxies(drawn):
    g, r, z = drawn[1].magnitude.T
    assert np.median(g - r) == pytest.approx(1.65, abs=0.02)
    assert np.median(r - z) == pytest.approx(0.975, abs=0.02)
    assert np.median(z) == pytest.approx(18.7, abs=0.05)
    assert np.median(drawn[1].radius) == pytest.approx(1.2, abs=0.04)
    assert drawn[1].radius.min() >= 0.4 and drawn[1].radius.max() <= 4.0


def test_neighbours_are_as_many_as_stated(drawn):
    galaxies, present = drawn[2]
    counts = np.bincount(present.sum(1), minlength=7)
    expected = N * stats.poisson(1.3).pmf(np.arange(6))
    assert (
        stats.chisquare([*counts[:6], counts[6:].sum()], [*expected, N - expected.sum()]).pvalue
        > 1e-3
    )
    r = galaxies.magnitude[..., 1].ravel()
    assert stats.kstest(r, stats.triang(4.0 / 4.3, 19.5, 4.3).cdf).pvalue > 1e-3
    assert np.hypot(galaxies.x, galaxies.y).min() > 2.0


def test_arcs_are_bluer_than_hosts_and_sources_inside_the_caustics(arcs, drawn):
    lens, source, _ = arcs
    assert source.colour[:, 0].mean() == pytest.approx(0.45, abs=0.02)
    assert source.colour[:, 2].mean() == pytest.approx(-0.3, abs=0.02)
    assert (np.hypot(source.x, source.y) <= 0.55 * lens.theta_e * 1.0001).all()
    assert (lens.gamma == 2.0).mean() == pytest.approx(p.SIE_SHARE, abs=0.03)
    assert lens.q.min() >= 0.5  # what EPL_TERMS is long enough for
    assert np.bincount((source.clump_fraction > 0).sum(1)) / N == pytest.approx(
        [1 / 3] * 3, abs=0.03
    )
    assert source.clump_radius.min() >= np.float32(p.CLUMP_RADIUS)
