"""The Parquet files of a data root: which there are, whether they are whole, what they hold.

Not the rows: `parquet_table` reads the columns of numbers, `parquet` the stamps. A root has the
folders train, val and test, each with *.parquet files and nothing else that matters.

    >>> shards, findings = list_split(filesystem, root, "train")
"""

from __future__ import annotations

import contextlib
import difflib
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from lensjax import schema
from lensjax.data.stampset import Finding
from lensjax.schema import ExitCode

STAMP_COLUMNS = ("stamp_npz", "ctrl_stamp_npz")  # the stamp, and its control
NUMBER_COLUMNS = ("ra", "dec", "theta_e_arcsec", "arc_snr", "psfdepth_r")
PSF_COLUMNS = ("psf_fwhm_arcsec", "psf_fwhm_used_r")  # either; the first that is there
REQUIRED_COLUMNS = (*STAMP_COLUMNS, "brickname", *NUMBER_COLUMNS)
BAND_SET = "".join(schema.BANDS)
_BAND_METADATA = (b"bands", b"bandset", b"band_order")
_BUFFER_BYTES = 2**20  # streams pages: a row group of many GB is never in memory at once
CHECK = "stamps"


@dataclass(frozen=True)
class Shard:
    """One whole Parquet file: `path` in its filesystem, `name` relative to the root, rows, and
    the columns it has."""

    path: str
    name: str
    rows: int
    columns: tuple[str, ...]


def finding(message: str, where: str, *, check: str = CHECK, severity: str = "ERROR") -> Finding:
    """A Finding of invalid data (exit 10)."""
    return Finding(check, severity, message, where, ExitCode.DATA_INVALID)


def list_split(
    filesystem: fsspec.AbstractFileSystem, root: str, split: str
) -> tuple[list[Shard], list[Finding]]:
    """The sound shards of a split, sorted by name, and what is wrong with the others, with the
    folder, and with stray files in it (a finished writer's _SUCCESS and hidden files are notes;
    anything else may be data that would silently not be read, and is an error)."""
    folder = posixpath.join(root, split)
    if not filesystem.isdir(folder):
        return [], [finding(f"no folder {split}, expected {', '.join(schema.SPLITS)}", root)]
    entries = sorted(filesystem.ls(folder, detail=True), key=lambda entry: entry["name"])
    shards, findings, parquet = [], [], 0
    for entry in entries:
        name = posixpath.basename(entry["name"].rstrip("/"))
        if entry["type"] == "file" and name.endswith(".parquet"):
            parquet += 1
            shard = _inspect(filesystem, entry["name"], f"{split}/{name}", entry["size"])
            (shards if isinstance(shard, Shard) else findings).append(shard)
        elif name:
            harmless = entry["type"] == "file" and (name == "_SUCCESS" or name.startswith("."))
            severity = "NOTE" if harmless and not name.endswith(".tmp") else "ERROR"
            what = "stray file" if entry["type"] == "file" else "stray folder"
            message = f"{what} {name!r} is not a *.parquet file and is not read"
            findings.append(finding(message, f"{split}/{name}", severity=severity))
    if not parquet:
        names = ", ".join(posixpath.basename(entry["name"].rstrip("/")) for entry in entries)
        message = f"no *.parquet file (stray: {names})" if names else "empty directory"
        findings.insert(0, finding(message, f"{split}/"))
    return shards, findings


@contextlib.contextmanager
def open_shard(filesystem: fsspec.AbstractFileSystem, path: str) -> Iterator[pq.ParquetFile]:
    """The Parquet file at `path`, read in pages, page checksums verified where written."""
    local = isinstance(filesystem, LocalFileSystem)
    with contextlib.ExitStack() as stack:
        handle = path if local else stack.enter_context(filesystem.open(path, "rb"))
        yield stack.enter_context(
            pq.ParquetFile(  # not mapped: pages of a large file would count as our memory
                handle,
                buffer_size=_BUFFER_BYTES,
                pre_buffer=False,  # the default reads a whole row group ahead
                page_checksum_verification=True,
            )
        )


def _inspect(
    filesystem: fsspec.AbstractFileSystem, path: str, name: str, size: int
) -> Shard | Finding:
    """The shard at `path`, or the first thing wrong with it, judged by its footer."""
    try:
        with open_shard(filesystem, path) as file:
            columns, rows = file.schema_arrow, file.metadata.num_rows
            metadata = file.metadata.metadata or {}
    except (pa.ArrowException, OSError, ValueError) as error:
        return finding(_unreadable(filesystem, path, size, error), name)
    if not rows:
        return finding("0 rows", name)
    if message := _schema_fault(columns, metadata):
        return finding(message, name)
    return Shard(path, name, rows, tuple(columns.names))


def _unreadable(
    filesystem: fsspec.AbstractFileSystem, path: str, size: int, error: Exception
) -> str:
    if not size:
        return "truncated (0 bytes)"
    try:
        begins = filesystem.cat_file(path, start=0, end=4)
    except OSError as why:
        return f"cannot be read: {why}"
    if begins != b"PAR1":
        return "not a Parquet file"
    ends = filesystem.cat_file(path, start=max(0, size - 4), end=size)
    if ends != b"PAR1":
        return f"truncated ({size} bytes, no footer)"
    return f"damaged footer: {_one_line(error)}"


def _schema_fault(columns: pa.Schema, metadata: dict[bytes, bytes]) -> str:
    """What a file lacks, in words; empty if nothing."""
    for name in REQUIRED_COLUMNS:
        if name not in columns.names:
            return f"column {name!r} is missing{_nearest(name, columns.names)}"
    if not any(name in columns.names for name in PSF_COLUMNS):
        nearest = _nearest(PSF_COLUMNS[0], columns.names)
        return f"columns {' and '.join(map(repr, PSF_COLUMNS))} are both missing{nearest}"
    for name in STAMP_COLUMNS:
        kind = columns.field(name).type
        if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
            return f"column {name!r} is {kind}, expected binary (the bytes of an npz)"
    for key in _BAND_METADATA:
        if key in metadata:
            given = "".join(c for c in metadata[key].decode("utf-8", "replace") if c.isalnum())
            if given.lower() != BAND_SET:
                return f"band-order mismatch: metadata {key.decode()} is {given!r}, " + (
                    f"expected {BAND_SET!r}"
                )
    return ""


def _nearest(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
    return f" (nearest: {near[0]!r})" if near else ""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def damaged_rows(error: Exception, first_row: int) -> str:
    """The message for a file whose footer is sound and whose pages are not."""
    return f"truncated or damaged after row {first_row}: {_one_line(error)}"
