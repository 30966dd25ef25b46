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


@pytest.mark.proves("T6")
@pytest.mark.parametrize("seed", range(3))
def test_auroc_is_that_of_scikit_learn_and_of_counting_pairs(seed: int) -> None:
    scores, labels, _ = labelled(157, seed)
    for values in (scores, np.round(scores), np.round(scores * 2).astype(np.float16)):
        assert auroc(values, labels) == pytest.approx(oracle(values, labels), abs=1e-12)
        assert auroc(values, labels) == pytest.approx(roc_auc_score(labels, values), abs=1e-12)


TIED = np.array([1, 0, 1, 0])
SIGNED = np.array([0.0, -0.0, -0.0, 0.0])


@pytest.mark.proves("T6")
def test_ties_zeros_of_either_sign_and_all_equal() -> None:
    assert auroc(SIGNED, TIED) == 0.5
    assert auroc(np.full(4, 7.0, np.float16), TIED) == 0.5
    across = np.array([1, 1, 2, 0])
    assert auroc(across.astype(np.float16), TIED) == oracle(across, TIED)


@pytest.mark.harm("T6")
def test_ranks_by_position_count_ties_for_whoever_came_first() -> None:
    """As a plain argsort gives them."""
    by_position = np.argsort(np.argsort(SIGNED, kind="stable"))
    assert auroc(by_position, TIED) != 0.5


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


@pytest.mark.proves("T10")
def test_metamorphic() -> None:
    """Monotone transforms, the order of rows and rows written twice leave value and interval as
    they are."""
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


@pytest.mark.harm("T10")
def test_with_rows_for_bricks_writing_them_twice_buys_a_narrower_interval() -> None:
    scores, labels, _ = labelled(300, 11)
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
    assert apart.high - apart.value == pytest.approx(apart.value - apart.low)  # symmetric ends
    assert alone.high - alone.value < 0.99 * (alone.value - alone.low)  # on the logit scale: not
    drop = interval(samples, relative_drop, **told)
    assert drop.value == pytest.approx(apart.value / alone.value)
    assert drop.high == pytest.approx(apart.high / alone.value, rel=0.05)
