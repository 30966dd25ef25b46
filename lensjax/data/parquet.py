"""The Parquet format: ROOT/{train,val,test}/*.parquet, a row a stamp with its control.

Not a sampler: a piece is a few row groups, and every row of it is decoded and validated. Pages are
streamed, page checksums verified where a file has them. Stamps are the bytes of an npz (or of a
gzip around one), plain bytes of a fixed size, or lists of float32.

    >>> form = ParquetFormat()
    >>> shards, findings = form.list_split(filesystem, root, "train")
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lensjax import schema
from lensjax.data import parquet_files
from lensjax.data.formats import (
    NUMBERS,
    WORDS,
    Block,
    OneFile,
    Shard,
    damage,
    finding,
    one_line,
    stamp_fault,
)
from lensjax.data.npz import damaged, read_npz
from lensjax.data.npz_layout import Layout, decode_alike, learn
from lensjax.data.parquet_files import DEPTH_COLUMN, PSF_COLUMNS, STAMP_COLUMNS
from lensjax.data.stamps import MEMBERS, decode_into, shape_fault, validate_planes
from lensjax.data.stampset import Finding
from lensjax.schema import ExitCode, LensjaxError

BATCH_ROWS = 64  # 128 stamps, 6 MB: what is decoded stays in the processor's cache
PIECE_ROWS = 1_024  # row groups are joined up to this many rows
MAX_LAYOUTS = 16  # of npz blobs, by size
_BANDS = len(schema.BANDS)
_NUMBERS = (*NUMBERS, DEPTH_COLUMN, *PSF_COLUMNS)
_WORDS = tuple(name for name in WORDS if name != "kind")


@dataclass(frozen=True)
class ParquetFormat(OneFile):
    """Format of *.parquet files."""

    name: ClassVar[str] = "parquet"
    endings: ClassVar[tuple[str, ...]] = parquet_files.SUFFIXES

    def list_split(
        self, filesystem: fsspec.AbstractFileSystem, root: str, split: str
    ) -> tuple[list[Shard], list[Finding]]:
        """As Format.list_split."""
        return parquet_files.list_split(filesystem, root, split)

    def metadata(
        self, filesystem: fsspec.AbstractFileSystem, shard: Shard
    ) -> tuple[dict[str, np.ndarray], list[Finding]]:
        """As Format.metadata; the columns of the stamps are not read."""
        try:
            table = parquet_files.read_table(filesystem, shard.path, _NUMBERS, _WORDS)
            return _columns(table, shard), []
        except LensjaxError as error:
            where = f"{shard.name} {error.where}".strip()
            return {}, [finding(error.what, where, code=error.code)]
        except (pa.ArrowException, OSError, ValueError) as error:
            return {}, [damage(error, 0, shard.name)]

    def pieces(self, filesystem: fsspec.AbstractFileSystem, shard: Shard) -> list[range]:
        """Row groups, small ones joined. One piece for a file whose footer cannot be read again:
        its blocks say so."""
        try:
            groups = parquet_files.footer_of(filesystem, shard.path).groups
        except (OSError, LensjaxError):
            return [range(shard.rows)]
        pieces, first, end = [], 0, 0
        for size in (group.rows for group in groups):
            if end > first and end - first + size > PIECE_ROWS:
                pieces.append(range(first, end))
                first = end
            end += size
        return [*pieces, range(first, end)]

    def blocks(
        self, filesystem: fsspec.AbstractFileSystem, shard: Shard, rows: range
    ) -> Iterator[Block]:
        """As Format.blocks. Raises OSError for damaged pages, LensjaxError for pages that are
        refused and for other rows than the footer says."""
        with _arrow_as_os_error(), parquet_files.open_shard(filesystem, shard.path) as file:
            groups, start = [], 0
            for k, group in enumerate(parquet_files.footer_of(filesystem, shard.path).groups):
                if rows.start <= start < rows.stop:
                    groups.append(k)
                start += group.rows
            parquet_files.check_columns(filesystem, shard.path, groups, STAMP_COLUMNS)
            shape = _shape(file)
            first = rows.start
            for batch in file.iter_batches(
                BATCH_ROWS, row_groups=groups, columns=list(STAMP_COLUMNS), use_threads=False
            ):
                if first + batch.num_rows > rows.stop:
                    raise damaged(f"holds more than the {rows.stop} rows that it claims")
                yield _decode(batch, shard, first, shape)
                first += batch.num_rows
            if first < rows.stop:
                raise damaged(f"truncated: it ends after row {first}")


@contextlib.contextmanager
def _arrow_as_os_error() -> Iterator[None]:
    """pyarrow's own errors are OSErrors to whoever reads blocks, and so does not need pyarrow."""
    try:
        yield
    except pa.ArrowException as error:
        raise OSError(one_line(error)) from error


