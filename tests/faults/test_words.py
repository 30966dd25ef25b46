"""S8: terminal escapes and line ends in names, ids and headers: they are shown, not obeyed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tests.faults.cases import Case, assert_refused, parametrize
from tests.faults.fits_roots import FITS, FitsRoot, file_of, header, sound_fits
from tests.faults.roots import NAMED, ROW, ParquetRoot
from tests.faults.running import Commands

EVIL = "\x1b]0;owned\x07\x1b[2J\nerror: all is well\x9b31m"  # title, clear, another line, colour
SHOWN = r"\\x1b\]0;owned\\x07\\x1b\[2J\\nerror: all is well\\x9b31m"
FILE = f"train/{EVIL}.parquet"
UNIT = "\x1b[31mJy\x07"


def nan(stamp: np.ndarray) -> np.ndarray:
    stamp[1, 5, 6] = np.nan
    return stamp


def in_a_file_name(root: ParquetRoot) -> None:
    root.files[FILE] = root.files.pop(NAMED)
    root.change(nan, name=FILE)


def in_ids(root: ParquetRoot) -> None:
    root.files[NAMED]["task_id"][:2] = [EVIL, EVIL]


def in_a_brick(root: ParquetRoot) -> None:
    for name in (NAMED, "test/test-000.parquet"):
        root.files[name]["brickname"][0] = EVIL[:16]


def in_a_column(root: ParquetRoot) -> None:
    """Beside a missing one, whose nearest name is told."""
    columns = root.files[NAMED]
    columns["stamp_npz\x1b[m"] = columns.pop("stamp_npz")


def in_a_header(root: FitsRoot) -> None:
    root.spoilt = lambda plane: file_of(header(-32, BUNIT=UNIT), plane.astype(">f4").tobytes())


CASES = {
    "S8 file": Case(
        10, rf"train/{SHOWN}\.parquet row {ROW} band r: 1 NaN", "stamps", in_a_file_name
    ),
    "S8 id": Case(10, rf"stamp id {SHOWN}-c is used twice", "duplicates", in_ids),
    "S8 brick": Case(11, r"brick \\x1b\]0;owned\\x07\\x1b\[2J\\ne is in", "splits", in_a_brick),
    "S8 column": Case(
        10, r"column 'stamp_npz' is missing \(nearest: 'stamp_npz\\x1b\[m'\)", "stamps", in_a_column
    ),
    "S8 header": Case(
        *(10, r"BUNIT is '\\x1b\[31mJy\\x07', a unit not known", "stamps", in_a_header),
        make=sound_fits,
        argv=(FITS,),
    ),
}


def obeyed(text: str) -> list[str]:
    """Characters of `text` that a terminal or a log would act upon."""
    return re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)


def said(run: Commands, root: Path, case: Case, **more) -> dict[str, str]:
    """All that phase 0 says of a root."""
    ended = run.phase0(root, *case.argv, **more)
    assert ended.code == case.code
    return {"stdout": ended.out, "stderr": ended.err, "json": run.summary_file.read_text()}


@parametrize("proves", CASES)
def test_they_are_escaped_everywhere(case, run, plant):
    root = plant(case)
    assert_refused(case, run, root)
    told = said(run, root, case)
    assert {where: obeyed(text) for where, text in told.items()} == {key: [] for key in told}
    assert not re.search("^error: all is well", "".join(told.values()), re.MULTILINE)


SHOWN_TWICE = ("S8 column", "S8 header")  # by their own messages too


@parametrize("harm", {k: v for k, v in CASES.items() if k not in SHOWN_TWICE})
def test_without_the_guard_the_terminal_obeys(case, run, plant):
    told = said(run, plant(case), case, off=["words"])
    assert "\x1b" in told["stderr"] or "\x1b" in told["stdout"]
