"""Intervals of what is made of sums over rows (a rate, an error, a share), by resampling bricks.

AUROCs have a better one (lensjax.gates.statistics). Here the statistic is computed anew on every
resample of whole bricks, and the ends are percentiles, taken further out than the nominal ones as
Student's t is than the normal: plain percentiles are too narrow for few bricks (Hesterberg 2015,
American Statistician 69, 371).

    totals = brick_sums(np.stack([error, np.ones(n)], axis=1), brick, n_bricks)
    of_sums(totals, lambda sums: sums[:, 0] / sums[:, 1], 0.95, 2000, seed)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from lensjax.gates.statistics import Estimate, brick_counts

# Statistic of sums over rows: [r, k] -> [r]; NaN where a resample has none.
OfSums = Callable[[np.ndarray], np.ndarray]


def brick_sums(values: np.ndarray, brick: np.ndarray, n_bricks: int) -> np.ndarray:
    """Sums of each column over each brick's rows: [n, k], brick [n] of 0 .. n_bricks - 1 ->
    float64 [n_bricks, k]."""
    columns = [np.bincount(brick, column, n_bricks) for column in values.T]
    return np.stack(columns, axis=1) if columns else np.zeros((n_bricks, 0))


def of_sums(
    totals: np.ndarray, statistic: OfSums, confidence: float, resamples: int, seed: int
) -> Estimate:
    """The statistic of the sums of all bricks, with its interval. totals: [n_bricks, k]."""
    with np.errstate(divide="ignore", invalid="ignore"):
        (value,) = statistic(totals.sum(axis=0, keepdims=True))
        drawn = statistic(brick_counts(len(totals), resamples, seed) @ totals)
    return Estimate(float(value), *ends(drawn, float(value), confidence, len(totals)))


def ends(drawn: np.ndarray, value: float, confidence: float, n_bricks: int) -> tuple[float, float]:
    """Ends of the interval from resampled values [r], which hold `value` between them. One brick,
    or a statistic that half of the resamples do not have, gives NaN."""
    drawn = drawn[np.isfinite(drawn)]
    if n_bricks < 2 or len(drawn) < 2 or not np.isfinite(value):
        return np.nan, np.nan
    tail = (1.0 - confidence) / 2
    further = norm.cdf(student.ppf(tail, n_bricks - 1) * np.sqrt(n_bricks / (n_bricks - 1)))
    low, high = np.quantile(drawn, (further, 1.0 - further)).tolist()
    return min(low, value), max(high, value)
