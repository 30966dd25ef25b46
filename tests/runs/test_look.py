"""What a run is doing, seen from outside: alive by the kernel's lock, stalled by its heartbeat."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from lensjax.runs import heartbeat, lock
from lensjax.runs.__main__ import main
from lensjax.runs.heartbeat import LONG_DUE_S, STEP_DUE_S, Heartbeat
from lensjax.runs.look import find, look
from lensjax.runs.stopping import stop
from lensjax.runs.told import span
from lensjax.schema import ExitCode, LensjaxError

RUN = """
import signal, sys, time
from pathlib import Path
from lensjax.runs.heartbeat import Heartbeat
from lensjax.runs.signals import StopRequest
from lensjax.runs.workdir import open_workdir
with open_workdir(sys.argv[1]) as workdir, StopRequest() as stop:
    workdir.log.touch()
    beat = Heartbeat(workdir.heartbeat, total=100)
    step = 0
    while not (stop.requested and {heeds}):
        step += 1
        if {beats}:
            beat.beat(step=step, epoch=0)
        time.sleep(0.05)
sys.exit(75)
"""


@pytest.fixture
def running(tmp_path):
    """Starts a process that holds tmp_path/run as a run does, and waits until it shows."""
    started = []

    def start(*, beats: bool = True, heeds: bool = True):
        folder = tmp_path / "run"
        script = RUN.format(beats=beats, heeds=heeds)
        command = [sys.executable, "-c", script, str(folder)]
        started.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        end = time.monotonic() + 30
        while not (folder / ("heartbeat.json" if beats else "train.log")).exists():
            assert time.monotonic() < end
            time.sleep(0.02)
        return folder, started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_living_run_trains_and_a_killed_one_is_stopped_at_once(running):
    folder, process = running()
    seen = look(folder)
    assert seen.state == "training" and seen.holder["pid"] == process.pid
    assert seen.beat["total_steps"] == 100
    process.kill()
    process.wait()
    assert look(folder).state == "stopped"  # however young the heartbeat is


def test_before_its_first_step_it_is_starting_and_never_stalled(running):
    folder, _ = running(beats=False)
    (folder / "heartbeat.json").write_text(
        json.dumps({"time": 0, "due_s": 30, "pid": 1, "host": "of an earlier start", "step": 3})
    )
    assert look(folder).state == "starting"


@pytest.mark.proves("P9")
def test_a_frozen_run_is_stalled_and_exit_3_until_it_goes_on(running, monkeypatch, capsys):
    folder, process = running()
    while look(folder).beat["due_s"] != STEP_DUE_S:
        time.sleep(0.05)
    process.send_signal(signal.SIGSTOP)
    now = time.time()
    assert look(folder).state == "training"
    monkeypatch.setattr("lensjax.runs.look.time.time", lambda: now + STEP_DUE_S + 1)
    assert look(folder).state == "stalled"
    assert main(["status", str(folder)]) == ExitCode.STALLED
    assert "stalled" in capsys.readouterr().out
    monkeypatch.undo()
    process.send_signal(signal.SIGCONT)
    assert look(folder).state == "training" and main(["status", str(folder)]) == ExitCode.OK


@pytest.mark.harm("P9")
def test_by_the_lock_alone_a_frozen_run_looks_well(running, monkeypatch):
    folder, process = running()
    process.send_signal(signal.SIGSTOP)
    path = folder / "heartbeat.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "due_s": float("1e9")}))
    now = time.time()
    monkeypatch.setattr("lensjax.runs.look.time.time", lambda: now + 3600)
    assert look(folder).state == "training"
    process.send_signal(signal.SIGCONT)


def test_looking_does_not_refuse_a_run_its_lock(tmp_path, monkeypatch):
    """A look holds the lock for microseconds: a run that starts then waits, it is not refused."""
    looked = []

    def locked_by_a_look(folder):
        descriptor = os.open(folder / lock.NAME, os.O_RDONLY)
        lock.fcntl.flock(descriptor, lock.fcntl.LOCK_SH)
        looked.append(descriptor)

    with lock.held(tmp_path):
        pass
    locked_by_a_look(tmp_path)
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: os.close(looked.pop()))
    with lock.held(tmp_path):
        assert not looked
    locked_by_a_look(tmp_path)
    monkeypatch.setattr(lock, "_TRIES", 1)
    with pytest.raises(LensjaxError, match="a run is using"), lock.held(tmp_path):
        pass
    os.close(looked.pop())


def test_stop_waits_for_the_lock_and_says_so(running, capsys):
    folder, process = running()
    assert main(["stop", str(folder)]) == ExitCode.OK
    assert process.wait(10) == 75
    assert capsys.readouterr().out == f"{folder}: stopped\n"
    assert main(["stop", str(folder)]) == ExitCode.OK
    assert "nothing was running" in capsys.readouterr().out


def test_what_does_not_stop_in_time_is_exit_3_and_now_ends_it(running):
    folder, process = running(heeds=False)
    with pytest.raises(LensjaxError, match="it still runs") as caught:
        stop(folder, wait_s=0.3)
    assert caught.value.code == ExitCode.STALLED and "stop --now" in caught.value.remedy
    assert stop(folder, wait_s=10.0, now=True) and process.wait(10) == 75


@pytest.mark.parametrize("told", [{"host": "elsewhere"}, {"pid": os.getpid()}, {"pid": "x"}])
def test_only_the_process_that_holds_the_lock_is_signalled(running, told, monkeypatch):
    """Another host, a pid that is another process (this one) by now, a lock that says nonsense."""
    folder, process = running()
    path = folder / lock.NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), **told}))
    monkeypatch.setattr(os, "kill", lambda *sent: pytest.fail(f"signalled {sent}"))
    with pytest.raises(LensjaxError, match="nothing was signalled") as caught:
        stop(folder, wait_s=1.0)
    assert caught.value.code == ExitCode.IN_USE and process.poll() is None
    holder = json.loads(path.read_text())
    if holder["host"] == socket.gethostname():  # without the look at its open files
        monkeypatch.setattr(lock, "is_held_by", lambda folder, pid: True)
        if isinstance(holder["pid"], int):
            with pytest.raises(pytest.fail.Exception, match="signalled"):
                stop(folder, wait_s=1.0)


def test_how_long_until_the_next_beat_goes_by_the_steps(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: now[0])
    path = tmp_path / "heartbeat.json"
    beat = Heartbeat(path, total=1000)

    def told(seconds: float, **given):
        now[0] += seconds
        beat.beat(**given)
        return json.loads(path.read_text())

    assert told(0, step=1, epoch=0)["due_s"] == LONG_DUE_S  # it may be compiling
    assert told(2, step=21, epoch=0)["due_s"] == STEP_DUE_S
    assert told(100, step=22, epoch=0)["steps_per_s"] == pytest.approx((10 + 0.01) / 2, abs=1e-3)
    assert told(1, step=22, epoch=0, stage="validate", force=True)["due_s"] == LONG_DUE_S
    for step in range(23, 40):
        slow = told(100, step=step, epoch=0)
    assert slow["due_s"] == pytest.approx(20 * 100, rel=0.01)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (61, "1 min 1 s"), (3600, "1 h"), (90_061, "1 d 1 h")],
)
def test_times_in_two_units(seconds, text):
    assert span(seconds) == text


def test_runs_are_found_in_sweeps_and_attics_are_not(tmp_path):
    for name in ("a", "matrix/b1-seed0", "matrix/b1-seed1", "a/attic-1", "empty", ".hidden"):
        (tmp_path / name).mkdir(parents=True)
        if name != "empty":
            (tmp_path / name / "train.log").touch()
    names = [str(path.relative_to(tmp_path)) for path in find(tmp_path)]
    assert names == ["a", "matrix/b1-seed0", "matrix/b1-seed1"]
