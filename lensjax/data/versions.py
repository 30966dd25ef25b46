"""Packages that read what strangers wrote must not have known holes: checked before their import.

Not a check of all packages (requirements.txt has the ranges, and pip-audit knows the holes): one
call, before the import of a package of which older versions run the code in a hostile file.

    >>> require_safe("pyarrow", "26", "older versions run code from hostile Parquet files")
"""

from __future__ import annotations

import importlib.metadata
import re

from lensjax.schema import ExitCode, LensjaxError


def require_safe(package: str, floor: str, why: str) -> None:
    """Raises LensjaxError (MISMATCH) if `package` is not installed or its version is below `floor`
    (numbers and dots). `why` ends the sentence. Reads metadata, imports nothing."""
    remedy = f"pip install '{package}>={floor}'"
    try:
        found = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise LensjaxError(ExitCode.MISMATCH, "is not installed", package, remedy) from error
    if _numbers(found) < _numbers(floor):
        what = f"version {found} is refused, {floor} or later is needed: {why}"
        raise LensjaxError(ExitCode.MISMATCH, what, package, remedy)


def _numbers(version: str) -> tuple[int, ...]:
    """(26, 0, 1) of "26.0.1rc2"; () of what begins with no number, which is below any floor.
    Zeros at the end are cut: 26 is 26.0."""
    start = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(number) for number in start.group().split(".")] if start else []
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)
