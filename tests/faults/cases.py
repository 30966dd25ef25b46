"""One planted fault: where, with which exit code and cause it must end, and what it does if let by.

Not the faults themselves (the test files have them). `assert_refused` is what every E(code) of the
matrix means; `assert_harm` is its control.

    CASES = {"D1": Case(10, r"row 17 band r: 1 NaN", plant=nan, off=("pixels",), harm=has_nan)}

    @parametrize("proves", CASES)
    def test_refused(case, run, plant): assert_refused(case, run, plant(case))
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lensjax.checks.result import REFUSED, REMEDIES
from tests.faults.roots import sound_parquet
from tests.faults.running import Commands, Set, tree

Sets = dict[str, Set]
HDF5 = "--config.data.source=hdf5"


def _unchanged(root: Any) -> None:
    del root


@dataclass(frozen=True)
class Case:
    """`plant` spoils the columns of a sound root (of `make`), `damage` the files that were written
    (and `recorded` before: python -m lensjax.data record). `check` is the check of phase 0 that
    must name it, `cause` a regular expression of the line on stderr; `off` the guards that must be
    off for `harm` to be seen in the prepared sets; `argv` more words for the commands; `remedy` how
    the line ends, where not as most of its check."""

    code: int
    cause: str
    check: str
    plant: Callable[[Any], None] = _unchanged
    damage: Callable[[Path], None] = _unchanged
    off: tuple[str, ...] = ()
    harm: Callable[[Sets], bool] = bool
    make: Callable[[], Any] = sound_parquet
    argv: tuple[str, ...] = ()
    recorded: bool = False
    remedy: str = ""

    def write(self, root: Path, run: Commands) -> Path:
        """The planted root, at `root`."""
        made = self.make()
        self.plant(made)
        made.write(root)
        if self.recorded:
            ended = run.record(root, *self.argv)
            assert ended.code == 0, ended.err
        self.damage(root)
        return root


def fewer_rows(n: int) -> Callable[[Sets], bool]:
    """Harm: of 29 pairs of train `n` are not there, and nobody said so."""
    return lambda sets: len(sets["train"].stamps) == 2 * (29 - n)


def train_is_test(sets: Sets) -> bool:
    """Harm: what is called train was to be test."""
    return bool(np.char.startswith(sets["train"].table["stamp_id"], "test-").all())


def parametrize(mark: str, cases: Mapping[str, Case]) -> pytest.MarkDecorator:
    """`case` runs through `cases`, whose names begin with their ids ('D2 sentinel'); each test is
    marked as one that `proves` it or shows its `harm`."""
    marker = getattr(pytest.mark, mark)
    return pytest.mark.parametrize(
        "case",
        [
            pytest.param(case, id=name, marks=marker(name.split()[0]))
            for name, case in cases.items()
        ],
    )


def assert_refused(case: Case, run: Commands, root: Path) -> None:
    """Phase 0 ends with the code and one line that has the cause and the remedy; nothing else was
    written, and nothing that was there is changed. In a child process `data prepare` as well."""
    before = tree(root)
    ended = run.phase0(root, *case.argv)
    assert ended.code == case.code, ended.err + ended.out
    line = ended.error()
    remedy = REFUSED if case.code == 17 else case.remedy or REMEDIES[case.check]
    assert line.startswith(f"error: phase 0, {case.check}: ") and line.endswith(remedy)
    assert re.search(case.cause, line), line
    summary = run.summary()
    assert summary["all_passed"] is False and summary["exit_code"] == case.code
    if run.in_child:
        ended = run.prepare(root, *case.argv)
        assert (ended.code, ended.error()) == (case.code, line)
    assert run.artefacts() == []
    assert tree(root) == before


def assert_harm(case: Case, run: Commands, root: Path) -> None:
    """With the guards off the same fault goes through `data prepare`, and does its harm."""
    ended = run.prepare(root, *case.argv, off=case.off)
    assert ended.code == 0, ended.err + ended.out
    assert case.harm(run.sets())
