"""Stamps whose numbers are unlike all others': metadata, the sky's noise, and what gives the label.

Not a check: lensjax.checks.labels and .shortcuts judge. Sigmas are robust, 1.4826 MAD from the
median, so that one value cannot hide itself.

    >>> of_labels(rows).notes[0]
    'psf_fwhm_arcsec = 3.1'
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.spatial import KDTree

from lensjax import schema
from lensjax.checks.measure import OUTSKIRTS_COLUMNS, Measured
from lensjax.checks.rows import ARC_NUMBERS, Rows
from lensjax.checks.shortcuts import FOLDS, MAX_STAMPS, NO_WIDTH, cross_validated_scores
from lensjax.checks.sky import ARCSEC_PER_RADIAN, unit_vectors
from lensjax.curate.ranking import Ranking, ranked

NEAREST_HOST = "nearest_host_deg"
COLUMNS = (*ARC_NUMBERS, *schema.METADATA, "pixel_scale_arcsec", NEAREST_HOST)
MAX_SIGMAS = 3.0  # beyond which a value counts no more in the correlation of features
_MEAN_TO_SIGMA = 1.2533  # of a normal distribution, from the mean absolute deviation
_RCOND = 1e-6
_ROUNDING = 1e-6  # of the values, or of the widest deviation: less is no spread
_SEED = 42


class Extreme(NamedTuple):
    """The lowest or the highest value of a column, how many robust sigmas from its median, and the
    row that has it."""

    row: int
    value: float
    sigmas: float


def columns(rows: Rows) -> dict[str, np.ndarray]:
    """float64 [n] by name of COLUMNS; `nearest_host_deg` is the separation from the nearest other
    host, of any split."""
    found = {k: v.astype(np.float64) for k, v in rows.numbers.items() if k in COLUMNS}
    apart = np.full(len(rows), np.nan)
    _, first, inverse = np.unique(rows.host, return_index=True, return_inverse=True)
    ra, dec = rows.numbers["ra"][first], rows.numbers["dec"][first]
    placed = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    if len(placed) > 1:
        alone = np.full(len(first), np.nan)
        alone[placed] = _isolation(unit_vectors(ra[placed], dec[placed]))
        apart = alone[inverse.reshape(-1)]
    return {name: found.get(name, apart) for name in COLUMNS}


def _isolation(vectors: np.ndarray) -> np.ndarray:
    """float64 [n]: degrees from each point to the nearest other."""
    length = KDTree(vectors).query(vectors, k=2)[0][:, 1]
    return 2.0 * np.arcsin(length / 2.0) * ARCSEC_PER_RADIAN / 3600.0


def outskirts(measured: Measured) -> dict[str, np.ndarray]:
    """float64 [n] by name of OUTSKIRTS_COLUMNS."""
    values = measured.outskirts.astype(np.float64)
    return dict(zip(OUTSKIRTS_COLUMNS, values.T, strict=True))


def sigmas(values: np.ndarray) -> np.ndarray:
    """float64 [n]: robust sigmas from the median, NaN where `values` are. Where more than half of
    them are equal, but for rounding, the mean absolute deviation is the scale; where all are, 0."""
    known = values[np.isfinite(values)]
    if not len(known):
        return np.full(len(values), np.nan)
    middle = np.median(known)
    away = values - middle
    size = np.abs(away[np.isfinite(values)])
    if size.max() <= _ROUNDING * abs(middle):
        return away * 0.0
    scale = schema.MAD_TO_SIGMA * np.median(size)
    if scale <= _ROUNDING * max(abs(middle), size.max()):
        scale = _MEAN_TO_SIGMA * size.mean()
    return away / scale if scale > 0 else away


def extremes(table: Mapping[str, np.ndarray]) -> dict[str, tuple[Extreme, Extreme] | None]:
    """The lowest and the highest of each column; None where all are unknown."""
    found: dict[str, tuple[Extreme, Extreme] | None] = {}
    for name, values in table.items():
        if not np.isfinite(values).any():
            found[name] = None
            continue
        away = sigmas(values)
        low, high = int(np.nanargmin(values)), int(np.nanargmax(values))
        found[name] = (
            Extreme(low, float(values[low]), float(away[low])),
            Extreme(high, float(values[high]), float(away[high])),
        )
    return found


def of_labels(rows: Rows) -> Ranking:
    """By the column that is furthest from its median; the note names it."""
    table = columns(rows)
    away = np.abs(np.stack([sigmas(table[name]) for name in COLUMNS], axis=1))
    most = np.where(np.isnan(away), -1.0, away).argmax(axis=1)
    values = np.take_along_axis(away, most[:, None], axis=1)[:, 0]
    notes = [f"{COLUMNS[k]} = {table[COLUMNS[k]][row]:.4g}" for row, k in enumerate(most.tolist())]
    return ranked(
        (
            "labels", "metadata", "Most unusual metadata",
            "robust sigmas from the median, of the column that is furthest",
        ),
        np.arange(len(rows))[:, None], values, rows.host, notes=notes,
    )  # fmt: skip


def of_survey(rows: Rows, measured: Measured) -> tuple[Ranking, Ranking]:
    """By how unlike all others the noise, background and noise correlation beyond r = 28 px are,
    and by how plainly they tell the label."""
    features = measured.outskirts.astype(np.float64)
    away = np.stack([sigmas(column) for column in features.T], axis=1)
    most = np.where(np.isnan(away), -1.0, np.abs(away)).argmax(axis=1)
    worst = np.take_along_axis(away, most[:, None], axis=1)[:, 0]
    notes = [
        f"{OUTSKIRTS_COLUMNS[k]}: {x:+.1f} sigmas"
        for k, x in zip(most.tolist(), worst.tolist(), strict=True)
    ]
    unlike = ranked(
        (
            "survey_shortcut", "outskirts", "Most unusual sky",
            "robust Mahalanobis distance of the outskirts' 12 features; about 3.5 is usual",
        ),
        np.arange(len(rows))[:, None], mahalanobis(away), rows.host, notes=notes,
    )  # fmt: skip
    scale = rows.numbers["pixel_scale_arcsec"].astype(np.float64)
    told = np.concatenate([features, scale[:, None]], axis=1)
    return unlike, _of_score("survey_shortcut", "sky and pixel scale", rows, told)


def mahalanobis(away: np.ndarray) -> np.ndarray:
    """float64 [n]: length of robust sigmas `away` [n, m] in the metric of their correlation, which
    is that of values clipped at MAX_SIGMAS; NaN where one is unknown."""
    known = np.isfinite(away).all(axis=1)
    found = np.full(len(away), np.nan)
    if known.sum() > 1:
        covariance = np.cov(np.clip(away[known], -MAX_SIGMAS, MAX_SIGMAS).T)
        spread = np.sqrt(np.diag(covariance))
        spread[spread == 0] = 1.0
        inverse = np.linalg.pinv(covariance / np.outer(spread, spread), _RCOND, hermitian=True)
        squared = np.einsum("ni,ij,nj->n", away[known], inverse, away[known])
        found[known] = np.sqrt(np.maximum(squared, 0.0))
    return found


def of_metadata_score(rows: Rows) -> Ranking:
    """By how plainly PSF, depth and extinction tell the label."""
    told = np.stack([rows.numbers[name].astype(np.float64) for name in schema.METADATA], axis=1)
    return _of_score("metadata_shortcut", "PSF, depth and extinction", rows, told)


def _of_score(check: str, what: str, rows: Rows, features: np.ndarray) -> Ranking:
    """By the log-odds that `features` [n, m] give to the label that a stamp has, from the fit of
    the shortcut checks to stamps of other hosts; at most MAX_STAMPS stamps, hosts drawn by seed."""
    mine = _sample(rows)
    label, host = (rows.label[mine] == 1).astype(np.int64), rows.host[mine]
    away = np.full(len(rows), np.nan)
    hosts = min(len(np.unique(host[label == k])) for k in (0, 1))
    if hosts >= FOLDS and np.isfinite(features[mine]).any():
        scores = cross_validated_scores(features[mine], label, host)
        if np.ptp(scores) > NO_WIDTH:  # pairs that share their numbers tell nothing
            away[mine] = np.where(label == 1, scores, -scores)
    return ranked(
        (
            check, "score", f"Label given away most by {what}",
            "log-odds of the true label, fitted to other hosts; 0: tells nothing",
        ),
        np.arange(len(rows))[:, None], away, rows.host,
    )  # fmt: skip


def _sample(rows: Rows) -> np.ndarray:
    """int64 [k], rising: all rows, or those of random hosts."""
    if len(rows) <= MAX_STAMPS:
        return np.arange(len(rows))
    size = np.bincount(rows.host)
    drawn = np.random.default_rng(_SEED).permutation(len(size))
    chosen = drawn[np.cumsum(size[drawn]) <= MAX_STAMPS]
    return np.flatnonzero(np.isin(rows.host, chosen))
