"""Copies are found wherever they are, turned in any way; unrelated stamps are not copies."""

from __future__ import annotations

import numpy as np
import pytest

from lensjax.checks import duplicates
from lensjax.checks.duplicates import check_duplicates, dihedral
from lensjax.checks.measure import Measured, measure
from lensjax.checks.scan import scan_sets
from lensjax.data.stampset import StampSet


def seen(stamp):
    """measure of one stamp [64, 64, 3], without the row axis."""
    measured = measure(np.ascontiguousarray(np.moveaxis(stamp, -1, 0))[None])
    return Measured(*(array[0] for array in measured))


def check(sets):
    scan = scan_sets(sets, progress=False)
    return check_duplicates(scan.rows, scan.measured, scan.fetch)


def errors(outcome):
    return [f for f in outcome.findings if f.severity == "ERROR"]


@pytest.mark.parametrize("turn", range(8))
def test_every_turn_has_the_same_content_and_fingerprint(clean, turn):
    for stamp in clean["train"].stamps[:20]:
        here, there = seen(stamp), seen(dihedral(stamp)[turn])
        assert np.array_equal(here.content, there.content)
        np.testing.assert_allclose(here.fingerprint, there.fingerprint, atol=5e-3)


def test_a_copy_is_found_at_100_of_100_random_places(clean):
    """Exact and turned, with 1e-6 and with 3 % of the sky's noise: one each, 100 placements."""
    rng = np.random.default_rng(5)
    scan = scan_sets(clean, progress=False)
    rows, measured = scan.rows, Measured(*(array.copy() for array in scan.measured))
    stamps = scan.fetch(np.arange(len(rows)))
    found = 0
    for k in range(100):
        source = rng.integers(len(rows))
        target = rng.choice(np.flatnonzero(rows.host != rows.host[source]))
        copy = dihedral(stamps[source])[rng.integers(8)].copy()
        noise = (0.0, 1e-6, 3.6e-4)[k % 3]
        copy += np.float32(noise) * rng.standard_normal(copy.shape, np.float32)
        kept, stamps[target] = stamps[target].copy(), copy
        for array, value in zip(measured, seen(copy), strict=True):
            array[target] = value
        causes = errors(check_duplicates(rows, measured, lambda index: stamps[index]))
        named = {rows.name(i) for i in (source, target)}
        hosts = {rows.host_name(rows.host[i]) for i in (source, target)}
        found += any(
            all(name in f.message for name in named) or all(name in f.message for name in hosts)
            for f in causes
        )
        stamps[target] = kept
        for array, before in zip(measured, scan.measured, strict=True):
            array[target] = before[target]
    assert found == 100
    assert not errors(check_duplicates(rows, measured, lambda index: stamps[index]))


def test_a_copy_is_told_from_a_turned_copy(sets):
    """By the layout of one corner, whatever the rest."""
    for turn, stamp in enumerate(dihedral(sets["train"].stamps[0])):
        sets["test"].stamps[turn] = stamp
    messages = [one.message for one in errors(check(sets))]
    across = [message for message in messages if "across splits" in message]
    assert len(across) == 8
    assert [" is a copy of " in message for message in across] == [True] + [False] * 7
    assert all(" is a turned or mirrored copy of " in message for message in across[1:])


def test_copies_within_one_host_of_one_split_are_counted(sets):
    train = sets["train"]
    train.stamps[1] = train.stamps[0]
    outcome = check(sets)
    assert not errors(outcome)
    assert outcome.counts["copies_within_host"] == 1
    assert outcome.findings[0].severity == "NOTE"


def test_one_host_in_two_splits_is_an_error(sets):
    sets["val"].table["lrg_id"][0] = sets["train"].table["lrg_id"][0]
    sets["val"].stamps[0] = sets["train"].stamps[0]
    assert "across splits" in errors(check(sets))[0].message


def test_many_copies_are_each_named(made):
    """All stamps of val are one and the same: no blow-up, every row but the first is named."""
    sets = made.sets()
    sets["val"].stamps[:] = sets["val"].stamps[0]
    outcome = check(sets)
    own = outcome.counts["copies_within_host"]
    assert len(errors(outcome)) + own == len(sets["val"]) - 1


