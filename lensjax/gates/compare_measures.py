"""What runs are compared by: every gate, AUROC by kind, arc SNR and theta_E, rates at the rare end.

Not verdicts: a measure is a number of all test rows, on brick resamples that all runs share. The
gates' own numbers (perfect_scores is auroc_test's) come from the same samples as their verdicts.

    for measure in measures(protocol):
        found = measure.of(scored, weights)       # Resampled, or why there is none
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lensjax import schema
from lensjax.gates.case import Case
from lensjax.gates.compare_statistics import Resampled, resample_auroc, resample_rate
from lensjax.gates.core import DROP_RADIUS, RELIANCE_RADIUS, loss_samples
from lensjax.gates.gate import GateError
from lensjax.gates.hard_negative import hard_negative_sample
from lensjax.gates.protocol import GATES, Protocol
from lensjax.gates.shortcuts import SHORTCUTS
from lensjax.gates.statistics import (
    Sample,
    Statistic,
    StatisticsError,
    difference,
    relative_drop,
    single,
)
from lensjax.gates.strata import theta_e_bins

_AT_ONCE = 200  # resamples of a rate; 2,000 of 20,000 rows together would take 0.3 GB


@dataclass(frozen=True)
class Scored:
    """A run before the measures: all rows of test, and what each shortcut probe ranks them by (or
    why there is nothing)."""

    case: Case
    probes: dict[str, np.ndarray | str]


@dataclass(frozen=True)
class Measure:
    """better: ">" or "<", the side of a good value; "" where it says nothing of the model alone."""

    name: str
    better: str
    of: Callable[[Scored, np.ndarray], Resampled | str]


Samples = tuple[list[Sample], Statistic]


def measures(rules: Protocol) -> list[Measure]:
    """All measures, the gates first, in the protocol's order."""
    found = [_auroc_measure(name, GATES[name], samples) for name, samples in _GATES.items()]
    found += [
        _auroc_measure(name, GATES[name], lambda scored, name=name: _probe(scored, name))
        for name in SHORTCUTS
    ]
    found.sort(key=lambda measure: list(GATES).index(measure.name))
    for name, kinds in _kinds().items():
        found.append(_auroc_measure(name, ">", lambda scored, kinds=kinds: _against(scored, kinds)))
    for column, key in (("arc_snr", "arc_snr_bins"), ("theta_e_arcsec", "theta_e_bins")):
        for low, high in _bins(rules, key):
            name = f"auroc_{column}_{low:g}_{'up' if np.isinf(high) else f'{high:g}'}"
            limits = (column, low, high)
            found.append(
                _auroc_measure(name, ">", lambda scored, limits=limits: _within(scored, *limits))
            )
    for rate in rules.document["rates"]["fpr"]:
        name = f"tpr_at_fpr_{rate:g}"
        found.append(Measure(name, ">", lambda scored, w, rate=rate: _at_rate(scored, w, rate)))
    return found


def _auroc_measure(name: str, better: str, samples: Callable[[Scored], Samples]) -> Measure:
    def of(scored: Scored, weights: np.ndarray) -> Resampled | str:
        seed = scored.case.protocol.intervals["seed"]
        try:
            return resample_auroc(*samples(scored), weights, seed)
        except (GateError, StatisticsError) as error:
            return str(error)

    return Measure(name, better, of)


# -- the gates ----------------------------------------------------------------------------------


def _whole(scored: Scored) -> Samples:
    return [scored.case.sample(scored.case.test["logit"])], single


def _core_only(scored: Scored) -> Samples:
    return [scored.case.sample(scored.case.test["logit_core_only"])], single


def _theta_e(scored: Scored) -> list[Sample]:
    bins, undecided = theta_e_bins(scored.case)
    samples = [each["sample"] for each in bins if each["sample"] is not None]
    if not samples:
        raise GateError(undecided or "no bin populated")
    return samples


def _spread(scored: Scored) -> Samples:
    samples = _theta_e(scored)
    if len(samples) < 2:
        raise GateError("one populated bin: no spread")
    return samples, _largest_less_least


