"""One pass over the bytes: every file hashed, every stamp decoded, validated and measured.

Not the checks: they judge what the scan brings, which is small. Files are read in pieces by worker
processes (`workers`), each piece wholly by one; StampSets that are in memory anyhow are measured
where they are.

    >>> scan = scan_files(source, workers=2)
    >>> scan.rows, scan.measured, scan.difference, scan.findings
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import fsspec
import numpy as np

from lensjax import schema
from lensjax.checks.measure import Difference, Measured, difference, measure, unmeasured
from lensjax.checks.rows import Rows, Sets, of_files, of_sets
from lensjax.checks.workers import run_tasks
from lensjax.data.digests import keyed_hash, label_digest
from lensjax.data.files import REMEDY, FileSource
from lensjax.data.formats import DAMAGE, Format, Shard, damage, finding, unreadable
from lensjax.data.record import compare
from lensjax.data.rows import Stamps, stamps_of
from lensjax.data.stamps import validate_planes
from lensjax.data.stampset import Finding
from lensjax.progress import progress_bar
from lensjax.schema import ExitCode, LensjaxError

CHUNK_ROWS = 64  # of StampSets: 3 MB of pixels
HASH_FILES = 64  # small files in one task
Fetch = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Scan:
    """What a scan brings. Of pairs: `pairs` int64 [m, 2], rows of a stamp and of its control, and
    their `difference`. `set_aside`: rows left out for one stamp that cannot be used, of which
    `findings` say why. `fetch(rows)` reads pixels again, float32 [k, 64, 64, 3]."""

    rows: Rows
    measured: Measured
    pairs: np.ndarray
    difference: Difference
    findings: list[Finding]
    set_aside: int
    fetch: Fetch


# -- StampSets ------------------------------------------------------------------------------------


def scan_sets(sets: Sets, findings: Sequence[Finding] = (), *, progress: bool = True) -> Scan:
    """The scan of StampSets, whose reader found `findings`."""
    rows = of_sets(sets)
    arrays = [sets[name].stamps for name in schema.SPLITS if name in sets]
    starts = np.cumsum([0, *map(len, arrays)])

    def fetch(index: np.ndarray) -> np.ndarray:
        out = np.empty((len(index), *schema.STAMP_SHAPE), np.float32)
        for start, stamps in zip(starts, arrays, strict=False):
            mine = (index >= start) & (index < start + len(stamps))
            out[mine] = stamps[index[mine] - start]
        return out

    measured = unmeasured(len(rows))
    found = list(findings)
    with progress_bar(
        total=len(rows), desc="checking stamps", unit="stamp", disable=not progress
    ) as bar:
        for start, stamps in zip(starts, arrays, strict=False):
            for first in range(0, len(stamps), CHUNK_ROWS):
                planes = _planes(np.asarray(stamps[first : first + CHUNK_ROWS]))
                found += _unusable(rows, planes, start + first)
                at = slice(start + first, start + first + len(planes))
                for whole, part in zip(measured, measure(planes), strict=True):
                    whole[at] = part
                bar.update(len(planes))
    pairs = paired(rows)
    return Scan(rows, measured, pairs, _compare(rows, pairs, fetch), found, 0, fetch)


def _unusable(rows: Rows, planes: np.ndarray, start: int) -> list[Finding]:
    """What is wrong with the stamps from row `start` on: nothing can be set aside any more."""
    return [
        finding(cause.message, rows.where(start + cause.row, cause.band))
        for cause in validate_planes(planes)
    ]


def paired(rows: Rows) -> np.ndarray:
    """int64 [m, 2]: rows of the stamp and of the control of each pair of one of either."""
    size = np.bincount(rows.pair, minlength=1)
    positives = np.bincount(rows.pair, rows.label == 1, minlength=1)
    sound = (size == 2) & (positives == 1)
    order = np.lexsort((-rows.label.astype(np.int8), rows.pair))
    return order[sound[rows.pair[order]]].reshape(-1, 2)


def _compare(rows: Rows, pairs: np.ndarray, fetch: Fetch) -> Difference:
    parts = [Difference(np.zeros(0, bool), np.zeros(0), np.zeros(0, np.float32))]
    for start in range(0, len(pairs), CHUNK_ROWS):
        part = pairs[start : start + CHUNK_ROWS]
        stamps, controls = (_planes(fetch(column)) for column in part.T)
        parts.append(difference(stamps, controls, reach_px(rows.numbers, part[:, 0])))
    return Difference(*(np.concatenate(x) for x in zip(*parts, strict=True)))


def _planes(stamps: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(stamps, -1, 1))


def reach_px(numbers: dict[str, np.ndarray], index: np.ndarray) -> np.ndarray:
    """How far from the centre an arc may go (contracts.md, pairs): float [k] pixels."""
    theta_e, psf, scale = (
        numbers[name][index] for name in ("theta_e_arcsec", "psf_fwhm_arcsec", "pixel_scale_arcsec")
    )
    with np.errstate(all="ignore"):  # rows that are set aside may say anything
        return (3.0 * theta_e + 2.0 * psf) / scale


# -- files ----------------------------------------------------------------------------------------


class _Task(NamedTuple):
    """What a worker is told: files to hash (path, name), then (unless there is no shard) a piece;
    `used` [k, 2] which members of its rows, `reach` [k] of the pairs."""

    filesystem: fsspec.AbstractFileSystem
    form: Format
    hashes: tuple[tuple[str, str], ...]
    shard: Shard | None = None
    piece: range = range(0)
    start: int = 0  # of the shard, in the listing
    used: np.ndarray | None = None
    reach: np.ndarray | None = None


class _Result(NamedTuple):
    """What a worker brings: keys and digests by path, faults by row of the shard, damages of files
    (and the row after which nothing was read), and what it measured, [members, k] each."""

    start: int
    piece: range
    hashed: dict[str, tuple[str | None, str]]
    faults: list[tuple[int, Finding]]
    damages: list[tuple[int, Finding]]
    measured: list[tuple[int, int, Measured]]  # first row of the shard, member
    differences: list[tuple[int, Difference]]


def scan_files(source: FileSource, *, workers: int, progress: bool = True) -> Scan:
    """The scan of a user's files; every file not hashed before is hashed on the way.

    Raises LensjaxError (RESOURCE) if a worker process is killed, or a folder or the root's
    manifest.json cannot be read."""
    before = source.keys()
    listed, findings = source.listing
    stamps = _in_order(stamps_of(listed, listed.good & (listed.split >= 0)), listed.split)
    place = np.full((2, len(listed)), -1, np.int32)  # of each row's members, among the stamps
    place[stamps.member, stamps.row] = np.arange(len(stamps.row))
    rows = of_files(source, stamps)
    measured = unmeasured(len(rows))
    whole = Difference(
        np.zeros(len(listed), bool), np.zeros(len(listed)), np.full(len(listed), np.nan, np.float32)
    )
    sound = np.ones(len(listed), bool)
    findings, digests = list(findings), {}
    left_out = {one.where for one in findings if one.severity == "ERROR"}
    with progress_bar(
        total=len(stamps.row), desc="checking stamps", unit="stamp", disable=not progress
    ) as bar:
        for result in run_tasks(_work, list(_tasks(source, place)), workers):
            for path, (key, digest) in result.hashed.items():
                digests[path] = source.memo.put(key, digest)
            for row, fault in result.faults:
                if (place[:, result.start + row] >= 0).any():
                    sound[result.start + row] = False
                    findings.append(fault)
            for after, fault in result.damages:
                if result.piece or fault.where not in left_out:  # the listing has said why
                    findings.append(fault)
                sound[result.start + after : result.start + result.piece.stop] = False
            for first, member, part in result.measured:
                at = place[member, result.start + first :][: len(part.layout)]
                for array, values in zip(measured, part, strict=True):
                    array[at[at >= 0]] = values[at >= 0]
                bar.update(int((at >= 0).sum()))
            for first, part in result.differences:
                at = slice(result.start + first, result.start + first + len(part.total))
                for array, values in zip(whole, part, strict=True):
                    array[at] = values
    source.memo.save()
    changed = [name for name, key in source.keys().items() if key != before[name]]
    findings += [finding(f"was changed while it was read. {REMEDY}", name) for name in changed]
    set_aside = int((~(listed.good & sound) & (listed.split >= 0)).sum())
    scan = _collect(source, stamps, rows, measured, whole, sound, findings, set_aside)
    found = _against_record(source, digests, scan)
    return replace(scan, findings=[*findings, *found])


def _in_order(stamps: Stamps, split: np.ndarray) -> Stamps:
    """Stamps of a split together, in the order of the files."""
    order = np.lexsort((stamps.member, stamps.row, split[stamps.row]))
    return Stamps(stamps.row[order].astype(np.int32), stamps.member[order])


def _collect(
    source: FileSource,
    stamps: Stamps,
    rows: Rows,
    measured: Measured,
    whole: Difference,
    sound: np.ndarray,
    findings: list[Finding],
    set_aside: int,
) -> Scan:
    """The Scan of the sound rows."""
    keep = sound[stamps.row]
    if not keep.all():
        stamps = Stamps(stamps.row[keep], stamps.member[keep])
        rows, measured = rows.keep(keep), Measured(*(array[keep] for array in measured))
    control = np.flatnonzero(stamps.member == 1)
    pairs = np.stack([control - 1, control], axis=1)  # a control follows its stamp
    told = Difference(*(array[stamps.row[control]] for array in whole))

    def fetch(index: np.ndarray) -> np.ndarray:
        return _fetch(source, stamps, index)

    return Scan(rows, measured, pairs, told, findings, set_aside, fetch)


def _against_record(source: FileSource, hashed: dict[str, str], scan: Scan) -> list[Finding]:
    """What differs from the manifest of the data root, if it has one; `hashed`: digests by path of
    the files that were hashed now."""
    try:
        if source.record is None:
            return []
    except LensjaxError as error:
        if error.code == ExitCode.RESOURCE:  # no fault of the data: nothing could be judged
            raise
        return [finding(error.what, error.where, check="labels", code=error.code)]
    files = source.files.items()
    digests = {name: hashed.get(path) or source.memo.known(path) or "" for name, path in files}
    complete = all(one.severity == "NOTE" for one in scan.findings)
    return compare(source.record, digests, label_digests(scan.rows), complete)


def _tasks(source: FileSource, place: np.ndarray) -> Iterator[_Task]:
    """Every file's hash is made by the worker that reads it next, while it is in memory."""
    listed = source.listing[0]
    names = {path: name for name, path in source.files.items()}
    unhashed = {path: names[path] for path in source.unhashed()}
    told = (source.filesystem, source.form)
    reach = reach_px(listed.numbers, np.arange(len(listed)))
    for shard, start in zip(listed.shards, listed.starts()[:-1].tolist(), strict=True):
        name = unhashed.pop(shard.path, None)
        mine = ((shard.path, name),) if name else ()
        for piece in source.form.pieces(source.filesystem, shard):
            at = slice(start + piece.start, start + piece.stop)
            used = place[:, at].T >= 0
            if mine or used.any():
                yield _Task(*told, mine, shard, piece, start, used, reach[at])
            mine = ()
    others = sorted(unhashed.items())
    for first in range(0, len(others), HASH_FILES):
        yield _Task(*told, tuple(others[first : first + HASH_FILES]))


