"""D18: memory and time by the rows, measured by the benchmark that makes tiny rows by the million.

100,000 here; benchmarks/linear_rows.py does 1,000,000 (its table is in docs/checks.md).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.faults.running import ROOT

ROWS = 100_000


def peak_mb(rows: int, folder) -> tuple[float, str]:
    """Peak memory in MB of phase 0 on so many rows, and the line of the benchmark's table."""
    script = str(ROOT / "benchmarks/linear_rows.py")
    command = [sys.executable, script, "--rows", str(rows), "--folder", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    line = done.stdout.strip().splitlines()[-1]
    assert line.startswith(f"| {rows:,} |") and line.endswith("| passed |"), done.stdout
    return float(re.search(r"(\d+) \(imports", line)[1]), line


@pytest.mark.nightly
@pytest.mark.proves("D18")
def test_100_000_rows_use_less_than_a_gigabyte(tmp_path):
    peak, line = peak_mb(ROWS, tmp_path)
    print(line)
    assert peak < 1000


@pytest.mark.nightly
@pytest.mark.harm("D18")
def test_holding_the_rows_costs_what_the_files_hold(tmp_path):
    """The guard is that pieces are let go of: a scan that keeps them needs memory by the row."""
    few, many = (keep(rows, tmp_path) for rows in (2_000, 20_000))
    assert many - few > 18_000 * 2 * 3 * 64 * 4 * 0.9  # stamps and controls, 8 x 8 pixels


HOLD = """
import sys
sys.path[:0] = [{root!r}, {root!r} + "/benchmarks"]
import linear_rows
from pathlib import Path
from lensjax.data.parquet import ParquetFormat
held, blocks = [], ParquetFormat.blocks
def kept(*words):
    for block in blocks(*words):
        held.append(block)
        yield block
ParquetFormat.blocks = kept
linear_rows.make_set(Path({folder!r}), {rows}, 20_000, 0)
linear_rows.one(Path({folder!r}), Path({folder!r} + "-cache"), 1)
print(int(1e6 * linear_rows._peak_mb()))
"""


def keep(rows: int, folder) -> int:
    """Peak bytes where every block that was read is kept."""
    script = HOLD.format(root=str(ROOT), folder=str(folder / str(rows)), rows=rows)
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])
