"""D14: one bit of a Parquet file at a time, in the columns that say what a stamp is, and in pixels.

Of 1,000 flips (60 in the quick case) none may be silent where the root has a record, nor where its
pages have checksums; without either, some are. In this process, all but a few: a thousand child
processes would take half an hour.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.faults.cases import Case
from tests.faults.roots import ParquetRoot
from tests.faults.running import Commands

FILE = "val/val-000.parquet"
COLUMNS = ("task_id", "brickname", "ra", "stamp_npz")  # the label of a stamp is in its id
CODES = {10, 12, 17}  # damaged; another label; sizes that are no more true
SEED = 14


class Flips(NamedTuple):
    """Of n flips: exit codes by number, and those after which phase 0 passed on other contents."""

    codes: Counter
    silent: int


def small(checksums: bool):
    def plant(root: ParquetRoot) -> None:
        """3 rows a split, to be fast."""
        kept = ("train/train-000.parquet", FILE, "test/test-000.parquet")
        root.files = {
            name: {column: values[:3] for column, values in root.files[name].items()}
            for name in kept
        }
        root.options = {"write_page_checksum": checksums, "use_dictionary": False}

    return plant


def chunks(path: Path) -> dict[str, tuple[int, int]]:
    """First byte and size of each column, page headers included."""
    footer = pq.read_metadata(path)
    group = footer.row_group(0)
    assert footer.num_row_groups == 1
    found = {}
    for k in range(group.num_columns):
        column = group.column(k)
        found[column.path_in_schema] = (column.data_page_offset, column.total_compressed_size)
    return found


def contents(path: Path) -> list[list]:
    """The columns as pyarrow reads them, with no checksum asked for."""
    table = pq.read_table(path, columns=list(COLUMNS))
    return [table[name].to_pylist() for name in COLUMNS]


def flip(run: Commands, root: Path, n: int) -> Flips:
    """`n` flips, one at a time, a column after the other; phase 0 after each."""
    path, rng = root / FILE, np.random.default_rng(SEED)
    sound, true, places = path.read_bytes(), contents(path), chunks(path)
    codes, silent = Counter(), 0
    for k in range(n):
        first, size = places[COLUMNS[k % len(COLUMNS)]]
        bit = int(rng.integers(8 * size))
        changed = bytearray(sound)
        changed[first + bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        code = run.phase0(root).code
        codes[code] += 1
        silent += code == 0 and contents(path) != true
    path.write_bytes(sound)
    assert run.phase0(root).code == 0
    return Flips(codes, silent)


def times(quick: int, full: int) -> pytest.MarkDecorator:
    """`flips` in the quick case, and with -m faults."""
    numbers = [quick, pytest.param(full, marks=pytest.mark.faults)]
    return pytest.mark.parametrize("flips", numbers)


def root_of(tmp_path: Path, run: Commands, *, recorded: bool, checksums: bool) -> Path:
    case = Case(0, "", "", small(checksums), recorded=recorded)
    return case.write(tmp_path / "data", run)


@times(60, 1000)
@pytest.mark.proves("D14")
def test_no_flip_is_silent_where_there_is_a_record(here, tmp_path, flips):
    told = flip(here, root_of(tmp_path, here, recorded=True, checksums=False), flips)
    print(told)
    assert told.codes.total() == flips and set(told.codes) <= CODES, told


@times(24, 1000)
@pytest.mark.proves("D14")
def test_no_flip_of_contents_is_silent_where_pages_have_checksums(here, tmp_path, flips):
    """A few bits of a page's header decide nothing that is read: then nothing is wrong."""
    told = flip(here, root_of(tmp_path, here, recorded=False, checksums=True), flips)
    print(told)
    assert told.silent == 0 and set(told.codes) <= {0, *CODES}, told


@times(24, 300)
@pytest.mark.harm("D14")
def test_without_record_and_checksums_some_are_silent(here, tmp_path, flips):
    told = flip(here, root_of(tmp_path, here, recorded=False, checksums=False), flips)
    print(told)
    assert told.silent > flips / 20, told


@pytest.mark.faults
@pytest.mark.proves("D14")
def test_flips_end_so_in_child_processes_too(child, tmp_path):
    root = root_of(tmp_path, child, recorded=True, checksums=False)
    assert set(flip(child, root, 8).codes) <= CODES
