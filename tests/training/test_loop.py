"""A run interrupted and continued is the run uninterrupted; best, patience and stopping."""

import errno
import json
import math
import time
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from lensjax.data.order import steps_in
from lensjax.gates.statistics import StatisticsError
from lensjax.runs.checkpoints import Checkpoints
from lensjax.runs.heartbeat import Heartbeat
from lensjax.runs.metrics import MetricsLog
from lensjax.schema import ExitCode, LensjaxError
from lensjax.training import loop
from lensjax.training.divergence import Limit
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


def train(
    bench,
    folder,
    *,
    stop_at=None,
    train_step=None,
    limit=None,
    predict=None,
    state=None,
    before_epoch=lambda: None,
    **plan,
):
    """Train in `folder`, going on where it stopped; the meta."""
    folder.mkdir(exist_ok=True)
    checkpoints = Checkpoints(folder / "checkpoints")
    try:
        state, meta = bench.state() if state is None else state, loop.new_meta()
        latest = checkpoints.latest()
        if latest is not None:
            state, meta = checkpoints.restore(latest, state, replicated(bench.mesh))
            loop.require_position(state, meta)
        stop = Stop(folder / "heartbeat.json", stop_at)
        with MetricsLog(folder / "metrics.jsonl", folder / "tensorboard") as metrics:
            return loop.train(
                state,
                meta,
                plan=bench.plan(**plan),
                train_step=train_step or bench.train_step,
                examine=bench.examine,
                limit=limit or bench.limit,
                predict=predict or bench.predict,
                feed=bench.feed,
                val_inputs=bench.val_inputs,
                val_labels=bench.val_labels,
                checkpoints=checkpoints,
                metrics=metrics,
                heartbeat=stop,
                stop=stop,
                before_epoch=before_epoch,
                folder=folder,
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


@pytest.mark.proves("K13")
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


@pytest.mark.harm("K13")
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


@pytest.mark.nightly
@pytest.mark.proves("K13")
def test_resumed_at_every_step_of_40_it_ends_the_same(bench, tmp_path):
    plan = {"epochs": 21, "patience": 99}  # 40 steps
    train(bench, tmp_path / "whole", **plan)
    wanted, _, lines, _ = end(bench, tmp_path / "whole")
    assert int(wanted["step"]) == 40
    for at in range(1, 40):
        with pytest.raises(LensjaxError, match="stopped on request"):
            train(bench, tmp_path / str(at), stop_at=at, **plan)
        train(bench, tmp_path / str(at), **plan)
        state, _, found, _ = end(bench, tmp_path / str(at))
        assert same(state, wanted) and but_for_speed(found) == but_for_speed(lines)


# -- the position in the data -------------------------------------------------------------------
@pytest.mark.proves("K12")
@pytest.mark.parametrize("lost", ["step", "epoch", "history", "another"])
def test_a_checkpoint_without_its_position_is_exit_14(bench, lost):
    state = {**bench.state(), "step": np.int32(5)}
    meta = {**loop.new_meta(), "step": 5}
    loop.require_position(state, meta)
    if lost == "another":
        meta["step"] = 4
    else:
        del meta[lost]
    with pytest.raises(LensjaxError, match="cannot be trusted: its position") as error:
        loop.require_position(state, meta)
    assert error.value.code == ExitCode.NO_CHECKPOINT == 14


@pytest.mark.harm("K12")
def test_with_another_position_rows_are_seen_again(bench, tmp_path):
    """Without it, as the common way begins: `meta.get("step", 0)`."""
    seen = []
    idle = Idle(bench, [0.5] * 3)

    def watched(state, source, batch):
        seen.append(np.asarray(batch["rows"]).tolist())
        return idle.train_step(state, source, batch)

    started = {**bench.state(), "step": np.int32(2)}
    train(bench, tmp_path / "run", state=started, train_step=watched, predict=idle.predict)
    assert seen[0] == np.asarray(bench.feed.batch(0, 0.0)["rows"]).tolist()  # harm: of step 0


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


@pytest.mark.proves("N1")
def test_a_non_finite_step_stops_with_its_stamps_and_saves_nothing(bench, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    bad = bench.feed.source["inputs"].at[:, 20, 20, 1].set(np.nan)
    monkeypatch.setattr(bench.feed, "source", {**bench.feed.source, "inputs": bad})
    monkeypatch.setattr(loop, "FINITE_EVERY", 2)
    with pytest.raises(LensjaxError, match="RED FLAG loss NaN") as error:
        train(bench, folder)
    assert error.value.code == ExitCode.NON_FINITE
    assert error.value.where.startswith("step 0, batch of train0")
    assert error.value.what.startswith("loss is not finite; the update was not applied")
    assert str(folder / "non_finite-0.npz") in str(error.value)
    assert (folder / "non_finite-0.npz").is_file() and saved_step(folder) is None


@pytest.fixture
def spoilt_step(bench, monkeypatch):
    """The real step, its second batch not finite; too few steps to look at them by count."""
    monkeypatch.setattr(loop, "FINITE_EVERY", 1000)
    sound = bench.feed.source
    bad = {**sound, "inputs": sound["inputs"].at[:, 20, 20, 1].set(np.nan)}
    done = iter(range(1000))
    return lambda state, source, batch: bench.train_step(
        state, bad if next(done) == 1 else source, batch
    )


def saved_step(folder):
    checkpoints = Checkpoints(folder / "checkpoints")
    try:
        return checkpoints.latest()
    finally:
        checkpoints.close()


@pytest.mark.proves("N1")
@pytest.mark.parametrize("how", [{"checkpoint_steps": 2}, {"stop_at": 2}])
def test_a_state_with_a_refused_update_is_not_saved(bench, spoilt_step, tmp_path, how):
    with pytest.raises(LensjaxError) as error:
        train(bench, tmp_path / "run", train_step=spoilt_step, **how)
    assert error.value.code == ExitCode.NON_FINITE and error.value.where.startswith("step 1,")
    assert saved_step(tmp_path / "run") == 1  # the end of the first epoch


@pytest.mark.harm("N1")
def test_saved_nevertheless_it_would_stop_every_run_to_come(
    bench, spoilt_step, tmp_path, monkeypatch
):
    """The control, the look before a save off."""
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_raise_if_not_finite", lambda state, blame: None)
        with pytest.raises(LensjaxError) as error:
            train(bench, folder, train_step=spoilt_step, stop_at=2)
        assert error.value.code == ExitCode.STOPPED
    assert saved_step(folder) == 2
    for _ in range(2):
        with pytest.raises(LensjaxError) as error:
            train(bench, folder)
        assert error.value.code == ExitCode.NO_CHECKPOINT and saved_step(folder) == 2


def test_a_stop_between_the_look_and_the_save_waits_for_the_next_step(bench, tmp_path, monkeypatch):
    """What was not looked at is not saved, and what was not saved is not left."""
    asked = {"stop": False}
    monkeypatch.setattr(Stop, "requested", property(lambda self: asked["stop"]))
    monkeypatch.setattr(loop, "FINITE_EVERY", 1)
    look = loop._raise_if_not_finite

    def look_and_ask(state, blame):
        look(state, blame)
        asked["stop"] = int(state["step"]) >= 2

    monkeypatch.setattr(loop, "_raise_if_not_finite", look_and_ask)
    with pytest.raises(LensjaxError, match="stopped on request at step 3"):
        train(bench, tmp_path / "run")
    assert saved_step(tmp_path / "run") == 3


@pytest.mark.proves("N2")
@pytest.mark.parametrize("which", ["validation", "train"])
def test_logits_that_are_not_finite_stop_and_the_last_good_step_stays(bench, tmp_path, which):
    idle = Idle(bench, [0.5, 0.75])
    calls = {"validation": 0, "train": 0}

    def predict(variables, inputs):
        name = "validation" if len(inputs) == len(bench.val_inputs) else "train"
        calls[name] += 1
        logits = np.array(idle.predict(variables, inputs))
        if name == which and calls[name] == 2:
            logits[0] = np.inf
        return logits

    folder = tmp_path / "run"
    with pytest.raises(LensjaxError, match=f"1 of .* {which} logits") as error:
        train(bench, folder, train_step=idle.train_step, predict=predict)
    ends = bench.plan().epoch_ends(len(bench.feed))
    assert error.value.code == ExitCode.NON_FINITE
    assert error.value.where == f"step {ends[1]}, end of epoch 2"
    assert "learning_rate" in error.value.remedy
    assert saved_step(folder) == ends[0]


@pytest.mark.harm("N2")
def test_logits_that_are_not_finite_would_be_taken_for_a_bug(bench, tmp_path, monkeypatch):
    """The control, the look at the logits off."""
    idle = Idle(bench, [0.5])
    monkeypatch.setattr(loop, "_raise_if_logits_not_finite", lambda logits, where: None)

    def predict(variables, inputs):
        return np.full(len(inputs), np.nan)

    with pytest.raises(StatisticsError):
        train(bench, tmp_path / "run", train_step=idle.train_step, predict=predict)


# -- a loss without bound -----------------------------------------------------------------------
LARGE = {"peak": 3e3, "epochs": 4}  # a million times the rate that trains


@pytest.mark.proves("N3")
def test_training_that_diverges_in_finite_numbers_stops(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "FINITE_EVERY", 1)
    with pytest.raises(LensjaxError, match=r"training diverged: mean loss .* its median") as error:
        train(bench, tmp_path / "run", limit=Limit(10.0, 6), **LARGE)
    assert error.value.code == ExitCode.NON_FINITE
    assert "--config.optimizer.learning_rate" in error.value.remedy


@pytest.mark.harm("N3")
def test_without_the_limit_it_goes_on_to_the_end(bench, tmp_path):
    meta = train(bench, tmp_path / "run", limit=Limit(math.inf, 6), **LARGE)
    assert meta["epoch"] == 4 and meta["history"][-1]["train_loss"] > 100
    assert saved_step(tmp_path / "run") == meta["step"]


# -- saving in the background -------------------------------------------------------------------
def failing_save(self, step, leaves, text, metric):
    raise OSError(errno.ENOSPC, "No space left on device")


def run_with_failing_saves(bench, folder, monkeypatch):
    """Steps done before the end of a run whose first save fails, that of step 1."""
    monkeypatch.setattr(Checkpoints, "_write", failing_save)
    idle, seen = Idle(bench, [0.5] * 3), []

    def slow(state, source, batch):
        time.sleep(0.2)  # the save has failed by the next boundary
        seen.append(int(state["step"]))
        return idle.train_step(state, source, batch)

    with pytest.raises(LensjaxError, match="the disk is full") as error:
        plan = {"checkpoint_steps": 1000, "epochs": 3}
        train(bench, folder, train_step=slow, predict=idle.predict, **plan)
    assert error.value.code == ExitCode.RESOURCE
    return len(seen)


@pytest.mark.proves("K6")
def test_a_save_that_fails_is_told_at_the_next_step(bench, tmp_path, monkeypatch):
    first = bench.plan().epoch_ends(len(bench.feed))[0]
    assert run_with_failing_saves(bench, tmp_path / "run", monkeypatch) <= first + 1
    assert saved_step(tmp_path / "run") is None


@pytest.mark.harm("K6")
def test_without_asking_it_is_told_at_the_next_save(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoints, "check", lambda self: None)
    second = bench.plan().epoch_ends(len(bench.feed))[1]
    assert run_with_failing_saves(bench, tmp_path / "run", monkeypatch) == second


def test_the_speed_is_that_of_training_alone(bench, tmp_path, monkeypatch):
    idle, now = Idle(bench, [0.5, 0.5, 0.5]), [0.0]
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def taking(seconds, function):
        def slow(*arguments, **named):
            now[0] += seconds
            return function(*arguments, **named)

        return slow

    monkeypatch.setattr(Checkpoints, "save", taking(1000.0, Checkpoints.save))
    meta = train(
        bench,
        tmp_path / "run",
        train_step=taking(1.0, idle.train_step),
        predict=taking(100.0, idle.predict),
        checkpoint_steps=1,
    )
    assert [record["stamps_per_s"] for record in meta["history"]] == [16.0] * 3


def test_epochs_end_where_their_rows_do():
    plan = loop.Plan(3, 16, 9, 1000, 1e-3, 1e-5, 0.1)
    assert plan.epoch_ends(40) == [2, 5, 8] and plan.total(40) == 8
    assert plan.epoch_ends(32) == [2, 4, 6]