def _work(task: _Task) -> _Result:
    """In a worker process: one piece, hashed, decoded, validated and measured."""
    result = _Result(task.start, task.piece, {}, [], [], [], [])
    for path, name in task.hashes:
        try:
            result.hashed[path] = keyed_hash(task.filesystem, path)
        except OSError as error:
            result.damages.append((0, unreadable(error, name)))
    if task.shard is None or task.used is None or task.reach is None or result.damages:
        return result
    done = task.piece.start
    try:
        for block in task.form.blocks(task.filesystem, task.shard, task.piece):
            result.faults.extend(block.faults)
            count = block.pixels.shape[1]
            at = slice(block.first - task.piece.start, block.first - task.piece.start + count)
            for member, planes in enumerate(block.pixels):
                if task.used[at, member].any():
                    result.measured.append((block.first, member, measure(planes)))
            if len(block.pixels) == 2:
                told = difference(block.pixels[0], block.pixels[1], task.reach[at])
                result.differences.append((block.first, told))
            done = block.first + count
    except DAMAGE as error:
        result.damages.append((done, damage(error, done, task.shard.name)))
    return result


def _fetch(source: FileSource, stamps: Stamps, index: np.ndarray) -> np.ndarray:
    """Pixels of the stamps `index`, read again: float32 [k, 64, 64, 3]."""
    out = np.zeros((len(index), *schema.STAMP_SHAPE), np.float32)
    listed, starts = source.listing[0], source.listing[0].starts()
    row, member = stamps.row[index], stamps.member[index]
    shard = listed.shard[row]
    for k in np.unique(shard):
        mine = np.flatnonzero(shard == k)
        local = row[mine] - starts[k]
        for piece in source.form.pieces(source.filesystem, listed.shards[k]):
            wanted = (local >= piece.start) & (local < piece.stop)
            if not wanted.any():
                continue
            for block in source.form.blocks(source.filesystem, listed.shards[k], piece):
                inside = wanted & (local >= block.first)
                inside &= local < block.first + block.pixels.shape[1]
                for j in np.flatnonzero(inside):
                    planes = block.pixels[member[mine[j]], local[j] - block.first]
                    out[mine[j]] = np.moveaxis(planes, 0, -1)
    return out


def label_digests(rows: Rows) -> dict[str, str]:
    """The label digest (digests.label_digest) of every split that has rows."""
    return {
        name: label_digest(rows.stamp_id[mine], rows.label[mine])
        for name in schema.SPLITS
        if (mine := rows.of_split(name)).any()
    }
