"""Is each stamp its control plus an arc, and nothing else?

Rules of contracts for pairs: not identical, not exchanged (negative summed r-band difference), at
most 5 % of the summed absolute difference beyond 3 theta_E + 2 PSF FWHM from the centre. Cannot
see flux added to the core: that is what the core gates judge.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lensjax import schema
from lensjax.checks.result import Outcome
from lensjax.checks.rows import Rows, codes
from lensjax.data.stampset import Finding
from lensjax.schema import ExitCode

CHUNK_PAIRS = 64
_RADIUS = schema.radius_map().ravel().astype(np.float32)


class Pairs(NamedTuple):
    """Rows of the two members of each pair (int64 [m] each), and faults of the pairing itself."""

    stamp: np.ndarray
    control: np.ndarray
    faults: list[Finding]


def find_pairs(rows: Rows) -> Pairs:
    """Pairs are two rows sharing pair_id, one of label 1 and one control, of one host and split.

    A row alone is a negative without a partner; a lone positive is a fault where there are pairs,
    so is a pair_id shared by other than one stamp and one control."""
    table = rows.table
    pair, label = codes(table["pair_id"]), table["label"]
    size = np.bincount(pair, minlength=1) if len(pair) else np.zeros(1, np.int64)
    positives = np.bincount(pair[label == 1], minlength=len(size))
    sound = (size == 2) & (positives == 1)
    order = np.lexsort((-label.astype(np.int64), pair))
    members = order[sound[pair[order]]]
    stamp, control = members[0::2], members[1::2]
    faults = []
    wrong = ((size > 1) & ~sound) | ((size == 1) & (positives == 1) & sound.any())
    for row in np.flatnonzero(wrong[pair]).tolist():
        if size[pair[row]] == 1:
            cause = f"positive {table['stamp_id'][row]} has no control"
        else:
            k, p = size[pair[row]], positives[pair[row]]
            cause = f"pair {table['pair_id'][row]} has {k} rows, {p} of them positive, not 1 and 1"
        faults.append(_error(cause, rows.where(row)))
    for column in ("lrg_id", "split"):
        for i in np.flatnonzero(table[column][stamp] != table[column][control]):
            cause = f"stamp and control of pair {table['pair_id'][stamp[i]]} differ in {column}"
            faults.append(_error(cause, rows.where(stamp[i])))
    return Pairs(stamp, control, faults)


def check_pairs(
    rows: Rows, *, outside_limit: float, advance: Callable[[int], object] | None = None
) -> Outcome:
    """ERROR (exit 10) for each pair that breaks a rule; NOTE, counted, for identical or zero-sum
    pairs whose catalogue says arc_snr = 0. NOT PROVEN where no two rows form a pair.

    `outside_limit` is the fraction of the summed absolute r-band difference allowed beyond
    3 theta_E + 2 PSF FWHM. That rule needs theta_E and PSF: pairs without are counted."""
    pairs = find_pairs(rows)
    n = len(pairs.stamp)
    if n == 0 and not pairs.faults:
        return Outcome("", not_proven="No two rows form a pair.")
    differ, total, outside = _differences(rows, pairs, advance)
    invisible = rows.table["arc_snr"][pairs.stamp] == 0.0
    findings = list(pairs.faults)
    identical, exchanged, spread = ~differ, total < 0, outside > outside_limit
    empty = (identical | (total == 0)) & invisible
    for i in np.flatnonzero((identical | exchanged | spread) & ~empty):
        where = rows.where(pairs.stamp[i])
        if identical[i]:
            findings.append(_error("stamp and control are identical", where))
        elif exchanged[i]:
            cause = f"stamp and control are exchanged (summed r-band difference {total[i]:.4g})"
            findings.append(_error(cause, where))
        else:
            cause = f"{outside[i]:.1%} of the difference lies beyond 3 theta_E + 2 PSF FWHM"
            findings.append(_error(f"{cause}, at most {outside_limit:.0%}", where))
    untested = int((np.isnan(outside) & differ).sum())
    findings += _notes(int(empty.sum()), untested)
    counts = {"pairs": n, "invisible": int(empty.sum()), "extent_untested": untested}
    return Outcome(f"{n} pairs compared.", tuple(findings), counts)


def _notes(empty: int, untested: int) -> list[Finding]:
    notes = []
    if empty:
        notes.append(f"{empty} pairs with arc_snr = 0 have no visible arc")
    if untested:
        notes.append(f"{untested} pairs without theta_E or PSF: extent of the arc not tested")
    return [Finding("pairs", "NOTE", note, "", ExitCode.DATA_INVALID) for note in notes]


def _differences(
    rows: Rows, pairs: Pairs, advance: Callable[[int], object] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each pair: do any pixels differ (bool), the summed r-band difference (nanomaggies), and
    the part of the summed absolute r-band difference beyond the arc's reach (NaN: unknown)."""
    table, n = rows.table, len(pairs.stamp)
    reach_arcsec = 3.0 * table["theta_e_arcsec"] + 2.0 * table["psf_fwhm_arcsec"]
    reach = (reach_arcsec / table["pixel_scale_arcsec"])[pairs.stamp]
    differ, total, outside = np.zeros(n, bool), np.zeros(n), np.full(n, np.nan)
    for start in range(0, n, CHUNK_PAIRS):
        part = slice(start, start + CHUNK_PAIRS)
        stamps, controls = rows.stamps(pairs.stamp[part]), rows.stamps(pairs.control[part])
        differ[part] = (stamps != controls).any(axis=(1, 2, 3))
        r_band = (stamps[..., schema.R_BAND] - controls[..., schema.R_BAND]).reshape(
            len(stamps), -1
        )
        total[part] = r_band.sum(axis=1, dtype=np.float64)
        size = np.abs(r_band)
        beyond = (size * (_RADIUS[None] > reach[part, None])).sum(axis=1, dtype=np.float64)
        whole = size.sum(axis=1, dtype=np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            fraction = np.where(whole > 0, beyond / whole, 0.0)
        outside[part] = np.where(np.isfinite(reach[part]), fraction, np.nan)
        if advance is not None:
            advance(len(stamps))
    return differ, total, outside


def _error(cause: str, where: str) -> Finding:
    return Finding("pairs", "ERROR", cause, where, ExitCode.DATA_INVALID)
