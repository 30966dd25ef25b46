"""Is any stamp there twice: by id, by content, turned or mirrored, or with a little noise?

Copies across splits or across hosts are errors; within one host of one split (controls shared
by the rows of a host) they are counted. Content is found by 128-bit sums over pixels that no turn
can change, near-copies by a fingerprint of the sky noise outside r = 28 px, which an injected arc
does not change, confirmed on the pixels. Cannot see a copy shifted by part of a pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.spatial import KDTree

from lensjax import schema
from lensjax.checks.measure import OUTSKIRTS_RADIUS, Measured
from lensjax.checks.result import Outcome
from lensjax.checks.rows import Rows
from lensjax.data.stampset import Finding
from lensjax.schema import ExitCode

FINGERPRINT_RADIUS = 0.3  # noise copies up to 0.05 sky sigma; unrelated stamps are about 5 apart
SAME_HOST_CELL = 0.1  # within one host of one split, fingerprints in one cell count once
NEIGHBOURS = 8
SLAB_POINTS = 2**18  # fingerprints in one tree, 25 MB
ASKED_AT_ONCE = 2**16  # points whose neighbours are in memory together, 9 MB
CONFIRMED_AT_ONCE = 512  # pairs whose pixels are in memory together, 50 MB
MIN_CORRELATION = 0.7  # of second differences beyond r = 28 px; unrelated noise: 0.00 +- 0.01
_HASH_STEP = np.uint64(0x9E3779B97F4A7C15)  # odd: no digit of it is lost
_OUTSIDE = schema.radius_map() >= OUTSKIRTS_RADIUS


class _Copies(NamedTuple):
    """One representative row for each distinct content, findings, and copies within one host."""

    representative: np.ndarray
    findings: list[Finding]
    within_host: int


def check_duplicates(
    rows: Rows, measured: Measured, fetch: Callable[[np.ndarray], np.ndarray]
) -> Outcome:
    """ERROR (exit 10) for repeated stamp ids; ERROR (exit 11) for copies, exact, turned or noisy,
    across splits or hosts; NOTE with their number for copies within one host of one split.
    `fetch(rows)` gives pixels, float32 [k, 64, 64, 3]."""
    findings = _repeated_ids(rows)
    group = rows.host * np.int32(len(schema.SPLITS)) + rows.split  # one host of one split
    copies = _exact_copies(rows, measured, group)
    near = _near_copies(rows, measured, group, copies.representative, fetch)
    findings += copies.findings + near
    unmeasured = int(np.isnan(measured.fingerprint).any(axis=1).sum())
    notes = []
    if copies.within_host:
        notes.append(f"{copies.within_host} stamps repeat another of their own host and split")
    if unmeasured:
        notes.append(f"{unmeasured} stamps without sky noise were not searched for noisy copies")
    findings += [Finding("duplicates", "NOTE", note, "", ExitCode.LEAK) for note in notes]
    counts = {
        "copies": len(copies.findings),
        "near_copies": len(near),
        "copies_within_host": copies.within_host,
        "not_searched_for_near_copies": unmeasured,
    }
    message = f"{len(copies.representative)} different contents in {len(rows)} stamps."
    return Outcome(message, tuple(findings), counts)


def _repeated_ids(rows: Rows) -> list[Finding]:
    order = np.argsort(rows.stamp_id, kind="stable")
    ids = rows.stamp_id[order]
    again = np.flatnonzero(ids[1:] == ids[:-1])
    return [
        Finding(
            "duplicates",
            "ERROR",
            f"stamp id {rows.name(order[i])} is used twice",
            f"{rows.where(order[i])} and {rows.where(order[i + 1])}",
            ExitCode.DATA_INVALID,
        )
        for i in again.tolist()
    ]


def _exact_copies(rows: Rows, measured: Measured, group: np.ndarray) -> _Copies:
    """Copies under the 8 turns and mirrorings: the same content; the same layout too if not
    turned."""
    order = np.lexsort(measured.content.T)
    content = measured.content[order]
    starts = np.flatnonzero(np.append(True, (content[1:] != content[:-1]).any(axis=1)))
    sizes = np.diff(starts, append=len(order))
    representative = np.arange(len(rows))
    findings: list[Finding] = []
    within_host = 0
    for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
        first, *others = np.sort(order[start : start + size]).tolist()
        for row in others:
            representative[row] = first
            if group[row] == group[first]:
                within_host += 1
                continue
            same = measured.layout[row] == measured.layout[first]
            findings.append(_leak(rows, row, first, "copy" if same else "turned or mirrored copy"))
    return _Copies(np.unique(representative), findings, within_host)


def dihedral(stamp: np.ndarray) -> list[np.ndarray]:
    """The 8 turns and mirrorings of `stamp` [64, 64, 3], itself first (views)."""
    turns = [np.rot90(stamp, k) for k in range(4)]
    return turns + [turn[:, ::-1] for turn in turns]


def _near_copies(
    rows: Rows,
    measured: Measured,
    group: np.ndarray,
    candidates: np.ndarray,
    fetch: Callable[[np.ndarray], np.ndarray],
) -> list[Finding]:
    """Pairs of different hosts or splits with nearly equal fingerprints, confirmed by pixels."""
    candidates = candidates[np.isfinite(measured.fingerprint[candidates]).all(axis=1)]
    first = np.unique(_cells(measured.fingerprint, group, candidates), return_index=True)[1]
    candidates = candidates[np.sort(first)]
    if len(candidates) < 2:
        return []
    pairs = candidates[_close(measured.fingerprint[candidates], group[candidates])]
    findings = []
    for start in range(0, len(pairs), CONFIRMED_AT_ONCE):
        part = pairs[start : start + CONFIRMED_AT_ONCE]
        wanted = np.unique(part)
        pixels = fetch(wanted)
        findings += _confirmed(rows, part, pixels[np.searchsorted(wanted, part)])
    return findings


def _cells(fingerprint: np.ndarray, group: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """uint64 [k]: equal for `rows` of one group whose fingerprints lie in one cell (a hash, so
    that ten million need no more memory than eight bytes each)."""
    found = group[rows].astype(np.uint64)
    for column in fingerprint.T:
        cell = np.floor(column[rows].astype(np.float32) / SAME_HOST_CELL).astype(np.int64)
        found = found * _HASH_STEP + cell.astype(np.uint64)  # modulo 2^64
    return found


def _confirmed(rows: Rows, pairs: np.ndarray, pixels: np.ndarray) -> list[Finding]:
    """A finding for each of `pairs` [k, 2] whose pixels [k, 2, 64, 64, 3] share their sky noise."""
    findings = []
    for (i, j), stamps in zip(pairs.tolist(), pixels, strict=True):
        correlation = max(_correlation(turned, stamps[1]) for turned in dihedral(stamps[0]))
        if correlation >= MIN_CORRELATION:
            how = f"near copy (sky noise correlates by {correlation:.3f})"
            findings.append(_leak(rows, max(i, j), min(i, j), how))
    return findings


def _close(points: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Pairs (i < j) of different groups within FINGERPRINT_RADIUS: int64 [k, 2]. One slab of the
    first coordinate after another, each with what is near beyond it, as a tree of all would take as
    much memory as all else."""
    first = points[:, 0].astype(np.float64)
    order = np.argsort(first, kind="stable")
    pairs = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(order), SLAB_POINTS):
        last = first[order[min(start + SLAB_POINTS, len(order)) - 1]]
        end = np.searchsorted(first, last + FINGERPRINT_RADIUS, "right", sorter=order)
        mine = order[start:end]
        pairs.append(mine[_close_in_slab(points[mine].astype(np.float64), group[mine])])
    return np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)


