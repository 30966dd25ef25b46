"""L2-regularised logistic regression of many labels or strengths at once, fast and deterministic.

The same minimum as scikit-learn's LogisticRegression(C): sum of losses + |w|^2 / (2 C), intercept
free. The Hessian is bounded by that of the first step (Boehning & Lindsay 1988, AISM 40, 641), so
one eigen-decomposition of the Gram matrix serves every strength, every permutation of the labels
and every iteration; its first iteration is the one-step ridge-logistic that permutations use.

    design = Design.of(features, clip=5.0)
    scores = design.apply(others) @ fit(design, labels[:, None], [0.1]).weights

Also what goes with it wherever it is fitted: features with their squares (`widened`), and folds
that keep hosts whole (`host_folds`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

_ITERATIONS = 400
_STILL = 1e-6  # largest step of a converged fit, in units of the log-odds of one feature


@dataclass(frozen=True)
class Design:
    """Standardised features of the rows that are fitted, in the basis of their Gram matrix."""

    kept: np.ndarray  # bool [p], columns that vary
    mean: np.ndarray  # [k]
    spread: np.ndarray  # [k]
    clip: float  # standard deviations
    centre: np.ndarray  # [k], mean after the clip
    basis: np.ndarray  # [k, k]
    power: np.ndarray  # [k], eigenvalues of the Gram matrix
    rows: np.ndarray  # float64 [n, k]

    @classmethod
    def of(cls, features: np.ndarray, clip: float, floor: float = 0.0) -> Design:
        """features: finite float64 [n, p]. Columns that do not vary, or by less than `floor`, are
        left out; it may be that none is left (`width` is then 0)."""
        spread = features.std(axis=0)
        kept = spread > np.maximum(1e-6 * np.abs(features).max(axis=0, initial=0.0), floor)
        mean, spread = features[:, kept].mean(axis=0), spread[kept]
        rows = np.clip((features[:, kept] - mean) / spread, -clip, clip)
        centre = rows.mean(axis=0)
        rows = rows - centre
        power, basis = np.linalg.eigh(rows.T @ rows)
        return cls(kept, mean, spread, clip, centre, basis, np.maximum(power, 0.0), rows @ basis)

    @property
    def width(self) -> int:
        """Number of features that vary."""
        return len(self.mean)

    def apply(self, features: np.ndarray) -> np.ndarray:
        """Other rows [m, p] in the same standardisation and basis: float64 [m, k]."""
        scaled = np.clip((features[:, self.kept] - self.mean) / self.spread, -self.clip, self.clip)
        return (scaled - self.centre) @ self.basis


@dataclass(frozen=True)
class Fit:
    """weights: float64 [k, m], of the design's basis; intercepts: [m]."""

    weights: np.ndarray
    intercepts: np.ndarray


def fit(
    design: Design,
    labels: np.ndarray,
    strengths: Sequence[float] | np.ndarray,
) -> Fit:
    """Fit m models: `labels` [n, m] of 0 and 1 (or [n, 1], shared), `strengths` C, [m] (or [1]).

    Nesterov's acceleration, restarted wherever it points uphill, until all models have come to
    rest.
    """
    penalty = 1.0 / np.asarray(strengths, dtype=float)[None, :]
    labels = np.asarray(labels, dtype=float)
    m = max(labels.shape[1], penalty.shape[1])
    step = 1.0 / (design.power[:, None] / 4 + penalty)
    share = labels.mean(axis=0, keepdims=True)
    intercept = np.broadcast_to(np.log(share / (1 - share)), (1, m)).copy()
    weights = np.zeros((design.width, m))
    ahead, ahead0, momentum = weights, intercept, np.ones((1, m))
    for _ in range(_ITERATIONS):
        residual = labels - expit(design.rows @ ahead + ahead0)
        change = step * (design.rows.T @ residual - penalty * ahead)
        change0 = residual.mean(axis=0, keepdims=True) * 4
        new, new0 = ahead + change, ahead0 + change0
        uphill = (change * (new - weights)).sum(0) + change0 * (new0 - intercept) < 0
        momentum = np.where(uphill, 1.0, momentum)
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        speed = np.where(uphill, 0.0, (momentum - 1) / following)
        ahead, ahead0 = new + speed * (new - weights), new0 + speed * (new0 - intercept)
        weights, intercept, momentum = new, new0, following
        if max(np.abs(change).max(initial=0.0), np.abs(change0).max()) < _STILL:
            break
    return Fit(weights, intercept[0])


def one_step(design: Design, labels: np.ndarray, strength: float) -> np.ndarray:
    """Weights after the first iteration of `fit` on each row of `labels`, [m, n] of 0 and 1:
    float64 [m, k], of the design's basis."""
    centred = labels - labels.mean(axis=1, keepdims=True)
    return centred @ design.rows / (design.power / 4 + 1.0 / strength)


def widened(features: np.ndarray, others: np.ndarray, clip: float) -> tuple[np.ndarray, np.ndarray]:
    """Features of the rows that are fitted [n, p], and of others [m, p], with their squares, and
    indicators of those that are unknown (NaN); unknown values become the median of the fitted rows.
    Standardised on the fitted rows, clipped at `clip` standard deviations. Features that no fitted
    row has are left out: float64 [n, 3 q] and [m, 3 q], q <= p."""
    known = np.isfinite(features)
    some = known.any(axis=0)
    features, others, known = features[:, some], others[:, some], known[:, some]
    middle = np.nanmedian(np.where(known, features, np.nan), axis=0)
    spread = np.where(known, features, middle).std(axis=0)
    spread = np.maximum(spread, 1e-12 * np.abs(middle) + 1e-30)

    def wide(values: np.ndarray) -> np.ndarray:
        missing = ~np.isfinite(values)
        scaled = (np.where(missing, middle, values) - middle) / spread
        scaled = np.clip(scaled, -clip, clip)
        return np.concatenate([scaled, scaled**2, missing.astype(float)], axis=1)

    return wide(features), wide(others)


def host_folds(
    hosts: np.ndarray, labels: np.ndarray, folds: int, rng: np.random.Generator
) -> np.ndarray:
    """The fold of every row, int64 [n]: hosts (names or numbers, [n]) whole, dealt in the order of
    their mean label so that each fold has its share of both classes."""
    _, host = np.unique(hosts, return_inverse=True)
    host = host.reshape(-1)
    share = np.bincount(host, labels) / np.bincount(host)
    shuffled = rng.permutation(len(share))
    dealt = np.empty(len(share), np.int64)
    dealt[shuffled[np.argsort(share[shuffled], kind="stable")]] = np.arange(len(share)) % folds
    return dealt[host]
