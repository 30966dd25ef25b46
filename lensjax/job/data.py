"""The data of a run: phase 0, the prepared set, and its rows.

summary = check_data(job)
stamps, in_manifest = load(job, "train")
"""

from __future__ import annotations

import logging

import numpy as np

from lensjax import gates
from lensjax.checks.cache import cached_summary, checks_digest, store_summary
from lensjax.checks.result import Summary
from lensjax.checks.run import record_of, run_checks, scan_source
from lensjax.configuration import Config
from lensjax.data import prepared
from lensjax.data.files import FileSource
from lensjax.data.manifest import manifest_mask
from lensjax.data.source import SIMULATED, Source
from lensjax.data.stampset import Finding, StampSet
from lensjax.job.job import Job, Scanned
from lensjax.report import write_report
from lensjax.runs.files import write_json

log = logging.getLogger(__name__)


def check_data(job: Job) -> Summary:
    """Phase 0, skipped when data, protocol and checks are unchanged; then the prepared set exists.

    Raises:
        LensjaxError: exit 10, 11, 12 or 17 for data that failed; gates.json then says RED.
    """
    data = job.config.data
    simulated = data.source == SIMULATED
    told = {
        "proportions": data.proportions,
        "simulated": simulated,
        "anchors": data.anchors,
        "contaminants": data.contaminants,
        "record": record_of(job.source),
    }
    digests = (job.data_digest, job.protocol.digest, checks_digest(**told))
    summary = cached_summary(job.cache, *digests)
    ready = prepared.is_prepared(job.cache, job.data_digest, data.reader)
    if summary is not None and summary.all_passed and ready:
        log.info("data, protocol and checks are unchanged since phase 0 passed")
    else:
        scan, sets = job.scanned or _scan(job.config, job.source)
        summary = run_checks(
            scan,
            protocol=job.protocol.document,
            protocol_digest=job.protocol.digest,
            data_digest=job.data_digest,
            **told,
        )
        store_summary(job.cache, summary)
        if summary.all_passed:
            name = f"simulated_{job.config.variant}" if simulated else None
            left_out: list[Finding] = []  # the scan has named them
            sets = sets or {k: job.source.read(k, left_out) for k in job.source.splits()}
            prepared.prepare(sets, job.cache, job.data_digest, data.reader, config=name)
    write_json(job.workdir.phase0, summary.to_json())
    log.info("phase 0: %s", _counted(summary))
    if not summary.all_passed:
        gates.refuse(job.workdir.path, summary.to_json())
        write_report(job.workdir.path)
        raise summary.error()
    return summary


def scan_if_new(config: Config, source: Source) -> Scanned | None:
    """The scan of files that were never hashed: they are hashed on the way, and so read once. None
    where the digest is known without reading."""
    if isinstance(source, FileSource) and source.unhashed():
        return _scan(config, source)
    return None


def _scan(config: Config, source: Source) -> Scanned:
    log.info(
        "simulating the default data, once (the simulator is compiled first)"
        if config.data.source == SIMULATED
        else f"reading all stamps of {config.data.root}"
    )
    return scan_source(source, workers=config.data.workers)


def _counted(summary: Summary) -> str:
    """'8 checks passed, 2 not proven (anchors, contaminants)'."""
    names: dict[str, list[str]] = {}
    for result in summary.results:
        names.setdefault(result.verdict, []).append(result.name)
    passed = len(names.pop("PASS", []))
    others = [f"{len(v)} {k.lower()} ({', '.join(v)})" for k, v in names.items()]
    return ", ".join([f"{passed} checks passed on all rows", *others])


def load(job: Job, split: str) -> tuple[StampSet, np.ndarray]:
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


def rows_of_largest(job: Job, splits: tuple[str, ...]) -> int:
    """Rows of the largest of the prepared `splits`, without reading them."""
    counts = prepared.rows(job.cache, job.data_digest, job.config.data.reader)
    return max(counts[split] for split in splits)
