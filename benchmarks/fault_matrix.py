"""The fault matrix: of its 89 ids, which are proven, not proven, failed.

Runs the tests that carry the marks `proves(id)` and `harm(id)` and prints a line for each id of
tests/faults/matrix.py. Proven is what has tests of both kinds, all of which passed; what has none,
or one that was skipped, is not proven. Exit 0 unless something failed.

    python benchmarks/fault_matrix.py               # the quick cases and the child processes
    python benchmarks/fault_matrix.py --quick       # in-process alone
    python benchmarks/fault_matrix.py --nightly     # with the large and slow ones

Other words are pytest's: `-n0`, `tests/faults`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.faults.matrix import FAILED, MATRIX, NOT_PROVEN, PROVEN, Seen, verdict  # noqa: E402

MARKED = "(proves or harm)"
PACKAGES = ("numpy", "pyarrow", "h5py", "astropy", "jax", "pytest")


def selection(*, quick: bool, nightly: bool, gpu: bool) -> str:
    """The marker expression of pytest."""
    left_out = {"faults": quick, "nightly": not nightly, "gpu": not gpu}
    return " and ".join([MARKED, *(f"not {name}" for name, out in left_out.items() if out)])


def run(marks: str, words: Sequence[str]) -> tuple[list[Seen], int]:
    """Runs pytest; what was seen of each id, and pytest's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", marks, f"--junitxml={report}"]
        code = subprocess.run([*command, *words], cwd=ROOT).returncode
        return (list(read(report)) if report.exists() else []), code


def read(report: Path) -> Iterator[Seen]:
    """What a JUnit report of pytest says of each id."""
    for case in ElementTree.parse(report).iter("testcase"):
        ends = {child.tag for child in case}
        outcome = "failed" if ends & {"failure", "error"} else "passed"
        if outcome == "passed" and "skipped" in ends:
            outcome = "skipped"
        for told in case.iter("property"):
            if told.get("name") in ("proves", "harm"):
                yield Seen(str(told.get("name")), str(told.get("value")), outcome)


def lines(seen: Sequence[Seen]) -> Iterator[str]:
    """The table, as Markdown: an id, its numbers of tests (guards + controls), its verdict."""
    yield "| id | what | tier | expected | tests | |"
    yield "|---|---|---|---|---|---|"
    for name, entry in MATRIX.items():
        kinds = Counter(one.mark for one in seen if one.id == name)
        tests = f"{kinds['proves']} + {kinds['harm']}" if kinds else ""
        told = f"{entry.what} | {entry.tier} | {entry.expected} | {tests}"
        yield f"| {name} | {told} | {verdict(name, seen)} |"


def machine() -> str:
    """Processor, cores and versions, in one line."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        cpu = names[0].partition(": ")[2] if names else cpu
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return f"{os.cpu_count()} cores of {cpu}; Python {platform.python_version()}, {versions}"


def main() -> int:
    """Run, print the table and the counts."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the in-process cases alone")
    parser.add_argument("--nightly", action="store_true", help="with what is large or slow")
    parser.add_argument("--gpu", action="store_true", help="with what needs a GPU")
    told, words = parser.parse_known_args()
    start = time.monotonic()
    marks = selection(quick=told.quick, nightly=told.nightly, gpu=told.gpu)
    seen, code = run(marks, words)
    spent = time.monotonic() - start
    print()
    print("\n".join(lines(seen)))
    counts = Counter(verdict(name, seen) for name in MATRIX)
    numbers = ", ".join(f"{counts[name]} {name}" for name in (PROVEN, NOT_PROVEN, FAILED))
    print(f"\n{numbers}, of {len(MATRIX)}; {len(seen)} tests in {spent:.0f} s ({marks})")
    print(machine())
    return 0 if seen and code == 0 and not counts[FAILED] else 1


if __name__ == "__main__":
    sys.exit(main())
