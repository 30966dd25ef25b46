"""Can the label be told without looking at the galaxy: from the survey, or from the metadata?

Survey: noise level, background and noise correlation measured beyond r = 28 px, and pixel scale.
Metadata: PSF, depth, extinction. A ridge-logistic fit on these and their squares, cross-validated
by host; refused (exit 11) if the lower end of the AUC's 95 % interval lies above the protocol's
limit. Cannot see a shortcut inside the galaxy: the core gates can.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lensjax import schema
from lensjax.checks.measure import OUTSKIRTS_COLUMNS, Measured
from lensjax.checks.result import Outcome
from lensjax.checks.rows import Rows
from lensjax.data.stampset import Finding
from lensjax.gates.logistic import Design, fit, host_folds, widened
from lensjax.gates.statistics import auroc, auroc_interval
from lensjax.schema import ExitCode

Table = Mapping[str, np.ndarray]

FOLDS = 5
FEATURE_CLIP = 5.0  # standard deviations
RIDGE_C = 1.0  # inverse L2 strength, on standardised features
NO_WIDTH = 1e-9  # of an interval
_SEED = 42


def check_survey_shortcut(
    rows: Rows, measured: Measured, *, limit: float, minimum_hosts: int
) -> Outcome:
    """ERROR (exit 11) if the label can be told from the stamps' outskirts and pixel scale."""
    scale = rows.table["pixel_scale_arcsec"].astype(np.float64)
    features = np.concatenate([measured.outskirts.astype(np.float64), scale[:, None]], axis=1)
    names = (*OUTSKIRTS_COLUMNS, "pixel_scale_arcsec")
    return _check("survey_shortcut", rows, features, names, limit, minimum_hosts)


def check_metadata_shortcut(rows: Rows, *, limit: float, minimum_hosts: int) -> Outcome:
    """ERROR (exit 11) if the label can be told from PSF, depth and extinction."""
    names = schema.METADATA
    features = np.stack([rows.table[name].astype(np.float64) for name in names], axis=1)
    return _check("metadata_shortcut", rows, features, names, limit, minimum_hosts)


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
    label = (rows.table["label"] == 1).astype(np.int64)
    hosts = {name: len(np.unique(rows.host[label == k])) for name, k in _CLASSES.items()}
    few = [f"{k} {name} hosts" for name, k in hosts.items() if k < max(minimum_hosts, 2)]
    if few:
        return Outcome("", counts=dict(hosts), not_proven=f"Too few rows: {', '.join(few)}.")
    if Design.of(widened(features, features[:0], FEATURE_CLIP)[0], FEATURE_CLIP).width == 0:
        return Outcome("", counts=dict(hosts), not_proven="The features are constant.")
    if _constant_within_pairs(rows.table, features):
        told = "Both members of every pair carry the same values."
        return Outcome("", counts=dict(hosts), not_proven=told)
    scores = cross_validated_scores(features, label, rows.host)
    interval = auroc_interval(scores, label, rows.table["brick"], seed=_SEED)
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


def _constant_within_pairs(table: Table, features: np.ndarray) -> bool:
    """Is every row one of a pair of both labels that has the same features [n, m] twice (NaN: both
    unknown)?"""
    order = np.lexsort((table["label"], table["pair_id"]))
    if len(order) % 2:
        return False
    first, second = order[0::2], order[1::2]
    pair, label = table["pair_id"], table["label"]
    if (pair[first] != pair[second]).any() or (label[first] == label[second]).any():
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
