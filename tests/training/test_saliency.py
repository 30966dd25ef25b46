"""Saliency: known answers, models that look at one place only, and arrays that repeat."""

import dataclasses
import functools
import json
import re
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from lensjax import configuration, schema
from lensjax.job import evaluation
from lensjax.runs.files import file_digest
from lensjax.runs.signals import StopRequest
from lensjax.schema import ExitCode, LensjaxError
from lensjax.training import augment, saliency
from lensjax.training import model as resnet
from lensjax.training.evaluate import Watched, save_arrays
from lensjax.training.feed import FILL, Predictor, in_chunks

from .conftest import RADIUS

QUIET = Watched(None, None)
ANNULUS = np.floor(np.hypot(*(np.indices((64, 64)) - schema.CENTRE))).astype(int)


class Planted:
    """A model that is `function` of the sum of `weights` [64, 64, 3] times its input."""

    def __init__(self, weights, function=lambda x: x):
        self.weights, self.function = np.asarray(weights, np.float32), function

    def apply(self, variables, inputs, train):
        return self.function(variables + (inputs * self.weights[None]).sum((1, 2, 3)))


def of(model):
    """The gradient and the predictor of a model."""
    return saliency.make_gradient(functools.partial(resnet.apply_eval, model)), Predictor(model)


def measured(model, variables, inputs):
    gradient, predict = of(model)
    return saliency._measured(inputs, gradient, predict, variables, QUIET)


def slopes_of(gradient, variables, inputs):
    """The gradient in chunks of one size: one compilation."""
    return in_chunks(lambda x: gradient(variables, x)[1], inputs)


def slow_sums(maps):
    """Sums by annulus, k = 0..44, pixel by pixel in float64."""
    flat = np.asarray(maps, np.float64).reshape(len(maps), -1, 3)
    return np.stack([flat[:, ANNULUS.ravel() == k].sum(1) for k in range(45)], axis=1)


@pytest.fixture(scope="module")
def inputs():
    """Noise with a bright middle, and an outer median that is not zero."""
    noise = np.random.default_rng(1).standard_normal((28, *schema.STAMP_SHAPE), np.float32)
    return noise + (8 * np.exp(-RADIUS / 6))[None, :, :, None] + np.float32([0.1, 0.2, 0.3])


@pytest.fixture(scope="module")
def small():
    """One block of the network, with weights that do something: its gradient and predictor, its
    variables, and itself."""
    model = resnet.ResNet18(4, 3.0, "patches", stages=(1,))
    variables = resnet.init(model, 0)
    norm = variables["params"]["Block_0"][resnet.LAST_NORM]
    norm["scale"] = np.float32([1, -1, 0.5, 2])
    return *of(model), variables, model


@pytest.fixture
def chunks_of_seven(monkeypatch):
    """So that chunks end within a stamp's path, and the last has padding."""
    monkeypatch.setattr("lensjax.training.feed.CHUNK", 7)


def fill_of(inputs):
    return np.asarray(FILL(inputs)[0])


# -- known answers ------------------------------------------------------------------------------


def test_of_a_linear_model_all_is_known(inputs, chunks_of_seven):
    weights = np.random.default_rng(2).standard_normal(schema.STAMP_SHAPE, np.float32)
    x = inputs[:5]
    found = measured(Planted(weights), np.float32(3), x)
    exact = weights * (x - fill_of(x)[:, None, None, :])
    np.testing.assert_array_equal(found["gradient"], np.broadcast_to(weights, x.shape))
    assert found["steps"] == 16
    np.testing.assert_allclose(found["integrated_gradients"], exact, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["completeness_error"], 0, atol=2e-3)
    by_annulus = slow_sums(exact)[:, :32].sum(2)
    np.testing.assert_allclose(found["occlusion"], by_annulus, rtol=1e-3, atol=2e-3)
    np.testing.assert_allclose(
        found["logit_baseline"], 3 + (weights.sum((0, 1)) * fill_of(x)).sum(1), atol=1e-2
    )
    profiles = saliency._profiles(found, x)
    mean = (
        slow_sums(np.broadcast_to(np.abs(weights), x.shape)) / np.bincount(ANNULUS.ravel())[:, None]
    )
    for name, want in (
        ("gradient", mean[:, :32]),
        ("gradient_x_input", slow_sums(weights * x)[:, :32]),
        ("integrated_gradients", slow_sums(exact)[:, :32]),
        ("integrated_gradients_outside", slow_sums(exact)[:, 32:].sum(1)),
    ):
        assert profiles[name].dtype == np.float32
        np.testing.assert_allclose(profiles[name], want, rtol=1e-4, atol=1e-3, err_msg=name)


