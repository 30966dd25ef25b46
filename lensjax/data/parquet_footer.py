"""The footer of a stranger's Parquet file, read within bounds: rows, row groups, where pages lie.

Not pyarrow's metadata, whose objects end the whole process for a footer that is only odd (an
unknown codec, a histogram of another length: pyarrow 26 lets the C++ exception through), and need
230 times the footer's size. What is read here is what the checks of `parquet_pages` need; pyarrow
reads the file after that. Parquet format 2.11 (github.com/apache/parquet-format), in Thrift's
compact protocol.

    >>> with filesystem.open(path, "rb") as handle:
    ...     footer = read_footer(handle)
    >>> footer.rows, footer.groups[0].chunks[0].name
    (500, 'task_id')
"""

from __future__ import annotations

import os
from typing import Any, BinaryIO, NamedTuple

from lensjax.data.npz import damaged, refused
from lensjax.schema import ExitCode, LensjaxError

MAX_FOOTER_BYTES = 3 * 2**19  # 800 row groups of 17 columns
MAX_LIST = 2**13  # entries of one list in a footer: columns, or row groups
ROW_BYTES = 4  # a file holds no more rows than this many bytes each: ra and dec are 14, packed


class Chunk(NamedTuple):
    """One column of one row group: `name` of its top level, `kind` (Parquet's Type), `flat` (no
    lists), `codec`, number of `values`, and in which bytes its pages are said to be."""

    name: str
    kind: int
    flat: bool
    codec: int
    values: int
    start: int
    end: int


class Group(NamedTuple):
    """A row group."""

    rows: int
    chunks: tuple[Chunk, ...]


class Footer(NamedTuple):
    """What a footer says; `size` is that of the file in bytes."""

    rows: int
    groups: tuple[Group, ...]
    size: int


def read_footer(handle: BinaryIO) -> Footer:
    """The footer of a Parquet file.

    Raises LensjaxError: DATA_INVALID for a file that is not Parquet, truncated or damaged;
    REFUSED_INPUT for a footer beyond 1.5 MiB, for more rows than the file's bytes explain, and for
    columns in other files. OSError if the file cannot be read."""
    size = handle.seek(0, os.SEEK_END)
    handle.seek(max(0, size - 8))
    tail = handle.read(8)
    if len(tail) < 8 or tail[4:] != b"PAR1":
        handle.seek(0)
        if size and handle.read(4) != b"PAR1":
            raise damaged("not a Parquet file")
        raise damaged(f"truncated ({size} bytes{', no footer' if size else ''})")
    length = int.from_bytes(tail[:4], "little")
    if length + 8 > size:
        raise damaged(f"damaged footer: it claims {length} bytes of a file of {size}")
    if length > MAX_FOOTER_BYTES:
        what = f"a footer of {length} bytes, at most {MAX_FOOTER_BYTES} are read"
        raise LensjaxError(
            ExitCode.REFUSED_INPUT, f"{what}: write larger row groups, or more files"
        )
    handle.seek(size - 8 - length)
    try:
        fields, _ = struct(handle.read(length), 0, ())
    except IndexError as error:
        raise damaged("damaged footer: it ends too soon") from error
    return _footer(fields, size)


def check_rows(footer: Footer, row_bytes: int) -> None:
    """Raises LensjaxError (REFUSED_INPUT) for more rows than the file holds of `row_bytes` each."""
    if footer.rows * row_bytes > footer.size:
        raise refused(f"claims {footer.rows} rows in {footer.size} bytes")


def _footer(fields: Fields, size: int) -> Footer:
    leaves = _leaves(_needed(fields, 2, LIST))
    groups = []
    for group in _needed(fields, 4, LIST):
        chunks = _needed(group, 1, LIST)
        if len(chunks) != len(leaves):
            raise damaged(f"damaged footer: {len(chunks)} columns, its schema has {len(leaves)}")
        rows = _needed(group, 3, I64)
        groups.append(
            Group(rows, tuple(_chunk(x, *leaf) for x, leaf in zip(chunks, leaves, strict=True)))
        )
    found = Footer(_needed(fields, 3, I64), tuple(groups), size)
    rows = [group.rows for group in groups]
    if min(rows, default=0) < 0 or sum(rows) != found.rows:
        raise damaged(f"its row groups do not hold the {found.rows} rows that it claims")
    check_rows(found, ROW_BYTES)
    return found


def _chunk(fields: Fields, name: str, kind: int, flat: bool) -> Chunk:
    if 1 in fields or 8 in fields:  # file_path, crypto_metadata
        raise refused(f"column {name!r} is said to be in another file, or encrypted")
    told = _needed(fields, 3, STRUCT)
    start, dictionary = _needed(told, 9, I64), _value(told, 11, I64)
    if dictionary is not None and 0 < dictionary < start:  # as pyarrow finds the first page
        start = dictionary
    end = start + _needed(told, 7, I64)
    return Chunk(name, kind, flat, _needed(told, 4, I32), _needed(told, 5, I64), start, end)


