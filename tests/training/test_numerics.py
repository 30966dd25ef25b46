"""What the error of a refused step says and keeps; numbers beyond a format; the same bits again."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lensjax.data.stamps import validate_planes
from lensjax.schema import ExitCode
from lensjax.training import augment, non_finite, step
from lensjax.training import model as resnet
from lensjax.training.feed import PREPROCESS

from .conftest import make_recipe, same

PLAIN = {"dihedral": False, "hard_negative_fraction": 0.0, "dropout_probability": (0.0,)}
LEAF = "params/Dense_0/bias"


class Small:
    """A step that compiles in seconds. One leaf's gradient is NaN where that leaf is zero, the loss
    unchanged; and what looks at its steps."""

    def __init__(self):
        self.recipe = make_recipe(**PLAIN, ema_decay=0.0)
        self.model = resnet.ResNet18(2, 3.0, "patches", stages=(1,))
        self.train_step = step.make_train_step(self.model, self.recipe)
        self.examine = step.make_examine(self.model, self.recipe)

    def state(self, bias):
        """At step 3."""
        state = step.init_state(self.model, self.recipe)
        state["params"]["Dense_0"]["bias"] = jnp.full(1, bias, jnp.float32)
        return {**state, "step": jnp.int32(3)}


@pytest.fixture(scope="module")
def small():
    apply_train = resnet.apply_train

    def with_a_root(model, variables, inputs):
        logits, moved = apply_train(model, variables, inputs)
        bias = variables["params"]["Dense_0"]["bias"]
        return logits + 0.0 * jnp.sqrt(jnp.abs(bias)).sum(), moved

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resnet, "apply_train", with_a_root)
        yield Small()


def spoilt(bench, monkeypatch, pixel):
    """`pixel` in the last stamp of batch 3 but for those that it shares with others."""
    row = int(bench.feed.batch(3, 0.0)["rows"][-1])
    source = bench.feed.source
    inputs = source["inputs"].at[row, 20, 20, 1].set(pixel)
    monkeypatch.setattr(bench.feed, "source", {**source, "inputs": inputs})
    return str(bench.feed.ids[row])


def refused(small, bench, folder, bias, rate):
    """The state after step 3, that before it, and the error."""
    before = jax.device_get(small.state(bias))
    batch = bench.feed.batch(3, rate)
    state, _ = small.train_step(small.state(bias), bench.feed.source, batch)
    told = {"examine": small.examine, "feed": bench.feed, "rate": rate, "folder": folder}
    return jax.device_get(state), before, non_finite.refused(state, 3, **told)


# On a CPU, XLA's maximum of NaN and 0 is 0: behind the first relu the loss is finite, and only the
# gradient tells.
CASES = {
    "NaN in a pixel": (np.nan, 1.0, 1e-3, "the gradient of params/BatchNorm_0/scale (6 of 11"),
    "Inf in a pixel": (np.inf, 1.0, 1e-3, "the gradient of params/BatchNorm_0/scale (6 of 11"),
    "Inf in the loss": (1.0, 3e38, 1e-3, "loss is not finite; the update was not applied"),
    "NaN in one gradient": (1.0, 0.0, 1e-3, f"the gradient of {LEAF} (1 of 11 leaves) is not"),
    "an update without bound": (1.0, 1.0, np.inf, "the update of params/"),
}


@pytest.mark.proves("N1")
@pytest.mark.parametrize(("pixel", "bias", "rate", "leaf"), CASES.values(), ids=CASES)
def test_it_names_step_leaf_and_stamps_and_keeps_state_and_batch(
    bench, small, tmp_path, monkeypatch, pixel, bias, rate, leaf
):
    stamp = spoilt(bench, monkeypatch, pixel)
    state, before, error = refused(small, bench, tmp_path, bias, rate)
    assert int(state["bad_step"]) == 3 and same(state, {**before, "bad_step": state["bad_step"]})
    assert error.code == ExitCode.NON_FINITE == 15 and error.what.startswith(leaf)
    ids = bench.feed.stamp_ids(3)
    first = ids[0] if np.isfinite(pixel) else stamp
    assert error.where.startswith(f"step 3, batch of {first}, ")
    assert ("pixels of 1 of its 16 stamps" in error.what) == (not np.isfinite(pixel))
    path = tmp_path / "non_finite-3.npz"
    assert str(error).endswith(f"its batch is in {path}") and "\n" not in str(error)
    with np.load(path, allow_pickle=False) as kept:
        assert sorted(kept.files) == ["inputs", "labels", "stamp_id"]
        rows = np.asarray(bench.feed.batch(3, 0.0)["rows"])
        np.testing.assert_array_equal(kept["inputs"], bench.feed.source["inputs"][rows])
        np.testing.assert_array_equal(kept["labels"], bench.feed.source["labels"][rows])
        assert kept["stamp_id"].tolist() == ids


def test_the_file_is_bounded_and_holds_the_worst(bench, tmp_path, monkeypatch):
    stamp = spoilt(bench, monkeypatch, np.nan)
    monkeypatch.setattr(non_finite, "KEPT", 4)
    told = {"examine": bench.examine, "feed": bench.feed, "rate": 0.0, "folder": tmp_path}
    non_finite.refused(bench.state(), 3, **told)
    with np.load(tmp_path / "non_finite-3.npz") as kept:
        assert len(kept["inputs"]) == len(kept["labels"]) == 4 and stamp in kept["stamp_id"]


def test_a_full_disk_does_not_hide_what_went_wrong(bench, tmp_path, monkeypatch):
    def full(path, arrays):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(non_finite, "save_arrays", full)
    told = {"examine": bench.examine, "feed": bench.feed, "rate": 0.0, "folder": tmp_path}
    error = non_finite.refused(bench.state(), 3, **told)
    assert error.code == ExitCode.NON_FINITE
    assert "loss is not finite" in error.what and "not be kept: the disk is full" in error.remedy


def test_leaves_in_the_order_in_which_they_come_to_be():
    ones = {"a": np.ones(2), "b": np.ones(2)}
    sums = {"grad_norm": np.float32(1), "loss": np.float32(1)}
    sound = {"loss": np.float32(1), "gradient": ones}
    new = {"params": ones, "batch_stats": {"mean": np.ones(1)}, "sums": sums}

    def first(changes, in_new):
        return non_finite.first_leaf({**sound, **changes, "new": {**new, **in_new}})

    bad = {"a": np.ones(2), "b": np.float32([1, np.inf])}
    large = {"sums": {**sums, "grad_norm": np.float32(np.inf)}}
    assert first({}, {}) == non_finite.AGAIN
    assert first({}, {"params": bad}) == "the update of params/b (1 of 3 leaves)"
    assert first({}, {"params": bad, **large}) == "the sum of grad_norm (1 of 2 leaves)"
    assert first({"gradient": bad}, large) == "the gradient of params/b (1 of 2 leaves)"
    assert first({"gradient": bad, "loss": np.float32(np.nan)}, large) == "loss"


# -- numbers beyond a format --------------------------------------------------------------------
def bright(train_set, value):
    """A stamp with `value` nanomaggies in one pixel of r: float32 [64, 64, 3]."""
    stamp = train_set.stamps[0].copy()
    stamp[31, 31, 1] = value
    return stamp


@pytest.mark.proves("N2")
@pytest.mark.parametrize(("value", "cause"), [(1e5, "narrow annulus"), (1e7, "out of range")])
def test_a_pixel_that_float16_cannot_hold_is_seen_when_it_is_read(train_set, value, cause):
    planes = np.ascontiguousarray(np.moveaxis(bright(train_set, value), -1, 0)[None])
    (found,) = validate_planes(planes)
    assert (found.row, found.band, found.name) == (0, "r", cause)


@pytest.mark.proves("N2")
def test_what_the_model_sees_fits_into_float16(train_set):
    stamp = bright(train_set, 1e4)  # as bright as passes; 5e5 sky sigmas
    planes = np.ascontiguousarray(np.moveaxis(stamp, -1, 0)[None])
    assert validate_planes(planes) == []
    for name in ("raw_robust", "residual_radial_profile"):
        seen = np.asarray(PREPROCESS(stamp[None], name=name, clip=100.0))
        assert np.isfinite(seen.astype(np.float16)).all() and seen.max() == 100.0


@pytest.mark.harm("N2")
def test_without_range_and_clip_float16_overflows(train_set):
    seen = np.asarray(PREPROCESS(bright(train_set, 1e4)[None], name="raw_robust", clip=1e30))
    with np.errstate(over="ignore"):
        assert np.isinf(seen.astype(np.float16)).any()


@pytest.mark.proves("N2")
def test_a_logit_without_bound_is_refused(bench, small, tmp_path):
    state, before, error = refused(small, bench, tmp_path, np.float32(3e38), 1e-3)
    assert same(state, {**before, "bad_step": state["bad_step"]})
    assert error.code == ExitCode.NON_FINITE and error.what.startswith("loss is not finite")


# -- the same bits ------------------------------------------------------------------------------
TURNS = {"dihedral": True, "hard_negative_fraction": 0.0, "dropout_probability": (0.5,)}


def two_runs(bench):
    """The inputs of step 3, in a run and in one that was resumed there."""
    recipe = make_recipe(**TURNS, dropout_radius=(7.0,))

    def inputs():
        made = jax.jit(functools.partial(step.augmented, recipe))  # a process of its own
        return np.asarray(made(bench.feed.source, bench.feed.batch(3, 0.0))[0])

    return inputs(), inputs()


@pytest.mark.proves("N5")
def test_augmentation_is_of_seed_and_position_alone(bench):
    assert np.array_equal(*two_runs(bench))


@pytest.mark.harm("N4")
@pytest.mark.harm("N5")
def test_with_a_generator_that_is_not_restored_they_differ(bench, monkeypatch):
    """As numpy's global one: its state is that of the process."""
    process = itertools.count()

    def drawn(key, epochs, ids):
        return jax.random.split(jax.random.key(next(process)), len(ids))

    monkeypatch.setattr(augment, "stamp_keys", drawn)
    assert not np.array_equal(*two_runs(bench))
