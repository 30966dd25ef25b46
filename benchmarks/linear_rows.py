"""Time and memory of phase 0 against the number of rows, by the million.

The stamps have 8 x 8 pixels, so that a million rows are 3 GB: the geometry of lensjax.schema is set
to that size before anything else is imported, here and in the worker processes, and the code is
otherwise that of every run. Each size runs in a process of its own.

    python benchmarks/linear_rows.py --rows 1000 10000 100000 1000000 --folder /tmp/linear
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lensjax import schema

schema.STAMP_SIZE = 8
schema.STAMP_SHAPE = (8, 8, 3)
schema.CENTRE = 3.5
schema.CORE_BOX = slice(3, 5)
schema.OUTER_ANNULUS = (2.5, 4.0)

from synthetic_rows import make_set  # noqa: E402  (after the geometry)

from lensjax import gates  # noqa: E402
from lensjax.checks.run import run_checks  # noqa: E402
from lensjax.checks.scan import scan_files  # noqa: E402
from lensjax.data.files import FileSource  # noqa: E402
from lensjax.data.parquet import ParquetFormat  # noqa: E402

ROWS_PER_FILE = 20_000


def one(root: Path, cache: Path, workers: int) -> None:
    """Phase 0 of one set; prints its line of the table."""
    protocol = gates.load_protocol("configs/protocols/default.json")
    before = _peak_mb()
    start = time.monotonic()
    source = FileSource(str(root), ParquetFormat(), cache)
    scan = scan_files(source, workers=workers, progress=False)
    scanned = time.monotonic() - start
    summary = run_checks(
        scan,
        protocol=protocol.document,
        protocol_digest=protocol.digest,
        data_digest=source.digest(),
        proportions=None,
        simulated=False,
    )
    rows, whole = len(scan.rows) // 2, time.monotonic() - start
    print(
        f"| {rows:,} | {scanned:.1f} | {whole:.1f} | {1e6 * whole / rows:.0f} | {_peak_mb():.0f} "
        f"(imports {before:.0f}) | {'passed' if summary.all_passed else 'failed'} |",
        flush=True,
    )
    if not summary.all_passed:
        print(summary.error())


def _peak_mb() -> float:
    """Of this process since it began (ru_maxrss would be that of the one that started it)."""
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    """Make each set, run phase 0 on it in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)  # the child process
    told = parser.parse_args()
    if told.one:
        one(told.one, told.folder / f"cache-{told.one.name}", told.workers)
        return
    print("| rows | scan s | phase 0 s | us a row | peak MB | |")
    print("|---|---|---|---|---|---|", flush=True)
    for rows in told.rows:
        root = told.folder / f"rows-{rows}"
        if not root.exists():
            make_set(root, rows, ROWS_PER_FILE, 0)
        shutil.rmtree(told.folder / f"cache-{root.name}", ignore_errors=True)
        command = [sys.executable, __file__, "--folder", str(told.folder), "--one", str(root)]
        subprocess.run([*command, "--workers", str(told.workers)], check=True)


if __name__ == "__main__":
    main()
