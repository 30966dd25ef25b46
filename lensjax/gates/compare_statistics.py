"""Means over seeds, and differences, on brick resamples that all runs share.

Every number of a run comes with what it is on the same resamples of the same bricks, so that a
difference is paired stamp by stamp. Two intervals: over bricks (these trained models, other sky),
and over bricks and seeds (the method: other sky and other seeds).

    weights = shared_resamples(n_bricks=103, count=2000, seed=1)
    a, b = mean([resample_auroc(...), resample_auroc(...)]), mean([...])
    error, low, high = over_bricks(less(a, b), weights)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from lensjax.gates.bootstrap import ends
from lensjax.gates.statistics import (
    Sample,
    Statistic,
    brick_counts,
    exact_ends,
    influence,
    interval,
    standard_errors,
    symmetric,
)

ALPHA = 0.05  # intervals are two-sided, of 95 %


@dataclass(frozen=True)
class Resampled:
    """A number of a run, of an experiment, or a difference, with what resampling makes of it.

    values: [1 + r], on all bricks, then on every resample.
    influences: [1 + r, n_bricks], what each brick adds to the error; None for a number that has
        none, such as a rate at a threshold of its own.
    low, high: the interval of a run's number over bricks; of a mean, the means of the ends.
    exact: few bricks are discordant, the ends are exact ones, and no resample can do better.
    """

    values: np.ndarray
    influences: np.ndarray | None
    low: float
    high: float
    exact: bool = False

    @property
    def value(self) -> float:
        """The number itself."""
        return float(self.values[0])


def shared_resamples(n_bricks: int, count: int, seed: int) -> np.ndarray:
    """How often each brick counts: float64 [1 + count, n_bricks], once each, then as each resample
    draws them."""
    return np.concatenate([np.ones((1, n_bricks)), brick_counts(n_bricks, count, seed)])


def resample_auroc(
    samples: Sequence[Sample], statistic: Statistic, weights: np.ndarray, seed: int
) -> Resampled:
    """A statistic of AUROCs on `weights` of `shared_resamples`, made with the same seed."""
    with np.errstate(divide="ignore", invalid="ignore"):
        values, influences = influence(samples, statistic, weights)
    own = interval(
        samples, statistic, confidence=1.0 - ALPHA, resamples=len(weights) - 1, seed=seed
    )
    exact = any(np.isfinite(exact_ends(*sample, ALPHA)).any() for sample in samples)
    return Resampled(values, influences, own.low, own.high, exact)


def resample_rate(values: np.ndarray, n_bricks: int) -> Resampled:
    """A rate that was measured anew on each resample, [1 + r]; NaN where there is none."""
    return Resampled(values, None, *ends(values[1:], float(values[0]), 1.0 - ALPHA, n_bricks))


def resample_mean(totals: np.ndarray, weights: np.ndarray) -> Resampled:
    """A mean over rows, from each brick's sum and number of rows: [n_bricks, 2]."""
    sums, counts = weights @ totals[:, 0], weights @ totals[:, 1]
    values = sums / counts
    influences = (totals[:, 0] - values[:, None] * totals[:, 1]) / counts[:, None]
    own = ends(values[1:], float(values[0]), 1.0 - ALPHA, len(totals))
    return Resampled(values, influences, *own)


def mean(parts: Sequence[Resampled]) -> Resampled:
    """The mean of numbers of one kind, on the same resamples."""
    known = [each.influences for each in parts if each.influences is not None]
    return Resampled(
        _mean([each.values for each in parts]),
        _mean(known) if len(known) == len(parts) else None,
        float(np.mean([each.low for each in parts])),
        float(np.mean([each.high for each in parts])),
        any(each.exact for each in parts),
    )


def less(a: Resampled, b: Resampled) -> Resampled:
    """a - b, resample by resample. `low` and `high` are as wide as if nothing were shared."""
    influences = None
    if a.influences is not None and b.influences is not None:
        influences = a.influences - b.influences
    low, high = a.low - b.high, a.high - b.low
    return Resampled(a.values - b.values, influences, low, high, a.exact or b.exact)


def over_bricks(of: Resampled, weights: np.ndarray) -> tuple[float, float, float]:
    """Standard error over bricks, and the ends of the interval of a mean or a difference: the
    symmetric bootstrap-t; the ends that are there already where those are exact; [value, value]
    where the bricks do not differ at all, as of runs with the same scores."""
    n_bricks = weights.shape[1]
    if of.influences is None:
        return _spread(of.values), *ends(of.values[1:], of.value, 1.0 - ALPHA, n_bricks)
    errors = standard_errors(of.values, of.influences, weights)
    error = float(errors[0])
    if error == 0.0:
        return 0.0, of.value, of.value
    if of.exact:
        return (of.high - of.low) / (2 * _quantile(n_bricks)), of.low, of.high
    low, high = symmetric(of.value, error, of.values[1:], errors[1:], ALPHA)
    return (error, low, high) if np.isfinite(low) else (error, of.low, of.high)


def over_seeds(
    value: float, error: float, n_bricks: int, seeds: Sequence[Sequence[float]]
) -> tuple[float, float, float]:
    """Ends of the interval over bricks and seeds, and the two-sided p of 0.

    Variances of bricks (`error` squared) and of each mean over seeds add up; the quantile is
    Student's, with Welch and Satterthwaite's degrees of freedom. What seeds do differently in
    different bricks is in both, so that the interval errs on the wide side.

    Args:
        seeds: the numbers of each side's runs, at least two a side.
    """
    parts = [(error**2, max(n_bricks - 1, 1))]
    parts += [(float(np.var(each, ddof=1)) / len(each), len(each) - 1) for each in seeds]
    variance = sum(part for part, _ in parts)
    if variance == 0.0:
        return value, value, 1.0 if value == 0.0 else 0.0
    freedom = variance**2 / sum(part**2 / n for part, n in parts)
    half = float(student.ppf(1.0 - ALPHA / 2, freedom) * np.sqrt(variance))
    p = 2.0 * float(student.sf(abs(value) / np.sqrt(variance), freedom))
    return value - half, value + half, p


def holm(p_values: Sequence[float]) -> list[float]:
    """p values of one family adjusted for their number (Holm 1979, Scand. J. Statist. 6, 65)."""
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min((len(p_values) - rank) * p_values[k], 1.0))
        adjusted[k] = largest
    return adjusted


def _quantile(n_bricks: int) -> float:
    return float(student.ppf(1.0 - ALPHA / 2, max(n_bricks - 1, 1)))


def _spread(values: np.ndarray) -> float:
    """Standard deviation over the resamples that have a value."""
    known = values[1:][np.isfinite(values[1:])]
    return float(known.std(ddof=1)) if len(known) > 1 else 0.0


def _mean(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return sum(arrays[1:], start=arrays[0]) / len(arrays)