def _least(aucs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least AUROC, and which it is."""
    at = aucs.argmin(axis=1)
    return aucs.min(axis=1), np.eye(aucs.shape[1])[at]


def _largest_less_least(aucs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    least, which = _least(aucs)
    at = aucs.argmax(axis=1)
    return aucs.max(axis=1) - least, np.eye(aucs.shape[1])[at] - which


_GATES: dict[str, Callable[[Scored], Samples]] = {
    "auroc_test": _whole,
    "core_masked_drop": lambda scored: (loss_samples(scored.case, DROP_RADIUS), relative_drop),
    "hard_negative_auroc": lambda scored: ([hard_negative_sample(scored.case)], single),
    "core_reliance": lambda scored: (loss_samples(scored.case, RELIANCE_RADIUS), difference),
    "core_only_auroc": _core_only,
    "theta_e_min_auroc": lambda scored: (_theta_e(scored), _least),
    "theta_e_spread": _spread,
}


def _probe(scored: Scored, name: str) -> Samples:
    scores = scored.probes[name]
    if isinstance(scores, str):
        raise GateError(scores)
    return [scored.case.sample(scores)], single


# -- strata and rates -----------------------------------------------------------------------------


def _kinds() -> dict[str, tuple[str, ...]]:
    alone = {f"auroc_{kind}": (kind,) for kind in schema.NEGATIVE_KINDS}
    return {"auroc_lookalikes": schema.LOOKALIKES, **alone}


def _bins(rules: Protocol, key: str) -> list[tuple[float, float]]:
    edges = rules.document[key]
    return list(itertools.pairwise([*edges, np.inf] if key == "arc_snr_bins" else edges))


def _against(scored: Scored, kinds: tuple[str, ...]) -> Samples:
    test = scored.case.test
    return _subset(scored, test.positive | np.isin(test["negative_kind"], kinds))


def _within(scored: Scored, column: str, low: float, high: float) -> Samples:
    """Lenses of a bin (the last one of theta_E is closed) against all negatives."""
    test = scored.case.test
    values, last = test[column], scored.case.protocol.document["theta_e_bins"][-1]
    closed = column == "theta_e_arcsec" and high == last
    inside = (values >= low) & ((values <= high) if closed else (values < high))
    return _subset(scored, ~test.positive | inside)


def _subset(scored: Scored, rows: np.ndarray) -> Samples:
    case = scored.case
    for label in (0, 1):
        if not (case.test["label"][rows] == label).any():
            raise GateError("empty")
    return [case.subset(rows, case.test["logit"])], single


def _at_rate(scored: Scored, weights: np.ndarray, rate: float) -> Resampled | str:
    """True positive rate at a false positive rate, threshold and all measured anew on every
    resample."""
    case = scored.case
    n_pos, n_neg, _ = case.test.counts()
    needed = case.protocol.document["rates"]["false_positives_needed"]
    if rate * n_neg < needed:
        return f"{n_neg} negatives, {int(np.ceil(needed / rate - 1e-6))} needed"
    if not n_pos:
        return "no lenses"
    clusters = case.clusters
    values = rate_on_resamples(case.test["logit"], clusters.labels, clusters.brick, weights, rate)
    return resample_rate(values, weights.shape[1])


def rate_on_resamples(
    scores: np.ndarray, labels: np.ndarray, brick: np.ndarray, weights: np.ndarray, rate: float
) -> np.ndarray:
    """Share of positives strictly above all negatives but the highest `rate` of them, [r], where
    every row counts as often as its brick does in `weights` [r, n_bricks]; NaN without positives or
    negatives. scores, labels, brick: [n]."""
    scores = scores.astype(np.float64) + 0.0
    lens = labels == 1
    above = np.argsort(-scores[~lens], kind="stable")  # negatives, the highest first
    order = np.argsort(-scores[lens], kind="stable")
    highest, home = scores[~lens][above], brick[~lens][above]
    rows = brick[lens][order]
    # how many of the positives, the highest first, lie above each negative; all, above none
    beaten = np.append(np.searchsorted(-scores[lens][order], -highest, "left"), len(rows))
    found = []
    for start in range(0, len(weights), _AT_ONCE):
        some = weights[start : start + _AT_ONCE]
        passed = np.cumsum(some[:, home], axis=1)
        allowed = np.floor(rate * passed[:, -1:] + 1e-9)
        at = (passed <= allowed).sum(axis=1)
        hits = np.cumsum(np.pad(some[:, rows], ((0, 0), (1, 0))), axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.take_along_axis(hits, beaten[at][:, None], 1)[:, 0] / hits[:, -1]
        found.append(np.where(passed[:, -1] > 0, share, np.nan))
    return np.concatenate(found)
