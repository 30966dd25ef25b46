"""Parquet files that ask for much: refused before pyarrow reads them, and what it would have
taken. Every reading is in a process of its own (the control's may die of it)."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.fuzz.bombs import BOMBS
from tests.fuzz.campaign import ROOT

SIZE = 2**26  # bytes; the campaign of docs/hostile_input.md has 2**30
REFUSED_MB = 20
ENDS = {
    "lying page": "exit 17",
    "zstd page": "exit 17",
    "repeated word": "exit 17",
    "repeated stamp": "exit 17",
    "prefixed stamp": "exit 10",  # an encoding that is not read
    "long list": "exit 17",
    "many rows": "exit 17",
    "long footer": "exit 10",  # a list of more than 8,192 entries
    "unknown codec": "exit 10",
}


@pytest.fixture(scope="module")
def tried():
    """Of each bomb: bytes of the file, and how it ended, with MB, as the reader is and without its
    guards."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz.bombs", str(SIZE)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-500:]
    return {line[0]: line[1:] for line in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_is_read(name, tried):
    size, (ended, grown_mb), _ = tried[name]
    assert ended == ENDS[name]
    assert grown_mb < REFUSED_MB + size / 2**20


@pytest.mark.parametrize("name", BOMBS)
def test_control_without_the_guards_it_takes_what_it_asks_for(name, tried):
    _, _, (ended, grown_mb) = tried[name]
    if name == "unknown codec":
        assert ended == "death by signal 6"
    else:
        assert grown_mb > SIZE / 2**20 / 2
