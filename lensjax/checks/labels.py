"""Do labels, kinds of negatives and arc columns agree, and are they the labels of the manifest?

Proves the table consistent with itself and with the recorded digest. Cannot prove a label right:
stamps exchanged with their controls are found by the pairs check.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from lensjax.checks.result import Outcome
from lensjax.checks.rows import Rows
from lensjax.data.stampset import Finding, StampSet, validate_table
from lensjax.schema import ExitCode, LensjaxError

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


def label_digest(stamp_set: StampSet) -> str:
    """SHA-256, in hex, over (stamp_id, label) of each row in the order of stamp_id."""
    ids, labels = stamp_set.table["stamp_id"], stamp_set.table["label"]
    order = np.argsort(ids, kind="stable")
    sha = hashlib.sha256()
    for stamp_id, label in zip(ids[order].tolist(), labels[order].tolist(), strict=True):
        sha.update(f"{stamp_id}\t{label}\n".encode())
    return sha.hexdigest()


def check_labels(rows: Rows, recorded: Mapping[str, str] | None = None) -> Outcome:
    """ERROR (exit 10) for labels other than 0 and 1, for kinds or arc columns that contradict the
    label, for values out of range and for arc columns known in some positives only; ERROR
    (exit 12) where the label digest of a split differs from `recorded` (split -> label_digest)."""
    findings = []
    try:
        validate_table(rows.table)
    except LensjaxError as error:
        findings.append(Finding("labels", "ERROR", error.what, error.where, error.code))
    digests = {name: label_digest(stamp_set) for name, stamp_set in rows.sets.items()}
    for name, digest in (recorded or {}).items():
        if digests.get(name, digest) != digest:
            cause = (
                f"label column differs from the manifest ({digests[name][:12]}, was {digest[:12]})"
            )
            findings.append(Finding("labels", "ERROR", cause, name, ExitCode.MISMATCH))
    positive = rows.table["label"] == 1
    for column, limits in ARC_RANGES.items():
        findings += _column(rows, column, limits, positive, partly=True)
    for column, limits in RANGES.items():
        findings += _column(rows, column, limits, np.ones(len(rows), bool), partly=False)
    kinds, number = np.unique(rows.table["negative_kind"][~positive], return_counts=True)
    counts = {
        "positives": int(positive.sum()),
        "negatives": dict(zip(kinds.tolist(), number.tolist(), strict=True)),
        "label_digests": digests,
    }
    message = f"{counts['positives']} positives, {int((~positive).sum())} negatives."
    return Outcome(message, tuple(findings), counts)


def _column(
    rows: Rows, column: str, limits: tuple[float, float], among: np.ndarray, *, partly: bool
) -> list[Finding]:
    """Findings on one column among the rows `among`; unknown (NaN) in some rows is an ERROR if
    `partly`, because strata would quietly lose them, else a NOTE."""
    values = rows.table[column]
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
