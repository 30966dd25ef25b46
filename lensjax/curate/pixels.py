"""The extreme pixels of every stamp, and the first stamps that cannot be used.

Not what the checks measure (lensjax.checks.measure), and no judgement: how near a stamp is to what
a check refuses. Every stamp is read once more, in pieces by worker processes; of each five numbers
are kept.

    >>> looked = look(scan, source, workers=2)
    >>> looked.values[:, EXTREMES.index("brightest")]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import fsspec
import numpy as np

from lensjax import schema
from lensjax.checks.measure import upper_median
from lensjax.checks.scan import CHUNK_ROWS, Scan
from lensjax.checks.workers import count_workers, run_tasks
from lensjax.data.files import FileSource
from lensjax.data.formats import DAMAGE, Format, Shard
from lensjax.data.source import Source
from lensjax.data.stamps import FILLS, MAX_ABS
from lensjax.progress import progress_bar

EXTREMES = ("largest", "brightest", "darkest", "narrowest", "flattest")
SHOWN_UNUSABLE = 12  # stamps whose pixels are kept to be shown
_CONTROL = " (control)"  # how a finding ends that is about a control
_RADIUS = schema.radius_map().ravel()
_ANNULUS = np.flatnonzero(
    (schema.OUTER_ANNULUS[0] <= _RADIUS) & (schema.OUTER_ANNULUS[1] > _RADIUS)
)


class Extremes(NamedTuple):
    """Of n stamps, each of EXTREMES over the bands: `values` float32 [n, 5] (NaN where there is
    none) and `band` int8 [n, 5], the band that it is of, an index into schema.BANDS.

    largest: |pixel|, nanomaggies; brightest, darkest: pixel above, and below, the median of the
    outer annulus, in its sky sigmas (1.4826 MAD); narrowest: MAD of the annulus over the band's
    range, the smallest; flattest: standard deviation of a band, nanomaggies, the smallest."""

    values: np.ndarray
    band: np.ndarray


class Unusable(NamedTuple):
    """A stamp that a check refuses: `where` (file, row, member) and the `causes` by band; its
    `planes`, float32 [3, 64, 64], or None where nothing could be decoded."""

    where: str
    causes: tuple[str, ...]
    planes: np.ndarray | None


class Looked(NamedTuple):
    """The Extremes of a scan's rows, and the first SHOWN_UNUSABLE unusable stamps of its files."""

    values: np.ndarray
    band: np.ndarray
    unusable: tuple[Unusable, ...]


def extremes(planes: np.ndarray) -> Extremes:
    """Of `planes`, float32 [n, 3, 64, 64] nanomaggies. Never raises for what is not finite."""
    n, bands = planes.shape[:2]
    flat = planes.reshape(n * bands, -1)
    with np.errstate(all="ignore"):
        low, high = flat.min(axis=1), flat.max(axis=1)
        annulus = np.take(flat, _ANNULUS, axis=1)
        sky = upper_median(annulus)
        mad = upper_median(np.abs(annulus - sky[:, None]))
        sigma = schema.MAD_TO_SIGMA * mad
        columns = np.stack(
            [
                np.maximum(np.abs(low), np.abs(high)),
                (high - sky) / sigma,
                (sky - low) / sigma,
                mad / (high - low),
                flat.std(axis=1),
            ],
            axis=1,
        ).reshape(n, bands, len(EXTREMES))
    smallest = np.array([name in ("narrowest", "flattest") for name in EXTREMES])
    rank = np.where(smallest, -columns, columns)
    finite = np.isfinite(columns).all(axis=1)
    band = np.where(np.isfinite(rank), rank, -np.inf).argmax(axis=1)
    values = np.take_along_axis(columns, band[:, None], axis=1)[:, 0]
    return Extremes(np.where(finite, values, np.nan).astype(np.float32), band.astype(np.int8))


def bad_pixels(stamp: np.ndarray) -> np.ndarray:
    """bool [64, 64]: pixels of a stamp [64, 64, 3] that no stamp may have, in any band."""
    with np.errstate(invalid="ignore"):
        bad = ~(np.abs(stamp) <= MAX_ABS) | np.isin(stamp, np.array(FILLS, np.float32))
    return np.asarray(bad.any(axis=-1))


