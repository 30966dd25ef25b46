"""AUROC and its intervals, against slow independent ones."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lensjax.gates import statistics
from lensjax.gates.statistics import (
    Clusters,
    StatisticsError,
    auroc,
    auroc_interval,
    difference,
    interval,
    relative_drop,
)


def oracle(scores: np.ndarray, labels: np.ndarray) -> float:
    """Every positive against every negative, O(n^2)."""
    lens, other = scores[labels == 1].astype(float), scores[labels == 0].astype(float)
    above = lens[:, None] > other[None, :]
    return float((above + 0.5 * (lens[:, None] == other[None, :])).mean())


def labelled(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    labels[:2] = 0, 1
    return rng.normal(0, 1, n) + 0.7 * labels, labels, rng


@pytest.mark.parametrize("seed", range(3))
def test_auroc_is_that_of_scikit_learn_and_of_counting_pairs(seed: int) -> None:
    scores, labels, _ = labelled(157, seed)
    for values in (scores, np.round(scores), np.round(scores * 2).astype(np.float16)):
        assert auroc(values, labels) == pytest.approx(oracle(values, labels), abs=1e-12)
        assert auroc(values, labels) == pytest.approx(roc_auc_score(labels, values), abs=1e-12)


def test_ties_zeros_of_either_sign_and_all_equal() -> None:
    """T6. The control ranks by position, as a plain argsort does: ties then count for whoever came
    first."""
    labels = np.array([1, 0, 1, 0])
    signed = np.array([0.0, -0.0, -0.0, 0.0])
    assert auroc(signed, labels) == 0.5
    assert auroc(np.full(4, 7.0, np.float16), labels) == 0.5
    assert auroc(np.array([1, 1, 2, 0], np.float16), labels) == oracle(
        np.array([1, 1, 2, 0]), labels
    )
    by_position = np.argsort(np.argsort(signed, kind="stable"))
    assert auroc(by_position, labels) != 0.5


@pytest.mark.parametrize(
    ("scores", "labels", "cause"),
    [
        ([1.0, 2.0], [1, 1], "one class only: 2 positives, 0 negatives"),
        ([], [], "one class only: 0 positives, 0 negatives"),
        ([1.0, np.nan], [1, 0], "1 of 2 scores are not finite"),
        ([1.0, 2.0], [1, 2], "labels other than 0 and 1"),
        ([1.0], [1, 0], "scores for"),
    ],
)
def test_what_has_no_auroc_is_never_a_half(scores, labels, cause: str) -> None:
    with pytest.raises(StatisticsError, match=cause):
        auroc(np.array(scores), np.array(labels))


def test_the_concordance_table_adds_up_to_the_auroc() -> None:
    scores, labels, rng = labelled(200, 5)
    bricks = rng.integers(0, 9, 200)
    for values in (scores, np.round(scores)):
        clusters = Clusters.of(labels, bricks)
        table = clusters.concordance(values)
        assert table.sum() / (labels.sum() * (1 - labels).sum()) == pytest.approx(
            oracle(values, labels)
        )
        a, b = 3, 4
        rows = ((bricks == a) & (labels == 1)) | ((bricks == b) & (labels == 0))
        pairs = int(((bricks == a) & (labels == 1)).sum() * ((bricks == b) & (labels == 0)).sum())
        assert table[a, b] == pytest.approx(oracle(values[rows], labels[rows]) * pairs)


def test_the_standard_error_is_that_of_delong_where_every_row_is_a_brick() -> None:
    """DeLong, DeLong & Clarke-Pearson 1988, from its definition."""
    scores, labels, _ = labelled(400, 7)
    lens, other = scores[labels == 1], scores[labels == 0]
    won = (lens[:, None] > other[None, :]).astype(float)
    delong = won.mean(1).var(ddof=1) / len(lens) + won.mean(0).var(ddof=1) / len(other)
    clusters = Clusters.of(labels, np.arange(400))
    sample = [(clusters, clusters.concordance(scores))]
    (value,), (error,) = statistics._resample(sample, statistics.single, np.ones((1, 400)))
    assert value == pytest.approx(oracle(scores, labels))
    assert error == pytest.approx(np.sqrt(delong), rel=0.01)


def test_metamorphic() -> None:
    """T10: monotone transforms, the order of rows and rows written twice leave value and interval
    as they are. The control: with rows for bricks, writing them twice buys a narrower interval."""
    scores, labels, rng = labelled(300, 11)
    bricks = rng.integers(0, 30, 300)
    known = auroc_interval(scores, labels, bricks, seed=4, resamples=400)
    order = rng.permutation(300)
    for changed in (
        auroc_interval(np.exp(scores), labels, bricks, seed=4, resamples=400),
        auroc_interval(scores[order], labels[order], bricks[order], seed=4, resamples=400),
        auroc_interval(*(np.tile(x, 2) for x in (scores, labels, bricks)), seed=4, resamples=400),
    ):
        assert (changed.value, changed.low, changed.high) == pytest.approx(
            (known.value, known.low, known.high), abs=1e-9
        )
    once = auroc_interval(scores, labels, np.arange(300), resamples=400)
    twice = auroc_interval(
        *(np.tile(x, 2) for x in (scores, labels)), np.arange(600), resamples=400
    )
    assert twice.high - twice.low < 0.8 * (once.high - once.low)


def test_perfect_separation_has_an_exact_interval() -> None:
    """Of m bricks that could have been discordant and were not: lower end (alpha / 2)^(1 / m)."""
    labels, bricks = np.tile([0, 1], 40), np.repeat(np.arange(40), 2)
    for scores, ends in ((labels * 1.0, (0.025 ** (1 / 40), 1.0)), (-1.0 * labels, None)):
        found = auroc_interval(scores, labels, bricks)
        assert "exact" in found.note
        if ends is not None:
            assert (found.low, found.high) == pytest.approx(ends)
        else:
            assert (found.low, found.high) == pytest.approx((0.0, 1 - 0.025 ** (1 / 40)))


def test_many_bricks_are_pooled_and_the_interval_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cost grows with the square of the clusters: 500 of them at most, whatever the rows. The
    control, each brick by itself, gives nearly the same."""
    scores, labels, _ = labelled(3000, 13)
    bricks = np.arange(3000) // 2
    sizes, concordance = [], Clusters.concordance

    def seen(clusters: Clusters, scores: np.ndarray) -> np.ndarray:
        sizes.append(clusters.n_bricks)
        return concordance(clusters, scores)

    monkeypatch.setattr(Clusters, "concordance", seen)
    pooled = auroc_interval(scores, labels, bricks, resamples=400, seed=1)
    again = auroc_interval(scores, labels, bricks, resamples=400, seed=1)
    monkeypatch.setattr(statistics, "MOST_CLUSTERS", 1500)
    apart = auroc_interval(scores, labels, bricks, resamples=400, seed=1)
    assert sizes == [500, 500, 1500] and pooled == again
    assert pooled.value == pytest.approx(apart.value, abs=1e-12)
    assert pooled.high - pooled.low == pytest.approx(apart.high - apart.low, rel=0.2)


