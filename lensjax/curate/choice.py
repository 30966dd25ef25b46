"""Which group of bricks goes to which split: by local search, the best of several beginnings.

Not the groups (`regions`). What is wanted, in one number that is made small: hosts lost at the
borders, strata and classes of each split unlike the whole, proportions missed. From coarse groups
to fine ones, as graph partitioners do: a coarse choice has short borders, finer groups then mend
strata and proportions at their edges. Sums are of whole numbers, so that no order matters.

    >>> split = choose(Groups(hosts, rows, lost), shares=(0.7, 0.15, 0.15), seed=42, levels=8)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lensjax import schema
from lensjax.data.permute import permutation

BEGINNINGS = (4, 5, 6, 7)  # binary digits of the groups that a search begins with
SHARE_WEIGHT = 20.0  # of proportions missed by more than SHARE_SLACK, in units of hosts lost
SHARE_SLACK = 0.002
_LEAST_GAIN = 1e-9
_N = len(schema.SPLITS)


class Table(NamedTuple):
    """What each split should hold as the whole does: `counts` int64 [k, c] of k groups, and what
    a total variation of 1 costs, in units of all hosts lost."""

    counts: np.ndarray
    weight: float


class Groups(NamedTuple):
    """What is known of k groups: `hosts` int64 [k]; tables of rows by stratum, by class, and so
    on; `lost` float64 [k, k], hosts lost where two groups are parted."""

    hosts: np.ndarray
    tables: tuple[Table, ...]
    lost: np.ndarray


def choose(groups: Groups, shares: np.ndarray, seed: int, levels: int) -> np.ndarray:
    """int64 [k]: the split of each group, index into schema.SPLITS.

    groups: of `levels` binary digits, so k = 2 ** levels (empty ones allowed), as
    regions.bisect numbers them. shares: float64 [3], of hosts, adding up to 1."""
    best, found = np.inf, np.zeros(len(groups.hosts), np.int64)
    for first in sorted({min(level, levels) for level in BEGINNINGS}):
        split = _begin(_joined(groups, levels - first), shares, seed, first)
        for level in range(first, levels + 1):
            search = _Search(_joined(groups, levels - level), shares, split)
            split = search.run()
            if level < levels:
                split = np.repeat(split, 2)
        if search.cost() < best:
            best, found = search.cost(), split
    return found


def _joined(groups: Groups, digits: int) -> Groups:
    """The groups without their last `digits` binary digits."""
    k = len(groups.hosts) >> digits

    def whole(values: np.ndarray) -> np.ndarray:
        return values.reshape(k, 1 << digits, -1).sum(axis=1)

    lost = whole(whole(groups.lost).T).T
    np.fill_diagonal(lost, 0)
    tables = tuple(Table(whole(table.counts), table.weight) for table in groups.tables)
    return Groups(whole(groups.hosts)[:, 0], tables, lost)


def _begin(groups: Groups, shares: np.ndarray, seed: int, level: int) -> np.ndarray:
    """Groups in random order, each to the split that is furthest from its share."""
    split = np.zeros(len(groups.hosts), np.int64)
    held = np.zeros(_N)
    wanted = shares * groups.hosts.sum()
    for k in permutation(len(split), "split", seed, level).tolist():
        split[k] = np.argmax((wanted - held) / wanted)
        held[split[k]] += groups.hosts[k]
    return split


class _Search:
    """Steepest descent over moves of one group, and, where none helps, exchanges of two."""

    def __init__(self, groups: Groups, shares: np.ndarray, split: np.ndarray):
        self.groups, self.shares, self.split = groups, shares, split.copy()
        self.features = np.concatenate(
            [groups.hosts[:, None], *(table.counts for table in groups.tables)],
            axis=1,
            dtype=np.float64,
        )
        self.total = self.features.sum(axis=0)
        self.of_split = np.stack([self.features[split == s].sum(axis=0) for s in range(_N)])
        self.border = groups.lost @ np.eye(_N)[split]  # [k, 3]: lost to each split's groups

    def run(self) -> np.ndarray:
        """Descend to where no move and no exchange helps."""
        while self._step(self._moves()) or self._step(self._exchanges()):
            pass
        return self.split

    def cost(self) -> float:
        """What is made small: lost hosts as a fraction, and unlikeness."""
        parted = self.border.sum() - self.border[np.arange(len(self.split)), self.split].sum()
        return float(parted / 2 / self.total[0] + self._unlike(np.arange(_N), self.of_split).sum())

    def _unlike(self, s: np.ndarray, features: np.ndarray) -> np.ndarray:
        """float64 [...]: of splits s [...] that hold `features` [..., f]: total variation between
        their strata, and classes, and those of the whole, and the share missed."""
        over = np.abs(features[..., 0] / self.total[0] - self.shares[s]) - SHARE_SLACK
        unlike, start = SHARE_WEIGHT * np.maximum(over, 0.0), 1
        for counts, weight in self.groups.tables:
            columns = slice(start, start + counts.shape[1])
            mine, whole = features[..., columns], self.total[columns]
            share = mine / np.maximum(mine.sum(axis=-1, keepdims=True), 1.0)
            variation = np.abs(share - whole / whole.sum()).sum(axis=-1) / 2
            unlike = unlike + weight * variation / _N
            start += counts.shape[1]
        return unlike

    def _moves(self) -> tuple[float, list[tuple[int, int]]]:
        """The gain of the best move of one group, and the move."""
        k, now = np.arange(len(self.split)), self.split
        before = self._unlike(np.arange(_N), self.of_split)
        without = self._unlike(now, self.of_split[now] - self.features)
        with_it = self._unlike(np.arange(_N)[None], self.of_split[None] + self.features[:, None])
        lost = (self.border[k, now][:, None] - self.border) / self.total[0]
        change = lost + (without - before[now])[:, None] + with_it - before[None]
        change[k, now] = np.inf
        change[self.groups.hosts == 0] = np.inf
        group, to = np.unravel_index(np.argmin(change), change.shape)
        return -float(change[group, to]), [(int(group), int(to))]

    def _exchanges(self) -> tuple[float, list[tuple[int, int]]]:
        """The gain of the best exchange of two groups of different splits, and its two moves."""
        before, best = self._unlike(np.arange(_N), self.of_split), (0.0, [])
        for s in range(_N):
            for t in range(s + 1, _N):
                a, b = (np.flatnonzero((self.split == x) & (self.groups.hosts > 0)) for x in (s, t))
                if not (len(a) and len(b)):
                    continue
                moved = self.features[b][None] - self.features[a][:, None]
                change = self._unlike(np.array(s), self.of_split[s] + moved)
                change += self._unlike(np.array(t), self.of_split[t] - moved)
                lost = (self.border[a, s] - self.border[a, t])[:, None]
                lost = lost + (self.border[b, t] - self.border[b, s])[None]
                lost = lost + 2 * self.groups.lost[np.ix_(a, b)]
                change += lost / self.total[0] - before[s] - before[t]
                i, j = np.unravel_index(np.argmin(change), change.shape)
                if -change[i, j] > best[0]:
                    best = (-float(change[i, j]), [(int(a[i]), t), (int(b[j]), s)])
        return best

    def _step(self, found: tuple[float, list[tuple[int, int]]]) -> bool:
        """Make the moves if they gain."""
        gain, moves = found
        if gain < _LEAST_GAIN:
            return False
        for group, to in moves:
            was = self.split[group]
            self.of_split[was] -= self.features[group]
            self.of_split[to] += self.features[group]
            self.border[:, was] -= self.groups.lost[group]
            self.border[:, to] += self.groups.lost[group]
            self.split[group] = to
        return True
