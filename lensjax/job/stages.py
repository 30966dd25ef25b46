"""The stages in their order, and what has to be true before the first of them.

code = run(config, workdir, stop, accept_change=False, debug=False)
"""

from __future__ import annotations

import logging
from pathlib import Path

import jax

from lensjax import configuration, gates
from lensjax.configuration import Config
from lensjax.curate.prepare import scan_if_new
from lensjax.data.source import open_source
from lensjax.job.catalogues import digests, open_catalogues
from lensjax.job.data import check_data
from lensjax.job.evaluation import evaluate_best, is_finished
from lensjax.job.job import Job, cache_of
from lensjax.job.train import train
from lensjax.job.verdict import judge
from lensjax.runs import provenance
from lensjax.runs.checkpoints import Checkpoints
from lensjax.runs.files import write_json
from lensjax.runs.signals import StopRequest
from lensjax.runs.workdir import Workdir
from lensjax.schema import ExitCode
from lensjax.training.setup import ask_for_determinism, make_trainer

log = logging.getLogger(__name__)


def run(
    config: Config, workdir: Workdir, stop: StopRequest, *, accept_change: bool, debug: bool
) -> ExitCode:
    """Do, or go on with, the run in `workdir`, whose lock the caller holds; returns the exit code
    of its verdict.

    Raises:
        LensjaxError: what stopped it, with its documented exit code.
    """
    if config.deterministic:
        ask_for_determinism()  # before the first use of a device
    protocol = gates.load_protocol(configuration.protocol_path(config))
    _use_compilation_cache(cache_of(config))
    seen = provenance.collect(
        config=configuration.to_json(config),
        protocol=protocol.document,
        protocol_digest=protocol.digest,
        data_digest=None,
        devices=[f"{device.platform} {device.device_kind}" for device in jax.devices()],
    )
    provenance.check(workdir, seen, accept_change=accept_change)
    catalogues = open_catalogues(config, protocol)
    seen["catalogues"] = digests(catalogues)
    provenance.check(workdir, seen, accept_change=accept_change)
    source = open_source(config.data, config.population)
    scanned = scan_if_new(config, source)
    seen["data_digest"] = source.digest()
    provenance.check(workdir, seen, accept_change=accept_change)
    job = Job(*(config, workdir, protocol, source, seen["data_digest"], debug, scanned, catalogues))
    summary = check_data(job)
    stop.raise_if_requested("phase 0")
    checkpoints = Checkpoints(workdir.checkpoints)
    try:
        latest = checkpoints.latest()
        provenance.begin(workdir, seen, accept_change=accept_change, step=latest or 0)
        write_json(workdir.config, configuration.to_json(config))
        if is_finished(job):
            log.info("this run is finished; its arrays are judged again")
        else:
            trainer = make_trainer(config)
            meta = train(job, trainer, checkpoints, latest, stop)
            evaluate_best(job, trainer, checkpoints, meta, summary, stop)
    finally:
        checkpoints.close()
    return judge(job)


def _use_compilation_cache(cache: Path) -> None:
    folder = cache / "xla"
    folder.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(folder))
