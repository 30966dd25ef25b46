"""Fixtures of the fault matrix: the commands, here (quick) and in a child process (`-m faults`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.cases import Case
from tests.faults.running import Commands


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled programs, made once."""
    return tmp_path_factory.mktemp("xla")


@pytest.fixture(params=["here", pytest.param("child", marks=pytest.mark.faults)])
def run(request: pytest.FixtureRequest, tmp_path: Path, programs: Path) -> Commands:
    """The commands, in this process and, for `-m faults`, in processes of their own."""
    return Commands(tmp_path / "written", request.param == "child", programs)


@pytest.fixture
def here(tmp_path: Path, programs: Path) -> Commands:
    """The commands in this process alone."""
    return Commands(tmp_path / "written", False, programs)


@pytest.fixture
def child(tmp_path: Path, programs: Path) -> Commands:
    """The commands in processes of their own."""
    return Commands(tmp_path / "written", True, programs)


@pytest.fixture
def plant(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[Case], Path]:
    """Writes the root of a case: each into a folder of its own."""
    made: list[Path] = []

    def write(case: Case) -> Path:
        commands = next(x for x in ("run", "here", "child") if x in request.fixturenames)
        made.append(tmp_path / f"data-{len(made)}")
        return case.write(made[-1], request.getfixturevalue(commands))

    return write
