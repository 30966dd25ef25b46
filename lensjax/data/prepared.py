"""Prepared sets: StampSets on disk, made once, verified whenever they are loaded.

Not a source: it keeps what a source read, under the source's digest. Two forms, which give
identical StampSets: the TFDS set `lens_stamps` through tf.data (the default where TensorFlow is
installed), and plain arrays, mapped into memory. A preparation that is killed leaves nothing that
counts: all is written to a temporary folder, and the rename comes last.

    >>> prepare({"test": test}, cache_dir, source.digest(), reader="auto", config="simulated_demo")
    >>> test = load(cache_dir, source.digest(), "test", reader="auto")
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import importlib.util
import json
import logging
import os
import shutil
import uuid
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lensjax import schema
from lensjax.data import tfrecords
from lensjax.data.stampset import (
    MEMORY_BUDGET_BYTES,
    StampSet,
    content_digest,
    map_stamps,
    require_space,
    stamps_bytes,
)
from lensjax.progress import progress_bar
from lensjax.schema import ExitCode, LensjaxError

log = logging.getLogger(__name__)

READERS = ("tf.data", "arrays")
FORMAT = 3  # of what is on disk; another number is another folder
MANIFEST = "prepared.json"
USER_CONFIG = "parquet"  # the TFDS config of stamps that lensjax did not simulate
_TFDS_NEEDS = ("tensorflow", "tensorflow_datasets", "importlib_resources")
_COPY_ROWS = 256
_UNREADABLE = (  # what numpy and TFDS raise for damaged files
    *(LensjaxError, OSError, ValueError, KeyError, AssertionError),
    *(EOFError, zipfile.BadZipFile, zlib.error),
)


def resolve_reader(reader: str) -> str:
    """ "tf.data" or "arrays": `reader` itself, or for "auto" tf.data where TensorFlow and TFDS are
    installed, else arrays. Raises LensjaxError (USAGE) for another name, and for tf.data without
    TensorFlow."""
    missing = [name for name in _TFDS_NEEDS if importlib.util.find_spec(name) is None]
    if reader == "auto":
        if missing:
            _say_once(f"stamps are read as arrays: {', '.join(missing)} not installed")
            return "arrays"
        _say_once("stamps are read by tf.data from the TFDS set lens_stamps")
        return "tf.data"
    if reader not in READERS:
        raise LensjaxError(
            ExitCode.USAGE,
            f"unknown reader {reader!r}",
            where="data.reader",
            remedy=f"Use auto, {' or '.join(READERS)}",
        )
    if reader == "tf.data" and missing:
        raise LensjaxError(
            ExitCode.USAGE,
            f"reader tf.data needs {', '.join(missing)}",
            where="data.reader",
            remedy="Install it, or use --config.data.reader=arrays",
        )
    return reader


@functools.cache
def _say_once(text: str) -> None:
    """Log `text` once a process: every load asks for the reader anew."""
    log.info(text)


def folder_of(root: Path, digest: str, reader: str) -> Path:
    """Where the set of `digest` (a source's) is kept for `reader` ("tf.data" or "arrays")."""
    return root / "prepared" / f"{digest[:32]}-{reader}-{FORMAT}"


def is_prepared(root: Path, digest: str, reader: str) -> bool:
    """Whether `load` will find the set (not whether it is undamaged: loading tells)."""
    return (folder_of(root, digest, resolve_reader(reader)) / MANIFEST).is_file()


def prepare(
    sets: Mapping[str, StampSet], root: Path, digest: str, reader: str, *, config: str | None = None
) -> Path:
    """Write `sets` (by split, validated, in canonical order) under `root` for `reader`; return
    their folder. Does nothing if it is there. `config` is the name of the TFDS config, one of
    `lens_stamps_dataset_builder.CONFIGS`: None for a user's own stamps, which are "parquet".
    Raises OSError (ENOSPC), having written nothing, if the disk has no room for them."""
    reader = resolve_reader(reader)
    folder = folder_of(root, digest, reader)
    if (folder / MANIFEST).is_file():
        return folder
    config = USER_CONFIG if config is None else config
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _workplace(folder.parent) as making:
        if (folder / MANIFEST).is_file():  # another process was first
            return folder
        if folder.exists():
            raise _damaged(folder, f"holds no {MANIFEST}")
        require_space(making, _space_needed([len(made) for made in sets.values()], reader))
        content = making / "content"
        content.mkdir()
        if reader == "tf.data":
            tfrecords.write_tfds(sets, content, config)
        else:
            _write_arrays(sets, content)
        manifest = {
            "format": FORMAT,
            "source_digest": digest,
            "reader": reader,
            "config": config,
            "splits": {k: {"n": len(v), "sha256": content_digest(v)} for k, v in sets.items()},
            "files": {name: _hash(content / name) for name in _files(content)},
        }
        _write_synced(content / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True))
        os.rename(content, folder)
    log.info("prepared %s stamps in %s", sum(map(len, sets.values())), folder)
    return folder


