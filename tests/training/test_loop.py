"""A run interrupted and continued is the run uninterrupted; best, patience and stopping."""

import json

import jax
import numpy as np
import pytest

from lensjax.data.order import steps_in
from lensjax.runs.checkpoints import Checkpoints
from lensjax.runs.heartbeat import Heartbeat
from lensjax.runs.metrics import MetricsLog
from lensjax.schema import ExitCode, LensjaxError
from lensjax.training import loop
from lensjax.training.feed import replicated

from .conftest import same

KEYS = {"step", "epoch", "train_loss", "val_loss", "train_auroc", "val_auroc", "learning_rate"}
KEYS |= {"grad_norm", "stamps_per_s"}


class Stop:
    """A stop request that comes while step `at` is being done."""

    def __init__(self, path, at=None):
        self.beats, self.at, self.step = Heartbeat(path), at, 0

    def beat(self, **now):
        self.step = now["step"]
        self.beats.beat(**now)

    @property
    def requested(self):
        return self.at is not None and self.step >= self.at


def train(bench, folder, *, stop_at=None, train_step=None, predict=None, state=None, **plan):
    """Train in `folder`, going on where it stopped; the meta."""
    folder.mkdir(exist_ok=True)
    checkpoints = Checkpoints(folder / "checkpoints")
    try:
        state, meta = bench.state() if state is None else state, loop.new_meta()
        latest = checkpoints.latest()
        if latest is not None:
            state, meta = checkpoints.restore(latest, state, replicated(bench.mesh))
        stop = Stop(folder / "heartbeat.json", stop_at)
        with MetricsLog(folder / "metrics.jsonl", folder / "tensorboard") as metrics:
            return loop.train(
                state,
                meta,
                plan=bench.plan(**plan),
                train_step=train_step or bench.train_step,
                predict=predict or bench.predict,
                feed=bench.feed,
                val_inputs=bench.val_inputs,
                val_labels=bench.val_labels,
                checkpoints=checkpoints,
                metrics=metrics,
                heartbeat=stop,
                stop=stop,
            )
    finally:
        checkpoints.close()


def end(bench, folder):
    """State and meta of the newest checkpoint, and the lines of metrics.jsonl."""
    checkpoints = Checkpoints(folder / "checkpoints")
    state, meta = checkpoints.restore(checkpoints.latest(), bench.state())
    best = checkpoints.best_step
    checkpoints.close()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return state, meta, lines, best


def but_for_speed(history):
    return [{k: v for k, v in record.items() if k != "stamps_per_s"} for record in history]


