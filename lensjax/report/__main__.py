"""Write the report of a run again, from what is in its directory.

python -m lensjax.report --workdir=runs/b3
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lensjax.configuration import Parser, usage
from lensjax.report import write_report
from lensjax.runs.logs import run_command, say


def main(argv: Sequence[str] | None = None) -> int:
    """Write the report and print its path; returns the exit code."""
    return run_command(_main, sys.argv[1:] if argv is None else argv)


def _main(argv: Sequence[str]) -> int:
    parser = Parser(prog="python -m lensjax.report")
    parser.add_argument(
        "--workdir", required=True, type=Path, metavar="DIR", help="a run directory"
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    flags, overrides = parser.parse_all(argv)
    if overrides:
        usage("a report takes no config fields", remedy="Give --workdir=DIR alone")
    say(str(write_report(flags.workdir)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
