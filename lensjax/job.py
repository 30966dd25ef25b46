"""The job behind main.py: data, checks, preflight, training, evaluation, gates, report, in order.

Every stage finds out for itself whether it is done, so that a run started again goes on where it
stopped, and a finished one is judged anew from its arrays and says so. Judges nothing itself.

    code = run(config, "runs/b3", fresh=False, accept_change=False, debug=False)
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lensjax import configuration, gates
from lensjax.checks.cache import cached_summary, checks_digest, store_summary
from lensjax.checks.result import Summary
from lensjax.checks.run import read_sets, run_checks
from lensjax.configuration import Config
from lensjax.data import prepared
from lensjax.data.manifest import manifest_mask
from lensjax.data.source import Source, open_source
from lensjax.data.stampset import StampSet
from lensjax.progress import progress_bar
from lensjax.report import write_report
from lensjax.runs import provenance
from lensjax.runs.checkpoints import Checkpoints
from lensjax.runs.files import file_digest, write_bytes, write_json
from lensjax.runs.heartbeat import Heartbeat
from lensjax.runs.logs import say, setup_logging
from lensjax.runs.metrics import MetricsLog
from lensjax.runs.results import write_results
from lensjax.runs.signals import StopRequest
from lensjax.runs.workdir import Workdir, open_workdir
from lensjax.schema import ExitCode
from lensjax.training import evaluate, loop, preflight
from lensjax.training.feed import TrainFeed, model_inputs, replicated
from lensjax.training.setup import Trainer, ask_for_determinism, make_trainer
from lensjax.training.step import State, evaluated_variables, init_state

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One run: what it was told, where it writes, under which protocol, on which data."""

    config: Config
    workdir: Workdir
    protocol: gates.Protocol
    source: Source
    data_digest: str
    debug: bool

    @property
    def cache(self) -> Path:
        """Where prepared data, checked data and compiled programs are kept between runs."""
        return _cache(self.config)


def run(config: Config, path: str, *, fresh: bool, accept_change: bool, debug: bool) -> ExitCode:
    """Do, or go on with, the run in `path`; returns the exit code of its verdict.

    Raises:
        LensjaxError: what stopped it, with its documented exit code.
    """
    with open_workdir(path, fresh=fresh) as workdir, StopRequest() as stop:
        setup_logging(workdir, debug)
        if config.deterministic:
            ask_for_determinism()  # before the first use of a device
        protocol = gates.load_protocol(configuration.protocol_path(config))
        _use_compilation_cache(_cache(config))
        seen = provenance.collect(
            config=configuration.to_json(config),
            protocol=protocol.document,
            protocol_digest=protocol.digest,
            data_digest=None,
            devices=[f"{device.platform} {device.device_kind}" for device in jax.devices()],
        )
        provenance.check(workdir, seen, accept_change=accept_change)
        source = open_source(config.data, config.population)
        seen["data_digest"] = source.digest()
        provenance.check(workdir, seen, accept_change=accept_change)
        job = Job(config, workdir, protocol, source, seen["data_digest"], debug)
        summary = _check_data(job)
        stop.raise_if_requested("phase 0")
        checkpoints = Checkpoints(workdir.checkpoints)
        try:
            latest = checkpoints.latest()
            provenance.begin(workdir, seen, accept_change=accept_change, step=latest or 0)
            write_json(workdir.config, configuration.to_json(config))
            if _is_finished(job):
                log.info("this run is finished; its arrays are judged again")
            else:
                _train_and_evaluate(job, summary, checkpoints, latest, stop)
        finally:
            checkpoints.close()
        return _judge(job)


def _cache(config: Config) -> Path:
    return Path(config.data.cache_dir).expanduser()


def _use_compilation_cache(cache: Path) -> None:
    folder = cache / "xla"
    folder.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(folder))


# -- data ---------------------------------------------------------------------------------------


def _check_data(job: Job) -> Summary:
    """Phase 0, skipped when data, protocol and checks are unchanged; then the prepared set exists.

    Raises:
        LensjaxError: exit 10, 11, 12 or 17 for data that failed; gates.json then says RED.
    """
    data = job.config.data
    simulated = data.source == "sim"
    told = {
        "proportions": data.proportions,
        "simulated": simulated,
        "anchors": data.anchors,
        "contaminants": data.contaminants,
    }
    digests = (job.data_digest, job.protocol.digest, checks_digest(**told))
    summary = cached_summary(job.cache, *digests)
    ready = prepared.is_prepared(job.cache, job.data_digest, data.reader)
    if summary is not None and summary.all_passed and ready:
        log.info("data, protocol and checks are unchanged since phase 0 passed")
    else:
        sets, findings = read_sets(job.source)
        summary = run_checks(
            sets,
            findings,
            protocol=job.protocol.document,
            protocol_digest=job.protocol.digest,
            data_digest=job.data_digest,
            **told,
        )
        store_summary(job.cache, summary)
        if summary.all_passed:
            name = f"simulated_{job.config.variant}" if simulated else None
            prepared.prepare(sets, job.cache, job.data_digest, data.reader, config=name)
    write_json(job.workdir.phase0, summary.to_json())
    log.info("phase 0: %s", _counted(summary))
    if not summary.all_passed:
        gates.refuse(job.workdir.path, summary.to_json())
        write_report(job.workdir.path)
        raise summary.error()
    return summary


