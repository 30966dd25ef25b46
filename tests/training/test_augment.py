"""Augmentation: the eight symmetries, core dropout and its schedule, and where its luck is from."""

import jax
import numpy as np
import pytest

from lensjax import configuration
from lensjax.schema import LensjaxError
from lensjax.training import augment
from lensjax.training.setup import make_recipe

RADIUS = np.hypot(*(np.indices((64, 64)) - 31.5)).astype(np.float32)
N = 40
core_fill = jax.jit(augment.core_fill)
core_dropout = jax.jit(augment.core_dropout, static_argnames=("mode", "soft_edge_px"))


@pytest.fixture(scope="module")
def inputs():
    x = np.random.default_rng(0).standard_normal((N, 64, 64, 3)).astype(np.float32)
    return x + np.float32(3) * (RADIUS < 4)[..., None]


def keys(epoch=0, n=N):
    ids = np.arange(n, dtype=np.int32)
    return augment.stamp_keys(jax.random.key(1), np.full(n, epoch, np.int32), ids)


def drop(inputs, radius=5.0, probability=1.0, epoch=0, **options):
    n = len(inputs)
    full = [np.full(n, value, np.float32) for value in (radius, probability)]
    fill = core_fill(inputs)
    return np.asarray(core_dropout(keys(epoch, n), inputs, fill, *full, **options))


def test_the_eight_codes_are_the_eight_symmetries(inputs):
    got = augment.dihedral(np.arange(8, dtype=np.int32), np.repeat(inputs[:1], 8, 0))
    want = [np.rot90(x, k) for x in (inputs[0], inputs[0][::-1]) for k in range(4)]
    assert {np.asarray(g).tobytes() for g in got} == {
        np.ascontiguousarray(w).tobytes() for w in want
    }
    np.testing.assert_array_equal(got[0], inputs[0])


def test_all_symmetries_are_drawn_alike():
    codes = np.asarray(augment.draw_dihedral(keys(n=4000)))
    assert np.abs(np.bincount(codes, minlength=8) - 500).max() < 5 * np.sqrt(500)


def test_a_hard_edge_fills_80_pixels_of_the_core_and_no_other(inputs):
    got = drop(inputs)
    median = np.median(inputs[:, (RADIUS >= 20) & (RADIUS < 32)], axis=1)
    assert (RADIUS < 5).sum() == 80
    np.testing.assert_array_equal(got[:, RADIUS >= 5], inputs[:, RADIUS >= 5])
    np.testing.assert_array_equal(got[:, RADIUS < 5], np.broadcast_to(median[:, None], (N, 80, 3)))


def test_fills(inputs):
    core = RADIUS < 7
    assert (drop(inputs, 7.0, mode="zero")[:, core] == 0).all()
    noise = drop(inputs, 7.0, mode="noise")[:, core]
    assert abs(noise.std() - 1) < 0.05 and abs(noise.mean()) < 0.05
    assert np.unique(noise).size > 0.99 * noise.size  # no pixel, stamp or band shares its draw
    with pytest.raises(LensjaxError, match="outer_medan"):
        drop(inputs, mode="outer_medan")


def test_a_soft_edge_ramps_between_core_and_stamp(inputs):
    got = drop(inputs, 5.0, mode="zero", soft_edge_px=2.0)
    share = np.clip((RADIUS - 5) / 2, 0, 1)[None, :, :, None]
    np.testing.assert_allclose(got, inputs * share, atol=1e-6)
    untouched = drop(inputs, 0.0, mode="zero", soft_edge_px=2.0)
    np.testing.assert_array_equal(untouched, inputs)


def test_every_stamp_draws_for_itself(inputs):
    changed = (drop(inputs, probability=0.5) != inputs).any((1, 2, 3))
    assert 8 < changed.sum() < 32  # 20 +- 3.2; one draw a batch gives 0 or 40
    again = (drop(inputs, probability=0.5, epoch=1) != inputs).any((1, 2, 3))
    assert 5 < (changed != again).sum() < 35
    assert not (drop(inputs, probability=0.0) != inputs).any()


def test_masks_of_evaluation_are_complements(inputs):
    median = core_fill(inputs)[0]
    masked = augment.mask_core(inputs, median, np.float32(5))
    only = augment.keep_core_only(inputs, median)
    flat = np.broadcast_to(np.asarray(median)[:, None, None], inputs.shape)
    np.testing.assert_array_equal(masked + only, np.where(True, inputs + flat, 0))
    np.testing.assert_array_equal(augment.mask_core(inputs, median, np.float32(0)), inputs)


@pytest.mark.parametrize(
    ("spec", "changes"), [("b3", (10, 30)), ("b3:demo", (2, 6)), ("b3:tiny", (1, 2))]
)
def test_the_schedule_of_b3_changes_at_a_fifth_and_three_fifths(spec, changes):
    name, _, variant = spec.partition(":")
    config = configuration.load_config(f"configs/{name}.py{':' * bool(variant)}{variant}")
    recipe = make_recipe(config)
    first, second = changes
    stages = [first, second - first, config.epochs - second]
    want = [(7.0, 0.7)] * stages[0] + [(5.0, 0.5)] * stages[1] + [(3.0, 0.3)] * stages[2]
    got = list(zip(recipe.dropout_radius, recipe.dropout_probability, strict=True))
    np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize(
    "schedule", [(), ((0.1, 5, 0.5),), ((0, 5, 0.5), (0.6, 3, 0.3), (0.2, 3, 0.3))]
)
def test_a_schedule_out_of_order_is_an_error(schedule):
    with pytest.raises(LensjaxError, match="begin at 0"):
        augment.mask_schedule(10, schedule)
