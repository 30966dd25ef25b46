"""Can the label be told without looking at the galaxy: from the survey, or from the metadata?

Survey: noise level, background and noise correlation measured beyond r = 28 px, and pixel scale.
Metadata: PSF, depth, extinction. A ridge-logistic fit on these and their squares, cross-validated
by host; refused (exit 11) if the lower end of the AUC's 95 % interval lies above the protocol's
limit. Cannot see a shortcut inside the galaxy: the core gates can.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit
from scipy.stats import rankdata, t
from sklearn.linear_model import LogisticRegression

from lensjax.checks.measure import OUTSKIRTS_COLUMNS, Measured
from lensjax.checks.result import Outcome
from lensjax.checks.rows import Rows, codes
from lensjax.data.stampset import Finding
from lensjax.schema import ExitCode

FOLDS = 5
METADATA = ("psf_fwhm_arcsec", "psf_depth", "ebv")
FEATURE_CLIP = 5.0  # standard deviations
RIDGE_C = 1.0  # scikit-learn's inverse L2 strength, on standardised features
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
    features = np.stack([rows.table[name].astype(np.float64) for name in METADATA], axis=1)
    return _check("metadata_shortcut", rows, features, METADATA, limit, minimum_hosts)


def _check(
    check: str,
    rows: Rows,
    features: np.ndarray,
    names: tuple[str, ...],
    limit: float,
    minimum_hosts: int,
) -> Outcome:
    """NOT PROVEN with fewer than `minimum_hosts` hosts of either class, or constant features."""
    label = (rows.table["label"] == 1).astype(np.int64)
    hosts = {name: len(np.unique(rows.host[label == k])) for name, k in _CLASSES.items()}
    few = [f"{k} {name} hosts" for name, k in hosts.items() if k < minimum_hosts]
    if few:
        return Outcome("", counts=dict(hosts), not_proven=f"Too few rows: {', '.join(few)}.")
    design = prepare_features(features)
    if design.shape[1] == 0:
        return Outcome("", counts=dict(hosts), not_proven="The features are constant.")
    scores = cross_validated_scores(design, label, rows.host)
    auc, low, high = auc_interval(scores, label, codes(rows.table["brick"]))
    counts = {**hosts, "auc": round(auc, 4), "ci": [round(low, 4), round(high, 4)]}
    message = f"AUC {auc:.3f} [{low:.3f}, {high:.3f}], by host; limit {limit:.2f}."
    if low <= limit:
        return Outcome(message, counts=counts)
    counts["strongest"] = strongest = _strongest(features, label, names)
    cause = (
        f"{_CAUSES[check]}: AUC {auc:.3f} [{low:.3f}, {high:.3f}], lower end above {limit:.2f}; "
        f"most by {', '.join(strongest)}"
    )
    return Outcome(message, (Finding(check, "ERROR", cause, "", ExitCode.LEAK),), counts)


_CLASSES = {"positive": 1, "negative": 0}
_CAUSES = {
    "survey_shortcut": "the label can be told from sky noise, PSF and pixel scale alone, as in a "
    "mixture of surveys",
    "metadata_shortcut": "the label can be told from psf, depth and ebv alone",
}


def prepare_features(features: np.ndarray) -> np.ndarray:
    """Standardised, clipped features, their squares, and an indicator for each feature that is
    unknown (NaN) in some rows: float64 [n, k] of float64 [n, m]; constant columns are dropped."""
    unknown = ~np.isfinite(features)
    indicators = unknown[:, unknown.any(axis=0) & ~unknown.all(axis=0)].astype(np.float64)
    kept = features[:, ~unknown.all(axis=0)]
    middle = np.nanmedian(np.where(np.isfinite(kept), kept, np.nan), axis=0, keepdims=True)
    linear = _standardise(np.where(np.isfinite(kept), kept, middle))
    return np.concatenate([linear, _standardise(linear**2), _standardise(indicators)], axis=1)


def _standardise(columns: np.ndarray) -> np.ndarray:
    spread = columns.std(axis=0)
    varies = spread > 1e-9 * np.maximum(np.abs(columns).max(axis=0, initial=0.0), 1e-30)
    columns = (columns - columns.mean(axis=0))[:, varies] / spread[varies]
    return np.clip(columns, -FEATURE_CLIP, FEATURE_CLIP)


def cross_validated_scores(design: np.ndarray, label: np.ndarray, host: np.ndarray) -> np.ndarray:
    """Out-of-fold log-odds, float64 [n]: each host wholly in one of 5 folds, hosts dealt to the
    folds in the order of their mean label, so that every fold has both classes."""
    n_hosts = int(host.max()) + 1
    share = np.bincount(host, label, n_hosts) / np.maximum(np.bincount(host, minlength=n_hosts), 1)
    shuffled = np.random.default_rng(_SEED).permutation(n_hosts)
    order = shuffled[np.argsort(share[shuffled], kind="stable")]
    fold_of_host = np.empty(n_hosts, np.int64)
    fold_of_host[order] = np.arange(n_hosts) % FOLDS
    fold, scores = fold_of_host[host], np.zeros(len(label))
    for k in range(FOLDS):
        fit = LogisticRegression(C=RIDGE_C, max_iter=500).fit(design[fold != k], label[fold != k])
        scores[fold == k] = fit.decision_function(design[fold == k])
    return scores


def _strongest(features: np.ndarray, label: np.ndarray, names: tuple[str, ...]) -> list[str]:
    """The three features that tell the label best on their own, with their AUC either way."""
    found = []
    for name, column in zip(names, features.T, strict=True):
        known = np.isfinite(column)
        positive = label[known] == 1
        n_pos, n_neg = int(positive.sum()), int((~positive).sum())
        if n_pos and n_neg:
            ranks = rankdata(column[known])[positive].sum() - n_pos * (n_pos + 1) / 2
            auc = ranks / (n_pos * n_neg)
            found.append((max(auc, 1.0 - auc), name))
    return [f"{name} ({auc:.3f})" for auc, name in sorted(found, reverse=True)[:3]]


def auc_interval(
    scores: np.ndarray, label: np.ndarray, cluster: np.ndarray
) -> tuple[float, float, float]:
    """AUROC and its 95 % interval, clusters (bricks) resampled whole: cluster DeLong on the logit
    scale with t quantiles (Obuchowski 1997, Biometrics 53, 567)."""
    positive = label == 1
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    ranks = rankdata(scores)
    within = np.where(positive, 0.0, 0.0)
    within[positive] = rankdata(scores[positive])
    within[~positive] = rankdata(scores[~positive])
    place = np.where(positive, (ranks - within) / n_neg, 1.0 - (ranks - within) / n_pos)
    auc = float(place[positive].mean())
    number = int(cluster.max()) + 1
    deviation = np.where(positive, (place - auc) / n_pos, (place - auc) / n_neg)
    variance = float((np.bincount(cluster, deviation, number) ** 2).sum()) * number / (number - 1)
    few = max(min(len(np.unique(cluster[positive])), len(np.unique(cluster[~positive]))), 2)
    if variance <= 0.0 and 0.0 < auc < 1.0:  # all ties lie within bricks, as of paired twins
        return auc, auc, auc
    if not 0.0 < auc < 1.0:  # perfect separation: an exact bound
        bound = 0.025 ** (1.0 / few)
        return (auc, bound, 1.0) if auc > 0.5 else (auc, 0.0, 1.0 - bound)
    half = t.ppf(0.975, few - 1) * np.sqrt(variance) / (auc * (1.0 - auc))
    low, high = expit(logit(auc) - half), expit(logit(auc) + half)
    return auc, float(low), float(high)
