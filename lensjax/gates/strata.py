"""The model's AUROC as a whole, by kind of negative, by theta_E and arc SNR; rates at its rare end.

A stratum's lenses are set against all judged negatives: only the lenses differ between strata.

    found = auroc_test(case)
    found.detail["lookalikes"], found.detail["tpr_at_fpr"]
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from lensjax import schema
from lensjax.gates.case import Case, numbers
from lensjax.gates.gate import Finding, GateError
from lensjax.gates.ranking import at_rate, before
from lensjax.gates.statistics import Estimate, Sample, difference

_ENDS = ("value", "low", "high")


def auroc_test(case: Case) -> Finding:
    """AUROC of the judged test rows, and beside it what the one number hides."""
    logit = case.test["logit"]
    estimate = case.auroc(logit)
    detail = {
        "lookalikes": _against(case, schema.LOOKALIKES),
        "by_kind": {kind: _against(case, (kind,)) for kind in schema.NEGATIVE_KINDS},
        "lookalike_share": float(np.isin(_kinds(case), schema.LOOKALIKES).mean()),
        "by_arc_snr": _strata(case, "arc_snr", case.protocol.document["arc_snr_bins"]),
        "tpr_at_fpr": [at_rate(case, rate) for rate in case.protocol.document["rates"]["fpr"]],
        "tpr_at_false_positives": {
            str(count): before(case, count)
            for count in case.protocol.document["rates"]["tpr_false_positives"]
        },
    }
    return case.finding(estimate, detail=detail)


def theta_e_min(case: Case) -> Finding:
    """The least AUROC of the populated theta_E bins; its interval is [least low, least high], so
    that it passes if every bin does and fails if one bin fails."""
    bins, undecided = theta_e_bins(case)
    populated = [each for each in bins if each["sample"] is not None]
    estimates = [case.estimate([each["sample"]]) for each in populated]
    detail = {"bins": [_bin_json(each) for each in bins]}
    for each, estimate in zip(populated, estimates, strict=True):
        detail["bins"][bins.index(each)] |= numbers(estimate)
    if not estimates:
        return case.finding(None, undecided=undecided or "no bin populated", detail=detail)
    least = Estimate(*(min(getattr(e, end) for e in estimates) for end in _ENDS))
    return _of_bins(case, least, populated, undecided, detail=detail)


def theta_e_spread(case: Case) -> Finding:
    """Largest less smallest AUROC of the populated bins: over all pairs of bins the largest
    difference, and the largest ends of its intervals."""
    bins, undecided = theta_e_bins(case)
    populated = [each for each in bins if each["sample"] is not None]
    if len(populated) < 2:
        why = undecided or f"{len(populated)} populated bin: no spread"
        return case.finding(None, undecided=why, is_auc=False)
    spread = spread_of(case, [each["sample"] for each in populated])
    return _of_bins(case, spread, populated, undecided, is_auc=False)


def spread_of(case: Case, samples: Sequence[Sample]) -> Estimate:
    """Largest less smallest AUROC of two samples or more: the largest difference over all pairs,
    and the largest ends of its intervals."""
    found = []
    for pair in itertools.combinations(samples, 2):
        up = case.estimate(pair, difference)
        found += [up, Estimate(-up.value, -up.high, -up.low)]
    value, low, high = (max(getattr(each, end) for each in found) for end in _ENDS)
    return Estimate(value, max(low, 0.0), high)


def theta_e_bins(case: Case) -> tuple[list[dict[str, Any]], str]:
    """Every bin of the protocol with its sample (None where it is empty or not in the population),
    and which one of the population is empty, if any."""
    theta_e = case.test["theta_e_arcsec"]
    lens = case.test.positive
    if not np.isfinite(theta_e[lens]).all():
        unknown = int((~np.isfinite(theta_e[lens])).sum())
        raise GateError(f"theta_e_arcsec is not finite in {unknown} lenses")
    edges = case.protocol.document["theta_e_bins"]
    limits = case.manifest["population"].get("theta_e") or [edges[0], edges[-1]]
    bins: list[dict[str, Any]] = []
    for low, high in itertools.pairwise(edges):
        last = high == edges[-1]
        inside = lens & (theta_e >= low) & ((theta_e <= high) if last else (theta_e < high))
        state = "" if low < limits[1] and high > limits[0] else "not in population"
        n_pos = int(inside.sum())
        sample: Sample | None = None
        if not state and n_pos:
            sample = case.subset(inside | ~lens, case.test["logit"])
        bins.append({"theta_e": [low, high], "n_pos": n_pos, "state": state, "sample": sample})
    empty = [each["theta_e"] for each in bins if not each["state"] and not each["n_pos"]]
    return bins, f"no lenses in theta_E {empty[0][0]:g}-{empty[0][1]:g}" if empty else ""


def _of_bins(
    case: Case,
    estimate: Estimate,
    populated: list[dict[str, Any]],
    empty: str,
    **more: Any,
) -> Finding:
    """A Finding whose n_pos is that of the smallest bin. A bin of the population that is empty
    stands in the way of a PASS alone: what the others prove bad stays bad."""
    n_pos = min(each["n_pos"] for each in populated)
    _, n_neg, n_bricks = case.test.counts()
    bars = (empty,) if empty else ()
    return Finding(estimate, n_pos, n_neg, n_bricks, bars=bars, **more)


def _bin_json(each: dict[str, Any]) -> dict[str, Any]:
    state = each["state"] or ("" if each["n_pos"] else "empty")
    return {"theta_e": each["theta_e"], "n_pos": each["n_pos"], "state": state}


def _kinds(case: Case) -> np.ndarray:
    return case.test["negative_kind"][~case.test.positive]


def _against(case: Case, kinds: tuple[str, ...]) -> dict[str, Any]:
    """AUROC against the negatives of these kinds alone; empty where there are none."""
    rows = case.test.positive | np.isin(case.test["negative_kind"], kinds)
    n_neg = int((rows & ~case.test.positive).sum())
    if n_neg == 0:
        return {"n_neg": 0, "state": "empty"}
    return {"n_neg": n_neg, **numbers(case.estimate([case.subset(rows, case.test["logit"])]))}


def _strata(case: Case, name: str, edges: list[float]) -> list[dict[str, Any]]:
    """AUROC by bins of a column of the lenses, each against all negatives; the last is open."""
    values, lens = case.test[name], case.test.positive
    strata = []
    for low, high in itertools.pairwise([*edges, np.inf]):
        inside = lens & (values >= low) & (values < high)
        cell = {name: [low, None if np.isinf(high) else high], "n_pos": int(inside.sum())}
        if inside.any():
            cell |= numbers(case.estimate([case.subset(inside | ~lens, case.test["logit"])]))
        else:
            cell["state"] = "empty"
        strata.append(cell)
    return strata
