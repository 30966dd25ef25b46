"""The evaluation arrays: names, shapes, NaN rules, and bytes that depend on nothing else."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest

from lensjax import schema
from lensjax.gates import arrays as gate_arrays
from lensjax.runs.signals import StopRequest
from lensjax.schema import ExitCode, LensjaxError
from lensjax.training import evaluate
from lensjax.training.step import evaluated_variables

from .conftest import SHAPE, make_set, same

FLOATS = {
    "logit": (),
    "logit_core_masked": (6,),
    "logit_core_only": (),
    "logit_hard_negative": (),
    "core_box": (10, 10, 3),
    "core_box_raw": (10, 10, 3),
    "radial_profile": (32, 3),
    "theta_e_arcsec": (),
    "arc_snr": (),
    "arc_snr_shot": (),
    "arc_snr_outside": (6,),
    "psf_fwhm_arcsec": (),
    "psf_depth": (),
    "outskirts": (12,),
    "noise_sigma": (3,),
    "high_frequency_core": (12,),
    "hard_negative_audit": (4,),
}
TEXTS = ("stamp_id", "pair_id", "lrg_id", "brick", "negative_kind")
ARC = ("theta_e_arcsec", "arc_snr", "arc_snr_shot", "arc_snr_outside", "hard_negative_audit")


@pytest.fixture(scope="module")
def variables(bench):
    """Weights that do something: a fresh network's last scales are zero."""
    state = bench.state()
    for step in range(6):
        state, _ = bench.train_step(state, bench.feed.source, bench.feed.batch(step, 3e-3))
    return evaluated_variables(state)


def run(bench, variables, stamps, mask=None):
    mask = stamps.table["label"] >= 0 if mask is None else mask
    return evaluate.evaluate_split(
        stamps, mask, predict=bench.predict, variables=variables, seed=7, **SHAPE
    )


@pytest.fixture(scope="module")
def evaluated(bench, variables, val_set):
    mask = np.arange(len(val_set)) % 3 > 0
    return *run(bench, variables, val_set, mask), mask


def test_every_array_has_its_shape_and_dtype(evaluated, val_set):
    arrays, inputs, mask = evaluated
    n = len(val_set)
    for name, shape in FLOATS.items():
        assert arrays[name].shape == (n, *shape) and arrays[name].dtype == np.float32, name
    assert all(arrays[name].dtype.kind == "U" and len(arrays[name]) == n for name in TEXTS)
    assert arrays["label"].dtype == np.int8 and arrays["in_manifest"].dtype == bool
    assert set(gate_arrays.REQUIRED) | set(gate_arrays.OPTIONAL) <= set(arrays)
    assert inputs.shape == (n, *schema.STAMP_SHAPE)
    np.testing.assert_array_equal(arrays["in_manifest"], mask)
    np.testing.assert_array_equal(arrays["stamp_id"], val_set.table["stamp_id"])


def test_nan_where_there_is_no_arc_or_no_pair_and_nowhere_else(evaluated):
    arrays, _, _ = evaluated
    lens, lonely = arrays["label"] == 1, arrays["negative_kind"] == "ring"
    for name in FLOATS:
        nan = np.isnan(arrays[name]).reshape(len(lens), -1).all(1)
        some = np.isnan(arrays[name]).reshape(len(lens), -1).any(1)
        want = ~lens if name in ARC else lonely if name == "logit_hard_negative" else 0 * lens
        np.testing.assert_array_equal(nan, want, name)
        np.testing.assert_array_equal(some, want, name)


def test_logits_and_masks(bench, variables, evaluated):
    arrays, inputs, _ = evaluated
    np.testing.assert_array_equal(arrays["logit_core_masked"][:, 0], arrays["logit"])
    np.testing.assert_array_equal(arrays["logit"], bench.predict(variables, inputs))
    radius = np.hypot(*(np.indices((64, 64)) - schema.CENTRE))
    outer = (radius >= 20) & (radius < 32)
    fill = np.median(inputs[:, outer], axis=1)[:, None, None]
    for k, r in enumerate((0, 3, 5, 7, 10, 15)):
        masked = np.where((radius < r)[None, :, :, None], fill, inputs)
        want = bench.predict(variables, masked)
        np.testing.assert_allclose(arrays["logit_core_masked"][:, k], want, atol=1e-5)
    only = np.where((radius >= 5)[None, :, :, None], fill, inputs)
    np.testing.assert_allclose(arrays["logit_core_only"], bench.predict(variables, only), atol=1e-5)
    assert len(np.unique(arrays["logit_core_masked"], axis=1)[0]) > 3


def test_stamps_of_no_split_are_scored_as_those_of_test(bench, variables, evaluated, val_set):
    """Any of them, in any order; and not the raw stamps without the preprocessing."""
    rows, told = [7, 3, 0, 3], SimpleNamespace(done=0)
    told.update = lambda n: setattr(told, "done", told.done + n)
    how = {"predict": bench.predict, "variables": variables, "progress": told}
    found = evaluate.score_stamps(val_set.stamps[rows], **how, **SHAPE)
    np.testing.assert_array_equal(found, evaluated[0]["logit"][rows])
    assert told.done == evaluate.SCORE_PASSES * len(rows)
    assert (bench.predict(variables, val_set.stamps[rows]) != found).all()
    stop = StopRequest()
    stop.by = "SIGTERM"
    with pytest.raises(LensjaxError) as caught:
        evaluate.score_stamps(val_set.stamps[rows], **how, **SHAPE, stop=stop)
    assert caught.value.code == ExitCode.STOPPED


