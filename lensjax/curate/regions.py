"""Contiguous groups of bricks: the sky cut in two, and in two again, along the edges of bricks.

Not splits: `choice` gives groups to splits. The border of a group is where hosts are lost to the
guard band, so groups are few and compact: never cut through a brick, each about as large as the
others in hosts, cut across their longer side where few hosts are near the cut. Directions are
local (declination, and right ascension from the middle of the group), so that neither ra = 0 nor
a pole is an exception.

    >>> group = bisect(points, atom_of_point, hosts_of_atom, levels=8)
    >>> lost = contacts(points, group[atom_of_point], host_of_point, 256, reach_arcsec=180.0)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial import KDTree

from lensjax.checks.sky import ARCSEC_PER_RADIAN, chord, unit_vectors
from lensjax.progress import progress_bar

WINDOW = (0.35, 0.65)  # of the hosts of a group: where it may be cut


class Points(NamedTuple):
    """Distinct positions on the sky, degrees, float64 [p], ra in [0, 360)."""

    ra: np.ndarray
    dec: np.ndarray


def bisect(points: Points, atom: np.ndarray, weight: np.ndarray, levels: int) -> np.ndarray:
    """int64 [atoms]: the group of each atom, a number of `levels` binary digits; its first k
    digits are the group after k cuts, so that coarser groups are ancestors of finer ones.

    atom: int [p], the atom (bricks that may not be separated) of each point, from 0. weight:
    int64 [atoms], their hosts. A group of one atom is not cut."""
    group = np.zeros(len(weight), np.int64)
    for _ in range(levels):
        low, high = _extents(points, group, atom)
        group *= 2
        order = np.argsort(group, kind="stable")
        ends = np.flatnonzero(np.diff(group[order], prepend=-1, append=-1))
        for start, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
            mine = order[start:end]
            if len(mine) > 1:
                group[mine] += _cut(low[:, mine], high[:, mine], weight[mine])
    return group


def _extents(points: Points, group: np.ndarray, atom: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest declination, and right ascension from the middle of the group times the
    cosine of the declination, of the points of each atom: float64 [2, atoms], degrees."""
    mine = group[atom]
    lon = np.deg2rad(points.ra)
    x, y = (np.bincount(mine, part * np.cos(np.deg2rad(points.dec))) for part in _circle(lon))
    east = east_of(points.ra, np.rad2deg(np.arctan2(y, x))[mine])
    local = (points.dec, east * np.cos(np.deg2rad(points.dec)))
    low = np.full((2, len(group)), np.inf)
    high = np.full((2, len(group)), -np.inf)
    for k in (0, 1):
        np.minimum.at(low[k], atom, local[k])
        np.maximum.at(high[k], atom, local[k])
    return low, high


def _circle(angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.cos(angle), np.sin(angle)


def east_of(ra: np.ndarray, middle: np.ndarray | float) -> np.ndarray:
    """ra - middle, degrees, within -180 .. 180."""
    return (ra - middle + 180.0) % 360.0 - 180.0


def _cut(low: np.ndarray, high: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """bool [atoms]: the farther side of the cut across the longer extent. Within WINDOW the cut is
    where the atoms that reach across it hold the fewest hosts, and the nearest to the middle."""
    axis = int(np.argmax(high.max(axis=1) - low.min(axis=1)))
    low, high = low[axis], high[axis]
    order = np.argsort(low + high, kind="stable")
    middle = (low + high)[order] / 2
    share = np.cumsum(weight[order])[:-1] / weight.sum()  # of a cut after each atom but the last
    allowed = np.flatnonzero((share >= WINDOW[0]) & (share <= WINDOW[1]))
    if not len(allowed):
        allowed = np.array([np.argmin(np.abs(share - 0.5))])
    place = (middle[allowed] + middle[allowed + 1]) / 2
    across = _weight_below(low, weight, place) - _weight_below(high, weight, place)
    best = allowed[np.lexsort([np.abs(share[allowed] - 0.5), across])[0]]
    far = np.zeros(len(order), bool)
    far[order[best + 1 :]] = True
    return far


def _weight_below(edge: np.ndarray, weight: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The weight of the atoms whose `edge` is below each place."""
    order = np.argsort(edge, kind="stable")
    return np.concatenate([[0], np.cumsum(weight[order])])[np.searchsorted(edge[order], place)]


def contacts(
    points: Points, group: np.ndarray, host: np.ndarray, n_groups: int, reach_arcsec: float
) -> np.ndarray:
    """float64 [n_groups, n_groups], symmetric: about how many hosts are lost if two groups are in
    different splits, which is the hosts of one within `reach_arcsec` of the other, the fewer of
    both. group, host: int [p], from 0."""
    by_dec = np.argsort(points.dec, kind="stable")  # so that what is around a group is a slice
    points = Points(points.ra[by_dec], points.dec[by_dec])
    group, host = group[by_dec], host[by_dec]
    vectors = unit_vectors(points.ra, points.dec)
    near = np.zeros((n_groups, n_groups))
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(n_groups + 1)).tolist()
    n_hosts = int(host.max()) + 1
    reach = np.rad2deg(reach_arcsec / ARCSEC_PER_RADIAN)
    for k in progress_bar(range(n_groups), desc="borders of groups", unit="group"):
        mine = order[starts[k] : starts[k + 1]]
        if not len(mine):
            continue
        band = (points.dec[mine[0]] - reach, points.dec[mine[-1]] + reach)
        around = slice(*np.searchsorted(points.dec, band).tolist())
        beside = _beside(Points(*(x[mine] for x in points)), points.ra[around], reach)
        others = around.start + np.flatnonzero(beside & (group[around] != k))
        if not len(others):
            continue
        tree = KDTree(vectors[mine], compact_nodes=False, balanced_tree=False)  # faster to make
        length, _ = tree.query(vectors[others], distance_upper_bound=chord(reach_arcsec))
        touched = others[np.isfinite(length)]
        pairs = np.unique(group[touched] * np.int64(n_hosts) + host[touched])
        near[k] = np.bincount(pairs // n_hosts, minlength=n_groups)
    return np.minimum(near, near.T)


def _beside(mine: Points, ra: np.ndarray, reach: float) -> np.ndarray:
    """bool [n]: which `ra` are within the span of right ascension of the points `mine`, and
    `reach` (degrees on the sky) beyond."""
    x, y = (part.sum() for part in _circle(np.deg2rad(mine.ra)))
    middle = np.rad2deg(np.arctan2(y, x))
    inside = east_of(mine.ra, middle)
    highest = min(float(np.abs(mine.dec).max()) + reach, 90.0)
    narrow, sine = np.cos(np.deg2rad(highest)), np.sin(np.deg2rad(min(reach, 90.0)))
    if sine >= narrow or np.ptp(inside) > 180.0:
        return np.ones(len(ra), bool)  # around a pole or around the sky: any is near
    margin = np.rad2deg(np.arcsin(sine / narrow))
    outside = east_of(ra, middle)
    return (outside >= inside.min() - margin) & (outside <= inside.max() + margin)
