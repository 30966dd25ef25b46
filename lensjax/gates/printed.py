"""The verdict as plain text for a terminal: a table of the gates, and what stands beside them.

Not the report (lensjax.report), and without the population that a verdict is about: whoever prints
it knows the run.

    print(table(judged))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lensjax.gates.printed_measures import aligned, interval, measures_lines, number
from lensjax.gates.protocol import GATES
from lensjax.gates.verdict import PHASE0
from lensjax.schema import printable

Entry = Mapping[str, Any]

_COLUMNS = ("gate", "verdict", "value", "95 % interval", "needs", "role", "pos/neg", "bricks", "")
_DECIDES = "The colour is of the required gates alone; reported ones are there to be read."
_RIGHT = (2, 6, 7)  # columns that are numbers


def table(judged: Entry) -> str:
    """Lines of text: each gate (the required ones first), what stands beside it, what was measured,
    the colour word and its reason. Control characters are escaped."""
    reason = f": {judged['reason']}" if judged["reason"] else ""
    last = [f"{judged['verdict']}{reason}"]
    if judged.get("evidence_reason"):
        last.append(f"not evidence: {judged['evidence_reason']}")
    if judged["reason"] == PHASE0:
        last += [f"  {name}: {message}" for name, message in judged["failed_checks"].items()]
        return "\n".join(printable(line) for line in last)
    ranked = sorted(judged["gates"].items(), key=lambda item: not item[1]["required"])
    lines = aligned([_COLUMNS, *(_row(name, gate) for name, gate in ranked)], _RIGHT)
    notes = [f"  {name}: {note}" for name, gate in ranked if (note := beside(gate))]
    if notes:
        lines += ["", "beside the gates", *notes]
    if "measures" in judged:
        lines += ["", *measures_lines(judged["measures"])]
    return "\n".join(printable(line) for line in [*lines, "", _DECIDES, *last])


def beside(gate: Entry) -> str:
    """What a gate's number has to be read with, from its `detail`: a probe's null and its other
    readings, geometry's prediction, look-alikes alone, the audit of the shuffle. Empty if there is
    nothing."""
    detail = gate.get("detail", {})
    notes = []
    if "null" in detail:
        null = detail["null"]
        notes.append(
            f"null {number(null['value'])} {interval(null['ci'])}, p {number(null['p'])} of "
            f"{null['permutations']} permutations, exchanging {null['exchanged']} "
            f"({null['effective_test']} in test)"
        )
    if "in_sample" in detail:
        notes.append(
            f"cross-validated on test {number(detail['cross_validated_on_test'])}, in sample "
            f"{number(detail['in_sample'])}, C {detail['c']:g}, {detail['features']} features"
        )
    if "expected_drop" in detail:
        notes.append(f"geometry alone predicts {number(detail['expected_drop'])}")
    if "lookalikes" in detail:
        alone = detail["lookalikes"]
        told = f"{number(alone['value'])} {interval(alone['ci'])}" if alone["n_neg"] else "none"
        share = 100 * detail["lookalike_share"]
        notes.append(f"look-alikes alone ({share:.0f} % of the negatives) {told}")
    if "audit_best" in detail:
        notes.append(f"best one-number audit of the shuffle {number(detail['audit_best'])}")
    notes += [_bin(each) for each in detail.get("bins", ())]
    return "; ".join(notes)


def _bin(each: Entry) -> str:
    low, high = each["theta_e"]
    told = each["state"] or f"{number(each['value'])} {interval(each['ci'])}"
    return f"theta_E {low:g}-{high:g} (n {each['n_pos']}) {told}"


def _row(name: str, gate: Entry) -> tuple[str, ...]:
    warn = " warn" if gate["warn"] else ""
    threshold = gate["threshold"]
    return (
        name,
        f"{gate['verdict']}{warn}",
        number(gate["value"]),
        interval(gate["ci"]),
        "-" if threshold is None else f"{GATES[name]} {threshold:g}",
        "required" if gate["required"] else "reported",
        f"{gate['n_pos']}/{gate['n_neg']}",
        str(gate["n_bricks"]),
        gate["reason"],
    )
