"""Differences on shared resamples: coverage, seeds, exactness, against what is computed by hand."""

import numpy as np
import pytest
from scipy.stats import norm, ttest_ind

from lensjax.gates.compare_statistics import (
    Resampled,
    holm,
    less,
    mean,
    over_bricks,
    over_seeds,
    resample_auroc,
    resample_mean,
    resample_rate,
    shared_resamples,
)
from lensjax.gates.statistics import (
    Clusters,
    auroc,
    influence,
    relative_drop,
    single,
    standard_errors,
)
from lensjax.gates.statistics import difference as auroc_difference

BRICKS, ROWS, SEED = 40, 10, 7
BRICK_SPREAD = 1.0  # of a score, shared by the rows of a brick; half of it by all runs


def true_auroc(skill: float) -> float:
    return float(norm.cdf(skill / np.sqrt(2 * (1 + BRICK_SPREAD**2))))


def sky(rng: np.random.Generator, skills: list[float], bricks: int = BRICKS):
    """Labels, bricks and the scores of models with these skills, on the same rows: noise is partly
    common to all models, of rows and of bricks, and the label mix varies by brick."""
    brick = np.repeat(np.arange(bricks), ROWS)
    label = (rng.random(len(brick)) < rng.uniform(0.1, 0.9, bricks)[brick]).astype(int)
    rows, whole = rng.normal(0, 1, len(brick)), rng.normal(0, BRICK_SPREAD, bricks)
    scores = []
    for skill in skills:
        own = rng.normal(0, 1, len(brick))
        of_brick = 0.7 * whole + np.sqrt(0.51) * rng.normal(0, BRICK_SPREAD, bricks)
        scores.append(skill * label + of_brick[brick] + 0.9 * rows + np.sqrt(0.19) * own)
    return label, brick, scores


def resampled(label, brick, scores, weights) -> list[Resampled]:
    clusters = Clusters.of(label, brick)
    return [
        resample_auroc([(clusters, clusters.concordance(each))], single, weights, SEED)
        for each in scores
    ]


def test_a_known_difference_is_covered_and_rows_alone_are_too_narrow():
    """Bricks: 95 % nominal. The control: every row is taken for a brick of its own (DeLong)."""
    rng, weights = np.random.default_rng(1), shared_resamples(BRICKS, 200, SEED)
    ones = np.ones((1, BRICKS * ROWS))
    truth, hits, row_hits, signs = true_auroc(1.6) - true_auroc(1.3), 0, 0, 0
    n = 100
    for _ in range(n):
        label, brick, scores = sky(rng, [1.6, 1.3])
        difference = less(*resampled(label, brick, scores, weights))
        _, low, high = over_bricks(difference, weights)
        hits += low <= truth <= high
        signs += difference.value > 0
        rows = Clusters.of(label, np.arange(len(label)))
        samples = [(rows, rows.concordance(each)) for each in scores]
        error = standard_errors(*influence(samples, auroc_difference, ones), ones)[0]
        row_hits += abs(difference.value - truth) <= 1.96 * error
    assert hits / n >= 0.9 and signs / n > 0.7
    assert row_hits / n < hits / n - 0.05


def test_pairing_is_what_makes_it_narrow():
    """The control: the same two models on other sky each."""
    rng, weights = np.random.default_rng(2), shared_resamples(BRICKS, 200, SEED)
    label, brick, scores = sky(rng, [1.6, 1.3])
    a, b = resampled(label, brick, scores, weights)
    other = resampled(*sky(rng, [1.3]), weights)[0]
    paired, unpaired = (over_bricks(less(a, each), weights) for each in (b, other))
    assert paired[2] - paired[1] < 0.8 * (unpaired[2] - unpaired[1])


def test_an_interval_over_seeds_covers_the_method_and_one_over_bricks_does_not():
    rng, weights = np.random.default_rng(3), shared_resamples(BRICKS, 200, SEED)
    hits, brick_hits, n = 0, 0, 40
    for _ in range(n):
        skills = (1.6 + 0.3 * rng.normal(size=6)).tolist()  # two methods that do not differ
        parts = resampled(*sky(rng, skills), weights)
        a, b = parts[:3], parts[3:]
        difference = less(mean(a), mean(b))
        error, low, high = over_bricks(difference, weights)
        brick_hits += low <= 0.0 <= high
        seeds = [[part.value for part in side] for side in (a, b)]
        low, high, p = over_seeds(difference.value, error, BRICKS, seeds)
        assert (low <= 0.0 <= high) == (p >= 0.05)
        hits += low <= 0.0 <= high
    assert hits / n >= 0.88 > brick_hits / n


