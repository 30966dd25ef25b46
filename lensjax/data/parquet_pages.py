"""The pages of a stranger's Parquet file: the sizes they claim, checked before pyarrow reads them.

Not a reader. pyarrow takes the size of a page from the page's header and fetches that much memory
first: one flipped bit asks for 2 GiB, and a few hundred bytes of zstd or brotli, or one word that a
dictionary repeats, truly need it. Here the header of every page that will be read is held against
the file; headers are a few bytes a megabyte, and only they are read.

    >>> check_pages(handle, read_footer(handle), [0], ["stamp_npz"])
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import BinaryIO, NamedTuple

import pyarrow as pa

from lensjax.data.npz import damaged, refused
from lensjax.data.parquet_footer import I32, STRUCT, Chunk, Fields, Footer, struct
from lensjax.schema import ExitCode, LensjaxError

MAX_PAGE_BYTES = 2**27  # 1,024 rows, which is how many pyarrow may put into one, of 128 KiB
MAX_HEADER_BYTES = 2**16  # of a page; smallest and largest value are in it
SMALL_BYTES = 3 * 2**19  # pages of up to this size may be packed by any factor: 1 MiB is usual
MAX_VALUE_BYTES = 2**18  # of a word in a dictionary, which every row of a batch may repeat
MAX_FACTOR = 16  # by which larger pages of words and stamps unpack; stamps hardly pack at all
_MAX_LEAVES = 16 * 3 * 64 * 64  # of a row: numbers of a list that may still be a stamp
_HEAD_BYTES = 512  # most page headers are smaller
_OF_A_PAGE = -1  # no path of a footer
_BOOLEAN, _INT32, _INT64, _INT96, _FLOAT, _DOUBLE, _BYTE_ARRAY = range(7)
_WIDTHS = {_BOOLEAN: 1, _INT32: 4, _INT64: 8, _INT96: 12, _FLOAT: 4, _DOUBLE: 8}  # bytes
_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3  # types of page
_HEADERS = {_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}  # the field that describes it
_ENCODINGS = {
    **{0: "PLAIN", 2: "PLAIN_DICTIONARY", 3: "RLE", 4: "BIT_PACKED", 5: "DELTA_BINARY_PACKED"},
    **{6: "DELTA_LENGTH_BYTE_ARRAY", 8: "RLE_DICTIONARY", 9: "BYTE_STREAM_SPLIT"},
}  # not DELTA_BYTE_ARRAY: a few bytes repeat a word of any length
_CODECS = {1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}
_PLAIN = 0


class _Page(NamedTuple):
    kind: int
    packed: int
    plain: int
    values: int
    encoding: int
    begin: int  # byte of the file where the packed page begins


def check_pages(
    handle: BinaryIO, footer: Footer, groups: Iterable[int], columns: Collection[str]
) -> None:
    """Walks the page headers of `columns` (of the top level) in the row groups `groups`.

    Raises LensjaxError naming row group and column: REFUSED_INPUT for sizes that are not true or
    would need more memory than the file explains, DATA_INVALID for damaged headers and for an
    encoding that is not read. OSError if the file cannot be read."""
    for k in groups:
        for chunk in footer.groups[k].chunks:
            if chunk.name in columns:
                try:
                    _check_chunk(handle, chunk, footer.groups[k].rows, footer.size)
                except LensjaxError as error:
                    where = f"column {chunk.name!r} of row group {k}"
                    raise LensjaxError(error.code, f"{where}: {error.what}") from error


def _check_chunk(handle: BinaryIO, chunk: Chunk, rows: int, size: int) -> None:
    """One column of one row group of a file of `size` bytes."""
    if chunk.values < rows or (chunk.flat and chunk.values != rows):
        raise damaged(f"{chunk.values} values in {rows} rows")
    if chunk.values > rows * _MAX_LEAVES:
        raise refused(f"{chunk.values} values in {rows} rows")
    if chunk.values and not 4 <= chunk.start <= chunk.end <= size:
        raise refused(f"its pages are said to be in bytes {chunk.start} to {chunk.end} of {size}")
    values, at = 0, chunk.start
    while values < chunk.values:
        page = _page(handle, at, chunk.end)
        _check_page(page, chunk)
        if page.kind == _DICTIONARY and chunk.kind == _BYTE_ARRAY:
            _check_dictionary(handle, page, chunk.codec)
        values += page.values if page.kind != _DICTIONARY else 0
        at = page.begin + page.packed
    if values > chunk.values:
        raise refused(f"its pages hold {values} values, not {chunk.values}")


def _page(handle: BinaryIO, at: int, end: int) -> _Page:
    """The page whose header begins at byte `at`; its chunk ends at byte `end`."""
    for count in (_HEAD_BYTES, MAX_HEADER_BYTES):
        handle.seek(at)
        head = handle.read(min(count, end - at))
        try:
            fields, length = struct(head, 0, (_OF_A_PAGE,))
            break
        except IndexError:
            continue
    else:
        raise damaged(f"a page header that does not end (byte {at})")
    kind, plain, packed = (_number(fields, k) for k in (1, 2, 3))
    about = [k for k in fields if k in _HEADERS.values()]
    if about != [_HEADERS.get(kind)] or fields[about[0]][0] != STRUCT:
        raise damaged(f"a damaged page header (byte {at})")
    told = fields[about[0]][1]
    values, encoding = _number(told, 1), _number(told, 4 if kind == _DATA_V2 else 2)
    page = _Page(kind, packed, plain, values, encoding, at + length)
    if min(page) < 0 or page.begin + packed > end:
        raise refused(f"a page claims {packed} bytes of {end - page.begin} (byte {at})")
    return page


def _number(fields: Fields, k: int) -> int:
    kind, value = fields.get(k, (0, None))
    if kind != I32 or value is None:
        raise damaged("a damaged page header")
    return value


def _check_page(page: _Page, chunk: Chunk) -> None:
    """A page unpacks to no more than its own size explains."""
    if page.encoding not in _ENCODINGS:
        what = f"encoding {page.encoding} is not read, expected {', '.join(_ENCODINGS.values())}"
        raise LensjaxError(ExitCode.DATA_INVALID, what)
    if page.plain > MAX_PAGE_BYTES:
        if page.packed * MAX_FACTOR >= page.plain:
            what = f"a page of {page.plain} bytes, at most {MAX_PAGE_BYTES} are read"
            raise LensjaxError(ExitCode.DATA_INVALID, f"{what} (pyarrow: write_batch_size=64)")
        raise refused(f"a page of {page.packed} bytes claims to unpack to {page.plain}")
    width = _WIDTHS.get(chunk.kind)
    if width is not None and chunk.flat:  # numbers: no more than there are rows
        if page.plain > SMALL_BYTES and page.plain > 2 * width * page.values:
            raise refused(f"a page of {page.values} numbers claims {page.plain} bytes")
        return
    if page.plain > max(SMALL_BYTES, MAX_FACTOR * page.packed):
        raise refused(f"a page of {page.packed} bytes claims to unpack to {page.plain}")
    if width is not None and width * page.values > max(SMALL_BYTES, MAX_FACTOR * page.plain):
        raise refused(f"a page of {page.plain} bytes claims {page.values} numbers")


def _check_dictionary(handle: BinaryIO, page: _Page, codec: int) -> None:
    """No value of a dictionary is so long that a few rows of it fill the memory."""
    if page.plain <= MAX_VALUE_BYTES:
        return
    handle.seek(page.begin)
    data = handle.read(page.packed)
    if codec != _PLAIN:
        if codec not in _CODECS:
            raise LensjaxError(ExitCode.DATA_INVALID, f"codec {codec} is not read")
        try:
            data = pa.Codec(_CODECS[codec]).decompress(data, decompressed_size=page.plain)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise damaged(f"its dictionary cannot be unpacked ({error})") from error
    view, at = memoryview(data).cast("B"), 0
    for _ in range(page.values):
        length = int.from_bytes(view[at : at + 4], "little")
        at += 4 + length
        if length > MAX_VALUE_BYTES or at > len(view):
            raise refused(f"its dictionary has a value of {length} bytes")
