"""AUROCs of a hundred features, each with its interval: by DeLong, clustered.

The interval of the verdicts is lensjax.gates.statistics's; this one has no resamples, and rests on
the sums of placement values over bricks (Obuchowski 1997, Biometrics 53, 567), on the logit scale,
with Student's t for the bricks. Lists of many features are its place.

    found = delong(values, labels, brick, n_bricks, confidence=0.95)
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit
from scipy.special import logit as log_odds
from scipy.stats import rankdata
from scipy.stats import t as student

from lensjax.gates.statistics import Estimate, checked


def delong(
    scores: np.ndarray, labels: np.ndarray, brick: np.ndarray, n_bricks: int, confidence: float
) -> Estimate:
    """scores, labels (0, 1), brick (0 .. n_bricks - 1): [n]. Ends are NaN where the bricks do not
    differ, as at perfect separation. Raises StatisticsError as `auroc` does."""
    scores, positive = checked(scores, labels)
    ranks = rankdata(scores)
    n_pos = int(positive.sum())
    n_neg = len(scores) - n_pos
    won = (ranks[positive] - rankdata(scores[positive])) / n_neg  # share of negatives below
    lost = 1.0 - (ranks[~positive] - rankdata(scores[~positive])) / n_pos
    value = float(won.mean())
    part = np.empty(len(scores))
    part[positive], part[~positive] = (won - value) / n_pos, (lost - value) / n_neg
    variance = (np.bincount(brick, part, n_bricks) ** 2).sum() * n_bricks / max(n_bricks - 1, 1)
    spread = value * (1.0 - value)
    if n_bricks < 2 or spread <= 0.0 or np.sqrt(variance) < 1e-12:
        return Estimate(value, np.nan, np.nan)
    half = student.ppf(0.5 + confidence / 2, n_bricks - 1) * np.sqrt(variance) / spread
    low, high = expit(log_odds(value) + np.array([-half, half])).tolist()
    return Estimate(value, low, high)