def test_the_same_scores_differ_by_exactly_nothing():
    rng, weights = np.random.default_rng(4), shared_resamples(BRICKS, 200, SEED)
    label, brick, (scores,) = sky(rng, [1.5])
    a, b = resampled(label, brick, [scores, scores.copy()], weights)
    assert over_bricks(less(a, b), weights) == (0.0, 0.0, 0.0)
    assert over_bricks(less(mean([a, b, a]), mean([b, a, b])), weights)[1:] == (0.0, 0.0)
    assert over_seeds(0.0, 0.0, BRICKS, [[0.7, 0.7], [0.7, 0.7]]) == (0.0, 0.0, 1.0)


def test_a_resample_is_what_repeating_its_rows_gives():
    rng, weights = np.random.default_rng(5), shared_resamples(BRICKS, 3, SEED)
    label, brick, scores = sky(rng, [1.5, 1.0])
    clusters = Clusters.of(label, brick)
    samples = [(clusters, clusters.concordance(each)) for each in scores]
    found = resample_auroc(samples, relative_drop, weights, SEED)
    for row, value in zip(weights.astype(int), found.values, strict=True):
        rows = np.repeat(np.arange(len(label)), row[brick])
        first, second = (auroc(each[rows], label[rows]) for each in scores)
        assert value == pytest.approx((first - second) / first, abs=1e-12)


def test_the_mean_of_seeds_has_the_mean_influence():
    rng, weights = np.random.default_rng(6), shared_resamples(BRICKS, 50, SEED)
    parts = resampled(*sky(rng, [1.5, 1.0, 1.2]), weights)
    whole = mean(parts)
    np.testing.assert_allclose(whole.values, np.mean([p.values for p in parts], axis=0))
    np.testing.assert_allclose(whole.influences, np.mean([p.influences for p in parts], axis=0))


def test_at_perfect_separation_the_interval_has_a_width():
    """The control: the bootstrap of a perfect AUROC has none."""
    rng, weights = np.random.default_rng(7), shared_resamples(BRICKS, 200, SEED)
    label, brick, scores = sky(rng, [1.5])
    perfect, other = resampled(label, brick, [label.astype(float), scores[0]], weights)
    assert (perfect.value, perfect.exact) == (1.0, True) and perfect.low < 1.0
    error, low, high = over_bricks(less(perfect, other), weights)
    assert (low, high) == (perfect.low - other.high, perfect.high - other.low) and error > 0
    assert np.ptp(perfect.values) == 0.0


def test_a_mean_of_rows_on_resamples_is_what_repeating_them_gives():
    rng, weights = np.random.default_rng(8), shared_resamples(BRICKS, 20, SEED)
    _, brick, (scores,) = sky(rng, [1.5])
    totals = np.stack([np.bincount(brick, scores), np.bincount(brick)], axis=1)
    found = resample_mean(totals, weights)
    for row, value in zip(weights.astype(int), found.values, strict=True):
        assert value == pytest.approx(scores[np.repeat(np.arange(len(brick)), row[brick])].mean())
    error, low, high = over_bricks(found, weights)
    by_brick = totals[:, 0] / totals[:, 1]
    assert error == pytest.approx(by_brick.std(ddof=1) / np.sqrt(BRICKS), rel=1e-9)
    assert low < found.value < high


def test_a_rate_has_no_influence_and_an_interval_all_the_same():
    rng, weights = np.random.default_rng(9), shared_resamples(BRICKS, 200, SEED)
    rates = [resample_rate(0.5 + 0.05 * rng.normal(size=len(weights)), BRICKS) for _ in range(2)]
    assert all(rate.low < rate.value < rate.high for rate in rates)
    error, low, high = over_bricks(less(*rates), weights)
    assert error == pytest.approx(0.05 * np.sqrt(2), rel=0.2) and low < high
    assert over_bricks(less(rates[0], rates[0]), weights) == (0.0, 0.0, 0.0)


def test_student_s_quantile_widens_with_fewer_seeds():
    """Two means of three seeds each, no error of bricks: Welch's interval, by hand."""
    a, b = [0.90, 0.92, 0.91], [0.85, 0.86, 0.90]
    low, high, p = over_seeds(np.mean(a) - np.mean(b), 0.0, BRICKS, [a, b])
    peer = ttest_ind(a, b, equal_var=False)
    assert p == pytest.approx(peer.pvalue, rel=1e-9)
    ends = peer.confidence_interval(0.95)
    assert (low, high) == pytest.approx((ends.low, ends.high), rel=1e-9)


def test_holm_by_hand():
    """Of the R manual's p.adjust: times 4, 3, 2, 1 in rising order, never falling."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1.0, 1.0] and holm([]) == []
