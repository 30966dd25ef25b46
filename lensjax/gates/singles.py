"""Features one by one: how well each alone tells the label, and how it goes with the score.

Ranks, nothing fitted: an AUROC for the label (which way round is val's to say), and for the score
the rank correlation within a class, beyond what is honest there. p is of the largest of all
features under the null (Westfall & Young), so that a long list finds nothing by its length.

    listed = singles(case, sides, names, families, of_fit, of_test)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from lensjax.gates.bootstrap import brick_sums, of_sums
from lensjax.gates.case import Case, numbers
from lensjax.gates.placements import delong
from lensjax.gates.within import Side

_AT_ONCE = 250  # permutations


def singles(
    case: Case,
    sides: Sequence[Side],
    names: Sequence[str],
    families: Sequence[str],
    of_fit: np.ndarray,
    of_test: np.ndarray,
) -> list[dict[str, Any]]:
    """A record a feature, by falling strength of what it has to do with the score. of_fit, of_test:
    [n, k] of the judged rows; unknown values (NaN) count as the median; features that are constant
    or unknown in test are left out."""
    filled = _filled(of_fit, of_test)
    varies = np.ptp(filled[1], axis=0) > 0
    names = [name for name, kept in zip(names, varies, strict=True) if kept]
    families = [name for name, kept in zip(families, varies, strict=True) if kept]
    of_fit, of_test = (each[:, varies] for each in filled)
    if not names:
        return []
    told = case.of_data.once("|".join(names), lambda: _of_label(case, of_fit, of_test))
    score = _of_score(case, sides, of_test)
    listed = [
        {"feature": name, "family": family, "label": label, "score": said}
        for name, family, label, said in zip(names, families, told, score, strict=True)
    ]
    return sorted(listed, key=lambda each: -abs(each["score"].get("value", 0.0)))


def _filled(of_fit: np.ndarray, of_test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    some = np.isfinite(of_fit).any(axis=0)
    middle = np.zeros(of_fit.shape[1])
    middle[some] = np.nanmedian(np.where(np.isfinite(of_fit), of_fit, np.nan)[:, some], axis=0)
    return tuple(  # type: ignore[return-value]
        np.where(np.isfinite(each), each, middle) for each in (of_fit, of_test)
    )


def _of_label(case: Case, of_fit: np.ndarray, of_test: np.ndarray) -> list[dict[str, Any]]:
    """AUROC of every feature, above 0.5 where it is higher in lenses of test if it is in val."""
    label, clusters = case.test["label"], case.clusters
    known, confidence = case.fit["label"], case.protocol.intervals["confidence"]
    ways = [1.0 if _auroc(column, known) >= 0.5 else -1.0 for column in of_fit.T]
    signed = of_test * np.array(ways)
    estimates = []
    for column in signed.T:
        found = delong(column, label, clusters.brick, clusters.n_bricks, confidence)
        estimates.append(found if np.isfinite(found.low) else case.auroc(column))
    ranks = rankdata(signed, axis=0)
    permuted, _ = case.permuted[1]
    largest = np.concatenate(
        [
            np.abs(_aurocs(permuted[start : start + _AT_ONCE], ranks) - 0.5).max(axis=1)
            for start in range(0, len(permuted), _AT_ONCE)
        ]
    )
    return [
        {
            **numbers(found),
            "higher_in": "lenses" if way > 0 else "negatives",
            "p": _p(largest, abs(found.value - 0.5)),
        }
        for found, way in zip(estimates, ways, strict=True)
    ]


def _auroc(values: np.ndarray, labels: np.ndarray) -> float:
    return float(_aurocs(labels[None, :], rankdata(values)[:, None])[0, 0])


def _aurocs(labels: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """labels [p, n] of 0 and 1, ranks [n, k] -> [p, k]."""
    n, n_pos = labels.shape[1], labels.sum(axis=1, dtype=float)[:, None]
    return (labels.astype(float) @ ranks - n_pos * (n_pos + 1) / 2) / (n_pos * (n - n_pos))


def _of_score(case: Case, sides: Sequence[Side], of_test: np.ndarray) -> list[dict[str, Any]]:
    """Rank correlation of every feature with the score, all classes together and each alone."""
    if not sides:
        return [{"state": "too few rows of any class"}] * of_test.shape[1]
    x = [_standard(of_test[side.test]) for side in sides]
    y = [_standard(side.test_target[:, None])[:, 0] for side in sides]
    rows = np.concatenate([side.test for side in sides])
    stacked, target, clusters = np.concatenate(x), np.concatenate(y), case.clusters
    varies = np.abs(stacked).max(axis=0) > 0
    alone = [a.T @ b / len(b) for a, b in zip(x, y, strict=True)]
    product, squares = _moved(sides, x, y)
    null = product[:, varies] / np.sqrt(squares[:, None] * (stacked[:, varies] ** 2).sum(axis=0))
    largest = np.abs(null).max(axis=1, initial=0.0)
    found: list[dict[str, Any]] = []
    for k, column in enumerate(stacked.T):
        if not varies[k]:
            found.append({"state": "constant within each class"})
            continue
        parts = np.stack(
            [np.ones(len(rows)), column, target, column**2, target**2, column * target], axis=1
        )
        totals = brick_sums(parts, clusters.brick[rows], clusters.n_bricks)
        estimate = of_sums(totals, correlation, **case.protocol.intervals)
        by_class = {side.name: float(r[k]) for side, r in zip(sides, alone, strict=True)}
        found.append({**numbers(estimate), "p": _p(largest, abs(estimate.value)), **by_class})
    return found


def _moved(
    sides: Sequence[Side], x: list[np.ndarray], y: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of products of ranks with moved ranks of the score [permutations, k], and of squares of
    the latter [permutations], each class about its own mean."""
    total = np.zeros((len(sides[0].moved_test), x[0].shape[1]))
    squares = np.zeros(len(total))
    for side, a, b in zip(sides, x, y, strict=True):
        for start in range(0, len(total), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            taken = b[side.moved_test[some]]
            total[some] += taken @ a
            squares[some] += taken.var(axis=1) * len(a)
    return total, squares


def correlation(sums: np.ndarray) -> np.ndarray:
    """Pearson's, of sums [r, 6] of 1, x, y, x^2, y^2, xy."""
    n, x, y, xx, yy, xy = sums.T
    return (n * xy - x * y) / np.sqrt((n * xx - x**2) * (n * yy - y**2))


def _standard(values: np.ndarray) -> np.ndarray:
    """Mid-ranks of each column, mean 0 and variance 1; constant columns are 0."""
    ranks = rankdata(values, axis=0)
    ranks -= ranks.mean(axis=0)
    spread = ranks.std(axis=0)
    return np.divide(ranks, spread, out=np.zeros_like(ranks), where=spread > 0)


def _p(largest: np.ndarray, value: float) -> float:
    return (1 + int((largest >= value).sum())) / (1 + len(largest))
