"""The protocol: the thresholds of the contract, and no key passed over."""

import copy
import json

import pytest

from lensjax.gates.protocol import digest, first_difference, load_protocol, parse_protocol
from lensjax.schema import LensjaxError

REQUIRED = {
    "auroc_test": (">", 0.85, None),
    "core_lr_auc": ("<", 0.65, 0.60),
    "core_masked_drop": ("<", 0.10, None),
    "hard_negative_auroc": (">", 0.70, None),
    "perfect_scores": ("<", 0.999, None),
}
REPORTED = {
    "core_reliance": ("<", 0.05, 0.03),
    "theta_e_min_auroc": (">", 0.80, None),
    "theta_e_spread": ("<", 0.15, None),
    "radial_lr_auc": ("<", 0.60, 0.55),
    "outskirts": ("<", 0.65, None),
    "survey": ("<", 0.60, None),
    "metadata": ("<", 0.60, None),
    "brick": ("<", 0.65, None),
    "high_frequency_core": ("<", 0.65, None),
}


def test_the_default_is_the_contract(default) -> None:
    rules = default.gates
    assert {name for name, rule in rules.items() if rule.required} == set(REQUIRED)
    for name, known in {**REQUIRED, **REPORTED}.items():
        rule = rules[name]
        assert (rule.direction, rule.threshold, rule.warn) == known, name
    assert default.document["minimum"] == {"n_pos": 1000, "n_neg": 1000, "n_bricks": 60}
    assert rules["theta_e_min_auroc"].minimum["n_pos"] == 200
    assert default.probes["permutations"] >= 999


def test_survey_differs_in_phase0_alone(default) -> None:
    survey = load_protocol("configs/protocols/survey.json")
    for part in default.document:
        same = survey.document[part] == default.document[part]
        assert same == (part not in ("name", "phase0"))


def test_strict_is_survey_with_more_gates_required(default) -> None:
    """So that what is GREEN under strict is GREEN under survey, and then under default."""
    survey = load_protocol("configs/protocols/survey.json")
    strict = load_protocol("configs/protocols/strict.json")
    for part in set(default.document) - {"name", "gates"}:
        assert strict.document[part] == survey.document[part]
    added = {name for name, rule in strict.gates.items() if rule.required} - set(REQUIRED)
    assert added == {
        *("core_reliance", "core_only_auroc", "theta_e_min_auroc", "theta_e_spread"),
        *("survey", "metadata", "outskirts"),
    }
    for name, rule in strict.gates.items():
        assert {**vars(rule), "required": None} == {**vars(default.gates[name]), "required": None}


def broken(default, change) -> str:
    document = copy.deepcopy(default.document)
    change(document)
    with pytest.raises(LensjaxError) as caught:
        parse_protocol(document)
    assert caught.value.code == 2
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d["gates"]["core_lr_auc"].pop("warn"), "gates.core_lr_auc: key 'warn' is mis"),
        (lambda d: d["gates"].update(core_lr_auk={}), "Did you mean 'core_lr_auc'?"),
        (lambda d: d["gates"]["auroc_test"].update(treshold=1.0), "Did you mean 'threshold'?"),
        (lambda d: d["gates"]["auroc_test"].update(direction="<"), "good value lies on the side"),
        (lambda d: d["gates"]["auroc_test"].update(threshold="0.8"), "is not a float"),
        (lambda d: d["gates"]["auroc_test"].update(threshold=1), "Write 1.0"),
        (lambda d: d["gates"]["auroc_test"].update(threshold=None), "needs a threshold"),
        (lambda d: d["gates"]["auroc_test"].update(required=1), "is not true or false"),
        (
            lambda d: d["gates"]["auroc_test"].update(minimum={"n_brick": 3}),
            "Did you mean 'n_bricks'",
        ),
        (lambda d: d["intervals"].update(confidence=0.5), "must be 0.95"),
        (lambda d: d["intervals"].update(resamples=10), "10 is less than 200"),
        (lambda d: d["probes"].update(c_grid=[]), "must be a list of numbers"),
        (lambda d: d["probes"].update(c_grid=[0.0]), "must be above 0"),
        (lambda d: d["minimum"].update(n_pos=-1), "is not a int of at least 0"),
        (lambda d: d["measures"].update(prevalence=1.0), "1.0 is not between 0 and 1"),
        (lambda d: d["measures"].update(prevalance=0.1), "Did you mean 'prevalence'?"),
        (lambda d: d["measures"].update(score_thresholds=[0.5, 1.5]), "1.5 is not between"),
        (lambda d: d["measures"].update(strata_quantiles=[0.5, 0.25]), "numbers must rise"),
        (lambda d: d["measures"].update(recall_at=[0, 50]), "must be above 0"),
        (lambda d: d["measures"].update(recall_at=[50.0]), "is not a int"),
        (lambda d: d["measures"].update(calibration_bins=1), "1 is less than 2"),
        (lambda d: d["measures"].pop("selection_fpr"), "key 'selection_fpr' is missing"),
        (lambda d: d["hunter"].update(ridge_grid=[0.0]), "must be above 0"),
        (lambda d: d.update(theta_e_bins=[1.0, 0.5]), "bin edges must rise"),
        (lambda d: d.update(name=3), "name must be text"),
        (lambda d: d.pop("phase0"), "key 'phase0' is missing"),
        (lambda d: d.update(phase0=[]), "phase0: must be an object"),
    ],
)
def test_a_mistake_is_named(default, change, told: str) -> None:
    assert told in broken(default, change)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not a protocol in JSON"),
        ('{"name": "a", "name": "b"}', "key 'name' is given twice"),
        ('{"name": NaN}', "NaN is not a number"),
        ("[" * 100_000, "not a protocol in JSON"),
        ("[]", "must be an object"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_what_is_no_protocol_is_refused(tmp_path, text, told: str) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(LensjaxError) as caught:
        load_protocol(path)
    assert caught.value.code == 2 and told in str(caught.value)


def test_a_missing_file_is_refused(tmp_path) -> None:
    with pytest.raises(LensjaxError, match="No such file"):
        load_protocol(tmp_path / "none.json")


def test_the_digest_is_of_the_content(default) -> None:
    text = json.dumps(default.document, indent=7)
    assert parse_protocol(json.loads(text)).digest == default.digest
    changed = json.loads(text)
    changed["gates"]["auroc_test"]["threshold"] = 0.84
    assert digest(changed) != default.digest
    assert first_difference(default.document, changed) == "gates.auroc_test.threshold: 0.85 -> 0.84"
    assert first_difference(default.document, json.loads(text)) is None
    del changed["gates"]["auroc_test"]["warn"]
    assert first_difference(changed, default.document).endswith("threshold: 0.84 -> 0.85")
    del changed["gates"]["auroc_test"]["threshold"]
    assert first_difference(default.document, changed) == "gates.auroc_test.threshold: removed"


def test_the_first_difference_is_of_a_rule_and_the_name_comes_last(default) -> None:
    """Two protocols differ in name as a matter of course; what sorts after it says more."""
    changed = json.loads(json.dumps(default.document))
    changed["name"] = "mine"
    assert first_difference(default.document, changed) == 'name: "default" -> "mine"'
    changed["theta_e_bins"][0] = 0.4
    assert first_difference(default.document, changed).startswith("theta_e_bins: ")
    survey = load_protocol("configs/protocols/survey.json").document
    assert first_difference(default.document, survey).startswith("phase0.")
