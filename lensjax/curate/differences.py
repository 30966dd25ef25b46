"""How far two sets of stamps are from each other in one number, beside what chance alone gives.

Not a test that passes or fails. Kolmogorov-Smirnov distance of numbers, total variation of strata;
bricks are what is drawn, so chance is measured by giving whole bricks to other splits.

    >>> distance(a, b), chance_between(values, first, second, brick)
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array

DRAWS = 200  # of bricks to splits; chance is what 95 % of them stay below
LEVEL = 0.95
MAX_STEPS = 256  # at which chance compares cumulative shares; more change it by less than 1 / 256
_SEED = 42


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Kolmogorov-Smirnov: the largest gap between the cumulative shares of two samples, float
    [n] and [m], finite; NaN if one is empty."""
    if not (len(a) and len(b)):
        return float("nan")
    a, b = np.sort(a), np.sort(b)
    both = np.concatenate([a, b])
    shares = (np.searchsorted(x, both, "right") / len(x) for x in (a, b))
    return float(np.abs(np.subtract(*shares)).max())


def variation(a: np.ndarray, b: np.ndarray) -> float:
    """Total variation: half the summed differences of shares, of counts [k] and [k] in the same
    strata; NaN if one is all zero."""
    if not (a.sum() and b.sum()):
        return float("nan")
    return float(np.abs(a / a.sum() - b / b.sum()).sum() / 2)


def chance_of_distance(
    values: np.ndarray, first: np.ndarray, second: np.ndarray, brick: np.ndarray
) -> float:
    """What `distance` between the groups `first` and `second` (bool [n] of `values` [n]) stays
    below in 95 % of draws of their bricks (int [n]), as many to each group as it has; NaN with
    fewer than two bricks in either."""
    both = values[first | second]
    step = np.unique(both)
    if len(step) > MAX_STEPS:
        step = np.unique(np.quantile(both, np.linspace(0, 1, MAX_STEPS)))
    code = np.searchsorted(step, values, "left").clip(0, max(len(step) - 1, 0))
    return _chance(code, first, second, brick, cumulative=True)


def chance_of_variation(
    stratum: np.ndarray, first: np.ndarray, second: np.ndarray, brick: np.ndarray
) -> float:
    """The same of `variation`, for strata int [n], at least 0."""
    return _chance(stratum, first, second, brick, cumulative=False)


def _chance(
    code: np.ndarray, first: np.ndarray, second: np.ndarray, brick: np.ndarray, cumulative: bool
) -> float:
    n_first = len(np.unique(brick[first]))
    n_second = len(np.unique(brick[second]))
    if min(n_first, n_second) < 2:
        return float("nan")
    counts = np.concatenate(
        [_by_brick(code, x, brick, int(code.max()) + 1) for x in (first, second)]
    )
    rng = np.random.default_rng(_SEED)
    drawn = np.zeros((DRAWS, len(counts)), np.float32)
    for k in range(DRAWS):
        drawn[k, rng.permutation(len(counts))[:n_first]] = 1.0
    mine = (drawn @ counts).astype(np.float64)
    others = counts.sum(axis=0, dtype=np.float64) - mine
    gap = _shares(mine) - _shares(others)
    gap = np.abs(gap.cumsum(axis=1)).max(axis=1) if cumulative else np.abs(gap).sum(axis=1) / 2
    return float(np.quantile(gap, LEVEL))


def _shares(counts: np.ndarray) -> np.ndarray:
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)


def _by_brick(code: np.ndarray, mine: np.ndarray, brick: np.ndarray, width: int) -> np.ndarray:
    """float32 [bricks, width]: how many of the rows `mine` each brick has of each code."""
    _, row = np.unique(brick[mine], return_inverse=True)
    row = row.reshape(-1)
    shape = (int(row.max()) + 1, width)
    return coo_array((np.ones(len(row), np.float32), (row, code[mine])), shape).toarray()
