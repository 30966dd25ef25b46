"""HDF5 files: ROOT/{train,val,test}/*.h5 or *.hdf5, a dataset `stamps`, and one for each column.

Not any HDF5: `stamps` is float32 [n, h, w, 3] or [n, 3, h, w], `controls` likewise where rows are
pairs. The attributes bands, unit, zero_point and pixel_scale_arcsec, of the file or of `stamps`,
declare what they are of; `hdf5_file` says what is refused.

    >>> form = Hdf5Format(Told())
    >>> shards, findings = form.list_split(filesystem, root, "train")
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import fsspec
import h5py
import numpy as np
import pyarrow as pa

from lensjax import schema
from lensjax.data import blocks, cutouts, hdf5_file
from lensjax.data.columns import (
    NUMBER_COLUMNS,
    TOLD_NUMBERS,
    WORD_COLUMNS,
    Columns,
    bounded,
    canonical,
    shard_columns,
)
from lensjax.data.cutouts import Cutout, band_axis
from lensjax.data.formats import PAIR, Block, OneFile, Shard, finding
from lensjax.data.hdf5_file import attribute, dataset, open_hdf5
from lensjax.data.listing import list_files
from lensjax.data.npz import damaged, refused
from lensjax.data.reading import inside
from lensjax.data.stampset import Finding
from lensjax.data.told import Declared, NotTold, Told, band_planes, calibration, letters
from lensjax.schema import ExitCode, LensjaxError

SUFFIXES = (".h5", ".hdf5")
STAMPS, CONTROLS = "stamps", "controls"
MAX_ROWS = 2**18  # of one file; a split may have many
MAX_DATASETS = 256
KNOWN = (*NUMBER_COLUMNS, *WORD_COLUMNS)
_OF_ONE_STAMP = (*TOLD_NUMBERS, "unit")  # columns that pixels depend on
_READ_BYTES = 2**24  # of one dataset at once


class Contents(NamedTuple):
    """What an open file holds: its stamps (and controls), which axis of one is that of the bands,
    which planes are g, r and z, and what is declared of all."""

    stamps: h5py.Dataset
    controls: h5py.Dataset | None
    axis: int
    planes: tuple[int, ...]
    declared: Declared


@dataclass(frozen=True)
class Hdf5Format(OneFile):
    """Format of *.h5 and *.hdf5 files."""

    told: Told
    name: ClassVar[str] = "hdf5"
    endings: ClassVar[tuple[str, ...]] = SUFFIXES

    def list_split(
        self, filesystem: fsspec.AbstractFileSystem, root: str, split: str
    ) -> tuple[list[Shard], list[Finding]]:
        """As Format.list_split."""

        def inspect(path: str, name: str) -> Shard | Finding:
            try:
                inside(filesystem, root, name)
                with open_hdf5(filesystem, path) as file:
                    rows = len(contents(file, self.told).stamps)
                    columns = shard_columns(_names(file))
                return Shard(path, name, split, rows, columns)
            except LensjaxError as error:
                return finding(schema.printable(error.what), name, code=error.code)
            except OSError as error:
                return finding(_one_line(error), name)

        return list_files(filesystem, root, split, SUFFIXES, inspect)

    def metadata(
        self, filesystem: fsspec.AbstractFileSystem, shard: Shard
    ) -> tuple[dict[str, np.ndarray], list[Finding]]:
        """As Format.metadata."""
        try:
            with open_hdf5(filesystem, shard.path) as file:
                found = contents(file, self.told)
                columns = _columns(file, shard.rows, KNOWN)
        except LensjaxError as error:
            return {}, [finding(error.what, f"{shard.name} {error.where}".strip(), code=error.code)]
        except OSError as error:
            return {}, [finding(_one_line(error), shard.name)]
        controls = _has_control(columns, found)
        findings = columns.findings(shard, controls, KNOWN) + self._findings(shard, columns, found)
        declared = next(iter(found.declared.pixel_scale_arcsec.values()), np.nan)
        columns = columns.with_scales(self.told, np.full(shard.rows, declared))
        return columns.metadata(shard, controls), findings

    def pieces(self, filesystem: fsspec.AbstractFileSystem, shard: Shard) -> list[range]:
        """As Format.pieces."""
        return blocks.pieces(shard.rows)

    def blocks(
        self, filesystem: fsspec.AbstractFileSystem, shard: Shard, rows: range
    ) -> Iterator[Block]:
        """As Format.blocks."""
        with open_hdf5(filesystem, shard.path) as file:
            try:
                found = contents(file, self.told)
                columns = _columns(file, shard.rows, (*_OF_ONE_STAMP, "kind"))
            except LensjaxError as error:
                raise OSError(f"changed while it was read: {error}") from error
            controls = _has_control(columns, found)
            members = [_Window(x, rows) for x in (found.stamps, found.controls) if x is not None]

            def decode(row: int, control: bool) -> np.ndarray | None:
                if control and not controls[row]:
                    return None
                told = columns.told(row, self.told)
                bands_first = np.moveaxis(members[control][row], found.axis, 0)
                planes = [bands_first[k] for k in found.planes]
                return cutouts.stamp(Cutout(planes, [found.declared] * len(planes)), told)

            yield from blocks.decoded(shard, rows, len(members), decode, lambda *_: "")

    def _findings(self, shard: Shard, columns: Columns, found: Contents) -> list[Finding]:
        """What is wrong with all rows alike, and sizes that are odd."""
        findings = []
        for row in columns.examples():
            try:
                calibration(found.declared, columns.told(row, self.told))
            except LensjaxError as error:
                if isinstance(error, NotTold) or not set(_OF_ONE_STAMP) & set(columns.names()):
                    what = schema.printable(error.what)
                    findings.append(finding(what, f"{shard.name} row {row}"))
        if found.controls is None and "kind" in columns.words:
            paired = columns.words["kind"].index(PAIR).as_py()
            if paired >= 0:
                what = f"kind is {PAIR!r}, but there is no dataset {CONTROLS!r}"
                findings.append(finding(what, f"{shard.name} row {paired}"))
        sides = [side for axis, side in enumerate(found.stamps.shape[1:]) if axis != found.axis % 3]
        if (note := cutouts.off_centre(*sides)) and not self.told.resample:
            findings.append(finding(note, shard.name, severity="NOTE"))
        return findings


def contents(file: h5py.File, told: Told) -> Contents:
    """What `file` holds. Raises LensjaxError: DATA_INVALID for missing, misshapen or mislabelled
    stamps, REFUSED_INPUT as hdf5_file.dataset and for too many datasets."""
    if len(file) > MAX_DATASETS:
        raise refused(f"{len(file)} datasets, at most {MAX_DATASETS} expected")
    stamps, controls = dataset(file, STAMPS), dataset(file, CONTROLS)
    if stamps is None:
        raise damaged(f"no dataset {STAMPS!r} (has {', '.join(map(repr, file)) or 'none'})")
    declared = {name: _declared(file, stamps, name) for name in (*_OF_ONE_STAMP, "bands")}
    bands = len(letters(next(iter(declared["bands"].values()), told.bands))) or len(schema.BANDS)
    axis = band_axis(stamps.shape[1:], bands)
    for name, one in ((STAMPS, stamps), (CONTROLS, controls)):
        if one is None:
            continue
        if one.dtype.kind != "f" or one.dtype.itemsize != 4 or one.shape != stamps.shape:
            what = f"dataset {name!r} is {one.dtype} {one.shape}, expected float32 {stamps.shape}"
            raise LensjaxError(ExitCode.DATA_INVALID, what)
    if len(stamps) > MAX_ROWS:
        what = f"{len(stamps):,} rows, at most {MAX_ROWS:,} in one file: write several"
        raise LensjaxError(ExitCode.DATA_INVALID, what)
    planes = band_planes(declared.pop("bands"), told, bands)
    return Contents(stamps, controls, axis, planes, Declared(**declared))


def _declared(file: h5py.File, stamps: h5py.Dataset, name: str) -> dict:
    """An attribute by what carries it. Raises LensjaxError (DATA_INVALID) for text where a number
    is expected, and the other way round."""
    found = {}
    for label, holder in (("attribute", file), (f"{STAMPS} attribute", stamps)):
        value = attribute(holder, name)
        if value is not None:
            if isinstance(value, str) != (name in ("unit", "bands")):
                raise damaged(f"{label} {name} is {value!r}")
            found[f"{label} {name}"] = value
    return found


def _names(file: h5py.File) -> list[str]:
    """The names of all that might be columns."""
    return [str(name) for name in file if name not in (STAMPS, CONTROLS)]


def _columns(file: h5py.File, rows: int, wanted: tuple[str, ...]) -> Columns:
    """The columns `wanted` that are there, and the names of those not known."""
    numbers, words = {}, {}
    names = _names(file)
    for name in names:
        as_known = canonical(name)
        if as_known not in wanted or (as_known != name and as_known in names):
            continue
        column = dataset(file, name)
        if column is None:
            continue
        if as_known in NUMBER_COLUMNS:
            numbers[as_known] = hdf5_file.numbers(column, name, rows)
        else:
            texts = pa.array(hdf5_file.words(column, name, rows), pa.string())
            words[name] = bounded(name, texts)
    unknown = tuple(name for name in names if canonical(name) not in KNOWN)
    return Columns(rows, numbers, words, unknown)


def _has_control(columns: Columns, found: Contents) -> np.ndarray:
    """bool [rows]: pairs, and rows that are not said to be anything else."""
    if found.controls is None or "kind" not in columns.words:
        return np.full(columns.rows, found.controls is not None)
    return np.array([kind in ("", PAIR) for kind in columns.words["kind"].to_pylist()])


class _Window:
    """Rows of a dataset, read as many at once as fit into 16 MiB; where those are refused, all of
    them are."""

    def __init__(self, found: h5py.Dataset, rows: range):
        self._found, self._stop = found, rows.stop
        self._held, self._read = range(0), np.zeros(0, np.float32)
        row_bytes = found.dtype.itemsize * math.prod(found.shape[1:])
        self._step = max(1, _READ_BYTES // row_bytes)

    def __getitem__(self, row: int) -> np.ndarray:
        if row not in self._held:
            self._held = range(row, min(row + self._step, self._stop))
            try:
                self._read = hdf5_file.read_rows(self._found, self._held)
            except LensjaxError as error:
                self._read = error
        if isinstance(self._read, LensjaxError):
            raise self._read
        return self._read[row - self._held.start]


def _one_line(error: OSError) -> str:
    return schema.printable(" ".join(str(error).split())[:200])
