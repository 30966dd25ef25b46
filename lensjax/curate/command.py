"""`python -m lensjax.data COMMAND ...`: which command, and how it ends.

Not the commands: each has a module of its own, with its flags.

    $ python -m lensjax.data split /data/stamps --out=split.parquet
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from lensjax.configuration import nearest, usage
from lensjax.curate import describe, prepare, record, split_command
from lensjax.runs.logs import run_command, say

PROG = "python -m lensjax.data"
COMMANDS: dict[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "describe": (describe.main, describe.HELP),
    "prepare": (prepare.main, prepare.HELP),
    "record": (record.main, record.HELP),
    "split": (split_command.main, split_command.HELP),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command that the first word of `argv` names; returns the exit code."""
    return run_command(_main, sys.argv[1:] if argv is None else argv)


def _main(argv: Sequence[str]) -> int:
    if not argv:
        usage("no command", PROG, f"Known: {', '.join(COMMANDS)}")
    name, *rest = argv
    if name in ("-h", "--help"):
        say(f"usage: {PROG} COMMAND ...\n")
        for known, (_, text) in COMMANDS.items():
            say(f"  {known:<10} {text}")
        say(f"\nflags of a command: {PROG} COMMAND --help")
        return 0
    if name not in COMMANDS:
        usage(f"unknown command {name!r}", PROG, nearest(name, COMMANDS))
    return COMMANDS[name][0](rest)
