"""A flat folder of stamps: those of real lenses or look-alikes, which are of no split.

Not a source to train on: there are no splits, pairs or bins, and nothing is prepared. The folder is
what a reader expects in ROOT/train; all of it is read at once, and the first thing wrong is raised.

    >>> made = read_flat("/data/anchors", FitsFormat(Told(resample=True)), cache_dir)
    >>> made.stamps.shape, made.digest                             # [n, 64, 64, 3], nanomaggies
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import fsspec
import numpy as np
from fsspec.implementations.local import LocalFileSystem

from lensjax import schema
from lensjax.data.digests import combined, hash_file
from lensjax.data.formats import DAMAGE, Block, Format, Shard, damage
from lensjax.data.listing import files_below
from lensjax.data.paths import open_filesystem
from lensjax.data.rows import USUAL, FileRows, read_rows
from lensjax.data.stampset import Finding, allocate_stamps
from lensjax.progress import progress_bar
from lensjax.schema import ExitCode, LensjaxError

log = logging.getLogger(__name__)

REMEDY = "Correct what is named, or remove its row"
# What a set to train on would be told that it lacks, and a stamp alone does not need.
_NOT_NEEDED = tuple(f"no column {name!r}" for name in USUAL if name not in ("ra", "dec"))


@dataclass(frozen=True)
class FlatStamps:
    """n stamps: `ids` str [n] (task_id), `where` file and row of each, `ra` and `dec` float64 [n],
    degrees (NaN where unknown), `pixel_scale_arcsec` float64 [n], `stamps` float32 [n, 64, 64, 3],
    nanomaggies; `digest`: SHA-256, in hex, of the names and bytes of all files in the folder."""

    ids: np.ndarray
    where: list[str]
    ra: np.ndarray
    dec: np.ndarray
    pixel_scale_arcsec: np.ndarray
    stamps: np.ndarray
    digest: str

    def __len__(self) -> int:
        return len(self.ids)


def read_flat(path: str, form: Format, cache_dir: Path) -> FlatStamps:
    """All stamps of the folder (or address) `path`, decoded and validated like any to train on.
    Many are mapped from a nameless file of `cache_dir`.

    Raises:
        LensjaxError: exit 2 if `path` is no folder; 10 for the first file, row or band that is
            wrong; 16 if they have no room, and for a folder that cannot be read; 17 for what is
            refused, and for a link that leads out.
    """
    filesystem, folder = open_filesystem(path)
    if isinstance(filesystem, LocalFileSystem):
        folder = os.path.realpath(folder)  # the folder may be a link; what lies in it may not
    if not filesystem.isdir(folder):
        raise LensjaxError(ExitCode.USAGE, "no such directory", path, "Name a folder of stamps")
    digest = _digest(filesystem, folder)
    root, _, name = folder.rpartition("/")
    shards, findings = form.list_split(filesystem, root, name)
    _raise_first(findings)
    rows, findings = read_rows(form, filesystem, shards)
    _raise_first(findings)
    x = rows.numbers
    return FlatStamps(
        ids=np.char.decode(rows.task_id, "utf-8"),
        where=[rows.where(k) for k in range(len(rows))],
        ra=x["ra"],
        dec=x["dec"],
        pixel_scale_arcsec=x["pixel_scale_arcsec"],
        stamps=_stamps(form, filesystem, rows, name, cache_dir),
        digest=digest,
    )


def _digest(filesystem: fsspec.AbstractFileSystem, folder: str) -> str:
    digests = {}
    for file in files_below(filesystem, folder):
        name = file[len(folder) :].lstrip("/")
        local = isinstance(filesystem, LocalFileSystem)
        if local and not os.path.realpath(file).startswith(folder + os.sep):
            what = "is a link that leads out of the folder"
            raise LensjaxError(ExitCode.REFUSED_INPUT, what, f"{folder}/{name}", "Copy the file")
        try:
            digests[name] = hash_file(filesystem, file)
        except OSError as error:
            what = f"cannot be read: {error.strerror or error}"
            raise LensjaxError(ExitCode.DATA_INVALID, what, f"{folder}/{name}", REMEDY) from error
    return combined(digests)


def _stamps(
    form: Format,
    filesystem: fsspec.AbstractFileSystem,
    rows: FileRows,
    name: str,
    cache_dir: Path,
) -> np.ndarray:
    """float32 [n, 64, 64, 3]. Raises LensjaxError for the first fault."""
    try:
        stamps = allocate_stamps(len(rows), cache_dir)
    except OSError as error:
        what = f"no room for {len(rows)} stamps: {error.strerror or error}"
        raise LensjaxError(ExitCode.RESOURCE, what, str(cache_dir)) from error
    with progress_bar(desc=f"read {name}", total=len(rows), unit="stamp") as bar:
        for shard, start in zip(rows.shards, rows.starts()[:-1].tolist(), strict=True):
            for block in _blocks(form, filesystem, shard):
                _raise_first([one for _, one in block.faults])
                planes = np.moveaxis(block.pixels[0], 1, -1)
                stamps[start + block.first : start + block.first + len(planes)] = planes
                bar.update(len(planes))
    return stamps


def _blocks(form: Format, filesystem: fsspec.AbstractFileSystem, shard: Shard) -> Iterator[Block]:
    read = 0
    try:
        for piece in form.pieces(filesystem, shard):
            for block in form.blocks(filesystem, shard, piece):
                yield block
                read = block.first + block.pixels.shape[1]
    except DAMAGE as error:
        raise damage(error, read, shard.name).error(REMEDY) from error


def _raise_first(findings: list[Finding]) -> None:
    """Raises LensjaxError for the first that is no note; notes go to the log."""
    for one in findings:
        if one.severity != "NOTE":
            raise one.error(REMEDY)
        if not one.message.startswith(_NOT_NEEDED):
            log.info("%s: %s", schema.printable(one.where), schema.printable(one.message))
