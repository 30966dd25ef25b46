"""The numbers behind the figures, against slow and independent references."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from lensjax import schema
from lensjax.report import measures


def slow_auroc(label: np.ndarray, logit: np.ndarray) -> float:
    """Share of (lens, non-lens) couples ranked right, a tie counting half."""
    gap = logit[label == 1][:, None] - logit[label == 0][None, :]
    return float(((gap > 0) + 0.5 * (gap == 0)).mean())


@pytest.fixture
def scored() -> tuple[np.ndarray, np.ndarray]:
    """Labels and logits with many ties."""
    rng = np.random.default_rng(3)
    label = (np.arange(300) % 3 == 0).astype(np.int8)
    return label, np.round(rng.normal(label * 1.2, 1.0), 1)


def test_auroc_counts_ties_by_half(scored):
    assert measures.auroc(*scored) == pytest.approx(slow_auroc(*scored), abs=1e-12)


def test_auroc_of_one_class_is_not_a_number_never_a_half():
    assert math.isnan(measures.auroc(np.ones(5, np.int8), np.arange(5.0)))


def test_a_score_that_is_not_finite_has_no_auroc():
    assert math.isnan(measures.auroc(np.array([0, 1, 1]), np.array([0.0, np.nan, 1.0])))


def test_the_auroc_is_the_gates_own(monkeypatch):
    monkeypatch.setattr(measures.statistics, "auroc", lambda scores, labels: 0.123)
    assert measures.auroc(np.array([0, 1]), np.array([0.0, 1.0])) == 0.123


def test_area_under_the_roc_points_is_the_auroc(scored):
    fpr, tpr = measures.roc(*scored)
    assert np.trapezoid(tpr, fpr) == pytest.approx(slow_auroc(*scored), abs=1e-12)


def test_series_keeps_the_later_line_of_an_epoch_and_drops_what_is_not_finite():
    lines = ['{"epoch": 2, "x": 5}', '{"epoch": 1, "x": 7}', '{"epoch": 2, "x": 6}']
    lines += ['{"epoch": 3, "x": NaN}', '{"epoch": 4}', '{"epoch": null, "x": 1}', '{"x": "high"}']
    epochs, values = measures.series([json.loads(line) for line in lines], "x")
    assert epochs.tolist() == [1, 2]
    assert values.tolist() == [7, 6]


@pytest.mark.parametrize(
    ("last", "points"),
    [
        (1, [[1, 0.3, 1.0]]),
        (3, [[1, 0.3, 1.0], [3, 0.225, 0.75]]),
        (50, [[1, 0.3, 1.0], [5, 0.15, 0.5], [10, 0.1, 0.3]]),
    ],
)
def test_expected_band_ends_where_the_run_or_the_expectation_ends(last, points):
    np.testing.assert_allclose(measures.expected_band(schema.EXPECTED_TRAIN_LOSS, last), points)


def test_histograms_hold_every_stamp_even_if_all_scores_are_one():
    groups = {"lens": np.array([-3.0, 9.0, 9.0]), "ring": np.array([0.5])}
    counts, edges = measures.histograms(groups)
    assert {name: int(count.sum()) for name, count in counts.items()} == {"lens": 3, "ring": 1}
    assert edges[0] == -3.0
    assert edges[-1] == 9.0
    same, _ = measures.histograms({"lens": np.zeros(4)})
    assert same["lens"].sum() == 4


def test_score_groups_know_the_kinds_and_lose_no_stamp():
    arrays = {
        "label": np.array([1, 0, 0, 0, 0], np.int8),
        "negative_kind": np.array(["", "spiral", "control", "", "jellyfish"]),
        "logit": np.arange(5.0),
    }
    groups = {name: logits.tolist() for name, logits in measures.score_groups(arrays).items()}
    assert groups == {"lens": [0], "control": [2], "spiral": [1], "other": [3, 4]}


def test_reliance_is_the_auroc_of_each_radius(scored):
    label, logit = scored
    masked = np.stack([logit * fade for fade in (1, 1, 1, 0, -1, 1)], 1)
    found = measures.reliance(label, masked)
    expected = [slow_auroc(label, column) for column in masked.T]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_population_counts_the_judged_rows_and_the_pairs_of_the_split():
    arrays = {
        "pair_id": np.array(["a", "a", "b", "b", "c", "d"]),
        "brick": np.array(["x", "x", "y", "y", "z", "z"]),
        "label": np.array([1, 0, 1, 0, 0, 0], np.int8),
        "negative_kind": np.array(["", "control", "", "control", "ring", "merger"]),
        "in_manifest": np.array([True, False, True, True, True, True]),
        "logit": np.array([2.0, 9.0, 1.0, -1.0, 1.5, np.nan]),
        "theta_e_arcsec": np.array([1.5, np.nan, 2.5, np.nan, np.nan, np.nan]),
        "arc_snr": np.array([8.0, np.nan, 0.0, np.nan, np.nan, np.nan]),
    }
    found = measures.population(arrays)
    assert found["n_pairs"] == 2
    assert (found["n_pos"], found["n_neg"], found["n_bricks"]) == (2, 2, 3)
    assert found["kinds"] == {"control": 1, "ring": 1}
    assert found["lookalikes"] == 1
    assert found["theta_e"] == (1.5, 2.5)
    assert found["arc_snr"] == (0.0, 8.0)
    assert found["auroc"] == 0.75
    assert found["auroc_lookalikes"] == 0.5
