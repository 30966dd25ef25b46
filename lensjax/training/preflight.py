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
from typing import Any, NamedTuple

import jax
import numpy as np
import psutil
from tqdm import tqdm

from lensjax import schema
from lensjax.data.stampset import stamps_bytes
from lensjax.gates.logistic import Design, fit
from lensjax.gates.statistics import auroc
from lensjax.progress import progress_bar
from lensjax.runs.checkpoints import Checkpoints
from lensjax.schema import ExitCode, LensjaxError
from lensjax.training import features, flags
from lensjax.training import model as resnet
from lensjax.training.feed import TrainFeed
from lensjax.training.loop import Plan
from lensjax.training.step import State, TrainStep

log = logging.getLogger(__name__)
TRAIN_BYTES = 2**29  # host memory of compiling and of a batch's activations, besides the arrays
OF_DATA = {"train_loader_valid", "val_loader_valid", "first_batch_ok"}
UPDATES = 10  # on one fixed batch, at the peak learning rate
KEPT_CHECKPOINTS = 4  # latest 2, the best, and the one being written
EVAL_BYTES_PER_STAMP = 5_000  # of eval/*.npz, uncompressed
PROBE_STAMPS = 2_000  # training stamps that the core probe is fitted on
PROBE_C = 0.1  # its L2 strength; the gate chooses its own
PROBE_CLIP = 5.0  # standard deviations


class Memory(NamedTuple):
    """Bytes that a run's arrays take: of the host, and of each accelerator (0 on a CPU, whose
    arrays are the host's)."""

    host: int
    device: int


def estimate_memory(
    n_train_rows: int, n_manifest_rows: int, n_eval_rows: int, hard_negatives: bool
) -> Memory:
    """The most memory that stamps take at one time, before any is read.

    n_train_rows: all rows of the train split; n_manifest_rows: those of its manifest; n_eval_rows:
    all rows of the larger of val and test. Every split is read whole, raw; the feed keeps the
    model's inputs on the device (with hard negatives also the raw stamps); evaluation holds raw
    stamps, inputs and what it writes.
    """
    stamp = stamps_bytes(1)
    on_cpu = jax.default_backend() == "cpu"
    kept = n_train_rows if hard_negatives else n_manifest_rows
    chosen = 0 if kept == n_train_rows else kept  # a copy of the rows kept
    on_device = kept * (2 if hard_negatives else 1)
    feed = n_train_rows + chosen + kept  # while it is made: raw, chosen, inputs
    going = 2 * n_eval_rows  # in the loop: raw and inputs of val
    if on_cpu:
        feed, going = feed + (kept if hard_negatives else 0), going + on_device
    host = TRAIN_BYTES + max(feed * stamp, going * stamp, evaluation_bytes(n_eval_rows))
    return Memory(host, 0 if on_cpu else on_device * stamp)


def evaluation_bytes(n_rows: int) -> int:
    """Host memory of evaluating a split: raw stamps, inputs, arrays and the file made of them."""
    return n_rows * 2 * (stamps_bytes(1) + EVAL_BYTES_PER_STAMP)


def memory_report(need: Memory) -> dict[str, Any]:
    """Is there as much as `need`? `memory_ok` and its reason, in words."""
    free = psutil.virtual_memory().available
    parts, ok = [_megabytes("memory", need.host, free)], free > need.host
    stats = jax.devices()[0].memory_stats() if need.device else None
    if stats is not None and "bytes_limit" in stats:
        free = stats["bytes_limit"] - stats.get("bytes_in_use", 0)
        ok = ok and free > need.device
        parts.append(_megabytes("memory of each device", need.device, free))
    return {"memory_ok": ok, "memory_ok_reason": "; ".join(parts)}


def require_memory(need: Memory) -> None:
    """Stop before anything is read that would not fit.

    Raises:
        LensjaxError: exit 16 with what is needed and what is free.
    """
    report = memory_report(need)
    if not report["memory_ok"]:
        raise LensjaxError(
            ExitCode.RESOURCE,
            report["memory_ok_reason"],
            "preflight",
            "Use fewer stamps (--config.data.pairs), or a machine with more memory",
        )


