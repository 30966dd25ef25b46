"""What a split manifest says, and when it may be believed: one entry a row, and a digest of all.

Not the file (`split_manifest` writes and reads that). What the file says is judged here, so that
nothing can be written that could not be read.

    >>> split, unpaired = manifest.of_file("train/part-003.parquet", ra, dec)
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import NoReturn

import numpy as np
import pyarrow as pa

from lensjax.data.record import leads_out
from lensjax.data.rows import Coded
from lensjax.schema import ExitCode, LensjaxError

FORMAT = 1
ASIDE = -1  # the split of a row that is in none: it is in the guard band
MEMBERS = ("", "stamp", "control")  # what a row gives to an unpaired run
REMEDY = "Make it again with python -m lensjax.data split"
_SAME_DEG = 1e-9  # a position read again is the same to the last bits


@dataclass(frozen=True)
class Asked:
    """What a manifest was made with: `seed`, `proportions` of hosts in train, val and test,
    `guard_band_deg`, `separation_arcsec`, the name of the `root` (its last part), and the edges of
    `psf_bin` and `depth_bin` where the rows had none, else None."""

    seed: int
    proportions: tuple[float, float, float]
    guard_band_deg: float
    separation_arcsec: float
    root: str
    bin_edges: dict[str, list[float]] | None


@dataclass(frozen=True)
class SplitManifest:
    """One entry a row. `file` (relative to the root) and `brick` Coded; `row` int32, in its file;
    `task_id` and `lrg_id` string arrays; `ra`, `dec` float64, degrees; `split` int8, index into
    schema.SPLITS or ASIDE; `unpaired` int8, index into MEMBERS."""

    asked: Asked
    file: Coded
    row: np.ndarray
    task_id: pa.Array
    lrg_id: pa.Array
    brick: Coded
    ra: np.ndarray
    dec: np.ndarray
    split: np.ndarray
    unpaired: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    def digest(self) -> str:
        """`content_digest` of it."""
        return content_digest(self)

    def where(self, index: int) -> str:
        """File and row of an entry, for messages."""
        return f"{self.file.names[self.file.code[index]]} row {self.row[index]}"

    def of_file(self, name: str, ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`split` and `unpaired`, int8 [rows], of the rows of file `name`, whose positions are
        `ra`, `dec` (float64 [rows], degrees). Raises LensjaxError (MISMATCH) for a file that the
        manifest does not have, and for other rows than the file then had.

        The manifest is in order, as `in_order` and reading make it."""
        if name not in self.file.names:
            raise _mismatch("is not in the split manifest", name)
        k = self.file.names.index(name)
        mine = slice(*np.searchsorted(self.file.code, (k, k + 1)).tolist())
        if not np.array_equal(self.row[mine], np.arange(len(ra))):
            there = len(self.row[mine])
            raise _mismatch(f"holds {len(ra)} rows, the split manifest {there} of it", name)
        apart = np.abs(self.ra[mine] - ra) + np.abs(self.dec[mine] - dec)
        other = np.flatnonzero(~(apart <= _SAME_DEG))
        if len(other):
            was = f"{self.ra[mine][other[0]]:.5f}, {self.dec[mine][other[0]]:.5f}"
            what = f"is at another ra, dec than in the split manifest ({was})"
            raise _mismatch(what, f"{name} row {other[0]}")
        return self.split[mine], self.unpaired[mine]


def _mismatch(what: str, where: str) -> LensjaxError:
    return LensjaxError(ExitCode.MISMATCH, what, where, REMEDY)


def in_order(manifest: SplitManifest) -> SplitManifest:
    """The same in order of file and row; names in order, and none that no row has."""
    file, brick = _in_order(manifest.file), _in_order(manifest.brick)
    order = np.lexsort([manifest.row, file.code])
    if np.array_equal(order, np.arange(len(order))):
        return replace(manifest, file=file, brick=brick)
    at = pa.array(order)
    return replace(
        manifest,
        file=Coded(file.code[order], file.names),
        row=manifest.row[order],
        task_id=manifest.task_id.take(at),
        lrg_id=manifest.lrg_id.take(at),
        brick=Coded(brick.code[order], brick.names),
        ra=manifest.ra[order],
        dec=manifest.dec[order],
        split=manifest.split[order],
        unpaired=manifest.unpaired[order],
    )


