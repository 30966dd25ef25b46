"""Batches are computed from the step, hold both classes, and padding reaches no one."""

import itertools
from dataclasses import replace

import jax
import numpy as np
import pytest

from lensjax.data.order import batch_rows
from lensjax.data.stampset import aligned_empty
from lensjax.schema import LensjaxError
from lensjax.training import feed as feeds
from lensjax.training.feed import TrainFeed, binary_loss, in_chunks, partners
from lensjax.training.step import evaluated_variables

from .conftest import BATCH, SHAPE, make_set


def test_a_batch_is_computed_not_iterated_to(bench):
    later = [np.asarray(bench.feed.batch(step, 0.0)["rows"]) for step in range(8)]
    np.testing.assert_array_equal(bench.feed.batch(5, 0.0)["rows"], later[5])
    n = len(bench.feed)
    epoch = np.concatenate(later)[:n]
    assert sorted(epoch.tolist()) == sorted(bench.feed.rows.tolist())  # each row once an epoch
    assert np.asarray(bench.feed.batch(n // BATCH, 0.0)["epochs"]).tolist().count(1) > 0


def test_two_batches_in_a_row_hold_both_classes(bench):
    labels = np.asarray(bench.feed.source["labels"])
    rows = [labels[np.asarray(bench.feed.batch(step, 0.0)["rows"])] for step in range(40)]
    for first, second in itertools.pairwise(rows):
        assert set(first) | set(second) == {0, 1}
    small = [batch_rows(7, step, 4, bench.feed.labels)[0] for step in range(200)]
    for pair in itertools.pairwise(small):
        assert set(bench.feed.labels[np.concatenate(pair)]) == {0, 1}
    # A plain permutation does not do that.
    plain = np.random.default_rng(0).permuted(np.tile(bench.feed.labels, (200, 1)), axis=1)
    assert any(len(set(epoch[:8])) == 1 for epoch in plain)


def test_only_the_manifests_rows_are_trained_on_and_partners_are_at_hand(bench, train_set):
    source = bench.feed.source
    assert len(bench.feed) < len(train_set) == len(source["inputs"])
    rows = bench.feed.rows
    hosts = train_set.table["lrg_id"][rows]
    lens = bench.feed.labels == 1
    assert not set(hosts[lens]) & set(hosts[~lens])  # unpaired
    partner = np.asarray(source["partner"])
    paired = partner >= 0
    np.testing.assert_array_equal(partner[partner[paired]], np.flatnonzero(paired))
    ids = train_set.table["pair_id"]
    np.testing.assert_array_equal(ids[partner[paired]], ids[paired])
    assert paired.sum() == 48 and not paired[train_set.table["negative_kind"] == "ring"].any()


def test_without_hard_negatives_the_feed_holds_the_manifest_alone(bench, train_set):
    mask = np.zeros(len(train_set), bool)
    mask[bench.feed.rows] = True
    small = TrainFeed(
        train_set, mask, bench.mesh, seed=7, batch_size=BATCH, hard_negatives=False, **SHAPE
    )
    assert set(small.source) == {"inputs", "labels", "ids", "fill_median", "fill_sigma"}
    assert len(small.source["inputs"]) == mask.sum()
    for step in (0, 9):  # the same stamps under the same ids: the same augmentation
        ids = [f.source["ids"][f.batch(step, 0.0)["rows"]] for f in (small, bench.feed)]
        np.testing.assert_array_equal(*ids)
        assert small.stamp_ids(step) == bench.feed.stamp_ids(step)


def test_padding_never_shows(bench, val_set):
    seen = []

    def twice(x):
        seen.append(len(x))
        return 2 * x

    values = np.arange(37.0)
    np.testing.assert_array_equal(in_chunks(twice, values), 2 * values)
    assert seen == [16, 16, 16]
    variables = evaluated_variables(bench.state())
    whole = bench.predict(variables, bench.val_inputs)
    assert whole.shape == (len(val_set),)
    alone = np.concatenate([bench.predict(variables, x[None]) for x in bench.val_inputs[:3]])
    np.testing.assert_allclose(alone, whole[:3], atol=1e-5)


def test_the_probe_is_fixed_and_holds_both_classes(bench):
    inputs, labels = bench.feed.probe(10)
    again, _ = bench.feed.probe(10)
    np.testing.assert_array_equal(inputs, again)
    assert len(inputs) == 10 and 3 <= labels.sum() <= 7
    everything, all_labels = bench.feed.probe(2000)
    np.testing.assert_array_equal(all_labels, bench.feed.labels)
    np.testing.assert_array_equal(everything, bench.feed.source["inputs"][bench.feed.rows])


def test_a_set_that_alternates_between_classes_has_both_in_the_probe(bench):
    """Every second row of a paired set, which even spacing would take, is a control."""
    paired = make_set("train", pairs=10, lookalikes=1)
    feed = TrainFeed(
        paired,
        np.ones(21, bool),
        bench.mesh,
        seed=7,
        batch_size=BATCH,
        hard_negatives=False,
        **SHAPE,
    )
    spaced = feed.labels[np.linspace(0, 20, 11).astype(int)]
    assert len(set(spaced)) == 1 and len(set(feed.probe(11)[1])) == 2


def test_partners_need_no_order():
    ids = np.array(["b", "a", "c", "b", "a"])
    assert partners({"pair_id": ids}).tolist() == [3, 4, -1, 0, 1]


def test_one_class_cannot_be_trained_on(bench, train_set):
    mask = train_set.table["label"] == 1
    feed = TrainFeed(
        train_set, mask, bench.mesh, seed=7, batch_size=BATCH, hard_negatives=False, **SHAPE
    )
    with pytest.raises(LensjaxError, match="0 negatives"):
        feed.batch(0, 0.0)


def test_a_batch_must_divide_over_the_devices(monkeypatch):
    monkeypatch.setattr(feeds.jax, "devices", lambda: [None] * 3)
    with pytest.raises(LensjaxError, match="3 devices") as error:
        feeds.data_mesh(16)
    assert error.value.code == 2


def test_binary_loss():
    logits, labels = np.float32([3.0, -2.0, 40.0]), np.array([1, 0, 0])
    p = 1 / (1 + np.exp(-logits.astype(float)))
    want = -np.mean([np.log(p[0]), np.log(1 - p[1]), -40.0])
    assert binary_loss(logits, labels) == pytest.approx(want, rel=1e-6)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="an accelerator has its own memory")
@pytest.mark.parametrize("offset", [0, 4])
def test_a_cpu_holds_inputs_and_raw_stamps_once(bench, train_set, monkeypatch, offset):
    """Both are taken as they lie; raw stamps that are not aligned, the control, are copied."""
    room = aligned_empty((train_set.stamps.nbytes + offset,), np.uint8)
    raw = room[offset:].view(np.float32).reshape(train_set.stamps.shape)
    raw[:] = train_set.stamps
    made = []

    def model_inputs(*stamps, **how):
        made.append(feed_inputs(*stamps, **how))
        return made[0]

    feed_inputs = feeds.model_inputs
    monkeypatch.setattr(feeds, "model_inputs", model_inputs)
    stamps, mask = replace(train_set, stamps=raw), np.ones(len(raw), bool)
    shape = {"seed": 7, "batch_size": BATCH, "hard_negatives": True, **SHAPE}
    source = TrainFeed(stamps, mask, bench.mesh, **shape).source
    assert source["inputs"].unsafe_buffer_pointer() == made[0].ctypes.data
    assert (source["stamps"].unsafe_buffer_pointer() == raw.ctypes.data) == (offset == 0)