def look(scan: Scan, source: Source | None, *, workers: int, progress: bool = True) -> Looked:
    """Look at all stamps of `scan`; with a source of files, at those it set aside too. Raises
    LensjaxError (RESOURCE) if a worker process is killed."""
    n = len(scan.rows)
    values = np.full((n, len(EXTREMES)), np.nan, np.float32)
    found = Looked(values, np.zeros((n, len(EXTREMES)), np.int8), ())
    with progress_bar(
        total=n, desc="looking at every stamp", unit="stamp", disable=not progress
    ) as bar:
        if isinstance(source, FileSource):
            return _look_at_files(scan, source, found, count_workers(workers), bar)
        for start in range(0, n, CHUNK_ROWS):
            index = np.arange(start, min(start + CHUNK_ROWS, n))
            planes = np.ascontiguousarray(np.moveaxis(scan.fetch(index), -1, 1))
            found.values[index], found.band[index] = extremes(planes)
            bar.update(len(index))
    return found


# -- files ----------------------------------------------------------------------------------------


class _Task(NamedTuple):
    """A piece of a shard, the `start` of the shard in the listing, and bool [k] which of the
    piece's rows are asked for."""

    filesystem: fsspec.AbstractFileSystem
    form: Format
    shard: Shard
    piece: range
    start: int
    asked: np.ndarray


class _Result(NamedTuple):
    """(first row of the shard, member, extremes) of each block, and unusable stamps."""

    start: int
    seen: list[tuple[int, int, Extremes]]
    unusable: list[Unusable]


def members(scan: Scan) -> np.ndarray:
    """int8 [n], of the scan of files: 1 for the controls of pairs, else 0."""
    member = np.zeros(len(scan.rows), np.int8)
    member[scan.pairs[:, 1]] = 1
    return member


def _look_at_files(scan: Scan, source: FileSource, found: Looked, workers: int, bar) -> Looked:
    listed = source.listing[0]
    place = np.full((2, len(listed)), -1, np.int64)  # of each row's members, in the scan
    at = listed.starts()[scan.rows.file] + scan.rows.row
    place[members(scan), at] = np.arange(len(scan.rows))
    unusable: list[Unusable] = []
    for result in run_tasks(_work, list(_tasks(source)), workers):
        for first, member, part in result.seen:
            mine = place[member, result.start + first :][: len(part.values)]
            for whole, values in zip(found[:2], part, strict=True):
                whole[mine[mine >= 0]] = values[mine >= 0]
            bar.update(int((mine >= 0).sum()))
        unusable += result.unusable[: SHOWN_UNUSABLE - len(unusable)]
    return found._replace(unusable=tuple(unusable))


def _tasks(source: FileSource) -> Iterator[_Task]:
    listed = source.listing[0]
    asked = listed.good & (listed.split >= 0)
    for shard, start in zip(listed.shards, listed.starts()[:-1].tolist(), strict=True):
        for piece in source.form.pieces(source.filesystem, shard):
            mine = asked[start + piece.start : start + piece.stop]
            if mine.any():
                yield _Task(source.filesystem, source.form, shard, piece, start, mine)


def _work(task: _Task) -> _Result:
    """In a worker process. What is damaged ends the piece: the scan has named it."""
    result = _Result(task.start, [], [])
    try:
        for block in task.form.blocks(task.filesystem, task.shard, task.piece):
            for member, planes in enumerate(block.pixels):
                result.seen.append((block.first, member, extremes(planes)))
            causes: dict[tuple[int, int], list[str]] = {}
            for row, fault in block.faults:
                if task.asked[row - task.piece.start]:
                    rest = fault.where.removeprefix(f"{task.shard.name} row {row}")
                    member = rest.endswith(_CONTROL)
                    band = rest.removesuffix(_CONTROL).strip()
                    told = f"{band}: {fault.message}" if band else fault.message
                    causes.setdefault((row, member), []).append(told)
            for (row, member), told in causes.items():
                if len(result.unusable) < SHOWN_UNUSABLE:
                    planes = block.pixels[int(member), row - block.first].copy()
                    where = f"{task.shard.name} row {row}{_CONTROL if member else ''}"
                    decoded = planes if planes.any() else None
                    result.unusable.append(Unusable(where, tuple(told), decoded))
    except DAMAGE:
        pass
    return result
