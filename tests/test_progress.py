"""Progress bars: late, escaped, redrawn on a terminal, whole lines in a file."""

import logging
import sys

import pytest
from tqdm import tqdm

from lensjax import progress
from lensjax.progress import progress_bar
from lensjax.runs.logs import run_command


def test_a_bar_counts_shows_late_and_escapes(capsys):
    assert list(progress_bar(range(3), desc="a\x1bb")) == [0, 1, 2]
    assert capsys.readouterr().err == ""  # under 2 s
    bar = progress_bar(total=5, initial=2, desc="x", unit="step")
    assert isinstance(bar, tqdm) and bar.n == 2 and bar.delay == 2
    bar.close()


def test_a_bar_that_is_off_says_nothing(capsys, monkeypatch):
    monkeypatch.setattr(progress, "BAR_DELAY_S", 0.0)
    assert list(progress_bar(range(3), desc="x", disable=True)) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def logged(argv):
    """A bar that is redrawn at every step, one more inside it, and log lines in between."""
    log = logging.getLogger("lensjax.tests")
    with progress_bar(total=3, desc="train", unit="step") as bar:
        for step in range(3):
            bar.update()
            log.info("step %d", step)
            for _ in progress_bar(range(2), desc="validate"):
                log.info("inside")
    log.info("done")
    return 0


@pytest.fixture
def at_once(monkeypatch):
    """Bars are shown from the first step on, at every step."""
    monkeypatch.setattr(progress, "BAR_DELAY_S", 0.0)
    monkeypatch.setattr(progress, "BAR_EVERY_S", 0.0)
    monkeypatch.setattr(progress, "BAR_EVERY_IN_FILE_S", 0.0)


def test_in_a_file_a_bar_is_lines_of_its_own(tmp_path, monkeypatch, at_once):
    path = tmp_path / "stderr"
    with path.open("w") as file:
        monkeypatch.setattr(sys, "stderr", file)
        assert run_command(logged, []) == 0
    content = path.read_text()
    lines = content.splitlines()
    said = ["step 0", "step 1", "step 2", "inside", "done"]
    assert [line for line in lines if line.startswith("step ")] == said[:3]
    assert lines.count("inside") == 6 and lines[-1] == "done"
    bars = [line for line in lines if line not in said]
    assert all(line.startswith(("train: ", "validate: ")) for line in bars)
    assert any(line.startswith("train: 100%") and "3/3" in line for line in bars)
    assert all(line.count("%|") <= 1 for line in bars)
    assert "\r" not in content and "\x1b" not in content and content.endswith("\n")


def test_redrawn_in_place_a_bar_and_a_log_line_share_a_line_of_a_file(
    tmp_path, monkeypatch, at_once
):
    monkeypatch.setattr(progress, "_LINES", progress.STDERR)  # the guard off
    path = tmp_path / "stderr"
    with path.open("w") as file:
        monkeypatch.setattr(sys, "stderr", file)
        run_command(logged, [])
    lines = path.read_bytes().decode().split("\n")
    assert any("train: " in line and "step 0" in line for line in lines)  # harm


def test_on_a_terminal_it_is_redrawn_in_place(capsys, monkeypatch, at_once):
    monkeypatch.setattr(progress.STDERR, "isatty", lambda: True)
    with progress_bar(total=3, desc="train", unit="step") as bar:
        bar.update()
        bar.update()
    assert capsys.readouterr().err.count("\rtrain: ") >= 3


def test_in_a_file_a_long_bar_is_a_line_every_half_minute(monkeypatch):
    bar = progress_bar(total=3, desc="train")
    assert bar.mininterval == 30 and bar.maxinterval == 30
    bar.close()
