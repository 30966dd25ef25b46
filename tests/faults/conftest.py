"""Fixtures of the fault matrix: the commands, here (quick) and in a child process (`-m faults`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.cases import Case
from tests.faults.running import Commands


@pytest.fixture(params=["here", pytest.param("child", marks=pytest.mark.faults)])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Commands:
    """The commands, in this process and, for `-m faults`, in processes of their own."""
    return Commands(tmp_path / "written", in_child=request.param == "child")


@pytest.fixture
def plant(tmp_path: Path, run: Commands):
    """Writes the root of a case."""

    def write(case: Case) -> Path:
        return case.write(tmp_path / "data", run)

    return write
