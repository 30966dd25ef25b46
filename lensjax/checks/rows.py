"""The rows of all splits in one table, and how a row is named to the user.

Not a reader: it joins the tables of StampSets, never their stamps.

    >>> rows = join(sets)
    >>> rows.where(17)
    'train/part-00003.parquet row 17'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lensjax import schema
from lensjax.data.stampset import StampSet
from lensjax.schema import ExitCode, LensjaxError

Sets = Mapping[str, StampSet]  # by split


@dataclass(frozen=True)
class Rows:
    """All rows of `sets`, in the order of schema.SPLITS: `table` as in schema.TABLE_COLUMNS;
    `host` and `split` are int64 [n], equal for equal lrg_id and split; `split_start` is the first
    row of each split."""

    table: dict[str, np.ndarray]
    host: np.ndarray
    split: np.ndarray
    sets: dict[str, StampSet]
    split_start: dict[str, int]

    def __len__(self) -> int:
        return len(self.table["stamp_id"])

    def where(self, row: int, band: str = "") -> str:
        """File and row as the source has them, the band, and whether it is the control."""
        where = f"{self.table['source_file'][row]} row {self.table['source_row'][row]}"
        where += f" band {band}" if band else ""
        return where + (" (control)" if self.table["negative_kind"][row] == "control" else "")

    def stamps(self, rows: np.ndarray) -> np.ndarray:
        """float32 [k, 64, 64, 3], nanomaggies, of `rows` (indices into the joined table)."""
        rows = np.asarray(rows)
        out = np.empty((len(rows), *schema.STAMP_SHAPE), np.float32)
        for name, stamp_set in self.sets.items():
            local = rows - self.split_start[name]
            mine = np.flatnonzero((local >= 0) & (local < len(stamp_set)))
            if len(mine):
                out[mine] = stamp_set.stamps[local[mine]]
        return out


def join(sets: Sets) -> Rows:
    """The rows of all splits, train first. Raises LensjaxError (LEAK) for a set given under the
    name of another split."""
    for name, stamp_set in sets.items():
        if stamp_set.split != name:
            raise LensjaxError(
                ExitCode.LEAK, f"the set given as {name} is {stamp_set.split}", remedy="Swap them"
            )
    ordered = {name: sets[name] for name in schema.SPLITS if name in sets}
    start, starts = 0, {}
    for name, stamp_set in ordered.items():
        starts[name] = start
        start += len(stamp_set)
    table = {
        column: np.concatenate([np.zeros(0, dtype), *(s.table[column] for s in ordered.values())])
        for column, dtype in schema.TABLE_COLUMNS.items()
    }
    return Rows(table, codes(table["lrg_id"]), codes(table["split"]), ordered, starts)


def codes(values: np.ndarray) -> np.ndarray:
    """int64 [n]: equal numbers for equal values, from 0."""
    return np.unique(values, return_inverse=True)[1].astype(np.int64)
