"""The ten strangest stamps by each check: those nearest to what it refuses, with how near.

Not a check and no verdict: something is always strangest, in the soundest data too. Of each host
the strangest alone is listed, so that a pair does not fill two places.

    >>> for ranking in rankings(scan, looked): print(ranking.title, ranking.values)
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from scipy.spatial import KDTree

from lensjax import schema
from lensjax.checks.measure import Measured
from lensjax.checks.rows import Rows
from lensjax.checks.scan import Scan
from lensjax.checks.sky import nearest_arcsec
from lensjax.curate.outliers import of_labels, of_metadata_score, of_survey
from lensjax.curate.pixels import EXTREMES, Looked
from lensjax.curate.ranking import SHOWN, Ranking, ranked
from lensjax.data.stamps import MAX_ABS

SKY_ARCSEC = 180.0 * 3600.0
SEARCH = (*(0.3 * 1.25**k for k in range(14)), np.inf)  # radii in which near fingerprints are
# looked for: the cost grows with a high power of the last one
CELL = 0.1  # fingerprints of one host and split in one cell count once
_NEIGHBOURS, _CROWD = 4, 128  # looked at of each point; and where all were of its own host


def rankings(scan: Scan, looked: Looked) -> list[Ranking]:
    """All rankings, in the order of the checks. Where nothing can be ranked, `rows` is [0, m]."""
    return [
        *of_survey(scan.rows, scan.measured),
        of_metadata_score(scan.rows),
        *of_stamps(scan.rows, looked),
        *of_pairs(scan),
        of_splits(scan.rows),
        of_duplicates(scan.rows, scan.measured),
        of_labels(scan.rows),
    ]


# -- stamps, pairs --------------------------------------------------------------------------------

_STAMPS = {
    "largest": (
        "Nearest to the limit of pixel values",
        f"largest |pixel| in nanomaggies; refused beyond {MAX_ABS:g}",
    ),
    "brightest": (
        "Brightest pixel",
        "above the median of the outer annulus (20 <= r < 32 px), in its sky sigmas; no limit",
    ),
    "darkest": (
        "Most negative pixel",
        "below the median of the outer annulus, in its sky sigmas; no limit",
    ),
    "narrowest": (
        "Narrowest outer annulus",
        f"its MAD over the range of the band; refused below {schema.MIN_MAD_OF_RANGE:g}",
    ),
    "flattest": (
        "Lowest variance",
        "standard deviation of a band in nanomaggies; refused at 0",
    ),
}


def of_stamps(rows: Rows, looked: Looked) -> Iterator[Ranking]:
    """By each of pixels.EXTREMES; the note names the band."""
    every = np.arange(len(rows))[:, None]
    for k, name in enumerate(EXTREMES):
        yield ranked(
            ("stamps", name, *_STAMPS[name]),
            every,
            looked.values[:, k],
            rows.host,
            smallest=name in ("narrowest", "flattest"),
            notes=np.array([f"band {band}" for band in schema.BANDS])[looked.band[:, k]],
        )


def of_pairs(scan: Scan) -> Iterator[Ranking]:
    """By light beyond the arc's reach, by summed difference and by unlike noise."""
    stamp, control = scan.pairs.T
    host, told = scan.rows.host[stamp], scan.difference
    fingerprint = scan.measured.fingerprint
    apart = np.linalg.norm(fingerprint[stamp] - fingerprint[control], axis=1)
    yield ranked(
        (
            "pairs", "outside", "Most light far from the centre",
            "share of the summed absolute r-band difference beyond 3 theta_E + 2 PSF FWHM",
        ),
        scan.pairs, told.outside, host,
    )  # fmt: skip
    yield ranked(
        (
            "pairs", "difference", "Least light added",
            "stamp less control, summed over the r band, nanomaggies; negative: exchanged",
        ),
        scan.pairs, told.total, host, smallest=True,
    )  # fmt: skip
    yield ranked(
        (
            "pairs", "sky", "Stamp and control least of one sky",
            "distance of the fingerprints of their noise beyond r = 28 px; of one galaxy under "
            "0.5, of two about 5",
        ),
        scan.pairs, apart, host,
    )  # fmt: skip


