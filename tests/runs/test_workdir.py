"""One run a workdir, whatever the path to it; nothing is lost by --fresh."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from lensjax.runs import lock
from lensjax.runs.workdir import PACKAGE, Workdir, open_workdir
from lensjax.schema import ExitCode, LensjaxError

HOLD = """
import sys, time
from lensjax.runs.workdir import open_workdir
from lensjax.schema import LensjaxError
try:
    with open_workdir(sys.argv[1], fresh="--fresh" in sys.argv):
        print("held", flush=True)
        time.sleep(30)
except LensjaxError as error:
    print(error, flush=True)
    sys.exit(error.code)
"""


@contextlib.contextmanager
def child(folder, *flags):
    """A real process that opens `folder` and holds it; gives it after its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), *flags],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline()
    finally:
        process.kill()
        process.communicate()


def error_of(path, fresh=False):
    with pytest.raises(LensjaxError) as caught, open_workdir(path, fresh):
        pass
    return caught.value


def test_second_process_is_refused_and_told_by_whom(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "run")
    with open_workdir(tmp_path / "run"):
        for path in (tmp_path / "run", link):
            start = time.monotonic()
            with child(path) as (process, line):
                assert process.wait(5) == ExitCode.IN_USE
            assert time.monotonic() - start < 2
            for known in (f"pid {os.getpid()}", "host ", "started 20", "pytest"):
                assert known in line


def test_without_the_kernel_lock_the_second_process_gets_in(tmp_path, monkeypatch):
    with child(tmp_path) as (_, line):
        assert line == "held\n"
        assert error_of(tmp_path).code == ExitCode.IN_USE
        monkeypatch.setattr(fcntl, "flock", lambda *_: None)
        with open_workdir(tmp_path) as workdir:  # harm: two runs in one workdir
            assert workdir.path == tmp_path


def test_kill_9_frees_the_lock_and_the_next_run_says_why(tmp_path):
    with child(tmp_path) as (process, line):
        assert line == "held\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with open_workdir(tmp_path) as workdir:
            assert f"pid {process.pid}" in workdir.notices[0]
    with open_workdir(tmp_path) as workdir:
        assert workdir.notices == ()


def test_programs_started_do_not_inherit_the_lock(tmp_path):
    with open_workdir(tmp_path):
        sleeper = subprocess.Popen(["sleep", "30"], close_fds=False)
    try:
        with open_workdir(tmp_path):
            pass
    finally:
        sleeper.kill()
        sleeper.wait()


def test_fresh_moves_all_but_earlier_attics(tmp_path):
    with open_workdir(tmp_path) as workdir:
        (tmp_path / "checkpoints" / "3").mkdir(parents=True)
        (tmp_path / "checkpoints" / "3" / "data").write_bytes(b"weights")
        workdir.config.write_text("{}")
    with open_workdir(tmp_path, fresh=True) as workdir:
        first = workdir.attic
        assert sorted(os.listdir(tmp_path)) == sorted([lock.NAME, first.name])
        assert (first / "checkpoints" / "3" / "data").read_bytes() == b"weights"
        assert str(first) in workdir.notices[0] and "mv " in workdir.notices[0]
        workdir.config.write_text("{1}")
        assert error_of(tmp_path, fresh=True).code == ExitCode.IN_USE
        assert workdir.config.read_text() == "{1}"
    with open_workdir(tmp_path, fresh=True) as workdir:
        assert (first / "config.json").read_text() == "{}"
        assert (workdir.attic / "config.json").read_text() == "{1}"
    with open_workdir(tmp_path, fresh=True) as workdir:
        assert workdir.attic is None  # nothing to move


def test_fresh_does_not_move_the_code_or_home(tmp_path, monkeypatch):
    (tmp_path / "precious").write_text("x")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert error_of(tmp_path, fresh=True).code == ExitCode.USAGE
    assert (tmp_path / "precious").exists()


@pytest.mark.parametrize("make", ["file", "dangling", "newline", "below a file", "too long"])
def test_what_can_be_no_workdir(tmp_path, make):
    path = tmp_path / "w"
    if make == "file":
        path.write_text("mine")
    if make == "dangling":
        path.symlink_to(tmp_path / "gone")
    if make == "newline":
        path = tmp_path / "a\nb"
    if make == "below a file":
        path.write_text("mine")
        path = path / "run"
    if make == "too long":
        path = tmp_path / ("x" * 300)
    error = error_of(path)
    assert error.code == ExitCode.USAGE
    assert "\n" not in str(error)


def test_works_by_its_real_path_and_with_any_name(tmp_path):
    for name in ("with space", "обзор 🔭", "x" * 255):
        with open_workdir(tmp_path / name) as workdir:
            assert workdir.path.name == name
    (tmp_path / "link").symlink_to(tmp_path / "with space")
    with open_workdir(tmp_path / "link") as workdir:
        assert workdir == Workdir(tmp_path / "with space")


@contextlib.contextmanager
def without_special_rights():
    """Root may write anywhere; be nobody for a while, if we are root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_place_one_may_not_write_is_exit_16():
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o555)
        for path in (name, os.path.join(name, "new")):
            with without_special_rights():
                error = error_of(path)
            assert error.code == ExitCode.RESOURCE
            assert "permission denied" in str(error) and name in str(error)
        assert os.listdir(name) == []
