"""The metadata of a whole data root, or of one table of it: every row's position, brick and strata.

Not the stamps, which are never read. A root may have any folders: Parquet files, and indexes of
folders of stamps (stamps.csv), are found wherever they lie. A table (.parquet or .csv) may say in
`source_file` and `source_row` where its rows' stamps are.

    >>> found = read("/data/stamps")
    >>> found.rows.where(17), found.notes
"""

from __future__ import annotations

import os
import posixpath
from dataclasses import replace
from typing import NamedTuple

import fsspec
import numpy as np
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from lensjax import schema
from lensjax.curate.table import SUFFIXES, MetadataTable
from lensjax.data import hdf5, index
from lensjax.data.bricks import brick_names
from lensjax.data.columns import canonical
from lensjax.data.files import bin_edges
from lensjax.data.formats import Format, Shard, damaged_rows, finding
from lensjax.data.listing import files_below
from lensjax.data.parquet import ParquetFormat
from lensjax.data.parquet_files import open_shard
from lensjax.data.paths import open_filesystem
from lensjax.data.reading import inside
from lensjax.data.rows import BINS, Coded, FileRows, read_rows
from lensjax.data.split_manifest import is_split_manifest
from lensjax.data.stampset import Finding
from lensjax.progress import progress_bar
from lensjax.schema import ExitCode, LensjaxError

_BATCH_ROWS = 100_000
_NUMBERS = ("ra", "dec", *BINS, *BINS.values())
_WORDS = ("brickname", "kind")
REMEDY = "Correct or remove what is named, then run again"


class Metadata(NamedTuple):
    """`rows` of all files, with bricks made of positions where they have none; the `file` and
    `row` (int32) that a manifest names each by; `root`, the last part of its name; `bins`, int8
    [n] by name, and their `edges` where the files have none; and what the user is told."""

    rows: FileRows
    file: Coded
    row: np.ndarray
    root: str
    bins: dict[str, np.ndarray]
    edges: dict[str, list[float]] | None
    notes: list[str]


def read(address: str) -> Metadata:
    """The metadata at `address`, a folder or a table, local or an fsspec address.

    Raises:
        LensjaxError: exit 2 where there is neither, 10 for a damaged file, for no rows and for a
            row without a position, 16 for a folder that cannot be read, 17 for a link that leads
            out of the folder.
    """
    filesystem, path = open_filesystem(address)
    path = path.rstrip("/")
    name, told = posixpath.basename(path), None
    if filesystem.isdir(path):
        form = _AnyFolders()
        shards, unread = form.list_split(filesystem, path, "")
    elif filesystem.isfile(path) and name.endswith(SUFFIXES):
        form = MetadataTable(filesystem, path)
        shards, unread = form.list_split(filesystem, posixpath.dirname(path), name)
        told = form.sources()
    else:
        raise LensjaxError(
            ExitCode.USAGE,
            "no such folder, and no such table (.parquet, .csv)",
            address,
            "Give the folder of your stamps, or a table of their metadata",
        )
    rows, findings = _read(form, filesystem, shards)
    errors = [one for one in (*unread, *findings) if one.severity == "ERROR"]
    if errors:
        raise errors[0].error(REMEDY)
    if not len(rows):
        what = "no rows: no *.parquet file with rows, and no stamps.csv"
        raise LensjaxError(ExitCode.DATA_INVALID, what, address, "Give the folder of your stamps")
    _require_positions(rows)
    notes = [*_notes(rows, findings), *_name_bricks(rows)]
    edges = bin_edges(rows.numbers, rows)
    file, row = told or (Coded(rows.shard, tuple(x.name for x in rows.shards)), rows.row)
    listed = None if edges is None else {name: edges[name].tolist() for name in edges}
    return Metadata(rows, file, row, name, _bins(rows, edges), listed, notes)


