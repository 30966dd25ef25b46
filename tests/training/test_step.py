"""One update: what a batch becomes, what the optimiser does, and what never enters the state."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lensjax.training import model as resnet
from lensjax.training import step
from lensjax.training.feed import PREPROCESS
from lensjax.training.step import augmented, evaluated_variables, learning_rate, make_optimizer

from .conftest import BATCH, make_recipe, same

PLAIN = {"dihedral": False, "hard_negative_fraction": 0.0, "dropout_probability": (0.0,)}
jitted = jax.jit(augmented, static_argnums=0)


def batch(bench, rows, epoch=0, on=True, rate=1e-3):
    rows = np.asarray(rows)
    return bench.feed.device_batch(rows, np.full(len(rows), epoch), rate, on)


def rows_of(bench, what):
    """Rows of the source with a label, or of look-alikes."""
    labels = np.asarray(bench.feed.source["labels"])
    lonely = np.asarray(bench.feed.source["partner"]) < 0
    chosen = {"lens": labels == 1, "control": (labels == 0) & ~lonely, "lookalike": lonely}[what]
    return np.flatnonzero(chosen)


# -- augmentation -------------------------------------------------------------------------------
def test_not_augmented_means_the_inputs_as_they_are(bench):
    rows = np.arange(BATCH)
    inputs, labels = jitted(bench.recipe, bench.feed.source, batch(bench, rows, on=False))
    np.testing.assert_array_equal(inputs, bench.feed.source["inputs"][rows])
    np.testing.assert_array_equal(labels, bench.feed.source["labels"][rows])


@pytest.mark.proves("N5")
def test_every_epoch_differs_and_repeats_whatever_the_batch(bench):
    rows = np.arange(BATCH)
    first = jitted(bench.recipe, bench.feed.source, batch(bench, rows))[0]
    again = jitted(bench.recipe, bench.feed.source, batch(bench, rows[::-1]))[0][::-1]
    np.testing.assert_array_equal(first, again)
    later = jitted(bench.recipe, bench.feed.source, batch(bench, rows, epoch=1))[0]
    assert (np.asarray(first) != later).any((1, 2, 3)).mean() > 0.7  # 1/8 keep their symmetry
    seed = jitted(make_recipe(seed=8), bench.feed.source, batch(bench, rows))[0]
    assert (np.asarray(first) != seed).any((1, 2, 3)).mean() > 0.7


@pytest.mark.parametrize("what", ["lens", "control"])
def test_core_dropout_follows_the_schedule_in_both_classes_alike(bench, what):
    """Counted over many epochs of stage 0 (radius 7, p 0.7), then of the last (radius 3, p 0.3)."""
    recipe = make_recipe(
        dihedral=False,
        hard_negative_fraction=0.0,
        dropout_radius=(7.0,) * 40 + (3.0,) * 40,
        dropout_probability=(0.7,) * 40 + (0.3,) * 40,
    )
    row = rows_of(bench, what)[0]
    epochs = np.arange(80)
    made = bench.feed.device_batch(np.full(80, row), epochs, 0.0, True)
    inputs, _ = jitted(recipe, bench.feed.source, made)
    changed = np.asarray(inputs != bench.feed.source["inputs"][row][None])
    hit = changed.any((1, 2, 3))
    assert 18 < hit[:40].sum() < 38 and 3 < hit[40:].sum() < 22  # 28 +- 2.9, 12 +- 2.9
    radius = np.hypot(*(np.indices((64, 64)) - 31.5))
    where = changed.any(-1)
    assert where[:40][hit[:40]][:, radius < 6.9].mean() > 0.99
    assert not where[:40][:, radius >= 7].any() and not where[40:][:, radius >= 3].any()


@pytest.mark.parametrize(("what", "share"), [("lens", 0), ("control", 0.4), ("lookalike", 0)])
def test_hard_negatives_replace_controls_alone_at_the_stated_rate(bench, what, share):
    recipe = make_recipe(**PLAIN | {"hard_negative_fraction": 0.4})
    rows = rows_of(bench, what)[:5]
    source, replaced = bench.feed.source, []
    for epoch in range(16):
        made = batch(bench, np.repeat(rows, 2)[:8], epoch)
        inputs, _ = jitted(recipe, source, made)
        different = np.asarray(inputs != source["inputs"][made["rows"]]).any((1, 2, 3))
        replaced.append(different[::2][:4])
    found = np.mean(replaced)
    assert found == 0 if share == 0 else abs(found - share) < 0.25  # 64 draws: 0.4 +- 0.06


def test_a_hard_negative_in_training_is_one_of_raw_pixels(bench):
    recipe = make_recipe(**PLAIN | {"hard_negative_fraction": 1.0})
    rows = rows_of(bench, "control")[:4]
    source = bench.feed.source
    inputs, labels = jitted(recipe, source, batch(bench, rows))
    assert (np.asarray(labels) == 0).all()
    lens = source["stamps"][source["partner"][rows]]
    raw = PREPROCESS(lens, name="raw_robust", clip=1e9)
    assert not np.allclose(inputs, source["inputs"][rows], atol=1.0)
    # Median profiles are gone, so compare the brightest pixel of each: near the lens's own.
    peak = np.asarray(inputs).max((1, 2, 3))
    assert (peak > 3).all() and (peak < np.asarray(raw).max((1, 2, 3)) * 2).all()


# -- optimiser ----------------------------------------------------------------------------------
def test_update_is_optax_adamw():
    rng = np.random.default_rng(0)
    params = {"kernel": rng.standard_normal((3, 4)), "bias": rng.standard_normal(4)}
    params = jax.tree.map(jnp.float32, params)
    ours, theirs = params, params
    optimizer = make_optimizer(make_recipe(weight_decay=0.1, clip_norm=0.0))
    reference = optax.adamw(
        lambda count: 0.01 / (1 + count), weight_decay=0.1, mask={"kernel": True, "bias": False}
    )
    state, their_state = optimizer.init(params), reference.init(params)
    for k in range(5):
        grads = jax.tree.map(lambda x: jnp.float32(rng.standard_normal(x.shape)), params)
        updates, state = optimizer.update(grads, state, ours)
        ours = jax.tree.map(lambda p, u, k=k: p - 0.01 / (1 + k) * u, ours, updates)
        updates, their_state = reference.update(grads, their_state, theirs)
        theirs = optax.apply_updates(theirs, updates)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), ours, theirs)


def test_gradients_are_clipped_by_their_norm_together():
    """Adam hides the scale of one gradient; not that of one against the next."""
    params = {"kernel": jnp.ones((2, 2))}
    moments = {}
    for clip in (1.0, 0.0):
        optimizer = make_optimizer(make_recipe(clip_norm=clip))
        state = optimizer.init(params)
        _, state = optimizer.update({"kernel": jnp.full((2, 2), 50.0)}, state, params)
        moments[clip] = float(state[1].mu["kernel"][0, 0])
    assert moments[1.0] == pytest.approx(0.1 * 0.5) and moments[0.0] == pytest.approx(0.1 * 50)


def test_learning_rate_warms_up_and_falls_by_half_a_cosine():
    rate = [learning_rate(s, 1000, peak=1e-3, final=1e-5, warmup_fraction=0.1) for s in range(1001)]
    reference = optax.warmup_cosine_decay_schedule(1e-5, 1e-3, 100, 1000, 1e-5)
    np.testing.assert_allclose(rate[:100], 1e-3 * np.arange(1, 101) / 100)
    np.testing.assert_allclose(rate[100:], [reference(s) for s in range(100, 1001)], rtol=1e-5)
    assert max(rate) == 1e-3 and rate[-1] == pytest.approx(1e-5)


# -- the step -----------------------------------------------------------------------------------
def run(bench, train_step, steps, state=None):
    state, losses = state or bench.state(), []
    fixed = bench.feed.batch(0, 3e-3, augmented=False)
    for _ in range(steps):
        state, loss = train_step(state, bench.feed.source, fixed)
        losses.append(float(loss))
    return state, losses


@pytest.mark.proves("N4")
def test_trains_and_keeps_its_sums(bench):
    state, losses = run(bench, bench.train_step, 12)
    assert losses[-1] < 0.7 * losses[0] and int(state["step"]) == 12
    assert float(state["sums"]["loss"]) == pytest.approx(sum(losses), rel=1e-5)
    assert float(state["sums"]["steps"]) == 12 and int(state["bad_step"]) == -1
    again, _ = run(bench, bench.train_step, 12)
    assert same(state, again)


def test_evaluated_weights_are_the_moving_average(bench):
    states = [bench.state()]
    params, ema = states[0]["params"], jax.device_get(states[0]["ema"]["params"])
    for k in range(1, 4):
        state, _ = run(bench, bench.train_step, 1, states.pop())
        keep = min(0.9, (1 + k) / (10 + k))
        params = jax.device_get(state["params"])
        ema = jax.tree.map(lambda e, p, keep=keep: keep * e + (1 - keep) * p, ema, params)
        states.append(state)
    judged = evaluated_variables(states[0])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), judged["params"], ema
    )
    assert not same(jax.device_get(judged["params"]), params)
    plain = {key: value for key, value in states[0].items() if key != "ema"}
    assert same(evaluated_variables(plain)["params"], states[0]["params"])


def test_label_smoothing_moves_the_targets(bench):
    recipe = make_recipe(**PLAIN, label_smoothing=0.2)
    logits = np.float32([2.0, -1.0])
    smooth = step.smoothed(jnp.float32([1.0, 0.0]), recipe.label_smoothing)
    np.testing.assert_allclose(smooth, [0.9, 0.1])
    loss = optax.sigmoid_binary_cross_entropy(logits, smooth)
    q = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(
        loss, -np.array([0.9, 0.1]) * np.log(q) - np.array([0.1, 0.9]) * np.log(1 - q), rtol=1e-6
    )


def poisoned(bench, where):
    """The source with a NaN in one training stamp, or the state with one in a parameter."""
    if where == "input":
        bad = bench.feed.source["inputs"].at[int(bench.feed.rows[0]), 20, 20, 1].set(jnp.nan)
        return {**bench.feed.source, "inputs": bad}, 3e-3
    return bench.feed.source, float("inf")  # an update without bound


@pytest.mark.proves("N1")
@pytest.mark.parametrize("where", ["input", "update"])
def test_nothing_that_is_not_finite_enters_the_state(bench, where):
    state, _ = run(bench, bench.train_step, 2)
    before = jax.device_get(state)
    source, rate = poisoned(bench, where)
    rows = np.resize(bench.feed.rows, BATCH)
    state, _ = bench.train_step(state, source, batch(bench, rows, rate=rate, on=False))
    assert int(state["bad_step"]) == 2
    assert same({**before, "bad_step": 2}, {**jax.device_get(state), "bad_step": 2})
    state, _ = run(bench, bench.train_step, 1, state)  # healthy again: too late, it stands still
    assert int(state["bad_step"]) == 2 and int(state["step"]) == 2


@pytest.mark.harm("N1")
def test_without_the_guard_it_would(bench, monkeypatch):
    """The control: the same step, its guard taken out."""
    monkeypatch.setattr(step, "_guarded", lambda old, new: new)
    model, recipe = resnet.ResNet18(2, 3.0, "patches", stages=(1,)), make_recipe(**PLAIN)
    unguarded, state = step.make_train_step(model, recipe), step.init_state(model, recipe)
    source, _ = poisoned(bench, "input")
    rows = np.resize(bench.feed.rows, BATCH)
    state, _ = unguarded(state, source, batch(bench, rows, on=False))
    leaves = jax.tree.leaves([state["params"], state["batch_stats"]])
    assert not all(np.isfinite(leaf).all() for leaf in leaves)
