"""Reading and checking against the common way, on the same files in the same run.

The common way: pandas.read_parquet, numpy.load of every npz, finite / range / variance / shape
tests, SHA-256 of the file, and the preprocessing in numpy (raw_robust, or residual with a median in
each ring), one process. Ours, one process: read, decode, validate and digest alone; and the whole
scan, which also measures every stamp for duplicates and shortcuts and compares every pair. Then the
scan with two workers against one. Seconds are those of the processor for one process, of the clock
for two; each figure is the median of the repeats, with the smallest and largest ratio.

    python benchmarks/read_and_check.py --rows 4000 --repeats 5 --folder /tmp/read
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import pyarrow as pa  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from synthetic_rows import make_set  # noqa: E402

from lensjax import schema  # noqa: E402
from lensjax.checks.scan import scan_files  # noqa: E402
from lensjax.data.digests import hash_file  # noqa: E402
from lensjax.data.files import FileSource  # noqa: E402
from lensjax.data.parquet import ParquetFormat  # noqa: E402

pa.set_cpu_count(1)
pa.set_io_thread_count(1)

RADIUS = schema.radius_map()
LOW, HIGH = schema.OUTER_ANNULUS
ANNULUS = (RADIUS >= LOW) & (RADIUS < HIGH)
RINGS = [RADIUS.astype(int) == k for k in range(45)]


def standardised(stamp: np.ndarray) -> np.ndarray:
    """raw_robust without the clip, float32 [3, 64, 64], as a user would write it."""
    outer = stamp[:, ANNULUS]
    median = np.median(outer, axis=1)
    mad = np.median(np.abs(outer - median[:, None]), axis=1)
    return (stamp - median[:, None, None]) / (1.4826 * mad)[:, None, None]


def raw_robust(stamp: np.ndarray) -> np.ndarray:
    """As contracts.md defines it."""
    return np.clip(standardised(stamp), -100, 100)


def residual(stamp: np.ndarray) -> np.ndarray:
    """Likewise, less the median of each ring."""
    scaled = standardised(stamp)
    for ring in RINGS:
        scaled[:, ring] -= np.median(scaled[:, ring], axis=1)[:, None]
    return np.clip(scaled, -100, 100)


def common(files: list[Path], preprocess: Callable[[np.ndarray], np.ndarray]) -> None:
    """Every stamp of `files` the common way."""
    for path in files:
        hashlib.sha256(path.read_bytes()).hexdigest()
        for row in pd.read_parquet(path).itertuples():
            for blob in (row.stamp_npz, row.ctrl_stamp_npz):
                with np.load(io.BytesIO(blob)) as stored:
                    stamp = np.stack([stored[f"image_{band}"] for band in schema.BANDS])
                sound = stamp.shape == (3, 64, 64) and np.isfinite(stamp).all()
                if not (sound and np.abs(stamp).max() <= 1e6 and stamp.std(axis=(1, 2)).all()):
                    raise ValueError(path)
                preprocess(stamp)


def read_only(root: Path, cache: Path) -> None:
    """Read, decode, validate and digest every row, nothing else."""
    source = FileSource(str(root), ParquetFormat(), cache)
    for shard in source.listing[0].shards:
        hash_file(source.filesystem, shard.path)
        for piece in source.form.pieces(source.filesystem, shard):
            for block in source.form.blocks(source.filesystem, shard, piece):
                assert not block.faults


def whole_scan(root: Path, cache: Path, workers: int) -> None:
    """The pass of phase 0; nothing is remembered from an earlier one."""
    (cache / "file_digests.json").unlink(missing_ok=True)
    source = FileSource(str(root), ParquetFormat(), cache)
    assert not scan_files(source, workers=workers, progress=False).set_aside


def main() -> None:
    """Alternate the ways, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4_000)
    parser.add_argument("--common-rows", type=int, default=400, help="the common way reads so many")
    parser.add_argument("--scaling-rows", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, required=True)
    told = parser.parse_args()
    root, large, cache = (told.folder / name for name in ("rows", "large", "cache"))
    for folder, rows in ((root, told.rows), (large, told.scaling_rows)):
        if not folder.exists():
            make_set(folder, rows, told.common_rows, 0)
    files = [next((root / "train").glob("*.parquet"))]
    ways = {
        "common, raw_robust": (lambda: common(files, raw_robust), told.common_rows),
        "common, residual": (lambda: common(files, residual), told.common_rows),
        "lensjax: read, decode, validate, digest": (lambda: read_only(root, cache), told.rows),
        "lensjax: the whole scan": (lambda: whole_scan(root, cache, 1), told.rows),
    }
    cost: dict[str, list[float]] = {name: [] for name in ways}
    walls: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(told.repeats):
        for name, (run, rows) in ways.items():
            start = time.process_time()
            run()
            cost[name].append((time.process_time() - start) / rows)
        for workers, found in walls.items():
            start = time.monotonic()
            whole_scan(large, cache, workers)
            found.append(time.monotonic() - start)
    versions = f"numpy {np.__version__}, pandas {pd.__version__}, pyarrow {pa.__version__}"
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, ")
    print(f"{versions}; {told.repeats} repeats; a row is two stamps\n")
    print("| way | microseconds a row and core | times raw_robust | times residual |")
    print("|---|---|---|---|")
    for name, seconds in cost.items():
        cells = []
        for peer in ("common, raw_robust", "common, residual"):
            ratios = sorted(a / b for a, b in zip(cost[peer], seconds, strict=True))
            cells.append(f"{statistics.median(ratios):.1f} [{ratios[0]:.1f}, {ratios[-1]:.1f}]")
        print(f"| {name} | {1e6 * statistics.median(seconds):.0f} | {' | '.join(cells)} |")
    ratios = sorted(a / b for a, b in zip(walls[1], walls[2], strict=True))
    print(
        f"\nTwo workers against one, {told.scaling_rows} rows, by the clock: "
        f"{statistics.median(ratios):.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}] times"
    )


if __name__ == "__main__":
    main()
