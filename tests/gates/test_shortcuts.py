"""Probes: a planted shortcut FAILs, a clean set PASSes, and noise is not a shortcut."""

import json

import numpy as np
import pytest

from lensjax.gates import probes, statistics
from lensjax.gates.arrays import Arrays
from lensjax.gates.case import Case, Rows
from lensjax.gates.gate import GateError, conclude
from lensjax.gates.logistic import host_folds
from lensjax.gates.protocol import Protocol, parse_protocol
from lensjax.gates.shortcuts import SHORTCUTS, mean_of_other_half
from tests.gates.synthetic import synthetic_case


def gate(case: Case, name: str) -> dict:
    return conclude(case.protocol.gates[name], SHORTCUTS[name](case))


@pytest.mark.parametrize("seed", range(4))
def test_a_planted_core_fails_and_a_clean_one_passes(small: Protocol, seed: int) -> None:
    assert gate(synthetic_case(small, seed=seed, core=0.1), "core_lr_auc")["verdict"] == "FAIL"
    clean = gate(synthetic_case(small, seed=seed), "core_lr_auc")
    assert clean["verdict"] == "PASS"
    assert 0.4 < clean["value"] < 0.6


@pytest.mark.parametrize("name", ["core_lr_auc_r5", "core_lr_auc_raw"])
def test_the_other_cores_see_it_too(small: Protocol, name: str) -> None:
    assert gate(synthetic_case(small, core=0.1), name)["verdict"] == "FAIL"
    assert gate(synthetic_case(small), name)["verdict"] == "PASS"


def shifted(name: str, by: float):
    """Lenses whose column 0 of an array is moved by `by` of its spread."""

    def change(split: str, rows: Arrays) -> None:
        values = rows[name].reshape(len(rows["label"]), -1)
        values[:, 0] += by * values[:, 0].std() * (rows["label"] == 1)

    return change


PLANTED = {
    "radial_lr_auc": "radial_profile",
    "outskirts": "outskirts",
    "survey": "noise_sigma",
    "metadata": "psf_fwhm_arcsec",
    "high_frequency_core": "high_frequency_core",
}


@pytest.mark.parametrize("name", PLANTED)
def test_each_probe_sees_what_it_is_for(small: Protocol, name: str) -> None:
    entry = gate(synthetic_case(small, shifted(PLANTED[name], 1.5)), name)
    assert entry["verdict"] == "FAIL" and entry["value"] > 0.8
    assert entry["detail"]["null"]["p"] < 0.05
    clean = gate(synthetic_case(small), name)
    assert clean["value"] < 0.6 and clean["verdict"] != "FAIL"
    low, high = clean["detail"]["null"]["ci"]
    assert low < 0.5 < high


def test_unknown_metadata_is_a_value_of_its_own(small: Protocol) -> None:
    """Extinction that is known for lenses alone tells the label; unknown for all, it holds
    nothing."""

    def known_of_lenses(split: str, rows: Arrays) -> None:
        rows["ebv"][rows["label"] == 0] = np.nan

    def unknown(split: str, rows: Arrays) -> None:
        rows["ebv"][:] = np.nan

    assert gate(synthetic_case(small, known_of_lenses), "metadata")["verdict"] == "FAIL"
    assert gate(synthetic_case(small, unknown), "metadata")["verdict"] != "FAIL"


def test_the_probe_is_fitted_on_val(small: Protocol) -> None:
    """A core that is planted in test alone cannot be learnt from val."""

    def in_test(split: str, rows: Arrays) -> None:
        if split == "test":
            rows["core_box"] += 0.2 * rows["label"][:, None, None, None]

    entry = gate(synthetic_case(small, in_test), "core_lr_auc")
    assert entry["value"] < 0.65
    assert entry["detail"]["cross_validated_on_test"] > 0.9


def test_scored_on_the_rows_it_was_fitted_on_noise_is_a_shortcut(small: Protocol) -> None:
    """Flaw 15, the control: the in-sample value that stands beside would FAIL pure noise."""
    entry = gate(synthetic_case(small), "core_lr_auc")
    assert entry["verdict"] == "PASS"
    assert entry["detail"]["in_sample"] > small.gates["core_lr_auc"].threshold


