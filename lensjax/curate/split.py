"""Which rows are train, val and test: no brick, no host, no two near hosts in different splits.

Not files and not words (`split_command`, lensjax.data.split_manifest). Bricks are joined to
contiguous groups (`regions`), groups are given to splits (`choice`), and the few hosts that are
then too near another split are set aside (`guard`). A function of positions: the order of rows,
and the numbers that bricks and hosts go by, do not matter.

    >>> split = split_rows(rows, Settings((0.7, 0.15, 0.15), seed=42))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lensjax import schema
from lensjax.checks.sky import unit_vectors
from lensjax.curate.choice import Groups, Table, choose
from lensjax.curate.guard import set_aside
from lensjax.curate.regions import Points, bisect, contacts
from lensjax.schema import ExitCode, LensjaxError

ASIDE = -1  # the split of a row in the guard band
LEVELS = 8  # cuts in two: up to 256 groups
PARTS = 3  # of them, those that make the parts of the sky of which every split should have some
PARTS_WEIGHT = 0.1  # of what that may cost, beside strata and classes at 1
MOST_STRATA = 64  # told apart while choosing; the rarest are taken together
CLOSE_ENOUGH = 0.01  # of the shares reached: no further attempt
_ATTEMPTS = 4


class SkyRows(NamedTuple):
    """One entry a row: `ra`, `dec` float64, degrees; `brick` and `host` int from 0 (hosts by
    position, as lensjax.data.rows.host_ids numbers them); `stratum` int; `positives` and
    `negatives` int, the stamps of each class that the row gives."""

    ra: np.ndarray
    dec: np.ndarray
    brick: np.ndarray
    host: np.ndarray
    stratum: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray


@dataclass(frozen=True)
class Settings:
    """What is asked: `proportions` of the hosts in train, val and test; `guard_band_deg` between
    splits, degrees; `separation_arcsec`, kept also where the guard band is narrower."""

    proportions: tuple[float, float, float]
    seed: int
    guard_band_deg: float = 0.05
    separation_arcsec: float = 24.0

    @property
    def reach_arcsec(self) -> float:
        """How near hosts of different splits may come, arcsec."""
        return max(3600.0 * self.guard_band_deg, self.separation_arcsec)


def split_rows(rows: SkyRows, settings: Settings) -> np.ndarray:
    """int8 [n]: index into schema.SPLITS, ASIDE in the guard band. The shares of the hosts that
    are kept are as near to `settings.proportions` as the bricks allow: the caller judges them.

    Raises:
        LensjaxError: exit 11 where fewer than three groups of bricks can be parted.
    """
    sky = _sky(rows)
    group = bisect(sky.points, sky.atom[sky.host], np.bincount(sky.atom), LEVELS)
    if len(np.unique(group)) < len(schema.SPLITS):
        raise LensjaxError(
            ExitCode.LEAK,
            f"{len(group)} groups of bricks that share no host: three splits need three",
            remedy="Give data of more bricks",
        )
    of_host = group[sky.atom]
    groups = _groups(sky, of_host, rows, settings.reach_arcsec)
    vectors = unit_vectors(*sky.points)
    wanted = np.array(settings.proportions) / sum(settings.proportions)
    asked, best, found = wanted, np.inf, np.zeros(0, np.int8)
    for _ in range(_ATTEMPTS):
        split = choose(groups, asked, settings.seed, LEVELS)[of_host].astype(np.int8)
        split[set_aside(vectors, sky.host, split, settings.reach_arcsec)] = ASIDE
        kept = np.bincount(split[split >= 0], minlength=len(wanted))
        missed = np.abs(kept / kept.sum() - wanted).max()
        if missed < best:
            best, found = missed, split
        if missed <= CLOSE_ENOUGH:
            break
        asked = asked * wanted / np.maximum(kept / kept.sum(), wanted / 4)  # the band took more
        asked = asked / asked.sum()
    return found[sky.host_of_row]


class _Sky(NamedTuple):
    """Points (distinct positions, sorted), the host of each, the host of each row, and the atom of
    each host: bricks joined by hosts that have rows in two of them. Hosts and atoms are numbered
    in the order of their first points."""

    points: Points
    host: np.ndarray
    host_of_row: np.ndarray
    atom: np.ndarray


def _sky(rows: SkyRows) -> _Sky:
    ra, dec = rows.ra % 360.0, rows.dec
    order = np.lexsort([dec, ra])
    new = np.diff(ra[order], prepend=np.nan) != 0
    new |= np.diff(dec[order], prepend=np.nan) != 0
    point = np.empty(len(order), np.int64)
    point[order] = np.cumsum(new) - 1
    points = Points(ra[order][new], dec[order][new])
    host_of_row = _renumbered(rows.host, point)
    host = np.empty(len(points.ra), np.int64)
    host[point] = host_of_row
    n_hosts = int(host.max()) + 1
    pairs = (host_of_row, n_hosts + rows.brick)
    size = n_hosts + int(rows.brick.max()) + 1
    links = coo_array((np.ones(len(order), bool), pairs), (size, size))
    part = connected_components(links, directed=False)[1][:n_hosts]
    return _Sky(points, host, host_of_row, _renumbered(part, np.arange(n_hosts)))


def _renumbered(code: np.ndarray, place: np.ndarray) -> np.ndarray:
    """int64 [n]: `code` (int [n]) numbered from 0 in the order of the smallest `place` of each."""
    first = np.full(int(code.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, code, place)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return rank[code]


def _groups(sky: _Sky, of_host: np.ndarray, rows: SkyRows, reach_arcsec: float) -> Groups:
    """What `choose` wants to know of the groups `of_host` [hosts]."""
    n = 1 << LEVELS
    hosts = np.bincount(of_host, minlength=n)
    mine = of_host[sky.host_of_row]
    stratum, n_strata = _common(rows.stratum)
    strata = np.bincount(mine * n_strata + stratum, minlength=n * n_strata)
    classes = [
        np.bincount(mine, weights, n).astype(np.int64)
        for weights in (rows.positives, rows.negatives)
    ]
    parts = np.zeros((n, 1 << PARTS), np.int64)
    parts[np.arange(n), np.arange(n) >> (LEVELS - PARTS)] = hosts
    tables = (
        Table(strata.reshape(n, n_strata), 1.0),
        Table(np.stack(classes, axis=1), 1.0),
        Table(parts, PARTS_WEIGHT),
    )
    lost = contacts(sky.points, of_host[sky.host], sky.host, n, reach_arcsec)
    return Groups(hosts, tables, lost)


def _common(stratum: np.ndarray) -> tuple[np.ndarray, int]:
    """Strata numbered from 0 in the order of their codes, and how many; those beyond MOST_STRATA,
    the rarest first, under one number."""
    codes, number, counts = np.unique(stratum, return_inverse=True, return_counts=True)
    if len(codes) <= MOST_STRATA:
        return number.reshape(-1), len(codes)
    common = np.sort(np.argsort(-counts, kind="stable")[: MOST_STRATA - 1])
    joined = np.full(len(codes), MOST_STRATA - 1)
    joined[common] = np.arange(MOST_STRATA - 1)
    return joined[number.reshape(-1)], MOST_STRATA
