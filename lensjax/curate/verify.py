"""Is a split what it says? Asked of the rows themselves, by other code than split them.

Not the phase 0 check of splits (lensjax.checks.splits), which asks the same of stamps before every
run: this one stands between splitting and writing.

    >>> verify(rows, split, reach_arcsec=180.0)
"""

from __future__ import annotations

import numpy as np

from lensjax import schema
from lensjax.checks.sky import nearest_arcsec
from lensjax.curate.split import SkyRows
from lensjax.schema import ExitCode, LensjaxError

_N = len(schema.SPLITS)


def verify(rows: SkyRows, split: np.ndarray, reach_arcsec: float) -> None:
    """Raises LensjaxError (LEAK) where two splits (int8 [n], index into schema.SPLITS, or -1) share
    a brick or a host, or have rows nearer to each other than `reach_arcsec`."""
    for what, code in (("brick", rows.brick), ("host", rows.host)):
        size = int(code.max()) + 1
        there = np.stack([np.bincount(code[split == k], minlength=size) > 0 for k in range(_N)])
        shared = np.flatnonzero(there.sum(axis=0) > 1)
        if len(shared):
            first, second = np.flatnonzero(there[:, shared[0]])[:2]
            row = int(np.flatnonzero(code == shared[0])[0])
            _leak(
                f"a {what} is in {schema.SPLITS[first]} and in {schema.SPLITS[second]}", rows, row
            )
    for k in range(_N - 1):
        mine, others = np.flatnonzero(split == k), np.flatnonzero(split > k)
        separation, _ = nearest_arcsec(
            rows.ra[others], rows.dec[others], rows.ra[mine], rows.dec[mine], reach_arcsec
        )
        near = np.flatnonzero(separation < reach_arcsec)
        if len(near):
            row, apart = int(others[near[0]]), separation[near[0]]
            what = f"a row of {schema.SPLITS[split[row]]} is {apart:.1f} arcsec from one of "
            _leak(f"{what}{schema.SPLITS[k]}", rows, row)


def _leak(what: str, rows: SkyRows, row: int) -> None:
    where = f"ra {rows.ra[row]:.5f}, dec {rows.dec[row]:.5f}"
    raise LensjaxError(ExitCode.LEAK, what, where, "A defect of lensjax: nothing was written")