def test_folds_keep_hosts_whole(small: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 20 rows a host and labels by host, plain folds (the control) find an arc where there is
    none, at an AUROC near 1; grouped ones do not."""
    rng = np.random.default_rng(4)
    host = np.repeat(np.arange(60), 20)
    rows = Rows(
        {
            "label": (rng.permutation(60) % 2)[host].astype(np.int8),
            "lrg_id": host.astype("U8"),
            "brick": host.astype("U8"),
        }
    )
    features = rng.normal(0, 1, (60, 40))[host] + 0.1 * rng.normal(0, 1, (1200, 40))
    case = synthetic_case(small, pairs=40, lookalikes=4)

    def value() -> float:
        grouped = probes.grouped_aurocs(case, rows, features, [1.0], 0.0, np.random.default_rng(0))
        assert grouped is not None
        return float(grouped[0])

    folds = host_folds(host, rows["label"], 5, np.random.default_rng(0))
    assert all(len(set(folds[host == each])) == 1 for each in range(60))
    assert 0.25 < value() < 0.75
    monkeypatch.setattr(probes, "host_folds", lambda h, y, k, rng: rng.integers(0, k, len(h)))
    assert value() > 0.95


def test_the_strength_is_the_one_that_folds_of_the_fit_rows_prefer(small: Protocol) -> None:
    """One odd pixel under a brightness that all pixels share is seen with little shrinkage alone.
    The control, a grid of strong shrinkage, misses it."""

    def one_pixel(split: str, rows: Arrays) -> None:
        shared = np.random.default_rng(len(split)).normal(0, 1, len(rows["label"]))
        rows["core_box"] *= 0.05
        rows["core_box"] += shared[:, None, None, None].astype(np.float32)
        rows["core_box"][:, 4, 4, 1] += 0.12 * rows["label"]

    case = synthetic_case(small, one_pixel)
    entry = gate(case, "core_lr_auc")
    assert entry["verdict"] == "FAIL" and entry["detail"]["c"] == 1.0
    document = json.loads(json.dumps(small.document))
    document["probes"]["c_grid"] = [0.0001]
    blind = Case(parse_protocol(document), case.evaluation)
    assert gate(blind, "core_lr_auc")["verdict"] == "PASS"


def test_constant_features_are_not_a_half(small: Protocol) -> None:
    def constant(split: str, rows: Arrays) -> None:
        rows["core_box"] = 1.0 + 1e-6 * rows["core_box"]

    entry = gate(synthetic_case(small, constant), "core_lr_auc")
    assert (entry["verdict"], entry["reason"]) == ("INCONCLUSIVE", "constant features")
    assert entry["value"] is None


def test_too_few_rows_to_fit_bar_a_pass(small: Protocol) -> None:
    def few(split: str, rows: Arrays) -> None:
        if split == "val":
            rows["in_manifest"] &= np.random.default_rng(0).random(len(rows["label"])) < 0.3

    entry = gate(synthetic_case(small, few), "core_lr_auc")
    assert entry["verdict"] == "INCONCLUSIVE" and "val n_pos" in entry["reason"]


def test_bricks_that_hold_one_class_fail(small: Protocol) -> None:
    def sorted_by_class(split: str, rows: Arrays) -> None:
        rows["brick"] = rows["brick"].copy()
        half = rows["label"] == 1
        number = np.arange(len(half)) % 30
        rows["brick"][half] = np.char.add(f"{split}-a", number.astype("U4"))[half]
        rows["brick"][~half] = np.char.add(f"{split}-b", number.astype("U4"))[~half]

    assert gate(synthetic_case(small, sorted_by_class), "brick")["verdict"] == "FAIL"
    clean = gate(synthetic_case(small), "brick")
    assert clean["verdict"] == "PASS"
    assert clean["detail"]["null"]["exchanged"] == "hosts over bricks"


def test_a_brick_is_scored_by_other_hosts() -> None:
    """The label mean of a row's brick in the other half, counted plainly."""
    rng = np.random.default_rng(1)
    label, brick, half = rng.integers(0, 2, 90), rng.integers(0, 9, 90), rng.integers(0, 2, 90)
    found = mean_of_other_half(label, brick, half)
    for row in range(90):
        others = half != half[row]
        there = others & (brick == brick[row])
        known = label[there if there.any() else others].mean()
        assert found[row] == pytest.approx(known)


def test_paired_rows_tell_nothing_by_brick(small: Protocol) -> None:
    entry = gate(synthetic_case(small, paired=True, lookalikes=0), "brick")
    assert entry["verdict"] == "INCONCLUSIVE" and entry["value"] is None
    assert "constant" in entry["reason"]


def test_many_bricks_are_pooled(small: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interval of pooled bricks is that of the bricks, at a fraction of the cost."""
    case = synthetic_case(small, hosts_per_brick=4)
    apart = case.auroc(case.test["logit"])
    monkeypatch.setattr(statistics, "MOST_CLUSTERS", 60)
    pooled = synthetic_case(small, hosts_per_brick=4)
    found = pooled.auroc(pooled.test["logit"])
    assert (case.clusters.n_bricks, pooled.clusters.n_bricks) == (200, 60)
    assert pooled.test.counts()[2] == 200
    assert found.value == pytest.approx(apart.value, abs=1e-12)
    assert found.high - found.low == pytest.approx(apart.high - apart.low, rel=0.3)


def test_there_is_a_shortcut_gate_of_each_name(small: Protocol) -> None:
    assert set(SHORTCUTS) < set(small.gates)


def test_impossible_features_are_that_gate_s_error(small: Protocol) -> None:
    """An RMS below zero; a val of which no row is judged. Never an exception of numpy."""

    def negative(split: str, rows: Arrays) -> None:
        rows["high_frequency_core"][5:] = -1.0

    def none(split: str, rows: Arrays) -> None:
        rows["in_manifest"][:] = split == "test"

    case = synthetic_case(small, negative, pairs=60, lookalikes=8)
    with pytest.raises(GateError, match="high_frequency_core is negative"):
        SHORTCUTS["high_frequency_core"](case)
    case = synthetic_case(small, none, pairs=60, lookalikes=8)
    for name in set(SHORTCUTS) - {"brick"}:
        with pytest.raises(GateError, match="val has 0 positives"):
            SHORTCUTS[name](case)
