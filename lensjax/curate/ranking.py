"""A ranking: what is strangest by one measure, with how strange.

Not the measures: `strangeness` and `outliers` have them.

    >>> ranked(("stamps", "brightest", "Brightest pixel", "in sky sigmas"), rows, values, hosts)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SHOWN = 10


@dataclass(frozen=True)
class Ranking:
    """The strangest by one measure: `rows` int64 [k, m], rows of the scan (m = 2: a pair of any
    kind), `values` float64 [k] and a note on each, the strangest first. `meaning` says what the
    number is; `scored` on how many stamps or pairs it was looked for."""

    check: str
    name: str
    title: str
    meaning: str
    rows: np.ndarray
    values: np.ndarray
    notes: tuple[str, ...]
    scored: int


def ranked(
    name: tuple[str, str, str, str],
    rows: np.ndarray,
    values: np.ndarray,
    hosts: np.ndarray,
    *,
    smallest: bool = False,
    notes: Sequence[str] | np.ndarray | None = None,
) -> Ranking:
    """A Ranking `name` (check, name, title, meaning) of `rows` [n, m] by `values` [n], NaN left
    out; of each of `hosts` [n] the first."""
    values = values.astype(np.float64)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known] if smallest else -values[known], kind="stable")]
    _, first = np.unique(hosts[order], return_index=True)
    chosen = order[np.sort(first)[:SHOWN]]
    told = ("",) * len(chosen) if notes is None else tuple(str(notes[k]) for k in chosen)
    return Ranking(*name, rows[chosen], values[chosen], told, len(known))
