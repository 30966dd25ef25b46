"""Are train, val and test different galaxies on different sky, in the proportions stated?

Bricks, hosts, overlapping stamps, guard band, proportions, exchanged folders, both classes and all
strata in each. Cannot see a galaxy that was given another position: the duplicates check looks at
its pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from lensjax import schema
from lensjax.checks.result import FIELDS_DISAGREE, Outcome
from lensjax.checks.rows import Rows
from lensjax.checks.sky import nearest_arcsec
from lensjax.checks.strata import compare_strata
from lensjax.data.stampset import Finding
from lensjax.schema import ExitCode

Proportions = Sequence[float] | None  # of hosts in train, val, test
SMALLER = 0.9  # train of at least this share of another split: equal ones that lost a few rows


def check_splits(
    rows: Rows,
    *,
    limits: Mapping[str, Any],
    proportions: Proportions,
    simulated: bool,
) -> Outcome:
    """ERROR (exit 11) for bricks or hosts in two splits, hosts of two splits closer than
    `limits['host_separation_arcsec']`, and stated `proportions` (of hosts) missed by more than
    `limits['proportion_tolerance']`; for a train of fewer hosts than val or test, unless
    `proportions` ask for that; ERROR (exit 10) for a split without both classes. Hosts of
    two splits within `limits['guard_band_deg']` are an ERROR (exit 11) for simulated sets and
    where `limits['guard_band_enforced']`, else one NOTE with their number. A NOTE for each stratum
    that splits differ in (strata.compare_strata). NOT PROVEN without brick or position, or any
    stamp."""
    if not len(rows):  # why, the stamps check says
        return Outcome("", not_proven="There are no stamps to tell splits by.")
    findings = _classes(rows)
    group = rows.host.astype(np.int64) * len(schema.SPLITS) + rows.split
    _, first = np.unique(group, return_index=True)
    hosts = {name: first[rows.split[first] == k] for k, name in enumerate(schema.SPLITS)}
    findings += _shared(rows, rows.brick, rows.bricks.__getitem__, "brick")
    findings += _shared(rows, rows.host, rows.host_name, "host")
    strict = simulated or bool(limits["guard_band_enforced"])
    near, counts = _separations(rows, hosts, limits, strict)
    findings += near
    numbers = np.array([len(hosts[name]) for name in schema.SPLITS], float)
    measured = numbers / max(numbers.sum(), 1.0)
    blame = f" ({FIELDS_DISAGREE})" if simulated else ""
    findings += _proportions(measured, proportions, float(limits["proportion_tolerance"]), blame)
    shares = dict(zip(schema.SPLITS, measured.round(4).tolist(), strict=True))
    findings += _exchanged(numbers, proportions)
    strata, notes = compare_strata(rows)
    findings += notes
    counts |= {
        "proportions": shares,
        "hosts": {name: len(hosts[name]) for name in schema.SPLITS},
        "rows": {name: int(rows.of_split(name).sum()) for name in schema.SPLITS},
        "bricks": {name: len(np.unique(rows.brick[rows.of_split(name)])) for name in schema.SPLITS},
        "positives": {
            name: int((rows.label[rows.of_split(name)] == 1).sum()) for name in schema.SPLITS
        },
        "strata": strata,
    }
    measured_text = ", ".join(f"{name} {share:.3f}" for name, share in shares.items())
    return Outcome(f"Hosts: {measured_text}.", tuple(findings), counts, not_proven=_unproven(rows))


def _unproven(rows: Rows) -> str:
    """Why disjoint sky cannot be shown; empty if it can."""
    unnamed = [k for k, name in enumerate(rows.bricks) if not name]
    if np.isin(rows.brick, unnamed).any():
        return "Some rows have no brick (brickname)."
    known = np.isfinite(rows.numbers["ra"]) & np.isfinite(rows.numbers["dec"])
    return "" if known.all() else "Some rows have no position (ra, dec)."


def _classes(rows: Rows) -> list[Finding]:
    """One ERROR for each split without stamps, or without those of one class."""
    findings = []
    for name in schema.SPLITS:
        labels = rows.label[rows.of_split(name)]
        if not len(labels):
            findings.append(_lacking(f"{name} has no stamp that could be read"))
            continue
        for label, what in ((1, "positives"), (0, "negatives")):
            if not (labels == label).any():
                findings.append(_lacking(f"{name} has 0 {what}"))
    return findings


def _lacking(cause: str) -> Finding:
    return Finding("splits", "ERROR", cause, "", ExitCode.DATA_INVALID)


def _exchanged(hosts: np.ndarray, stated: Proportions) -> list[Finding]:
    """One ERROR for each split of clearly more `hosts` [3] than train, as exchanged folders have,
    of which nothing else may tell; none where train has no host, or `stated` asks for more."""
    findings = []
    for k, name in enumerate(schema.SPLITS[1:], 1):
        meant = stated is not None and stated[k] > stated[0]
        if 0 < hosts[0] < SMALLER * hosts[k] and not meant:
            cause = f"train is smaller than {name}: are they exchanged?"
            numbers = f"{hosts[0]:.0f} hosts and {hosts[k]:.0f}"
            remedy = "Exchange them, or state --config.data.proportions=(TRAIN, VAL, TEST)"
            leak = _leak(f"{cause} ({numbers})", "")
            findings.append(replace(leak, remedy=remedy))
    return findings


def _shared(
    rows: Rows, code: np.ndarray, name_of: Callable[[int], str], what: str
) -> list[Finding]:
    """One ERROR for each value of `code` [n] in two splits, naming a row of each."""
    first = {}
    for name in schema.SPLITS:
        mine = np.flatnonzero(rows.of_split(name))
        values, index = np.unique(code[mine], return_index=True)
        first[name] = (values, mine[index])
    findings = []
    for a, b in combinations(schema.SPLITS, 2):
        both, in_a, in_b = np.intersect1d(
            first[a][0], first[b][0], assume_unique=True, return_indices=True
        )
        for value, i, j in zip(both, first[a][1][in_a], first[b][1][in_b], strict=True):
            named = name_of(int(value))
            if not named:
                continue
            where = f"{rows.where(i)} and {rows.where(j)}"
            findings.append(_leak(f"{what} {named} is in {a} and in {b}", where))
    return findings


def _separations(
    rows: Rows, hosts: Mapping[str, np.ndarray], limits: Mapping[str, Any], strict: bool
) -> tuple[list[Finding], dict[str, Any]]:
    """Hosts of different splits that overlap, and those within the guard band."""
    ra, dec = rows.numbers["ra"], rows.numbers["dec"]
    overlap = float(limits["host_separation_arcsec"])
    guard = 3600.0 * float(limits["guard_band_deg"])
    findings, in_band, example = [], 0, ""
    for a, b in combinations(schema.SPLITS, 2):
        in_a, in_b = (h[np.isfinite(ra[h]) & np.isfinite(dec[h])] for h in (hosts[a], hosts[b]))
        separation, nearest = nearest_arcsec(
            ra[in_a], dec[in_a], ra[in_b], dec[in_b], max(guard, overlap)
        )
        for i in np.flatnonzero(separation < overlap):
            where = f"{rows.where(int(in_a[i]))} and {rows.where(int(in_b[nearest[i]]))}"
            cause = f"hosts of {a} and {b} are {separation[i]:.1f} arcsec apart: stamps overlap"
            findings.append(_leak(cause, where))
        band = np.flatnonzero((separation >= overlap) & (separation < guard))
        in_band += len(band)
        if len(band) and not example:
            example = (
                f"{rows.where(int(in_a[band[0]]))} and {rows.where(int(in_b[nearest[band[0]]]))}"
            )
    if in_band:
        cause = (
            f"{in_band} hosts within {limits['guard_band_deg']:g} deg of a host of another split"
        )
        severity = "ERROR" if strict else "NOTE"
        findings.append(Finding("splits", severity, cause, example, ExitCode.LEAK))
    return findings, {"in_guard_band": in_band}


def _proportions(
    measured: np.ndarray, stated: Proportions, tolerance: float, blame: str
) -> list[Finding]:
    if stated is None:
        return []
    findings = []
    for name, share, target in zip(schema.SPLITS, measured, stated, strict=True):
        if abs(share - target) > tolerance:
            cause = f"{name} holds {share:.3f} of the hosts, stated {target:.3f} +- {tolerance:g}"
            findings.append(_leak(f"{cause}{blame}", ""))
    return findings


def _leak(cause: str, where: str) -> Finding:
    return Finding("splits", "ERROR", cause, where, ExitCode.LEAK)
