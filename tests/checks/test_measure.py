"""The pass over the pixels agrees with a plain reference, in any chunking and from a memory map."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from lensjax import schema
from lensjax.checks import measure as module
from lensjax.checks.measure import OUTSKIRTS_COLUMNS, measure
from lensjax.training import features

OUTSIDE = schema.radius_map() >= 28


@pytest.fixture
def stamps():
    rng = np.random.default_rng(3)
    stamps = rng.standard_normal((70, 64, 64, 3), np.float32) * np.float32(0.01)
    return stamps + np.float32(0.002)


def reference(stamp):
    """Plain numpy, one stamp."""
    numbers = []
    for band in range(3):
        plane = stamp[..., band].astype(np.float64)
        pixels = np.sort(plane[OUTSIDE])
        median = pixels[len(pixels) // 2]
        sigma = 1.4826 * np.sort(np.abs(pixels - median))[len(pixels) // 2]
        z = np.clip((plane - median) / sigma, -4, 4)
        variance = (z[OUTSIDE] ** 2).mean()
        both = OUTSIDE[:, 1:] & OUTSIDE[:, :-1]
        across = (z[:, 1:] * z[:, :-1])[both].mean() / variance
        both = OUTSIDE[1:] & OUTSIDE[:-1]
        down = (z[1:] * z[:-1])[both].mean() / variance
        numbers += [np.log10(sigma), median / sigma, across, down]
    return numbers


def test_outskirts_agree_with_a_plain_reference(stamps):
    found = measure(stamps[:8]).outskirts
    assert found.shape == (8, len(OUTSKIRTS_COLUMNS)) and found.dtype == np.float32
    np.testing.assert_allclose(found, [reference(s) for s in stamps[:8]], rtol=2e-4, atol=2e-5)


def test_outskirts_are_what_evaluation_stores_of_the_same_stamps(stamps):
    """Two implementations of one thing: levels agree to the gap between the middle two of 1,624
    pixels, correlations to their normalisation, by all pixels here, by those with a neighbour
    there."""
    smooth = gaussian_filter(stamps, (0, 0.7, 0.7, 0))
    level = np.array([not name.startswith("autocorrelation") for name in OUTSKIRTS_COLUMNS])
    for kind in (stamps, smooth):
        ours, theirs = measure(kind).outskirts, np.asarray(features.outskirts(kind))
        assert theirs.shape == ours.shape
        np.testing.assert_allclose(theirs[:, level], ours[:, level], atol=5e-3)
        np.testing.assert_allclose(theirs[:, ~level], ours[:, ~level], atol=0.04)
    assert np.abs(measure(smooth).outskirts - measure(stamps).outskirts).min(axis=0)[2] > 0.3


def test_outskirts_do_not_see_an_arc(stamps):
    arc = np.where((schema.radius_map() < 20)[..., None], np.float32(5.0), np.float32(0.0))
    np.testing.assert_array_equal(measure(stamps + arc).outskirts, measure(stamps).outskirts)


def test_chunks_and_memory_maps_change_nothing(stamps, tmp_path, monkeypatch):
    whole = measure(stamps)
    np.save(tmp_path / "stamps.npy", stamps)
    monkeypatch.setattr(module, "CHUNK_ROWS", 9)
    seen = []
    parts = measure(np.load(tmp_path / "stamps.npy", mmap_mode="r"), seen.append)
    assert sum(seen) == len(stamps) and len(seen) == 8
    assert np.array_equal(parts.pixel_sum, whole.pixel_sum)
    np.testing.assert_allclose(parts.outskirts, whole.outskirts, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(parts.fingerprint, whole.fingerprint, rtol=1e-4, atol=1e-5)


def test_unusable_stamps_are_named_and_do_not_spoil_the_others(stamps):
    clean = measure(stamps)
    stamps[3, 5, 5, 1] = np.nan
    stamps[66] = np.inf
    stamps[67] = 0.0
    measured = measure(stamps)
    assert [(c.row, c.band) for c in measured.causes] == [(3, "r")] + [
        (row, band) for row in (66, 67) for band in "grz"
    ]
    others = np.setdiff1d(np.arange(70), (3, 66, 67))
    np.testing.assert_array_equal(measured.outskirts[others], clean.outskirts[others])
    assert np.isnan(measured.outskirts[67]).all() and np.isnan(measured.fingerprint[67]).all()


def test_empty_set_measures_nothing():
    measured = measure(np.zeros((0, 64, 64, 3), np.float32))
    assert measured.causes == [] and measured.outskirts.shape == (0, 12)
