"""Are all pixels fit to train on? What the scan found when it decoded and validated every stamp.

Proves that each stamp is finite, in range, and varies in each band. Cannot prove that the unit is
right: a set a factor of two too bright passes. Nothing is repaired.
"""

from __future__ import annotations

from lensjax.checks.result import Outcome
from lensjax.checks.scan import Scan
from lensjax.data.stampset import Finding
from lensjax.schema import ExitCode


def check_stamps(scan: Scan) -> Outcome:
    """ERROR (exit 10) where there are no stamps at all; the unusable bands of stamps, named by
    file, row, band and cause, are among the scan's findings. Counts the rows set aside."""
    n = len(scan.rows)
    nothing = Finding("stamps", "ERROR", "there are no stamps", "", ExitCode.DATA_INVALID)
    counts = {"stamps": n, "set_aside": scan.set_aside}
    return Outcome(f"{n} stamps looked at.", () if n else (nothing,), counts)
