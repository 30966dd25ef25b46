"""Known answers: what the gates compute against scipy, scikit-learn, and definitions written anew.

The references of statsmodels' proportion_confint ('beta' is Clopper-Pearson, 'wilson') and of its
cluster-robust means are solved for here from their definitions, by bisection.
"""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from lensjax.gates import statistics
from lensjax.gates.probes import row_aurocs
from lensjax.gates.rates import wilson
from lensjax.gates.statistics import (
    Clusters,
    Estimate,
    auroc,
    auroc_interval,
    difference,
    exact_ends,
    interval,
    relative_drop,
)


def bisected(rises: Callable[[float], float], low: float = 0.0, high: float = 1.0) -> float:
    """Where a rising function is zero."""
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if rises(middle) < 0 else (low, middle)
    return (low + high) / 2


def wilson_by_definition(hits: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """The proportions p whose score test of hits in n is just at z."""

    def distance(p: float) -> float:
        return (hits / n - p) / np.sqrt(max(p * (1 - p), 1e-300) / n)

    low = 0.0 if hits == 0 else bisected(lambda p: z - distance(p), 0.0, hits / n)
    high = 1.0 if hits == n else bisected(lambda p: -z - distance(p), hits / n, 1.0)
    return low, high


def clopper_pearson_by_definition(hits: int, n: int, alpha: float) -> tuple[float, float]:
    """The proportions under which so many hits, or so few, have a chance of alpha / 2."""
    low = 0.0 if hits == 0 else bisected(lambda p: binom.sf(hits - 1, n, p) - alpha / 2)
    high = 1.0 if hits == n else bisected(lambda p: alpha / 2 - binom.cdf(hits, n, p))
    return low, high


CASES = [(0, 10), (10, 10), (3, 17), (1, 400), (250, 1000)]


@pytest.mark.parametrize(("hits", "n"), CASES)
def test_wilson_inverts_the_score_test(hits: int, n: int) -> None:
    found = wilson(hits, n)
    assert (found.low, found.high) == pytest.approx(wilson_by_definition(hits, n), abs=1e-9)


def test_wilson_has_the_values_that_are_in_print() -> None:
    """Newcombe 1998, Statistics in Medicine 17, 857, table I, method 3."""
    known = {(81, 263): (0.2553, 0.3662), (15, 148): (0.0624, 0.1605)}
    known |= {(0, 20): (0.0000, 0.1611), (1, 29): (0.0061, 0.1718)}
    for (hits, n), ends in known.items():
        found = wilson(hits, n)
        assert (found.low, found.high) == pytest.approx(ends, abs=5e-5)


@pytest.mark.parametrize(("failed", "m"), [(0, 12), (1, 12), (4, 40), (2, 200)])
def test_exact_ends_are_clopper_pearson(failed: int, m: int) -> None:
    """m bricks of one pair each, `failed` of them discordant: the lower end of m - failed in m."""
    labels = np.tile([1, 0], m)
    scores = labels + 2.0 * np.repeat(np.arange(m), 2)  # bricks far apart, each in its own order
    clusters = Clusters.of(labels, np.repeat(np.arange(m), 2))
    table = np.outer(clusters.n_pos, clusters.n_neg)
    table[np.arange(failed), np.arange(failed)] = 0.0
    low, high = exact_ends(clusters, table, 0.05)
    known, _ = clopper_pearson_by_definition(m - failed, m, 0.05)
    assert low == pytest.approx(known, abs=1e-9)
    scipys = binomtest(m - failed, m).proportion_ci(0.95, method="exact").low
    assert low == pytest.approx(scipys, abs=1e-9)
    assert np.isnan(high) and len(scores) == 2 * m


def delong(scores: list[np.ndarray], labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUROCs and their covariance by definition: every pair counted (DeLong 1988)."""
    wins = []
    for each in scores:
        lens, other = each[labels == 1], each[labels == 0]
        wins.append((lens[:, None] > other) + 0.5 * (lens[:, None] == other))
    of_lens, of_other = np.stack([w.mean(1) for w in wins]), np.stack([w.mean(0) for w in wins])
    covariance = np.cov(of_lens) / of_lens.shape[1] + np.cov(of_other) / of_other.shape[1]
    return of_lens.mean(axis=1), np.atleast_2d(covariance)


def test_differences_of_correlated_aurocs_are_delong_s() -> None:
    """Rows as their own bricks: the studentised interval has DeLong's width, for the difference of
    two scores of the same rows, and for their ratio by the delta method."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 400)
    scores = [np.round(rng.normal(0, 1, 400) + s * labels, 1) for s in (1.0, 0.6)]
    scores[1] = np.round(0.7 * scores[0] + 0.7 * scores[1], 1)
    aucs, covariance = delong(scores, labels)
    clusters = Clusters.of(labels, np.arange(400))
    samples = [(clusters, clusters.concordance(each)) for each in scores]
    gradients = {
        difference: np.array([1.0, -1.0]),
        relative_drop: np.array([aucs[1] / aucs[0] ** 2, -1 / aucs[0]]),
    }
    for statistic, gradient in gradients.items():
        found = interval(samples, statistic, confidence=0.95, resamples=2000, seed=1)
        error = np.sqrt(gradient @ covariance @ gradient)
        assert (found.high - found.low) / 3.92 == pytest.approx(error, rel=0.06)
    assert found.value == pytest.approx(1 - aucs[1] / aucs[0])


def oracle(scores: np.ndarray, labels: np.ndarray) -> float:
    lens, other = scores[labels == 1], scores[labels == 0]
    return float(((lens[:, None] > other) + 0.5 * (lens[:, None] == other)).mean())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_ties_are_mid_ranks_against_every_pair(dtype: type) -> None:
    rng = np.random.default_rng(8)
    labels = rng.integers(0, 2, 301)
    for scores in (
        np.round(rng.normal(0, 2, 301)),
        rng.choice([-0.0, 0.0, 1.0], 301),
        np.full(301, 3.0),
        rng.normal(0, 1, 301),
    ):
        assert auroc(scores.astype(dtype), labels) == pytest.approx(
            oracle(scores.astype(dtype), labels), abs=1e-12
        )


def test_rows_of_aurocs_with_ties_and_neighbouring_numbers() -> None:
    """The label stands in the last bit of the score: numbers that differ by that bit alone, zeros
    of both signs and negative ones are told apart all the same. The control sorts by those bits."""
    rng = np.random.default_rng(2)
    base = rng.normal(0, 1, (8, 60))
    base[1] = np.round(base[1])
    base[2, ::2] = np.nextafter(base[2, 1::2], np.inf)  # one bit above its neighbour
    base[3, ::2] = np.nextafter(base[3, 1::2], -np.inf)
    base[4] = rng.choice([-0.0, 0.0], 60)
    base[5] = -np.abs(base[5])
    labels = np.stack([rng.permutation(np.arange(60) % 2) for _ in range(8)]).astype(np.int8)
    labels[2:4] = np.arange(60) % 2
    known = [oracle(s, y) for s, y in zip(base, labels, strict=True)]
    assert row_aurocs(base, labels) == pytest.approx(known, abs=1e-12)
    packed = (base[2].view(np.int64) & ~np.int64(1)) | labels[2]
    assert auroc(packed.view(np.float64), labels[2]) != pytest.approx(known[2], abs=1e-6)


def drops_of_few_rows() -> list[Estimate]:
    """80 relative drops of noise, on 4 or 12 rows in bricks of two."""
    rng, found = np.random.default_rng(0), []
    for n_bricks in (2, 6) * 40:
        labels, brick = np.tile([1, 0], n_bricks), np.repeat(np.arange(n_bricks), 2)
        clusters = Clusters.of(labels, brick)
        scores = rng.normal(0, 1, (2, len(labels)))
        samples = [(clusters, clusters.concordance(each)) for each in scores]
        if all(table.sum() > 0 for _, table in samples):
            found.append(interval(samples, relative_drop, confidence=0.95, resamples=200, seed=1))
    return found


def test_a_drop_on_few_rows_has_ends_that_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The unmasked AUROC of a few rows may be near 0, and the drop then has no bound below. Ends
    are bounded at -1, which no threshold comes near, and hold the value. The control: -1e12."""
    found = drops_of_few_rows()
    for each in found:
        assert min(-1.0, each.value) <= each.low <= each.value <= each.high <= 1.0
    assert {each.note for each in found if "beyond what is shown" in each.note}
    monkeypatch.setattr(statistics, "_bounded", lambda found: found)
    assert min(each.low for each in drops_of_few_rows()) < -1e9


def test_a_sound_interval_is_not_touched_by_the_bound() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 600)
    scores = rng.normal(0, 1, 600) + labels
    brick = rng.integers(0, 40, 600)
    clusters = Clusters.of(labels, brick)
    samples = [
        (clusters, clusters.concordance(each)) for each in (scores, scores + rng.normal(0, 1, 600))
    ]
    found = interval(samples, relative_drop, confidence=0.95, resamples=400, seed=1)
    assert found.note == "" and -0.1 < found.low < found.value < found.high < 0.5
    assert auroc_interval(scores, labels, brick, resamples=400).note == ""
