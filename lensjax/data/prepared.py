"""Prepared sets: StampSets on disk, made once, verified whenever they are opened.

Not a source: it keeps what a source read, under the source's digest. Three forms, which give
identical StampSets: the TFDS set `lens_stamps` through tf.data (the default where TensorFlow is
installed), the same set as ArrayRecord files, and plain arrays, mapped into memory. The last two
give any rows without reading the rest, and need no TensorFlow. A preparation that is killed leaves
nothing that counts, and the next one goes on where it was (`making`).

    >>> prepare({"test": test}, cache_dir, source.digest(), reader="auto", config="simulated_demo")
    >>> test = load(cache_dir, source.digest(), "test", reader="auto")
    >>> open_rows(cache_dir, source.digest(), "test", reader="arrays").read([5, 2, 7])
"""

from __future__ import annotations

import functools
import importlib.util
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lensjax.data import array_records, arrays, tfrecords
from lensjax.data.making import Making, locked, sweep
from lensjax.data.prepared_manifest import (
    FORMAT,
    MANIFEST,
    UNREADABLE,
    damaged,
    labels_of,
    manifest_text,
    read_manifest,
    refusal,
    verified,
)
from lensjax.data.stampset import StampSet, content_digest, require_space, stamps_bytes
from lensjax.data.tfds_set import write_tfds
from lensjax.schema import ExitCode, LensjaxError

log = logging.getLogger(__name__)

READERS = ("tf.data", "array_record", "arrays")
USER_CONFIG = "parquet"  # the TFDS config of stamps that lensjax did not simulate
_TFDS_NEEDS = ("tensorflow", "tensorflow_datasets", "importlib_resources")
_ARRAY_RECORD_NEEDS = ("array_record", "tensorflow_datasets", "importlib_resources")
_ROW_BYTES = 2048  # of a row's columns and its record's frame, at most


def resolve_reader(reader: str) -> str:
    """One of READERS: `reader` itself, or for "auto" tf.data where TensorFlow and TFDS are
    installed, else arrays. Raises LensjaxError (USAGE) for another name, and for one whose
    packages are not installed."""
    if reader == "auto":
        missing = _missing(_TFDS_NEEDS)
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
            remedy=f"Use auto, {', '.join(READERS[:-1])} or {READERS[-1]}",
        )
    needs = {"tf.data": _TFDS_NEEDS, "array_record": _ARRAY_RECORD_NEEDS}
    missing = _missing(needs.get(reader, ()))
    if missing:
        raise LensjaxError(
            ExitCode.USAGE,
            f"reader {reader} needs {', '.join(missing)}",
            where="data.reader",
            remedy="Install it, or use --config.data.reader=arrays",
        )
    return reader


def _missing(packages: tuple[str, ...]) -> list[str]:
    return [name for name in packages if importlib.util.find_spec(name) is None]


@functools.cache
def _say_once(text: str) -> None:
    """Log `text` once a process: every load asks for the reader anew."""
    log.info(text)


def folder_of(root: Path, digest: str, reader: str) -> Path:
    """Where the set of `digest` (a source's) is kept for `reader` (one of READERS)."""
    return root / "prepared" / f"{digest[:32]}-{reader}-{FORMAT}"


def is_prepared(root: Path, digest: str, reader: str) -> bool:
    """Whether `load` will find the set (not whether it is undamaged: loading tells)."""
    return (folder_of(root, digest, resolve_reader(reader)) / MANIFEST).is_file()


def prepare(
    sets: Mapping[str, StampSet], root: Path, digest: str, reader: str, *, config: str | None = None
) -> Path:
    """Write `sets` (by split, validated, in canonical order, maybe memmaps) under `root` for
    `reader`, a shard or a few rows in memory at a time; return their folder. Does nothing if it is
    there; files that a killed process finished are taken over. `config` is the name of the TFDS
    config, one of `lens_stamps_dataset_builder.CONFIGS`: None for a user's own stamps, which are
    "parquet". Raises OSError (ENOSPC), having written nothing, if the disk has no room for them."""
    reader = resolve_reader(reader)
    config = USER_CONFIG if config is None else config
    folder = folder_of(root, digest, reader)
    if (folder / MANIFEST).is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent):
        sweep(folder)
        if (folder / MANIFEST).is_file():  # another process was first
            return folder
        if folder.exists():
            raise damaged(folder, f"holds no {MANIFEST}", folder)
        contents = {split: content_digest(made) for split, made in sets.items()}
        making = Making(folder, about=contents)
        need = sum(stamps_bytes(len(made)) + _ROW_BYTES * len(made) for made in sets.values())
        require_space(folder.parent, need - making.bytes_finished())
        try:
            making.begin()
            _write(sets, making, reader, config)
            manifest = {
                "format": FORMAT,
                "source_digest": digest,
                "reader": reader,
                "config": config,
                "splits": {k: {"n": len(sets[k]), "sha256": contents[k]} for k in sets},
                "labels": {k: labels_of(made.table) for k, made in sets.items()},
                "files": making.digests(),
            }
            making.publish(MANIFEST, manifest_text(manifest))
        except Exception:  # not for an interrupt: what is finished then stays, as after a kill
            making.remove()
            raise
    log.info("prepared %s stamps in %s", sum(map(len, sets.values())), folder)
    return folder


