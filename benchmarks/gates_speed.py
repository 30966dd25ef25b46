"""How long `python -m lensjax.gates` takes, and what of it: the real command on synthetic arrays.

The default protocol with all its resamplings and permutations, in a process of its own, that may
use as many processors as --cpus says. The arrays are those of tests/gates/synthetic.py.

    python benchmarks/gates_speed.py --stamps=20000 --cpus=2              # one run is judged
    python benchmarks/gates_speed.py --stamps=4100 --cpus=2 --runs=27     # runs are compared

Compared runs are of experiments with three seeds each, on the same stamps: the first is paired,
four are unpaired, the rest paired with other preprocessing. --stamps then is all rows of a split.
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

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lensjax.gates import load_protocol  # noqa: E402  (after the path)
from lensjax.gates.protocol import Protocol  # noqa: E402
from tests.gates.synthetic import Arrays, edit_json, write_evaluation  # noqa: E402

LOOKALIKES = 0.1  # of the stamps of a split
SEEDS = 3
RESIDUAL, RAW = "residual_radial_profile", "raw_robust"


def one_run(folder: Path, rules: Protocol, stamps: int, paired: bool) -> Path:
    """A run with `stamps` judged rows of val and of test."""
    kept = 1.0 if paired else 0.5 + LOOKALIKES / 2  # of the rows, in the manifest
    return write_evaluation(folder, rules, paired=paired, **sizes(round(stamps / kept)))


def sizes(rows: int) -> dict[str, int]:
    """Pairs and look-alikes of a split of so many rows."""
    lookalikes = round(LOOKALIKES * rows)
    return {"pairs": (rows - lookalikes) // 2, "lookalikes": lookalikes}


def seeds_of(folder: Path, rules: Protocol, rows: int, number: int) -> list[Path]:
    """The runs of experiment `number`: scores of a run's own, everything else shared."""
    paired = number == 0 or number > 4
    told = {"mode": "paired" if paired else "unpaired", "data_digest": "d" * 64}
    told["preprocessing"] = RAW if number > 4 else RESIDUAL
    runs = []
    for seed in range(SEEDS):

        def change(split: str, arrays: Arrays, seed: int = seed) -> None:
            rng = np.random.default_rng([number, seed, split == "test"])
            moved = (0.5 + 0.1 * number) * rng.normal(0, 1, len(arrays["label"]))
            arrays["logit"] += moved.astype(np.float32)
            arrays["logit_core_masked"] += moved.astype(np.float32)[:, None]

        run = folder / f"x{number}-seed{seed}"
        write_evaluation(run, rules, change=change, manifest=told, paired=paired, **sizes(rows))
        config = {"experiment": f"x{number}", "variant": "demo", "seed": seed}
        edit_json(run / "provenance.json", lambda each, c=config: each.update(config=c))
        runs.append(run)
    return runs


def main() -> int:
    """Write the arrays, judge or compare them once, print seconds and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stamps", type=int, default=20_000, help="judged rows of val and of test")
    parser.add_argument("--cpus", type=int, default=2, help="processors that the command may use")
    parser.add_argument("--paired", action="store_true", help="a paired manifest, not an unpaired")
    parser.add_argument("--runs", type=int, default=1, help="compare so many, a multiple of 3")
    flags = parser.parse_args()
    rules = load_protocol(ROOT / "configs/protocols/default.json")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if flags.runs == 1:
            told = [f"--workdir={one_run(folder / 'run', rules, flags.stamps, flags.paired)}"]
        else:
            numbers = range(flags.runs // SEEDS)
            runs = [r for k in numbers for r in seeds_of(folder, rules, flags.stamps, k)]
            told = ["compare", *map(str, runs)]
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: flags.cpus])
        begun = time.perf_counter()
        command = [sys.executable, "-m", "lensjax.gates", *told]
        done = subprocess.run(command, cwd=ROOT, check=False)
        seconds = time.perf_counter() - begun
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"\n{flags.runs} runs of {flags.stamps} stamps, {flags.cpus} processors: "
        f"{seconds:.1f} s, {used.ru_utime + used.ru_stime:.1f} s of processor time, "
        f"{used.ru_maxrss / 1024:.0f} MB, exit {done.returncode}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
