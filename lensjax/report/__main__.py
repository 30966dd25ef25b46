"""Write the report of a run again, from what is in its directory.

python -m lensjax.report --workdir=runs/b3
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lensjax.report import write_report
from lensjax.schema import LensjaxError


def main(argv: Sequence[str] | None = None) -> int:
    """Write the report and print its path; returns the exit code."""
    parser = argparse.ArgumentParser("python -m lensjax.report", allow_abbrev=False)
    parser.add_argument(
        "--workdir", required=True, type=Path, metavar="DIR", help="a run directory"
    )
    workdir = parser.parse_args(argv).workdir
    try:
        print(write_report(workdir))
    except LensjaxError as error:
        print(f"error: {error}", file=sys.stderr)
        return int(error.code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
