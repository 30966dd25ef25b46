"""main.py as a module with a `main` that returns its exit code, as the other commands have."""

from __future__ import annotations

from collections.abc import Sequence

import main as train
from lensjax.runs.logs import run_command


def main(argv: Sequence[str]) -> int:
    """The command with these words."""
    return run_command(train.main, argv)
