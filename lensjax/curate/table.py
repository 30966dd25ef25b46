"""A table of metadata, .parquet or .csv, read as a data root is: a row a stamp, or a pair.

Not a set of stamps, and not the index of a folder of them (lensjax.data.index): it may have
millions of rows, needs ra and dec alone, and names its columns as Parquet files of stamps do.

    >>> table = MetadataTable(filesystem, "/data/catalogue.csv")
    >>> rows, findings = read_rows(table, filesystem, table.list_split(filesystem, "/data", "")[0])
"""

from __future__ import annotations

import csv
import posixpath
from collections.abc import Iterator
from typing import ClassVar, NoReturn, cast

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from lensjax.data.columns import NUMBER_COLUMNS, WORD_COLUMNS, Columns, bounded, canonical
from lensjax.data.formats import Block, OneFile, Shard, damaged_rows
from lensjax.data.parquet_files import open_shard, read_table
from lensjax.data.rows import Coded
from lensjax.data.stampset import Finding
from lensjax.schema import ExitCode, LensjaxError

SUFFIXES = (".parquet", ".csv")
PLACE = ("source_file", "source_row")  # columns that say where a row's stamp is
_NUMBERS = (*NUMBER_COLUMNS, PLACE[1])
_WORDS = (*WORD_COLUMNS, PLACE[0])
_HEADER_BYTES = 2**16


class MetadataTable(OneFile):
    """The table at `path`, as a Format of one shard that has no stamps.

    Raises:
        LensjaxError: exit 10 for a damaged table, and for words where numbers are expected; 17
            for sizes that are not true.
    """

    name: ClassVar[str] = "table"
    endings: ClassVar[tuple[str, ...]] = SUFFIXES

    def __init__(self, filesystem: fsspec.AbstractFileSystem, path: str):
        self._name = posixpath.basename(path)
        try:
            read = _read_parquet if path.endswith(".parquet") else _read_csv
            table = read(filesystem, path)
            self._numbers = {canonical(x): _floats(table[x]) for x in _of(table, _NUMBERS)}
            self._words = {x: _texts(table[x]) for x in _of(table, _WORDS)}
            self._rows = table.num_rows
        except LensjaxError as error:
            where = f"{self._name} {error.where}".strip()
            raise LensjaxError(error.code, error.what, where, "Mend the table") from error
        except (pa.ArrowException, OSError, ValueError, csv.Error) as error:
            self._refuse(damaged_rows(error, 0))

    def _refuse(self, what: str, where: str = "") -> NoReturn:
        raise LensjaxError(
            ExitCode.DATA_INVALID, what, f"{self._name} {where}".strip(), "Mend the table"
        )

    def list_split(
        self, filesystem: fsspec.AbstractFileSystem, root: str, split: str
    ) -> tuple[list[Shard], list[Finding]]:
        """The table itself, whatever `split`."""
        del filesystem, split
        path, names = posixpath.join(root, self._name), (*self._numbers, *self._words)
        return [Shard(path, self._name, "", self._rows, names)], []

    def metadata(
        self, filesystem: fsspec.AbstractFileSystem, shard: Shard
    ) -> tuple[dict[str, np.ndarray], list[Finding]]:
        """As Format.metadata. A row is a stamp with its control unless `kind` says otherwise."""
        del filesystem
        try:
            words = {x: bounded(x, text) for x, text in self._words.items() if x != PLACE[0]}
        except LensjaxError as error:
            self._refuse(error.what, error.where)
        columns = Columns(shard.rows, self._numbers, words, ())
        return columns.metadata(shard, np.ones(shard.rows, bool)), []

    def sources(self) -> tuple[Coded, np.ndarray] | None:
        """The files, Coded, and rows, int32 [n], that the rows' stamps are in; None where the table
        does not say. Raises LensjaxError (exit 10) for a row that cannot be, and for one of the
        two columns without the other."""
        there = {*PLACE} & {*self._numbers, *self._words}
        if not there:
            return None
        if len(there) < len(PLACE):
            self._refuse(f"has {' and '.join(there)}, of {' and '.join(PLACE)}")
        row = self._numbers[PLACE[1]]
        for k in np.flatnonzero(~((row >= 0) & (row == np.rint(row)) & (row < 2**31)))[:1]:
            self._refuse(f"{PLACE[1]} is {row[k]:g}, expected 0, 1, 2, ...", f"row {k}")
        files = self._words[PLACE[0]].dictionary_encode()
        code = files.indices.to_numpy(zero_copy_only=False).astype(np.int32)
        return Coded(code, tuple(files.dictionary.to_pylist())), row.astype(np.int32)

    def pieces(self, filesystem: fsspec.AbstractFileSystem, shard: Shard) -> list[range]:
        """None: there are no stamps."""
        del filesystem, shard
        return []

    def blocks(
        self, filesystem: fsspec.AbstractFileSystem, shard: Shard, rows: range
    ) -> Iterator[Block]:
        """None."""
        del filesystem, shard, rows
        return iter(())


def _known(names: list[str]) -> list[str]:
    """Those of `names` that are read; raises ValueError for none, or one twice."""
    if not names or len(set(names)) < len(names):
        raise ValueError(f"columns {names}: none, or one of them twice")
    known = [name for name in names if canonical(name) in (*_NUMBERS, *_WORDS)]
    return [name for name in known if canonical(name) == name or canonical(name) not in known]


def _read_parquet(filesystem: fsspec.AbstractFileSystem, path: str) -> pa.Table:
    with open_shard(filesystem, path) as file:
        known = _known(file.schema_arrow.names)
    numbers = [name for name in known if canonical(name) in _NUMBERS]
    return read_table(filesystem, path, numbers, [name for name in known if name not in numbers])


def _read_csv(filesystem: fsspec.AbstractFileSystem, path: str) -> pa.Table:
    head = cast(bytes, filesystem.cat_file(path, start=0, end=_HEADER_BYTES))
    line = head.split(b"\n", 1)[0].split(b"\r", 1)[0].decode("utf-8-sig")
    known = _known(next(csv.reader([line]), []))
    kinds = {x: pa.float64() if canonical(x) in _NUMBERS else pa.string() for x in known}
    with filesystem.open(path, "rb") as handle:
        return pacsv.read_csv(
            handle,
            pacsv.ReadOptions(use_threads=False),
            pacsv.ParseOptions(newlines_in_values=True),
            pacsv.ConvertOptions(include_columns=known, column_types=kinds),
        )


def _of(table: pa.Table, names: tuple[str, ...]) -> list[str]:
    return [name for name in table.column_names if canonical(name) in names]


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    """float64 [n], NaN where null."""
    return column.cast(pa.float64(), safe=False).to_numpy()


def _texts(column: pa.ChunkedArray) -> pa.StringArray:
    """The column as text, empty where null."""
    return pa.concat_arrays([part.fill_null("") for part in column.cast(pa.string()).chunks])
