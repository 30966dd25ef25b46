"""Preprocessing against twenty lines of numpy; the median is np.median exactly."""

import jax
import numpy as np
import pytest

from lensjax import schema
from lensjax.schema import ExitCode, LensjaxError
from lensjax.training import augment, feed
from lensjax.training.preprocess import (
    ANNULI,
    preprocess,
    radial_profile,
    ring_medians,
)

RADIUS = np.hypot(*(np.indices((64, 64)) - 31.5))
OUTER = (RADIUS >= 20) & (RADIUS < 32)
pre = jax.jit(preprocess, static_argnames=("name", "clip"))
annulus_medians = jax.jit(lambda stamps: ring_medians(stamps, ANNULI))
profile = jax.jit(radial_profile)


def reference(stamps, name, clip):
    """The rules of the contract, band by band."""
    out = np.empty_like(stamps)
    for n in range(len(stamps)):
        for band in range(3):
            x = stamps[n, :, :, band]
            median = np.median(x[OUTER])
            mad = np.median(np.abs(x - median)[OUTER])
            values = (x - median) / np.float32(1.4826 * mad)
            if name == "residual_radial_profile":
                for k in range(45):
                    ring = (k <= RADIUS) & (k + 1 > RADIUS)
                    values[ring] -= np.median(values[ring])
            out[n, :, :, band] = np.clip(values, -clip, clip)
    return out


@pytest.mark.parametrize("clip", [100.0, 3.0])
@pytest.mark.parametrize("name", schema.PREPROCESSINGS)
def test_is_the_reference(train_set, name, clip):
    stamps = train_set.stamps[:5]
    got, want = np.asarray(pre(stamps, name=name, clip=clip)), reference(stamps, name, clip)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-5)
    assert np.abs(got).max() <= clip
    assert (np.abs(got).max() == clip) == (clip == 3.0)  # the clip is reached, and only that one


def test_every_pixel_has_one_annulus_and_the_core_80():
    pixels, counts = ANNULI
    assert sorted(pixels[pixels < 4096].tolist()) == list(range(4096)) and counts.sum() == 4096
    assert counts[:5].sum() == 80


@pytest.mark.parametrize("n", [1, 16, 32])  # one group, exactly one, and several
def test_medians_are_those_of_numpy_to_the_bit(n):
    rng = np.random.default_rng(n)
    stamps = rng.standard_normal((n, 64, 64, 3), np.float32)
    stamps[0] = np.round(stamps[0], 1)  # ties, and both zeros
    stamps[-1] *= np.float32(1e20)
    got = np.asarray(annulus_medians(stamps))
    flat = stamps.reshape(n, 4096, 3)
    for k, (pixels, count) in enumerate(zip(*ANNULI, strict=True)):
        want = np.median(flat[:, pixels[:count]], axis=1)
        np.testing.assert_array_equal(got[:, k], want)


@pytest.mark.parametrize("name", schema.PREPROCESSINGS)
def test_commutes_with_the_dihedral_group(train_set, name):
    stamps = np.repeat(train_set.stamps[:1], 8, axis=0)
    codes = np.arange(8, dtype=np.int32)
    turned_first = pre(augment.dihedral(codes, stamps), name=name, clip=100.0)
    turned_last = augment.dihedral(codes, pre(stamps, name=name, clip=100.0))
    np.testing.assert_array_equal(turned_first, turned_last)
    assert len(np.unique(np.asarray(turned_last).reshape(8, -1), axis=0)) == 8


@pytest.mark.parametrize("name", schema.PREPROCESSINGS)
def test_units_and_background_do_not_matter(train_set, name):
    stamps = train_set.stamps[:2]
    scaled = pre(1000 * stamps + 5, name=name, clip=100.0)
    np.testing.assert_allclose(scaled, pre(stamps, name=name, clip=100.0), atol=5e-2)


def test_a_residual_has_no_profile(train_set):
    x = pre(train_set.stamps[:3], name="residual_radial_profile", clip=1e9)
    assert np.abs(annulus_medians(x)).max() < 1e-4
    raw = profile(train_set.stamps[:3])
    assert raw.shape == (3, 32, 3) and np.abs(raw).max() > 5


def test_the_profile_is_of_the_raw_robust_stamp(train_set):
    stamps = train_set.stamps[:2]
    values = reference(stamps, "raw_robust", 100.0)
    want = [
        np.median(values[:, (k <= RADIUS) & (k + 1 > RADIUS)], axis=1)
        for k in range(schema.PROFILE_RINGS)
    ]
    np.testing.assert_allclose(profile(stamps), np.stack(want, 1), rtol=1e-5, atol=1e-5)


def faulty(stamps, fault):
    stamps = stamps.copy()
    if fault == "nan":
        stamps[3, 20, 20, 1] = np.nan
    if fault == "padded":  # most of the outskirts are one value
        stamps[3, OUTER, 1] = np.float32(0.5)
    if fault == "narrow":  # a MAD of a ten-millionth of the range
        stamps[3, :, :, 1] *= np.float32(1e-3)
        stamps[3, 31, 31, 1] = 1e3
    return stamps


@pytest.mark.parametrize("fault", ["nan", "padded", "narrow"])
def test_a_band_without_noise_cannot_become_an_input(train_set, fault, monkeypatch):
    stamps = faulty(train_set.stamps[:6], fault)
    with pytest.raises(LensjaxError) as error:
        feed.model_inputs(stamps, name="raw_robust", clip=100.0)
    assert error.value.code == ExitCode.DATA_INVALID
    assert error.value.where == "stamp 3, band r"
    assert feed.IS_SOUND(stamps).sum() == 6 * 3 - 1
    # The guard off: NaN, or every pixel at the clip or near zero.
    monkeypatch.setattr(feed, "IS_SOUND", lambda x: np.ones((len(x), 3), bool))
    got = feed.model_inputs(stamps, name="raw_robust", clip=1e9)[3, :, :, 1]
    assert np.isnan(got).any() or np.abs(got).max() > 1e5


def test_an_unknown_name_is_an_error(train_set):
    with pytest.raises(LensjaxError, match="raw_robst"):
        preprocess(train_set.stamps[:1], "raw_robst", 100.0)
