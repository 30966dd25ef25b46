"""From a fresh or restored state to the best checkpoint and its arrays.

train_and_evaluate(job, summary, checkpoints, checkpoints.latest(), stop)
"""

from __future__ import annotations

import logging
from typing import Any

import jax

from lensjax.job.data import load, rows_of_largest, watch_data
from lensjax.job.job import Job
from lensjax.progress import progress_bar
from lensjax.runs.checkpoints import Checkpoints
from lensjax.runs.files import write_json
from lensjax.runs.heartbeat import Heartbeat
from lensjax.runs.metrics import MetricsLog
from lensjax.runs.signals import StopRequest
from lensjax.training import loop, preflight
from lensjax.training.feed import TrainFeed, model_inputs, replicated
from lensjax.training.setup import Trainer
from lensjax.training.step import State, init_state

log = logging.getLogger(__name__)


def train(
    job: Job, trainer: Trainer, checkpoints: Checkpoints, latest: int | None, stop: StopRequest
) -> dict[str, Any]:
    """Go on from step `latest` (None: from the start) to the end of the plan; returns the meta."""
    state, meta = init_state(trainer.model, trainer.recipe), loop.new_meta()
    if latest is not None:
        state, meta = checkpoints.restore(latest, state)
        loop.require_position(state, meta)
        log.info("resuming at step %d, in epoch %d", meta["step"], meta["epoch"] + 1)
    meta = {**meta, "debug": meta.get("debug", False) or job.debug}
    if trainer.plan.is_over(meta):
        return meta
    state = jax.device_put(state, replicated(trainer.mesh))
    return _train(job, trainer, state, meta, checkpoints, stop)


def _train(
    job: Job,
    trainer: Trainer,
    state: State,
    meta: dict[str, Any],
    checkpoints: Checkpoints,
    stop: StopRequest,
) -> dict[str, Any]:
    """Preflight before the first step, then the loop; returns the meta at the end."""
    config = job.config
    watch = watch_data(job)
    stamps, mask = load(job, "train")
    shape = {"name": config.preprocessing.name, "clip": config.preprocessing.clip}
    hard_negatives = config.augment.hard_negative_fraction > 0
    need = preflight.estimate_memory(
        len(stamps), int(mask.sum()), rows_of_largest(job, ("val", "test")), hard_negatives
    )
    preflight.require_memory(need)
    kept = len(stamps) if hard_negatives else int(mask.sum())
    with progress_bar(desc="preprocess train", total=kept, unit="stamp") as bar:
        feed = TrainFeed(
            stamps,
            mask,
            trainer.mesh,
            seed=config.seed,
            batch_size=config.batch_size,
            hard_negatives=hard_negatives,
            progress=bar,
            **shape,
        )
    del stamps
    val, val_mask = load(job, "val")
    with progress_bar(desc="preprocess val", total=int(val_mask.sum()), unit="stamp") as bar:
        inputs = model_inputs(val.stamps[val_mask], progress=bar, **shape)
    labels, eval_stamps = val.table["label"][val_mask], 2 * len(val)
    del val
    if meta["step"] == 0:
        log.info("preflight: the real loaders, step, save and restore")
        report = preflight.preflight(
            state,
            train_step=trainer.train_step,
            plan=trainer.plan,
            feed=feed,
            val_inputs=inputs,
            val_labels=labels,
            eval_stamps=eval_stamps,
            workdir=job.workdir.path,
            memory=need,
        )
        write_json(job.workdir.preflight, report)
        preflight.raise_if_failed(report)
        log.info("preflight passed: about %.0f s of training", report["estimated_training_seconds"])
    heartbeat = Heartbeat(
        job.workdir.heartbeat,
        last_good=lambda: checkpoints.last_good,
        total=trainer.plan.total(len(feed)),
    )
    with MetricsLog(job.workdir.metrics, job.workdir.tensorboard) as metrics:
        return loop.train(
            state,
            meta,
            plan=trainer.plan,
            train_step=trainer.train_step,
            examine=trainer.examine,
            limit=trainer.limit,
            predict=trainer.predict,
            feed=feed,
            val_inputs=inputs,
            val_labels=labels,
            checkpoints=checkpoints,
            metrics=metrics,
            heartbeat=heartbeat,
            stop=stop,
            before_epoch=watch.look,
            folder=job.workdir.path,
        )
