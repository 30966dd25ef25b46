"""The Parquet source: ROOT/{train,val,test}/*.parquet to StampSets, every stamp validated.

Not a sampler: every file and every row is read, decoded and checked, and what is wrong is named
by file, row and band. Memory is bounded: pages are streamed, and stamps over the budget go to a
mapped file.

    >>> source = ParquetSource("/data/stamps", cache_dir=Path("~/.cache/lensjax").expanduser())
    >>> test = source.read("test", findings=None)       # raises on the first bad row
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from lensjax import schema
from lensjax.data import parquet_files, parquet_table
from lensjax.data.digests import files_digest
from lensjax.data.parquet_files import STAMP_COLUMNS, Shard, finding
from lensjax.data.parquet_table import BIN_COLUMNS, Rows
from lensjax.data.paths import open_filesystem
from lensjax.data.stamps import decode_into, validate
from lensjax.data.stampset import (
    MEMORY_BUDGET_BYTES,
    Finding,
    StampSet,
    allocate_stamps,
    require_space,
    stamps_bytes,
)
from lensjax.progress import progress_bar
from lensjax.schema import ExitCode, LensjaxError

log = logging.getLogger(__name__)

BINNED = {"psf_bin": "psf_fwhm_arcsec", "depth_bin": "psf_depth"}  # what each bin is of
BATCH_ROWS = 128  # 256 stamps, 12 MB
REMEDY = "Correct or remove what is named, then run again"


class ParquetSource:
    """Stamps of a user's Parquet data root (a path or an fsspec address)."""

    def __init__(self, root: str, cache_dir: Path, memory_budget_bytes: int = MEMORY_BUDGET_BYTES):
        """Raises LensjaxError (USAGE) if `root` is not a directory."""
        self._cache_dir, self._budget = cache_dir, memory_budget_bytes
        self._fs, self._root = open_filesystem(root)
        if not self._fs.isdir(self._root):
            raise LensjaxError(
                ExitCode.USAGE, "no such directory", where=root, remedy="Check --config.data.root"
            )

    def splits(self) -> tuple[str, ...]:
        """The splits of a source, always all of schema.SPLITS (a missing one is a finding)."""
        return schema.SPLITS

    def digest(self) -> str:
        """SHA-256 over the names and bytes of all *.parquet files of all splits. That of a file
        whose path, size and modification time are known is taken from the cache."""
        files = [
            (f"{split}/{os.path.basename(entry['name'])}", entry)
            for split in self.splits()
            if self._fs.isdir(f"{self._root}/{split}")
            for entry in self._fs.ls(f"{self._root}/{split}", detail=True)
            if entry["type"] == "file" and entry["name"].endswith(".parquet")
        ]
        return files_digest(self._fs, files, self._cache_dir)

    def read(self, split: str, findings: list[Finding] | None) -> StampSet:
        """The validated stamps of `split` in canonical order.

        With a list, everything wrong is appended to it and the pairs concerned are left out;
        with None the first ERROR is raised as LensjaxError (exit 10, 11 or 17) and notes are
        logged."""
        rows, found = self._scans[split]
        for one in (*found, *self._bin_notes(split)):
            _report(one, findings)
        table = parquet_table.stamp_table(rows, self._hosts[split], self._bins(split))
        order = np.argsort(table["stamp_id"], kind="stable")
        table = {name: column[order] for name, column in table.items()}
        n = len(rows.good)
        place = np.empty(2 * n, np.int64)  # of each stamp, then of each control, in the set
        place[order] = np.arange(2 * n)
        stamps = allocate_stamps(2 * n, self._cache_dir, self._budget)
        good = self._read_stamps(rows, place.reshape(2, n), stamps, findings)
        keep = np.tile(good, 2)[order]
        if not keep.all():
            table = {name: column[keep] for name, column in table.items()}
            stamps = _compact(stamps, keep)
        return StampSet(split, table, stamps, "parquet")

    def _read_stamps(
        self, rows: Rows, place: np.ndarray, stamps: np.ndarray, findings: list[Finding] | None
    ) -> np.ndarray:
        """Decode and validate all stamps into `stamps` at `place` [2, n]; bool [n], sound rows."""
        good, first = rows.good.copy(), 0
        with progress_bar(total=len(good), desc=f"reading {rows.split}", unit="row") as bar:
            for shard in rows.shards:
                done = 0
                try:
                    for batch in _batches(self._fs, shard):
                        index = slice(first + done, first + done + batch.num_rows)
                        pixels, faults = _decode_batch(batch, shard, done)
                        for row, fault in faults:
                            good[first + row] = False
                            _report(fault, findings)
                        both = np.moveaxis(pixels, 2, -1)
                        stamps[place[0, index]], stamps[place[1, index]] = both[0], both[1]
                        done += batch.num_rows
                        bar.update(batch.num_rows)
                except (pa.ArrowException, OSError) as error:
                    _report(finding(parquet_files.damaged_rows(error, done), shard.name), findings)
                    good[first + done : first + shard.rows] = False
                first += shard.rows
        return good

    @functools.cached_property
    def _scans(self) -> dict[str, tuple[Rows, list[Finding]]]:
        """Rows and findings of every split, without stamps: bins and hosts need them all."""
        scans = {}
        for split in self.splits():
            shards, findings = parquet_files.list_split(self._fs, self._root, split)
            rows, more = parquet_table.read_rows(self._fs, shards, split)
            scans[split] = (rows, findings + more)
        sizes = [stamps_bytes(2 * len(rows.good)) for rows, _ in scans.values()]
        require_space(self._cache_dir, sum(size for size in sizes if size > self._budget))
        return scans

    @functools.cached_property
    def _hosts(self) -> dict[str, np.ndarray]:
        """Host ids of each split's rows (empty for rows that are not good)."""
        parts = {split: rows for split, (rows, _) in self._scans.items()}
        good = np.concatenate([rows.good for rows in parts.values()])
        ra, dec = (np.concatenate([r.numbers[c] for r in parts.values()]) for c in ("ra", "dec"))
        ids = np.zeros(len(good), "U64")
        if good.any():
            ids[good] = parquet_table.host_ids(ra[good], dec[good])
        ends = np.cumsum([len(rows.good) for rows in parts.values()])
        return dict(zip(parts, np.split(ids, ends[:-1]), strict=True))

    @functools.cached_property
    def _bin_edges(self) -> dict[str, np.ndarray] | None:
        """Edges for psf_bin and depth_bin, or None where all files have the columns."""
        parts = [rows for rows, _ in self._scans.values()]
        if all(rows.has_bins for rows in parts):
            return None
        edges = {}
        for name, column in BINNED.items():
            values = np.concatenate([rows.numbers[column][rows.good] for rows in parts])
            edges[name] = parquet_table.quartile_edges(values) if len(values) else np.zeros(3)
        return edges

    def _bins(self, split: str) -> dict[str, np.ndarray]:
        rows, edges = self._scans[split][0], self._bin_edges
        given = {name: np.where(rows.good, rows.numbers[name], 0) for name in BIN_COLUMNS}
        if edges is None:
            return given
        return {
            name: np.searchsorted(edges[name], rows.numbers[column])
            for name, column in BINNED.items()
        }

    def _bin_notes(self, split: str) -> list[Finding]:
        if self._bin_edges is None:
            return []
        text = "; ".join(
            f"{name} at {', '.join(f'{edge:.3f}' for edge in edges)}"
            for name, edges in self._bin_edges.items()
        )
        message = f"not in every file: bins made from quartiles over all splits, {text}"
        return [finding(message, f"{split}/ psf_bin, depth_bin", severity="NOTE")]