def test_a_hard_negative_is_one_for_both_members_and_is_the_models(bench, variables, evaluated):
    arrays, _, _ = evaluated
    by_pair = {}
    for pair, logit in zip(arrays["pair_id"], arrays["logit_hard_negative"], strict=True):
        by_pair.setdefault(str(pair), []).append(logit)
    pairs = [logits for logits in by_pair.values() if len(logits) == 2]
    assert len(pairs) == 12 and all(a == b for a, b in pairs)
    lens = arrays["label"] == 1
    assert (arrays["logit_hard_negative"][lens] != arrays["logit"][lens]).all()
    assert len({a for a, _ in pairs}) == 12


def test_boxes_and_signal_to_noise(evaluated, val_set):
    arrays, inputs, _ = evaluated
    np.testing.assert_array_equal(arrays["core_box"], inputs[:, 27:37, 27:37])
    np.testing.assert_array_equal(arrays["core_box_raw"], val_set.stamps[:, 27:37, 27:37])
    lens = arrays["label"] == 1
    outside = arrays["arc_snr_outside"][lens]
    np.testing.assert_allclose(outside[:, 0], arrays["arc_snr"][lens], rtol=1e-6)
    assert (np.diff(outside, axis=1) <= 0).all()


def test_it_repeats(bench, variables, val_set, evaluated):
    again, _ = run(bench, variables, val_set, evaluated[2])
    for name, values in evaluated[0].items():
        np.testing.assert_array_equal(again[name], values, name)


def test_a_split_without_pairs_is_evaluated_too(bench, variables):
    arrays, _ = run(bench, variables, make_set("test", pairs=0, lookalikes=3))
    assert np.isnan(arrays["logit_hard_negative"]).all() and np.isfinite(arrays["logit"]).all()


class Bar:
    n = 0

    def update(self, n):
        self.n += n


@pytest.mark.parametrize("pairs", [0, 12])
def test_progress_is_told_to_the_end(bench, variables, pairs):
    stamps, bar = make_set("test", pairs=pairs, lookalikes=3), Bar()
    evaluate.evaluate_split(
        stamps,
        stamps.table["label"] >= 0,
        predict=bench.predict,
        variables=variables,
        seed=7,
        progress=bar,
        **SHAPE,
    )
    assert bar.n == evaluate.passes(stamps.table)


def test_a_stop_is_heard_at_the_next_chunk(bench, variables, val_set):
    stop, bar = StopRequest(), Bar()

    def update(n):
        bar.n += n
        stop.by = "SIGTERM" if bar.n >= 100 else None

    with pytest.raises(LensjaxError) as error:
        evaluate.evaluate_split(
            val_set,
            val_set.table["label"] >= 0,
            predict=bench.predict,
            variables=variables,
            seed=7,
            progress=SimpleNamespace(update=update),
            stop=stop,
            **SHAPE,
        )
    assert error.value.code == ExitCode.STOPPED and 100 <= bar.n < 100 + 16


def test_the_arrays_keep_no_split_alive(evaluated):
    for name in ("core_box", "core_box_raw"):
        assert evaluated[0][name].base is None


def test_saved_bytes_depend_on_the_arrays_alone(evaluated, tmp_path):
    arrays = evaluated[0]
    digest = evaluate.save_arrays(tmp_path / "a.npz", arrays)
    backwards = dict(reversed(arrays.items()))
    assert evaluate.save_arrays(tmp_path / "b.npz", backwards) == digest
    data = (tmp_path / "a.npz").read_bytes()
    assert data == (tmp_path / "b.npz").read_bytes()
    assert hashlib.sha256(data).hexdigest() == digest
    changed = {**arrays, "logit": arrays["logit"] + np.float32(1e-3)}
    assert evaluate.save_arrays(tmp_path / "c.npz", changed) != digest
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        assert same({k: stored[k] for k in TEXTS}, {k: arrays[k] for k in TEXTS})
    plain, other = tmp_path / "plain.npz", tmp_path / "other.npz"
    np.savez(plain, **arrays)
    np.savez(other, **backwards)
    assert plain.read_bytes() != other.read_bytes()  # numpy's own keeps the order given


def test_examples_are_the_most_confident_of_the_manifest(evaluated, val_set):
    arrays, inputs, mask = evaluated
    shown = evaluate.examples(arrays, val_set.stamps, inputs)
    assert set(shown["group"]) == {
        "confident_lens",
        "missed_lens",
        "false_alarm",
        "confident_negative",
    }
    lens = mask & (arrays["label"] == 1)
    best = shown["stamp_id"][shown["group"] == "confident_lens"][0]
    assert best == arrays["stamp_id"][lens][np.argmax(arrays["logit"][lens])]
    assert np.isin(shown["stamp_id"], arrays["stamp_id"][mask]).all()
    assert shown["stamps"].shape == shown["inputs"].shape


def test_the_models_digest_is_of_its_values(variables):
    digest = evaluate.model_digest(variables)
    assert evaluate.model_digest(variables) == digest
    moved = {**variables, "params": {**variables["params"]}}
    moved["params"]["Dense_0"] = {k: v + 1e-3 for k, v in variables["params"]["Dense_0"].items()}
    assert evaluate.model_digest(moved) != digest
