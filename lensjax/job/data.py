"""The data of a run: phase 0, the prepared set, and its rows.

summary = check_data(job)
stamps, in_manifest = load(job, "train")
"""

from __future__ import annotations

import logging

import numpy as np
from fsspec.implementations.local import LocalFileSystem

from lensjax import gates, schema
from lensjax.checks.result import Summary
from lensjax.curate.prepare import check_and_prepare
from lensjax.data import prepared
from lensjax.data.digests import file_key
from lensjax.data.files import FileSource
from lensjax.data.manifest import manifest_mask
from lensjax.data.stampset import StampSet
from lensjax.data.watch import Watch
from lensjax.job.catalogues import require_same_scale
from lensjax.job.job import Job
from lensjax.report import write_report
from lensjax.runs.files import write_json

log = logging.getLogger(__name__)


def check_data(job: Job) -> Summary:
    """Phase 0, skipped when data, protocol and checks are unchanged; then the prepared set exists.

    Raises:
        LensjaxError: exit 10, 11, 12 or 17 for data that failed; gates.json then says RED.
    """
    summary = check_and_prepare(job.config, job.protocol, job.source, job.data_digest, job.scanned)
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


def load(job: Job, split: str) -> tuple[StampSet, np.ndarray]:
    """The prepared stamps of `split`, and which rows are in the run's manifest.

    Raises:
        LensjaxError: exit 10 for catalogues to be scored whose stamps have another pixel scale.
    """
    data = job.config.data
    stamps = prepared.load(job.cache, job.data_digest, split, data.reader)
    require_same_scale(job.catalogues, stamps.table["pixel_scale_arcsec"])
    mask = manifest_mask(stamps.table, data.pairing, data.seed)
    lenses = int((stamps.table["label"][mask] == 1).sum())
    log.info(
        "%s: %d stamps through %s; %s manifest of %d lenses, %d others",
        *(split, len(stamps), stamps.reader, data.pairing, lenses, mask.sum() - lenses),
    )
    return stamps, mask


def training_positions(job: Job) -> tuple[np.ndarray, np.ndarray]:
    """ra and dec of the training stamps, degrees, float64 [k]; none of simulated ones, whose sky is
    no real one."""
    if not isinstance(job.source, FileSource):
        return np.zeros(0), np.zeros(0)
    rows, _ = job.source.listing
    ra, dec = rows.numbers["ra"], rows.numbers["dec"]
    mine = (rows.split == schema.SPLITS.index("train")) & np.isfinite(ra) & np.isfinite(dec)
    return ra[mine], dec[mine]


def watch_data(job: Job) -> Watch:
    """A watch on the prepared set, and on a user's files: a run is of the data that it began
    with."""
    data = job.config.data
    folder = prepared.folder_of(job.cache, job.data_digest, prepared.resolve_reader(data.reader))
    disk = LocalFileSystem()

    def keys() -> dict[str, str | None]:
        return {path: file_key(disk, path) for path in disk.find(str(folder))}

    return Watch(keys, job.source.keys) if isinstance(job.source, FileSource) else Watch(keys)


def rows_of_largest(job: Job, splits: tuple[str, ...]) -> int:
    """Rows of the largest of the prepared `splits`, without reading them."""
    counts = prepared.rows(job.cache, job.data_digest, job.config.data.reader)
    return max(counts[split] for split in splits)