@pytest.fixture(scope="module")
def whole(bench, tmp_path_factory):
    """A run of three epochs, uninterrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    before = bench.train_step._cache_size()
    meta = train(bench, folder)
    return folder, meta, bench.train_step._cache_size() - before


def test_metrics_have_a_line_an_epoch_with_every_key(bench, whole):
    folder, meta, compiled = whole
    state, saved, lines, best = end(bench, folder)
    assert compiled <= 1  # an epoch's end does not compile the step again
    assert saved == meta and [line["epoch"] for line in lines] == [1, 2, 3]
    for line in lines:
        assert set(line) >= KEYS
    n = len(bench.feed)
    assert lines[-1]["step"] == int(state["step"]) == steps_in(3, n, 16)
    assert lines[-1]["train_loss"] < lines[0]["train_loss"]
    assert meta["best_auroc"] == max(line["val_auroc"] for line in lines)
    assert best == lines[meta["best_epoch"] - 1]["step"]


@pytest.mark.parametrize("at", [2, 3, 5])  # in an epoch, at its end, in the next
def test_interrupted_and_continued_is_uninterrupted_bit_for_bit(bench, whole, tmp_path, at):
    folder = tmp_path / "run"
    with pytest.raises(LensjaxError) as error:
        train(bench, folder, stop_at=at)
    assert error.value.code == ExitCode.STOPPED == 75
    stopped = end(bench, folder)
    assert stopped[1]["step"] == int(stopped[0]["step"]) == at
    meta = train(bench, folder)
    state, _, lines, best = end(bench, folder)
    wanted, _, wanted_lines, wanted_best = end(bench, whole[0])
    assert same(state, wanted)
    assert but_for_speed(lines) == but_for_speed(wanted_lines)
    history = but_for_speed(meta.pop("history"))
    assert history == but_for_speed(whole[1]["history"]) and best == wanted_best
    assert meta == {key: value for key, value in whole[1].items() if key != "history"}


def test_what_is_not_restored_makes_another_run(bench, whole, tmp_path):
    """The control: go on with the parameters alone, and the end differs."""
    folder = tmp_path / "run"
    with pytest.raises(LensjaxError):
        train(bench, folder, stop_at=3)
    state, _, _, _ = end(bench, folder)
    fresh = bench.state()
    wrong = jax.device_put(
        {**fresh, "params": state["params"], "batch_stats": state["batch_stats"]},
        replicated(bench.mesh),
    )
    train(bench, tmp_path / "other", state=wrong)
    assert not same(end(bench, tmp_path / "other")[0], end(bench, whole[0])[0])


# -- best, patience, the end: with a step that does nothing -------------------------------------
class Idle:
    """A step that counts, and a model whose validation AUROC is `aurocs`, epoch by epoch."""

    def __init__(self, bench, aurocs):
        self.bench, self.aurocs, self.calls = bench, iter(aurocs), 0

    def train_step(self, state, source, batch):
        sums = {**state["sums"], "steps": state["sums"]["steps"] + 1}
        return {**state, "step": state["step"] + 1, "sums": sums}, 0.0

    def predict(self, variables, inputs):
        """Validation logits, then those of the training probe."""
        if len(inputs) != len(self.bench.val_inputs):
            return np.linspace(0, 1, len(inputs))
        labels = self.bench.val_labels
        above = round(next(self.aurocs) * (labels == 0).sum())  # negatives below every positive
        scores = np.zeros(len(labels))
        scores[labels == 0] = np.where(np.arange((labels == 0).sum()) < above, -1, 1)
        return scores


def idle_run(bench, folder, aurocs, **options):
    idle = Idle(bench, aurocs)
    return train(bench, folder, train_step=idle.train_step, predict=idle.predict, **options)


def test_patience_ends_a_run_and_the_best_epoch_stays(bench, tmp_path):
    folder = tmp_path / "run"
    meta = idle_run(bench, folder, [0.5, 0.75, 0.75, 0.5, 0.5, 1.0], epochs=9, patience=3)
    assert (meta["epoch"], meta["best_epoch"], meta["stale"]) == (5, 2, 3)
    assert meta["best_auroc"] == 0.75  # an equal one later is not better
    _, _, lines, best = end(bench, folder)
    assert best == lines[1]["step"]
    plan = bench.plan(epochs=9, patience=3)
    assert plan.is_over(meta) and not plan.was_cut_short(meta)


def test_patience_goes_on_over_a_stop(bench, tmp_path):
    folder = tmp_path / "run"
    plan = {"epochs": 9, "patience": 3}
    ends = bench.plan(**plan).epoch_ends(len(bench.feed))
    with pytest.raises(LensjaxError):
        idle_run(bench, folder, [0.5, 0.75, 0.5], stop_at=ends[2], **plan)
    meta = idle_run(bench, folder, [0.5, 0.5], **plan)
    assert (meta["epoch"], meta["best_epoch"], meta["stale"]) == (5, 2, 3)


def test_a_run_whose_epochs_were_lowered_was_cut_short(bench, tmp_path):
    folder = tmp_path / "run"
    ends = bench.plan(epochs=9).epoch_ends(len(bench.feed))
    with pytest.raises(LensjaxError):
        idle_run(bench, folder, [0.5, 0.75], stop_at=ends[1], epochs=9)
    meta = idle_run(bench, folder, [0.5], epochs=3)
    assert bench.plan(epochs=3).is_over(meta) and bench.plan(epochs=3).was_cut_short(meta)
    whole = idle_run(bench, tmp_path / "whole", [0.5, 0.75, 0.5], epochs=3)
    assert not bench.plan(epochs=3).was_cut_short(whole)


def test_a_non_finite_step_stops_with_its_stamps_and_saves_nothing(bench, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    bad = bench.feed.source["inputs"].at[:, 20, 20, 1].set(np.nan)
    monkeypatch.setattr(bench.feed, "source", {**bench.feed.source, "inputs": bad})
    monkeypatch.setattr(loop, "FINITE_EVERY", 2)
    with pytest.raises(LensjaxError, match="RED FLAG loss NaN") as error:
        train(bench, folder)
    assert error.value.code == ExitCode.NON_FINITE
    assert error.value.where.startswith("step 0, batch of train0")
    checkpoints = Checkpoints(folder / "checkpoints")
    assert checkpoints.latest() is None
    checkpoints.close()


def test_epochs_end_where_their_rows_do():
    plan = loop.Plan(3, 16, 9, 1000, 1e-3, 1e-5, 0.1)
    assert plan.epoch_ends(40) == [2, 5, 8] and plan.total(40) == 8
    assert plan.epoch_ends(32) == [2, 4, 6]
