"""How long `python -m lensjax.data split` takes, in how much memory, and what a guard band costs.

Not the stamps: the files have the metadata of a survey of LRGs and a few bytes for each stamp,
which the command does not read. The second table sets the hosts that are lost with contiguous
groups of bricks beside those with bricks hashed one by one, the common way.

    python benchmarks/split_manifest.py
    python benchmarks/split_manifest.py --rows=1000000 --files=640
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lensjax.checks.sky import nearest_arcsec, unit_vectors
from lensjax.curate.guard import set_aside
from lensjax.curate.split import ASIDE, Settings, SkyRows, split_rows
from lensjax.data.bricks import brick_names

ROOT = Path(__file__).resolve().parent.parent
SURVEY = ((0.0, 360.0), (-20.0, 30.0))  # ra, dec, degrees: 17,300 square degrees
SHARES = (0.70, 0.15, 0.15)
FIELDS = (  # name, ra, dec, hosts
    ("1 deg2, 1,000 a deg2", (10.0, 11.0), (0.0, 1.0), 1_000),
    ("25 deg2, 120 a deg2", (10.0, 15.0), (0.0, 5.0), 3_000),
    ("25 deg2, 1,000 a deg2", (10.0, 15.0), (0.0, 5.0), 25_000),
    ("500 deg2, 120 a deg2", (350.0, 375.0), (-10.0, 10.0), 60_000),
    ("500 deg2, 1,200 a deg2", (350.0, 375.0), (-10.0, 10.0), 600_000),
)


def positions(ra: tuple[float, float], dec: tuple[float, float], hosts: int) -> np.ndarray:
    """float64 [2, hosts], degrees, uniform on the sky between `ra` and `dec`."""
    rng = np.random.default_rng(hosts)
    sine = np.sin(np.deg2rad(dec))
    return np.stack(
        [rng.uniform(*ra, hosts) % 360.0, np.rad2deg(np.arcsin(rng.uniform(*sine, hosts)))]
    )


def write_root(root: Path, rows: int, files: int) -> None:
    """Files of the usual columns, 1.3 rows a host, seeing and depth that follow the sky."""
    rng = np.random.default_rng(rows)
    hosts = int(rows / 1.3)
    host = np.concatenate([np.arange(hosts), rng.integers(0, hosts, rows - hosts)])
    host = host[rng.permutation(rows)]
    ra, dec = positions(*SURVEY, hosts)
    brick = brick_names(ra, dec)
    seeing = 1.2 + 0.1 * np.sin(np.deg2rad(3 * ra)) + rng.normal(0, 0.07, hosts)
    depth = 23.4 + 0.1 * np.cos(np.deg2rad(5 * dec)) + rng.normal(0, 0.1, hosts)
    split = rng.choice(["train", "val", "test"], files, p=SHARES)
    for k, mine in enumerate(np.array_split(np.arange(rows), files)):
        at = host[mine]
        table = {
            "task_id": [f"lens-injection-{row:012d}" for row in mine],
            "brickname": brick[at],
            "ra": ra[at],
            "dec": dec[at],
            "region_split": [split[k]] * len(mine),
            "bandset": ["grz"] * len(mine),
            "theta_e_arcsec": rng.uniform(0.5, 2.5, len(mine)),
            "arc_snr": rng.uniform(3, 50, len(mine)),
            "psf_fwhm_used_r": seeing[at],
            "psfdepth_r": depth[at],
            "stamp_npz": [b"not read"] * len(mine),
            "ctrl_stamp_npz": [b"not read"] * len(mine),
        }
        (root / split[k]).mkdir(parents=True, exist_ok=True)
        name = root / split[k] / f"part-{k:05d}.parquet"
        pq.write_table(pa.table(table), name, write_page_checksum=True)


def measure(rows: int, files: int) -> None:
    """One line of the first table: the command in a child process, as a user runs it."""
    with tempfile.TemporaryDirectory() as folder:
        root, out = Path(folder) / "root", Path(folder) / "split.parquet"
        write_root(root, rows, files)
        argv = [sys.executable, "-m", "lensjax.data", "split", str(root), f"--out={out}"]
        begun = time.monotonic()
        child = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        printed = child.stdout.read() if child.stdout else ""
        _, status, used = os.wait4(child.pid, 0)
        wall = time.monotonic() - begun
        if status:
            raise SystemExit(f"the command failed:\n{printed}")
        lost = next(line for line in printed.splitlines() if line.startswith("set aside"))
        cells = (f"{rows:,}", f"{files:,}", f"{wall:.1f}", f"{used.ru_utime + used.ru_stime:.1f}")
        sizes = (f"{used.ru_maxrss / 1e3:.0f}", f"{out.stat().st_size / 1e6:.1f}")
        print("|", " | ".join((*cells, *sizes, lost.split(": ")[1])), "|", flush=True)


def lost(name: str, ra: tuple[float, float], dec: tuple[float, float], hosts: int) -> None:
    """One line of the second table: shares of hosts in the guard band, three ways."""
    at = positions(ra, dec, hosts)
    bricks, brick = np.unique(brick_names(*at), return_inverse=True)
    one = np.ones(hosts, np.int64)
    rows = SkyRows(*at, brick, np.arange(hosts), 0 * one, one, one)
    settings = Settings(SHARES, seed=42)
    ours = np.mean(split_rows(rows, settings) == ASIDE)
    hashed = np.random.default_rng(0).choice(3, len(bricks), p=SHARES)[brick].astype(np.int8)
    fewest = set_aside(unit_vectors(*at), rows.host, hashed, settings.reach_arcsec).mean()
    near = np.zeros(hosts, bool)
    for k in range(3):
        mine, others = hashed == k, hashed != k
        apart, _ = nearest_arcsec(*at[:, mine], *at[:, others], settings.reach_arcsec)
        near[mine] = apart < settings.reach_arcsec
    cells = (name, f"{len(bricks):,}", *(f"{x:.2%}" for x in (ours, fewest, near.mean())))
    print("|", " | ".join(cells), "|", flush=True)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, help="one size alone")
    parser.add_argument("--files", type=int, default=1000, help="of the root")
    flags = parser.parse_args()
    print("| rows | files | wall s | CPU s | peak MB | manifest MB | set aside |")
    print("|---" * 7 + "|")
    for rows in [flags.rows] if flags.rows else [10_000, 100_000, 1_000_000, 1_570_000]:
        measure(rows, max(1, min(flags.files, rows // 100)))
    if not flags.rows:
        print("\n| sky | bricks | groups of bricks | bricks hashed, fewest hosts | all near ones |")
        print("|---" * 5 + "|")
        for field in FIELDS:
            lost(*field)
    return 0


if __name__ == "__main__":
    sys.exit(main())
