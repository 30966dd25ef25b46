"""Worker processes: results in order, failures told, and no process left behind.

Functions given to workers are of the standard library: a spawned process does not know this file.
"""

from __future__ import annotations

import math
import operator
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from lensjax.checks import workers
from lensjax.checks.workers import FEW_TASKS, count_workers, run_tasks
from lensjax.data.stamps import decode
from lensjax.schema import ExitCode, LensjaxError

MANY = FEW_TASKS + 1  # so that there is a pool
GONE_S = 15.0  # the machine may be busy; alone it takes no time
OWNER = """
import operator, signal, time
from functools import partial
from lensjax.checks import workers
if not {guarded}:
    workers._begin = operator.truth  # does nothing
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM):
    signal.signal(number, lambda *_: None)
tasks = [partial(time.sleep, {seconds})] * 12
print(len(list(workers.run_tasks(operator.call, tasks, 2))), "done")
"""


def children(pid: int) -> list[int]:
    """Processes that `pid` started and that run Python's spawn_main: workers."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    found = [int(word) for word in listed.read_text().split()] if listed.exists() else []
    return [child for child in found if b"spawn_main" in command_line(child)]


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def wait_for(what, seconds: float):
    """The first truth that `what()` says within `seconds`."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)
    return found


def ignores(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(status.partition("SigIgn:")[2].split()[0], 16)
    return bool(mask >> (number - 1) & 1)


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="NOT PROVEN: no /proc")


@pytest.fixture
def owner():
    """Starts a process, leader of a group, and two workers, each asleep for `seconds` a task; gives
    the process and the workers' pids."""
    started, found = [], []

    def start(seconds: float, *, guarded: bool):
        script = OWNER.format(seconds=seconds, guarded=guarded)
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        mine = wait_for(lambda: len(pids := children(process.pid)) == 2 and pids, GONE_S)
        found.extend(mine)
        return process, mine

    yield start
    for process in started:
        process.kill()
    for pid in found:  # those without a guard; they hold the pipes
        if b"spawn_main" in command_line(pid):
            os.kill(pid, signal.SIGKILL)
    for process in started:
        process.communicate()


def test_results_come_in_order_of_the_tasks():
    tasks = [float(k * k) for k in range(60)]
    assert list(run_tasks(math.sqrt, tasks, 2)) == [math.sqrt(x) for x in tasks]


def test_few_tasks_and_one_worker_are_done_here():
    for tasks, asked in (([os.getpid] * FEW_TASKS, 2), ([os.getpid] * MANY, 1)):
        assert set(run_tasks(operator.call, tasks, asked)) == {os.getpid()}
    assert os.getpid() not in set(run_tasks(operator.call, [os.getpid] * MANY, 2))


def test_no_more_tasks_are_handed_out_than_can_be_done_soon(monkeypatch):
    """Results wait for whoever takes them: memory is bounded."""
    handed = []

    class Tasks(list):
        def __iter__(self):
            for task in super().__iter__():
                handed.append(task)
                yield task

    results = run_tasks(math.sqrt, Tasks([1.0] * 100), 2)
    next(results)
    assert len(handed) == 2 * workers.AHEAD + 1
    results.close()


def test_what_a_task_raises_is_raised_here():
    with pytest.raises(ValueError, match="math domain"):
        list(run_tasks(math.sqrt, [1.0] * MANY + [-1.0] + [1.0] * MANY, 2))


def test_an_error_of_ours_comes_back_whole(monkeypatch):
    """Code, place and remedy; without `__reduce__` it looks like a worker that was killed."""
    with pytest.raises(LensjaxError) as here:
        decode(b"\x80\x04.")
    with pytest.raises(LensjaxError) as caught:
        list(run_tasks(decode, [b"\x80\x04."] * MANY, 2))
    assert vars(caught.value) == vars(here.value) and caught.value.code == ExitCode.REFUSED_INPUT
    monkeypatch.delattr(LensjaxError, "__reduce__")
    with pytest.raises(TypeError, match="missing 1 required"):
        pickle.loads(pickle.dumps(here.value))


def test_count_of_workers(monkeypatch):
    assert count_workers(3) == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 5, 7}, raising=False)
    assert (count_workers(0), count_workers(1)) == (3, 1)
    monkeypatch.delattr(os, "sched_getaffinity")
    assert (count_workers(0), count_workers(4)) == (1, 4)  # elsewhere than on Linux


def test_a_worker_that_is_killed_is_told_and_nothing_hangs():
    """P14."""
    tasks = [partial(os.getpid)] * 3 + [partial(signal.raise_signal, 9)] + [os.getpid] * 30
    begun = time.monotonic()
    with pytest.raises(LensjaxError, match="a worker process was ended from outside") as caught:
        list(run_tasks(operator.call, tasks, 2))
    assert caught.value.code == ExitCode.RESOURCE and time.monotonic() - begun < 60
    assert "data.workers=1" in caught.value.remedy
    assert children(os.getpid()) == []


@needs_proc
@pytest.mark.parametrize("delay", [0.0, 0.01, 0.05, 0.2])
def test_a_worker_killed_while_others_start_is_told_too(delay):
    """A pool that breaks while it starts a worker forgets that one, and would wait for it for ever
    (CPython 3.11): it was seen with delay 0."""

    def kill_the_first():
        pid = wait_for(lambda: children(os.getpid()), GONE_S)[0]
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_the_first)
    killer.start()
    with pytest.raises(LensjaxError, match="a worker process was ended from outside"):
        list(run_tasks(time.sleep, [0.05] * 60, 2))
    killer.join()
    assert children(os.getpid()) == []


@needs_proc
def test_workers_end_with_their_owner(owner):
    """However it ends: SIGKILL leaves it no time to tell them. Without the pipe that closes with it
    they sleep on."""
    unguarded, guarded = owner(60.0, guarded=False), owner(60.0, guarded=True)
    wait_for(lambda: all(ignores(pid, signal.SIGINT) for pid in guarded[1]), GONE_S)  # at work
    for process, _ in (guarded, unguarded):
        process.kill()
        process.wait()
    wait_for(lambda: not any(map(command_line, guarded[1])), GONE_S)
    time.sleep(1.0)  # they had longer to go
    assert all(map(command_line, unguarded[1]))


@needs_proc
@pytest.mark.parametrize("guarded", [True, False])
def test_what_a_terminal_sends_to_all_is_for_the_owner(owner, guarded):
    """Ctrl-C asks the owner to stop at its next safe point, a closed terminal asks nothing
    (lensjax.runs.signals): workers that ended by it would look like a want of memory."""
    process, pids = owner(0.2, guarded=guarded)
    sent = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM)
    if guarded:
        wait_for(lambda: all(ignores(pid, number) for pid in pids for number in sent), GONE_S)
    for number in sent:
        os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode == 0 and out == "12 done\n") == guarded, err
