"""A hundred thousand mutated files: what becomes of lensjax, as a Markdown table.

Inputs are made of (seed, number) alone and tried in processes that are watched (tests/fuzz): npz,
npy, Parquet, FITS, HDF5, manifests, catalogues, indices, protocols, and all of phase 0. Exit 1 if
one ended as none may: undocumented, code run, over 5 s, over 500 MB.

    python benchmarks/hostile_input.py                      # 10^5 inputs, 2 processes
    python benchmarks/hostile_input.py --seed=0 --only=217  # one again, with its traceback
    python benchmarks/hostile_input.py --bombs              # small Parquet files that ask for 1 GiB
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lensjax.progress import progress_bar  # noqa: E402
from tests.fuzz import campaign  # noqa: E402
from tests.fuzz.campaign import Result  # noqa: E402

TARGETS = "tests.fuzz.targets:TARGETS"
SHOWN = 100  # undocumented ends, of as many as there are


def main(argv: list[str] | None = None) -> int:
    """Runs what the flags ask for; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=100_000, help="inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--nice", type=int, default=0, help="priority given up, up to 19")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="one input, in this process")
    parser.add_argument("--bombs", action="store_true", help="Parquet bombs, guards on and off")
    flags = parser.parse_args(argv)
    if flags.bombs:
        return bombs()
    if flags.only is not None:
        return again(flags.seed, flags.only)
    begun = time.perf_counter()
    with progress_bar(total=flags.count, desc="mutated files", unit="file") as bar:
        results = campaign.run(
            TARGETS,
            seed=flags.seed,
            count=flags.count,
            workers=flags.workers,
            tick=bar.update,
            nice=flags.nice,
        )
    return report(results, flags.seed, time.perf_counter() - begun)


def report(results: list[Result], seed: int, seconds: float) -> int:
    """Prints the table, and every undocumented end with the command that makes it again."""
    wrong = [result for result in results if result.is_undocumented]
    print(f"{len(results):,} inputs of seed {seed} in {seconds:,.0f} s, {platform.machine()}, ")
    print(f"Python {platform.python_version()}; {len(wrong)} undocumented ends.\n")
    codes = sorted({result.outcome for result in results if not result.is_undocumented})
    print("| target | inputs |", " | ".join(codes), "| undocumented | slowest, s | peak, MB |")
    print("|---" * (len(codes) + 5) + "|")
    names = dict.fromkeys(result.target for result in results)
    for name in (*names, "all"):
        mine = [result for result in results if name in (result.target, "all")]
        ends = Counter(result.outcome for result in mine if not result.is_undocumented)
        counts = " | ".join(f"{ends[code]:,}" for code in codes)
        slowest, largest = max(x.seconds for x in mine), max(x.peak_mb for x in mine)
        bad = sum(result.is_undocumented for result in mine)
        print(f"| {name} | {len(mine):,} | {counts} | {bad} | {slowest:.2f} | {largest:.0f} |")
    for result in wrong[:SHOWN]:
        print(f"\n{result.target} {result.number}: {result.outcome}, {result.seconds:.2f} s,")
        print(f"{result.peak_mb:.0f} MB: --seed={seed} --only={result.number}")
    return int(bool(wrong))


def again(seed: int, number: int) -> int:
    """One input once more, in this process, with its traceback; its bytes are kept."""
    from tests.fuzz.trying import DOCUMENTED, outcome
    from tests.fuzz.worker import load_targets, make_input

    targets = load_targets(TARGETS)
    name, data = make_input(targets, seed, number)
    folder = Path(tempfile.mkdtemp(prefix="lensjax-fuzz-"))
    (folder / "input").write_bytes(data)
    print(f"{name}: {len(data)} bytes, in {folder / 'input'}")
    try:
        targets[name].run(data, folder)
    except Exception:
        traceback.print_exc()
    (folder / "again").mkdir()
    ended = outcome(targets[name], data, folder / "again")
    print(ended)
    return int(ended not in DOCUMENTED)


def bombs() -> int:
    """A table of what small Parquet files ask for, refused and believed."""
    command = [sys.executable, "-m", "tests.fuzz.bombs", str(2**30)]
    print("| bomb | file, kB | ended | MB more | without the guards | MB more |")
    print("|---" * 6 + "|")
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as made:
        assert made.stdout is not None
        for line in made.stdout:
            name, size, (ended, more), (believed, taken) = json.loads(line)
            print(
                f"| {name} | {size / 1e3:,.0f} | {ended} | {more:.0f} | {believed} | {taken:.0f} |"
            )
    return made.returncode


if __name__ == "__main__":
    sys.exit(main())