def test_a_stamp_is_the_same_alone_and_in_company(inputs, small, monkeypatch):
    """Of 1 x 5 and 5 x 5 points of a path, in chunks of 16, padding is another share."""
    monkeypatch.setattr(saliency, "STEPS", (5,))
    gradient, predict, variables, _ = small
    whole, alone = (
        saliency._measured(x, gradient, predict, variables, QUIET)
        for x in (inputs[:5], inputs[3:4])
    )
    for name in ("gradient", "integrated_gradients", "occlusion", "logit_baseline"):
        assert np.abs(alone[name]).max() > 0
        np.testing.assert_allclose(alone[name], whole[name][3:4], rtol=1e-3, atol=1e-6)


# -- the network --------------------------------------------------------------------------------


def test_the_gradient_is_that_of_finite_differences(inputs, small):
    gradient, predict, variables, _ = small
    x = inputs[:2]
    slopes = slopes_of(gradient, variables, x)
    way = np.sign(slopes)
    step = np.float32(1e-2)
    found = (predict(variables, x + step * way) - predict(variables, x - step * way)) / (2 * step)
    np.testing.assert_allclose(found, np.abs(slopes).sum((1, 2, 3)), rtol=0.02)


@pytest.mark.parametrize("steps", [(4,), (4, 12), (4, 12, 36)])
def test_integrated_gradients_are_a_sum_at_midpoints_refined_until_they_add_up(
    inputs, small, steps, monkeypatch
):
    gradient, predict, variables, _ = small
    x, median = inputs[:3], fill_of(inputs[:3])
    fill = np.broadcast_to(median[:, None, None, :], x.shape)
    change = predict(variables, x) - predict(variables, np.array(fill))
    monkeypatch.setattr(saliency, "STEPS", steps)
    monkeypatch.setattr(saliency, "allowed", lambda change: 0.0)  # the last steps are reached
    told = []
    progress = SimpleNamespace(update=told.append, expect=lambda n: told.append(-n))
    parts, missed, last = saliency.integrated_gradients(
        gradient, variables, x, median, change, progress
    )
    want = np.zeros(x.shape)
    for u in (np.arange(last) + 0.5) / last:
        there = (fill + u**2 * (x - fill)).astype(np.float32)
        want += 2 * u / last * slopes_of(gradient, variables, there) * (x - fill)
    assert last == steps[-1] and sum(told) == 3 * steps[0]
    np.testing.assert_allclose(parts, want, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(missed, want.sum((1, 2, 3)) - change, atol=1e-4)


def test_more_steps_only_where_the_parts_do_not_add_up(inputs, caplog):
    """A step on the way that 16 gradients miss is met by 48; what no gradient tells of is said."""
    x = inputs[:4] - fill_of(inputs[:4])[:, None, None, :]
    weights = np.ones(schema.STAMP_SHAPE) / x.sum((1, 2, 3)).mean()

    def rms(values):
        return np.sqrt(np.mean(np.square(values)))

    steep = Planted(weights, lambda total: jnp.tanh(50 * (total - 0.4)))
    smooth = Planted(weights, lambda total: jnp.tanh(total - 0.4))
    for model, steps in ((smooth, 16), (steep, 48)):
        found = measured(model, np.float32(0), x)
        logits = Predictor(model)(np.float32(0), x)
        assert found["steps"] == steps
        change = logits - found["logit_baseline"]
        assert rms(found["completeness_error"]) <= found["tolerance"]
        assert found["tolerance"] == pytest.approx(max(0.05 * rms(change), 0.1))
        added = found["integrated_gradients"].sum((1, 2, 3))
        np.testing.assert_allclose(added - change, found["completeness_error"], atol=1e-3)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    jump = Planted(weights, lambda total: total + 9 * (total > 0.4))  # no gradient tells of it
    assert measured(jump, np.float32(0), x)["steps"] == saliency.STEPS[-1]
    assert caplog.records[-1].levelname == "WARNING"


def test_a_turned_stamp_has_the_profiles_of_the_stamp(inputs, small):
    """If the model turns with it: of logit(turned stamp), by the stamp."""
    gradient, _, variables, model = small
    codes = np.int32([1, 6])
    x = np.asarray(augment.dihedral(codes, inputs[:2]))

    def turned(variables, y):
        return resnet.apply_eval(model, variables, augment.dihedral(codes, y))

    want = slopes_of(gradient, variables, x)
    got = np.asarray(saliency.make_gradient(turned)(variables, inputs[:2])[1])
    assert not np.allclose(got, want, rtol=0.1)
    for a, b in ((got, want), (np.abs(got), np.abs(want)), (got * inputs[:2], want * x)):
        sums = saliency.annulus_sums(b)
        np.testing.assert_allclose(saliency.annulus_sums(a), sums, atol=1e-3 * np.abs(sums).max())


def test_bfloat16_gives_nearly_the_same_in_float32(inputs, small, monkeypatch):
    monkeypatch.setattr(saliency, "STEPS", (8,))
    gradient, _, variables, model = small
    half, _ = of(dataclasses.replace(model, dtype=jnp.dtype("bfloat16")))
    x, median = inputs[:2], fill_of(inputs[:2])
    whole = [
        saliency.integrated_gradients(g, variables, x, median, np.ones(2), QUIET)[0]
        for g in (gradient, half)
    ]
    for pair in ([slopes_of(g, variables, x) for g in (gradient, half)], whole):
        assert pair[1].dtype == np.float32 and not np.array_equal(*pair)
        sums = [slow_sums(np.abs(maps)).ravel() for maps in pair]
        assert np.corrcoef(*sums)[0, 1] > 0.99


# -- planted models -----------------------------------------------------------------------------


def profiles_of(weights, inputs):
    """Profiles and occlusion of a model that saturates, each summed over bands: [n, 32]."""
    found = measured(Planted(weights, jnp.tanh), np.float32(0.1), inputs)
    profiles = saliency._profiles(found, inputs)
    maps = ("gradient", "gradient_x_input", "integrated_gradients")
    return {name: profiles[name].sum(2) for name in maps} | {"occlusion": found["occlusion"]}


def test_a_model_of_the_core_has_all_its_saliency_in_the_core(inputs):
    core = 1e-3 * (RADIUS < 5)[..., None] * np.float32([1, 2, 3])
    for name, profile in profiles_of(core, inputs[:4]).items():
        assert (profile[:, 5:] == 0).all(), name
        assert (np.abs(profile[:, :5]) > 0).all(), name


def test_a_model_of_a_ring_peaks_at_the_ring(inputs):
    ring = 1e-4 * np.exp(-(((RADIUS - 8.5) / 1.5) ** 2))[..., None] * np.ones(3)
    for name, profile in profiles_of(ring, inputs[:4]).items():
        mean = np.abs(profile.mean(0))
        assert mean.argmax() in (7, 8, 9), name
        assert mean[5:13].sum() > 0.95 * mean.sum(), name


# -- the sample ---------------------------------------------------------------------------------


def test_the_sample_is_of_both_classes_and_balanced_over_theta_e(monkeypatch):
    monkeypatch.setattr(saliency, "SAMPLE", 40)
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 300)
    theta_e = np.where(labels == 1, rng.choice([0.6, 1.7, 1.8, 2.3], 600), np.nan)
    theta_e[300:305] = np.nan  # lenses of which it is not known
    rows = saliency.sample_rows(labels, theta_e, 42)
    assert (np.diff(rows) > 0).all() and (labels[rows] == 0).sum() == 40
    lenses = theta_e[rows[labels[rows] == 1]]
    few = np.isnan(lenses).sum()
    assert len(lenses) == 40 and few == 5
    counts = np.histogram(lenses, schema.THETA_E_BINS)[0]
    assert sorted(counts.tolist()) == [0, 0, 11, 12, 12]
    np.testing.assert_array_equal(rows, saliency.sample_rows(labels, theta_e, 42))
    assert len(np.intersect1d(rows, saliency.sample_rows(labels, theta_e, 43))) < 40


