"""StampSet: the stamps of one split with their table, and what was found wrong while reading.

Not a reader and not a loader: sources make StampSets, checks and training take them. One row is
one stamp; the two members of a pair are two rows sharing `pair_id`.

    >>> from lensjax.data.stampset import StampSet, build_table, canonical, content_digest
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lensjax import schema
from lensjax.schema import ExitCode, LensjaxError

SEVERITIES = ("ERROR", "QUARANTINE", "NOTE")
MEMORY_BUDGET_BYTES = 2**30  # stamps beyond this live in a file, mapped into memory
_DIGEST_CHUNK_ROWS = 256


@dataclass(frozen=True)
class Finding:
    """One thing found wrong (or worth a note): `check` that found it, `severity`, one-line
    `message` (the cause), `where` (file, row, band) and the exit `code` it stands for."""

    check: str
    severity: str
    message: str
    where: str
    code: ExitCode

    def __post_init__(self):
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity {self.severity!r} is not one of {SEVERITIES}")

    def error(self, remedy: str = "") -> LensjaxError:
        """The same as an exception, for readers that stop at the first."""
        return LensjaxError(self.code, self.message, self.where, remedy)


@dataclass(frozen=True)
class StampSet:
    """Stamps of one split: `table` has schema.TABLE_COLUMNS, each of length n; `stamps` is
    float32 [n, 64, 64, 3], nanomaggies, bands g, r, z (maybe a memmap). Raises LensjaxError
    (DATA_INVALID) when they do not fit together."""

    split: str
    table: dict[str, np.ndarray]
    stamps: np.ndarray
    reader: str  # "simulate", "parquet", "tf.data" or "arrays"

    def __post_init__(self):
        if self.split not in schema.SPLITS:
            raise LensjaxError(
                ExitCode.DATA_INVALID,
                f"unknown split, expected one of {', '.join(schema.SPLITS)}",
                where=f"split {self.split!r}",
            )
        n = len(validate_table(self.table)["stamp_id"])
        expected = (n, *schema.STAMP_SHAPE)
        if self.stamps.shape != expected or self.stamps.dtype != np.float32:
            raise LensjaxError(
                ExitCode.DATA_INVALID,
                f"stamps are {self.stamps.dtype} {self.stamps.shape}, expected float32 {expected}",
                where=f"split {self.split}",
            )
        if n and not np.all(self.table["split"] == self.split):
            raise LensjaxError(
                ExitCode.DATA_INVALID, "table holds rows of another split", f"split {self.split}"
            )

    def __len__(self) -> int:
        return len(self.table["stamp_id"])


def build_table(columns: Mapping[str, object]) -> dict[str, np.ndarray]:
    """A table from `columns` (sequences of one length, all of schema.TABLE_COLUMNS and no
    other), cast to the schema's dtypes. Raises LensjaxError (DATA_INVALID) for missing or
    unknown columns, unequal lengths, text wider than its column and integers out of range."""
    _same_names(columns)
    table = {}
    for name, dtype in schema.TABLE_COLUMNS.items():
        given, target = np.asarray(columns[name]), np.dtype(dtype)
        if given.size == 0:
            table[name] = np.zeros(given.shape, target)
            continue
        try:
            table[name] = given.astype(target)
        except (ValueError, TypeError, OverflowError) as error:
            raise _column_error(name, f"cannot be {dtype}: {error}") from error
        if target.kind in "US" and np.char.str_len(given.astype(str)).max() > target.itemsize // 4:
            raise _column_error(name, f"holds text longer than {target.itemsize // 4} characters")
        if target.kind == "i" and not np.array_equal(table[name], given):
            raise _column_error(name, f"holds values that are not {dtype} integers")
    return validate_table(table)


def validate_table(table: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`table` itself if it has all schema.TABLE_COLUMNS with their dtypes, one length, labels
    0 or 1 that agree with `negative_kind`, and NaN arc columns where label is 0; else raises
    LensjaxError (DATA_INVALID) naming the column."""
    _same_names(table)
    n = len(table["stamp_id"])
    for name, dtype in schema.TABLE_COLUMNS.items():
        column = table[name]
        if column.dtype != np.dtype(dtype):
            raise _column_error(name, f"is {column.dtype}, expected {np.dtype(dtype)}")
        if column.shape != (n,):
            raise _column_error(name, f"has shape {column.shape}, expected ({n},)")
    label, kind = table["label"], table["negative_kind"]
    if not np.isin(label, (0, 1)).all():
        raise _column_error("label", "holds values other than 0 and 1")
    if not np.isin(kind, ("", *schema.NEGATIVE_KINDS)).all():
        raise _column_error("negative_kind", f"holds values other than {schema.NEGATIVE_KINDS}")
    if not np.array_equal(label == 1, kind == ""):
        raise _column_error("negative_kind", "must be empty where, and only where, label is 1")
    for name in ("theta_e_arcsec", "arc_snr"):
        if not np.isnan(table[name][label == 0]).all():
            raise _column_error(name, "must be NaN where label is 0")
    return dict(table)


