"""A script of the repository without some of its guards, in a process of its own.

Not for users: no option of lensjax does this.

    python tests/faults/child.py pixels,pairs phase0/run_all.py --data=ROOT

Writes the most memory that the process used, in bytes, to the file of LENSJAX_FAULTS_PEAK, if set.
"""

from __future__ import annotations

import atexit
import os
import runpy
import sys
from pathlib import Path

import pytest

from tests.faults.guards import switch_off
from tests.faults.running import ROOT


def write_peak(path: str) -> None:
    """Of this process since it began: ru_maxrss would be that of the one that started it."""
    status = Path("/proc/self/status").read_text()
    Path(path).write_text(str(1024 * int(status.split("VmHWM:")[1].split()[0])))


if __name__ == "__main__":
    _, off, script, *argv = sys.argv
    switch_off([name for name in off.split(",") if name], pytest.MonkeyPatch())
    if "LENSJAX_FAULTS_PEAK" in os.environ:
        atexit.register(write_peak, os.environ["LENSJAX_FAULTS_PEAK"])
    sys.argv = [script, *argv]
    if script.endswith(".py"):
        runpy.run_path(str(ROOT / script), run_name="__main__")
    else:
        runpy.run_module(script, run_name="__main__")