def _close_in_slab(points: np.ndarray, group: np.ndarray) -> np.ndarray:
    """The pairs among `points`, float64 [n, 12], in any order. Nearest neighbours first; a full
    search only where all of them are of the point's own group."""
    if len(points) < 2:
        return np.zeros((0, 2), np.int64)
    tree = KDTree(points, leafsize=32)
    k = min(NEIGHBOURS + 1, len(points))
    pairs, full = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.int64)]
    for start in range(0, len(points), ASKED_AT_ONCE):
        part = points[start : start + ASKED_AT_ONCE]
        distance, index = tree.query(part, k=k, distance_upper_bound=FINGERPRINT_RADIUS)
        i, n = np.nonzero(np.isfinite(distance))
        i, j = i + start, np.asarray(index)[i, n]
        other = group[i] != group[j]
        pairs.append(np.stack([i[other], j[other]], axis=1))
        full.append(np.setdiff1d(np.flatnonzero(np.isfinite(distance[:, -1])) + start, i[other]))
    for row in np.concatenate(full) if k == NEIGHBOURS + 1 else ():
        near = np.asarray(tree.query_ball_point(points[row], FINGERPRINT_RADIUS), np.int64)
        near = near[group[near] != group[row]]
        pairs.append(np.stack([np.full(len(near), row), near], axis=1))
    return np.concatenate(pairs)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson correlation of second differences beyond r = 28 px, along rows and columns, all
    bands: of the pixels' noise, blind to smooth light, which two galaxies may share."""
    along = _OUTSIDE[2:] & _OUTSIDE[1:-1] & _OUTSIDE[:-2]
    x, y = (_curvature(image.astype(np.float64), along) for image in (a, b))
    norm = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / norm) if norm > 0 else 0.0


def _curvature(image: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Second differences of `image` [64, 64, 3] down and across where `along` [62, 64], less
    their mean in each direction and band, flat."""
    down = np.diff(image, 2, axis=0)[along]
    across = np.diff(image, 2, axis=1)[along.T]
    return np.concatenate(
        [part - part.mean(axis=0, keepdims=True) for part in (down, across)]
    ).ravel()


def _leak(rows: Rows, row: int, first: int, how: str) -> Finding:
    what = "splits" if rows.split[row] != rows.split[first] else "hosts"
    homes = (f"{schema.SPLITS[rows.split[k]]} {rows.host_name(rows.host[k])}" for k in (first, row))
    cause = f"{rows.name(row)} is a {how} of {rows.name(first)}, across {what} ({', '.join(homes)})"
    where = f"{rows.where(first)} and {rows.where(row)}"
    return Finding("duplicates", "ERROR", cause, where, ExitCode.LEAK)
