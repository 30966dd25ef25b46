"""Rates and their intervals: Wilson, and true positive rates at the rare end of the ROC curve.

Rows count as independent here, unlike in lensjax.gates.statistics: a rate is read at one threshold
and its interval says so.

    wilson(5, 10).low, true_positives(scores, labels, allowed=0)
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from lensjax.gates.statistics import Estimate, StatisticsError, checked


def wilson(hits: int, n: int, confidence: float = 0.95) -> Estimate:
    """hits / n with its score interval (Wilson 1927, JASA 22, 209). Raises StatisticsError for
    n = 0: an empty cell has no rate."""
    if n <= 0 or not 0 <= hits <= n:
        raise StatisticsError(f"no rate of {hits} in {n}")
    z = float(norm.ppf(0.5 + confidence / 2))
    rate = hits / n
    middle = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    low = 0.0 if hits == 0 else middle - half
    high = 1.0 if hits == n else middle + half
    return Estimate(rate, float(low), float(high))


def true_positives(scores: np.ndarray, labels: np.ndarray, allowed: int) -> int:
    """Positives that score strictly above all negatives but the `allowed` highest ones; a tie with
    a negative is not found. Raises StatisticsError as `statistics.auroc` does."""
    scores, positive = checked(scores, labels)
    negatives = np.sort(scores[~positive])[::-1]
    if allowed >= len(negatives):
        return int(positive.sum())
    return int((scores[positive] > negatives[allowed]).sum())
