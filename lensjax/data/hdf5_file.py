"""HDF5 files of strangers: what may be read of one, and read within bounds.

Not a format. HDF5 can point into other files (links, external and virtual data), run filters from
plugins, unpack a chunk to any size, and make room for any length that a text claims; here a dataset
must lie in its own file, and be plain or packed by gzip, shuffle and fletcher32 alone, each chunk
to no more than it claims, its heaps of words must end (`hdf5_heap`), and (on Linux) no call may
take more than 256 MiB.

    >>> with open_hdf5(filesystem, path) as file:
    ...     pixels = read_rows(dataset(file, "stamps"), range(0, 64))
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import resource
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec
import h5py
import numpy as np
from fsspec.implementations.local import LocalFileSystem

from lensjax.data.hdf5_heap import check_heaps
from lensjax.data.npz import damaged, refused
from lensjax.schema import ExitCode, LensjaxError

MAX_CHUNK_BYTES = 2**26
MAX_CALL_BYTES = 2**28
MAX_CHUNKS = 2**16  # of one reading
_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32"}
_GZIP = 1


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """Within, the process grows by 256 MiB at most; more is a MemoryError or an OSError of HDF5.
    Only for calls of milliseconds: the limit is that of all threads."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:  # not Linux
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    bounds = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    bounds.append(pages * resource.getpagesize() + MAX_CALL_BYTES)
    resource.setrlimit(resource.RLIMIT_AS, (min(bounds), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextlib.contextmanager
def open_hdf5(filesystem: fsspec.AbstractFileSystem, path: str) -> Iterator[h5py.File]:
    """The file at `path`, for reading. What h5py raises within becomes OSError; a file that asks
    for more memory than a call may take is refused (LensjaxError, REFUSED_INPUT), one whose heaps
    do not end is damaged (DATA_INVALID)."""
    _check_heaps(filesystem, path, filesystem.ukey(path))
    try:
        with contextlib.ExitStack() as stack:
            local = isinstance(filesystem, LocalFileSystem)
            opened = path if local else stack.enter_context(filesystem.open(path, "rb"))
            yield stack.enter_context(_open(opened))
    except MemoryError as error:
        raise refused(f"asks for more than {MAX_CALL_BYTES} bytes at once") from error
    except (RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


@functools.lru_cache(maxsize=256)  # once a file and process: all of it is searched
def _check_heaps(filesystem: fsspec.AbstractFileSystem, path: str, content: str) -> None:
    del content  # tells a changed file from the one remembered
    with filesystem.open(path, "rb") as handle:
        check_heaps(cast(BinaryIO, handle))


@_bounded()
def _open(opened: Any) -> h5py.File:
    return h5py.File(opened, "r", locking=False)


@_bounded()
def dataset(file: h5py.File, name: str) -> h5py.Dataset | None:
    """The dataset `name` at the root of `file`; None without. Raises LensjaxError: REFUSED_INPUT
    for one that lies elsewhere, DATA_INVALID for a group, filters and chunks that are not read."""
    link = file.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise refused(f"{name!r} is a link")
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise damaged(f"{name!r} is a group, expected a dataset")
    if found.is_virtual or found.external:
        raise refused(f"{name!r} is kept in other files")
    plist = found.id.get_create_plist()
    filters = [plist.get_filter(k)[0] for k in range(plist.get_nfilters())]
    if not set(filters) <= set(_FILTERS) or filters.count(_GZIP) > 1:
        what = f"{name!r} is packed by filters {filters}, expected {', '.join(_FILTERS.values())}"
        raise LensjaxError(ExitCode.DATA_INVALID, f"{what} (h5repack -f GZIP=4)")
    if found.chunks and math.prod(found.chunks) * found.dtype.itemsize > MAX_CHUNK_BYTES:
        raise refused(f"{name!r} has chunks {found.chunks}, beyond {MAX_CHUNK_BYTES} bytes")
    if not found.size or not found.id.get_storage_size():
        raise damaged(f"{name!r} is empty" if not found.size else f"{name!r} was never written")
    return found


@_bounded()
def read_rows(found: h5py.Dataset, rows: range) -> np.ndarray:
    """`rows` of a dataset, in native order. Raises LensjaxError (REFUSED_INPUT) for chunks that
    unpack to more than they claim, OSError for damaged ones."""
    if found.chunks:
        _check_chunks(found, rows)
    array = found[rows.start : rows.stop]
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def numbers(found: h5py.Dataset, name: str, rows: int) -> np.ndarray:
    """A column, float64 [rows]. Raises LensjaxError (DATA_INVALID) for other shapes and words."""
    if found.shape != (rows,) or found.dtype.kind not in "iufb":
        what = f"dataset {name!r} is {found.dtype} {found.shape}, expected numbers ({rows},)"
        raise LensjaxError(ExitCode.DATA_INVALID, what)
    return read_rows(found, range(rows)).astype(np.float64)


def words(found: h5py.Dataset, name: str, rows: int) -> list[str]:
    """A column of text. Raises LensjaxError (DATA_INVALID) for other shapes, numbers, fixed widths
    beyond 1024 bytes and what is no UTF-8."""
    kind = h5py.check_string_dtype(found.dtype)
    if found.shape != (rows,) or kind is None or (kind.length or 0) > 1024:
        what = f"dataset {name!r} is {found.dtype} {found.shape}, expected strings ({rows},)"
        raise LensjaxError(ExitCode.DATA_INVALID, what)
    try:
        return [_text(word) for word in read_rows(found, range(rows))]
    except UnicodeDecodeError as error:
        raise damaged(f"dataset {name!r} is no UTF-8 text") from error


@_bounded()
def attribute(holder: h5py.File | h5py.Dataset, name: str) -> str | float | None:
    """An attribute: a number, or text (of a list of words, all of them); None without. Raises
    LensjaxError (DATA_INVALID) for anything else."""
    if name not in holder.attrs:
        return None
    kind, shape = holder.attrs.get_id(name).dtype, holder.attrs.get_id(name).shape
    if kind.itemsize * math.prod(shape or ()) > 4096:
        raise refused(f"attribute {name!r} is {kind} {shape}")
    value = np.asarray(holder.attrs[name])
    try:
        if value.dtype.kind in "iuf" and value.size == 1:
            return float(value.reshape(-1)[0])
        if value.dtype.kind in "OSU":
            return "".join(_text(word) for word in value.reshape(-1))
    except UnicodeDecodeError as error:
        raise damaged(f"attribute {name!r} is no UTF-8 text") from error
    raise damaged(f"attribute {name!r} is {kind} {shape}, expected a number or text")


def _text(word: object) -> str:
    return word.decode("utf-8") if isinstance(word, bytes) else str(word)


def _check_chunks(found: h5py.Dataset, rows: range) -> None:
    """Unpacks every chunk of `rows` within bounds: HDF5 lets one grow until memory ends."""
    chunks = cast(tuple[int, ...], found.chunks)
    plist = found.id.get_create_plist()
    packed = _GZIP in [plist.get_filter(k)[0] for k in range(plist.get_nfilters())]
    claimed = math.prod(chunks) * found.dtype.itemsize
    first = rows.start // chunks[0] * chunks[0]
    starts = [range(first, rows.stop, chunks[0])]
    starts += [range(0, s, chunk) for s, chunk in zip(found.shape[1:], chunks[1:], strict=True)]
    if math.prod(map(len, starts)) > MAX_CHUNKS:
        what = f"{found.name!r} has chunks {chunks}, too small to read {len(rows)} rows"
        raise LensjaxError(ExitCode.DATA_INVALID, what)
    for at in itertools.product(*starts):
        info = found.id.get_chunk_info_by_coord(at)
        if info.byte_offset is None:
            raise OSError(f"{found.name!r}: the chunk at {at} was never written")
        if info.size > claimed + claimed // 8 + 4096:
            raise refused(f"{found.name!r}: a chunk of {info.size} bytes claims {claimed}")
        if packed:
            _, raw = found.id.read_direct_chunk(at)
            _check_inflated(found.name or "", bytes(raw), claimed)


def _check_inflated(name: str, raw: bytes, claimed: int) -> None:
    try:
        plain = zlib.decompressobj().decompress(raw, claimed + 1)
    except zlib.error as error:
        raise OSError(f"{name!r}: a damaged chunk ({error})") from error
    if len(plain) > claimed:
        raise refused(f"{name!r}: a chunk unpacks to more than the {claimed} bytes that it claims")
