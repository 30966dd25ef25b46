"""The evaluation of a run: arrays of val and test, and last the manifest that makes them count.

evaluate_run(job, trainer, state, meta, summary, stop)
is_finished(job)
"""

from __future__ import annotations

import functools
import json
import logging
from typing import Any

import numpy as np

from lensjax import configuration, schema
from lensjax.checks.result import Summary
from lensjax.gates.arrays import CATALOGUES, ids_digest
from lensjax.job.data import load, training_positions
from lensjax.job.job import Job
from lensjax.progress import progress_bar
from lensjax.runs.checkpoints import Checkpoints
from lensjax.runs.files import file_digest, write_bytes
from lensjax.runs.heartbeat import Heartbeat
from lensjax.runs.signals import StopRequest
from lensjax.training import evaluate, loop, saliency
from lensjax.training import model as resnet
from lensjax.training.feed import replicated
from lensjax.training.setup import Trainer
from lensjax.training.step import evaluated_variables, init_state

log = logging.getLogger(__name__)
SPLITS = ("val", "test")
EXAMPLES = "examples.npz"  # of test
SALIENCY = "saliency.npz"  # of test


def evaluate_best(
    job: Job,
    trainer: Trainer,
    checkpoints: Checkpoints,
    meta: dict[str, Any],
    summary: Summary,
    stop: StopRequest,
) -> None:
    """Write eval/ from the best checkpoint: arrays, a few stamps to look at, what the model looks
    at, the scores of the catalogues, and the manifest."""
    config, workdir = job.config, job.workdir
    heartbeat = Heartbeat(workdir.heartbeat, last_good=lambda: checkpoints.last_good)
    told = {"step": meta["step"], "epoch": meta["epoch"], "force": True}
    heartbeat.beat(stage="evaluate", **told)
    best = checkpoints.best_step
    assert best is not None  # an epoch was completed
    blank = init_state(trainer.model, trainer.recipe)
    state, _ = checkpoints.restore(best, blank, replicated(trainer.mesh))
    log.info("evaluating the best epoch, %d of %d", meta["best_epoch"], meta["epoch"])
    workdir.eval.mkdir(exist_ok=True)
    variables = evaluated_variables(state)
    splits, spans = {}, []
    for split in SPLITS:
        splits[split], found = _evaluate_split(job, trainer, variables, split, stop)
        spans.append(found)
    scored = {name: _score(job, trainer, variables, name, stop) for name in job.catalogues}
    manifest = {
        "schema": "lensjax-eval-1",
        "splits": splits,
        "examples": {"file": EXAMPLES, "sha256": file_digest(workdir.eval / EXAMPLES)},
        "saliency": {"file": SALIENCY, "sha256": file_digest(workdir.eval / SALIENCY)},
        **scored,
        "run_digest": job.digest,
        "checkpoint_step": int(state["step"]),
        "best_epoch": meta["best_epoch"],
        "best_auroc": meta["best_auroc"],
        "model_sha256": evaluate.model_digest(variables),
        "data_digest": job.data_digest,
        "protocol_digest": job.protocol.digest,
        "preprocessing": config.preprocessing.name,
        "mode": config.data.pairing,
        "hard_negative_fraction": config.augment.hard_negative_fraction,
        "population": _population(job, spans),
        "phase0": {
            "all_passed": summary.all_passed,
            "quarantined": summary.quarantined,
            "checks": {result.name: result.verdict for result in summary.results},
        },
        **_evidence(job, trainer.plan, meta),
    }
    write_bytes(workdir.eval_manifest, evaluate.manifest_bytes(manifest))
    heartbeat.beat(stage="finished", **told)


