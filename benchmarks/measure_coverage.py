"""Do the intervals and nulls beside the gates hold what they say? By simulation.

ece     how often the 95 % interval of the calibration error holds the true one, and how often
        percentiles of resamples do: perfect calibration, and logits that are too steep
hunter  how often the smallest family-wise p of a list of features is at most 0.05, where none
        has anything to do with the score; scores and features vary by brick. With bricks moved
        whole, with each class moved by itself, and with rows moved freely

python benchmarks/measure_coverage.py --sets=300
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from scipy.special import expit
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lensjax.gates import within  # noqa: E402  (after the path)
from lensjax.gates.calibration import bins_of, ece  # noqa: E402
from lensjax.gates.features import FAMILIES  # noqa: E402
from lensjax.gates.protocol import parse_protocol  # noqa: E402
from lensjax.gates.singles import singles  # noqa: E402
from lensjax.gates.statistics import brick_counts  # noqa: E402
from tests.gates.synthetic import Arrays, synthetic_case  # noqa: E402

REGIMES = [(20, 30, 1.0), (60, 30, 1.0), (200, 20, 1.0), (60, 30, 1.3), (200, 20, 1.15)]
REGIMES += [(60, 30, 2.5)]  # bricks, rows a brick, how much too steep
BINS, RESAMPLES = 15, 400


def calibration_coverage(sets: int) -> None:
    """A row a regime."""
    print("| bricks | rows a brick | too steep by | true ECE | interval | percentiles |")
    print("|---|---|---|---|---|---|")
    for n_bricks, rows, steep in REGIMES:
        brick, truths = np.repeat(np.arange(n_bricks), rows), []
        held = plain = 0
        for seed in range(sets):
            rng = np.random.default_rng(seed)
            logits = rng.normal(0, 1.5, len(brick))
            labels = (rng.random(len(brick)) < expit(logits)).astype(float)
            p = expit(steep * logits)
            place = bins_of(p, BINS)
            truth = np.abs(np.bincount(place, p - expit(logits))).sum() / len(p)
            found, _ = ece(p, labels, place, brick, n_bricks, 0.95, RESAMPLES, 1)
            sums = np.zeros((n_bricks, BINS))
            np.add.at(sums, (brick, place), p - labels)
            drawn = np.abs(brick_counts(n_bricks, RESAMPLES, 1) @ sums).sum(axis=1) / len(p)
            low, high = np.quantile(drawn, (0.025, 0.975))
            held, plain = held + (found.low <= truth <= found.high), plain + (low <= truth <= high)
            truths.append(truth)
        told = f"{np.mean(truths):.3f} | {held / sets:.2f} | {plain / sets:.2f}"
        print(f"| {n_bricks} | {rows} | {steep:g} | {told} |", flush=True)


def by_brick(split: str, rows: Arrays, seed: int) -> None:
    """A score with half of its variance between bricks, metadata with nearly all of theirs."""
    rng = np.random.default_rng([seed, len(split)])
    names, home = np.unique(rows["brick"], return_inverse=True)
    shared, own = rng.normal(0, 0.7, len(names))[home], rng.normal(0, 0.7, len(home))
    rows["logit"] = (rows["label"] + shared + own).astype(np.float32)
    for name in ("psf_fwhm_arcsec", "psf_depth", "ebv"):
        values = rng.normal(0, 1, len(names))[home] + 0.1 * rng.normal(0, 1, len(home))
        rows[name] = values.astype(np.float32)


def freely(bricks, count, rng):
    """Rows moved without regard to bricks."""
    return [
        np.stack([rng.permutation(len(each)) for _ in range(count)]).astype(np.int32)
        for each in bricks
    ]


def false_alarms(sets: int) -> None:
    """A row a way of moving."""
    document = json.loads((ROOT / "configs/protocols/default.json").read_text())
    document["intervals"]["resamples"], document["hunter"]["permutations"] = 200, 199
    document["probes"]["permutations"] = 9
    rules, whole = parse_protocol(document), within.moved
    ways = {
        "bricks whole, classes together": whole,
        "bricks whole, each class by itself": lambda bricks, count, rng: [
            whole([each], count, rng)[0] for each in bricks
        ],
        "rows freely": freely,
    }
    print("\n| moved | p at most 0.05 | 0.5 |\n|---|---|---|")
    for name, way in ways.items():
        within.moved, least = way, []
        for seed in range(sets):
            case = synthetic_case(
                rules, lambda split, rows, seed=seed: by_brick(split, rows, seed), pairs=250,
                lookalikes=40, seed=seed,
            )  # fmt: skip
            shown = [FAMILIES["metadata"].measure(rows) for rows in (case.fit, case.test)]
            names = shown[0].names
            sides = list(within.sides_of(case).values())
            listed = singles(case, sides, names, names, *(each.values for each in shown))
            least.append(min(each["score"].get("p", 1.0) for each in listed))
        shares = [f"{np.mean(np.array(least) <= level):.2f}" for level in (0.05, 0.5)]
        print(f"| {name} | {' | '.join(shares)} |", flush=True)
    within.moved = whole


def main() -> int:
    """Both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=300)
    flags = parser.parse_args()
    with threadpool_limits(limits=1, user_api="blas"):
        calibration_coverage(flags.sets)
        false_alarms(flags.sets)
    return 0


if __name__ == "__main__":
    sys.exit(main())