def _leaves(elements: list[Fields]) -> list[tuple[str, int, bool]]:
    """Name of the top level, type, and whether no list is on the way, of the columns in order."""
    found: list[tuple[str, int, bool]] = []
    open_groups = [[1, "", True]]  # children still to come, name, flat; the root is not one
    for k, element in enumerate(elements):
        while open_groups and not open_groups[-1][0]:
            open_groups.pop()
        if not open_groups:
            raise damaged("damaged footer: its schema has more than one root")
        parent = open_groups[-1]
        parent[0] -= 1
        name = parent[1] or (_text(_needed(element, 4, BINARY)) if k else "")
        flat = bool(parent[2]) and _value(element, 3, I32) != _REPEATED
        children, kind = _value(element, 5, I32), _value(element, 1, I32)
        if kind is not None and not children:
            found.append((name, kind, flat))
        elif children is None or not 0 < children <= MAX_LIST:
            raise damaged(f"damaged footer: a group of {children} columns")
        else:
            open_groups.append([children, name, flat])
    if any(group[0] for group in open_groups):
        raise damaged("damaged footer: its schema ends too soon")
    return found


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


_REPEATED = 2

# -- Thrift's compact protocol ------------------------------------------------------------------

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
Fields = dict[int, tuple[int, Any]]  # kind and value by id
MAX_DEPTH = 12
# What the entries of a list must be: pyarrow does not ask, and would read something else.
_ENTRIES = {
    **{(2,): STRUCT, (4,): STRUCT, (5,): STRUCT, (7,): STRUCT, (4, 1): STRUCT, (4, 4): STRUCT},
    **{(4, 1, 3, 2): I32, (4, 1, 3, 3): BINARY, (4, 1, 3, 8): STRUCT, (4, 1, 3, 13): STRUCT},
    **{(4, 1, 3, 16, 2): I64, (4, 1, 3, 16, 3): I64, (4, 1, 3, 17, 2): I32},
}


def struct(data: bytes, at: int, path: tuple[int, ...]) -> tuple[Fields, int]:
    """The fields of the struct at byte `at`, and the byte after it; `path` is how it was come to,
    () for a footer. Raises LensjaxError (DATA_INVALID), IndexError where `data` ends before."""
    if len(path) > MAX_DEPTH:
        raise damaged("a damaged header: too deep")
    fields: Fields = {}
    number = 0
    while head := data[at]:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _integer(data, at, 16)
        if number in fields:  # pyarrow takes the last
            raise damaged(f"a damaged header: field {number} is there twice")
        kind = head & 15
        value, at = _read(data, at, kind, (*path, number))
        fields[number] = kind, value
    return fields, at + 1


def _read(data: bytes, at: int, kind: int, path: tuple[int, ...]) -> tuple[Any, int]:
    if kind in _BITS:
        return _integer(data, at, _BITS[kind])
    if kind == BINARY:
        length, at = _varint(data, at, 32)
        if at + length > len(data):
            raise IndexError
        return data[at : at + length], at + length
    if kind == STRUCT:
        return struct(data, at, path)
    if kind == LIST:
        return _list(data, at, path)
    if kind in (TRUE, FALSE):
        return kind == TRUE, at
    if kind in (BYTE, DOUBLE):
        return None, at + (1 if kind == BYTE else 8)
    raise damaged(f"a damaged header: a field of type {kind}")


def _list(data: bytes, at: int, path: tuple[int, ...]) -> tuple[list[Any], int]:
    kind, count, at = data[at] & 15, data[at] >> 4, at + 1
    if count == 15:
        count, at = _varint(data, at, 32)
    if count > MAX_LIST or kind != _ENTRIES.get(path, kind):
        raise damaged(f"a damaged header: a list of {count} entries of type {kind}")
    entries = []
    for _ in range(count):
        if kind in (TRUE, FALSE):  # in a list a byte each
            value, at = data[at], at + 1
        else:
            value, at = _read(data, at, kind, path)
        entries.append(value)
    return entries, at


_BITS = {I16: 16, I32: 32, I64: 64}


def _integer(data: bytes, at: int, bits: int) -> tuple[int, int]:
    value, at = _varint(data, at, bits)
    return (value >> 1) ^ -(value & 1), at


def _varint(data: bytes, at: int, bits: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte, at = data[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
        if shift > bits:
            raise damaged("a damaged header: a number too long")
    if value >> bits:
        raise damaged("a damaged header: a number too large")
    return value, at


def _value(fields: Fields, number: int, kind: int) -> Any:
    """The value of a field of this kind; None without (of another kind, pyarrow passes over it)."""
    found, value = fields.get(number, (kind, None))
    return value if found == kind else None


def _needed(fields: Fields, number: int, kind: int) -> Any:
    value = _value(fields, number, kind)
    if value is None:
        raise damaged(f"a damaged header: no field {number}")
    return value