def _write(sets: Mapping[str, StampSet], making: Making, reader: str, config: str) -> None:
    if reader == "arrays":
        arrays.write_arrays(sets, making)
    elif reader == "tf.data":
        write_tfds(sets, making, config, "tfrecord")
    else:
        write_tfds(sets, making, config, "array_record")
        for made in sets.values():
            arrays.write_table(made, making)


def rows(root: Path, digest: str, reader: str) -> dict[str, int]:
    """Number of rows of every prepared split. Raises LensjaxError (DATA_INVALID) as `load`."""
    manifest = read_manifest(folder_of(root, digest, resolve_reader(reader)), digest)
    return {split: recorded["n"] for split, recorded in manifest["splits"].items()}


def verify(root: Path, digest: str, reader: str) -> None:
    """Every file of the prepared set is hashed and held against its manifest. Raises LensjaxError
    as `load`."""
    reader = resolve_reader(reader)
    for split in rows(root, digest, reader):
        verified(folder_of(root, digest, reader), digest, split, reader)


def load(root: Path, digest: str, split: str, reader: str) -> StampSet:
    """The StampSet of `split` as it was prepared: its files, labels and content are verified.

    Raises LensjaxError: MISMATCH for a label column that is not the manifest's and for files that
    are missing or extra, by name; DATA_INVALID if the split was not prepared, and for any other
    damage, naming the file."""
    reader = resolve_reader(reader)
    folder = folder_of(root, digest, reader)
    manifest = verified(folder, digest, split, reader)
    try:
        if reader == "tf.data":
            n = manifest["splits"][split]["n"]
            loaded = tfrecords.read_tfds(folder, manifest["config"], split, n, root)
        elif reader == "array_record":
            loaded = array_records.read_records(folder, manifest["config"], split, root)
        else:
            loaded = arrays.read_arrays(folder, split)
    except UNREADABLE as error:
        raise refusal(folder, manifest, split, reader, f"cannot be read: {error}") from error
    if content_digest(loaded) != manifest["splits"][split]["sha256"]:
        what = "the stamps differ from those prepared"
        raise refusal(folder, manifest, split, reader, what)
    return loaded


@dataclass(frozen=True)
class RowReader:
    """Rows of one split, read as they are asked for. `table` is the whole split's, in memory;
    `stamps[rows]` gives float32 [len(rows), 64, 64, 3], nanomaggies, for an int array of rows."""

    split: str
    table: dict[str, np.ndarray]
    stamps: Any  # a memmap or StampRecords
    reader: str

    def __len__(self) -> int:
        return len(self.table["stamp_id"])

    def read(self, rows: npt.ArrayLike) -> StampSet:
        """The StampSet of `rows` (int [k], in any order, also twice), in the order given. Raises
        IndexError for a row that is not there, and LensjaxError (DATA_INVALID) for a record that
        was damaged since the set was opened."""
        asked = np.asarray(rows, np.int64)
        if len(asked) and not (asked.min() >= 0 and asked.max() < len(self)):
            raise IndexError(f"rows {asked.min()} to {asked.max()} of {len(self)}")
        table = {name: column[asked] for name, column in self.table.items()}
        return StampSet(self.split, table, np.asarray(self.stamps[asked]), self.reader)


def open_rows(root: Path, digest: str, split: str, reader: str) -> RowReader:
    """A RowReader of `split`, its files verified once, here. Raises LensjaxError as `load`, and
    USAGE for tf.data, which reads from end to end."""
    reader = resolve_reader(reader)
    if reader == "tf.data":
        raise LensjaxError(
            ExitCode.USAGE,
            "tf.data reads a split from end to end, not row by row",
            where="data.reader",
            remedy="Use array_record or arrays",
        )
    folder = folder_of(root, digest, reader)
    manifest = verified(folder, digest, split, reader)
    try:
        table = arrays.read_table(folder, split)
        if reader == "array_record":
            stamps = array_records.StampRecords(folder, manifest["config"], split)
        else:
            stamps = arrays.read_arrays(folder, split).stamps
    except UNREADABLE as error:
        raise refusal(folder, manifest, split, reader, f"cannot be read: {error}") from error
    return RowReader(split, table, stamps, reader)
