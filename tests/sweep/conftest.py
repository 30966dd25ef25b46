"""A sweep whose runs are a few lines of Python in the place of main.py, and how to start it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lensjax.sweep import sweep as module
from lensjax.sweep.plan import Plan, Planned, make_plan

# Takes the lock of its folder, as main.py does, says who it is and what it sees, then does what the
# file `do` there says, or succeeds.
CHILD = """
import fcntl, json, os, pathlib, signal, sys, time
MEMORY = "XLA_PYTHON_CLIENT_MEM_FRACTION"
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
lock = open(folder / ".lock", "a")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("error: a run is using this workdir", flush=True)
    sys.exit(13)
with open(folder.parent / "started", "a") as file:
    seen = [os.environ.get(key) for key in ("CUDA_VISIBLE_DEVICES", MEMORY)]
    file.write(json.dumps([name, *seen]) + "\\n")
do = folder / "do"
told = do.read_text().split() if do.exists() else ["0"]
if told[0] == "wait":
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    (folder / "waiting").touch()
    until = time.monotonic() + 20
    while not stopped and time.monotonic() < until:
        time.sleep(0.01)
    do.unlink()
    print("saved", flush=True)
    sys.exit(75)
if told[0] in ("slow", "deaf"):  # would save much later; leaves at the second request, or never
    do.unlink()
    asked = []
    def hear(*_):
        asked.append(1)
        if len(asked) > 1 and told[0] == "slow":
            os._exit(75)
    signal.signal(signal.SIGTERM, hear)
    (folder / "waiting").write_text(str(os.getpid()))
    time.sleep(30)
if told[0] == "die":
    do.unlink()
    os.kill(os.getpid(), signal.SIGKILL)
code = int(told[0])
if code in (0, 20, 21, 22):
    (folder / "eval").mkdir(exist_ok=True)
    (folder / "eval/manifest.json").write_text("{}")
    verdict = {0: "GREEN", 21: "YELLOW"}.get(code, "RED")
    (folder / "gates.json").write_text(json.dumps({"verdict": verdict}))
else:
    print("error: the cause", flush=True)
sys.exit(code)
"""


def child(run: Planned, folder: Path) -> list[str]:
    """The command of a run."""
    return [sys.executable, "-S", "-c", CHILD, str(folder), run.name]


@pytest.fixture
def plan() -> Plan:
    """Two configs with two seeds."""
    return make_plan(["a1", "b3"], [0, 1], "tiny")


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The comparison replaced: the records that it was asked for."""
    asked: list[Any] = []
    monkeypatch.setattr(module, "_compare", asked.append)
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.005)
    return asked


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The sweep's folder."""
    return tmp_path / "matrix"


@pytest.fixture
def tell(folder: Path) -> Callable[[str, str], None]:
    """What the child of a run is to do: an exit code, `wait`, `slow`, `deaf` or `die`."""

    def told(name: str, what: str) -> None:
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "do").write_text(what)

    return told


@pytest.fixture
def started(folder: Path) -> Callable[[], list[list[Any]]]:
    """Name, device and share of its memory of every child so far."""

    def read() -> list[list[Any]]:
        path = folder / "started"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return read
