"""A script of the repository without some of its guards, in a process of its own.

Not for users: no option of lensjax does this.

    python tests/faults/child.py pixels,pairs phase0/run_all.py --data=ROOT
"""

from __future__ import annotations

import runpy
import sys

import pytest

from tests.faults.guards import switch_off
from tests.faults.running import ROOT

if __name__ == "__main__":
    _, off, script, *argv = sys.argv
    switch_off([name for name in off.split(",") if name], pytest.MonkeyPatch())
    sys.argv = [script, *argv]
    if script.endswith(".py"):
        runpy.run_path(str(ROOT / script), run_name="__main__")
    else:
        runpy.run_module(script, run_name="__main__")
