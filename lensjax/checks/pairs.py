"""Is each stamp its control plus an arc, and nothing else?

Rules of contracts for pairs: not identical, not exchanged (negative summed r-band difference), at
most 5 % of the summed absolute difference beyond 3 theta_E + 2 PSF FWHM from the centre; and one
galaxy, by its sky noise. Cannot see flux added to the core: that is what the core gates judge.
"""

from __future__ import annotations

import numpy as np

from lensjax.checks.measure import Difference, Measured
from lensjax.checks.result import Outcome
from lensjax.checks.rows import Rows
from lensjax.data.stampset import Finding
from lensjax.schema import ExitCode

SAME_SKY = (
    1.5  # between fingerprints of a stamp and its control; one galaxy: under 0.5, two: about 5
)


def check_pairs(
    rows: Rows, measured: Measured, pairs: np.ndarray, told: Difference, *, outside_limit: float
) -> Outcome:
    """ERROR (exit 10) for each pair that breaks a rule; NOTE, counted, for identical or zero-sum
    pairs whose catalogue says arc_snr = 0. NOT PROVEN where no two rows form a pair.

    `pairs` int64 [m, 2] are the rows of stamps and controls, `told` how they differ.
    `outside_limit` is the fraction of the summed absolute r-band difference allowed beyond
    3 theta_E + 2 PSF FWHM. That rule needs theta_E and PSF: pairs without are counted."""
    faults = _pairing_faults(rows)
    n = len(pairs)
    if n == 0 and not faults:
        return Outcome("", not_proven="No two rows form a pair.")
    stamp, control = pairs.T
    invisible = rows.numbers["arc_snr"][stamp] == 0.0
    identical, exchanged, spread = ~told.differ, told.total < 0, told.outside > outside_limit
    apart = np.zeros(n, np.float32)
    for column in measured.fingerprint.T:
        apart += np.square(column[stamp].astype(np.float32) - column[control])
    apart = np.sqrt(apart)
    other = apart > SAME_SKY  # False where a fingerprint is unknown
    empty = (identical | (told.total == 0)) & invisible
    findings = list(faults)
    for i in np.flatnonzero((identical | exchanged | spread | other) & ~empty):
        if identical[i]:
            cause = "stamp and control are identical"
        elif exchanged[i]:
            cause = "stamp and control are exchanged (summed r-band difference "
            cause += f"{told.total[i]:.4g})"
        elif spread[i]:
            cause = f"{told.outside[i]:.1%} of the difference lies beyond 3 theta_E + 2 PSF FWHM"
            cause += f", at most {outside_limit:.0%}"
        else:
            cause = "stamp and control are not of one galaxy: their sky noise differs"
        findings.append(_error(cause, rows.where(stamp[i])))
    untested = int((np.isnan(told.outside) & told.differ).sum())
    findings += _notes(int(empty.sum()), untested)
    counts = {"pairs": n, "invisible": int(empty.sum()), "extent_untested": untested}
    return Outcome(f"{n} pairs compared.", tuple(findings), counts)


def _pairing_faults(rows: Rows) -> list[Finding]:
    """Pairs are two rows, one of label 1 and one control, of one host and split. A row alone is a
    negative without a partner; a lone positive is a fault where there are pairs, so is a pair_id
    shared by other than one stamp and one control."""
    pair, label = rows.pair, rows.label
    size = np.bincount(pair, minlength=1)
    positives = np.bincount(pair, label == 1, minlength=len(size)).astype(np.int64)
    sound = (size == 2) & (positives == 1)
    faults = []
    wrong = ((size > 1) & ~sound) | ((size == 1) & (positives == 1) & sound.any())
    for row in np.flatnonzero(wrong[pair]).tolist():
        if size[pair[row]] == 1:
            cause = f"positive {rows.name(row)} has no control"
        else:
            k, p = size[pair[row]], positives[pair[row]]
            cause = f"the pair of {rows.name(row)} has {k} rows, {p} of them positive, not 1 and 1"
        faults.append(_error(cause, rows.where(row)))
    order = np.lexsort((-label.astype(np.int8), pair))
    stamp, control = order[sound[pair[order]]].reshape(-1, 2).T
    for column, what in (("host", "lrg_id"), ("split", "split")):
        values = getattr(rows, column)
        for i in np.flatnonzero(values[stamp] != values[control]):
            cause = f"stamp and control of {rows.name(stamp[i])} differ in {what}"
            faults.append(_error(cause, rows.where(stamp[i])))
    return faults


def _notes(empty: int, untested: int) -> list[Finding]:
    notes = []
    if empty:
        notes.append(f"{empty} pairs with arc_snr = 0 have no visible arc")
    if untested:
        notes.append(f"{untested} pairs without theta_E or PSF: extent of the arc not tested")
    return [Finding("pairs", "NOTE", note, "", ExitCode.DATA_INVALID) for note in notes]


def _error(cause: str, where: str) -> Finding:
    return Finding("pairs", "ERROR", cause, where, ExitCode.DATA_INVALID)
