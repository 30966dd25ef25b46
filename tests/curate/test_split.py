"""Splits of random skies: each guarantee, and the harm where what keeps it is off."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from lensjax.curate import choice, guard, regions, split
from lensjax.curate.split import ASIDE, Settings, split_rows
from lensjax.curate.verify import verify
from lensjax.schema import ExitCode, LensjaxError

pytestmark = pytest.mark.usefixtures("fewer_groups")
SETTINGS = Settings((0.7, 0.15, 0.15), seed=42)
SKIES = ("field", "field, clustered", "across ra 0", "across ra 0, clustered", "north pole")
SKIES += ("south pole", "north pole, clustered")


def separations(rows, first, second):
    """Arcsec between all rows `first` and all `second`, by the haversine formula: other mathematics
    than that of the code, on a square of all pairs."""
    ra, dec = np.deg2rad(rows.ra), np.deg2rad(rows.dec)
    a, b = np.flatnonzero(first)[:, None], np.flatnonzero(second)[None]
    hav = np.sin((dec[a] - dec[b]) / 2) ** 2
    hav = hav + np.cos(dec[a]) * np.cos(dec[b]) * np.sin((ra[a] - ra[b]) / 2) ** 2
    return 2 * np.arcsin(np.sqrt(hav)) * 206264.80624709636


def nearest(rows, found):
    """The nearest that two rows of different splits come, arcsec."""
    return min(
        separations(rows, found == a, found == b).min()
        for a, b in itertools.combinations(range(3), 2)
    )


def shared(code, found):
    """How many of `code` are in two splits."""
    kept = found != ASIDE
    return sum(len(set(found[kept & (code == k)])) > 1 for k in np.unique(code))


def shares(rows, found):
    hosts = np.unique(np.stack([rows.host, found]), axis=1)[1]
    return np.bincount(hosts[hosts >= 0], minlength=3) / (hosts >= 0).sum()


def variation(rows, found):
    """Largest total variation between the strata of a split and those of all rows."""
    whole = np.bincount(rows.stratum) / len(rows.stratum)
    mine = [np.bincount(rows.stratum[found == k], minlength=len(whole)) for k in range(3)]
    return max(np.abs(x / x.sum() - whole).sum() / 2 for x in mine)


def failure(call, *args):
    with pytest.raises(LensjaxError) as caught:
        call(*args)
    return caught.value


# -- the guarantees -----------------------------------------------------------------------------


@pytest.mark.parametrize("where", SKIES)
@pytest.mark.parametrize("seed", [1, 2])
def test_no_brick_no_host_and_no_near_pair_is_shared(sky, where, seed):
    rows = sky(where, hosts=900, seed=seed, per_host=2)
    found = split_rows(rows, replace(SETTINGS, seed=seed))
    assert nearest(rows, found) >= 180.0
    assert shared(rows.brick, found) == shared(rows.host, found) == 0
    verify(rows, found, 180.0)
    assert np.abs(shares(rows, found) - SETTINGS.proportions).max() < 0.03
    assert (found == ASIDE).mean() < 0.1


@pytest.mark.parametrize("where", SKIES)
def test_without_the_guard_hosts_come_near(sky, where, monkeypatch):
    rows = sky(where, hosts=3000)
    nothing = lambda vectors, host, split, reach: np.zeros(len(split), bool)  # noqa: E731
    monkeypatch.setattr(split, "set_aside", nothing)
    found = split_rows(rows, SETTINGS)
    assert nearest(rows, found) < 180.0  # harm
    error = failure(verify, rows, found, 180.0)
    assert error.code == ExitCode.LEAK and "arcsec from one of" in str(error)


@pytest.mark.parametrize("where", ["across ra 0", "north pole"])
def test_on_a_flat_sky_hosts_come_near_across_ra_0_and_at_the_pole(sky, where, monkeypatch):
    """Positions as if ra and dec were plane coordinates: the guard is blind where they are not."""

    def flat(ra, dec):
        x, y = np.deg2rad(np.asarray(ra)), np.deg2rad(np.asarray(dec))
        return np.stack([x * np.cos(y), y, np.zeros(len(x))], axis=-1)

    rows = sky(where, hosts=3000)
    assert nearest(rows, split_rows(rows, SETTINGS)) >= 180.0
    monkeypatch.setattr(split, "unit_vectors", flat)
    assert nearest(rows, split_rows(rows, SETTINGS)) < 180.0  # harm


def test_told_of_no_bricks_it_cuts_through_them(sky):
    rows = sky(hosts=1500)
    found = split_rows(rows._replace(brick=np.arange(len(rows.ra))), SETTINGS)
    assert shared(rows.brick, found) > 0  # harm
    error = failure(verify, rows, found, 180.0)
    assert error.code == ExitCode.LEAK and "brick" in str(error)


def test_a_host_in_two_bricks_joins_them(sky, monkeypatch):
    """Hosts of a few bricks have a second row, 0.05 arcsec away, that counts to the next brick."""
    rows = sky(hosts=800)
    few = np.isin(rows.brick, [3, 40, 90])
    again = type(rows)(*(column[few] for column in rows))
    again = again._replace(dec=again.dec + 0.05 / 3600, brick=again.brick + 1)
    rows = type(rows)(*(np.concatenate(pair) for pair in zip(rows, again, strict=True)))
    found = split_rows(rows, SETTINGS)
    verify(rows, found, 180.0)
    # told apart, and with nothing set aside, the two rows of a host part
    own = np.arange(len(rows.ra))
    monkeypatch.setattr(split, "set_aside", lambda *a: np.zeros(len(a[2]), bool))
    apart = rows._replace(host=own, brick=own)
    parted = (split_rows(apart, replace(SETTINGS, seed=seed)) for seed in range(9))
    harmed = next(found for found in parted if shared(rows.host, found))  # harm
    error = failure(verify, rows._replace(brick=own), harmed, 0.0)
    assert error.code == ExitCode.LEAK and "a host is in" in str(error)


@pytest.mark.parametrize(("band", "separation", "reach"), [(0.0, 24.0, 24.0), (0.02, 24.0, 72.0)])
def test_the_separation_is_kept_however_narrow_the_guard_band(sky, band, separation, reach):
    rows = sky("field, clustered", hosts=4000)
    settings = replace(SETTINGS, guard_band_deg=band, separation_arcsec=separation)
    found = split_rows(rows, settings)
    assert settings.reach_arcsec == pytest.approx(reach)
    assert nearest(rows, found) >= reach
    neither = replace(settings, guard_band_deg=0.0, separation_arcsec=0.0)
    found = split_rows(rows, neither)
    assert not (found == ASIDE).any() and nearest(rows, found) < 24.0  # harm


# -- as few as possible -------------------------------------------------------------------------


def brute_force_cover(pairs, n):
    for size in range(n + 1):
        for nodes in itertools.combinations(range(n), size):
            if np.isin(pairs, nodes).any(axis=1).all():
                return size
    return n


def test_the_cover_is_the_smallest_there_is():
    rng = np.random.default_rng(4)
    larger = 0
    for _ in range(60):
        edges = rng.integers(1, 12)
        pairs = np.stack([rng.integers(0, 5, edges), rng.integers(5, 10, edges)], axis=1)
        cover = guard.smallest_cover(pairs)
        assert np.isin(pairs, cover).any(axis=1).all()
        assert len(cover) == len(set(cover)) == brute_force_cover(pairs, 10)
        larger += len(set(pairs[:, 0])) > len(cover)
    assert larger > 10  # to set aside one side of all pairs costs more


def test_many_near_hosts_at_once_are_all_seen_to(monkeypatch):
    """More conflicts of one host than are looked at together."""
    monkeypatch.setattr(guard, "NEAREST", 2)
    rng = np.random.default_rng(0)
    vectors = np.stack([np.ones(400), *rng.uniform(0, 1e-3, (2, 400))], axis=1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    of_host = rng.integers(0, 3, 400).astype(np.int8)
    aside = guard.set_aside(vectors, np.arange(400), of_host, reach_arcsec=60.0)
    apart = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1)
    parted = (of_host[:, None] != of_host[None]) & ~aside[:, None] & ~aside[None]
    assert apart[parted].min() > np.deg2rad(60 / 3600) * (1 - 1e-6)
    assert 0 < aside.sum() < 400


def test_contiguous_groups_lose_less_than_hashed_bricks(sky):
    rows = sky(hosts=6000)
    ours = (split_rows(rows, SETTINGS) == ASIDE).mean()
    rng = np.random.default_rng(0)
    hashed = rng.choice(3, rows.brick.max() + 1, p=SETTINGS.proportions)[rows.brick].astype(np.int8)
    vectors = split.unit_vectors(rows.ra, rows.dec)
    theirs = guard.set_aside(vectors, np.arange(6000), hashed, 180.0).mean()
    assert ours < theirs / 2


# -- proportions, strata ------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [(0.5, 0.3, 0.2), (0.8, 0.1, 0.1), (1 / 3, 1 / 3, 1 / 3)])
def test_proportions_are_those_asked(sky, asked):
    rows = sky(hosts=2000)
    found = split_rows(rows, Settings(asked, seed=1))
    assert np.abs(shares(rows, found) - asked).max() < 0.01


def test_strata_of_each_split_are_those_of_the_whole(sky, monkeypatch):
    rows = sky(hosts=4000)
    assert variation(rows, split_rows(rows, SETTINGS)) < 0.03
    monkeypatch.setattr(split, "_common", lambda stratum: (np.zeros(len(stratum), np.int64), 1))
    assert variation(rows, split_rows(rows, SETTINGS)) > 0.05  # harm: one stratum is all


def test_rows_without_an_arc_are_spread_over_the_splits(sky, monkeypatch):
    rows = sky(hosts=4000)
    lens = (rows.ra > 12).astype(np.int64)
    rows = rows._replace(positives=lens, negatives=1 - lens)

    def balance(found):
        return [lens[found == k].mean() - lens.mean() for k in range(3)]

    assert np.abs(balance(split_rows(rows, SETTINGS))).max() < 0.03
    one = np.ones(len(lens), np.int64)
    blind = split_rows(rows._replace(positives=one, negatives=one), SETTINGS)
    assert np.abs(balance(blind)).max() > 0.03  # harm


def test_a_hundred_strata_are_told_apart_as_far_as_may_be(sky):
    rows = sky(hosts=1500)
    stratum, n = split._common(np.arange(1500) % 100 * 7)
    assert n == split.MOST_STRATA and stratum.max() == n - 1
    assert (np.bincount(stratum)[:-1] == 15).all()
    split_rows(rows._replace(stratum=np.arange(1500) % 100 * 7), SETTINGS)


def test_a_guard_band_that_takes_from_one_split_is_made_up_for(sky, monkeypatch):
    rows = sky(hosts=3000)

    def greedy(vectors, host, of_host, reach):  # three of five hosts of val, too
        lost = guard.set_aside(vectors, host, of_host, reach)
        return lost | ((of_host == 1) & (np.arange(len(of_host)) % 5 < 3))

    monkeypatch.setattr(split, "set_aside", greedy)
    assert np.abs(shares(rows, split_rows(rows, SETTINGS)) - SETTINGS.proportions).max() < 0.03
    monkeypatch.setattr(split, "_ATTEMPTS", 1)
    assert np.abs(shares(rows, split_rows(rows, SETTINGS)) - SETTINGS.proportions).max() > 0.05


def test_local_search_ends_where_nothing_helps():
    rng = np.random.default_rng(3)
    hosts = rng.integers(5, 20, 16)
    lost = rng.integers(0, 3, (16, 16)).astype(float)
    lost = np.triu(lost, 1) + np.triu(lost, 1).T
    table = choice.Table(rng.integers(0, 9, (16, 4)), 1.0)
    groups = choice.Groups(hosts, (table,), lost)
    wanted = np.array([0.7, 0.15, 0.15])
    found = choice.choose(groups, wanted, seed=1, levels=4)
    best = choice._Search(groups, wanted, found).cost()
    for k, to in itertools.product(range(16), range(3)):
        other = found.copy()
        other[k] = to
        assert choice._Search(groups, wanted, other).cost() >= best - 1e-9
    for i, j in itertools.combinations(range(16), 2):
        other = found.copy()
        other[[i, j]] = other[[j, i]]
        assert choice._Search(groups, wanted, other).cost() >= best - 1e-9


# -- determinism, and what cannot be -----------------------------------------------------------


@pytest.mark.parametrize("where", ["field, clustered", "north pole"])
def test_the_order_of_rows_and_the_numbers_of_bricks_and_hosts_do_not_matter(sky, where):
    rows = sky(where, hosts=1500, per_host=2)
    found = split_rows(rows, SETTINGS)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(rows.ra))
    other = type(rows)(*(column[order] for column in rows))
    other = other._replace(
        brick=rng.permutation(rows.brick.max() + 1)[other.brick],
        host=rng.permutation(rows.host.max() + 1)[other.host],
    )
    np.testing.assert_array_equal(split_rows(other, SETTINGS), found[order])
    assert (split_rows(rows, replace(SETTINGS, seed=43)) != found).any()


@pytest.mark.parametrize("bricks", [1, 2])
def test_fewer_than_three_bricks_cannot_be_split(sky, bricks):
    rows = sky(hosts=300)
    error = failure(split_rows, rows._replace(brick=np.arange(300) % bricks), SETTINGS)
    assert error.code == ExitCode.LEAK
    assert f"{bricks} groups of bricks" in str(error) and "more bricks" in str(error)


# -- groups of bricks ---------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["field", "across ra 0", "north pole", "south pole, clustered"])
def test_contacts_are_those_of_all_pairs(sky, where):
    rows = sky(where, hosts=1500)
    points = regions.Points(rows.ra, rows.dec)
    group = regions.bisect(points, rows.brick, np.bincount(rows.brick), levels=3)[rows.brick]
    found = regions.contacts(points, group, rows.host, 8, reach_arcsec=600.0)
    for a, b in itertools.combinations(range(8), 2):
        near = separations(rows, group == a, group == b) < 600.0
        assert found[a, b] == found[b, a] == min(near.any(axis=0).sum(), near.any(axis=1).sum())
    assert found.sum() > 0 and not np.diag(found).any()


@pytest.mark.parametrize("where", SKIES)
def test_groups_are_whole_bricks_alike_in_size_and_compact(sky, where):
    rows = sky(where, hosts=4000)
    points, bricks = regions.Points(rows.ra, rows.dec), np.bincount(rows.brick)
    group = regions.bisect(points, rows.brick, bricks, levels=3)
    sizes = np.bincount(group, bricks, 8)
    assert len(group) == len(bricks) and sizes.sum() == 4000
    assert (sizes > 4000 * 0.35**3 * 0.7).all() and (sizes < 4000 * 0.65**3 * 1.5).all()
    coarser = regions.bisect(points, rows.brick, bricks, levels=2)
    np.testing.assert_array_equal(group >> 1, coarser)
    lost = regions.contacts(points, group[rows.brick], rows.host, 8, 180.0).sum()
    shuffled = np.random.default_rng(0).permutation(group)[rows.brick]
    assert lost < regions.contacts(points, shuffled, rows.host, 8, 180.0).sum() / 2
