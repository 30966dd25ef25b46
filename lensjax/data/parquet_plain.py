"""Is a Parquet file plain, and as large as it says? Asked of its bytes, before pyarrow reads it.

Not a reader, and for files that lensjax itself writes: nothing compressed, nothing encrypted, a
checksum on every page, numbers and words stored as such or by a dictionary. pyarrow takes sizes
from headers and fetches that much memory first, and ends the process (abort, not an exception)
where it is asked about a column whose footer contradicts itself. Parquet format 2.11
(github.com/apache/parquet-format); Thrift's compact protocol.

    >>> with open("split.parquet", "rb") as handle:
    ...     check_plain(handle, read_footer(handle))
"""

from __future__ import annotations

import os
import struct
from typing import Any, BinaryIO

from lensjax.schema import ExitCode, LensjaxError

MAX_FOOTER_BYTES = 2**22  # a thousand row groups of ten columns
MAX_PAGE_BYTES = 2**26
_HEADER_BYTES = 2**12  # of a page: sizes, counts, and no smallest or largest word
_MAGIC = b"PAR1"
_DATA, _DICTIONARY = 0, 2  # types of page, and the field that describes each
_ABOUT = {_DATA: 5, _DICTIONARY: 7}
_ENCODINGS = {0, 2, 3, 4, 8}  # PLAIN, PLAIN_DICTIONARY, RLE, BIT_PACKED, RLE_DICTIONARY
_MAX_DEPTH = 8

Fields = dict[int, Any]  # of a Thrift struct, by id


def read_footer(handle: BinaryIO) -> Fields:
    """The footer of a Parquet file, not yet believed. Raises LensjaxError: DATA_INVALID for what is
    no whole Parquet file, REFUSED_INPUT for a very large footer. OSError if it cannot be read."""
    size = handle.seek(0, os.SEEK_END)
    handle.seek(max(0, size - 8))
    length, magic = struct.unpack("<I4s", handle.read(8).rjust(8, b"\0"))
    if magic != _MAGIC or length + 12 > size:
        raise _damaged(f"truncated, or no Parquet file ({size} bytes)")
    if length > MAX_FOOTER_BYTES:
        raise _refused(f"a footer of {length} bytes, at most {MAX_FOOTER_BYTES} are read")
    handle.seek(size - 8 - length)
    try:
        return read_struct(handle.read(length))[0]
    except (IndexError, ValueError) as error:
        raise _damaged(f"its footer is damaged ({error})") from error


def metadata_keys(footer: Fields) -> set[bytes]:
    """The keys of the file's own metadata."""
    listed = footer.get(5)
    entries = [entry for entry in listed if type(entry) is dict] if type(listed) is list else []
    return {key for entry in entries if type(key := entry.get(1)) is bytes}


def column_names(footer: Fields) -> list[str]:
    """The names of the columns, below the schema's root; of nested ones, of all parts."""
    listed = footer.get(2)
    entries = [entry for entry in listed if type(entry) is dict] if type(listed) is list else []
    names = [entry.get(4) for entry in entries[1:]]
    return [name.decode("utf-8", "replace") if type(name) is bytes else "" for name in names]


def check_plain(handle: BinaryIO, footer: Fields) -> None:
    """Raises LensjaxError: DATA_INVALID for a footer or a page header that contradicts itself,
    REFUSED_INPUT for a file that is not plain or whose sizes are not true. OSError if it cannot be
    read."""
    size = handle.seek(0, os.SEEK_END)
    try:
        for group in footer[4]:
            for chunk in group[1]:
                _check_chunk(handle, size, chunk, group[3])
    except (IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(f"damaged ({type(error).__name__})") from error


def _check_chunk(handle: BinaryIO, size: int, chunk: Fields, rows: int) -> None:
    """The pages of one column of one row group: in the file, plain, of so many rows."""
    told = chunk[3]
    name = b".".join(told[3]).decode("utf-8", "replace")
    if 1 in chunk or 8 in chunk or 9 in chunk:
        raise _refused(f"column {name} is in another file, or encrypted")
    if told[4] != 0 or told[6] != told[7]:
        raise _refused(f"column {name} is compressed")
    at = told.get(11) or told[9]
    end = at + told[7]
    if not 4 <= at <= end <= size:
        raise _refused(f"column {name} is said to be in bytes {at} to {end} of {size}")
    if told[5] != rows:
        raise _refused(f"column {name} has {told[5]} values in {rows} rows")
    values = 0
    while values < rows:
        handle.seek(at)
        header, length = read_struct(handle.read(min(_HEADER_BYTES, end - at)))
        about, at = header[_ABOUT[header[1]]], at + length + header[3]
        if header[2] != header[3] or not 0 <= header[3] <= MAX_PAGE_BYTES or at > end:
            raise _refused(f"column {name}: a page claims {header[2]} bytes")
        if 4 not in header or about[2] not in _ENCODINGS or about[1] < 0:
            raise _refused(f"column {name}: a page without a checksum, or in an encoding unread")
        values += about[1] if header[1] == _DATA else 0
    if values != rows:
        raise _refused(f"column {name} has pages of {values} values in {rows} rows")


def _damaged(what: str) -> LensjaxError:
    return LensjaxError(ExitCode.DATA_INVALID, what)


def _refused(what: str) -> LensjaxError:
    return LensjaxError(ExitCode.REFUSED_INPUT, what)


# -- Thrift's compact protocol ------------------------------------------------------------------

_I16 = 4  # one of the kinds of value


def read_struct(data: bytes, at: int = 0, depth: int = 0) -> tuple[Fields, int]:
    """The fields of the struct at byte `at`, and the byte after it: integers, bytes, lists, structs
    (booleans as integers, doubles as bytes). Raises IndexError where `data` ends before, and
    ValueError for what no struct has."""
    if depth > _MAX_DEPTH:
        raise ValueError("structs within structs")
    fields: Fields = {}
    number = 0
    while head := data[at]:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _value(data, at, _I16, depth)
        if number in fields:  # pyarrow would take the last
            raise ValueError("a field twice")
        kind = head & 15
        if kind in (1, 2):  # a boolean is in its kind
            fields[number] = 2 - kind
        else:
            fields[number], at = _value(data, at, kind, depth)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (1, 2, 3):  # one byte; booleans in lists are such
        return data[at], at + 1
    if kind in (_I16, 5, 6):
        value, at = _varint(data, at)
        return (value >> 1) ^ -(value & 1), at
    if kind in (7, 8):
        length, at = (8, at) if kind == 7 else _varint(data, at)
        if at + length > len(data):
            raise IndexError("bytes beyond the end")
        return data[at : at + length], at + length
    if kind in (9, 10):
        count, inner = data[at] >> 4, data[at] & 15
        at += 1
        if count == 15:
            count, at = _varint(data, at)
        values = []
        for _ in range(count):  # each takes a byte at least: IndexError ends a false count
            value, at = _value(data, at, inner, depth + 1)
            values.append(value)
        return values, at
    if kind == 12:
        return read_struct(data, at, depth + 1)
    raise ValueError(f"a field of type {kind}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for k in range(10):
        value |= (data[at + k] & 127) << 7 * k
        if data[at + k] < 128:
            return value, at + k + 1
    raise ValueError("a number beyond 64 bits")
