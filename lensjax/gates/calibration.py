"""Is 0.9 nine times in ten a lens? Calibration error, maps that mend it, and what stays on the sky.

Maps are fitted on the judged val rows and applied to the judged test rows. Both are half lenses;
on the sky one galaxy in 10^4 is, so a probability that is right here is about 10^4 too confident
there: `shifted` moves it to a stated prevalence. Not a gate; no map is applied to any other score.

    measured = calibration(case)
    measured["maps"]["isotonic"]["ece"], measured["on_sky"]["thresholds"]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression, root_scalar
from scipy.special import expit
from scipy.special import logit as log_odds
from scipy.stats import norm
from scipy.stats import t as student

from lensjax.gates.bootstrap import brick_sums, of_sums
from lensjax.gates.case import Case, numbers
from lensjax.gates.rates import wilson
from lensjax.gates.selection import threshold_at_fpr
from lensjax.gates.statistics import Estimate, brick_counts

Map = Callable[[np.ndarray], np.ndarray]  # logits -> probabilities
_STEEPEST = 1e3  # of a temperature map; the flattest is its inverse
_LARGEST = 8.0  # multiple of the errors found that is tried as the true ones
_HALVINGS = 30


def calibration(case: Case) -> dict[str, Any]:
    """Of the scores as they are, and through each map: ECE, Brier, log loss, reliability; then what
    thresholds mean at the protocol's prevalence. Raises StatisticsError for one class."""
    val, label = case.fit["logit"].astype(np.float64), case.fit["label"]
    temperature = fit_temperature(val, label)
    maps = {
        "none": expit,
        "temperature": lambda logits: expit(logits / temperature),
        "isotonic": fit_isotonic(val, label),
    }
    test = case.test["logit"].astype(np.float64)
    return {
        "fit_rows": len(val),
        "n": len(test),
        "temperature": temperature,
        "maps": {name: _quality(case, apply(test)) for name, apply in maps.items()},
        "on_sky": _on_sky(case, maps),
    }


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """T of expit(logit / T) with the least log loss; within 1e-3 and 1e3 (scores that rank the
    wrong way round have none)."""

    def slope(log_steepness: float) -> float:
        return float(((expit(np.exp(log_steepness) * logits) - labels) * logits).sum())

    low, high = -np.log(_STEEPEST), np.log(_STEEPEST)
    if slope(low) >= 0.0:
        return _STEEPEST
    if slope(high) <= 0.0:
        return 1.0 / _STEEPEST
    return float(np.exp(-root_scalar(slope, bracket=(low, high), xtol=1e-10).root))


def fit_isotonic(logits: np.ndarray, labels: np.ndarray) -> Map:
    """The rising map with the least squared error, straight between the logits that were fitted and
    level beyond them."""
    at, row, count = np.unique(logits, return_inverse=True, return_counts=True)
    mean = np.bincount(row.reshape(-1), labels) / count
    level = isotonic_regression(mean, weights=count.astype(float)).x
    return lambda others: np.interp(others, at, level)


def shifted(probability: np.ndarray, prevalence: float, share: float) -> np.ndarray:
    """A probability that is right where `share` of the rows are lenses, where `prevalence` are."""
    odds = (prevalence / (1.0 - prevalence)) / (share / (1.0 - share))
    return probability * odds / (probability * odds + (1.0 - probability))


def bins_of(probability: np.ndarray, bins: int) -> np.ndarray:
    """The bin of every row, int64 [n], of at most `bins` with equal numbers of rows, lowest first;
    rows that tie are in one."""
    edges = np.unique(np.quantile(probability, np.linspace(0.0, 1.0, bins + 1)[1:-1]))
    return np.unique(np.searchsorted(edges, probability, side="right"), return_inverse=True)[1]


def _quality(case: Case, probability: np.ndarray) -> dict[str, Any]:
    """probability: [n], of the judged test rows."""
    label = case.test["label"].astype(np.float64)
    told, clusters = case.protocol.intervals, case.clusters
    loss = -np.where(label == 1, np.log(np.maximum(probability, 1e-12)), 0.0)
    loss -= np.where(label == 0, np.log(np.maximum(1.0 - probability, 1e-12)), 0.0)
    parts = np.stack([(probability - label) ** 2, loss, np.ones_like(label)], axis=1)
    totals = brick_sums(parts, clusters.brick, clusters.n_bricks)
    brier, log_loss = (
        of_sums(totals, lambda sums, k=k: sums[:, k] / sums[:, 2], **told) for k in (0, 1)
    )
    place = bins_of(probability, case.protocol.measures["calibration_bins"])
    error, floor = ece(probability, label, place, clusters.brick, clusters.n_bricks, **told)
    return {
        "ece": {**numbers(error), "floor": floor},
        "brier": numbers(brier),
        "log_loss": numbers(log_loss),
        "reliability": _reliability(probability, label, place, told["confidence"]),
    }


