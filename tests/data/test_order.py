"""Order: every row once an epoch, any batch at once, both classes in any two batches."""

import hashlib
import itertools

import numpy as np
import pytest

from lensjax.data.order import batch_rows, check_batch_size, epoch_order, steps_in
from lensjax.data.permute import permutation, raw, uniform
from lensjax.schema import ExitCode, LensjaxError


def labels_of(positives, negatives, seed=0):
    labels = np.repeat([1, 0], [positives, negatives]).astype(np.int8)
    return np.random.default_rng(seed).permutation(labels)


def smallest_batch(labels):
    for size in range(1, len(labels) + 1):
        try:
            check_batch_size(size, labels)
        except LensjaxError:
            continue
        return size
    raise AssertionError("no batch size will do")


MIXES = [(5, 5), (50, 50), (33, 67), (90, 10), (10, 990), (1, 9), (2, 1)]


@pytest.mark.parametrize(("positives", "negatives"), MIXES)
def test_every_row_once_an_epoch(positives, negatives):
    labels = labels_of(positives, negatives)
    orders = [epoch_order(42, epoch, labels) for epoch in range(4)]
    for order in orders:
        assert order.dtype == np.int64
        np.testing.assert_array_equal(np.sort(order), np.arange(len(labels)))
    if len(labels) > 20:
        assert len({order.tobytes() for order in orders}) == 4
        assert epoch_order(43, 0, labels).tobytes() != orders[0].tobytes()


@pytest.mark.parametrize(("positives", "negatives"), MIXES)
@pytest.mark.parametrize("factor", [1, 2.5])
def test_random_access_equals_iteration_and_nothing_is_dropped(positives, negatives, factor):
    labels = labels_of(positives, negatives)
    n, size, epochs = len(labels), int(smallest_batch(labels) * factor), 3
    sequence = np.concatenate([epoch_order(7, epoch, labels) for epoch in range(40)])
    steps = steps_in(epochs, n, size)
    seen = []
    for step in np.random.default_rng(0).permutation(steps).tolist():
        rows, epoch = batch_rows(7, step, size, labels)
        assert rows.shape == epoch.shape == (size,) and epoch.dtype == np.int32
        np.testing.assert_array_equal(rows, sequence[step * size : (step + 1) * size])
        np.testing.assert_array_equal(epoch, np.arange(step * size, (step + 1) * size) // n)
        seen += [(int(e), int(r)) for e, r in zip(epoch, rows, strict=True) if e < epochs]
    assert len(seen) == len(set(seen)) == epochs * n


@pytest.mark.parametrize("seed", range(20))
def test_any_two_consecutive_batches_hold_both_classes(seed):
    rng = np.random.default_rng(seed)
    labels = labels_of(int(rng.integers(1, 200)), int(rng.integers(1, 200)), seed)
    size = smallest_batch(labels)
    batches = [labels[batch_rows(seed, step, size, labels)[0]] for step in range(60)]
    for one, two in itertools.pairwise(batches):
        assert set(np.concatenate([one, two])) == {0, 1}


def test_control_a_class_ordered_file_read_in_order_lacks_a_class():
    labels = np.repeat([1, 0], 500)
    assert set(labels[:256]) == {1}  # two batches of 128 without the guard
    rows = np.concatenate([batch_rows(1, step, 128, labels)[0] for step in range(2)])
    assert 110 < labels[rows].sum() < 146


def test_one_percent_positives_at_batch_128():
    labels = labels_of(100, 9900)
    for step in range(160):
        rows = np.concatenate([batch_rows(3, s, 128, labels)[0] for s in (step, step + 1)])
        assert labels[rows].any()


def test_too_rare_a_class_says_which_batch_size_would_do():
    labels = labels_of(10, 990)
    with pytest.raises(LensjaxError, match="batch size of at least 76") as caught:
        batch_rows(1, 0, 75, labels)
    assert caught.value.code == ExitCode.USAGE
    assert len(batch_rows(1, 0, 76, labels)[0]) == 76
    with pytest.raises(LensjaxError) as caught:
        batch_rows(1, 0, 1, labels_of(5, 5))
    assert caught.value.code == ExitCode.USAGE


def test_one_class_is_invalid_data():
    with pytest.raises(LensjaxError, match="0 positives") as caught:
        batch_rows(1, 0, 4, np.zeros(8, np.int8))
    assert caught.value.code == ExitCode.DATA_INVALID


def test_a_far_step_needs_no_walk_and_leaves_no_state():
    labels = labels_of(500, 500)
    far = batch_rows(42, 5_000_000, 128, labels)
    epoch_order(1, 1, labels)
    for one, two in zip(far, batch_rows(42, 5_000_000, 128, labels), strict=True):
        np.testing.assert_array_equal(one, two)
    with pytest.raises(ValueError, match="read-only"):
        epoch_order(42, 0, labels)[0] = 1


def test_the_order_is_the_same_for_ever():
    """Pinned: a change here would change every run that is resumed."""
    order = epoch_order(42, 3, np.arange(1000) % 3 == 0)
    assert hashlib.sha256(order.astype("<i8").tobytes()).hexdigest()[:16] == "ab1c0d1eb37ad0bf"
    assert permutation(8, "a", 1).tolist() == [5, 3, 6, 7, 0, 2, 1, 4]
    assert raw(2, "a").tolist() != raw(2, "b").tolist()


def test_uniform_is_uniform():
    values = uniform(20000, "test")
    assert values.min() >= 0 and values.max() < 1
    counts = np.histogram(values, 20, (0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 45  # chi2 of 19: p < 1e-3