def _shape(file: pq.ParquetFile) -> str:
    """What the file's metadata say that plain stamps are, a key of RAW_SHAPES; empty without."""
    given = (file.metadata.metadata or {}).get(parquet_files.SHAPE_KEY, b"")
    return given.decode("utf-8", "replace").replace(" ", "")


def _columns(table: pa.Table, shard: Shard) -> dict[str, np.ndarray]:
    """Columns of one shard under the names of formats."""
    psf = next((name for name in PSF_COLUMNS if name in table.column_names), "")
    source = {"psf_fwhm_arcsec": psf, "psf_depth": DEPTH_COLUMN}
    columns: dict[str, np.ndarray] = {}
    for name, absent in NUMBERS.items():
        given = source.get(name, name)
        if given not in table.column_names:
            columns[name] = np.full(shard.rows, absent)
            continue
        column = table[given].cast(pa.float64(), safe=False)
        columns[name] = column.to_numpy(zero_copy_only=False)
    for name, absent in WORDS.items():
        if name in table.column_names:
            values = table[name].to_pylist()
            columns[name] = np.array(["" if value is None else str(value) for value in values])
        else:
            columns[name] = np.full(shard.rows, absent)
    if "task_id" not in table.column_names:
        stem = shard.name.removesuffix(".parquet").replace("/", "-")
        columns["task_id"] = np.array([f"{stem}-{row:07d}" for row in range(shard.rows)])
    return columns


def _decode(batch: pa.RecordBatch, shard: Shard, first: int, shape: str) -> Block:
    pixels = np.zeros((2, batch.num_rows, _BANDS, *schema.STAMP_SHAPE[:2]), np.float32)
    faults: list[tuple[int, Finding]] = []
    for member, name in enumerate(STAMP_COLUMNS):
        column, undecoded = batch.column(name), set()

        def report(k: int, band: str, message: str, code: ExitCode, member: int = member) -> None:
            row = first + k
            faults.append(
                stamp_fault(shard, row, band, control=bool(member), message=message, code=code)
            )

        put = _put_npz if _is_bytes(column.type) else _put_plain
        for k, error in put(column, name, pixels[member], shape):
            undecoded.add(k)
            pixels[member, k] = 0  # whatever was written before the fault was seen
            report(k, error.where, error.what, error.code)
        for cause in validate_planes(pixels[member]):
            if cause.row not in undecoded:
                report(cause.row, f"band {cause.band}", cause.message, ExitCode.DATA_INVALID)
    faults.sort(key=lambda fault: fault[0])
    return Block(first, pixels, faults)


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _put_npz(
    column: pa.Array, name: str, out: np.ndarray, shape: str
) -> Iterator[tuple[int, LensjaxError]]:
    """Decode a column of npz bytes into `out` [b, 3, 64, 64]; yields the rows that cannot be."""
    del shape  # an npz has its own
    decoded = _put_alike(column, out)
    for k, blob in enumerate(_blobs(column)):
        if decoded[k]:
            continue
        try:
            if blob is None:
                raise LensjaxError(ExitCode.DATA_INVALID, f"{name} is null")
            decode_into(blob, out[k])
        except LensjaxError as error:
            yield k, error


def _put_alike(column: pa.Array, out: np.ndarray) -> np.ndarray:
    """Decode those blobs of a column that are laid out as its first, all at once: bool [b]."""
    decoded = np.zeros(len(column), bool)
    offsets, data = _buffers(column)
    size = int(offsets[1] - offsets[0]) if len(column) else 0
    if column.null_count or not size or (np.diff(offsets) != size).any():
        return decoded
    layout = _layout(size, data[offsets[0] : offsets[1]])
    if layout is None:
        return decoded
    blobs = np.frombuffer(data, np.uint8, size * len(column), int(offsets[0]))
    return decode_alike(layout, blobs.reshape(-1, size), out)