def ece(
    probability: np.ndarray,
    label: np.ndarray,
    place: np.ndarray,
    brick: np.ndarray,
    n_bricks: int,
    confidence: float,
    resamples: int,
    seed: int,
) -> tuple[Estimate, float]:
    """Expected calibration error of the bins `place` [n]: the mean over rows of their bin's |mean
    probability - share of lenses|; and its `floor`, what perfect calibration would read on average.

    A mean of absolute values is never below zero, so chance alone reads the floor, and resampling
    adds to it once more: percentiles of resamples never cover a true zero. The interval holds
    instead those multiples of the errors found that, as true ones and with the noise of resampled
    bricks, read what was read.
    """
    n, width = len(label), int(place.max()) + 1
    sums = np.zeros((n_bricks, width + 1))
    np.add.at(sums, (brick, place), probability - label)
    sums[:, width] = np.bincount(brick, minlength=n_bricks)
    found = sums[:, :width].sum(axis=0) / n
    value = float(np.abs(found).sum())
    spread = np.bincount(place, probability * (1.0 - probability), width)
    floor = float(np.sqrt(2.0 / np.pi) * np.sqrt(spread).sum() / n)
    if n_bricks < 2:
        return Estimate(value, np.nan, np.nan), floor
    drawn = brick_counts(n_bricks, resamples, seed) @ sums
    noise = drawn[:, :width] / drawn[:, width:] - found
    noise *= np.sqrt(n_bricks / (n_bricks - 1))
    tail = norm.cdf(student.ppf((1.0 - confidence) / 2, n_bricks - 1))

    def reads(scale: float) -> np.ndarray:
        return np.abs(scale * found + noise).sum(axis=1)

    low = _edge(lambda scale: bool((reads(scale) >= value).mean() > tail), 1.0, 0.0)
    high = _edge(lambda scale: bool((reads(scale) <= value).mean() > tail), 1.0, _LARGEST)
    return Estimate(value, low * value, high * value), floor


def _edge(inside: Callable[[float], bool], start: float, end: float) -> float:
    """The last number on the way from `start` (taken as inside) to `end` that is inside."""
    if inside(end):
        return end
    for _ in range(_HALVINGS):
        middle = (start + end) / 2
        start, end = (middle, end) if inside(middle) else (start, middle)
    return start


def _reliability(
    probability: np.ndarray, label: np.ndarray, place: np.ndarray, confidence: float
) -> list[dict[str, Any]]:
    """By bin: rows, mean probability, share of lenses with Wilson's interval."""
    count = np.bincount(place)
    hits, mean = np.bincount(place, label), np.bincount(place, probability) / count
    return [
        {"n": n, "probability": p, **numbers(wilson(int(k), n, confidence))}
        for n, p, k in zip(count.tolist(), mean.tolist(), hits.tolist(), strict=True)
    ]


def _on_sky(case: Case, maps: dict[str, Map]) -> dict[str, Any]:
    """What is flagged above each threshold, were the sky as the test rows but for the share of
    lenses."""
    prevalence = case.protocol.measures["prevalence"]
    share = float(case.fit["label"].mean())
    logits = case.test["logit"].astype(np.float64)
    believed = {name: apply(logits) for name, apply in maps.items()}
    for name in ("temperature", "isotonic"):
        believed[name] = shifted(believed[name], prevalence, share)
    thresholds = [
        {"threshold": f"score {score:g}", "logit": float(log_odds(score))}
        for score in case.protocol.measures["score_thresholds"]
    ]
    rate = case.protocol.measures["selection_fpr"]
    thresholds.append({"threshold": f"FPR {rate:g} on val", "logit": threshold_at_fpr(case, rate)})
    return {
        "prevalence": prevalence,
        "share_fitted": share,
        "thresholds": [
            {**each, **_flagged(case, each["logit"], prevalence, believed)} for each in thresholds
        ],
    }


def _flagged(
    case: Case, threshold: float, prevalence: float, believed: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Rates above a threshold; the precision that they mean at `prevalence`, at the ends of both
    intervals; and the mean probability of the flagged by each map."""
    lens, flagged = case.test.positive, case.test["logit"] > threshold
    confidence = case.protocol.intervals["confidence"]
    tpr, fpr = (
        wilson(int(flagged[rows].sum()), int(rows.sum()), confidence) for rows in (lens, ~lens)
    )

    def precision(hits: float, alarms: float) -> float | None:
        lenses, others = prevalence * hits, (1.0 - prevalence) * alarms
        return lenses / (lenses + others) if lenses + others > 0.0 else None

    found: dict[str, Any] = {"tpr": numbers(tpr), "fpr": numbers(fpr)}
    found["precision"] = {
        "value": precision(tpr.value, fpr.value) if fpr.value > 0.0 else None,
        "ci": [precision(tpr.low, fpr.high), precision(tpr.high, fpr.low)],
    }
    if fpr.value == 0.0:
        found["precision"]["state"] = f"no false positive in {int((~lens).sum())} negatives"
    weight = np.where(lens, prevalence / lens.sum(), (1.0 - prevalence) / (~lens).sum()) * flagged
    total = weight.sum()
    found["claimed"] = {
        name: float((weight * each).sum() / total) if total > 0.0 else None
        for name, each in believed.items()
    }
    return found
