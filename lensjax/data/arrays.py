"""StampSets to and from plain arrays: one npy file of stamps and one npz file of the table a split.

Not atomic and not verified: `making` and `prepared` see to both. Stamps are mapped into memory, so
that any rows are read without the rest.

    >>> write_arrays(sets, making)
    >>> test = read_arrays(folder, "test")
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lensjax import schema
from lensjax.data.making import Making
from lensjax.data.stampset import StampSet, map_stamps
from lensjax.progress import progress_bar

_COPY_ROWS = 256


def write_arrays(sets: Mapping[str, StampSet], making: Making) -> None:
    """Write `sets` (by split), a few rows at a time."""
    for split, made in sets.items():
        making.file(_stamps(making.content, split), lambda path, made=made: _copy(made, path))
        write_table(made, making)


def write_table(made: StampSet, making: Making) -> None:
    """Write the table of one split: <split>-table.npz, a member a column, each with its CRC."""
    columns: dict[str, Any] = dict(made.table)
    path = _table(making.content, made.split)
    making.file(path, lambda path: np.savez_compressed(path, **columns))


def read_arrays(folder: Path, split: str) -> StampSet:
    """The StampSet of `split`, its stamps a memmap. Raises OSError, ValueError, KeyError or
    zipfile.BadZipFile for damaged files, LensjaxError for a table that contradicts itself."""
    stamps = np.load(_stamps(folder, split), mmap_mode="r", allow_pickle=False)
    return StampSet(split, read_table(folder, split), stamps, "arrays")


def read_table(folder: Path, split: str) -> dict[str, np.ndarray]:
    """The table of `split` as it was written, not validated. Raises as `read_arrays`."""
    # opened here: of a damaged file, numpy.load leaves its own handle open
    with _table(folder, split).open("rb") as file, np.load(file, allow_pickle=False) as stored:
        return {name: stored[name] for name in schema.TABLE_COLUMNS}


def _copy(made: StampSet, path: Path) -> None:
    stamps = map_stamps(path, len(made))
    chunks = range(0, len(made), _COPY_ROWS)
    for start in progress_bar(chunks, desc=f"preparing {made.split}", unit="chunk"):
        stamps[start : start + _COPY_ROWS] = made.stamps[start : start + _COPY_ROWS]
    stamps.flush()


def _stamps(folder: Path, split: str) -> Path:
    return folder / f"{split}-stamps.npy"


def _table(folder: Path, split: str) -> Path:
    return folder / f"{split}-table.npz"
