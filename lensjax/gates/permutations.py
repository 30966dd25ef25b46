"""Labels permuted as the design of the rows allows: what a probe reads where there is nothing.

Exchangeable within pairs where rows are paired; else hosts keep their rows together and exchange
labels within bricks, or over all bricks where a brick has one label.

    labels, units = permuted_labels(rows, 999, np.random.default_rng(seed))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # Case holds permuted labels
    from lensjax.gates.case import Rows


@dataclass(frozen=True)
class Units:
    """What was exchanged: `kind`, and how many of them could move at all."""

    kind: str
    effective: int


def permuted_labels(rows: Rows, count: int, rng: np.random.Generator) -> tuple[np.ndarray, Units]:
    """int8 [count, n] of permuted labels, and what was exchanged."""
    label = rows["label"]
    lens, other = _complete_pairs(rows)
    if 2 * len(lens) >= int((label == 1).sum()):
        return _swap_pairs(label, lens, other, count, rng)
    _, host = np.unique(rows["lrg_id"], return_inverse=True)
    _, brick = np.unique(rows["brick"], return_inverse=True)
    if not _pure(label, host.reshape(-1)):
        return _shuffle(label, np.arange(len(label)), brick.reshape(-1), count, rng, "rows")
    return _shuffle(label, host.reshape(-1), brick.reshape(-1), count, rng, "hosts")


def _complete_pairs(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of the lens and of the control of every pair with both."""
    positive = rows.positive
    pair = rows["pair_id"]
    lens, other = np.flatnonzero(positive), np.flatnonzero(~positive)
    _, a, b = np.intersect1d(pair[lens], pair[other], return_indices=True)
    return lens[a], other[b]


def _pure(label: np.ndarray, group: np.ndarray) -> bool:
    """Has every group one label?"""
    lenses, size = np.bincount(group, label), np.bincount(group)
    return bool(((lenses == 0) | (lenses == size)).all())


def _swap_pairs(
    label: np.ndarray, lens: np.ndarray, other: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, Units]:
    labels = np.repeat(label.astype(np.int8)[None, :], count, axis=0)
    swap = rng.integers(0, 2, (count, len(lens)), dtype=np.int8)
    labels[:, lens], labels[:, other] = 1 - swap, swap
    return labels, Units("pairs", len(lens))


def _shuffle(
    label: np.ndarray,
    unit: np.ndarray,
    brick: np.ndarray,
    count: int,
    rng: np.random.Generator,
    kind: str,
) -> tuple[np.ndarray, Units]:
    """Labels of whole units exchanged within their brick; over all bricks where few are mixed."""
    first = np.unique(unit, return_index=True)[1]
    of_unit, home = label[first].astype(np.int8), brick[first]
    lenses, size = np.bincount(home, of_unit), np.bincount(home)
    mixed = ((lenses > 0) & (lenses < size))[home]
    where = f"{kind} within bricks"
    if 2 * int(mixed.sum()) < len(of_unit):
        home, mixed, where = np.zeros_like(home), np.ones_like(mixed), f"{kind} over all bricks"
    source = np.argsort(home, kind="stable")
    labels = np.empty((count, len(label)), np.int8)
    for row in labels:
        drawn = np.empty_like(of_unit)
        drawn[source] = of_unit[np.argsort(home + rng.random(len(of_unit)))]
        row[:] = drawn[unit]
    return labels, Units(where, int(mixed.sum()))
