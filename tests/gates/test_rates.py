"""Rates at the rare end, against scipy and against counting."""

import numpy as np
import pytest
from scipy.stats import binomtest

from lensjax.gates.rates import true_positives, wilson
from lensjax.gates.statistics import StatisticsError


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (3, 17), (250, 1000), (1, 100_000)])
def test_wilson_is_that_of_scipy(hits: int, n: int) -> None:
    known = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    found = wilson(hits, n)
    assert (found.value, found.low, found.high) == pytest.approx((hits / n, *known), abs=1e-12)


def test_an_empty_cell_has_no_rate() -> None:
    with pytest.raises(StatisticsError, match="no rate of 0 in 0"):
        wilson(0, 0)


def test_true_positives_by_counting() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 300)
    scores = np.round(rng.normal(0, 1, 300) + labels, 1)  # with ties
    negatives = scores[labels == 0]
    for allowed in (0, 1, 9, 50):
        found = sum(
            int((negatives >= score).sum() <= allowed) for score in scores[labels == 1].tolist()
        )
        assert true_positives(scores, labels, allowed) == found
    assert true_positives(scores, labels, 10_000) == labels.sum()


def test_a_lens_that_ties_with_a_negative_is_not_found() -> None:
    assert true_positives(np.array([1.0, 1.0]), np.array([1, 0]), 0) == 0