def canonical(stamp_set: StampSet) -> StampSet:
    """The same set with rows sorted by stamp_id; itself if they are already."""
    ids = stamp_set.table["stamp_id"]
    if len(ids) < 2 or np.all(ids[:-1] <= ids[1:]):
        return stamp_set
    order = np.argsort(ids, kind="stable")
    table = {name: column[order] for name, column in stamp_set.table.items()}
    return replace(stamp_set, table=table, stamps=stamp_set.stamps[order])


def content_digest(stamp_set: StampSet) -> str:
    """SHA-256, in hex, of the split's name, table and stamps, independent of the reader."""
    sha = hashlib.sha256(f"{stamp_set.split} {len(stamp_set)}\n".encode())
    for name, dtype in schema.TABLE_COLUMNS.items():
        sha.update(f"{name} {dtype}\n".encode())
        little = stamp_set.table[name].astype(np.dtype(dtype).newbyteorder("<"), copy=False)
        sha.update(np.ascontiguousarray(little).view(np.uint8).data)
    for start in range(0, len(stamp_set), _DIGEST_CHUNK_ROWS):
        chunk = stamp_set.stamps[start : start + _DIGEST_CHUNK_ROWS]
        sha.update(np.ascontiguousarray(chunk, "<f4").view(np.uint8).data)
    return sha.hexdigest()


def allocate_stamps(
    n: int, cache_dir: Path, memory_budget_bytes: int = MEMORY_BUDGET_BYTES
) -> np.ndarray:
    """An unset float32 [n, 64, 64, 3] array: in memory, or over the budget in a nameless file
    of `cache_dir`, mapped (it goes with the array, and with the process however that ends)."""
    shape = (n, *schema.STAMP_SHAPE)
    if n * int(np.prod(schema.STAMP_SHAPE)) * 4 <= memory_budget_bytes:
        return np.empty(shape, np.float32)
    cache_dir.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix="stamps-", suffix=".npy", dir=cache_dir)
    os.close(handle)
    stamps = np.lib.format.open_memmap(name, "w+", np.dtype(np.float32), shape)
    os.unlink(name)
    return stamps


def _same_names(columns: Mapping[str, object]) -> None:
    missing = [name for name in schema.TABLE_COLUMNS if name not in columns]
    unknown = [name for name in columns if name not in schema.TABLE_COLUMNS]
    if missing or unknown:
        raise LensjaxError(
            ExitCode.DATA_INVALID,
            f"missing columns {missing}, unknown columns {unknown}",
            where="stamp table",
        )


def _column_error(name: str, what: str) -> LensjaxError:
    return LensjaxError(ExitCode.DATA_INVALID, f"column {name} {what}", where="stamp table")