def _read(
    form: Format, filesystem: fsspec.AbstractFileSystem, shards: list[Shard]
) -> tuple[FileRows, list[Finding]]:
    """As rows.read_rows, with what a split needs alone: some files at a time, so that what it does
    not need is never held of all."""
    parts, findings, batch = [], [], []
    with progress_bar(total=len(shards), desc="reading metadata", unit="file") as bar:
        for k, shard in enumerate(shards):
            batch.append(shard)
            if sum(one.rows for one in batch) < _BATCH_ROWS and k + 1 < len(shards):
                continue
            rows, found = read_rows(form, filesystem, batch)
            parts.append(replace(rows, numbers={name: rows.numbers[name] for name in _NUMBERS}))
            findings += found
            bar.update(len(batch))
            batch = []
    return _joined(parts or [read_rows(form, filesystem, [])[0]]), findings


def _joined(parts: list[FileRows]) -> FileRows:
    shards = [shard for part in parts for shard in part.shards]
    before = np.cumsum([0, *(len(part.shards) for part in parts)]).tolist()
    return FileRows(
        shards=shards,
        shard=np.concatenate(
            [part.shard + np.int32(k) for part, k in zip(parts, before, strict=False)]
        ),
        row=np.concatenate([part.row for part in parts]),
        numbers={x: np.concatenate([part.numbers[x] for part in parts]) for x in _NUMBERS},
        words={x: _coded([part.words[x] for part in parts]) for x in _WORDS},
        task_id=np.concatenate([part.task_id for part in parts]),
        split=np.concatenate([part.split for part in parts]),
        good=np.concatenate([part.good for part in parts]),
    )


def _coded(parts: list[Coded]) -> Coded:
    """One column of the columns of several parts."""
    known: dict[str, int] = {}
    codes = []
    for code, names in parts:
        mine = np.array([known.setdefault(name, len(known)) for name in names] or [0], np.int32)
        codes.append(mine[code])
    return Coded(np.concatenate(codes), tuple(known))


class _AnyFolders(ParquetFormat):
    """Parquet files and indexes of folders of stamps, wherever below the root they lie."""

    def list_split(
        self, filesystem: fsspec.AbstractFileSystem, root: str, split: str
    ) -> tuple[list[Shard], list[Finding]]:
        """All of the root, whatever `split`. Hidden files and folders are left out. A link to a
        folder is not followed, and refused: what lies there would be missing without a word."""
        shards, findings = [], []
        for path in files_below(filesystem, root):
            name = path[len(root) :].lstrip("/")
            hidden = any(part.startswith((".", "_")) for part in name.split("/"))
            if hidden:
                continue
            if _is_linked_folder(filesystem, path):
                what = "is a link to a folder, which is not followed"
                findings.append(finding(what, name, code=ExitCode.REFUSED_INPUT))
                continue
            if name.endswith(hdf5.SUFFIXES):
                what = "an HDF5 file: give a table of its rows (ra, dec, source_file, source_row)"
                findings.append(finding(what, name))
            if posixpath.basename(name) != index.FILE and not name.endswith(".parquet"):
                continue
            try:
                shards += self._inspected(filesystem, inside(filesystem, root, name), name)
            except LensjaxError as error:
                where = f"{name} {error.where}".strip()
                findings.append(finding(error.what, where, code=error.code))
            except (pa.ArrowException, OSError, ValueError) as error:
                findings.append(finding(damaged_rows(error, 0), name))
        return shards, findings

    def _inspected(
        self, filesystem: fsspec.AbstractFileSystem, path: str, name: str
    ) -> list[Shard]:
        """The shard at `path`; none for a split manifest. Raises LensjaxError, and what a damaged
        Parquet file raises."""
        folder = name.split("/", 1)[0]
        split = folder if folder in schema.SPLITS else ""
        if name.endswith(".csv"):
            known = index.read_index(filesystem, path)
            return [Shard(path, name, split, known.rows, known.names())]
        with open_shard(filesystem, path) as file:
            footer, names = file.metadata, file.schema_arrow.names
        if is_split_manifest(footer.metadata):
            return []
        return [Shard(path, name, split, footer.num_rows, tuple(map(canonical, names)))]

    def metadata(
        self, filesystem: fsspec.AbstractFileSystem, shard: Shard
    ) -> tuple[dict[str, np.ndarray], list[Finding]]:
        """As Format.metadata."""
        if shard.name.endswith(".parquet"):
            return super().metadata(filesystem, shard)
        known = index.read_index(filesystem, shard.path)
        return known.metadata(shard, known.has_control), []


