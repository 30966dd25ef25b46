"""AUROC, and intervals of everything made of AUROCs, by resampling bricks.

Rows of one brick share sky and seeing, so whole bricks are resampled. Of every score only one
table is needed: how often a positive of brick a outranks a negative of brick b. From it the AUROC
of any resample, and its influence-function standard error, are exact sums, so that a studentised
bootstrap of thousands of resamples takes a fraction of a second.

Not rates (lensjax.gates.rates) and no verdicts.

    estimate = auroc_interval(scores, labels, bricks, confidence=0.95, resamples=2000, seed=1)
    estimate.value, estimate.low, estimate.high
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy.special import expit, logit
from scipy.stats import beta, rankdata

# Above this many, bricks are pooled at random and the pools resampled: as honest (rows of one brick
# stay together), nearly as narrow, and its cost, which grows with the square, stays seconds.
MOST_CLUSTERS = 500
_FEW = 5  # bricks; an AUROC that hangs on fewer is as good as a perfect one


class StatisticsError(ValueError):
    """The input has no such statistic: one class, a NaN, no rows. Its text names the cause."""


@dataclass(frozen=True)
class Estimate:
    """A value with its two-sided interval; `note` says what is special about the interval."""

    value: float
    low: float
    high: float
    note: str = ""


def auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve: P(positive scores above negative), ties counted half (mid-ranks).

    Args:
        scores: [n], any real dtype, finite.
        labels: [n], 1 for positives, 0 for negatives.

    Raises:
        StatisticsError: for one class only, or a score that is not finite. Never 0.5 instead.
    """
    scores, positive = checked(scores, labels)
    n_pos = int(positive.sum())
    n_neg = len(positive) - n_pos
    ranks = rankdata(scores)[positive].sum() - n_pos * (n_pos + 1) / 2
    return float(ranks / (n_pos * n_neg))