# -- splits, duplicates ---------------------------------------------------------------------------


def of_splits(rows: Rows) -> Ranking:
    """Hosts of different splits by their separation."""
    ra, dec = rows.numbers["ra"], rows.numbers["dec"]
    group = rows.host.astype(np.int64) * len(schema.SPLITS) + rows.split
    first = np.unique(group, return_index=True)[1]
    first = first[np.isfinite(ra[first]) & np.isfinite(dec[first])]
    pairs, values = [np.zeros((0, 2), np.int64)], [np.zeros(0)]
    for a, b in combinations(range(len(schema.SPLITS)), 2):
        in_a, in_b = first[rows.split[first] == a], first[rows.split[first] == b]
        if len(in_a) and len(in_b):
            apart, nearest = nearest_arcsec(ra[in_a], dec[in_a], ra[in_b], dec[in_b], SKY_ARCSEC)
            pairs.append(np.stack([in_a, in_b[nearest]], axis=1))
            values.append(apart)
    index = np.concatenate(pairs)
    return ranked(
        ("splits", "separation", "Nearest hosts of different splits", "separation in arcsec"),
        index, np.concatenate(values), group[index[:, 0]], smallest=True,
    )  # fmt: skip


def of_duplicates(rows: Rows, measured: Measured) -> Ranking:
    """Stamps of different hosts or splits by the distance of their fingerprints."""
    group = rows.host.astype(np.int64) * len(schema.SPLITS) + rows.split
    known = np.flatnonzero(np.isfinite(measured.fingerprint).all(axis=1))
    cell = np.floor(measured.fingerprint[known] / CELL)
    key = np.concatenate([group[known, None], cell], axis=1)
    index = known[np.sort(np.unique(key, axis=0, return_index=True)[1])]
    pairs, values = _nearest(measured.fingerprint[index], group[index])
    pairs = index[pairs]
    return ranked(
        (
            "duplicates", "noise", "Most alike noise of different hosts or splits",
            "distance of fingerprints, the same for all turns and mirrorings; copies are under "
            "0.3, unrelated stamps about 5 apart, the nearest of many nearer",
        ),
        pairs, values, group[pairs[:, 0]], smallest=True,
    )  # fmt: skip


def _nearest(points: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (i < j) of points [n, d] of different groups, int64 [k, 2], and their distances: all
    the nearest, within the smallest of SEARCH that has SHOWN of different first groups."""
    found, values = np.zeros((0, 2), np.int64), np.zeros(0)
    if len(points) < 2:
        return found, values
    tree, every = KDTree(points), np.arange(len(points))
    enough = min(SHOWN, len(np.unique(group)) // 2)
    for radius in SEARCH:
        i, j, length, crowded = _others(tree, every, group, _NEIGHBOURS, radius)
        if len(crowded):  # by points of their own host: look further
            more = _others(tree, crowded, group, _CROWD, radius)
            i, j, length = (np.concatenate(x) for x in zip((i, j, length), more[:3], strict=True))
        both = np.sort(np.stack([i, j], axis=1), axis=1)
        found, first = np.unique(both, axis=0, return_index=True)
        values = length[first]
        if len(np.unique(group[found[:, 0]])) >= enough:
            break
    return found, values


def _others(
    tree: KDTree, index: np.ndarray, group: np.ndarray, k: int, radius: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of the points `index` those of the `k` nearest within `radius` that are of another group: the
    points, their neighbours, the distances; and the points of which all k are of their own."""
    k = min(k, tree.n)
    points = np.asarray(tree.data)[index]
    length, near = map(np.asarray, tree.query(points, k=k, distance_upper_bound=radius))
    real = np.isfinite(length)
    own = real & (group[np.where(real, near, 0)] == group[index, None])
    row, column = np.nonzero(real & ~own)
    crowded = index[own.all(axis=1)] if k < tree.n else index[:0]
    return index[row], near[row, column], length[row, column], crowded
