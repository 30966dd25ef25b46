"""The whole judgement of a run: what must fail, what must not pass, and how it is told."""

import json
from pathlib import Path

import numpy as np
import pytest

from lensjax.gates import arrays, exit_code, hard_negative, judge, table, verdict
from lensjax.gates.arrays import read_evaluation
from lensjax.gates.case import Case
from lensjax.gates.core import expected_curve
from lensjax.gates.gate import GateError, conclude
from lensjax.gates.protocol import GATES, Protocol, parse_protocol
from lensjax.gates.record import encoded
from lensjax.schema import LensjaxError
from tests.gates.synthetic import write_evaluation


@pytest.fixture(scope="module")
def judged(clean: Path, small: Protocol) -> dict:
    return judge(clean, small)


def gate_of(workdir: Path, rules: Protocol, name: str) -> dict:
    """One gate of the run alone, which takes a fraction of all."""
    case = Case(rules, read_evaluation(workdir))
    return verdict._gate(case, verdict._rule(case, name), name)


def edited(rules: Protocol, change) -> Protocol:
    document = json.loads(json.dumps(rules.document))
    change(document)
    return parse_protocol(document)


def test_a_sound_run_is_green(judged: dict) -> None:
    assert (judged["verdict"], judged["reason"], exit_code(judged)) == ("GREEN", "", 0)
    assert list(judged["gates"]) == list(GATES)
    reported = {name for name, gate in judged["gates"].items() if gate["verdict"] != "PASS"}
    assert reported <= {"radial_lr_auc_raw", "core_reliance", "metadata", "survey", "brick"}
    for gate in judged["gates"].values():
        assert gate["verdict"] != "ERROR" and gate["n_bricks"] >= 30


def test_the_table_tells_every_gate(judged: dict) -> None:
    text = table(judged)
    lines = text.split("\n")
    assert lines[-1] == "GREEN"
    for name, gate in judged["gates"].items():
        line = next(line for line in lines if line.startswith(f"{name} "))
        assert gate["verdict"] in line and ("required" in line) == gate["required"]
        assert gate["value"] is None or f"{gate['value']:.3f}" in line
    assert "in sample" in text and "geometry alone predicts" in text and "p 0." in text


def test_gates_json_has_six_digits_and_nothing_of_its_place(clean: Path, judged: dict) -> None:
    told = json.loads(encoded(judged))
    ends = [*told["gates"]["auroc_test"]["ci"], told["gates"]["core_lr_auc"]["value"]]
    assert ends == [float(f"{end:.6g}") for end in ends]
    assert not any(word in encoded(judged).decode() for word in (str(clean), "/tmp"))


@pytest.mark.proves("S7")
def test_another_protocol_is_refused_unless_asked_for(clean: Path, small: Protocol) -> None:
    """With the guard off a laxer threshold judges the run unnoticed: tests/faults/test_gates."""
    lax = edited(small, lambda d: d["gates"]["auroc_test"].update(threshold=0.5))
    with pytest.raises(LensjaxError) as caught:
        judge(clean, lax)
    assert caught.value.code == 12


def test_one_class_is_an_error_never_a_half(tmp_path: Path, small: Protocol) -> None:
    """Flaw 1 of the old code: one class gave 0.5, which passed every gate below 0.65."""

    def positives_alone(split: str, rows: arrays.Arrays) -> None:
        if split == "test":
            rows["in_manifest"] = rows["label"] == 1

    run = write_evaluation(tmp_path / "run", small, change=positives_alone)
    judged = judge(run, small)
    assert {gate["verdict"] for gate in judged["gates"].values()} == {"ERROR"}
    assert {gate["value"] for gate in judged["gates"].values()} == {None}
    assert (judged["verdict"], exit_code(judged)) == ("RED", 22)
    assert "one class only" in judged["gates"]["auroc_test"]["reason"]
    assert "ERROR" in table(judged)


