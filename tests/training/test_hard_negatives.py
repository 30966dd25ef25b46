"""Hard negatives keep the arc's flux at every radius and its colours, and lose its shape."""

import jax
import numpy as np
import pytest

from lensjax.training.hard_negatives import azimuthal_shuffle, hard_negative
from lensjax.training.preprocess import ANNULUS_OF_PIXEL

N = 6


@pytest.fixture(scope="module")
def pairs(train_set):
    labels = train_set.table["label"]
    return train_set.stamps[labels == 1][:N], train_set.stamps[
        train_set.table["negative_kind"] == "control"
    ][:N]


def keys(seed=0):
    return jax.random.split(jax.random.key(seed), N)


shuffle, make = jax.jit(azimuthal_shuffle), jax.jit(hard_negative)


def rows(arcs, k):
    """The pixels of annulus k, all bands together, sorted: equal if they are permuted alike."""
    pixels = np.asarray(arcs)[:, k == ANNULUS_OF_PIXEL]
    return [sorted(map(tuple, stamp.tolist())) for stamp in pixels]


def test_each_annulus_is_permuted_and_all_bands_alike(pairs):
    arcs = pairs[0] - pairs[1]
    shuffled = shuffle(keys(), arcs)
    for k in range(45):
        assert rows(shuffled, k) == rows(arcs, k)
    assert (np.asarray(shuffled) != arcs)[np.abs(arcs) > 0.01].mean() > 0.9
    # A permutation a band, the old way, would keep the flux and lose the colours.
    apart = np.stack([shuffle(keys(b), arcs)[..., b] for b in range(3)], axis=-1)
    assert rows(apart, 6) != rows(arcs, 6)
    # An annulus 5.7 px wide, the old way, would move flux in radius.
    flux = [
        np.bincount(ANNULUS_OF_PIXEL.ravel(), x[..., 1].ravel()) for x in (arcs[0], shuffled[0])
    ]
    np.testing.assert_allclose(*flux, rtol=1e-4, atol=1e-4)


def test_every_order_of_an_annulus_is_as_likely():
    """The four innermost pixels: 24 orders."""
    n = 2400
    arc = np.zeros((64, 64, 1), np.float32)
    arc[31:33, 31:33, 0] = [[1, 2], [3, 4]]
    keys = jax.random.split(jax.random.key(3), n)
    inner = shuffle(keys, np.broadcast_to(arc, (n, *arc.shape)))[:, 31:33, 31:33, 0]
    _, counts = np.unique(np.asarray(inner).reshape(n, 4), axis=0, return_counts=True)
    assert len(counts) == 24 and np.abs(counts - 100).max() < 5 * np.sqrt(100)


def test_a_hard_negative_is_its_control_with_the_arcs_flux(pairs):
    stamps, controls = pairs
    hard = np.asarray(make(keys(), stamps, controls))
    np.testing.assert_allclose(hard.sum((1, 2)), stamps.sum((1, 2)), rtol=1e-4)
    np.testing.assert_allclose(make(keys(), controls, controls), controls)
    assert (np.abs(hard - stamps).max((1, 2, 3)) > 0.05).all()
