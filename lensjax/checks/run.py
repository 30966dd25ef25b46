"""All checks on what a scan of all rows brought, every failure listed.

Not the scan (`scan` looks at every pixel, once) and no fixer: nothing is changed or left out.

    >>> scan, _ = scan_source(source, workers=0)
    >>> summary = run_checks(scan, protocol=document, protocol_digest=protocol_digest,
    ...                      data_digest=source.digest(), proportions=None, simulated=False)
    >>> summary.exit_code
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lensjax.checks.cache import checks_digest
from lensjax.checks.catalogues import check_anchors, check_contaminants
from lensjax.checks.duplicates import check_duplicates
from lensjax.checks.labels import check_labels
from lensjax.checks.pairs import check_pairs
from lensjax.checks.protocol import check_protocol, phase0_rules
from lensjax.checks.result import CHECKS, Outcome, Summary, judge
from lensjax.checks.scan import Scan, scan_files, scan_sets
from lensjax.checks.shortcuts import check_metadata_shortcut, check_survey_shortcut
from lensjax.checks.splits import check_splits
from lensjax.checks.stamps import check_stamps
from lensjax.checks.workers import count_workers
from lensjax.data.files import FileSource
from lensjax.data.source import Source
from lensjax.data.stampset import Finding, StampSet

# Required where they can be judged: there may be no pairs, or too few rows to tell a shortcut by.
WHERE_POSSIBLE = ("pairs", "metadata_shortcut", "survey_shortcut")


def scan_source(source: Source, *, workers: int) -> tuple[Scan, dict[str, StampSet] | None]:
    """The scan of a source; and the StampSets, where it had to make them to be scanned (only a
    source of files can be read in parts)."""
    if isinstance(source, FileSource):
        return scan_files(source, workers=count_workers(workers)), None
    findings: list[Finding] = []
    sets = {split: source.read(split, findings) for split in source.splits()}
    return scan_sets(sets, findings), sets


def record_of(source: Source) -> str | None:
    """Digest of the manifest of a source's data root, None without."""
    return source.record_digest() if isinstance(source, FileSource) else None


def run_checks(
    scan: Scan,
    *,
    protocol: Mapping[str, Any],
    protocol_digest: str,
    data_digest: str,
    proportions: Sequence[float] | None,
    simulated: bool,
    anchors: str | None = None,
    contaminants: str | None = None,
    record: str | None = None,
    only: Collection[str] = CHECKS,
) -> Summary:
    """The results of the checks named in `only`, in the order of CHECKS.

    `scan` is what was seen of the data, `protocol` the parsed file. `proportions` of hosts in
    train, val and test are measured, and enforced unless None; `simulated` sets must keep the guard
    band; `anchors` and `contaminants` are paths of CSV files; `record` is the digest of
    the data root's manifest. Raises LensjaxError for a protocol that makes no sense, never for a
    failed check."""
    rules = phase0_rules(protocol)
    minimum, limits = rules.minimum, rules.limits
    rows, seen = scan.rows, scan.measured
    shortcut = {"limit": limits["shortcut_auc"], "minimum_hosts": minimum["shortcut_hosts"]}
    checks: dict[str, Callable[[], Outcome]] = {
        "survey_shortcut": lambda: check_survey_shortcut(rows, seen, **shortcut),
        "metadata_shortcut": lambda: check_metadata_shortcut(rows, **shortcut),
        "stamps": lambda: check_stamps(scan),
        "pairs": lambda: check_pairs(
            rows, seen, scan.pairs, scan.difference, outside_limit=limits["pair_outside"]
        ),
        "splits": lambda: check_splits(
            rows, limits=limits, proportions=proportions, simulated=simulated
        ),
        "duplicates": lambda: check_duplicates(rows, seen, scan.fetch),
        "labels": lambda: check_labels(rows),
        "protocol": lambda: check_protocol(protocol, protocol_digest),
        "anchors": lambda: check_anchors(
            anchors,
            minimum=minimum["anchors"],
            min_theta_e_arcsec=limits["anchor_theta_e_arcsec"],
        ),
        "contaminants": lambda: check_contaminants(
            contaminants, minimum=minimum["contaminants"], anchors=anchors
        ),
    }
    results = []
    seen_data = bool(len(rows) or scan.findings)
    for name in CHECKS:
        unasked = name not in only
        if unasked and not (name == "stamps" and seen_data):
            continue
        outcome = _with_reader(name, checks[name](), scan)
        required = name in rules.required and not (name in WHERE_POSSIBLE and outcome.not_proven)
        result = judge(
            name,
            outcome,
            required=required,
            set_aside=scan.set_aside,
            quarantine_budget=limits["quarantine"],
        )
        if not unasked or result.codes():  # what could not be read, no check has seen
            results.append(result)
    told = checks_digest(
        proportions=proportions,
        simulated=simulated,
        anchors=anchors,
        contaminants=contaminants,
        record=record,
    )
    return Summary(tuple(results), data_digest, protocol_digest, told)


def _with_reader(name: str, outcome: Outcome, scan: Scan) -> Outcome:
    """`outcome` with the scan's findings of the same check; those of no check here are about
    files and rows, hence of the stamps."""
    mine = [f for f in scan.findings if (f.check if f.check in CHECKS else "stamps") == name]
    return replace(outcome, findings=(*mine, *outcome.findings))
