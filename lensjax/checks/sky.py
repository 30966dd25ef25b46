"""Separations on the sky, through unit vectors, so that poles and ra = 0 are no exception.

>>> nearest_arcsec(ra_a, dec_a, ra_b, dec_b, within_arcsec=180.0)   # inf where there is none
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from lensjax.schema import ExitCode, LensjaxError

MAX_PAIRS = 10_000_000  # of near positions: 160 MB
ARCSEC_PER_RADIAN = 180.0 * 3600.0 / np.pi


def unit_vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """float64 [n, 3] of ra, dec in degrees."""
    lon, lat = np.deg2rad(np.asarray(ra, float)), np.deg2rad(np.asarray(dec, float))
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def chord(separation_arcsec: float) -> float:
    """Length of the chord under an angle, on the unit sphere."""
    return 2.0 * np.sin(separation_arcsec / ARCSEC_PER_RADIAN / 2.0)


def nearest_arcsec(
    ra: np.ndarray,
    dec: np.ndarray,
    other_ra: np.ndarray,
    other_dec: np.ndarray,
    within_arcsec: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Separation of each (ra, dec) from the nearest of the others, arcsec, float64 [n], inf beyond
    `within_arcsec`; and that one's index, int64 [n] (the number of others where there is none)."""
    if len(other_ra) == 0:
        return np.full(len(ra), np.inf), np.zeros(len(ra), np.int64)
    tree = KDTree(unit_vectors(other_ra, other_dec))
    length, index = tree.query(
        unit_vectors(ra, dec), distance_upper_bound=chord(within_arcsec) * (1.0 + 1e-12)
    )
    found = np.isfinite(length)
    separation = np.full(len(ra), np.inf)
    separation[found] = 2.0 * np.arcsin(length[found] / 2.0) * ARCSEC_PER_RADIAN
    return separation, np.asarray(index)


def repeats(ra: np.ndarray, dec: np.ndarray, within_arcsec: float) -> np.ndarray:
    """bool [n]: the positions closer than `within_arcsec` to one before. Raises LensjaxError
    (DATA_INVALID) for a crowd: more than ten million pairs of different positions that close."""
    again = np.ones(len(ra), bool)
    if not len(ra):
        return again
    _, first = np.unique(np.stack([ra, dec], 1), axis=0, return_index=True)
    again[first] = False  # of positions that are the very same, the others are
    tree, radius = KDTree(unit_vectors(ra[first], dec[first])), chord(within_arcsec)
    if tree.count_neighbors(tree, radius) > 2 * MAX_PAIRS + len(first):
        what = f"more than {MAX_PAIRS:,} pairs of rows within {within_arcsec:g} arcsec"
        raise LensjaxError(ExitCode.DATA_INVALID, f"{what}: no list of separate objects")
    pairs = first[tree.query_pairs(radius, output_type="ndarray").reshape(-1, 2)]
    again[pairs.max(axis=1)] = True
    return again
