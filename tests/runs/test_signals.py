"""A request to stop is a flag; a second one leaves now; a closed terminal stops nothing."""

import os
import signal
import subprocess
import sys

import pytest

from lensjax.runs.signals import SIGNALS, StopRequest
from lensjax.runs.workdir import PACKAGE
from lensjax.schema import ExitCode, LensjaxError


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_sets_the_flag(number, capfd):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop.requested
        stop.raise_if_requested()
        os.kill(os.getpid(), number)
        assert stop.requested and stop.by == number.name
        with pytest.raises(LensjaxError) as caught:
            stop.raise_if_requested("evaluation")
        assert caught.value.code == ExitCode.STOPPED and number.name in str(caught.value)
    assert signal.getsignal(number) == before
    assert number.name in capfd.readouterr().err


CHILD = """
import os, signal, time
from lensjax.runs.signals import StopRequest
{guard}
    print("ready", flush=True)
    time.sleep(0.2)
    {act}
    time.sleep(0.2)
    print("went on", flush=True)
"""
GUARD = "with StopRequest() as stop:"


def child(act, guard=GUARD):
    done = subprocess.run(
        [sys.executable, "-c", CHILD.format(act=act, guard=guard)],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout


def test_hangup_is_ignored_and_kills_without_the_guard():
    hangup = "os.kill(os.getpid(), signal.SIGHUP)"
    assert child(hangup) == (0, "ready\nwent on\n")
    heeded = f"signal.signal(signal.SIGHUP, signal.SIG_DFL); {hangup}"  # under nohup it is not
    assert child(heeded, "if True:") == (-signal.SIGHUP, "ready\n")  # harm


def test_a_second_request_leaves_at_once_with_75():
    twice = "os.kill(os.getpid(), 15); os.kill(os.getpid(), 10)"
    assert child(twice) == (ExitCode.STOPPED, "ready\n")
    once = "os.kill(os.getpid(), 15)"
    assert child(once) == (0, "ready\nwent on\n")
    assert child(once, "if True:") == (-signal.SIGTERM, "ready\n")  # harm: nothing is saved
