"""What a number means under its rule, and what gates mean for a run: verdicts, colours, codes."""

import itertools

import pytest

from lensjax.gates import exit_code
from lensjax.gates.gate import Finding, conclude, failed_input, rounded
from lensjax.gates.protocol import GateRule
from lensjax.gates.statistics import Estimate
from lensjax.gates.verdict import colour

MINIMUM = {"n_pos": 1000, "n_neg": 1000, "n_bricks": 60}
BELOW = GateRule(True, "<", 0.65, 0.60, MINIMUM)  # a good value is below
ABOVE = GateRule(True, ">", 0.85, None, MINIMUM)
ENOUGH, FEW = (2000, 2000, 70), (20, 20, 4)


def found(value: float, low: float, high: float, counts=ENOUGH, **more) -> Finding:
    return Finding(Estimate(value, low, high), *counts, **more)


@pytest.mark.parametrize(
    ("rule", "ends", "verdict", "warn"),
    [
        (BELOW, (0.50, 0.48, 0.52), "PASS", False),
        (BELOW, (0.605, 0.575, 0.634), "PASS", False),  # the contract's own example
        (BELOW, (0.63, 0.61, 0.645), "PASS", True),
        (BELOW, (0.64, 0.61, 0.66), "INCONCLUSIVE", True),
        (BELOW, (0.64, 0.59, 0.66), "INCONCLUSIVE", False),
        (BELOW, (0.70, 0.66, 0.74), "FAIL", True),
        (BELOW, (0.63, 0.61, 0.65), "INCONCLUSIVE", True),  # on the threshold is not beyond it
        (ABOVE, (0.90, 0.86, 0.93), "PASS", False),
        (ABOVE, (0.90, 0.85, 0.93), "INCONCLUSIVE", False),
        (ABOVE, (0.80, 0.77, 0.84), "FAIL", False),
    ],
)
def test_an_interval_against_its_threshold(rule, ends, verdict: str, warn: bool) -> None:
    entry = conclude(rule, found(*ends))
    assert (entry["verdict"], entry["warn"]) == (verdict, warn)


def test_minimum_counts_guard_a_pass_alone() -> None:
    good, bad = found(0.5, 0.4, 0.6, FEW), found(0.8, 0.7, 0.9, FEW)
    entry = conclude(BELOW, good)
    assert entry["verdict"] == "INCONCLUSIVE"
    assert "n_pos 20 below the minimum 1000; n_neg 20" in entry["reason"]
    assert conclude(BELOW, bad)["verdict"] == "FAIL"
    lax = GateRule(True, "<", 0.65, None, dict.fromkeys(MINIMUM, 0))
    assert conclude(lax, good)["verdict"] == "PASS"  # the guard off


def test_a_bar_stands_in_the_way_of_a_pass_alone() -> None:
    assert conclude(BELOW, found(0.5, 0.48, 0.52, bars=("why",)))["verdict"] == "INCONCLUSIVE"
    assert conclude(BELOW, found(0.5, 0.48, 0.52, bars=("why",)))["reason"] == "why"
    assert conclude(BELOW, found(0.8, 0.7, 0.9, bars=("why",)))["verdict"] == "FAIL"


def test_nothing_measured_is_no_number() -> None:
    entry = conclude(BELOW, Finding(None, *ENOUGH, undecided="tautology"))
    assert (entry["verdict"], entry["reason"]) == ("INCONCLUSIVE", "tautology")
    assert entry["value"] is None and entry["ci"] is None and not entry["warn"]
    entry = failed_input(BELOW, "one class only: 5 positives, 0 negatives", (5, 0, 2))
    assert entry["verdict"] == "ERROR" and entry["value"] is None


def test_an_auroc_below_a_half_is_called_inverted() -> None:
    assert "inverted" in conclude(ABOVE, found(0.2, 0.1, 0.3))["reason"]
    assert "inverted" not in conclude(BELOW, found(0.0, 0.0, 0.1, is_auc=False))["reason"]


def test_an_entry_has_the_fields_of_the_contract_in_order() -> None:
    assert list(conclude(BELOW, found(0.5, 0.48, 0.52))) == [
        *("verdict", "value", "ci", "threshold", "required", "warn"),
        *("n_pos", "n_neg", "n_bricks", "reason"),
    ]


def test_every_mixture_of_verdicts_has_its_colour_and_code() -> None:
    """Over all pairs of required gates, with a reported one that says anything."""
    states = [("PASS", False), ("PASS", True), ("INCONCLUSIVE", False), ("FAIL", True)]
    states += [("ERROR", False), ("INCONCLUSIVE", True), ("FAIL", False)]
    for (a, b, reported), evidence in itertools.product(
        itertools.product(states, repeat=3), (True, False)
    ):
        gates = {
            name: {"verdict": verdict, "warn": warn, "required": name != "c"}
            for name, (verdict, warn) in zip("abc", (a, b, reported), strict=True)
        }
        verdict, reason = colour(gates, evidence)
        code = exit_code({"verdict": verdict, "reason": reason, "gates": gates})
        needed = {a[0], b[0]}
        if "ERROR" in needed:
            known = ("RED", 22)
        elif "FAIL" in needed:
            known = ("RED", 20)
        elif "INCONCLUSIVE" in needed or a[1] or b[1] or not evidence:
            known = ("YELLOW", 21)
        else:
            known = ("GREEN", 0)
        assert (verdict, code) == known
        if verdict == "YELLOW" and not evidence:
            assert reason == "not evidence"


def test_floats_have_six_digits_and_no_nan() -> None:
    assert rounded({"a": [0.123456789, -0.0, 1e-12]}) == {"a": [0.123457, 0.0, 1e-12]}
    assert rounded((float("nan"), float("inf"), 3, None, "x")) == [None, None, 3, None, "x"]
