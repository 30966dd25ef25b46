"""Are all pixels fit to train on? What the reader found, and every stamp looked at again.

Proves that each stamp is finite, in range, and varies in each band. Cannot prove that the unit is
right: a set a factor of two too bright passes. Nothing is repaired.
"""

from __future__ import annotations

from collections.abc import Sequence

from lensjax.checks.measure import Measured
from lensjax.checks.result import Outcome
from lensjax.checks.rows import Rows
from lensjax.data.stampset import Finding
from lensjax.schema import ExitCode


def check_stamps(rows: Rows, measured: Measured, from_reader: Sequence[Finding] = ()) -> Outcome:
    """ERROR (exit 10) for each unusable band of each stamp, named by file, row, band and cause;
    `from_reader` are the reader's own findings on rows that it left out, files and pages."""
    findings = list(from_reader)
    for cause in measured.causes:
        where = rows.where(cause.row, cause.band)
        findings.append(Finding("stamps", "ERROR", cause.message, where, ExitCode.DATA_INVALID))
    if len(rows) == 0:
        findings.append(
            Finding("stamps", "ERROR", "there are no stamps", "", ExitCode.DATA_INVALID)
        )
    return Outcome(f"{len(rows)} stamps looked at.", tuple(findings), {"stamps": len(rows)})
