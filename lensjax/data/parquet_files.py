"""The Parquet files of a data root: which there are, whether they are whole, what they hold.

Not the rows: `parquet` reads those. A root has the folders train, val and test, each with *.parquet
files and nothing else that matters.

    >>> shards, findings = list_split(filesystem, root, "train")
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import math
from collections.abc import Collection, Iterable, Iterator
from typing import BinaryIO, cast

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from lensjax import schema
from lensjax.data.formats import Shard, finding, one_line, unreadable
from lensjax.data.listing import list_files
from lensjax.data.npz import is_pickle, refused
from lensjax.data.parquet_footer import (
    MAX_FOOTER_BYTES,
    MAX_LIST,
    Footer,
    check_rows,
    read_footer,
)
from lensjax.data.parquet_pages import check_pages
from lensjax.data.rows import BAND_SET
from lensjax.data.stampset import Finding
from lensjax.schema import ExitCode, LensjaxError

SUFFIXES = (".parquet",)
STAMP_COLUMNS = ("stamp_npz", "ctrl_stamp_npz")  # the stamp, and its control
PSF_COLUMNS = ("psf_fwhm_arcsec", "psf_fwhm_used_r")  # either; the first that is there
DEPTH_COLUMN = "psfdepth_r"
SHAPE_KEY = b"stamp_shape"  # file metadata: what raw bytes and flat lists are, as "3,64,64"
RAW_SHAPES = {"3,64,64": (3, 64, 64), "64,64,3": (64, 64, 3)}
_BAND_METADATA = (b"bands", b"bandset", b"band_order")
_BUFFER_BYTES = 2**20  # streams pages: a row group of many GB is never in memory at once
_HEADER_BLOCK_BYTES = 2**14  # of a remote file, fetched for each page header
_STAMP_ROW_BYTES = 400  # a file with stamps holds no more rows: noise packs to 3 kB and more
_MAX_WORD = 255  # characters


def list_split(
    filesystem: fsspec.AbstractFileSystem, root: str, split: str
) -> tuple[list[Shard], list[Finding]]:
    """As listing.list_files, of *.parquet."""
    return list_files(
        filesystem,
        root,
        split,
        SUFFIXES,
        lambda path, name: _inspect(filesystem, path, name, split),
    )


def footer_of(filesystem: fsspec.AbstractFileSystem, path: str) -> Footer:
    """The footer of the file at `path`, remembered while the file does not change. Raises as
    `read_footer`."""
    return _footer_of(filesystem, path, filesystem.ukey(path))


@functools.lru_cache(maxsize=8)
def _footer_of(filesystem: fsspec.AbstractFileSystem, path: str, content: str) -> Footer:
    del content  # tells a changed file from the one remembered
    with filesystem.open(path, "rb") as handle:
        return read_footer(cast(BinaryIO, handle))


@contextlib.contextmanager
def open_shard(
    filesystem: fsspec.AbstractFileSystem, path: str, words: Collection[str] = ()
) -> Iterator[pq.ParquetFile]:
    """The Parquet file at `path`, read in pages, page checksums verified where written; columns of
    `words` as dictionaries. Its footer is checked, its pages are not: see `check_columns`. Of its
    metadata, `row_group(k).column(j)` must not be asked for: see `parquet_footer`.

    Raises LensjaxError as `footer_of`; pyarrow's errors, OSError and ValueError for what pyarrow
    finds wrong with the footer."""
    footer_of(filesystem, path)
    local = isinstance(filesystem, LocalFileSystem)
    with contextlib.ExitStack() as stack:
        handle = path if local else stack.enter_context(filesystem.open(path, "rb"))
        yield stack.enter_context(
            pq.ParquetFile(  # not mapped: pages of a large file would count as our memory
                handle,
                read_dictionary=list(words),
                buffer_size=_BUFFER_BYTES,
                pre_buffer=False,  # the default reads a whole row group ahead
                thrift_string_size_limit=MAX_FOOTER_BYTES,
                thrift_container_size_limit=MAX_LIST,
                page_checksum_verification=True,
                arrow_extensions_enabled=False,
            )
        )


def check_columns(
    filesystem: fsspec.AbstractFileSystem,
    path: str,
    groups: Iterable[int],
    columns: Collection[str],
) -> None:
    """Raises LensjaxError as `check_pages` does, which see: before pages are read."""
    footer = footer_of(filesystem, path)
    options = {} if isinstance(filesystem, LocalFileSystem) else {"block_size": _HEADER_BLOCK_BYTES}
    with filesystem.open(path, "rb", **options) as handle:
        check_pages(cast(BinaryIO, handle), footer, groups, columns)


def read_table(
    filesystem: fsspec.AbstractFileSystem,
    path: str,
    numbers: Collection[str],
    words: Collection[str],
) -> pa.Table:
    """Those of the columns `numbers` and `words` that the file has, whole.

    Raises LensjaxError, `where` naming a row: DATA_INVALID for a column that is there twice or of
    another kind and for words beyond 255 characters; and as `open_shard` and `check_columns`."""
    with open_shard(filesystem, path) as file:
        kinds = file.schema_arrow
        names = [name for name in kinds.names if name in (*numbers, *words)]
        for name in names:
            if names.count(name) > 1:
                raise LensjaxError(ExitCode.DATA_INVALID, f"column {name!r} is there twice")
            kind = kinds.field(name).type
            test, expected = (_is_number, "numbers") if name in numbers else (_is_word, "text")
            if not test(kind):
                what = f"column {name!r} is {_short(kind)}, expected {expected}"
                raise LensjaxError(ExitCode.DATA_INVALID, what)
        check_columns(filesystem, path, range(file.num_row_groups), names)
    text = [name for name in names if name in words and _is_text(kinds.field(name).type)]
    with open_shard(filesystem, path, text) as file:
        table = file.read(columns=names, use_threads=False)
        if table.num_rows != file.metadata.num_rows:
            what = f"holds {table.num_rows} rows, and claims {file.metadata.num_rows}"
            raise LensjaxError(ExitCode.DATA_INVALID, what)
    for k, name in enumerate(names):
        if pa.types.is_dictionary(table[name].type):
            table = table.set_column(k, name, _plain_words(table[name], name))
    return table


def _plain_words(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """A column of dictionaries as plain text, no longer than text of rows is."""
    first, parts = 0, []
    for part in column.chunks:
        words = part.dictionary.to_pylist()
        long = [k for k, word in enumerate(words) if len(word or "") > _MAX_WORD]
        rows = np.flatnonzero(np.isin(part.indices.to_numpy(zero_copy_only=False), long))
        if len(rows):
            what = f"column {name!r} is longer than {_MAX_WORD} characters"
            raise LensjaxError(ExitCode.DATA_INVALID, what, f"row {first + rows[0]}")
        parts.append(part.dictionary_decode())
        first += len(part)
    return pa.chunked_array(parts, column.type.value_type)


def _is_number(kind: pa.DataType) -> bool:
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null)
    return any(test(kind) for test in tests)


def _is_word(kind: pa.DataType) -> bool:
    return _is_text(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _inspect(
    filesystem: fsspec.AbstractFileSystem, path: str, name: str, split: str
) -> Shard | Finding:
    """The shard at `path`, or the first thing wrong with it, judged by its footer."""
    try:
        with open_shard(filesystem, path) as file:
            columns, rows = file.schema_arrow, file.metadata.num_rows
            metadata = file.metadata.metadata or {}
            check_rows(footer_of(filesystem, path), _STAMP_ROW_BYTES)
            _refuse_pickles(columns, metadata)
    except LensjaxError as error:
        return finding(error.what, name, code=error.code)
    except (pa.ArrowException, ValueError) as error:
        return finding(f"damaged footer: {one_line(error)}", name)
    except OSError as error:  # pyarrow's word for a damaged footer too
        if error.strerror:
            return unreadable(error, name)
        return finding(f"damaged footer: {one_line(error)}", name)
    if not rows:
        return finding("0 rows", name)
    if message := _schema_fault(columns, metadata):
        return finding(message, name)
    return Shard(path, name, split, rows, _words_of_schema(columns.names))


def _refuse_pickles(columns: pa.Schema, metadata: dict[bytes, bytes]) -> None:
    """Raises LensjaxError (REFUSED_INPUT) for a pickle in the metadata of the file or of a column,
    and for a column of the type that pyarrow before 14.0.1 unpickled when it opened the file
    (CVE-2023-47248)."""
    places = {"the file": metadata, **{f"column {one.name!r}": one.metadata for one in columns}}
    for place, found in places.items():
        for key, value in (found or {}).items():
            if is_pickle(value) or value == b"arrow.py_extension_type":
                name = key.decode("utf-8", "replace")[:100]
                raise refused(f"metadata {name!r} of {place} is a pickle")


def _words_of_schema(names: list[str]) -> tuple[str, ...]:
    """The columns of a file under the names of formats.NUMBERS and WORDS."""
    given = {DEPTH_COLUMN: "psf_depth", **dict.fromkeys(PSF_COLUMNS, "psf_fwhm_arcsec")}
    return tuple(dict.fromkeys(given.get(name, name) for name in names))


def _schema_fault(columns: pa.Schema, metadata: dict[bytes, bytes]) -> str:
    """What makes a file unreadable, in words; empty if nothing does."""
    for name in STAMP_COLUMNS:
        if name not in columns.names:
            return f"column {name!r} is missing{_nearest(name, columns.names)}"
        if columns.names.count(name) > 1:
            return f"column {name!r} is there twice"
        if message := _stamp_type_fault(name, columns.field(name).type, metadata):
            return message
    for key in _BAND_METADATA:
        if key in metadata:
            given = "".join(c for c in metadata[key].decode("utf-8", "replace") if c.isalnum())
            if given.lower() != BAND_SET:
                return f"band-order mismatch: metadata {key.decode()} is {given!r}, " + (
                    f"expected {BAND_SET!r}"
                )
    return ""


def _stamp_type_fault(name: str, kind: pa.DataType, metadata: dict[bytes, bytes]) -> str:
    """A column of stamps is binary (npz), or plain: bytes of one fixed size or lists of float32,
    nested as the bands, rows and columns are, or flat with the shape in the file's metadata."""
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return ""
    size = 4 * math.prod(schema.STAMP_SHAPE)
    depth, inner = 0, kind
    while is_list(inner):
        depth, inner = depth + 1, inner.value_type
    if pa.types.is_fixed_size_binary(kind):
        if kind.byte_width != size:
            return f"column {name!r} is {kind}, expected {size} bytes (float32 of 3 x 64 x 64)"
    elif depth not in (1, 3) or inner != pa.float32():
        return (
            f"column {name!r} is {kind}, expected binary (the bytes of an npz), {size} raw bytes, "
            "or lists of float32, flat or nested three deep"
        )
    given = metadata.get(SHAPE_KEY, b"").decode("utf-8", "replace").replace(" ", "")
    if depth != 3 and given not in RAW_SHAPES:
        told = f"is {given!r}" if given else "is not there"
        return (
            f"column {name!r} is plain and the file's metadata {SHAPE_KEY.decode()} {told}: "
            f"expected {' or '.join(RAW_SHAPES)}"
        )
    return ""


def is_list(kind: pa.DataType) -> bool:
    """Any of Arrow's three kinds of list."""
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(test(kind) for test in tests)


def _nearest(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
    return f" (nearest: {near[0]!r})" if near else ""


def _short(kind: pa.DataType) -> str:
    return str(kind)[:100]