def test_a_crowd_of_one_host_does_not_hide_a_copy(made):
    """More than NEIGHBOURS rows of one host within reach, and one copy under another host."""
    base = made.set("train", 20, 0, 0)
    rng = np.random.default_rng(1)
    stamps = base.stamps.copy()
    noise = rng.standard_normal((31, 64, 64, 3), np.float32) * np.float32(1e-4)
    stamps[:31] = stamps[0] + noise
    base.table["lrg_id"][:30] = base.table["lrg_id"][0]
    crowded = StampSet("train", base.table, stamps, base.reader)
    assert any(base.table["lrg_id"][30] in f.message for f in errors(check({"train": crowded})))


def test_slabs_and_parts_change_nothing(monkeypatch):
    """Neighbours are asked for in parts of a slab of the first coordinate: all pairs of all."""
    rng = np.random.default_rng(2)
    points = rng.normal(0, 0.3, (400, 12)).astype(np.float32)
    points[200:] = points[:200] + rng.normal(0, 0.05, (200, 12)).astype(np.float32)
    group = rng.integers(0, 40, 400).astype(np.int32)
    distance = np.linalg.norm(points[:, None].astype(float) - points[None], axis=2)
    close = (distance <= duplicates.FINGERPRINT_RADIUS) & (group[:, None] != group[None])
    expected = np.argwhere(np.triu(close, 1))
    assert len(expected) > 150
    np.testing.assert_array_equal(duplicates._close(points, group), expected)
    for slab, part in ((50, 16), (7, 3), (1, 1)):
        monkeypatch.setattr(duplicates, "SLAB_POINTS", slab)
        monkeypatch.setattr(duplicates, "ASKED_AT_ONCE", part)
        np.testing.assert_array_equal(duplicates._close(points, group), expected)


def test_the_same_pixels_in_another_order_are_no_copy(sets):
    """A plain sum could not tell a shuffled stamp."""
    pixels = sets["train"].stamps[0].reshape(-1, 3)
    shuffled = np.random.default_rng(0).permutation(pixels).reshape(64, 64, 3)
    sets["test"].stamps[0] = shuffled
    assert not errors(check(sets))


def test_smooth_light_in_common_is_no_copy(sets, monkeypatch):
    """Two galaxies under the same bright gradient: alike at a glance, not in their noise. With
    the comparison of pixels off they are called copies."""
    y, x = np.mgrid[:64, :64].astype(np.float32)
    light = (x * x + 3 * y)[..., None]
    rows = [(sets["train"], 0), (sets["test"], 0)]
    for stamp_set, row in rows:
        stamp_set.stamps[row] += light
    assert not errors(check(sets))
    monkeypatch.setattr(duplicates, "MIN_CORRELATION", -1.0)
    assert errors(check(sets))


def test_only_what_is_alike_is_read_again(sets):
    """Pixels are fetched for pairs of near fingerprints, not of every stamp."""
    scan, asked = scan_sets(sets, progress=False), []

    def fetch(index):
        asked.extend(index.tolist())
        return scan.fetch(index)

    assert not errors(check_duplicates(scan.rows, scan.measured, fetch)) and asked == []
    noise = np.random.default_rng(1).standard_normal((64, 64, 3), np.float32)
    sets["test"].stamps[5] = sets["train"].stamps[9] + np.float32(1e-6) * noise
    scan = scan_sets(sets, progress=False)
    assert len(errors(check_duplicates(scan.rows, scan.measured, fetch))) == 1
    where = [scan.rows.where(row) for row in asked]
    assert len(where) == 2 and where[0].startswith("train/") and where[1].startswith("test/")


def test_stamps_without_noise_are_counted_as_not_searched(sets):
    sets["train"].stamps[0] = np.float32(0.0)
    outcome = check(sets)
    assert outcome.counts["not_searched_for_near_copies"] == 1
    assert not errors(outcome)
