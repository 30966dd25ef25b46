"""All checks on all rows: one pass over the pixels, one over the pairs, every failure listed.

Not a reader (`read_sets` asks a lensjax.data source) and no fixer: nothing is changed or left out.

    >>> sets, findings = read_sets(source)
    >>> summary = run_checks(sets, findings, protocol=document, protocol_digest=protocol_digest,
    ...                      data_digest=source.digest(), proportions=None, simulated=False)
    >>> summary.exit_code
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from lensjax import schema
from lensjax.checks.cache import checks_digest
from lensjax.checks.catalogues import check_anchors, check_contaminants
from lensjax.checks.duplicates import check_duplicates
from lensjax.checks.labels import check_labels
from lensjax.checks.measure import Measured, measure
from lensjax.checks.pairs import check_pairs
from lensjax.checks.protocol import check_protocol, phase0_rules
from lensjax.checks.result import CHECKS, Outcome, Summary, judge
from lensjax.checks.rows import Rows, Sets, join
from lensjax.checks.shortcuts import check_metadata_shortcut, check_survey_shortcut
from lensjax.checks.splits import check_splits
from lensjax.checks.stamps import check_stamps
from lensjax.data.source import Source
from lensjax.data.stampset import Finding, StampSet
from lensjax.progress import progress_bar

# Required where they can be judged: there may be no pairs, or too few rows to tell a shortcut by.
WHERE_POSSIBLE = ("pairs", "metadata_shortcut", "survey_shortcut")
_OF_PIXELS = {"stamps", "duplicates", "survey_shortcut"}  # need the pass over the pixels


def read_sets(source: Source) -> tuple[dict[str, StampSet], list[Finding]]:
    """All splits of `source`, and all that is wrong with what its reader left out."""
    findings: list[Finding] = []
    return {split: source.read(split, findings) for split in source.splits()}, findings


def run_checks(
    sets: Sets,
    findings: Sequence[Finding],
    *,
    protocol: Mapping[str, Any],
    protocol_digest: str,
    data_digest: str,
    proportions: Sequence[float] | None,
    simulated: bool,
    anchors: str | None = None,
    contaminants: str | None = None,
    label_digests: Mapping[str, str] | None = None,
    only: Collection[str] = CHECKS,
    progress: bool = True,
) -> Summary:
    """The results of the checks named in `only`, in the order of CHECKS.

    `sets` are StampSets by split, `findings` what their reader found, `protocol` the parsed file.
    `proportions` of hosts in train, val and test are measured, and enforced unless None;
    `simulated` sets must keep the guard band; `anchors` and `contaminants` are paths of CSV
    files; `label_digests` are what a manifest recorded of each split. `progress`: bars on stderr
    for what takes over 2 seconds. Raises LensjaxError for a protocol or sets that make no sense,
    never for a failed check."""
    rules = phase0_rules(protocol)
    minimum, limits = rules.minimum, rules.limits
    rows = join(sets)
    pixels = _measured(rows, progress) if _OF_PIXELS & set(only) else None
    shortcut = {"limit": limits["shortcut_auc"], "minimum_hosts": minimum["shortcut_hosts"]}
    checks: dict[str, Callable[[], Outcome]] = {
        "survey_shortcut": lambda: check_survey_shortcut(rows, _needed(pixels), **shortcut),
        "metadata_shortcut": lambda: check_metadata_shortcut(rows, **shortcut),
        "stamps": lambda: check_stamps(rows, _needed(pixels)),
        "pairs": lambda: _pairs(rows, limits["pair_outside"], progress),
        "splits": lambda: check_splits(
            rows, limits=limits, proportions=proportions, simulated=simulated
        ),
        "duplicates": lambda: check_duplicates(rows, _needed(pixels)),
        "labels": lambda: check_labels(rows, label_digests),
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
    for name in CHECKS:
        if name not in only:
            continue
        outcome = _with_reader(name, checks[name](), findings)
        required = name in rules.required and not (name in WHERE_POSSIBLE and outcome.not_proven)
        results.append(
            judge(name, outcome, required=required, quarantine_budget=limits["quarantine"])
        )
    told = checks_digest(
        proportions=proportions,
        simulated=simulated,
        anchors=anchors,
        contaminants=contaminants,
        label_digests=label_digests,
    )
    return Summary(tuple(results), data_digest, protocol_digest, told)


def _measured(rows: Rows, progress: bool) -> Measured:
    """One pass over the pixels of all splits."""
    with progress_bar(
        total=len(rows), desc="checking stamps", unit="stamp", disable=not progress
    ) as bar:
        parts = [measure(stamp_set.stamps, bar.update) for stamp_set in rows.sets.values()]
    causes = []
    for start, part in zip(rows.split_start.values(), parts, strict=True):
        causes += [cause._replace(row=cause.row + start) for cause in part.causes]
    empty = measure(np.zeros((0, *schema.STAMP_SHAPE), np.float32))
    joined = [np.concatenate(x) for x in zip(*(part[1:] for part in (empty, *parts)), strict=True)]
    return Measured(causes, *joined)


def _pairs(rows: Rows, outside_limit: float, progress: bool) -> Outcome:
    with progress_bar(
        total=len(rows) // 2, desc="comparing pairs", unit="pair", disable=not progress
    ) as bar:
        return check_pairs(rows, outside_limit=outside_limit, advance=bar.update)


def _needed(pixels: Measured | None) -> Measured:
    assert pixels is not None  # measured whenever one of _OF_PIXELS is asked for
    return pixels


def _with_reader(name: str, outcome: Outcome, findings: Sequence[Finding]) -> Outcome:
    """`outcome` with the reader's findings of the same check; those of no check here are about
    files and rows, hence of the stamps."""
    mine = [f for f in findings if (f.check if f.check in CHECKS else "stamps") == name]
    return Outcome(outcome.message, (*mine, *outcome.findings), outcome.counts, outcome.not_proven)
