"""Can the label be told without looking at the galaxy: from the survey, or from the metadata?

Survey: noise level, background and noise correlation measured beyond r = 28 px, and pixel scale,
which must be one. Metadata: PSF, depth, extinction; and the brick, by the label mean of its other
hosts. A ridge-logistic fit on these and their squares, cross-validated by host; refused (exit 11)
if the lower end of the AUC's 95 % interval lies above the protocol's limit. Cannot see a shortcut
inside the galaxy: the core gates can.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lensjax import schema
from lensjax.checks.measure import OUTSKIRTS_COLUMNS, Measured
from lensjax.checks.result import Outcome
from lensjax.checks.rows import Rows
from lensjax.data.stampset import Finding
from lensjax.gates.logistic import Design, fit, host_folds, widened
from lensjax.gates.shortcuts import mean_of_other_half
from lensjax.gates.statistics import Estimate, auroc, auroc_interval
from lensjax.schema import ExitCode

FOLDS = 5
FEATURE_CLIP = 5.0  # standard deviations
RIDGE_C = 1.0  # inverse L2 strength, on standardised features
MAX_STAMPS = 40_000
MAX_BRICKS = 2_000
SAME_SCALE = 0.01  # of pixel scales: 0.262 and 0.2624 are one survey's
NO_WIDTH = 1e-9  # of an interval
_SEED = 42


def check_survey_shortcut(
    rows: Rows, measured: Measured, *, limit: float, minimum_hosts: int
) -> Outcome:
    """ERROR (exit 11) if the label can be told from the stamps' outskirts and pixel scale, or if
    stamps of several pixel scales are mixed."""
    mixed = _mixed_scales(rows)
    scale = rows.numbers["pixel_scale_arcsec"].astype(np.float64)
    names = (*OUTSKIRTS_COLUMNS, "pixel_scale_arcsec")
    mine, told = _sample(rows)
    features = np.concatenate(
        [measured.outskirts[mine].astype(np.float64), scale[mine, None]], axis=1
    )
    outcome = _check("survey_shortcut", rows.keep(mine), features, names, limit, minimum_hosts)
    return replace(outcome, findings=(*outcome.findings, *mixed), counts=outcome.counts | told)


def check_metadata_shortcut(rows: Rows, *, limit: float, minimum_hosts: int) -> Outcome:
    """ERROR (exit 11) if the label can be told from PSF, depth and extinction, or from bricks."""
    mine, told = _sample(rows)
    rows = rows.keep(mine)
    names = schema.METADATA
    features = np.stack([rows.numbers[name].astype(np.float64) for name in names], axis=1)
    outcome = _check("metadata_shortcut", rows, features, names, limit, minimum_hosts)
    by_brick, counts = _brick(rows, limit, minimum_hosts)
    return replace(
        outcome,
        findings=(*outcome.findings, *by_brick),
        counts=outcome.counts | counts | told,
    )


def _sample(rows: Rows) -> tuple[np.ndarray, dict[str, int]]:
    """bool [n]: all stamps, or those of as many bricks, drawn by seed, as hold MAX_STAMPS: the AUC
    of 40,000 is known to 0.005, and the cost of the interval grows with bricks times bricks."""
    n, bricks = len(rows), len(rows.bricks)
    if n <= MAX_STAMPS and bricks <= MAX_BRICKS:
        return np.ones(n, bool), {"stamps": n}
    order = np.random.default_rng(_SEED).permutation(bricks)
    sizes = np.bincount(rows.brick, minlength=bricks)[order]
    chosen = order[:MAX_BRICKS][np.cumsum(sizes)[:MAX_BRICKS] <= MAX_STAMPS]
    mine = np.isin(rows.brick, chosen if len(chosen) else order[:1])
    return mine, {"stamps": int(mine.sum()), "of_stamps": n}


def _mixed_scales(rows: Rows) -> list[Finding]:
    scale = rows.numbers["pixel_scale_arcsec"]
    if not len(scale) or scale.max() <= scale.min() * (1 + SAME_SCALE):
        return []
    low, high = int(scale.argmin()), int(scale.argmax())
    cause = (
        f"stamps of {scale[low]:.4g} and of {scale[high]:.4g} arcsec a pixel are mixed, as in a "
        "mixture of surveys"
    )
    where = f"{rows.where(low)} and {rows.where(high)}"
    return [Finding("survey_shortcut", "ERROR", cause, where, ExitCode.LEAK)]


def _brick(rows: Rows, limit: float, minimum_hosts: int) -> tuple[list[Finding], dict]:
    """Can the label be told from the brick, within a split? (Splits may hold more or less of a
    class: that is no shortcut, and other checks ask.) Hosts are halved at random; a stamp's score
    is the label mean of its brick in the other half."""
    findings, aucs, intervals = [], {}, {}
    for name in schema.SPLITS:
        found = _brick_interval(rows.keep(rows.of_split(name)), minimum_hosts)
        if found is None:
            continue
        auc, low, high = found.value, found.low, found.high
        aucs[name], intervals[name] = round(auc, 4), [round(low, 4), round(high, 4)]
        if low > limit:
            cause = (
                f"the label can be told from the brick alone: AUC {auc:.3f} [{low:.3f}, "
                f"{high:.3f}], lower end above {limit:.2f}"
            )
            where = f"{name}/"
            findings.append(Finding("metadata_shortcut", "ERROR", cause, where, ExitCode.LEAK))
    return findings, {"brick_auc": aucs, "brick_ci": intervals}


def _brick_interval(rows: Rows, minimum_hosts: int) -> Estimate | None:
    """The AUC of the bricks of one split; None for too few hosts of either class (at least two), a
    single brick, or scores that are all the same."""
    label = (rows.label == 1).astype(np.int64)
    hosts = [len(np.unique(rows.host[label == k])) for k in (0, 1)]
    names, brick = np.unique(rows.brick, return_inverse=True)
    if min(hosts) < max(minimum_hosts, 2) or len(names) < 2:
        return None
    half = np.random.default_rng(_SEED).integers(0, 2, int(rows.host.max()) + 1)[rows.host]
    scores = mean_of_other_half(label, brick.reshape(-1), half)
    if np.ptp(scores) < NO_WIDTH:
        return None
    return auroc_interval(scores, label, rows.brick, seed=_SEED)


def _check(
    check: str,
    rows: Rows,
    features: np.ndarray,
    names: tuple[str, ...],
    limit: float,
    minimum_hosts: int,
) -> Outcome:
    """NOT PROVEN with fewer than `minimum_hosts` (at least two) hosts of either class, and for
    features that are constant, everywhere or within the pairs that are all there is: the AUC is
    then 0.5 by construction."""
    label = (rows.label == 1).astype(np.int64)
    hosts = {name: len(np.unique(rows.host[label == k])) for name, k in _CLASSES.items()}
    few = [f"{k} {name} hosts" for name, k in hosts.items() if k < max(minimum_hosts, 2)]
    if few:
        return Outcome("", counts=dict(hosts), not_proven=f"Too few rows: {', '.join(few)}.")
    if Design.of(widened(features, features[:0], FEATURE_CLIP)[0], FEATURE_CLIP).width == 0:
        return Outcome("", counts=dict(hosts), not_proven="The features are constant.")
    if _constant_within_pairs(rows, features):
        told = "Both members of every pair carry the same values."
        return Outcome("", counts=dict(hosts), not_proven=told)
    scores = cross_validated_scores(features, label, rows.host)
    interval = auroc_interval(scores, label, rows.brick, seed=_SEED)
    auc, low, high = interval.value, interval.low, interval.high
    counts = {**hosts, "auc": round(auc, 4), "ci": [round(low, 4), round(high, 4)]}
    message = f"AUC {auc:.3f} [{low:.3f}, {high:.3f}], by host; limit {limit:.2f}."
    if low <= limit:
        told = "" if high - low > NO_WIDTH else "The interval has no width: the bricks are alike."
        return Outcome(message, counts=counts, not_proven=told)
    counts["strongest"] = strongest = _strongest(features, label, names)
    cause = (
        f"{_CAUSES[check]}: AUC {auc:.3f} [{low:.3f}, {high:.3f}], lower end above {limit:.2f}; "
        f"most by {', '.join(strongest)}"
    )
    return Outcome(message, (Finding(check, "ERROR", cause, "", ExitCode.LEAK),), counts)


def _constant_within_pairs(rows: Rows, features: np.ndarray) -> bool:
    """Is every row one of a pair of both labels that has the same features [n, m] twice (NaN: both
    unknown)?"""
    order = np.lexsort((rows.label, rows.pair))
    if len(order) % 2:
        return False
    first, second = order[0::2], order[1::2]
    if (rows.pair[first] != rows.pair[second]).any():
        return False
    if (rows.label[first] == rows.label[second]).any():
        return False
    return bool(np.array_equal(features[first], features[second], equal_nan=True))


_CLASSES = {"positive": 1, "negative": 0}
_CAUSES = {
    "survey_shortcut": "the label can be told from sky noise, PSF and pixel scale alone, as in a "
    "mixture of surveys",
    "metadata_shortcut": "the label can be told from psf, depth and ebv alone",
}


def cross_validated_scores(features: np.ndarray, label: np.ndarray, host: np.ndarray) -> np.ndarray:
    """Out-of-fold log-odds, float64 [n], of `features` [n, m] (NaN: unknown), `label` [n] of 0 and
    1: each host wholly in one of 5 folds, whose rows decide nothing of what scores them."""
    fold = host_folds(host, label, FOLDS, np.random.default_rng(_SEED))
    scores = np.zeros(len(label))
    for k in range(FOLDS):
        out = fold == k
        fitted, held = widened(features[~out], features[out], FEATURE_CLIP)
        design = Design.of(fitted, FEATURE_CLIP)
        found = fit(design, label[~out][:, None], [RIDGE_C])
        scores[out] = design.apply(held) @ found.weights[:, 0] + found.intercepts[0]
    return scores


def _strongest(features: np.ndarray, label: np.ndarray, names: tuple[str, ...]) -> list[str]:
    """The three features that tell the label best on their own, with their AUC either way."""
    found = []
    for name, column in zip(names, features.T, strict=True):
        known = np.isfinite(column)
        if len(np.unique(label[known])) == 2:
            auc = auroc(column[known], label[known])
            found.append((max(auc, 1.0 - auc), name))
    return [f"{name} ({auc:.3f})" for auc, name in sorted(found, reverse=True)[:3]]
