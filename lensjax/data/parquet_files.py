"""The Parquet files of a data root: which there are, whether they are whole, what they hold.

Not the rows: `parquet` reads those. A root has the folders train, val and test, each with *.parquet
files and nothing else that matters.

    >>> shards, findings = list_split(filesystem, root, "train")
"""

from __future__ import annotations

import contextlib
import difflib
import math
import posixpath
from collections.abc import Iterator

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from lensjax import schema
from lensjax.data.formats import Shard, finding
from lensjax.data.rows import BAND_SET
from lensjax.data.stampset import Finding

STAMP_COLUMNS = ("stamp_npz", "ctrl_stamp_npz")  # the stamp, and its control
PSF_COLUMNS = ("psf_fwhm_arcsec", "psf_fwhm_used_r")  # either; the first that is there
DEPTH_COLUMN = "psfdepth_r"
SHAPE_KEY = b"stamp_shape"  # file metadata: what raw bytes and flat lists are, as "3,64,64"
RAW_SHAPES = {"3,64,64": (3, 64, 64), "64,64,3": (64, 64, 3)}
_BAND_METADATA = (b"bands", b"bandset", b"band_order")
_BUFFER_BYTES = 2**20  # streams pages: a row group of many GB is never in memory at once


def list_split(
    filesystem: fsspec.AbstractFileSystem, root: str, split: str
) -> tuple[list[Shard], list[Finding]]:
    """The sound shards of a split, sorted by name, and what is wrong with the others, with the
    folder, and with stray files in it (a finished writer's _SUCCESS and hidden files are notes;
    anything else may be data that would silently not be read, and is an error)."""
    folder = posixpath.join(root, split)
    if not filesystem.isdir(folder):
        return [], [finding(f"no folder {split}, expected {', '.join(schema.SPLITS)}", root)]
    entries = sorted(filesystem.ls(folder, detail=True), key=lambda entry: entry["name"])
    shards, findings, parquet = [], [], 0
    for entry in entries:
        name = posixpath.basename(entry["name"].rstrip("/"))
        if entry["type"] == "file" and name.endswith(".parquet"):
            parquet += 1
            shard = _inspect(filesystem, entry["name"], split, entry["size"])
            (shards if isinstance(shard, Shard) else findings).append(shard)
        elif name:
            harmless = entry["type"] == "file" and (name == "_SUCCESS" or name.startswith("."))
            severity = "NOTE" if harmless and not name.endswith(".tmp") else "ERROR"
            what = "stray file" if entry["type"] == "file" else "stray folder"
            message = f"{what} {name!r} is not a *.parquet file and is not read"
            findings.append(finding(message, f"{split}/{name}", severity=severity))
    if not parquet:
        names = ", ".join(posixpath.basename(entry["name"].rstrip("/")) for entry in entries)
        message = f"no *.parquet file (stray: {names})" if names else "empty directory"
        findings.insert(0, finding(message, f"{split}/"))
    return shards, findings


@contextlib.contextmanager
def open_shard(filesystem: fsspec.AbstractFileSystem, path: str) -> Iterator[pq.ParquetFile]:
    """The Parquet file at `path`, read in pages, page checksums verified where written."""
    local = isinstance(filesystem, LocalFileSystem)
    with contextlib.ExitStack() as stack:
        handle = path if local else stack.enter_context(filesystem.open(path, "rb"))
        yield stack.enter_context(
            pq.ParquetFile(  # not mapped: pages of a large file would count as our memory
                handle,
                buffer_size=_BUFFER_BYTES,
                pre_buffer=False,  # the default reads a whole row group ahead
                page_checksum_verification=True,
            )
        )


def _inspect(
    filesystem: fsspec.AbstractFileSystem, path: str, split: str, size: int
) -> Shard | Finding:
    """The shard at `path`, or the first thing wrong with it, judged by its footer."""
    name = posixpath.join(split, posixpath.basename(path))
    try:
        with open_shard(filesystem, path) as file:
            columns, rows = file.schema_arrow, file.metadata.num_rows
            metadata = file.metadata.metadata or {}
    except (pa.ArrowException, OSError, ValueError) as error:
        return finding(_unreadable(filesystem, path, size, error), name)
    if not rows:
        return finding("0 rows", name)
    if message := _schema_fault(columns, metadata):
        return finding(message, name)
    return Shard(path, name, split, rows, _words_of_schema(columns.names))


def _unreadable(
    filesystem: fsspec.AbstractFileSystem, path: str, size: int, error: Exception
) -> str:
    if not size:
        return "truncated (0 bytes)"
    try:
        begins = filesystem.cat_file(path, start=0, end=4)
    except OSError as why:
        return f"cannot be read: {why}"
    if begins != b"PAR1":
        return "not a Parquet file"
    ends = filesystem.cat_file(path, start=max(0, size - 4), end=size)
    if ends != b"PAR1":
        return f"truncated ({size} bytes, no footer)"
    return f"damaged footer: {_one_line(error)}"


def _words_of_schema(names: list[str]) -> tuple[str, ...]:
    """The columns of a file under the names of formats.NUMBERS and WORDS."""
    given = {DEPTH_COLUMN: "psf_depth", **dict.fromkeys(PSF_COLUMNS, "psf_fwhm_arcsec")}
    return tuple(dict.fromkeys(given.get(name, name) for name in names))


def _schema_fault(columns: pa.Schema, metadata: dict[bytes, bytes]) -> str:
    """What makes a file unreadable, in words; empty if nothing does."""
    for name in STAMP_COLUMNS:
        if name not in columns.names:
            return f"column {name!r} is missing{_nearest(name, columns.names)}"
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


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def damaged_rows(error: Exception, first_row: int) -> str:
    """The message for a file whose footer is sound and whose pages are not."""
    return f"truncated or damaged after row {first_row}: {_one_line(error)}"
