"""Is any stamp there twice: by id, by content, turned or mirrored, or with a little noise?

Copies across splits or across hosts are errors; within one host of one split (controls shared
by the rows of a host) they are counted. Content is found by a sum over pixels that no turn can
change, near-copies by a fingerprint of the sky noise outside r = 28 px, which an injected arc does
not change; both are then confirmed on the pixels. Cannot see a copy shifted by part of a pixel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial import KDTree

from lensjax import schema
from lensjax.checks.measure import OUTSKIRTS_RADIUS, Measured
from lensjax.checks.result import Outcome
from lensjax.checks.rows import Rows, codes
from lensjax.data.stampset import Finding
from lensjax.schema import ExitCode

FINGERPRINT_RADIUS = 0.3  # noise copies up to 0.05 sky sigma; unrelated stamps are about 5 apart
SAME_HOST_CELL = 0.1  # within one host of one split, fingerprints in one cell count once
NEIGHBOURS = 8
MIN_CORRELATION = 0.7  # of second differences beyond r = 28 px; unrelated noise: 0.00 +- 0.01
_OUTSIDE = schema.radius_map() >= OUTSKIRTS_RADIUS


class _Copies(NamedTuple):
    """One representative row for each distinct content, findings, and copies within one host."""

    representative: np.ndarray
    findings: list[Finding]
    within_host: int


def check_duplicates(rows: Rows, measured: Measured) -> Outcome:
    """ERROR (exit 10) for repeated stamp ids; ERROR (exit 11) for copies, exact, turned or noisy,
    across splits or hosts; NOTE with their number for copies within one host of one split."""
    findings = _repeated_ids(rows)
    group = rows.host * len(schema.SPLITS) + rows.split  # one host of one split
    copies = _exact_copies(rows, measured, group)
    near = _near_copies(rows, measured, group, copies.representative)
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
    ids = rows.table["stamp_id"]
    order = np.argsort(ids, kind="stable")
    again = np.flatnonzero(ids[order][1:] == ids[order][:-1])
    return [
        Finding(
            "duplicates",
            "ERROR",
            f"stamp id {ids[order[i]]} is used twice",
            f"{rows.where(order[i])} and {rows.where(order[i + 1])}",
            ExitCode.DATA_INVALID,
        )
        for i in again
    ]


def _exact_copies(rows: Rows, measured: Measured, group: np.ndarray) -> _Copies:
    """Copies under the 8 turns and mirrorings: candidates by equal sums, confirmed by pixels."""
    key = codes(np.ascontiguousarray(measured.pixel_sum).view("V24").reshape(-1))
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    sizes = np.diff(starts, append=len(order))
    representative = np.arange(len(rows))
    findings: list[Finding] = []
    within_host = 0
    for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
        originals: list[tuple[int, np.ndarray]] = []
        for row in order[start : start + size]:
            stamp = rows.stamps(np.array([row]))[0]
            found = _original(stamp, originals)
            if found is None:
                originals.append((row, stamp))
                continue
            first, how = found
            representative[row] = first
            if group[row] == group[first]:
                within_host += 1
            else:
                findings.append(_leak(rows, row, first, how))
    return _Copies(np.unique(representative), findings, within_host)


def _original(stamp: np.ndarray, originals: list) -> tuple[int, str] | None:
    """Row of the first of `originals` that `stamp` copies, and how."""
    for row, other in originals:
        for k, turned in enumerate(dihedral(stamp)):
            if np.array_equal(turned, other):
                return row, "copy" if k == 0 else "turned or mirrored copy"
    return None


def dihedral(stamp: np.ndarray) -> list[np.ndarray]:
    """The 8 turns and mirrorings of `stamp` [64, 64, 3], itself first (views)."""
    turns = [np.rot90(stamp, k) for k in range(4)]
    return turns + [turn[:, ::-1] for turn in turns]


def _near_copies(
    rows: Rows, measured: Measured, group: np.ndarray, candidates: np.ndarray
) -> list[Finding]:
    """Pairs of different hosts or splits with nearly equal fingerprints, confirmed by pixels."""
    candidates = candidates[np.isfinite(measured.fingerprint[candidates]).all(axis=1)]
    cell = np.floor(measured.fingerprint[candidates] / SAME_HOST_CELL).astype(np.int32)
    key = np.concatenate([group[candidates, None].astype(np.int32), cell], axis=1)
    first = np.unique(
        np.ascontiguousarray(key).view(f"V{key.shape[1] * 4}").reshape(-1), return_index=True
    )[1]
    candidates = candidates[np.sort(first)]
    if len(candidates) < 2:
        return []
    pairs = _close(measured.fingerprint[candidates].astype(np.float64), group[candidates])
    findings = []
    for i, j in candidates[pairs]:
        stamps = rows.stamps(np.array([i, j]))
        correlation = max(_correlation(turned, stamps[1]) for turned in dihedral(stamps[0]))
        if correlation >= MIN_CORRELATION:
            how = f"near copy (sky noise correlates by {correlation:.3f})"
            findings.append(_leak(rows, max(i, j), min(i, j), how))
    return findings


def _close(points: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Pairs (i < j) of different groups within FINGERPRINT_RADIUS: int64 [k, 2]. Nearest
    neighbours first; a full search only where all of them are of the point's own group."""
    tree = KDTree(points)
    k = min(NEIGHBOURS + 1, len(points))
    distance, index = tree.query(points, k=k, distance_upper_bound=FINGERPRINT_RADIUS)
    i = np.repeat(np.arange(len(points)), k)
    j = index.reshape(-1)
    real = np.isfinite(distance.reshape(-1))
    i, j = i[real], j[real]
    other = group[i] != group[j]
    crowded = np.setdiff1d(np.flatnonzero(np.isfinite(distance[:, -1])), i[other])
    pairs = [np.stack([i[other], j[other]], axis=1)]
    for row in crowded if k == NEIGHBOURS + 1 else ():
        near = np.asarray(tree.query_ball_point(points[row], FINGERPRINT_RADIUS), np.int64)
        near = near[group[near] != group[row]]
        pairs.append(np.stack([np.full(len(near), row), near], axis=1))
    return np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)


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
    table = rows.table
    what = "splits" if table["split"][row] != table["split"][first] else "hosts"
    cause = (
        f"{table['stamp_id'][row]} is a {how} of {table['stamp_id'][first]}, across {what} "
        f"({table['split'][first]} {table['lrg_id'][first]}, "
        f"{table['split'][row]} {table['lrg_id'][row]})"
    )
    where = f"{rows.where(first)} and {rows.where(row)}"
    return Finding("duplicates", "ERROR", cause, where, ExitCode.LEAK)