def _layout(size: int, blob: memoryview) -> Layout | None:
    """The layout of blobs of `size` bytes, of which `blob` is one; learnt anew where the known
    one is not that of the blob."""
    known = _LAYOUTS.get(size)
    if known is not None and (np.frombuffer(blob, np.uint8)[known.fixed] == known.values).all():
        return known
    try:
        read_npz(blob, MEMBERS)
        found = learn(blob, MEMBERS)
    except LensjaxError:  # the row's own fault: it is named when the row is read by itself
        return None
    if found is not None:
        if len(_LAYOUTS) >= MAX_LAYOUTS:
            _LAYOUTS.clear()
        _LAYOUTS[size] = found
    return found


_LAYOUTS: dict[int, Layout] = {}


def _put_plain(
    column: pa.Array, name: str, out: np.ndarray, shape: str
) -> Iterator[tuple[int, LensjaxError]]:
    """Likewise of plain bytes, or of lists flat or nested."""
    for k, value in enumerate(column):
        try:
            if not value.is_valid:
                raise LensjaxError(ExitCode.DATA_INVALID, f"{name} is null")
            _put_bands(_plain(value, shape), out[k])
        except LensjaxError as error:
            yield k, error


def _plain(value: pa.Scalar, shape: str) -> np.ndarray:
    """The array of one plain value, with the shape that it, or its file, says it has."""
    if isinstance(value, pa.FixedSizeBinaryScalar):
        buffer = value.as_buffer()
        return np.frombuffer(buffer or b"", "<f4").reshape(parquet_files.RAW_SHAPES[shape])
    flat, sides = value.values, []
    while parquet_files.is_list(flat.type):
        lengths = np.unique(flat.value_lengths().to_numpy(zero_copy_only=False))
        if len(lengths) != 1 or flat.null_count:
            raise LensjaxError(ExitCode.DATA_INVALID, "its lists are of several lengths")
        sides.append(len(flat))
        flat = flat.flatten()
    array = flat.to_numpy(zero_copy_only=False)  # a null becomes NaN, and is named as such
    if sides:  # lengths of the outer two levels; the innermost follows
        sides = (sides[0], sides[1] // max(sides[0], 1), len(array) // max(sides[1], 1))
        return array.reshape(sides)
    if array.size != np.prod(schema.STAMP_SHAPE):
        what = f"{array.size} values, expected {np.prod(schema.STAMP_SHAPE)} ({shape})"
        raise LensjaxError(ExitCode.DATA_INVALID, what)
    return array.reshape(parquet_files.RAW_SHAPES[shape])


def _put_bands(array: np.ndarray, out: np.ndarray) -> None:
    """`array` with bands first or last into `out` [3, 64, 64]."""
    if array.shape == schema.STAMP_SHAPE:
        array = np.moveaxis(array, -1, 0)
    if array.shape != out.shape:
        raise LensjaxError(ExitCode.DATA_INVALID, shape_fault(array.shape))
    out[:] = array


def _buffers(column: pa.Array) -> tuple[np.ndarray, memoryview]:
    """Offsets int [b + 1] of the values of a binary column, and the bytes they are in."""
    large = pa.types.is_large_binary(column.type)
    _, offset_buffer, data_buffer = column.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64 if large else np.int32)
    offsets = offsets[column.offset : column.offset + len(column) + 1]
    return offsets, memoryview(data_buffer or b"").cast("B")  # an Arrow buffer's is signed


def _blobs(column: pa.Array) -> Iterator[memoryview | None]:
    """The values of a binary column as views of its buffer, None for null."""
    offsets, data = _buffers(column)
    offsets = offsets.tolist()
    valid = column.is_valid().to_pylist() if column.null_count else [True] * len(column)
    for k, sound in enumerate(valid):
        yield data[offsets[k] : offsets[k + 1]] if sound else None
