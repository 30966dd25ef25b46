"""StampSet: the stamps of one split with their table, and what was found wrong while reading.

Not a reader and not a loader: sources make StampSets, checks and training take them. One row is
one stamp; the two members of a pair are two rows sharing `pair_id`.

    >>> from lensjax.data.stampset import StampSet, build_table, canonical, content_digest
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lensjax import schema
from lensjax.schema import ExitCode, LensjaxError

SEVERITIES = ("ERROR", "QUARANTINE", "NOTE")
MEMORY_BUDGET_BYTES = 2**30  # stamps beyond this live in a file, mapped into memory
_DIGEST_CHUNK_ROWS = 256
_ALIGNMENT = 64  # bytes
_NO_FALLOCATE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)  # the file system cannot


@dataclass(frozen=True)
class Finding:
    """One thing found wrong (or worth a note): `check` that found it, `severity`, one-line
    `message` (the cause), `where` (file, row, band), the exit `code` it stands for, and the
    `remedy`, where it is another than that of most findings of its check."""

    check: str
    severity: str
    message: str
    where: str
    code: ExitCode
    remedy: str = ""

    def __post_init__(self):
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity {self.severity!r} is not one of {SEVERITIES}")

    def error(self, remedy: str = "") -> LensjaxError:
        """The same as an exception, for readers that stop at the first."""
        return LensjaxError(self.code, self.message, self.where, self.remedy or remedy)


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
    for name in ("theta_e_arcsec", "arc_snr", "arc_snr_shot"):
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
    of `cache_dir`, mapped (it goes with the array, and with the process however that ends).

    Raises OSError (ENOSPC) if the disk has no room for it."""
    if stamps_bytes(n) <= memory_budget_bytes:
        return aligned_empty((n, *schema.STAMP_SHAPE), np.float32)
    cache_dir.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix="stamps-", suffix=".npy", dir=cache_dir)
    os.close(handle)
    try:
        return map_stamps(Path(name), n)
    finally:
        os.unlink(name)


def aligned_empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> np.ndarray:
    """np.empty at an address divisible by 64: jax on a CPU takes such an array without a copy."""
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    room = np.empty(size + _ALIGNMENT, np.uint8)
    start = -room.ctypes.data % _ALIGNMENT
    return room[start : start + size].view(kind).reshape(shape)


def map_stamps(path: Path, n: int) -> np.memmap:
    """A new file `path` with n stamps, mapped for writing: npy, little-endian float32.

    Its room is taken at once: written to where the disk is full, a mapped file with holes ends the
    process with SIGBUS. Raises OSError (ENOSPC) if the disk has no room for it."""
    stamps = np.lib.format.open_memmap(path, "w+", np.dtype("<f4"), (n, *schema.STAMP_SHAPE))
    if hasattr(os, "posix_fallocate"):  # Linux and the BSDs; macOS has none
        with path.open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            except OSError as error:
                if error.errno not in _NO_FALLOCATE:
                    raise OSError(error.errno, error.strerror, str(path)) from error
    return stamps


def stamps_bytes(n: int) -> int:
    """Bytes of n stamps as float32."""
    return n * 4 * math.prod(schema.STAMP_SHAPE)


def require_space(folder: Path, need: int) -> None:
    """Raises OSError (ENOSPC) if `need` bytes are not free where `folder` is, or will be."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < need:
        what = f"{os.strerror(errno.ENOSPC)}: {need / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free"
        raise OSError(errno.ENOSPC, what, str(folder))


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