def checked(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores as float64 (-0.0 as 0.0) and which rows are positive; raises as `auroc` does."""
    scores = np.asarray(scores).astype(np.float64) + 0.0
    labels = np.asarray(labels)
    if scores.shape != labels.shape or scores.ndim != 1:
        raise StatisticsError(f"{scores.shape} scores for {labels.shape} labels")
    positive = labels == 1
    n_pos, n_neg = int(positive.sum()), int((labels == 0).sum())
    if n_pos + n_neg != len(labels):
        raise StatisticsError("labels other than 0 and 1")
    if n_pos == 0 or n_neg == 0:
        raise StatisticsError(f"one class only: {n_pos} positives, {n_neg} negatives")
    bad = int((~np.isfinite(scores)).sum())
    if bad:
        raise StatisticsError(f"{bad} of {len(scores)} scores are not finite")
    return scores, positive


@dataclass(frozen=True)
class Clusters:
    """Rows by class and brick: what resampling needs to know of them, for any score."""

    labels: np.ndarray  # [n], 0 or 1
    brick: np.ndarray  # [n], 0 .. n_bricks - 1
    n_bricks: int

    @classmethod
    def of(cls, labels: np.ndarray, bricks: np.ndarray) -> Clusters:
        """labels: [n], 0 or 1; bricks: [n], names or numbers."""
        names, brick = np.unique(bricks, return_inverse=True)
        return cls(np.asarray(labels), brick.reshape(-1), len(names))

    @cached_property
    def n_pos(self) -> np.ndarray:
        """Positives in each brick, float64 [n_bricks]."""
        return np.bincount(self.brick[self.labels == 1], minlength=self.n_bricks).astype(float)

    @cached_property
    def n_neg(self) -> np.ndarray:
        """Negatives in each brick, float64 [n_bricks]."""
        return np.bincount(self.brick[self.labels == 0], minlength=self.n_bricks).astype(float)

    @property
    def trials(self) -> int:
        """Bricks that hold the rarer class: independent chances of a discordant pair, at least."""
        return int(min((self.n_pos > 0).sum(), (self.n_neg > 0).sum()))

    def concordance(self, scores: np.ndarray) -> np.ndarray:
        """float64 [n_bricks, n_bricks]: pairs of a positive of brick a and a negative of brick b
        in which the positive scores higher, ties counted half. Raises StatisticsError."""
        scores, positive = checked(scores, self.labels)
        order = np.argsort(scores[positive], kind="stable")
        lens, home = scores[positive][order], self.brick[positive][order]
        table = np.empty((self.n_bricks, self.n_bricks))
        others = np.argsort(self.brick[~positive], kind="stable")
        negatives = np.split(scores[~positive][others], np.cumsum(self.n_neg[:-1]).astype(int))
        for b, below in enumerate(negatives):
            below = np.sort(below)
            wins = np.searchsorted(below, lens, "left") + np.searchsorted(below, lens, "right")
            table[:, b] = np.bincount(home, 0.5 * wins, self.n_bricks)
        return table


def pools(n_bricks: int, seed: int) -> np.ndarray:
    """The number of every brick's cluster, int64 [n_bricks]: its own, or where there are more than
    MOST_CLUSTERS that of the pool it was dealt to."""
    number = np.arange(n_bricks)
    if n_bricks > MOST_CLUSTERS:
        number = np.random.default_rng(seed).permutation(number) % MOST_CLUSTERS
    return number


Sample = tuple[Clusters, np.ndarray]  # rows, and the concordance of one score on them

# A statistic of k AUROCs and its gradient: [r, k] -> ([r], [r, k]), and the scale on which its
# interval is made: "logit" for what lives in (0, 1), "linear" for differences.
Statistic = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def single(aucs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The AUROC itself."""
    return aucs[:, 0], np.ones_like(aucs)


def difference(aucs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First less second."""
    return aucs[:, 0] - aucs[:, 1], np.tile([1.0, -1.0], (len(aucs), 1))


def relative_drop(aucs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(first - second) / first."""
    first = np.maximum(aucs[:, 0], 1e-12)
    return 1.0 - aucs[:, 1] / first, np.stack([aucs[:, 1] / first**2, -1.0 / first], axis=1)


def auroc_interval(
    scores: np.ndarray,
    labels: np.ndarray,
    bricks: np.ndarray,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """AUROC and its two-sided interval: studentised bootstrap of bricks on the logit scale.

    At perfect separation the interval is exact (`exact_ends`), never of no width. More than
    MOST_CLUSTERS bricks are pooled.

    Raises:
        StatisticsError: as `auroc`.
    """
    names, brick = np.unique(bricks, return_inverse=True)
    clusters = Clusters.of(labels, pools(len(names), seed)[brick.reshape(-1)])
    samples = [(clusters, clusters.concordance(scores))]
    return interval(samples, single, confidence=confidence, resamples=resamples, seed=seed)


def interval(
    samples: Sequence[Sample],
    statistic: Statistic,
    *,
    confidence: float,
    resamples: int,
    seed: int,
) -> Estimate:
    """The statistic of the AUROCs of `samples`, with its interval by resampling bricks.

    Studentised (bootstrap-t): each resample has its own cluster standard error, from the influence
    of every brick (DeLong 1988; Obuchowski 1997, Biometrics 53, 567). An AUROC is treated on the
    logit scale, with equal tails; a difference or ratio on its own, with symmetric ends, as equal
    tails held 92 % where positives are few. Where fewer than five bricks hold a discordant
    pair, as at perfect separation, the interval reaches at least to the exact one (`exact_ends`).
    All samples must number the same bricks alike.
    """
    alpha, on_logit = 1.0 - confidence, statistic is single
    n_bricks = samples[0][0].n_bricks
    with np.errstate(divide="ignore", invalid="ignore"):
        (value,), (error,) = _resample(samples, statistic, np.ones((1, n_bricks)))
    exact = [exact_ends(*sample, alpha) for sample in samples]
    if not on_logit and np.isfinite(exact).any():
        parts = [
            interval([sample], single, confidence=confidence, resamples=resamples, seed=seed)
            for sample in samples
        ]
        return _bounded(Estimate(float(value), *_corners(statistic, parts), "from exact intervals"))
    if error > 0.0:
        low, high = _bootstrap_t(samples, statistic, alpha, resamples, seed, value, error)
        note = ""
    else:
        low = high = float(value)
        note = "the bricks do not differ"
    if on_logit:
        (exact_low, exact_high), note = exact[0], note if error > 0 else _tied(*samples[0])
        low, high = float(np.fmin(low, exact_low)), float(np.fmax(high, exact_high))
        if np.isfinite(exact[0]).any():
            note = "exact interval: few bricks are discordant"
        return Estimate(float(value), low, high, note)
    return _bounded(Estimate(float(value), low, high, note))


def _bounded(found: Estimate) -> Estimate:
    """A difference of AUROCs lies within -1 and 1, and so does a relative drop from at least 0.5.
    The drop from an AUROC that may be near 0 has no bound below; there its interval ends at -1, or
    at the value itself, and says so: so low an end decides nothing, but is no number to read."""
    low, high = max(found.low, min(-1.0, found.value)), min(found.high, max(1.0, found.value))
    if (low, high) == (found.low, found.high):
        return found
    notes = filter(None, (found.note, "an end lies beyond what is shown"))
    return Estimate(found.value, low, high, "; ".join(notes))


def exact_ends(clusters: Clusters, table: np.ndarray, alpha: float) -> tuple[float, float]:
    """Clopper-Pearson ends of an AUROC that few bricks hold away from 1 (low) or from 0 (high);
    NaN for an end that needs none.

    A brick is a trial, and fails if any pair in it is discordant; of m trials d fail. P(no failure
    in m disjoint pairs) = AUROC^m, so at perfect separation the lower end is (alpha/2)^(1/m).
    """
    m = clusters.trials
    lost = np.outer(clusters.n_pos, clusters.n_neg) - table > 0
    failed, won = _bricks_in(lost), _bricks_in(table > 0)
    low = high = np.nan
    if failed < _FEW:
        low = beta.ppf(alpha / 2, m - failed, failed + 1) if failed < m else 0.0
    if won < _FEW:
        high = beta.ppf(1.0 - alpha / 2, won + 1, m - won) if won < m else 1.0
    return float(low), float(high)


def _bricks_in(pairs: np.ndarray) -> int:
    return int(min(pairs.any(axis=0).sum(), pairs.any(axis=1).sum()))


def _corners(statistic: Statistic, parts: Sequence[Estimate]) -> tuple[float, float]:
    """Ends of a statistic when each AUROC is at that end of its own interval that takes it
    furthest."""
    value, low, high = (
        np.array([[getattr(each, end) for each in parts]]) for end in ("value", "low", "high")
    )
    rises = statistic(value)[1] >= 0.0
    furthest = np.concatenate([np.where(rises, low, high), np.where(rises, high, low)])
    low, high = statistic(furthest)[0].tolist()
    return low, high


def _tied(clusters: Clusters, table: np.ndarray) -> str:
    """Why an AUROC has no spread over bricks."""
    even = 0.5 * np.outer(clusters.n_pos, clusters.n_neg)
    if np.array_equal(table + table.T, even + even.T):
        return "0.5 by construction: both classes of every brick score alike"
    return "the bricks do not differ"


def _bootstrap_t(
    samples: Sequence[Sample],
    statistic: Statistic,
    alpha: float,
    resamples: int,
    seed: int,
    value: float,
    error: float,
) -> tuple[float, float]:
    weights = brick_counts(samples[0][0].n_bricks, resamples, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        values, errors = _resample(samples, statistic, weights)
        if statistic is not single:
            ends = symmetric(value, error, values, errors, alpha)
            return ends if np.isfinite(ends).all() else (-1.0, 1.0)
        errors, error = errors / (values * (1.0 - values)), error / (value * (1.0 - value))
        ends = studentised(logit(value), error, logit(values), errors, alpha)
    low, high = expit(np.array(ends)).tolist()
    return low, high


@lru_cache(maxsize=2)
def brick_counts(n_bricks: int, resamples: int, seed: int) -> np.ndarray:
    """How often each resample draws each brick: float64 [resamples, n_bricks], not to be written
    to, as it is kept."""
    rng = np.random.default_rng(seed)
    even = np.full(n_bricks, 1.0 / n_bricks)
    counts = rng.multinomial(n_bricks, even, size=resamples).astype(float)
    counts.flags.writeable = False
    return counts


def studentised(
    value: float, error: float, values: np.ndarray, errors: np.ndarray, alpha: float
) -> tuple[float, float]:
    """Ends of an interval from resampled values and standard errors, [r] each (bootstrap-t, equal
    tails); minus and plus infinity where fewer than half of the resamples have both."""
    pulls = _pulls(value, values, errors)
    if len(pulls) < len(values) // 2:
        return -np.inf, np.inf
    low, high = np.quantile(pulls, (alpha / 2, 1.0 - alpha / 2))
    return float(value - high * error), float(value - low * error)


def symmetric(
    value: float, error: float, values: np.ndarray, errors: np.ndarray, alpha: float
) -> tuple[float, float]:
    """The same with ends as far below as above (Hall 1988, JRSS B 50, 35)."""
    pulls = np.abs(_pulls(value, values, errors))
    if len(pulls) < len(values) // 2:
        return -np.inf, np.inf
    half = float(np.quantile(pulls, 1.0 - alpha)) * error
    return float(value - half), float(value + half)


def _pulls(value: float, values: np.ndarray, errors: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        pulls = (values - value) / errors
    return pulls[np.isfinite(pulls)]


def _resample(
    samples: Sequence[Sample], statistic: Statistic, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The statistic and its standard error, [r] each, for brick counts `weights` [r, n_bricks];
    NaN where a class is absent."""
    values, influences = influence(samples, statistic, weights)
    return values, standard_errors(values, influences, weights)


def influence(
    samples: Sequence[Sample], statistic: Statistic, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The statistic [r] for brick counts `weights` [r, n_bricks], and what each brick adds to its
    error [r, n_bricks]; NaN where a class is absent."""
    aucs, influences = [], []
    for clusters, table in samples:
        lens, others = weights @ clusters.n_pos, weights @ clusters.n_neg
        won, lost = weights @ table.T, weights @ table
        auc = (weights * won).sum(1) / (lens * others)
        expected = np.outer(auc * others, clusters.n_pos) + np.outer(auc * lens, clusters.n_neg)
        aucs.append(auc)
        influences.append((won + lost - expected) / (lens * others)[:, None])
    values, gradient = statistic(np.stack(aucs, axis=1))
    total = np.zeros_like(weights)
    for slope, each in zip(gradient.T, influences, strict=True):
        total = total + slope[:, None] * each
    return values, total


def standard_errors(values: np.ndarray, influences: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of what `influence` gives: [r]."""
    n_bricks = weights.shape[1]
    variance = (weights * influences**2).sum(1) * n_bricks / max(n_bricks - 1, 1)
    floor = 1e-12 * np.maximum(np.abs(values), 1.0)  # rounding of sums that are exactly zero
    return np.where(np.sqrt(variance) > floor, np.sqrt(variance), 0.0)
