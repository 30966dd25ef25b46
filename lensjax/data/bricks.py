"""The brick that a position lies in, for files that do not say: the tiles of the Legacy Surveys.

Not for files that have a brickname: theirs counts. Rows of 0.25 deg in declination, centred on
multiples of it; in each an even number of bricks, none wider than 0.25 deg; one at each pole.

    >>> brick_names(np.array([150.1, 359.99]), np.array([2.2, -0.01]))
    array(['1501p022', '3598p000'], dtype='<U8')
"""

from __future__ import annotations

import numpy as np

BRICK_DEG = 0.25
_ROWS = round(180 / BRICK_DEG) + 1
_MOST_COLUMNS = 10_000  # more than any row has


def _columns() -> np.ndarray:
    """int64 [rows]: how many bricks each row of declination has."""
    widest = np.abs(BRICK_DEG * np.arange(_ROWS) - 90.0) - BRICK_DEG / 2
    columns = 2 * np.ceil(180 / BRICK_DEG * np.cos(np.deg2rad(widest))).astype(np.int64)
    columns[[0, -1]] = 1
    return columns


def brick_names(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """U8 [n]: names of the bricks that hold positions in degrees, finite, dec within -90 .. 90:
    the tenths of a degree of the brick's centre, '1501p022'."""
    row = ((dec + 90.0 + BRICK_DEG / 2) / BRICK_DEG).astype(np.int64)
    columns = _columns()[row]
    column = np.minimum((ra % 360.0 / 360.0 * columns).astype(np.int64), columns - 1)
    codes, inverse = np.unique(row * _MOST_COLUMNS + column, return_inverse=True)
    row, column = np.divmod(codes, _MOST_COLUMNS)
    centre_ra, centre_dec = 360.0 * (column + 0.5) / _columns()[row], BRICK_DEG * row - 90.0
    # to 1e-4 deg first, so that 39.599999999999994 is 39.6, then cut to tenths, not rounded
    east, north = (
        (np.rint(np.abs(x) * 1e4).astype(np.int64) // 1000).tolist()
        for x in (centre_ra, centre_dec)
    )
    signs = np.where(centre_dec >= 0, "p", "m").tolist()
    names = [f"{a:04d}{sign}{d:03d}" for a, sign, d in zip(east, signs, north, strict=True)]
    return np.array(names, dtype="U8")[inverse.reshape(-1)]
