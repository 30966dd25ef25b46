"""Preflight: the real loaders, the real step, the real save and restore, before the first step.

Runs the very program that will train on a copy of the state and leaves the state as it was.
Says what it would cost, and stops here, not after eight hours, if something does not work.
"""

from __future__ import annotations

import logging
import math
import shutil
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import psutil

from lensjax import schema
from lensjax.gates.logistic import Design, fit
from lensjax.gates.statistics import auroc
from lensjax.runs.checkpoints import Checkpoints
from lensjax.schema import ExitCode, LensjaxError
from lensjax.training import features, flags
from lensjax.training.feed import TrainFeed
from lensjax.training.loop import Plan
from lensjax.training.step import State, TrainStep

log = logging.getLogger(__name__)
UPDATES = 10  # on one fixed batch, at the peak learning rate
KEPT_CHECKPOINTS = 4  # latest 2, the best, and the one being written
EVAL_BYTES_PER_STAMP = 4_000  # of eval/*.npz, uncompressed
PROBE_STAMPS = 2_000  # training stamps that the core probe is fitted on
PROBE_C = 0.1  # its L2 strength; the gate chooses its own
PROBE_CLIP = 5.0  # standard deviations


def preflight(
    state: State,
    *,
    train_step: TrainStep,
    plan: Plan,
    feed: TrainFeed,
    val_inputs: np.ndarray,
    val_labels: np.ndarray,
    eval_stamps: int,
    workdir: Path,
) -> dict[str, Any]:
    """What preflight.json holds: one boolean a check, with what was seen.

    Every check runs even if one before it failed, so that all is known at once.
    """
    before = jax.tree.map(np.array, state)  # copies: on a CPU, device_get gives views
    report: dict[str, Any] = {}
    report |= _check_feed(feed)
    report |= _check_val(val_inputs, val_labels)
    report |= _check_updates(state, train_step, plan, feed)
    report |= _check_checkpoint(state, workdir)
    report |= _check_resources(state, plan, feed, eval_stamps, workdir)
    report |= _time(plan, feed, report["seconds_per_step"])
    report |= _look_at_cores(feed, val_inputs, val_labels)
    after = jax.device_get(state)
    report["state_untouched"] = jax.tree.all(jax.tree.map(np.array_equal, before, after))
    report["passed"] = all(value for value in report.values() if isinstance(value, bool))
    return report


def raise_if_failed(report: dict[str, Any]) -> None:
    """Stop with what failed.

    Raises:
        LensjaxError: exit 16 for want of disk or memory, exit 15 for updates that are not finite
            on inputs that are, exit 10 for anything else.
    """
    failed = [name for name, value in report.items() if value is False and name != "passed"]
    if not failed:
        return
    code = ExitCode.DATA_INVALID
    if {"disk_ok", "memory_ok"} & set(failed):
        code = ExitCode.RESOURCE
    elif "updates_finite" in failed and report["first_batch_ok"]:
        code = ExitCode.NON_FINITE
    reasons = "; ".join(str(report.get(f"{name}_reason", name)) for name in failed)
    raise LensjaxError(
        code, f"preflight failed: {reasons}", "preflight.json", "Nothing was trained"
    )


def _check_feed(feed: TrainFeed) -> dict[str, Any]:
    """Two consecutive real batches: shape, dtype, finite, both classes."""
    inputs, labels = feed.source["inputs"], np.asarray(feed.source["labels"])
    try:
        batches = [feed.batch(step, 0.0) for step in (0, 1)]
    except LensjaxError as error:
        told = {"train_loader_valid_reason": str(error), "first_batch_ok_reason": "no batch"}
        return {"train_loader_valid": False, "first_batch_ok": False} | told
    rows = [np.asarray(batch["rows"]) for batch in batches]
    first = np.asarray(inputs[rows[0]])
    seen = np.unique(labels[np.concatenate(rows)])
    valid = first.shape == (feed.batch_size, *schema.STAMP_SHAPE) and first.dtype == np.float32
    finite = bool(np.isfinite(first).all())
    both = set(seen.tolist()) == {0, 1}
    return {
        "train_loader_valid": bool(valid and both),
        "train_loader_valid_reason": f"batch {first.dtype} {first.shape}, classes {seen.tolist()}",
        "first_batch_ok": finite,
        "first_batch_ok_reason": "first training batch is "
        + ("finite" if finite else "not finite"),
    }