def test_one_brick_says_nothing() -> None:
    scores, labels, _ = labelled(100, 2)
    found = auroc_interval(scores, labels, np.zeros(100))
    assert (found.low, found.high) == (0.0, 1.0)


def test_intervals_of_a_difference_are_of_the_same_resamples() -> None:
    """Two scores that are nearly one differ by far less than either is uncertain."""
    scores, labels, rng = labelled(600, 3)
    clusters = Clusters.of(labels, rng.integers(0, 40, 600))
    near = scores + rng.normal(0, 0.02, 600)
    samples = [(clusters, clusters.concordance(each)) for each in (scores, near)]
    told = {"confidence": 0.95, "resamples": 400, "seed": 1}
    alone = interval(samples[:1], statistics.single, **told)
    apart = interval(samples, difference, **told)
    assert apart.low < apart.value < apart.high
    assert apart.high - apart.low < 0.1 * (alone.high - alone.low)
    drop = interval(samples, relative_drop, **told)
    assert drop.value == pytest.approx(apart.value / alone.value)
    assert drop.high == pytest.approx(apart.high / alone.value, rel=0.05)


def correlated(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """60 bricks of 10 rows, scores correlated within bricks (ICC 0.3), label mix varying."""
    brick = np.repeat(np.arange(60), 10)
    mix = rng.beta(1.5, 1.5, 60)[brick]
    labels = (rng.random(600) < mix).astype(int)
    shared = rng.normal(0, np.sqrt(0.3), 60)[brick]
    return shared + rng.normal(0, np.sqrt(0.7), 600) + 0.738 * labels, labels, brick


TRUTH = 0.699  # Phi(0.738 / sqrt 2): pairs of different bricks, 59 of 60


def test_the_interval_covers_where_rows_share_their_brick() -> None:
    """T5 in small: 95 % nominal; over 200 sets binomial noise is 1.5 %. The control resamples rows,
    and covers about 85 %."""
    rng = np.random.default_rng(17)
    covered, by_rows = 0, 0
    for _ in range(200):
        scores, labels, brick = correlated(rng)
        found = auroc_interval(scores, labels, brick, resamples=300, seed=1)
        covered += found.low < TRUTH < found.high
        by_rows += _covers_by_rows(scores, labels)
    assert covered >= 184, covered
    assert by_rows <= 180, by_rows


def _covers_by_rows(scores: np.ndarray, labels: np.ndarray) -> bool:
    """DeLong on rows, as if they were independent."""
    lens, other = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    of_lens = np.searchsorted(other, lens) / len(other)
    of_other = 1 - np.searchsorted(lens, other) / len(lens)
    error = np.sqrt(of_lens.var(ddof=1) / len(lens) + of_other.var(ddof=1) / len(other))
    return bool(abs(of_lens.mean() - TRUTH) < 1.96 * error)


@pytest.mark.parametrize(("n_bricks", "shift"), [(19, 0.738), (60, 2.33)])
def test_the_interval_covers_with_few_bricks_and_near_one(n_bricks: int, shift: float) -> None:
    """19 bricks; AUROC 0.95: where percentiles of the plain bootstrap cover 90 to 92 %."""
    from scipy.stats import norm

    rng = np.random.default_rng(23)
    truth, covered = norm.cdf(shift / np.sqrt(2)), 0
    brick = np.repeat(np.arange(n_bricks), 10)
    for _ in range(150):
        labels = rng.integers(0, 2, len(brick))
        scores = rng.normal(0, 1, len(brick)) + shift * labels
        found = auroc_interval(scores, labels, brick, resamples=300, seed=1)
        covered += found.low < truth < found.high
    assert covered >= 136, covered
