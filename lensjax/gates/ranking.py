"""The rare end of the ranking: true positive rates at few false positives, recall@k, precision.

An AUROC does not tell it: 0.98 has gone with no lens above the first false positive in fifty. Ties
count against the model: a lens that ties with a negative stands below it.

    measured = ranking(case)
    measured["recall_at"][0]["found"]
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lensjax.gates.bootstrap import ends
from lensjax.gates.case import Case, numbers
from lensjax.gates.rates import true_positives, wilson
from lensjax.gates.statistics import Estimate, brick_counts

_AT_ONCE = 100  # resamples


def ranking(case: Case) -> dict[str, Any]:
    """All of it for the judged test rows.

    Intervals of rates at an FPR or a recall are by resampling bricks, the threshold found anew each
    time; those of counts above the first negatives or in the top k are Wilson's, which take the
    threshold as it is.
    """
    rates = case.protocol.document["rates"]
    found = [at_rate(case, rate) for rate in rates["fpr"]]
    resampled, at_recall = _resampled(case, rates["fpr"])
    for cell, estimate in zip(found, resampled, strict=True):
        cell["ci"] = [estimate.low, estimate.high]
    n_pos, n_neg, _ = case.test.counts()
    return {
        "n_pos": n_pos,
        "n_neg": n_neg,
        "tpr_at_fpr": found,
        "tpr_at_false_positives": [
            {"false_positives": count, **before(case, count)}
            for count in rates["tpr_false_positives"]
        ],
        "recall_at": [_recall_at(case, k) for k in case.protocol.measures["recall_at"]],
        "precision_at_recall": at_recall,
    }


def at_rate(case: Case, rate: float) -> dict[str, Any]:
    """True positive rate at a false positive rate of the judged negatives; INCONCLUSIVE where too
    few negatives would be above it to know."""
    n_neg = case.test.counts()[1]
    found = {"fpr": rate, **_rate(case, allowed(rate, n_neg))}
    return found | enough(rate, n_neg, case.protocol.document["rates"]["false_positives_needed"])


def before(case: Case, false_positive: int) -> dict[str, Any]:
    """True positive rate before the first false positive (0, 1), or before the tenth (10)."""
    return _rate(case, max(false_positive - 1, 0))


def allowed(rate: float, n_neg: int) -> int:
    """How many of n_neg negatives a false positive rate lets through."""
    return int(np.floor(rate * n_neg + 1e-9))


def enough(rate: float, n_neg: int, needed: int) -> dict[str, str]:
    """A verdict and its reason where the rate of n_neg negatives is less than `needed`."""
    if rate * n_neg >= needed:
        return {}
    least = int(np.ceil(needed / rate - 1e-6))
    return {"verdict": "INCONCLUSIVE", "reason": f"{n_neg} negatives, {least} needed"}


def _rate(case: Case, let_through: int) -> dict[str, Any]:
    n_pos, _, _ = case.test.counts()
    hits = true_positives(case.test["logit"], case.test["label"], let_through)
    confidence = case.protocol.intervals["confidence"]
    return {"n_pos": n_pos, "found": hits, **numbers(wilson(hits, n_pos, confidence))}


def _recall_at(case: Case, k: int) -> dict[str, Any]:
    """Share of the lenses among the k highest scores; `ceiling` is what k rows can hold of them."""
    lens = case.test.positive[descending(case.test["logit"], case.test.positive)]
    hits, n_pos = int(lens[:k].sum()), int(lens.sum())
    return {
        "k": k,
        "n_pos": n_pos,
        "found": hits,
        **numbers(wilson(hits, n_pos, case.protocol.intervals["confidence"])),
        "ceiling": min(k, n_pos) / n_pos,
    }


def descending(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Row numbers by falling score, negatives first where scores tie."""
    return np.lexsort((positive, -(scores.astype(np.float64) + 0.0)))


def _resampled(case: Case, rates: list[float]) -> tuple[list[Estimate], dict[str, Any]]:
    """TPR at each FPR, and precision and FPR at the wanted recall, with intervals by bricks."""
    confidence, n_bricks = case.protocol.intervals["confidence"], case.clusters.n_bricks
    estimates = [
        Estimate(float(column[0]), *ends(column[1:], column[0], confidence, n_bricks))
        for column in resampled_rates(case, rates).T
    ]
    found = dict(zip(("precision", "fpr"), map(numbers, estimates[-2:]), strict=True))
    wanted = case.protocol.measures["recall_wanted"]
    lenses = np.sort(case.test["logit"][case.test.positive])[::-1]
    need = int(np.ceil(wanted * len(lenses) - 1e-9))
    logit = float(lenses[max(need, 1) - 1])
    return estimates[:-2], {"recall": wanted, "logit": logit, **found}


def resampled_rates(case: Case, rates: list[float]) -> np.ndarray:
    """TPR at each FPR, and precision and FPR at the wanted recall: [1 + r, len(rates) + 2], of all
    bricks, then of every resample of `brick_counts`."""
    order = descending(case.test["logit"], case.test.positive)
    lens, scores = case.test.positive[order], case.test["logit"][order]
    last = np.searchsorted(-scores, -scores, side="right") - 1  # of those that tie
    wanted = case.protocol.measures["recall_wanted"]
    clusters, told = case.clusters, case.protocol.intervals
    counts = brick_counts(clusters.n_bricks, told["resamples"], told["seed"])
    counts = np.concatenate([np.ones((1, clusters.n_bricks)), counts])
    brick, drawn = clusters.brick[order], []
    for start in range(0, len(counts), _AT_ONCE):
        weights = counts[start : start + _AT_ONCE][:, brick]
        drawn.append(_curve(weights, lens, last, rates, wanted))
    return np.concatenate(drawn)


def _curve(
    weights: np.ndarray, lens: np.ndarray, last: np.ndarray, rates: list[float], wanted: float
) -> np.ndarray:
    """TPR at each of the rates, then precision and FPR at the wanted recall: [r, len(rates) + 2],
    for row weights [r, n] by falling score; NaN where a class has no weight."""
    found, lost = np.cumsum(weights * lens, axis=1), np.cumsum(weights * ~lens, axis=1)
    n_pos, n_neg = found[:, -1], lost[:, -1]
    row = np.arange(len(weights))
    columns = []
    with np.errstate(divide="ignore", invalid="ignore"):
        for rate in rates:
            over = lost > np.floor(rate * n_neg + 1e-9)[:, None]
            at = over.argmax(axis=1)
            columns.append(np.where(over.any(axis=1), found[row, at], n_pos) / n_pos)
        at = last[(found >= (wanted * n_pos - 1e-9)[:, None]).argmax(axis=1)]
        hits, alarms = found[row, at], lost[row, at]
        columns += [hits / (hits + alarms), alarms / n_neg]
    return np.stack(columns, axis=1)