def rows(root: Path, digest: str, reader: str) -> dict[str, int]:
    """Number of rows of every prepared split. Raises LensjaxError (DATA_INVALID) as `load`."""
    manifest = _manifest(folder_of(root, digest, resolve_reader(reader)))
    return {split: recorded["n"] for split, recorded in manifest["splits"].items()}


def load(root: Path, digest: str, split: str, reader: str) -> StampSet:
    """The StampSet of `split` as it was prepared, its content verified.

    Raises LensjaxError (DATA_INVALID) if it was not prepared, or naming the file that was
    damaged."""
    reader = resolve_reader(reader)
    folder = folder_of(root, digest, reader)
    manifest = _manifest(folder)
    if split not in manifest["splits"]:
        raise _damaged(folder, f"split {split!r} was not prepared")
    recorded = manifest["splits"][split]
    try:
        if reader == "tf.data":
            loaded = tfrecords.read_tfds(folder, manifest["config"], split, recorded["n"], root)
        else:
            loaded = _read_arrays(folder, split)
        sound = content_digest(loaded) == recorded["sha256"]
    except _UNREADABLE as error:
        raise _damaged(folder, f"cannot be read: {error}", manifest) from error
    if not sound:
        raise _damaged(folder, "the stamps differ from those prepared", manifest)
    return loaded


def _space_needed(sizes: list[int], reader: str) -> int:
    """Bytes on disk of splits of `sizes` stamps while they are written; tables are small."""
    need = [stamps_bytes(n) for n in sizes]
    largest = max(need, default=0)
    # TFDS shuffles a split over its budget of memory, about as large, through files
    scratch = largest if reader == "tf.data" and largest > MEMORY_BUDGET_BYTES else 0
    return sum(need) + scratch


def _write_arrays(sets: Mapping[str, StampSet], folder: Path) -> None:
    for split, made in sets.items():
        stamps = map_stamps(folder / f"{split}-stamps.npy", len(made))
        chunks = range(0, len(made), _COPY_ROWS)
        for start in progress_bar(chunks, desc=f"preparing {split}", unit="chunk"):
            stamps[start : start + _COPY_ROWS] = made.stamps[start : start + _COPY_ROWS]
        stamps.flush()
        columns: dict[str, Any] = dict(made.table)
        np.savez_compressed(folder / f"{split}-table.npz", **columns)


def _read_arrays(folder: Path, split: str) -> StampSet:
    path = folder / f"{split}-table.npz"
    # opened here: of a damaged file, numpy.load leaves its own handle open
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        table = {name: stored[name] for name in schema.TABLE_COLUMNS}
    stamps = np.load(folder / f"{split}-stamps.npy", mmap_mode="r", allow_pickle=False)
    return StampSet(split, table, stamps, "arrays")


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        if not {"splits", "files", "config"} <= manifest.keys():
            raise ValueError("fields are missing")
    except FileNotFoundError as error:
        raise LensjaxError(
            ExitCode.DATA_INVALID, "not prepared", str(folder), "Prepare the set first"
        ) from error
    except (OSError, ValueError, AttributeError) as error:
        raise _damaged(folder / MANIFEST, f"cannot be read: {error}") from error
    return manifest


def _damaged(where: Path, what: str, manifest: dict[str, Any] | None = None) -> LensjaxError:
    """The error for a damaged set; with a manifest, `where` is the first file that differs."""
    folder = where if where.is_dir() else where.parent
    for name, recorded in (manifest["files"] if manifest else {}).items():
        path = folder / name
        if not path.is_file() or _hash(path) != recorded:
            where = path
            break
    remedy = f"Delete {folder}: it is made again from the source"
    return LensjaxError(ExitCode.DATA_INVALID, what, str(where), remedy)


@contextlib.contextmanager
def _workplace(parent: Path) -> Iterator[Path]:
    """A temporary folder in `parent`, removed after; one process at a time, others wait for the
    lock (the kernel frees it on any death) and so find what the first prepared. What a killed
    preparation left is removed first."""
    with (parent / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            log.info("waiting for another process that prepares stamps in %s", parent)
            fcntl.flock(lock, fcntl.LOCK_EX)
        for left in parent.glob(".making-*"):
            shutil.rmtree(left)
        making = parent / f".making-{uuid.uuid4().hex}"
        making.mkdir()
        try:
            yield making
        finally:
            shutil.rmtree(making, ignore_errors=True)


def _files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_synced(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
