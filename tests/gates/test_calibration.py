"""Calibration against scikit-learn, scipy and counting; what a prevalence does to a precision."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss, log_loss

from lensjax.gates.arrays import Arrays
from lensjax.gates.bootstrap import brick_sums, of_sums
from lensjax.gates.calibration import (
    bins_of,
    calibration,
    ece,
    fit_isotonic,
    fit_temperature,
    shifted,
)
from lensjax.gates.protocol import Protocol
from lensjax.gates.statistics import brick_counts
from tests.gates.synthetic import synthetic_case

TOLD = {"confidence": 0.95, "resamples": 400, "seed": 1}


def drawn(n: int, steepness: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels that are right by them once they are divided by `steepness`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, n)
    return steepness * logits, (rng.random(n) < expit(logits)).astype(np.int8)


def test_the_temperature_is_the_one_with_the_least_log_loss() -> None:
    logits, labels = drawn(4000, steepness=2.5)
    found = fit_temperature(logits, labels)
    known = minimize_scalar(
        lambda log_t: log_loss(labels, expit(logits / np.exp(log_t))), bounds=(-3, 3)
    )
    assert found == pytest.approx(np.exp(known.x), rel=1e-3)
    assert found == pytest.approx(2.5, rel=0.1)


def test_scores_that_rank_the_wrong_way_round_have_no_temperature() -> None:
    logits, labels = drawn(500)
    assert fit_temperature(-logits, labels) == 1e3
    assert fit_temperature(np.where(labels == 1, 0.01, -0.01), labels) == pytest.approx(1e-3)


def test_the_isotonic_map_is_that_of_scikit_learn() -> None:
    logits, labels = drawn(600)
    logits = np.round(logits, 1)  # with ties
    others = np.linspace(-9, 9, 301)
    known = IsotonicRegression(out_of_bounds="clip").fit(logits, labels).predict(others)
    assert fit_isotonic(logits, labels)(others) == pytest.approx(known, abs=1e-12)


def known_ece(probability: np.ndarray, labels: np.ndarray, bins: int) -> float:
    """Plainly: sorted, cut into equal parts."""
    parts = np.array_split(np.argsort(probability), bins)
    return sum(
        len(part) * abs(probability[part].mean() - labels[part].mean()) for part in parts
    ) / len(labels)


def test_ece_is_that_of_plain_counting() -> None:
    logits, labels = drawn(1500, steepness=2.0)
    p = expit(logits)
    place = bins_of(p, 15)
    assert np.bincount(place).tolist() == [100] * 15
    found, floor = ece(p, labels, place, np.arange(1500) // 20, 75, **TOLD)
    assert found.value == pytest.approx(known_ece(p, labels, 15), abs=1e-12)
    assert found.low < found.value < found.high and floor < 0.03


def test_bins_keep_ties_together_whatever_their_order() -> None:
    rng = np.random.default_rng(0)
    p = np.round(rng.random(500), 1)
    place = bins_of(p, 15)
    assert all(len(set(place[p == value].tolist())) == 1 for value in set(p.tolist()))
    order = rng.permutation(500)
    assert (bins_of(p[order], 15) == place[order]).all()
    assert bins_of(np.full(9, 0.3), 15).tolist() == [0] * 9


def test_the_interval_of_a_perfect_calibration_reaches_zero() -> None:
    """40 sets; the control, percentiles of the resampled ECE, never does."""
    reached = percentiles = 0
    for seed in range(40):
        logits, labels = drawn(900, seed=seed)
        p, brick = expit(logits), np.arange(900) // 15
        place = bins_of(p, 15)
        found, floor = ece(p, labels, place, brick, 60, **TOLD)
        reached += found.low == 0.0
        assert 0.2 * floor < found.value < 2.5 * floor
        sums = np.zeros((60, 15))
        np.add.at(sums, (brick, place), p - labels)
        resampled = np.abs(brick_counts(60, 400, 1) @ sums).sum(axis=1) / 900
        percentiles += np.quantile(resampled, 0.025) <= 0.0
    assert reached >= 36 and percentiles == 0


def test_the_interval_of_an_error_covers_it() -> None:
    """Over 60 sets of logits 2.5 times too steep; the truth from the labels' own probabilities."""
    covered = 0
    for seed in range(60):
        logits, labels = drawn(900, steepness=2.5, seed=seed)
        p = expit(logits)
        place = bins_of(p, 15)
        truth = np.abs(np.bincount(place, p - expit(logits / 2.5))).sum() / 900
        found, _ = ece(p, labels, place, np.arange(900) // 15, 60, **TOLD)
        covered += found.low <= truth <= found.high
    assert covered >= 52


def test_percentiles_are_taken_further_out_where_bricks_are_few() -> None:
    """The mean of 8 bricks, 300 sets: 95 % nominal. The control, plain percentiles, covers less."""
    rng = np.random.default_rng(5)
    wide = plain = 0
    for _ in range(300):
        totals = np.stack([rng.normal(0, 1, 8), np.ones(8)], axis=1)
        found = of_sums(totals, lambda sums: sums[:, 0] / sums[:, 1], **TOLD)
        wide += found.low < 0 < found.high
        resampled = brick_counts(8, 400, 1) @ totals[:, 0] / 8
        low, high = np.quantile(resampled, (0.025, 0.975))
        plain += low < 0 < high
    assert wide >= 268 and plain <= wide - 5, (wide, plain)


def test_sums_by_brick_are_those_of_its_rows() -> None:
    values, brick = np.arange(12.0).reshape(6, 2), np.array([0, 2, 0, 2, 2, 0])
    found = brick_sums(values, brick, 3)
    assert found.tolist() == [[14, 17], [0, 0], [16, 19]]


def test_a_prevalence_shifts_by_bayes() -> None:
    """Against counting: of a million galaxies at 1 %, those with a score in a bin."""
    given_lens, given_other = 0.3, 0.002  # of the scores of this bin
    balanced = given_lens / (given_lens + given_other)
    known = 0.01 * given_lens / (0.01 * given_lens + 0.99 * given_other)
    assert shifted(np.array([balanced]), 0.01, 0.5) == pytest.approx([known])
    assert shifted(np.array([0.0, 1.0]), 1e-4, 0.5).tolist() == [0.0, 1.0]


@pytest.fixture(scope="module")
def measured(small: Protocol) -> tuple[dict, Arrays]:
    case = synthetic_case(small, pairs=400, lookalikes=60)
    return calibration(case), case.test.arrays


def test_quality_is_that_of_scikit_learn(measured: tuple[dict, Arrays]) -> None:
    found, rows = measured
    p = expit(rows["logit"].astype(float))
    maps = found["maps"]
    assert maps["none"]["brier"]["value"] == pytest.approx(brier_score_loss(rows["label"], p))
    assert maps["none"]["log_loss"]["value"] == pytest.approx(log_loss(rows["label"], p))
    assert maps["isotonic"]["ece"]["value"] < 0.3 * maps["none"]["ece"]["value"]
    assert maps["temperature"]["log_loss"]["value"] < maps["none"]["log_loss"]["value"]
    curve = maps["none"]["reliability"]
    assert sum(each["n"] for each in curve) == len(p) and len(curve) == 15
    assert all(each["ci"][0] <= each["value"] <= each["ci"][1] for each in curve)
    for told in maps.values():
        for name in ("ece", "brier", "log_loss"):
            low, high = told[name]["ci"]
            assert low <= told[name]["value"] <= high


def test_what_is_flagged_on_the_sky_by_counting(measured: tuple[dict, Arrays]) -> None:
    """Precision at the prevalence, and that a 50:50 sample claims 10^4 times too much odds."""
    found, rows = measured
    sky = found["on_sky"]
    assert sky["prevalence"] == 1e-4
    lens = rows["label"] == 1
    for each in sky["thresholds"]:
        above = rows["logit"] > each["logit"]
        tpr, fpr = above[lens].mean(), above[~lens].mean()
        assert each["tpr"]["value"] == pytest.approx(tpr)
        if fpr > 0:
            known = 1e-4 * tpr / (1e-4 * tpr + (1 - 1e-4) * fpr)
            assert each["precision"]["value"] == pytest.approx(known)
        low, high = each["precision"]["ci"]
        assert low <= (each["precision"]["value"] or high) <= high
        assert each["claimed"]["none"] > 0.4
        assert each["claimed"]["temperature"] < 0.1


def test_without_a_false_positive_the_precision_is_a_bound(small: Protocol) -> None:
    def apart(split: str, rows: Arrays) -> None:
        rows["logit"] = np.where(rows["label"] == 1, 5, -5).astype(np.float32)

    found = calibration(synthetic_case(small, apart, pairs=200, lookalikes=20))
    told = found["on_sky"]["thresholds"][0]["precision"]
    assert told["value"] is None and told["ci"][1] == 1.0 and 0 < told["ci"][0] < 0.05
    assert "no false positive" in told["state"]
