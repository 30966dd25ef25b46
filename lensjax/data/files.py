"""The source of a user's files, whatever their format: digests, tables, stamps of each split.

Not a format (`formats` says what those offer) and not the scan (`lensjax.checks.scan` reads the
same pieces in parallel). What is wrong is named by file, row and band. Memory is bounded: stamps
over the budget go to a mapped file.

    >>> source = FileSource("/data/stamps", ParquetFormat(), cache_dir)
    >>> test = source.read("test", findings=None)       # raises on the first bad row
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import posixpath
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from fsspec.implementations.local import LocalFileSystem

from lensjax import schema
from lensjax.data.digests import DigestMemo, combined, file_key, hash_file, keyed_hash
from lensjax.data.formats import DAMAGE, Format, Shard, damage, finding
from lensjax.data.listing import files_below
from lensjax.data.paths import open_filesystem
from lensjax.data.record import FILE as RECORD_FILE
from lensjax.data.record import Record, load_record, unreadable_record
from lensjax.data.rows import (
    BINS,
    FileRows,
    folder_findings,
    host_ids,
    quartile_edges,
    read_rows,
    stamp_table,
    stamps_of,
)
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

if TYPE_CHECKING:  # it needs pyarrow, which only those who have a split manifest do
    from lensjax.data.split_table import SplitManifest

log = logging.getLogger(__name__)

REMEDY = "Correct or remove what is named, then run again"
_COPY_ROWS = 128


class FileSource:
    """Stamps of a user's data root (a path or an fsspec address) in one format."""

    def __init__(
        self,
        root: str,
        form: Format,
        cache_dir: Path,
        memory_budget_bytes: int = MEMORY_BUDGET_BYTES,
        manifest: SplitManifest | None = None,
    ):
        """With a split `manifest`, that says which row is in which split, and no folder does.
        Raises LensjaxError (USAGE) if `root` is not a directory."""
        self.form, self._cache_dir, self._budget = form, cache_dir, memory_budget_bytes
        self.manifest = manifest
        self.filesystem, self.root = open_filesystem(root)
        if not self.filesystem.isdir(self.root):
            file = self.filesystem.exists(self.root)
            what = "is a file, not a directory" if file else "no such directory"
            remedy = f"Name the folder of {', '.join(schema.SPLITS)} with --config.data.root=DIR"
            raise LensjaxError(ExitCode.USAGE, what, where=root, remedy=remedy)
        self.memo = DigestMemo(self.filesystem, cache_dir)

    def splits(self) -> tuple[str, ...]:
        """The splits of a source, always all of schema.SPLITS (a missing one is a finding)."""
        return schema.SPLITS

    @functools.cached_property
    def files(self) -> dict[str, str]:
        """Path in the filesystem, by name relative to the root, of every file that may be read.
        Raises LensjaxError as files_below."""
        if self.manifest is not None:
            return dict(sorted(self._files_of(self.manifest).items()))
        found = {}
        for split in self.splits():
            folder = f"{self.root}/{split}"
            if self.filesystem.isdir(folder):
                for path in files_below(self.filesystem, folder):
                    found[path[len(self.root) :].lstrip("/")] = path
        return dict(sorted(found.items()))

    def _files_of(self, manifest: SplitManifest) -> dict[str, str]:
        """The files that the manifest names, and those that they are an index of."""
        found = {name: f"{self.root}/{name}" for name in manifest.file.names}
        for shard in self._of_manifest[0]:
            if shard.name in found:
                for path in self.form.files(self.filesystem, shard):
                    found[path[len(self.root) :].lstrip("/")] = path
        return found

    def unhashed(self) -> list[str]:
        """Paths of the files whose content was never hashed, or changed since."""
        return [path for path in self.files.values() if self.memo.known(path) is None]

    def file_digests(self) -> dict[str, str]:
        """SHA-256 of every file by name; those not remembered are read. One that cannot be has
        that as its digest."""
        digests = {}
        for name, path in progress_bar(self.files.items(), desc="hashing", unit="file"):
            try:
                known = self.memo.known(path)
                digests[name] = known or self.memo.put(*keyed_hash(self.filesystem, path))
            except OSError as error:
                digests[name] = f"unreadable: {error.strerror or error}"  # the scan names it
        self.memo.save()
        return digests

    def digest(self) -> str:
        """SHA-256, in hex, of what decides the stamps: names and bytes of all files, the format
        and what it was told, the split manifest."""
        split = "" if self.manifest is None else self.manifest.digest()
        told = f"{self.form!r}\n{split}\n{combined(self.file_digests())}"
        return hashlib.sha256(told.encode()).hexdigest()

    def keys(self) -> dict[str, str | None]:
        """What tells that a file was changed, by name, without reading it (digests.file_key).
        New files are not looked for: they are not read."""
        return {name: file_key(self.filesystem, path) for name, path in self.files.items()}

    def record_digest(self) -> str | None:
        """SHA-256 of the root's own manifest.json, None without. Raises LensjaxError (RESOURCE) for
        one that cannot be read."""
        path = f"{self.root}/{RECORD_FILE}"
        if not self.filesystem.isfile(path):
            return None
        try:
            return hash_file(self.filesystem, path)
        except OSError as error:
            raise unreadable_record(error, path) from error

    @functools.cached_property
    def record(self) -> Record | None:
        """The root's own manifest.json, None without. Raises LensjaxError as load_record."""
        return load_record(self.filesystem, self.root)

    @functools.cached_property
    def listing(self) -> tuple[FileRows, list[Finding]]:
        """All rows without their stamps, and what is wrong with them, with files and folders."""
        findings = self._links()
        shards, found = self._shards()
        rows, more = read_rows(self.form, self.filesystem, shards)
        findings += found + more
        findings += folder_findings(rows) if self.manifest is None else self._splits_of(rows)
        return rows, findings + self._notes(rows)

    def _shards(self) -> tuple[list[Shard], list[Finding]]:
        """The sound shards, and what is wrong with others: those of the folders of the splits, or
        those that the manifest names, where one more or one less is another data root (exit 12)."""
        if self.manifest is None:
            return self._listed(self.splits())
        shards, findings = self._of_manifest
        named = set(self.manifest.file.names)
        findings = [one for one in findings if _file_of(one) in named]
        there = {_file_of(one) for one in findings} | {shard.name for shard in shards}
        for names, what in (
            (sorted(named - there), "missing: the split manifest names it"),
            (sorted(there - named), "not in the split manifest"),
        ):
            findings += [
                finding(what, name, check="labels", code=ExitCode.MISMATCH) for name in names
            ]
        return [shard for shard in shards if shard.name in named], findings

    @functools.cached_property
    def _of_manifest(self) -> tuple[list[Shard], list[Finding]]:
        """The shards in the folders that the manifest names, and what is wrong there."""
        assert self.manifest is not None
        return self._listed(sorted({posixpath.dirname(name) for name in self.manifest.file.names}))

    def _listed(self, folders: Sequence[str]) -> tuple[list[Shard], list[Finding]]:
        shards, findings = [], []
        for folder in folders:
            listed, found = self.form.list_split(self.filesystem, self.root, folder)
            shards, findings = shards + listed, findings + found
        return shards, findings

    def _splits_of(self, rows: FileRows) -> list[Finding]:
        """Put the rows into the splits of the manifest; what differs from it."""
        findings: list[Finding] = []
        starts = rows.starts()
        for shard, start in zip(rows.shards, starts[:-1].tolist(), strict=True):
            at = slice(start, start + shard.rows)
            try:
                assert self.manifest is not None
                position = rows.numbers["ra"][at], rows.numbers["dec"][at]
                rows.split[at] = self.manifest.of_file(shard.name, *position)[0]
            except LensjaxError as error:
                rows.split[at] = -1
                findings.append(finding(error.what, error.where, check="labels", code=error.code))
        if aside := int((rows.split < 0).sum()):
            message = f"{aside} of {len(rows)} rows are in no split (the manifest's guard band)"
            findings.append(finding(message, "", check="splits", severity="NOTE"))
        return findings

    @functools.cached_property
    def hosts(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each row the host, int32 [n], an index into the hosts' names, UTF-8 bytes. A row
        without a position is its own host."""
        rows = self.listing[0]
        known = np.isfinite(rows.numbers["ra"]) & np.isfinite(rows.numbers["dec"]) & rows.good
        host = np.empty(len(rows), np.int32)
        host[known], names = host_ids(rows.numbers["ra"][known], rows.numbers["dec"][known])
        lone = np.flatnonzero(~known)
        host[lone] = len(names) + np.arange(len(lone))
        return host, np.concatenate([names, rows.task_id[lone]]) if len(lone) else names

    @functools.cached_property
    def bins(self) -> dict[str, np.ndarray]:
        """int [n] by row: the files' own psf_bin and depth_bin, or quartiles over all splits."""
        rows, edges = self.listing[0], self._bin_edges
        if edges is None:
            given = {name: np.where(rows.good, rows.numbers[name], 0) for name in BINS}
        else:
            given = {
                name: np.searchsorted(edges[name], np.nan_to_num(rows.numbers[column]))
                for name, column in BINS.items()
            }
        return {name: values.astype(np.int8) for name, values in given.items()}

    def read(self, split: str, findings: list[Finding] | None) -> StampSet:
        """The validated stamps of `split` in canonical order.

        With a list, everything wrong is appended to it and the rows concerned are left out; with
        None the first is raised as LensjaxError (exit 10, 11 or 17) and notes are logged."""
        rows, found = self.listing
        others = tuple(f"{name}/" for name in self.splits() if name != split)
        for one in found:
            if not one.where.startswith(others):
                _report(one, findings)
        mine = rows.good & (rows.split == schema.SPLITS.index(split))
        stamps = stamps_of(rows, mine)
        host, names = self.hosts
        table = stamp_table(
            rows, stamps, np.char.decode(names[host[stamps.row]], "utf-8"), self.bins
        )
        order = np.argsort(table["stamp_id"], kind="stable")
        table = {name: column[order] for name, column in table.items()}
        place = np.full((2, len(rows)), -1, np.int64)  # of each row's members, in the set
        place[stamps.member[order], stamps.row[order]] = np.arange(len(order))
        size = stamps_bytes(len(order))
        require_space(self._cache_dir, size if size > self._budget else 0)
        pixels = allocate_stamps(len(order), self._cache_dir, self._budget)
        sound = self._read_stamps(mine, place, pixels, findings, split)
        keep = sound[stamps.row][order]
        if not keep.all():
            table = {name: column[keep] for name, column in table.items()}
            pixels = _compact(pixels, keep)
        return StampSet(split, table, pixels, self.form.name)

    def _read_stamps(
        self,
        mine: np.ndarray,
        place: np.ndarray,
        pixels: np.ndarray,
        findings: list[Finding] | None,
        split: str,
    ) -> np.ndarray:
        """Decode the rows `mine` into `pixels` at `place` [2, n]; bool [n], the sound ones."""
        rows, sound = self.listing[0], mine.copy()
        starts = rows.starts()
        with progress_bar(total=int(mine.sum()), desc=f"reading {split}", unit="row") as bar:
            for shard, start in zip(rows.shards, starts[:-1].tolist(), strict=True):
                if not mine[start : start + shard.rows].any():
                    continue
                done, faults = 0, []
                try:
                    for piece in self.form.pieces(self.filesystem, shard):
                        for block in self.form.blocks(self.filesystem, shard, piece):
                            first, count = start + block.first, block.pixels.shape[1]
                            for row, fault in block.faults:
                                if mine[start + row]:
                                    sound[start + row] = False
                                    faults.append(fault)
                            whole = sound[first : first + count]  # no memory for the others
                            for member, planes in enumerate(block.pixels):
                                at = place[member, first : first + count]
                                used = whole & (at >= 0)
                                pixels[at[used]] = np.moveaxis(planes[used], 1, -1)
                            done = block.first + count
                            bar.update(count)
                    if done < shard.rows:
                        raise OSError(f"it ends there, and was listed with {shard.rows} rows")
                except DAMAGE as error:
                    faults.append(damage(error, done, shard.name))
                    sound[start + done : start + shard.rows] = False
                for fault in faults:
                    _report(fault, findings)
        return sound

    def _links(self) -> list[Finding]:
        """Files that are links out of the root: what is read must be what lies there."""
        if not isinstance(self.filesystem, LocalFileSystem):
            return []
        root = os.path.realpath(self.root)
        return [
            finding("is a link that leads out of the data root", name, code=ExitCode.REFUSED_INPUT)
            for name, path in self.files.items()
            if not os.path.realpath(path).startswith(root + os.sep)
        ]

    @functools.cached_property
    def _bin_edges(self) -> dict[str, np.ndarray] | None:
        """Edges for psf_bin and depth_bin, or None where all files have the columns."""
        return bin_edges(self.listing[0].numbers, self.listing[0])

    def _notes(self, rows: FileRows) -> list[Finding]:
        edges = bin_edges(rows.numbers, rows)
        if edges is None or not len(rows):
            return []
        text = "; ".join(
            f"{name} at {', '.join(f'{edge:.3f}' for edge in values)}"
            for name, values in edges.items()
        )
        message = f"not in every file: bins made from quartiles over all splits, {text}"
        return [finding(message, "psf_bin, depth_bin", severity="NOTE")]


def bin_edges(numbers: Mapping[str, np.ndarray], rows: FileRows) -> dict[str, np.ndarray] | None:
    """Quartiles, float64 [3], of what each bin is of, over all good rows; None where all files
    have the bins. Rows of unknown value are in bin 0, with those below the first quartile."""
    if all(name in shard.columns for shard in rows.shards for name in BINS):
        return None
    edges = {}
    for name, column in BINS.items():
        values = numbers[column][rows.good]
        values = values[np.isfinite(values)]
        edges[name] = quartile_edges(values) if len(values) else np.zeros(3)
    return edges


def _file_of(one: Finding) -> str:
    """The file that a finding is of: where it is says the row, too."""
    return re.sub(r" row \d+[^/]*$", "", one.where)


def _report(one: Finding, findings: list[Finding] | None) -> None:
    if findings is not None:
        findings.append(one)
    elif one.severity != "NOTE":
        raise one.error(REMEDY)
    else:
        log.info("%s: %s", schema.printable(one.where), schema.printable(one.message))


def _compact(stamps: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """`stamps[keep]`, moved in place (the array may be larger than memory)."""
    kept = np.flatnonzero(keep)
    for start in range(0, len(kept), _COPY_ROWS):
        part = kept[start : start + _COPY_ROWS]
        stamps[start : start + len(part)] = stamps[part]
    return stamps[: len(kept)]