def _check_val(inputs: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    positives = int((labels == 1).sum())
    valid = inputs.shape[1:] == schema.STAMP_SHAPE and bool(np.isfinite(inputs).all())
    return {
        "val_loader_valid": bool(valid and 0 < positives < len(labels)),
        "val_loader_valid_reason": f"{inputs.shape} {inputs.dtype}, {positives} positives, "
        f"{len(labels) - positives} negatives",
    }


def _check_updates(
    state: State, train_step: TrainStep, plan: Plan, feed: TrainFeed
) -> dict[str, Any]:
    """Ten updates on a copy of the state must lower the loss of one batch they all see."""
    try:
        fixed = jax.device_get(feed.batch(0, 0.0))
    except LensjaxError:  # told by `_check_feed`
        return {"model_valid": False, "model_valid_reason": "no batch", "seconds_per_step": None}
    batch = feed.device_batch(fixed["rows"], fixed["epochs"], plan.peak, augmented=False)
    copy = jax.tree.map(lambda leaf: leaf.copy(), state)
    losses, times = [], []
    for _ in range(UPDATES):
        start = time.monotonic()
        copy, loss = train_step(copy, feed.source, batch)
        losses.append(float(loss))
        times.append(time.monotonic() - start)
    finite = all(map(math.isfinite, losses)) and int(copy["bad_step"]) < 0
    return {
        "updates_finite": finite,
        "updates_finite_reason": flags.NOT_FINITE if not finite else "every update is finite",
        "model_valid": finite and losses[-1] < losses[0],
        "model_valid_reason": f"loss of one batch {losses[0]:.4f} -> {losses[-1]:.4f} "
        f"in {UPDATES} updates",
        "losses": [round(value, 6) for value in losses],
        "compile_seconds": round(times[0], 1),
        "seconds_per_step": round(float(np.median(times[1:])), 4),
    }


def _check_checkpoint(state: State, workdir: Path) -> dict[str, Any]:
    """Save and restore through the real Checkpoints, bit for bit."""
    folder = workdir / "preflight-checkpoint"
    shutil.rmtree(folder, ignore_errors=True)
    checkpoints = Checkpoints(folder)
    try:
        checkpoints.save(0, state, {"step": 0}, metric=0.5)
        checkpoints.wait()
        back, _ = checkpoints.restore(0, state)
        same = jax.tree.all(
            jax.tree.map(lambda a, b: np.array_equal(np.asarray(a), np.asarray(b)), state, back)
        )
    finally:
        checkpoints.close()
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "checkpoint_ok": bool(same),
        "checkpoint_ok_reason": "a saved state is restored "
        + ("bit for bit" if same else "changed"),
    }


def _check_resources(
    state: State, plan: Plan, feed: TrainFeed, eval_stamps: int, workdir: Path
) -> dict[str, Any]:
    state_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    need = KEPT_CHECKPOINTS * state_bytes + eval_stamps * EVAL_BYTES_PER_STAMP
    free = shutil.disk_usage(workdir).free
    stamp_bytes = 4 * math.prod(schema.STAMP_SHAPE)
    memory_need = 3 * eval_stamps * stamp_bytes
    memory_free = psutil.virtual_memory().available
    return {
        "disk_ok": free > need,
        "disk_ok_reason": f"disk: {need / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free",
        "memory_ok": memory_free > memory_need,
        "memory_ok_reason": f"memory: {memory_need / 1e6:.0f} MB needed for evaluation, "
        f"{memory_free / 1e6:.0f} MB free",
    }


def _time(plan: Plan, feed: TrainFeed, seconds: float | None) -> dict[str, Any]:
    """How long it will take: no check."""
    steps = plan.total(len(feed))
    estimate = None if seconds is None else round(steps * seconds, 1)
    return {"steps": steps, "estimated_training_seconds": estimate}


def _look_at_cores(feed: TrainFeed, val_inputs: np.ndarray, val_labels: np.ndarray) -> dict:
    """Do the core boxes alone tell the classes apart? Fitted on training stamps, scored on those of
    validation; a red flag of the data, said before the hours of training. No check: the gate
    core_lr_auc judges."""
    inputs, labels = feed.probe(PROBE_STAMPS)
    boxes = [features.core_box(x).reshape(len(x), -1) for x in (inputs, val_inputs)]
    both = len(set(labels.tolist())) == len(set(val_labels.tolist())) == 2
    if not both or not all(np.isfinite(box).all() for box in boxes):
        return {"core_lr_auc": None, "flags": []}
    design = Design.of(boxes[0].astype(np.float64), PROBE_CLIP)
    weights = fit(design, labels[:, None], [PROBE_C]).weights[:, 0]
    auc = auroc(design.apply(boxes[1].astype(np.float64)) @ weights, val_labels)
    for flag in flags.core_warning(auc):
        log.warning("%s", flag)
    return {"core_lr_auc": round(auc, 6), "flags": flags.core_warning(auc)}
