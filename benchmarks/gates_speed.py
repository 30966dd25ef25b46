"""How long `python -m lensjax.gates` takes, and what of it: the real command on synthetic arrays.

The default protocol with all its resamplings and permutations, in a process of its own, that may
use as many processors as --cpus says. The arrays are those of tests/gates/synthetic.py.

    python benchmarks/gates_speed.py --stamps=20000 --cpus=2
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lensjax.gates import load_protocol  # noqa: E402  (after the path)
from tests.gates.synthetic import write_evaluation  # noqa: E402

LOOKALIKES = 0.1  # of the stamps of a split


def main() -> int:
    """Write the arrays, judge them once, print seconds and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stamps", type=int, default=20_000, help="judged rows of val and of test")
    parser.add_argument("--cpus", type=int, default=2, help="processors that the command may use")
    parser.add_argument("--paired", action="store_true", help="a paired manifest, not an unpaired")
    flags = parser.parse_args()
    rules = load_protocol(ROOT / "configs/protocols/default.json")
    kept = 1.0 if flags.paired else 0.5 + LOOKALIKES / 2  # of the rows, in the manifest
    rows = round(flags.stamps / kept)
    lookalikes = round(LOOKALIKES * rows)
    with tempfile.TemporaryDirectory() as folder:
        run = write_evaluation(
            Path(folder) / "run",
            rules,
            pairs=(rows - lookalikes) // 2,
            lookalikes=lookalikes,
            paired=flags.paired,
        )
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: flags.cpus])
        begun = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "lensjax.gates", f"--workdir={run}"], cwd=ROOT, check=False
        )
        seconds = time.perf_counter() - begun
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"\n{flags.stamps} judged stamps of {rows} a split, {flags.cpus} processors: "
        f"{seconds:.1f} s, {used.ru_utime + used.ru_stime:.1f} s of processor time, "
        f"{used.ru_maxrss / 1024:.0f} MB, exit {done.returncode}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