def _evaluate_split(
    job: Job, trainer: Trainer, variables: resnet.Variables, split: str, stop: StopRequest
) -> tuple[dict[str, Any], evaluate.Arrays]:
    """Arrays of one split; its entry of the manifest, and the arc columns."""
    stamps, mask = load(job, split)
    total = evaluate.passes(stamps.table)
    with progress_bar(desc=f"evaluate {split}", total=total, unit="stamp") as bar:
        arrays, inputs = evaluate.evaluate_split(
            stamps,
            mask,
            predict=trainer.predict,
            variables=variables,
            name=job.config.preprocessing.name,
            clip=job.config.preprocessing.clip,
            seed=job.config.seed,
            progress=bar,
            stop=stop,
        )
    path = job.workdir.eval_arrays(split)
    entry = {
        "file": path.name,
        "sha256": evaluate.save_arrays(path, arrays),
        "ids_sha256": ids_digest(arrays["stamp_id"]),
        "n": len(stamps),
    }
    if split == "test":
        shown = evaluate.examples(arrays, stamps.stamps, inputs)
        evaluate.save_arrays(job.workdir.eval / EXAMPLES, shown)
        looked = saliency.saliency_arrays(
            arrays,
            inputs,
            gradient=saliency.make_gradient(functools.partial(resnet.apply_eval, trainer.model)),
            predict=trainer.predict,
            variables=variables,
            seed=job.config.data.seed,  # not the run's own: runs on one data root are compared
            stop=stop,
        )
        evaluate.save_arrays(job.workdir.eval / SALIENCY, looked)
    return entry, {name: arrays[name] for name in _SPANS.values()}


def _score(
    job: Job, trainer: Trainer, variables: resnet.Variables, name: str, stop: StopRequest
) -> dict[str, Any]:
    """Write the scores of a catalogue; its entry of the manifest."""
    catalogue, how = job.catalogues[name], job.config.preprocessing
    total = evaluate.SCORE_PASSES * len(catalogue.stamps)
    with progress_bar(desc=f"score {name}", total=total, unit="stamp") as bar:
        logits = evaluate.score_stamps(
            catalogue.stamps,
            predict=trainer.predict,
            variables=variables,
            name=how.name,
            clip=how.clip,
            progress=bar,
            stop=stop,
        )
    known = catalogue.among(*training_positions(job))
    if len(known):
        first = schema.printable(str(catalogue.names[known[0]]))
        log.warning("%s: %d are hosts of training stamps, first %s", name, len(known), first)
    path = job.workdir.eval_arrays(name)
    return {
        "file": path.name,
        "sha256": evaluate.save_arrays(path, catalogue.arrays(logits)),
        "n": len(catalogue.names),
        "stamps": len(catalogue.stamps),
        "trained_on": len(known),
        "stamps_of_no_row": catalogue.spare,
        "rows_left_out": catalogue.left_out,
        "digest": catalogue.digest,
    }


_SPANS = {"theta_e": "theta_e_arcsec", "arc_snr": "arc_snr"}


def _population(job: Job, found: list[evaluate.Arrays]) -> dict[str, Any]:
    """Spans of theta_E and arc SNR: as simulated, or as found in a user's val and test."""
    if job.config.data.source == "sim":
        return configuration.to_json(job.config)["population"]
    spans = {}
    for name, column in _SPANS.items():
        values = np.concatenate([arrays[column] for arrays in found])
        values = values[np.isfinite(values)]
        spans[name] = [float(values.min()), float(values.max())] if len(values) else None
    return spans


def _evidence(job: Job, plan: loop.Plan, meta: dict[str, Any]) -> dict[str, Any]:
    """Whether a verdict on this run may be GREEN at all."""
    reasons = []
    if plan.was_cut_short(meta):
        reasons.append(f"{meta['epoch']} of {meta['planned']} epochs trained")
    if job.config.variant == "tiny":
        reasons.append("the :tiny variant trains nothing")
    if job.debug or meta["debug"]:
        reasons.append("run with --debug")
    return {"evidence": not reasons, "evidence_reason": "; ".join(reasons)}


def is_finished(job: Job) -> bool:
    """Are there evaluation arrays, of these data and undamaged, that need not be made again?"""
    try:
        manifest = json.loads(job.workdir.eval_manifest.read_text())
        if manifest["run_digest"] != job.digest:
            return False
        entries = [*manifest["splits"].values(), manifest["examples"], manifest["saliency"]]
        entries += [manifest[name] for name in CATALOGUES if name in manifest]
        files = {job.workdir.eval / entry["file"]: entry["sha256"] for entry in entries}
        damaged = [path.name for path, sha in files.items() if file_digest(path) != sha]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    for name in damaged:
        log.warning("eval/%s is not what was written; evaluating again", name)
    return not damaged
