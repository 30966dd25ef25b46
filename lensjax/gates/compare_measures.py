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
from functools import cached_property, partial

import numpy as np
from scipy.special import expit

from lensjax import schema
from lensjax.gates.bootstrap import brick_sums
from lensjax.gates.case import Case
from lensjax.gates.compare_statistics import (
    Resampled,
    resample_auroc,
    resample_mean,
    resample_rate,
)
from lensjax.gates.core import DROP_RADIUS, RELIANCE_RADIUS, loss_samples
from lensjax.gates.gate import GateError
from lensjax.gates.hard_negative import hard_negative_sample
from lensjax.gates.protocol import GATES, Protocol
from lensjax.gates.ranking import enough, resampled_rates
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


@dataclass(frozen=True)
class Scored:
    """A run before the measures: all rows of test, and what each shortcut probe ranks them by (or
    why there is nothing)."""

    case: Case
    probes: dict[str, np.ndarray | str]

    @cached_property
    def rates(self) -> np.ndarray:
        """As ranking.resampled_rates gives them."""
        return resampled_rates(self.case, self.case.protocol.document["rates"]["fpr"])


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
    for told in enumerate(rules.document["rates"]["fpr"]):
        name = f"tpr_at_fpr_{told[1]:g}"
        found.append(Measure(name, ">", lambda scored, w, told=told: _at_rate(scored, w, *told)))
    recall = f"{rules.measures['recall_wanted']:g}"
    for name, better, at in (("precision", ">", -2), ("fpr", "<", -1)):
        of = partial(_at_recall, at=at)
        found.append(Measure(f"{name}_at_recall_{recall}", better, of))
    return [*found, Measure("brier", "<", _brier)]


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


def _at_rate(scored: Scored, weights: np.ndarray, at: int, rate: float) -> Resampled | str:
    """True positive rate at the protocol's false positive rate number `at`."""
    rates = scored.case.protocol.document["rates"]
    n_neg = scored.case.test.counts()[1]
    short = enough(rate, n_neg, rates["false_positives_needed"])
    return short.get("reason") or resample_rate(scored.rates[:, at], weights.shape[1])


def _at_recall(scored: Scored, weights: np.ndarray, at: int) -> Resampled | str:
    """At the protocol's recall: precision (-2), false positive rate (-1)."""
    return resample_rate(scored.rates[:, at], weights.shape[1])


def _brier(scored: Scored, weights: np.ndarray) -> Resampled | str:
    """Mean squared error of the score as a probability, as half of all rows are lenses."""
    test, clusters = scored.case.test, scored.case.clusters
    error = (expit(test["logit"].astype(np.float64)) - test["label"]) ** 2
    rows = np.stack([error, np.ones_like(error)], axis=1)
    return resample_mean(brick_sums(rows, clusters.brick, clusters.n_bricks), weights)
