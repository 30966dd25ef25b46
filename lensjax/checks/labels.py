"""Do labels, kinds of negatives and arc columns agree, and are they the labels of the manifest?

Proves the table consistent with itself and with the recorded digest. Cannot prove a label right:
stamps exchanged with their controls are found by the pairs check.
"""

from __future__ import annotations

import numpy as np

from lensjax import schema
from lensjax.checks.result import Outcome
from lensjax.checks.rows import ARC_NUMBERS, Rows
from lensjax.checks.scan import label_digests
from lensjax.data.rows import STAMP_KINDS
from lensjax.data.stampset import Finding
from lensjax.schema import ExitCode

# Columns that strata and shortcut checks use: allowed interval, and whether they may be unknown
# (NaN) in some rows only.
RANGES = {
    "ra": (0.0, 360.0),
    "dec": (-90.0, 90.0),
    "psf_fwhm_arcsec": (0.1, 10.0),
    "psf_depth": (10.0, 35.0),
    "ebv": (-0.1, 10.0),
    "pixel_scale_arcsec": (0.01, 10.0),
}
ARC_RANGES = {"theta_e_arcsec": (0.0, 30.0), "arc_snr": (0.0, 1e5)}


def check_labels(rows: Rows) -> Outcome:
    """ERROR (exit 10) for labels other than 0 and 1, for kinds or arc columns that contradict the
    label, for values out of range and for arc columns known in some positives only. What differs
    from the manifest of the data root (exit 12) the scan has found."""
    findings = _contradictions(rows)
    positive = rows.label == 1
    for column, limits in ARC_RANGES.items():
        findings += _column(rows, column, limits, positive, partly=True)
    for column, limits in RANGES.items():
        findings += _column(rows, column, limits, np.ones(len(rows), bool), partly=False)
    kinds, number = np.unique(rows.kind[~positive], return_counts=True)
    names = [STAMP_KINDS[k] for k in kinds]
    counts = {
        "positives": int(positive.sum()),
        "negatives": dict(zip(names, number.tolist(), strict=True)),
        "label_digests": label_digests(rows),
    }
    message = f"{counts['positives']} positives, {int((~positive).sum())} negatives."
    return Outcome(message, tuple(findings), counts)


def _contradictions(rows: Rows) -> list[Finding]:
    """One finding for each rule of the table (stampset.validate_table) that a row breaks."""
    positive = rows.label == 1
    wrong = {
        "label holds values other than 0 and 1": (rows.label != 0) & ~positive,
        f"negative_kind holds values other than {schema.NEGATIVE_KINDS}": rows.kind < 0,
        "negative_kind must be empty where, and only where, label is 1": (rows.kind == 0)
        != positive,
    }
    for name in ARC_NUMBERS:
        known = ~np.isnan(rows.numbers[name])
        wrong[f"{name} must be NaN where label is 0"] = known & ~positive
    return [
        Finding(
            "labels",
            "ERROR",
            f"column {what}",
            rows.where(int(np.flatnonzero(bad)[0])),
            ExitCode.DATA_INVALID,
        )
        for what, bad in wrong.items()
        if bad.any()
    ]


def _column(
    rows: Rows, column: str, limits: tuple[float, float], among: np.ndarray, *, partly: bool
) -> list[Finding]:
    """Findings on one column among the rows `among`; unknown (NaN) in some rows is an ERROR if
    `partly`, because strata would quietly lose them, else a NOTE."""
    values = rows.numbers[column]
    unknown = np.isnan(values) & among
    with np.errstate(invalid="ignore"):
        outside = among & ~unknown & ~((values >= limits[0]) & (values <= limits[1]))
    findings = []
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        cause = (
            f"{column} outside [{limits[0]:g}, {limits[1]:g}] in {int(outside.sum())} rows, "
            f"first {values[row]:g}"
        )
        findings.append(Finding("labels", "ERROR", cause, rows.where(row), ExitCode.DATA_INVALID))
    if unknown.any():
        row, k, n = int(np.flatnonzero(unknown)[0]), int(unknown.sum()), int(among.sum())
        severity = "ERROR" if partly and k < n else "NOTE"
        cause = f"{column} is unknown (NaN) in {k} of {n} rows"
        where = rows.where(row) if k < n else ""
        findings.append(Finding("labels", severity, cause, where, ExitCode.DATA_INVALID))
    return findings