def test_of_few_rows_all_are_taken():
    labels, theta_e = np.array([1, 0, 0]), np.array([3.5, np.nan, np.nan])
    np.testing.assert_array_equal(saliency.sample_rows(labels, theta_e, 0), [0, 1, 2])
    np.testing.assert_array_equal(saliency.sample_rows(labels[1:], theta_e[1:], 0), [0, 1])


# -- what is written ----------------------------------------------------------------------------


class Bar:
    n, total = 0, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self, n):
        self.n += n


def written(small, val_set, inputs, **changes):
    gradient, predict, variables, _ = small
    logit = predict(variables, inputs)
    arrays = {**val_set.table, "logit": logit, "in_manifest": np.arange(len(logit)) % 3 > 0}
    told = {"gradient": gradient, "predict": predict, "variables": variables, "seed": 42}
    return saliency.saliency_arrays(arrays, inputs, **told | changes)


@pytest.fixture(scope="module")
def stored(small, val_set, inputs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saliency, "SAMPLE", 5)
        patch.setattr("lensjax.training.evaluate.EXAMPLES", 2)
        return written(small, val_set, inputs)


def test_every_array_is_as_the_page_says(stored):
    page = (configuration.ROOT / "docs/formats.md").read_text()
    section = page[page.index("### Saliency") : page.index("## gates.json")]
    rows = re.findall(r"^\| (`.+?`) \| (\w+) \| \[(.*?)\] \|", section, re.M)
    told = {
        name: (kind, shape) for names, kind, shape in rows for name in re.findall("`(.+?)`", names)
    }
    assert set(told) == set(stored)
    sizes = {"n": 10, "k": 8}
    for name, (kind, shape) in told.items():
        array = stored[name]
        want = tuple(sizes.get(size) or int(size) for size in shape.split(", ") if size)
        assert array.shape == want, name
        assert (array.dtype.kind if kind == "U" else array.dtype.name) == kind, name
        assert array.dtype.kind in "Ufib" and (
            kind == "U" or name == "theta_e_arcsec" or np.isfinite(array).all()
        ), name