def _is_linked_folder(filesystem: fsspec.AbstractFileSystem, path: str) -> bool:
    local = isinstance(filesystem, LocalFileSystem)
    return local and os.path.islink(path) and os.path.isdir(path)


def _require_positions(rows: FileRows) -> None:
    ra, dec = rows.numbers["ra"], rows.numbers["dec"]
    bad = np.flatnonzero(~(np.isfinite(ra) & (np.abs(dec) <= 90)))
    if len(bad):
        k = int(bad[0])
        raise LensjaxError(
            ExitCode.DATA_INVALID,
            f"no position: ra is {ra[k]:g}, dec is {dec[k]:g} ({len(bad)} such rows)",
            rows.where(k),
            "Give every row ra and dec, in degrees",
        )


def _name_bricks(rows: FileRows) -> list[str]:
    """Give the rows that have no brick the name of the tile that they lie in; says how many."""
    code, names = rows.words["brickname"]
    without = np.flatnonzero(np.isin(code, [k for k, name in enumerate(names) if not name]))
    if not len(without):
        return []
    own = brick_names(rows.numbers["ra"][without], rows.numbers["dec"][without])
    made, inverse = np.unique(own, return_inverse=True)
    known = {name: k for k, name in enumerate(names)}  # other rows may name the same brick
    mine = [known.setdefault(name, len(known)) for name in made.tolist()]
    code = code.copy()
    code[without] = np.array(mine, np.int32)[inverse.reshape(-1)]
    rows.words["brickname"] = Coded(code, tuple(known))
    return [f"{len(without)} rows have no brick: tiles of 0.25 deg stand for them"]


def _bins(rows: FileRows, edges: dict[str, np.ndarray] | None) -> dict[str, np.ndarray]:
    """psf_bin and depth_bin of each row, int8 [n], as the reader of stamps makes them."""
    if edges is None:
        values = {name: np.where(rows.good, rows.numbers[name], 0) for name in BINS}
    else:
        values = {
            name: np.searchsorted(edges[name], np.nan_to_num(rows.numbers[column]))
            for name, column in BINS.items()
        }
    return {name: value.astype(np.int8) for name, value in values.items()}


def _notes(rows: FileRows, findings: list[Finding]) -> list[str]:
    """What the user should know of the rows as they are."""
    notes = []
    counts = np.bincount(rows.split[rows.split >= 0], minlength=len(schema.SPLITS)).tolist()
    folders = [f"{name} ({n})" for name, n in zip(schema.SPLITS, counts, strict=True) if n]
    if folders:
        notes.append(f"the folders {', '.join(folders)} are ignored: the manifest decides")
    elif rows.has("region_split").any():
        notes.append("the column region_split is ignored: the manifest decides")
    faults = [one for one in findings if one.severity == "QUARANTINE"]
    if faults:
        first = f"{faults[0].where}: {faults[0].message}"
        notes.append(f"{len(faults)} faults that reading will stop at, the first: {first}")
    if not rows.has("psf_bin").all() or not rows.has("depth_bin").all():
        unknown = [name for name, x in BINS.items() if not np.isfinite(rows.numbers[x]).any()]
        made = [name for name in BINS if name not in unknown]
        if made:
            notes.append(f"{' and '.join(made)}: quartiles over all rows")
        if unknown:
            notes.append(f"{' and '.join(unknown)}: unknown, so not balanced")
    return notes