def _counted(summary: Summary) -> str:
    """'8 checks passed, 2 not proven (anchors, contaminants)'."""
    names: dict[str, list[str]] = {}
    for result in summary.results:
        names.setdefault(result.verdict, []).append(result.name)
    passed = len(names.pop("PASS", []))
    others = [f"{len(v)} {k.lower()} ({', '.join(v)})" for k, v in names.items()]
    return ", ".join([f"{passed} checks passed on all rows", *others])


def _load(job: Job, split: str) -> tuple[StampSet, np.ndarray]:
    """The prepared stamps of `split`, and which rows are in the run's manifest."""
    data = job.config.data
    stamps = prepared.load(job.cache, job.data_digest, split, data.reader)
    mask = manifest_mask(stamps.table, data.pairing, data.seed)
    lenses = int((stamps.table["label"][mask] == 1).sum())
    log.info(
        "%s: %d stamps through %s; %s manifest of %d lenses, %d others",
        *(split, len(stamps), stamps.reader, data.pairing, lenses, mask.sum() - lenses),
    )
    return stamps, mask


# -- training and evaluation --------------------------------------------------------------------


def _train_and_evaluate(
    job: Job, summary: Summary, checkpoints: Checkpoints, latest: int | None, stop: StopRequest
) -> None:
    trainer = make_trainer(job.config)
    state, meta = init_state(trainer.model, trainer.recipe), loop.new_meta()
    if latest is not None:
        state, meta = checkpoints.restore(latest, state)
        log.info("resuming at step %d, in epoch %d", meta["step"], meta["epoch"] + 1)
    state = jax.device_put(state, replicated(trainer.mesh))
    heartbeat = Heartbeat(job.workdir.heartbeat, last_good=lambda: checkpoints.last_good)
    if not trainer.plan.is_over(meta):
        meta = _train(job, trainer, state, meta, checkpoints, heartbeat, stop)
    told = {"step": meta["step"], "epoch": meta["epoch"], "force": True}
    heartbeat.beat(stage="evaluate", **told)
    best = checkpoints.best_step
    assert best is not None  # an epoch was completed
    state, _ = checkpoints.restore(best, state, replicated(trainer.mesh))
    log.info("evaluating the best epoch, %d of %d", meta["best_epoch"], meta["epoch"])
    _evaluate(job, trainer, state, meta, summary, stop)
    heartbeat.beat(stage="finished", **told)


def _train(
    job: Job,
    trainer: Trainer,
    state: State,
    meta: dict[str, Any],
    checkpoints: Checkpoints,
    heartbeat: Heartbeat,
    stop: StopRequest,
) -> dict[str, Any]:
    """Preflight before the first step, then the loop; returns the meta at the end."""
    config = job.config
    stamps, mask = _load(job, "train")
    shape = {"name": config.preprocessing.name, "clip": config.preprocessing.clip}
    with progress_bar(desc="preprocess train", total=len(stamps), unit="stamp") as bar:
        feed = TrainFeed(
            stamps,
            mask,
            trainer.mesh,
            seed=config.seed,
            batch_size=config.batch_size,
            hard_negatives=config.augment.hard_negative_fraction > 0,
            progress=bar,
            **shape,
        )
    del stamps
    val, val_mask = _load(job, "val")
    inputs = model_inputs(val.stamps[val_mask], **shape)
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
        )
        write_json(job.workdir.preflight, report)
        preflight.raise_if_failed(report)
        log.info("preflight passed: about %.0f s of training", report["estimated_training_seconds"])
    with MetricsLog(job.workdir.metrics, job.workdir.tensorboard) as metrics:
        return loop.train(
            state,
            meta,
            plan=trainer.plan,
            train_step=trainer.train_step,
            predict=trainer.predict,
            feed=feed,
            val_inputs=inputs,
            val_labels=labels,
            checkpoints=checkpoints,
            metrics=metrics,
            heartbeat=heartbeat,
            stop=stop,
        )


