"""A sweep that is asked twice leaves no run behind, and one that was left behind is waited for."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lensjax.runs.lock import holder_of
from lensjax.schema import ExitCode, LensjaxError
from lensjax.sweep import sweep as module
from lensjax.sweep.sweep import run_sweep
from tests.sweep.conftest import child

ROOT = Path(__file__).resolve().parents[2]
# A sweep of one run in a process of its own; `off`: its second request is that of any other run.
SWEEP = """
import sys
from lensjax.runs.signals import StopRequest
from lensjax.runs.logs import run_command
from lensjax.sweep import sweep as module
from lensjax.sweep.plan import make_plan
from tests.sweep.conftest import child

class Off(StopRequest):
    at_once = False
    def __init__(self, children):
        super().__init__()

module.LOOK_EVERY_S, module.PATIENCE_S = 0.01, 1.0
module._compare = lambda record: None
if sys.argv[2] == "off":
    module.SweepStop = Off
plan = make_plan(["a1"], [0], "tiny")
sys.exit(run_command(lambda _: module.run_sweep(plan, sys.argv[1], command=child), []))
"""


def until(there, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not there() and time.monotonic() < end:
        time.sleep(0.01)
    return there()


def lives(pid: int) -> bool:
    """Does the process run? A zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def asked_twice(folder: Path, guard: str) -> tuple[subprocess.CompletedProcess, int]:
    """How a sweep ended that got SIGTERM twice, and the process id of the run that it had."""
    process = subprocess.Popen(
        [sys.executable, "-c", SWEEP, str(folder), guard],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    waiting = folder / "a1-seed0/waiting"
    assert until(lambda: waiting.exists() and bool(waiting.read_text()))
    process.terminate()
    time.sleep(0.1)
    process.terminate()
    _, said = process.communicate(timeout=20)
    ended = subprocess.CompletedProcess([], process.returncode, stderr=said)
    return ended, int(waiting.read_text())


@pytest.mark.parametrize("run", ["slow", "deaf"])
def test_a_second_request_ends_the_runs_too(folder, tell, run: str) -> None:
    """Those that leave at the second one by it, others by SIGKILL. Started again, the sweep goes on
    with the run."""
    tell("a1-seed0", run)
    ended, pid = asked_twice(folder, "on")
    assert (ended.returncode, lives(pid)) == (75, False), ended.stderr
    assert "SIGTERM again: ending 1 runs and leaving" in ended.stderr
    (entry,) = json.loads((folder / "sweep.json").read_text())["runs"]
    assert (entry["state"], entry["exit_code"]) == ("stopped", {"slow": 75, "deaf": -9}[run])
    if run == "slow":
        again = subprocess.run([sys.executable, "-c", SWEEP, str(folder), "on"], cwd=ROOT)
        assert again.returncode == 0


def test_without_it_a_run_is_left_behind_and_found_in_use(folder, tell) -> None:
    """The harm: the sweep is gone at the second request, its run is not."""
    tell("a1-seed0", "slow")
    ended, pid = asked_twice(folder, "off")
    try:
        assert (ended.returncode, lives(pid)) == (75, True)
        assert holder_of(folder / "a1-seed0") is not None
    finally:
        os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def still_running(folder: Path):
    """Something holds the run's folder; gives what makes it let go."""
    folder.mkdir(parents=True)
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps({"host": "far", "pid": 4711}))
        file.flush()
        yield lambda: fcntl.flock(file, fcntl.LOCK_UN)


def states(folder: Path) -> dict[str, tuple]:
    entries = json.loads((folder / "sweep.json").read_text())["runs"]
    return {entry["name"]: (entry["state"], entry["exit_code"]) for entry in entries}


def test_a_run_that_outlived_its_sweep_is_waited_for(
    plan, folder, compared, started, caplog
) -> None:
    """The others come first; it is taken up when it is let go, and said to be waited for once."""
    others = [run.name for run in plan.runs[1:]]

    def free(let_go) -> None:
        until(lambda: (folder / "sweep.json").exists())
        until(lambda: all(states(folder)[name][0] == "done" for name in others))
        let_go()

    with still_running(folder / "a1-seed0") as let_go:
        threading.Thread(target=free, args=[let_go], daemon=True).start()
        assert run_sweep(plan, folder, command=child) == 0
    assert [name for name, *_ in started()] == [*others, "a1-seed0"]
    assert set(states(folder).values()) == {("done", 0)} and compared
    told = [text for r in caplog.records if "waiting for it to end" in (text := r.getMessage())]
    assert len(told) == 1 and told[0].startswith("a1-seed0: ") and "host far, pid 4711" in told[0]


def test_without_looking_it_fails_in_use(plan, folder, compared, monkeypatch) -> None:
    """The harm: exit 13, and no comparison, for a run that would have ended by itself."""
    monkeypatch.setattr(module, "holder_of", lambda folder: None)
    with still_running(folder / "a1-seed0"):
        assert run_sweep(plan, folder, command=child) == 13
    assert states(folder)["a1-seed0"] == ("failed", 13) and compared == []


def test_a_request_to_stop_ends_the_waiting(plan, folder, compared) -> None:
    def stop_it() -> None:
        until(lambda: (folder / "sweep.json").exists())
        os.kill(os.getpid(), signal.SIGTERM)

    with still_running(folder / "a1-seed0"):
        threading.Thread(target=stop_it, daemon=True).start()
        with pytest.raises(LensjaxError, match="stopped on SIGTERM"):
            run_sweep(plan, folder, command=child)
    assert states(folder)["a1-seed0"] == ("planned", None)


def test_a_lock_that_cannot_be_looked_at_is_for_the_run_to_tell(
    plan, folder, compared, monkeypatch
) -> None:
    def unreadable(folder: Path) -> None:
        raise LensjaxError(ExitCode.RESOURCE, "cannot be read", str(folder), "")

    monkeypatch.setattr(module, "holder_of", unreadable)
    assert run_sweep(plan, folder, command=child) == 0