def _megabytes(what: str, need: float, free: float) -> str:
    return f"{what}: {need / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free"


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
    memory: Memory | None = None,
) -> dict[str, Any]:
    """What preflight.json holds: one boolean a check, with what was seen.

    Every check runs even if one before it failed, so that all is known at once. `eval_stamps` are
    those of val and test together; `memory` is what `estimate_memory` said before the feed was
    made, kept for the report.
    """
    log.info("preflight: ResNet-18, %d parameters", resnet.count_parameters(state))
    before = jax.tree.map(np.array, state)  # copies: on a CPU, device_get gives views
    report: dict[str, Any] = {}
    checks = (
        lambda bar: _check_feed(feed),
        lambda bar: _check_val(val_inputs, val_labels),
        lambda bar: _check_updates(state, train_step, plan, feed, bar),
        lambda bar: _check_checkpoint(state, workdir),
        lambda bar: _check_resources(state, eval_stamps, workdir, memory),
        lambda bar: _time(plan, feed, report["seconds_per_step"]),
        lambda bar: _look_at_cores(feed, val_inputs, val_labels),
    )
    with progress_bar(desc="preflight", total=len(checks) + UPDATES, unit="step") as bar:
        for check in checks:
            report |= check(bar)
            bar.update()
    after = jax.device_get(state)
    report["state_untouched"] = jax.tree.all(jax.tree.map(np.array_equal, before, after))
    report["passed"] = all(value for value in report.values() if isinstance(value, bool))
    return report


def raise_if_failed(report: dict[str, Any]) -> None:
    """Stop with what failed.

    Raises:
        LensjaxError: exit 16 for want of disk or memory, exit 15 for updates that are not finite
            or lower no loss on data that are sound, exit 10 for anything else.
    """
    failed = [name for name, value in report.items() if value is False and name != "passed"]
    if not failed:
        return
    code, remedy = ExitCode.DATA_INVALID, "Nothing was trained"
    if {"disk_ok", "memory_ok"} & set(failed):
        code = ExitCode.RESOURCE
    elif {"updates_finite", "model_valid"} & set(failed) and not OF_DATA & set(failed):
        code = ExitCode.NON_FINITE
        remedy = f"Reduce --config.optimizer.learning_rate. {remedy}"
    reasons = "; ".join(str(report.get(f"{name}_reason", name)) for name in failed)
    raise LensjaxError(code, f"preflight failed: {reasons}", "preflight.json", remedy)


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
    state: State, train_step: TrainStep, plan: Plan, feed: TrainFeed, bar: tqdm
) -> dict[str, Any]:
    """Ten updates on a copy of the state must lower the loss of one batch they all see."""
    try:
        fixed = jax.device_get(feed.batch(0, 0.0))
    except LensjaxError:  # told by `_check_feed`
        return {"model_valid": False, "model_valid_reason": "no batch", "seconds_per_step": None}
    batch = feed.device_batch(fixed["rows"], fixed["epochs"], plan.peak, augmented=False)
    copy = jax.tree.map(lambda leaf: leaf.copy(), state)
    losses, times = [], []
    log.info("preflight: compiling the training step, then %d updates of a copy", UPDATES)
    for _ in range(UPDATES):
        start = time.monotonic()
        copy, loss = train_step(copy, feed.source, batch)
        losses.append(float(loss))
        times.append(time.monotonic() - start)
        bar.update()
    finite = all(map(math.isfinite, losses)) and int(copy["bad_step"]) < 0
    told = f"loss of one batch {losses[0]:.4f} -> {losses[-1]:.4f} in {UPDATES} updates"
    learns = finite and losses[-1] < losses[0]
    if finite and not learns:
        told += f" at learning rate {plan.peak:g}: too large, or this model cannot learn"
    return {
        "updates_finite": finite,
        "updates_finite_reason": flags.NOT_FINITE if not finite else "every update is finite",
        "model_valid": learns,
        "model_valid_reason": told,
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
    state: State, eval_stamps: int, workdir: Path, memory: Memory | None
) -> dict[str, Any]:
    state_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    need = KEPT_CHECKPOINTS * state_bytes + eval_stamps * EVAL_BYTES_PER_STAMP
    free = shutil.disk_usage(workdir).free
    disk = {"disk_ok": free > need, "disk_ok_reason": _megabytes("disk", need, free)}
    return disk | memory_report(Memory(evaluation_bytes(eval_stamps), 0)) | _estimate(memory)


def _estimate(memory: Memory | None) -> dict[str, Any]:
    """What the whole run was estimated to take before the feed was made: no check any more."""
    return {} if memory is None else {"memory_estimate_bytes": memory._asdict()}


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
