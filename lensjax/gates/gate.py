"""What one gate found, and what that means under the protocol: PASS, FAIL, INCONCLUSIVE, ERROR.

Not the measuring (probes, core, hard_negative, strata) and not the colour of a run (judge).

    entry = conclude(protocol.gates["auroc_test"], Finding(estimate, 1043, 1307, 68))
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from lensjax.gates.protocol import MINIMUM, GateRule
from lensjax.gates.statistics import Estimate

PASS, FAIL, INCONCLUSIVE, ERROR = "PASS", "FAIL", "INCONCLUSIVE", "ERROR"


class GateError(ValueError):
    """A gate's own input is unusable; its text is the reason of that gate's ERROR."""


@dataclass(frozen=True)
class Finding:
    """What a gate measured.

    estimate: None where there is nothing to measure; `undecided` then says why.
    n_pos, n_neg, n_bricks: rows and bricks it rests on.
    undecided: why it is INCONCLUSIVE whatever the interval; "" if it is not.
    bars: what stands in the way of a PASS alone.
    is_auc: an interval wholly below 0.5 then is called inverted.
    detail: anything else worth knowing, as JSON.
    """

    estimate: Estimate | None
    n_pos: int
    n_neg: int
    n_bricks: int
    undecided: str = ""
    bars: tuple[str, ...] = ()
    is_auc: bool = True
    detail: dict[str, Any] = field(default_factory=dict)


def conclude(rule: GateRule, found: Finding) -> dict[str, Any]:
    """The gate's entry of gates.json: PASS only if the whole interval lies on the good side and
    the counts reach the minimum, FAIL if all of it lies on the other, else INCONCLUSIVE."""
    reasons = [found.undecided] if found.undecided else []
    verdict, warn, estimate = INCONCLUSIVE, False, found.estimate
    if estimate is not None:
        reasons += [estimate.note] if estimate.note else []
        if found.is_auc and estimate.high < 0.5:
            reasons.append("inverted: the whole interval is below 0.5")
        if rule.threshold is not None and not found.undecided:
            verdict, why = _against(rule, rule.threshold, estimate)
            warn = rule.warn is not None and _beyond(rule, rule.warn, estimate)
            bars = [*short_of(rule, found), *found.bars]
            if verdict != FAIL and bars:
                verdict, why = INCONCLUSIVE, [*why, *bars]
            reasons += why
        elif rule.threshold is None:
            reasons.append("no threshold: printed only")
    return entry(rule, found, verdict, warn, "; ".join(reasons))


def failed_input(rule: GateRule, reason: str, counts: tuple[int, int, int]) -> dict[str, Any]:
    """The entry of a gate in ERROR."""
    return entry(rule, Finding(None, *counts), ERROR, False, reason)


def entry(rule: GateRule, found: Finding, verdict: str, warn: bool, reason: str) -> dict[str, Any]:
    """The entry of gates.json, with the contract's keys in its order, then `detail` if any."""
    estimate = found.estimate
    return {
        "verdict": verdict,
        "value": None if estimate is None else estimate.value,
        "ci": None if estimate is None else [estimate.low, estimate.high],
        "threshold": rule.threshold,
        "required": rule.required,
        "warn": warn,
        "n_pos": found.n_pos,
        "n_neg": found.n_neg,
        "n_bricks": found.n_bricks,
        "reason": reason,
        **({"detail": found.detail} if found.detail else {}),
    }


def short_of(rule: GateRule, found: Finding) -> list[str]:
    """Which minimum counts are not reached; they guard PASS only. Told in the order of MINIMUM:
    the order of a protocol's keys is no part of its digest, nor of the verdict's bytes."""
    return [
        f"{name} {getattr(found, name)} below the minimum {rule.minimum[name]}"
        for name in MINIMUM
        if getattr(found, name) < rule.minimum[name]
    ]


def rounded(value: Any) -> Any:
    """JSON values with floats to 6 significant digits; NaN and infinities become null."""
    if isinstance(value, dict):
        return {str(key): rounded(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") + 0.0 if math.isfinite(value) else None
    return value


def _against(rule: GateRule, threshold: float, found: Estimate) -> tuple[str, list[str]]:
    if rule.direction == "<":
        good, bad = found.high < threshold, found.low > threshold
    else:
        good, bad = found.low > threshold, found.high < threshold
    if good:
        return PASS, []
    if bad:
        side = "above" if rule.direction == "<" else "below"
        return FAIL, [f"the whole interval is {side} {threshold:g}"]
    return INCONCLUSIVE, [f"the interval holds the threshold {threshold:g}"]


def _beyond(rule: GateRule, level: float, found: Estimate) -> bool:
    return found.low > level if rule.direction == "<" else found.high < level