def test_a_half_in_its_place_would_pass(
    clean: Path, small: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: what the old code answered passes core_lr_auc."""
    from lensjax.gates.statistics import Estimate

    half = Case(small, read_evaluation(clean)).finding(Estimate(0.5, 0.5, 0.5))
    assert conclude(small.gates["core_lr_auc"], half)["verdict"] == "PASS"


def test_one_class_among_the_rows_that_are_fitted(tmp_path: Path, small: Protocol) -> None:
    def negatives_alone(split: str, rows: arrays.Arrays) -> None:
        if split == "val":
            rows["in_manifest"] = rows["label"] == 0

    run = write_evaluation(tmp_path / "run", small, change=negatives_alone)
    entry = gate_of(run, small, "core_lr_auc")
    assert (entry["verdict"], entry["value"]) == ("ERROR", None)
    assert "val has 0 positives" in entry["reason"]


def perfect(split: str, rows: arrays.Arrays) -> None:
    for name in ("logit", "logit_core_masked"):
        rows[name] = rows[name] + np.float32(100) * rows["label"].reshape(
            (-1,) + (1,) * (rows[name].ndim - 1)
        )


@pytest.mark.proves("T1")
@pytest.mark.parametrize(
    ("pairs", "checks", "known"),
    [
        (200, {}, ("FAIL", False)),  # too few to be believed
        (1100, {"duplicates": "NOT PROVEN"}, ("FAIL", False)),
        (1100, {}, ("PASS", True)),
    ],
)
def test_perfect_scores_are_a_red_flag(tmp_path, default, pairs, checks, known) -> None:
    """Never GREEN: FAIL at n = 200 or with a leak check that is not passed, else a warning."""
    passed = dict.fromkeys(verdict.LEAK_CHECKS, "PASS")
    run = write_evaluation(
        tmp_path / "run",
        default,
        paired=True,
        pairs=pairs,
        change=perfect,
        manifest={"phase0": {"checks": {**passed, **checks}}},
    )
    entry = gate_of(run, default, "perfect_scores")
    assert (entry["verdict"], entry["warn"]) == known
    assert entry["value"] == 1.0 and entry["ci"][0] < 1.0
    colour, _ = verdict.colour({"perfect_scores": entry}, evidence=True)
    assert colour == {"FAIL": "RED", "PASS": "YELLOW"}[entry["verdict"]]
    auroc = gate_of(run, default, "auroc_test")  # the control: without that gate it is a triumph
    assert auroc["verdict"] == ("PASS" if pairs == 1100 else "INCONCLUSIVE")


def test_leak_checks_that_nobody_ran_are_not_passed(tmp_path: Path, default: Protocol) -> None:
    run = write_evaluation(
        tmp_path / "run",
        default,
        paired=True,
        pairs=1100,
        change=perfect,
        manifest={"phase0": {}},
    )
    assert "not passed: splits" in gate_of(run, default, "perfect_scores")["reason"]


@pytest.mark.proves("T4")
def test_twenty_a_class_prove_nothing(tmp_path: Path, default: Protocol) -> None:
    """INCONCLUSIVE and 21. Judged by the point it would pass; that the minimum counts guard a PASS
    beside the interval is in test_gate."""
    quick = edited(default, lambda d: d["intervals"].update(resamples=200))
    quick = edited(quick, lambda d: d["probes"].update(permutations=9, c_grid=[0.001]))
    run = write_evaluation(
        tmp_path / "run", quick, pairs=32, lookalikes=8, hosts_per_brick=2, skill=0.2
    )
    judged = judge(run, quick)
    assert (judged["verdict"], exit_code(judged)) == ("YELLOW", 21)
    entry = judged["gates"]["auroc_test"]
    assert entry["n_pos"] <= 25 and "below the minimum 1000" in entry["reason"]
    assert entry["ci"][0] < entry["threshold"] < entry["value"]
    passed = {name for name, gate in judged["gates"].items() if gate["verdict"] == "PASS"}
    assert passed == {"perfect_scores"}


@pytest.mark.proves("T7")
def test_permuted_labels_through_the_gates(tmp_path: Path, small: Protocol) -> None:
    """Labels at random FAIL the model and PASS the shortcut gates. With the true ones it is the
    other way round."""

    def shuffled(split: str, rows: arrays.Arrays) -> None:
        order = np.random.default_rng(5).permutation(len(rows["label"]))
        for name in ("logit", "logit_core_masked", "core_box"):
            rows[name] = rows[name][order]

    run = write_evaluation(tmp_path / "run", small, change=shuffled, core=0.3)
    assert gate_of(run, small, "auroc_test")["verdict"] == "FAIL"
    assert gate_of(run, small, "core_lr_auc")["verdict"] == "PASS"
    true = write_evaluation(tmp_path / "true", small, core=0.3)
    assert gate_of(true, small, "auroc_test")["verdict"] == "PASS"
    assert gate_of(true, small, "core_lr_auc")["verdict"] == "FAIL"


@pytest.mark.proves("T11")
def test_a_run_that_is_no_evidence_is_yellow_at_best(
    clean: Path, small: Protocol, judged: dict
) -> None:
    """With the flag off the same gates are GREEN."""
    assert verdict.colour(judged["gates"], evidence=False) == ("YELLOW", "not evidence")
    assert verdict.colour(judged["gates"], evidence=True) == ("GREEN", "")
    failed = {"auroc_test": {**judged["gates"]["auroc_test"], "verdict": "FAIL"}}
    assert verdict.colour(failed, evidence=False)[0] == "RED"


def test_hard_negatives_are_required_where_training_had_some(
    tmp_path: Path, clean: Path, small: Protocol
) -> None:
    assert gate_of(clean, small, "hard_negative_auroc")["required"]
    run = write_evaluation(tmp_path / "run", small, manifest={"hard_negative_fraction": 0.0})
    assert not gate_of(run, small, "hard_negative_auroc")["required"]


def test_a_shuffle_that_one_number_sees_through_proves_nothing(
    tmp_path: Path, small: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flaw 6. With the audit off the same gate passes."""

    def rough(split: str, rows: arrays.Arrays) -> None:
        rows["hard_negative_audit"][:, 2] += 6.0  # of the shuffled arc

    run = write_evaluation(tmp_path / "run", small, change=rough)
    entry = gate_of(run, small, "hard_negative_auroc")
    assert entry["verdict"] == "INCONCLUSIVE" and "proves nothing" in entry["reason"]
    assert entry["detail"]["audit_best"] > 0.99
    assert entry["detail"]["audit"][0]["auroc"]["roughness"] < 0.01  # either way round counts
    monkeypatch.setattr(hard_negative, "_audit", lambda *args: ([], 0.5))
    assert gate_of(run, small, "hard_negative_auroc")["verdict"] == "PASS"


def test_hard_negatives_are_of_pairs_whose_control_is_judged(clean: Path, small: Protocol) -> None:
    rows = read_evaluation(clean).test
    controls = rows["in_manifest"] & (rows["negative_kind"] == "control")
    entry = gate_of(clean, small, "hard_negative_auroc")
    assert entry["n_neg"] == controls.sum()
    lens = rows["in_manifest"] & (rows["label"] == 1)
    scores = np.concatenate([rows["logit"][lens], rows["logit_hard_negative"][controls]])
    labels = np.repeat([1, 0], [lens.sum(), controls.sum()])
    from sklearn.metrics import roc_auc_score

    assert entry["value"] == pytest.approx(roc_auc_score(labels, scores))


def test_the_model_that_leans_on_the_core_fails(tmp_path: Path, small: Protocol) -> None:
    run = write_evaluation(tmp_path / "run", small, skill=0.03, seen=2.0)
    drop, reliance = (gate_of(run, small, f"core_{name}") for name in ("masked_drop", "reliance"))
    assert drop["verdict"] == reliance["verdict"] == "FAIL"
    curve = [each["value"] for each in reliance["detail"]["curve"]]
    assert drop["value"] == pytest.approx((curve[0] - curve[2]) / curve[0], rel=1e-9)
    assert reliance["value"] == pytest.approx(curve[0] - curve[3], rel=1e-9)
    assert reliance["value"] > 5 * reliance["detail"]["expected_drop"]


def test_nothing_masked_is_an_error(tmp_path: Path, small: Protocol) -> None:
    def unmasked(split: str, rows: arrays.Arrays) -> None:
        rows["logit_core_masked"] = np.repeat(rows["logit"][:, None], 6, axis=1)

    run = write_evaluation(tmp_path / "run", small, change=unmasked)
    assert gate_of(run, small, "core_masked_drop")["verdict"] == "ERROR"


def test_geometry_predicts_what_a_matched_filter_loses() -> None:
    """Against drawn statistics of a matched filter of the same efficiency."""
    rng = np.random.default_rng(2)
    snr = np.exp(rng.uniform(np.log(2), np.log(20), 4000))[:, None] * np.linspace(1, 0.2, 6)
    drawn = 0.3 * np.repeat(snr, 50, 0) + rng.normal(0, 1, (200_000, 6))
    other = rng.normal(0, 1, (200_000, 6))
    known = (drawn > other).mean(0)
    found = expected_curve(snr, known[0])
    assert found == pytest.approx(known, abs=5e-3)
    assert found[0] == pytest.approx(known[0], abs=1e-9)
    assert (np.diff(found) < 0).all()


def test_geometry_predicts_what_a_filter_of_the_same_bright_arcs_loses() -> None:
    """Arcs of the demo, its efficiency by bisection on 200,000 draws, other radii by counting."""
    rng = np.random.default_rng(5)
    snr = rng.uniform(8, 50, 400)[:, None] * np.array([1, 0.99, 0.95, 0.8, 0.4, 0.05])
    lenses = rng.integers(0, len(snr), 200_000)
    noise = rng.normal(size=200_000) - rng.normal(size=200_000)
    low, high = 0.0, 5.0
    for _ in range(40):
        k = (low + high) / 2
        low, high = (k, high) if (k * snr[lenses, 0] + noise > 0).mean() < 0.94 else (low, k)
    counted = (k * snr[lenses] + noise[:, None] > 0).mean(0)
    assert expected_curve(snr, 0.94) == pytest.approx(counted, abs=5e-3)


def test_the_ends_of_what_geometry_predicts_hold() -> None:
    snr = np.full((3, 6), 10.0)
    assert expected_curve(snr, 1.0) == pytest.approx(1.0)
    assert expected_curve(snr, 0.4) == pytest.approx(0.5, abs=1e-4)
    with pytest.raises(GateError, match="not finite in any lens"):
        expected_curve(np.full((3, 6), np.nan), 0.9)


@pytest.mark.parametrize("residual", [False, True])
def test_the_radial_profile_after_residual_is_a_tautology(tmp_path, small, residual) -> None:
    told = {"preprocessing": "residual_radial_profile"} if residual else {}
    run = write_evaluation(tmp_path / "run", small, manifest=told)
    entry, raw = (gate_of(run, small, name) for name in ("radial_lr_auc", "radial_lr_auc_raw"))
    assert raw["value"] is not None and raw["reason"] == "no threshold: printed only"
    if residual:
        assert (entry["verdict"], entry["reason"]) == ("INCONCLUSIVE", "tautology")
        assert entry["value"] is None
    else:
        assert entry["value"] is not None


def only_above(split: str, rows: arrays.Arrays) -> None:
    """No lenses with theta_E below 2 arcsec."""
    rows["in_manifest"] &= ~(rows["theta_e_arcsec"] < 2.0)


def test_theta_e_bins(tmp_path: Path, clean: Path, small: Protocol) -> None:
    least, spread = (gate_of(clean, small, f"theta_e_{name}") for name in ("min_auroc", "spread"))
    states = [each["state"] for each in least["detail"]["bins"]]
    assert states == ["not in population"] * 3 + ["", ""]
    assert least["verdict"] == spread["verdict"] == "PASS"
    values = [each["value"] for each in least["detail"]["bins"][3:]]
    assert least["value"] == min(values)
    assert spread["value"] == pytest.approx(max(values) - min(values))

    run = write_evaluation(tmp_path / "run", small, change=only_above)
    least, spread = (gate_of(run, small, f"theta_e_{name}") for name in ("min_auroc", "spread"))
    assert least["verdict"] == spread["verdict"] == "INCONCLUSIVE"
    assert "no lenses in theta_E 1.5-2" in least["reason"]
    assert [each["state"] for each in least["detail"]["bins"]][3:] == ["empty", ""]

    one = {"population": {"theta_e": [2.0, 2.5]}}
    run = write_evaluation(tmp_path / "one", small, change=only_above, manifest=one)
    least, spread = (gate_of(run, small, f"theta_e_{name}") for name in ("min_auroc", "spread"))
    assert least["verdict"] == "PASS"
    assert spread["reason"] == "1 populated bin: no spread"


def test_an_empty_bin_does_not_hide_one_that_fails(tmp_path: Path, small: Protocol) -> None:
    run = write_evaluation(tmp_path / "run", small, change=only_above, skill=0.01)
    assert gate_of(run, small, "theta_e_min_auroc")["verdict"] == "FAIL"


def test_the_rare_end_needs_its_negatives(clean: Path, small: Protocol) -> None:
    detail = gate_of(clean, small, "auroc_test")["detail"]
    rates = {each["fpr"]: each for each in detail["tpr_at_fpr"]}
    assert rates[0.0001]["verdict"] == "INCONCLUSIVE"
    assert "100000 needed" in rates[0.0001]["reason"]
    assert detail["tpr_at_false_positives"]["0"]["found"] <= rates[0.01]["found"]
    assert detail["lookalikes"]["n_neg"] == 100
    assert detail["lookalikes"]["value"] < gate_of(clean, small, "auroc_test")["value"]


def test_a_stricter_protocol_may_promote_any_gate(clean: Path, small: Protocol) -> None:
    strict = edited(small, lambda d: d["gates"]["core_only_auroc"].update(required=True))
    assert gate_of(clean, strict, "core_only_auroc")["required"]


def test_an_array_that_is_absent_is_that_gates_error(tmp_path: Path, small: Protocol) -> None:
    run = write_evaluation(
        tmp_path / "run", small, change=lambda split, rows: rows.pop("noise_sigma")
    )
    entry = gate_of(run, small, "survey")
    assert entry["verdict"] == "ERROR" and "no array noise_sigma" in entry["reason"]
    assert gate_of(run, small, "outskirts")["verdict"] != "ERROR"