def _evaluate(job: Job, trainer: Trainer, state: State, meta, summary: Summary, stop: StopRequest):
    """The arrays of val and test, their examples, and last the manifest that makes them count."""
    config, workdir = job.config, job.workdir
    workdir.eval.mkdir(exist_ok=True)
    variables = evaluated_variables(state)
    splits, tables, examples = {}, [], {}
    for split in ("val", "test"):
        stamps, mask = _load(job, split)
        tables.append(stamps.table)
        total = evaluate.passes(stamps.table)
        with progress_bar(desc=f"evaluate {split}", total=total, unit="stamp") as bar:
            arrays, inputs = evaluate.evaluate_split(
                stamps,
                mask,
                predict=trainer.predict,
                variables=variables,
                name=config.preprocessing.name,
                clip=config.preprocessing.clip,
                seed=config.seed,
                progress=bar,
            )
        sha256 = evaluate.save_arrays(workdir.eval_arrays(split), arrays)
        splits[split] = {"file": f"{split}.npz", "sha256": sha256, "n": len(stamps)}
        if split == "test":
            shown = evaluate.examples(arrays, stamps.stamps, inputs)
            sha256 = evaluate.save_arrays(workdir.eval / "examples.npz", shown)
            examples = {"file": "examples.npz", "sha256": sha256}
        stop.raise_if_requested("evaluation")
    manifest = {
        "schema": "lensjax-eval-1",
        "splits": splits,
        "examples": examples,
        "run_digest": _run_digest(job),
        "checkpoint_step": int(state["step"]),
        "best_epoch": meta["best_epoch"],
        "best_auroc": meta["best_auroc"],
        "model_sha256": evaluate.model_digest(variables),
        "data_digest": job.data_digest,
        "protocol_digest": job.protocol.digest,
        "preprocessing": config.preprocessing.name,
        "mode": config.data.pairing,
        "hard_negative_fraction": config.augment.hard_negative_fraction,
        "population": _population(job, tables),
        "phase0": {
            "all_passed": summary.all_passed,
            "checks": {result.name: result.verdict for result in summary.results},
        },
        **_evidence(job, trainer.plan, meta),
    }
    write_bytes(workdir.eval_manifest, evaluate.manifest_bytes(manifest))


def _population(job: Job, tables: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    """Spans of theta_E and arc SNR: as simulated, or as found in a user's val and test."""
    if job.config.data.source == "sim":
        return configuration.to_json(job.config)["population"]
    spans = {}
    for name, column in (("theta_e", "theta_e_arcsec"), ("arc_snr", "arc_snr")):
        values = np.concatenate([table[column] for table in tables])
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
    if job.debug:
        reasons.append("run with --debug")
    return {"evidence": not reasons, "evidence_reason": "; ".join(reasons)}


def _run_digest(job: Job) -> str:
    """SHA-256 of all that decides the arrays, places left out: another config is another run."""
    config = configuration.to_json(job.config)
    for name in ("root", "cache_dir"):
        del config["data"][name]
    del config["protocol"]
    told = {"config": config, "data": job.data_digest, "protocol": job.protocol.digest}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _is_finished(job: Job) -> bool:
    """Are there evaluation arrays, of these data and undamaged, that need not be made again?"""
    try:
        manifest = json.loads(job.workdir.eval_manifest.read_text())
        if manifest["run_digest"] != _run_digest(job):
            return False
        entries = [*manifest["splits"].values(), manifest["examples"]]
        files = {job.workdir.eval / entry["file"]: entry["sha256"] for entry in entries}
        damaged = [path.name for path, sha in files.items() if file_digest(path) != sha]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    for name in damaged:
        log.warning("eval/%s is not what was written; evaluating again", name)
    return not damaged


# -- verdict ------------------------------------------------------------------------------------


def _judge(job: Job) -> ExitCode:
    """Gates from the saved arrays alone, then the results, the report and the table."""
    workdir = job.workdir
    with progress_bar(desc="judge", unit="gate", total=len(job.protocol.gates)) as bar:
        judged = gates.judge(workdir.path, job.protocol, advance=bar.update)
    gates.write(workdir.path, judged)
    manifest = json.loads(workdir.eval_manifest.read_text())
    write_results(
        workdir.results,
        success=True,
        best_epoch=manifest["best_epoch"],
        best_auroc=manifest["best_auroc"],
        gates=judged,
    )
    with progress_bar(desc="report", unit="section") as bar:
        report = write_report(workdir.path, bar.update)
    say(gates.table(judged))
    say(_population_line(manifest))
    say(f"report: {report}")
    return ExitCode(gates.exit_code(judged))


def _population_line(manifest: dict[str, Any]) -> str:
    """What the verdict is about, in one line."""
    spans = {"theta_e": ("theta_E", " arcsec"), "arc_snr": ("arc SNR", "")}
    parts = [f"{manifest['mode']} test stamps, {manifest['preprocessing']}"]
    for key, (name, unit) in spans.items():
        span = manifest["population"].get(key)
        parts.append(f"{name} {span[0]:g}-{span[1]:g}{unit}" if span else f"{name} not known")
    return "population: " + ", ".join(parts)
