"""Is a split what it says? Asked of the rows themselves, by other code than split them.

Not the phase 0 check of splits (lensjax.checks.splits), which asks the same of stamps before every
run: this one stands between splitting and writing.

    >>> verify(rows, split, reach_arcsec=180.0)
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from lensjax import schema
from lensjax.checks.sky import nearest_arcsec
from lensjax.curate.split import SkyRows
from lensjax.schema import ExitCode, LensjaxError


def verify(rows: SkyRows, split: np.ndarray, reach_arcsec: float) -> None:
    """Raises LensjaxError (LEAK) where two splits (int8 [n], index into schema.SPLITS, or -1) share
    a brick or a host, or have rows nearer to each other than `reach_arcsec`."""
    of_split = [np.flatnonzero(split == k) for k in range(len(schema.SPLITS))]
    for (a, first), (b, second) in combinations(zip(schema.SPLITS, of_split, strict=True), 2):
        for what, code in (("brick", rows.brick), ("host", rows.host)):
            shared = np.intersect1d(code[first], code[second])
            if len(shared):
                row = first[np.flatnonzero(code[first] == shared[0])[0]]
                _leak(f"{len(shared)} {what}s are in {a} and in {b}", rows, int(row))
        separation, _ = nearest_arcsec(
            rows.ra[second], rows.dec[second], rows.ra[first], rows.dec[first], reach_arcsec
        )
        near = np.flatnonzero(separation < reach_arcsec)
        if len(near):
            row, apart = int(second[near[0]]), separation[near[0]]
            _leak(f"a row of {b} is {apart:.1f} arcsec from one of {a}", rows, row)


def _leak(what: str, rows: SkyRows, row: int) -> None:
    where = f"ra {rows.ra[row]:.5f}, dec {rows.dec[row]:.5f}"
    raise LensjaxError(ExitCode.LEAK, what, where, "A defect of lensjax: nothing was written")
