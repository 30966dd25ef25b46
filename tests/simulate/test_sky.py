"""Bricks: names, hosts within them, splits apart, too many refused."""

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord

from lensjax import schema
from lensjax.schema import ExitCode, LensjaxError
from lensjax.simulate import sky


@pytest.fixture(scope="module")
def layouts():
    return {split: sky.lay_out(split, 3000, 7, seed=42) for split in schema.SPLITS}


def test_names_are_unique_and_no_split_shares_one(layouts):
    bricks = {split: set(layout.brick) for split, layout in layouts.items()}
    for split, layout in layouts.items():
        assert len(bricks[split]) == len(set(layout.number)) == -(-3000 // 7)
        assert np.bincount(layout.number).max() == 7
    assert not set.intersection(*bricks.values())
    assert len(set.union(*bricks.values())) == sum(map(len, bricks.values()))


def test_every_name_of_every_strip_is_unique():
    names = [
        sky.brick_name(0.25 * column + 0.125, south + 0.25 * row + 0.125)
        for south, rows in sky._STRIPS.values()
        for column in range(1440)
        for row in range(rows)
    ]
    assert len(set(names)) == len(names)


def test_hosts_lie_in_their_brick(layouts):
    for layout in layouts.values():
        ra0, dec0 = np.floor(layout.ra * 4) / 4, np.floor(layout.dec * 4) / 4
        named = [sky.brick_name(a + 0.125, d + 0.125) for a, d in zip(ra0, dec0, strict=True)]
        assert (np.array(named) == layout.brick).all()


def test_splits_are_further_apart_than_any_guard_band(layouts):
    at = {s: SkyCoord(v.ra, v.dec, unit=units.deg) for s, v in layouts.items()}
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        assert at[a].match_to_catalog_sky(at[b])[1].min() > 0.05 * units.deg
    full = {s: (south, south + 0.25 * rows) for s, (south, rows) in sky._STRIPS.items()}
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        assert max(full[a][0], full[b][0]) - min(full[a][1], full[b][1]) > 0.05


def test_kinds_of_hosts_are_spread_over_bricks(layouts):
    # hosts of a kind follow at a fixed step: unshuffled, those of one kind would share bricks
    of_a_kind = [set(layouts["train"].number[k::4]) for k in range(4)]
    assert min(map(len, of_a_kind)) > 300
    assert len(set((np.arange(3000) % 428)[0::4])) == 107


@pytest.mark.parametrize(("hosts", "per_brick"), [(57_601, 1), (10, 0)])
def test_more_than_the_sky_holds_is_refused(hosts, per_brick):
    with pytest.raises(LensjaxError) as caught:
        sky.lay_out("test", hosts, per_brick, seed=1)
    assert caught.value.code == ExitCode.USAGE
    assert len(sky.lay_out("test", 57_600, 1, seed=1).brick) == 57_600  # what it does hold
