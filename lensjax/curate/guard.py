"""The guard band: the fewest hosts to set aside so that no two splits come near each other.

Not a check (`verify` is). Hosts of different splits that are too near each other form a graph; to
set aside the fewest is its smallest vertex cover. Between two splits that is exact (Koenig 1931:
as many as the largest matching has pairs). Train against the rest comes first, then val against
test among what is left; where val and test do not touch, the whole is exact.

    >>> aside = set_aside(vectors, host_of_point, split_of_host, reach_arcsec=180.0)
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_bipartite_matching
from scipy.spatial import KDTree

from lensjax import schema
from lensjax.checks.sky import chord

NEAREST = 8  # conflicts of a point looked at together, so that memory stays bounded
_CHUNK = 2**16  # points
_SLACK = 1.0 + 1e-9  # no rounding may let a pair in that is exactly at the limit


def set_aside(
    vectors: np.ndarray, host: np.ndarray, split: np.ndarray, reach_arcsec: float
) -> np.ndarray:
    """bool [hosts]: those to leave out so that hosts of different splits are `reach_arcsec` apart.

    vectors: float64 [p, 3], unit vectors of the points; host: int [p], the host of each; split:
    int8 [hosts], index into schema.SPLITS. Of two hosts of which either would do, that of the
    split named first goes: train has the most."""
    aside = np.zeros(len(split), bool)
    for first in range(len(schema.SPLITS) - 1):
        while True:
            of_point = np.where(aside[host], -1, split[host])
            left, right = np.flatnonzero(of_point == first), np.flatnonzero(of_point > first)
            pairs = near_pairs(vectors, left, right, chord(reach_arcsec) * _SLACK)
            if not len(pairs):
                break
            aside[smallest_cover(host[pairs])] = True
    return aside


def near_pairs(
    vectors: np.ndarray, left: np.ndarray, right: np.ndarray, length: float
) -> np.ndarray:
    """int64 [k, 2]: pairs of points (of `left`, of `right`, indices) nearer than `length`, of each
    point of `right` the NEAREST."""
    if not len(left):
        return np.zeros((0, 2), np.int64)
    tree = KDTree(vectors[left])
    found = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(right), _CHUNK):
        mine = right[start : start + _CHUNK]
        index = np.asarray(tree.query(vectors[mine], NEAREST, distance_upper_bound=length)[1])
        row, column = np.nonzero(index < len(left))
        found.append(np.stack([left[index[row, column]], mine[row]], 1))
    return np.concatenate(found)


def smallest_cover(pairs: np.ndarray) -> np.ndarray:
    """The fewest nodes such that each of `pairs` (int [k, 2], two kinds of nodes) holds one.

    Koenig's construction: of a largest matching, the left nodes that no alternating path from an
    unmatched left node reaches, and the right nodes that one does."""
    left, row = np.unique(pairs[:, 0], return_inverse=True)
    right, column = np.unique(pairs[:, 1], return_inverse=True)
    row, column = row.reshape(-1), column.reshape(-1)
    graph = csr_array((np.ones(len(row), bool), (row, column)), (len(left), len(right)))
    # of each left node the right one, or -1
    partner = np.asarray(maximum_bipartite_matching(graph, perm_type="column"))
    matched = np.flatnonzero(partner >= 0)
    lone = np.flatnonzero(partner < 0)
    source = len(left) + len(right)
    tail = np.concatenate([np.full(len(lone), source), row, len(left) + partner[matched]])
    head = np.concatenate([lone, len(left) + column, matched])
    paths = csr_array((np.ones(len(tail), bool), (tail, head)), (source + 1, source + 1))
    reached = np.zeros(source + 1, bool)
    found = breadth_first_order(paths, source, return_predecessors=False)
    reached[np.asarray(found)] = True
    return np.concatenate([left[~reached[: len(left)]], right[reached[len(left) : source]]])