def _report(one: Finding, findings: list[Finding] | None) -> None:
    if findings is not None:
        findings.append(one)
    elif one.severity == "ERROR":
        raise one.error(REMEDY)
    else:
        log.info("%s: %s", schema.printable(one.where), schema.printable(one.message))


def _batches(filesystem, shard: Shard) -> Iterator[pa.RecordBatch]:
    with parquet_files.open_shard(filesystem, shard.path) as file:
        yield from file.iter_batches(BATCH_ROWS, columns=list(STAMP_COLUMNS), use_threads=False)


def _decode_batch(
    batch: pa.RecordBatch, shard: Shard, first_row: int
) -> tuple[np.ndarray, list[tuple[int, Finding]]]:
    """Pixels float32 [2, b, 3, 64, 64] (stamps, then controls) and the faults as (row in the
    file, Finding); pixels of a stamp that cannot be decoded are 0 and must not be used."""
    pixels = np.zeros((2, batch.num_rows, len(schema.BANDS), *schema.STAMP_SHAPE[:2]), np.float32)
    faults: list[tuple[int, Finding]] = []
    for member, column in enumerate(STAMP_COLUMNS):
        undecoded = set()
        for k, blob in enumerate(_blobs(batch.column(column))):
            try:
                if blob is None:
                    raise LensjaxError(ExitCode.DATA_INVALID, f"{column} is null")
                decode_into(blob, pixels[member, k])
            except LensjaxError as error:
                undecoded.add(k)
                fault = _fault(shard, first_row + k, error.where, member, error.what, error.code)
                faults.append((first_row + k, fault))
        for cause in validate(np.moveaxis(pixels[member], 1, -1)):
            if cause.row not in undecoded:
                row, band = first_row + cause.row, f"band {cause.band}"
                fault = _fault(shard, row, band, member, cause.message, ExitCode.DATA_INVALID)
                faults.append((row, fault))
    faults.sort(key=lambda fault: fault[0])
    return pixels, faults


def _fault(shard: Shard, row: int, band: str, member: int, message: str, code: ExitCode) -> Finding:
    where = f"{shard.name} row {row}" + (f" {band}" if band else "")
    return Finding("stamps", "ERROR", message, where + (" (control)" if member else ""), code)


def _blobs(column: pa.Array) -> Iterator[memoryview | None]:
    """The values of a binary column as views of its buffer, None for null."""
    large = pa.types.is_large_binary(column.type)
    _, offset_buffer, data_buffer = column.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64 if large else np.int32)
    offsets = offsets[column.offset : column.offset + len(column) + 1].tolist()
    data = memoryview(data_buffer or b"").cast("B")  # an Arrow buffer's memoryview is signed
    valid = column.is_valid().to_pylist() if column.null_count else [True] * len(column)
    for k, sound in enumerate(valid):
        yield data[offsets[k] : offsets[k + 1]] if sound else None


def _compact(stamps: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """`stamps[keep]`, moved in place (the array may be larger than memory)."""
    kept = np.flatnonzero(keep)
    for start in range(0, len(kept), BATCH_ROWS):
        part = kept[start : start + BATCH_ROWS]
        stamps[start : start + len(part)] = stamps[part]
    return stamps[: len(kept)]
