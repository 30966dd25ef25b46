"""The index of a folder of stamps: a CSV file, one row a stamp or a pair, read within bounds.

Not the stamps. Its columns are those of `columns` and the places of a row's stamps. A row is a row
of data: row 0 is the line below the header.

    >>> index = read_index(filesystem, "/data/train/stamps.csv")
    >>> index.place(17, control=False)
    Place(file='J2231-0849_{band}.fits', row=0)
"""

from __future__ import annotations

import csv
import functools
import re
from dataclasses import dataclass
from typing import NamedTuple, cast

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from lensjax import schema
from lensjax.data.columns import (
    NUMBER_COLUMNS,
    WORD_COLUMNS,
    Columns,
    as_text,
    bounded,
    canonical,
)
from lensjax.data.npz import damaged, refused
from lensjax.schema import ExitCode, LensjaxError

FILE = "stamps.csv"
MAX_BYTES = 50_000_000
MAX_ROWS = 2**18  # beyond that, Parquet or HDF5: 800,000 small files are no way to keep stamps
MAX_COLUMNS = 256
_MAX_HEADER_BYTES = 2**16
_NUMBERS = (*NUMBER_COLUMNS, "row", "control_row")
_WORDS = (*WORD_COLUMNS, "file", "control_file")
KNOWN = (*_NUMBERS, *_WORDS)


class Place(NamedTuple):
    """Where a stamp is: the index's word for its file, and its row in that file."""

    file: str
    row: int


@dataclass(frozen=True)
class Index(Columns):
    """The columns of an index; `has_control` bool [rows]: the rows with a control."""

    has_control: np.ndarray

    def place(self, row: int, *, control: bool) -> Place:
        """Where the stamp of a row, or its control, is (a control without a file of its own is in
        the stamp's). Raises LensjaxError (DATA_INVALID) for a row that is no number of one."""
        prefix = "control_" if control else ""
        file = self.word(f"{prefix}file", row) or self.word("file", row)
        number = self.number(f"{prefix}row", row)
        if np.isnan(number):
            number = 0.0
        if number < 0 or not number.is_integer():
            what = f"column {prefix}row is {number:g}, expected 0, 1, 2, ..."
            raise LensjaxError(ExitCode.DATA_INVALID, what)
        if not file:
            raise LensjaxError(ExitCode.DATA_INVALID, f"column {prefix}file is empty")
        return Place(file, int(number))


def read_index(filesystem: fsspec.AbstractFileSystem, path: str) -> Index:
    """The index at `path`, remembered as long as the file does not change.

    Raises LensjaxError: DATA_INVALID for what is no UTF-8 CSV text with a header and a column
    `file`, rows of one length, numbers in the columns of numbers and words of bounded length;
    REFUSED_INPUT beyond 50 MB, 262,144 rows or 256 columns, or with NUL bytes. OSError if the file
    cannot be read."""
    return _read(filesystem, path, filesystem.ukey(path))


@functools.lru_cache(maxsize=3)  # the splits
def _read(filesystem: fsspec.AbstractFileSystem, path: str, content: str) -> Index:
    del content  # tells a changed file from the one remembered
    raw = cast(bytes, filesystem.cat_file(path, start=0, end=MAX_BYTES + 1))
    names = _header(raw)
    try:
        table = pacsv.read_csv(
            pa.BufferReader(raw),
            pacsv.ReadOptions(use_threads=False, column_names=names, skip_rows=1),
            pacsv.ParseOptions(newlines_in_values=True),
            pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
    except pa.ArrowException as error:
        what = re.sub(r"Row #(\d+)", r"line \1", " ".join(str(error).split()))
        raise damaged(f"not a CSV text: {schema.printable(what[:200])}") from error
    if not table.num_rows:
        raise damaged("0 rows")
    texts = {name: table[name].combine_chunks() for name in _best(names)}
    numbers = {canonical(k): _numbers(k, x) for k, x in texts.items() if canonical(k) in _NUMBERS}
    words = {name: bounded(name, x) for name, x in texts.items() if name in _WORDS}
    unknown = tuple(name for name in names if canonical(name) not in KNOWN)
    has_control = np.zeros(table.num_rows, bool)
    if "control_file" in words:
        has_control |= as_text(words["control_file"]) != ""
    if "control_row" in numbers:
        has_control |= ~np.isnan(numbers["control_row"])
    return Index(table.num_rows, numbers, words, unknown, has_control)


def _header(raw: bytes) -> list[str]:
    """The names of the columns; all bounds that can be told before parsing are checked."""
    if b"\0" in raw:
        raise refused("holds NUL bytes")
    if len(raw) > MAX_BYTES:
        raise refused(f"larger than {MAX_BYTES:,} bytes")
    lines = max(raw.count(b"\n"), raw.count(b"\r"))
    if lines > MAX_ROWS + 1:
        raise refused(f"{lines:,} lines, at most {MAX_ROWS:,} expected")
    line = raw[:_MAX_HEADER_BYTES].split(b"\n", 1)[0].split(b"\r", 1)[0]
    if line.count(b",") >= MAX_COLUMNS or len(line) == _MAX_HEADER_BYTES:
        raise refused(f"more than {MAX_COLUMNS} columns")
    try:
        names = [name.strip() for name in next(csv.reader([line.decode("utf-8-sig")]), [])]
    except (UnicodeDecodeError, csv.Error) as error:
        raise damaged(f"not a CSV text ({error})") from error
    if "file" not in names or len(set(names)) < len(names):
        what = "a column is named twice" if "file" in names else "column 'file' is missing"
        raise damaged(f"{what}, has {names}" if raw else "truncated (0 bytes)")
    return names


def _best(names: list[str]) -> list[str]:
    """`names` without those that stand beside the better name of the same thing."""
    return [name for name in names if canonical(name) == name or canonical(name) not in names]


def _numbers(name: str, texts: pa.StringArray) -> np.ndarray:
    """float64 [rows]; NaN where empty. Raises LensjaxError naming the first row that holds no
    number."""
    values = np.full(len(texts), np.nan)
    for row, text in enumerate(texts.to_pylist()):
        if text := text.strip():
            try:
                values[row] = float(text)
            except ValueError as error:
                what = f"column {name!r} is {text[:40]!r}, expected a number"
                raise LensjaxError(ExitCode.DATA_INVALID, what, f"row {row}") from error
    return values
