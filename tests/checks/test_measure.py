"""The look at the pixels agrees with a plain reference, whatever the block; hashes tell what they
are to tell."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from lensjax import schema
from lensjax.checks.duplicates import dihedral
from lensjax.checks.measure import (
    OUTSKIRTS_COLUMNS,
    Difference,
    difference,
    hashes,
    measure,
    unmeasured,
)
from lensjax.training import features

OUTSIDE = schema.radius_map() >= 28


@pytest.fixture
def stamps():
    rng = np.random.default_rng(3)
    stamps = rng.standard_normal((70, 64, 64, 3), np.float32) * np.float32(0.01)
    return stamps + np.float32(0.002)


def planes_of(stamps):
    """float32 [n, 3, 64, 64] of [n, 64, 64, 3]."""
    return np.ascontiguousarray(np.moveaxis(stamps, -1, 1))


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
    found = measure(planes_of(stamps[:8])).outskirts
    assert found.shape == (8, len(OUTSKIRTS_COLUMNS)) and found.dtype == np.float32
    np.testing.assert_allclose(found, [reference(s) for s in stamps[:8]], rtol=2e-4, atol=2e-5)


def test_outskirts_are_what_evaluation_stores_of_the_same_stamps(stamps):
    """Two implementations of one thing: levels agree to the gap between the middle two of 1,624
    pixels, correlations to their normalisation, by all pixels here, by those with a neighbour
    there."""
    smooth = gaussian_filter(stamps, (0, 0.7, 0.7, 0))
    level = np.array([not name.startswith("autocorrelation") for name in OUTSKIRTS_COLUMNS])
    for kind in (stamps, smooth):
        ours, theirs = measure(planes_of(kind)).outskirts, np.asarray(features.outskirts(kind))
        assert theirs.shape == ours.shape
        np.testing.assert_allclose(theirs[:, level], ours[:, level], atol=5e-3)
        np.testing.assert_allclose(theirs[:, ~level], ours[:, ~level], atol=0.04)
    plain, soft = (measure(planes_of(kind)).outskirts for kind in (stamps, smooth))
    assert np.abs(soft - plain).min(axis=0)[2] > 0.3


def test_outskirts_do_not_see_an_arc(stamps):
    arc = np.where((schema.radius_map() < 20)[..., None], np.float32(5.0), np.float32(0.0))
    plain, lensed = (measure(planes_of(x)).outskirts for x in (stamps, stamps + arc))
    np.testing.assert_array_equal(lensed, plain)


def test_blocks_change_nothing(stamps):
    planes = planes_of(stamps)
    whole = measure(planes)
    parts = [measure(planes[k : k + 9]) for k in range(0, len(planes), 9)]
    for name, expected in whole._asdict().items():
        found = np.concatenate([getattr(part, name) for part in parts])
        if expected.dtype == np.uint64:
            np.testing.assert_array_equal(found, expected)
        else:
            rounding = max(1e-5, float(np.finfo(expected.dtype).eps))
            np.testing.assert_allclose(found, expected, rtol=rounding, atol=2 * rounding)


def test_stamps_that_cannot_be_used_do_not_spoil_the_others(stamps):
    """No exception and no warning for any value; the reader names them."""
    clean = measure(planes_of(stamps))
    stamps[3, 5, 5, 1] = np.nan
    stamps[66] = np.inf
    stamps[67] = 0.0
    measured = measure(planes_of(stamps))
    others = np.setdiff1d(np.arange(70), (3, 66, 67))
    for name, expected in clean._asdict().items():
        np.testing.assert_array_equal(getattr(measured, name)[others], expected[others])
    assert np.isnan(measured.outskirts[67]).all() and np.isnan(measured.fingerprint[67]).all()


def test_an_empty_set_measures_nothing():
    measured, room = measure(np.zeros((0, 3, 64, 64), np.float32)), unmeasured(0)
    for found, expected in zip(measured, room, strict=True):
        assert found.shape == expected.shape and found.dtype == expected.dtype
    none = np.zeros((0, 3, 64, 64), np.float32)
    assert [len(found) for found in difference(none, none, np.zeros(0))] == [0, 0, 0]


# -- hashes -----------------------------------------------------------------------------------


def test_content_is_that_of_all_8_turns_and_layout_is_of_one(stamps):
    """A copy has both, a turned copy the first alone."""
    turns = [planes_of(np.stack([dihedral(stamp)[k] for stamp in stamps[:6]])) for k in range(8)]
    content, layout = zip(*map(hashes, turns), strict=True)
    assert content[0].shape == (6, 2) and layout[0].shape == (6,)
    for k in range(1, 8):
        np.testing.assert_array_equal(content[k], content[0])
    for row in range(6):
        assert len({int(one[row]) for one in layout}) == 8
    again = hashes(turns[0].copy())
    np.testing.assert_array_equal(again[0], content[0])
    np.testing.assert_array_equal(again[1], layout[0])


def test_every_bit_of_every_pixel_is_in_the_content(stamps):
    planes = planes_of(stamps[:1])
    plain = hashes(planes)[0]
    rng = np.random.default_rng(1)
    for _ in range(300):
        place, bit = rng.integers(planes.size), rng.integers(32)
        flipped = planes.copy()
        flipped.view(np.uint32).reshape(-1)[place] ^= np.uint32(1) << np.uint32(bit)
        assert (hashes(flipped)[0] != plain).all()


def test_other_stamps_of_the_same_pixels_have_another_content(stamps):
    """Shuffled, with two pixels exchanged, with two bands exchanged, moved by a pixel. A plain sum
    of the pixels is the same for all of them."""
    stamp = stamps[0]
    shuffled = np.random.default_rng(0).permutation(stamp.reshape(-1, 3)).reshape(stamp.shape)
    exchanged = stamp.copy()
    exchanged[10, 12], exchanged[40, 9] = stamp[40, 9], stamp[10, 12]
    others = [stamp, shuffled, exchanged, stamp[..., [1, 0, 2]], np.roll(stamp, 1, axis=0)]
    planes = planes_of(np.stack(others))
    content = hashes(planes)[0]
    assert len(np.unique(content[:, 0])) == len(np.unique(content[:, 1])) == len(others)
    sums = planes.view(np.uint32).sum(axis=(1, 2, 3), dtype=np.uint64)
    assert len(np.unique(sums)) == 1


def test_a_control_has_another_content_than_its_stamp(clean):
    table, stamps = clean["train"].table, clean["train"].stamps
    content = hashes(planes_of(stamps))[0]
    assert len(np.unique(content, axis=0)) == len(table["label"])


# -- pairs ------------------------------------------------------------------------------------


def test_difference_agrees_with_a_plain_reference(stamps):
    one, two = planes_of(stamps[:20]), planes_of(stamps[20:40])
    two[3] = one[3]
    two[4] = one[4]
    two[4, 0, 7, 7] += 1.0  # in the g band alone
    reach = np.linspace(0, 50, 20)
    reach[5] = np.nan
    told = difference(one, two, reach)
    radius = schema.radius_map()
    for k in range(20):
        r_band = one[k, 1].astype(np.float64) - two[k, 1]
        assert told.differ[k] == (k != 3)
        np.testing.assert_allclose(told.total[k], r_band.sum(), atol=1e-5)
        whole = np.abs(r_band).sum()
        outside = np.abs(r_band[radius > reach[k]]).sum() / whole if whole else 0.0
        expected = np.nan if k == 5 else outside
        np.testing.assert_allclose(told.outside[k], expected, rtol=1e-4, atol=1e-6)


def test_difference_of_values_that_are_not_finite_is_no_exception(stamps):
    """Nor a warning (all of which are errors here): a row with Inf in stamp and control."""
    one, two = planes_of(stamps[:3]), planes_of(stamps[3:6])
    one[0, 1, 3, 3] = two[0, 1, 3, 3] = np.inf
    one[1, 1, 3, 3:5] = np.inf, -np.inf
    told = difference(one, two, np.full(3, 20.0))
    assert isinstance(told, Difference) and told.differ.all()
    assert np.isfinite(told.total[2]) and not np.isfinite(told.total[:2]).any()
