"""What a run says, and how commands end: one line, the right code, never a stray traceback."""

import logging
import os
import subprocess
import sys

import pytest

from lensjax.progress import progress_bar
from lensjax.runs import logs
from lensjax.runs.logs import run_command, setup_logging
from lensjax.runs.workdir import PACKAGE, Workdir
from lensjax.schema import ExitCode, LensjaxError

ours = logging.getLogger("lensjax.tests")


@pytest.fixture(autouse=True)
def logging_put_back():
    """Handlers and level of the root logger as they were."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in [h for h in root.handlers if h not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    logging.captureWarnings(False)


def test_everything_goes_to_the_file_and_only_ours_to_the_console(tmp_path, capsys):
    setup_logging(Workdir(tmp_path, notices=("taking over",)))
    ours.info("epoch %d", 3)
    logging.getLogger("absl").info("chatter")
    logging.getLogger("absl").warning("from a library")
    console, text = capsys.readouterr().err, (tmp_path / "train.log").read_text()
    assert console == "warning: taking over\nepoch 3\n"
    assert "INFO lensjax.tests: epoch 3\n" in text and "WARNING absl: from a library\n" in text
    assert "chatter" not in text


def test_setting_up_twice_says_things_once_and_the_log_is_continued(tmp_path, capsys):
    for _ in range(2):
        setup_logging(Workdir(tmp_path))
        ours.info("hello")
    assert capsys.readouterr().err == "hello\n" * 2
    assert (tmp_path / "train.log").read_text().count("hello") == 2


def test_a_handler_left_by_a_library_says_nothing_twice(capsys):
    logging.getLogger().addHandler(logging.StreamHandler(sys.stderr))  # as importing orbax does
    setup_logging()
    ours.info("hello")
    assert capsys.readouterr().err == "hello\n"


def test_control_characters_are_escaped(tmp_path, capsys):
    setup_logging(Workdir(tmp_path))
    ours.warning("file %s", "a\x1b[2Jb\nERROR forged\rline")
    try:
        raise ValueError("\x1b[31m red")
    except ValueError:
        ours.exception("failed")  # a traceback has them too
    for text in (capsys.readouterr().err, (tmp_path / "train.log").read_text()):
        assert "\x1b" not in text and "\r" not in text
        assert r"a\x1b[2Jb\nERROR forged\rline" in text
        assert not any(line.startswith("ERROR forged") for line in text.splitlines())


def test_without_the_formatter_a_name_writes_to_the_terminal(capsys, monkeypatch):
    monkeypatch.setattr(logs, "printable", lambda text: text)
    setup_logging()
    ours.warning("file %s", "a\x1b[2J")
    assert "\x1b[2J" in capsys.readouterr().err  # harm


def failing(error, tmp_path):
    def main(argv):
        setup_logging(Workdir(tmp_path), "--debug" in argv)
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (LensjaxError(ExitCode.LEAK, "brick shared", "b1"), 11, "error: b1: brick shared"),
        (KeyboardInterrupt(), 75, "interrupted"),
        (OSError(28, "No space left on device", "f.npz"), 16, "f.npz: the disk is full"),
        (PermissionError(13, "Permission denied", "f"), 16, "permission denied"),
        (OSError(30, "Read-only file system", "f"), 16, "read-only"),
        (MemoryError(), 16, "out of memory"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes"), 16, "out of memory"),
        (KeyError("no\nsuch"), 1, r"KeyError: 'no\nsuch' (a bug in lensjax"),
    ],
)
def test_how_a_command_ends(tmp_path, capsys, error, code, words):
    assert run_command(failing(error, tmp_path), []) == code
    console, text = capsys.readouterr().err, (tmp_path / "train.log").read_text()
    assert console.count("\n") == 1 and words in console
    assert words.removeprefix("error: ") in text
    assert ("Traceback" in text) == (code in (1, 16))
    if code == 1:
        assert "--debug" in console and str(tmp_path / "train.log") in console


def test_debug_shows_the_traceback(tmp_path, capsys):
    assert run_command(failing(KeyError("x"), tmp_path), ["--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_what_main_returns_and_argparse_exits_are_passed_on(capsys):
    assert run_command(lambda argv: 21, []) == 21
    assert run_command(lambda argv: sys.exit(0), []) == 0
    assert run_command(lambda argv: sys.exit("usage"), []) == 1
    assert capsys.readouterr().err == ""


def test_the_error_is_last_on_screen_after_the_bars(capsys):
    def main(argv):
        with progress_bar(total=10, desc="train", unit="step") as bar:
            bar.delay = 0
            bar.update(3)
            raise LensjaxError(ExitCode.NON_FINITE, "loss is NaN")

    assert run_command(main, []) == 15
    assert capsys.readouterr().err.splitlines()[-1] == "error: loss is NaN"


CLOSED = """
import os, sys, time
from pathlib import Path
from lensjax.progress import progress_bar
from lensjax.runs.logs import run_command, say, setup_logging
from lensjax.runs.workdir import Workdir
import logging
log = logging.getLogger("lensjax.child")
def main(argv):
    setup_logging(Workdir(Path(argv[0])))
    sys.stdin.readline()  # both ends are closed by now
    with progress_bar(total=3, desc="train") as bar:
        bar.delay = 0
        for _ in range(3):
            bar.update()
            log.info("step")
            say("to stdout")
    log.info("done")
    return 21
sys.exit(run_command(main, sys.argv[1:]))
"""


def test_a_closed_terminal_neither_stops_a_run_nor_changes_its_exit_code(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", CLOSED, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
    )
    assert process.stdin and process.stdout and process.stderr
    process.stdout.close()
    process.stderr.close()
    process.stdin.write(b"\n")
    process.stdin.close()
    assert process.wait(30) == 21
    assert "done" in (tmp_path / "train.log").read_text()
