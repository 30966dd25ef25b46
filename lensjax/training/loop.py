"""The training loop: the one long function, in the order in which data flows.

The position is the step. Everything the loop knows beyond the arrays (best epoch, patience,
history) is `meta`, saved with them, so that a run continued is the run uninterrupted.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lensjax.data.order import steps_in
from lensjax.gates.statistics import auroc
from lensjax.progress import progress_bar
from lensjax.runs.checkpoints import Checkpoints
from lensjax.runs.heartbeat import Heartbeat
from lensjax.runs.metrics import MetricsLog
from lensjax.runs.signals import StopRequest
from lensjax.schema import ExitCode, LensjaxError
from lensjax.training import divergence, flags, non_finite
from lensjax.training.feed import Predictor, TrainFeed, binary_loss
from lensjax.training.step import Examine, State, TrainStep, evaluated_variables, learning_rate

log = logging.getLogger(__name__)
PROBE_STAMPS = 2_000  # training stamps of train_auroc, unaugmented
FINITE_EVERY = 20  # steps between looks at the step's own finiteness flag, and at its loss
Blame = Callable[[State, int], LensjaxError]


@dataclass(frozen=True)
class Plan:
    """The length of a run and its learning rate."""

    epochs: int
    batch_size: int
    patience: int
    checkpoint_steps: int
    peak: float
    final: float
    warmup_fraction: float

    def total(self, n: int) -> int:
        """Steps of the whole run over `n` stamps an epoch."""
        return steps_in(self.epochs, n, self.batch_size)

    def epoch_ends(self, n: int) -> list[int]:
        """Step count at which each epoch ends; a last partial batch belongs to the next epoch."""
        ends = [(epoch + 1) * n // self.batch_size for epoch in range(self.epochs)]
        return [*ends[:-1], self.total(n)]

    def is_over(self, meta: dict[str, Any]) -> bool:
        """Has the last epoch, or patience, come to its end?"""
        return meta["epoch"] >= self.epochs or meta["stale"] >= self.patience

    def was_cut_short(self, meta: dict[str, Any]) -> bool:
        """Did the run end before the epochs it was ever planned to have, other than by patience?"""
        return meta["epoch"] < meta["planned"] and meta["stale"] < self.patience

    def rate(self, step: int, n: int) -> float:
        """Learning rate of `step`."""
        return learning_rate(
            step,
            self.total(n),
            peak=self.peak,
            final=self.final,
            warmup_fraction=self.warmup_fraction,
        )


def new_meta() -> dict[str, Any]:
    """What a run that has not begun knows of itself."""
    return {
        "step": 0,
        "epoch": 0,  # completed
        "planned": 0,  # the most epochs that this run was ever to have
        "best_auroc": -1.0,
        "best_epoch": 0,
        "stale": 0,  # epochs since the best
        "history": [],
    }


def require_position(state: State, meta: dict[str, Any]) -> None:
    """A restored state goes on at its own step or not at all: from row 0 it would see rows twice.

    Raises:
        LensjaxError: exit 14 if `meta` lacks what `new_meta` has, or is of another step.
    """
    missing = sorted(new_meta().keys() - meta.keys())
    if missing or meta["step"] != int(state["step"]):
        told = f"lacks {', '.join(missing)}" if missing else f"is that of step {meta['step']}"
        raise LensjaxError(
            ExitCode.NO_CHECKPOINT,
            f"the checkpoint cannot be trusted: its position in the data {told}",
            where=f"step {int(state['step'])}",
            remedy="Run again from an earlier step, or start over with --fresh",
        )


def train(
    state: State,
    meta: dict[str, Any],
    *,
    plan: Plan,
    train_step: TrainStep,
    examine: Examine,
    limit: divergence.Limit,
    predict: Predictor,
    feed: TrainFeed,
    val_inputs: np.ndarray,
    val_labels: np.ndarray,
    checkpoints: Checkpoints,
    metrics: MetricsLog,
    heartbeat: Heartbeat,
    stop: StopRequest,
    before_epoch: Callable[[], None],
    folder: Path,
) -> dict[str, Any]:
    """Train from `state` at `meta["step"]` to the end of the plan or of patience; returns the meta.

    `before_epoch` is called before every epoch but the first of this start, after the save.
    `folder` takes the batch of a step that was refused.

    Raises:
        LensjaxError: exit 15 at a non-finite loss, gradient, parameter or logit and when training
            diverges (the last good step stays), exit 75 when asked to stop (saved at the step
            boundary).
    """
    n, total, ends = len(feed), plan.total(len(feed)), plan.epoch_ends(len(feed))
    probe_inputs, probe_labels = feed.probe(PROBE_STAMPS)
    step, meta = meta["step"], {**meta, "planned": max(meta["planned"], plan.epochs)}
    blame = functools.partial(_blame, plan=plan, examine=examine, feed=feed, folder=folder)
    course = divergence.Course.at(jax.device_get(state["sums"]))
    metrics.write(meta["history"])
    clock = _Clock(step)
    with progress_bar(total=total, initial=step, desc="train", unit="step") as bar:
        while not plan.is_over(meta):
            rate = plan.rate(step, n)
            state, _ = train_step(state, feed.source, feed.batch(step, rate))
            step += 1
            bar.update()
            heartbeat.beat(step=step, epoch=meta["epoch"])
            at_end = step >= ends[meta["epoch"]]
            saves = at_end or step % plan.checkpoint_steps == 0 or stop.requested
            if saves or step % FINITE_EVERY == 0:
                _raise_if_not_finite(state, blame)
                course = course.after(jax.device_get(state["sums"]), limit)
                if course.diverged(limit):
                    raise divergence.error(course, limit, step)
            if at_end:
                heartbeat.beat(step=step, epoch=meta["epoch"], stage="validate", force=True)
                speed = clock.stamps_per_second(step, plan.batch_size)
                variables = evaluated_variables(state)
                val_logits = predict(variables, val_inputs)
                probe_logits = predict(variables, probe_inputs)
                where = f"step {step}, end of epoch {meta['epoch'] + 1}"
                _raise_if_logits_not_finite(
                    {"validation": val_logits, "train": probe_logits}, where
                )
                sums = jax.device_get(state["sums"])
                record = {
                    "step": step,
                    "epoch": meta["epoch"] + 1,
                    "train_loss": float(sums["loss"] / sums["steps"]),
                    "val_loss": binary_loss(val_logits, val_labels),
                    "train_auroc": auroc(probe_logits, probe_labels),
                    "val_auroc": auroc(val_logits, val_labels),
                    "learning_rate": rate,
                    "grad_norm": float(sums["grad_norm"] / sums["steps"]),
                    "stamps_per_s": speed,
                }
                record["flags"] = flags.warnings(record)
                _say(record, plan.epochs)
                meta = _after_epoch(meta, record)
                state = {**state, "sums": _zeroed(state["sums"])}
                course = course.epoch_ended()
                _save(checkpoints, state, meta, record["val_auroc"], blame)
                metrics.write(meta["history"])
                if not plan.is_over(meta):
                    before_epoch()
                clock = _Clock(step)
            elif saves:
                meta["step"] = step
                with clock.stopped():
                    _save(checkpoints, state, meta, None, blame)
            checkpoints.check()
            if saves and stop.requested:
                checkpoints.wait()
                raise LensjaxError(
                    ExitCode.STOPPED, f"stopped on request at step {step}", "", "Run again to go on"
                )
    if meta["epoch"] < plan.epochs:
        log.info(
            "no better validation AUROC for %d epochs: training ends with epoch %d of %d",
            meta["stale"],
            meta["epoch"],
            plan.epochs,
        )
    checkpoints.wait()
    return meta


def _save(
    checkpoints: Checkpoints,
    state: State,
    meta: dict[str, Any],
    metric: float | None,
    blame: Blame,
) -> None:
    """Save, unless an update was refused: the values are finite, but resumed it stops for ever."""
    _raise_if_not_finite(state, blame)
    checkpoints.save(meta["step"], state, meta, metric=metric)


def _zeroed(sums: State) -> State:
    """Zeros, placed as the sums were: another placing would compile the step anew."""
    return jax.tree.map(lambda leaf: jax.device_put(np.zeros_like(leaf), leaf.sharding), sums)


def _after_epoch(meta: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """The meta with one epoch more: best, patience, history, position."""
    better = record["val_auroc"] > meta["best_auroc"]
    best = {"best_auroc": record["val_auroc"], "best_epoch": record["epoch"], "stale": 0}
    return {
        **meta,
        **(best if better else {"stale": meta["stale"] + 1}),
        "step": record["step"],
        "epoch": record["epoch"],
        "history": [*meta["history"], record],
    }


def _raise_if_not_finite(state: State, blame: Blame) -> None:
    bad = int(state["bad_step"])  # waits for the step to be done
    if bad >= 0:
        raise blame(state, bad)


def _blame(
    state: State, bad: int, *, plan: Plan, examine: Examine, feed: TrainFeed, folder: Path
) -> LensjaxError:
    rate = plan.rate(bad, len(feed))
    return non_finite.refused(state, bad, examine=examine, feed=feed, rate=rate, folder=folder)


def _raise_if_logits_not_finite(logits: dict[str, np.ndarray], where: str) -> None:
    for name, values in logits.items():
        bad = int(np.count_nonzero(~np.isfinite(values)))
        if bad:
            raise LensjaxError(
                ExitCode.NON_FINITE,
                f"{bad} of {len(values)} {name} logits are not finite, of finite weights",
                where=where,
                remedy="The weights have grown without bound: reduce "
                "--config.optimizer.learning_rate; the last good checkpoint is kept",
            )


def _say(record: dict[str, Any], epochs: int) -> None:
    log.info(
        "epoch %d/%d  loss train %.4f val %.4f  AUROC train %.4f val %.4f  %.0f stamps/s",
        record["epoch"],
        epochs,
        record["train_loss"],
        record["val_loss"],
        record["train_auroc"],
        record["val_auroc"],
        record["stamps_per_s"],
    )
    for flag in record["flags"]:
        log.warning("epoch %d: %s", record["epoch"], flag)


class _Clock:
    """Training speed since a step, evaluation and saving left out."""

    def __init__(self, step: int):
        self.step, self.time = step, time.monotonic()

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """What is done within does not count."""
        start = time.monotonic()
        yield
        self.time += time.monotonic() - start

    def stamps_per_second(self, step: int, batch_size: int) -> float:
        seconds = max(time.monotonic() - self.time, 1e-9)
        return round((step - self.step) * batch_size / seconds, 1)