def _in_order(column: Coded) -> Coded:
    used = np.flatnonzero(np.bincount(column.code, minlength=len(column.names))).tolist()
    names = sorted({column.names[k] for k in used})
    rank = {name: k for k, name in enumerate(names)}
    ranks = np.zeros(len(column.names), np.int32)
    ranks[used] = [rank[column.names[k]] for k in used]
    return Coded(ranks[column.code], tuple(names))


def validate(manifest: SplitManifest, where: str) -> None:
    """Raises LensjaxError, naming the row: REFUSED_INPUT for a file name that leads out of the
    root, DATA_INVALID for anything else that cannot be."""
    if not len(manifest):
        _invalid("holds no rows", where)
    for name in manifest.file.names:
        if leads_out(name):
            raise LensjaxError(
                ExitCode.REFUSED_INPUT,
                f"names {name!r}, which leads out of the data root",
                where,
                "Ask where this file came from",
            )
        if posixpath.normpath(name) != name:
            _invalid(f"names {name!r}, which is no plain relative path", where)
    for bad, what in _faults(manifest):
        for index in np.flatnonzero(bad)[:1]:
            _invalid(f"{what} ({manifest.where(int(index))})", f"{where} entry {index}")


def _faults(manifest: SplitManifest) -> Iterator[tuple[np.ndarray, str]]:
    """What may be wrong with entries: bool [n], and its name."""
    yield manifest.row < 0, "negative row"
    place = manifest.file.code.astype(np.int64) << 32 | manifest.row.astype(np.int64)
    again = np.ones(len(place), bool)
    again[np.unique(place, return_index=True)[1]] = False
    yield again, "file and row are there twice"
    yield ~np.isfinite(manifest.ra), "ra is not finite"
    yield ~(np.abs(manifest.dec) <= 90), "dec outside -90..90 degrees"
    empty = [k for k, name in enumerate(manifest.brick.names) if not name]
    yield np.isin(manifest.brick.code, empty), "brick is empty"
    yield text_lengths(manifest.lrg_id) == 0, "lrg_id is empty"
    yield (manifest.split == ASIDE) & (manifest.unpaired > 0), "in no split, but in unpaired runs"


def _invalid(what: str, where: str) -> NoReturn:
    raise LensjaxError(ExitCode.DATA_INVALID, what, where, REMEDY)


def content_digest(manifest: SplitManifest) -> str:
    """SHA-256, in hex, of what was asked and of all entries, however they are stored."""
    sha = hashlib.sha256(f"lensjax split {FORMAT}\n".encode())
    sha.update(json.dumps(asdict(manifest.asked), sort_keys=True).encode())
    for column in (manifest.file, manifest.brick):
        sha.update(json.dumps(column.names).encode())
        sha.update(np.ascontiguousarray(column.code, "<i4").data)
    for text in (manifest.task_id, manifest.lrg_id):
        ends, data = _buffers(text)
        sha.update(np.ascontiguousarray(np.diff(ends), "<i4").data)
        sha.update(data[ends[0] : ends[-1]])
    for numbers, kind in ((manifest.row, "<i4"), (manifest.ra, "<f8"), (manifest.dec, "<f8")):
        sha.update(np.ascontiguousarray(numbers, kind).data)
    for codes in (manifest.split, manifest.unpaired):
        sha.update(np.ascontiguousarray(codes, "i1").data)
    return sha.hexdigest()


def text_lengths(text: pa.Array) -> np.ndarray:
    """Bytes of each value of a string array, int64 [n]."""
    return np.diff(_buffers(text)[0])


def _buffers(text: pa.Array) -> tuple[np.ndarray, memoryview]:
    """Where each value begins, and the last ends, int64 [n + 1]; and the bytes they begin in."""
    wide = text.cast(pa.large_binary())
    _, offsets, data = wide.buffers()
    ends = np.frombuffer(offsets, np.int64)[wide.offset : wide.offset + len(wide) + 1]
    return ends, memoryview(data or b"").cast("B")
