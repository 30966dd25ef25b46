"""All gates together: the verdict of a run, from its workdir and a protocol.

Not the gates' own measures (core, hard_negative, shortcuts, strata), and writes nothing (record).

    judged = judge("runs/b3", load_protocol("configs/protocols/default.json"))
    judged["verdict"], exit_code(judged)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from lensjax.gates import core, hard_negative, protocol, strata
from lensjax.gates.arrays import read_evaluation
from lensjax.gates.case import Case
from lensjax.gates.gate import (
    ERROR,
    FAIL,
    INCONCLUSIVE,
    PASS,
    Finding,
    GateError,
    conclude,
    entry,
    failed_input,
    rounded,
)
from lensjax.gates.pool import side_by_side
from lensjax.gates.protocol import GateRule, Protocol
from lensjax.gates.shortcuts import SHORTCUTS
from lensjax.gates.statistics import StatisticsError
from lensjax.schema import ExitCode, LensjaxError

SCHEMA = "lensjax-gates-1"
GREEN, YELLOW, RED = "GREEN", "YELLOW", "RED"
PHASE0 = "phase0"  # reason of a run that the data checks refused: lensjax.gates.record
NOT_EVIDENCE = "not evidence"
LEAK_CHECKS = ("splits", "duplicates", "metadata_shortcut", "survey_shortcut")

MEASURES: dict[str, Callable[[Case], Finding]] = {
    "auroc_test": strata.auroc_test,
    "core_masked_drop": core.core_masked_drop,
    "hard_negative_auroc": hard_negative.hard_negative_auroc,
    "core_reliance": core.core_reliance,
    "core_only_auroc": core.core_only,
    "theta_e_min_auroc": strata.theta_e_min,
    "theta_e_spread": strata.theta_e_spread,
    **SHORTCUTS,
}


def judge(
    workdir: str | Path,
    rules: Protocol,
    *,
    other_protocol: bool = False,
    advance: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """The object of gates.json: every gate, the colour and its reason.

    other_protocol: judge although the run was begun under another protocol. advance: called after
    each gate (a progress bar's).

    Raises:
        LensjaxError: exit 22 for arrays that are incomplete, damaged or impossible; exit 12 for a
            protocol that is not the run's.
    """
    return judge_case(open_case(workdir, rules, other_protocol), advance)


def open_case(workdir: str | Path, rules: Protocol, other_protocol: bool = False) -> Case:
    """The arrays of a run, under a protocol. Raises as `judge` does."""
    evaluation = read_evaluation(workdir)
    begun = evaluation.manifest["protocol_digest"]
    if begun != rules.digest and not other_protocol:
        raise LensjaxError(
            ExitCode.MISMATCH,
            f"the run was begun under protocol {begun[:12]}, not {rules.digest[:12]}",
            str(workdir),
            "Judge it under its own protocol, or start over with --fresh",
        )
    return Case(rules, evaluation)


def judge_case(case: Case, advance: Callable[[], object]) -> dict[str, Any]:
    """What `judge` gives, of a case that is open."""

    def gate(name: str) -> dict[str, Any]:
        return _gate(case, _rule(case, name), name)

    gates = {}
    # BLAS has one thread: then sums do not depend on the number of cores.
    with threadpool_limits(limits=1, user_api="blas"):
        for name, entry in zip(protocol.GATES, side_by_side(gate, protocol.GATES), strict=True):
            gates[name] = entry
            advance()
    verdict, reason = colour(gates, case.manifest["evidence"])
    judged = {
        "schema": SCHEMA,
        "verdict": verdict,
        "reason": reason,
        "protocol_digest": case.protocol.digest,
        "arrays_digest": case.evaluation.digest,
        "gates": gates,
    }
    if not case.manifest["evidence"]:
        judged["evidence_reason"] = str(case.manifest.get("evidence_reason", ""))
    return rounded(judged)


def _rule(case: Case, name: str) -> GateRule:
    """The protocol's rule; hard negatives are reported only where training had none."""
    rule = case.protocol.gates[name]
    if name == "hard_negative_auroc" and case.manifest["hard_negative_fraction"] == 0:
        return GateRule(**{**vars(rule), "required": False})
    return rule


def _gate(case: Case, rule: GateRule, name: str) -> dict[str, Any]:
    """One gate. Input that it cannot use is its ERROR, never a value."""
    counts = case.test.counts()
    if not (counts[0] and counts[1]):
        reason = f"one class only: {counts[0]} positives, {counts[1]} negatives"
        return failed_input(rule, reason, counts)
    try:
        if name == "perfect_scores":
            return perfect_scores(case, rule)
        return conclude(rule, MEASURES[name](case))
    except (GateError, StatisticsError, np.linalg.LinAlgError) as error:
        return failed_input(rule, str(error), counts)


def perfect_scores(case: Case, rule: GateRule) -> dict[str, Any]:
    """An AUROC above the threshold is a red flag: FAIL, unless the leak checks passed and both
    classes are large; then PASS with a warning. It is judged by its point."""
    estimate = case.auroc(case.test["logit"])
    found = case.finding(estimate)
    if rule.threshold is None or estimate.value <= rule.threshold:
        return entry(rule, found, PASS, False, "")
    checks = case.manifest["phase0"].get("checks", {})
    unproven = [name for name in LEAK_CHECKS if _verdict(checks, name) != "PASS"]
    few = [
        f"{key} {count} below {rule.minimum[key]}"
        for key, count in (("n_pos", found.n_pos), ("n_neg", found.n_neg))
        if count < rule.minimum[key]
    ]
    missing = [f"not passed: {', '.join(unproven)}"] if unproven else []
    if missing or few:
        why = "; ".join(["a leak, or a trivial task", *missing, *few])
        return entry(rule, found, FAIL, False, why)
    return entry(rule, found, PASS, True, "nearly perfect; the leak checks passed")


def _verdict(checks: Any, name: str) -> Any:
    found = checks.get(name) if isinstance(checks, Mapping) else None
    return found.get("verdict") if isinstance(found, Mapping) else found


def colour(gates: Mapping[str, Mapping[str, Any]], evidence: bool) -> tuple[str, str]:
    """RED for a required ERROR or FAIL; else YELLOW for a required INCONCLUSIVE or warning, or a
    run that is not evidence; else GREEN. With the reason."""
    needed = {name: gate for name, gate in gates.items() if gate["required"]}
    bad = [
        f"{name} {gate['verdict']}"
        for name, gate in needed.items()
        if gate["verdict"] in (ERROR, FAIL)
    ]
    if bad:
        return RED, "; ".join(bad)
    if not evidence:
        return YELLOW, NOT_EVIDENCE
    open_ = [
        f"{name} {gate['verdict'] if gate['verdict'] != PASS else 'warning'}"
        for name, gate in needed.items()
        if gate["verdict"] == INCONCLUSIVE or gate["warn"]
    ]
    return (YELLOW, "; ".join(open_)) if open_ else (GREEN, "")


def exit_code(judged: Mapping[str, Any]) -> ExitCode:
    """22 for a required ERROR, 20 for RED, 21 for YELLOW, 0; of a refused run that of phase 0."""
    if judged["reason"] == PHASE0:
        return ExitCode(judged["exit_code"])
    if any(gate["required"] and gate["verdict"] == ERROR for gate in judged["gates"].values()):
        return ExitCode.GATE_INPUT_INVALID
    codes = {RED: ExitCode.GATE_FAILED, YELLOW: ExitCode.INCONCLUSIVE, GREEN: ExitCode.OK}
    return codes[judged["verdict"]]
