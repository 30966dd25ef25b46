"""Copies are found wherever they are, turned in any way; unrelated stamps are not copies."""

from __future__ import annotations

import numpy as np
import pytest

from lensjax.checks import duplicates
from lensjax.checks.duplicates import check_duplicates, dihedral
from lensjax.checks.measure import measure
from lensjax.checks.rows import join
from lensjax.data.stampset import StampSet


def measured_of(rows):
    parts = [measure(s.stamps) for s in rows.sets.values()]
    return parts[0]._replace(
        causes=[],
        **{
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("pixel_sum", "outskirts", "fingerprint")
        },
    )


def check(sets):
    rows = join(sets)
    return check_duplicates(rows, measured_of(rows))


def errors(outcome):
    return [f for f in outcome.findings if f.severity == "ERROR"]


@pytest.mark.parametrize("turn", range(8))
def test_every_turn_has_the_same_sums_and_fingerprint(clean, turn):
    stamps = clean["train"].stamps[:20]
    turned = np.stack([dihedral(stamp)[turn] for stamp in stamps])
    here, there = measure(stamps), measure(turned)
    assert np.array_equal(here.pixel_sum, there.pixel_sum)
    np.testing.assert_allclose(here.fingerprint, there.fingerprint, atol=1e-4)


def test_a_copy_is_found_at_100_of_100_random_places(clean, made):
    """Exact and turned, with 1e-6 and with 3 % of the sky's noise: one each, 100 placements."""
    rng = np.random.default_rng(5)
    rows = join(clean)
    stamps = rows.stamps(np.arange(len(rows)))
    measured = measured_of(rows)
    found = 0
    for k in range(100):
        source = rng.integers(len(rows))
        target = rng.choice(np.flatnonzero(rows.host != rows.host[source]))
        copy = dihedral(stamps[source])[rng.integers(8)].copy()
        noise = (0.0, 1e-6, 3.6e-4)[k % 3]
        copy += np.float32(noise) * rng.standard_normal(copy.shape, np.float32)
        stamp_set = rows.sets[str(rows.table["split"][target])]
        local = target - rows.split_start[stamp_set.split]
        kept, one = stamp_set.stamps[local].copy(), measure(copy[None])
        before = (measured.pixel_sum[target].copy(), measured.fingerprint[target].copy())
        stamp_set.stamps[local] = copy
        measured.pixel_sum[target], measured.fingerprint[target] = one.pixel_sum, one.fingerprint
        causes = errors(check_duplicates(rows, measured))
        named = {str(rows.table["stamp_id"][i]) for i in (source, target)}
        found += any(sum(name in f.message for name in named) == 2 for f in causes) or any(
            rows.table["lrg_id"][target] in f.message and rows.table["lrg_id"][source] in f.message
            for f in causes
        )
        stamp_set.stamps[local] = kept
        measured.pixel_sum[target], measured.fingerprint[target] = before
    assert found == 100
    assert not errors(check_duplicates(rows, measured))


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


def test_equal_sums_of_different_pixels_are_no_copies(sets):
    """The sum cannot tell a shuffled stamp: the comparison does."""
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


def test_stamps_without_noise_are_counted_as_not_searched(sets):
    sets["train"].stamps[0] = np.float32(0.0)
    outcome = check(sets)
    assert outcome.counts["not_searched_for_near_copies"] == 1
    assert not errors(outcome)