def test_profiles_maps_and_logits_belong_together(stored, val_set, small, inputs):
    ids = val_set.table["stamp_id"].tolist()
    gradient, _, variables, _ = small
    for name, prefix in (("stamp_id", ""), ("example_stamp_id", "example_")):
        rows = [ids.index(stamp) for stamp in stored[name]]
        slopes = slopes_of(gradient, variables, inputs[rows])
        want = (
            slopes if prefix else slow_sums(np.abs(slopes)) / np.bincount(ANNULUS.ravel())[:, None]
        )
        got = stored[f"{prefix}gradient"]
        np.testing.assert_allclose(got, want if prefix else want[:, :32], rtol=1e-3, atol=1e-6)
    added = stored["integrated_gradients"].sum((1, 2)) + stored["integrated_gradients_outside"].sum(
        1
    )
    change = stored["logit"] - stored["logit_baseline"]
    np.testing.assert_allclose(added - stored["completeness_error"], change, atol=1e-4)
    np.testing.assert_array_equal(np.bincount(ANNULUS.ravel())[:32], stored["annulus_pixels"])
    table = val_set.table
    rows = [ids.index(stamp) for stamp in stored["stamp_id"]]
    for name in ("label", "brick", "theta_e_arcsec"):
        np.testing.assert_array_equal(stored[name], table[name][rows])
    both = np.intersect1d(stored["stamp_id"], stored["example_stamp_id"])
    assert len(both)
    for stamp in both:
        row, shown = (stored[n].tolist().index(stamp) for n in ("stamp_id", "example_stamp_id"))
        np.testing.assert_array_equal(stored["occlusion"][row], stored["example_occlusion"][shown])


def test_it_repeats_to_the_byte_and_tells_its_progress_to_the_end(
    small, val_set, inputs, stored, tmp_path, monkeypatch
):
    bar = Bar()

    def begin(desc, total, unit):
        bar.total = total
        return bar

    monkeypatch.setattr(saliency, "progress_bar", begin)
    monkeypatch.setattr(saliency, "SAMPLE", 5)
    monkeypatch.setattr("lensjax.training.evaluate.EXAMPLES", 2)
    again = written(small, val_set, inputs)
    assert save_arrays(tmp_path / "a.npz", again) == save_arrays(tmp_path / "b.npz", stored)
    assert bar.n == bar.total > 0
    other = written(small, val_set, inputs, seed=43)
    assert save_arrays(tmp_path / "c.npz", other) != file_digest(tmp_path / "a.npz")


def test_a_stop_is_heard(small, val_set, inputs, monkeypatch):
    stop = StopRequest()
    stop.by = "SIGTERM"
    with pytest.raises(LensjaxError) as error:
        written(small, val_set, inputs, stop=stop)
    assert error.value.code == ExitCode.STOPPED


def test_a_run_without_its_saliency_is_not_finished(tmp_path):
    names = {
        "val": "val.npz",
        "test": "test.npz",
        "examples": "examples.npz",
        "saliency": "saliency.npz",
    }
    for file in names.values():
        (tmp_path / file).write_bytes(file.encode())
    entry = {n: {"file": file, "sha256": file_digest(tmp_path / file)} for n, file in names.items()}
    whole = {"run_digest": "d", "splits": {n: entry.pop(n) for n in ("val", "test")}, **entry}
    workdir = SimpleNamespace(eval=tmp_path, eval_manifest=tmp_path / "manifest.json")
    job = SimpleNamespace(digest="d", workdir=workdir)

    def finished(manifest):
        workdir.eval_manifest.write_text(json.dumps(manifest))
        return evaluation.is_finished(job)

    assert finished(whole) is True
    assert finished({key: value for key, value in whole.items() if key != "saliency"}) is False
    (tmp_path / "saliency.npz").write_bytes(b"damaged")
    assert finished(whole) is False
    (tmp_path / "saliency.npz").unlink()
    assert finished(whole) is False
