"""`python -m lensjax.gates compare DIR...`: experiments, seeds and differences of finished runs.

    python -m lensjax.gates compare runs/a1 runs/b3 --out=runs/comparison

A folder that holds a sweep stands for all its runs; of a sweep all runs are compared or none.
Printed as Markdown; with --out also written, as comparison.md, .html, .csv and .json. Exit 0 says
that the comparison was made: it judges experiments (each by its worst seed), not itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lensjax.gates.compare import compare
from lensjax.gates.compare_csv import csv_text
from lensjax.gates.compare_heads import OUTPUTS, Told
from lensjax.gates.compare_runs import read_runs
from lensjax.gates.compare_table import html, markdown
from lensjax.gates.protocol import load_protocol
from lensjax.gates.record import encoded, put
from lensjax.schema import ExitCode, LensjaxError

NAME = "compare"
EPILOG = (
    "exit codes: 0 compared, 12 runs of other protocols or data, 22 a run that is incomplete, or "
    "of a sweep of which others are missing, 2 usage"
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument("runs", nargs="+", metavar="DIR", help="run directories, or a sweep's")
    parser.add_argument("--out", metavar="DIR", help="write the comparison there as well")
    parser.add_argument(
        "--reference", metavar="NAME", help="experiment or run that others are set against"
    )
    parser.add_argument("--protocol", metavar="FILE", help="judge all runs by this one")
    parser.add_argument(
        "--other-protocol", action="store_true", help="allow runs begun under other protocols"
    )
    parser.add_argument(
        "--other-data", action="store_true", help="allow runs of other data; those are not paired"
    )
    parser.add_argument("--json", action="store_true", help="print comparison.json, not tables")


def compared(
    flags: argparse.Namespace, advance: Callable[[str], object] = lambda name: None
) -> str:
    """Compare, write if asked to, and give what is to be printed. Raises LensjaxError as
    `read_runs` and `compare` do."""
    rules = None if flags.protocol is None else load_protocol(flags.protocol)
    told = Told(rules, flags.other_data, flags.other_protocol)
    document = compare(read_runs(flags.runs, told, advance), flags.reference, advance)
    if flags.out is not None:
        write_comparison(flags.out, document)
    return encoded(document).decode() if flags.json else markdown(document)


def write_comparison(folder: str | Path, document: Mapping[str, Any]) -> list[Path]:
    """Write comparison.md, .csv, .html and .json into `folder`, which is made if need be; gives
    their paths. Raises LensjaxError (exit 16) if that cannot be done."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"cannot be made ({error.strerror})"
        remedy = "Name a folder that you may write to with --out"
        raise LensjaxError(ExitCode.RESOURCE, what, str(folder), remedy) from error
    texts = (markdown(document), csv_text(document), html(document))
    contents = [*(text.encode() for text in texts), encoded(document)]
    return [put(folder / name, text) for name, text in zip(OUTPUTS, contents, strict=True)]
