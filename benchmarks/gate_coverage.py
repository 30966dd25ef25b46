"""Do the gates' intervals hold what they say, do the gates fail what they should? By simulation.

intervals  how often the 95 % interval holds the truth, in six regimes: of an AUROC, of the relative
           drop and of the difference without the core; beside them plain DeLong, and percentiles of
           resampled rows and of resampled bricks
planted    verdicts of core_lr_auc at the protocol's minimum: a shortcut that the probe reads as
           0.70, and none
weakest    for each number of rows the weakest shortcut that the gate FAILs in 95 % of sets

    python benchmarks/gate_coverage.py --simulations=1000 --seeds=200

Minutes each; --only=planted for one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from scipy.stats import norm
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lensjax.gates import load_protocol, statistics  # noqa: E402  (after the path)
from lensjax.gates.gate import conclude  # noqa: E402
from lensjax.gates.protocol import Protocol, parse_protocol  # noqa: E402
from lensjax.gates.shortcuts import SHORTCUTS  # noqa: E402
from tests.gates.regimes import (  # noqa: E402
    LOST,
    REGIMES,
    Regime,
    core_case,
    covers_by_rows,
    drawn,
)

GATE = "core_lr_auc"
SHIFT = 0.48  # sigmas of 4 pixels: the probe reads 0.70 at the protocol's minimum
ROWS = {150: (0.6, 0.7, 0.8, 0.9), 250: (0.55, 0.6, 0.65, 0.7), 500: (0.5, 0.54, 0.58, 0.62)}
ROWS |= {1000: (0.44, 0.47, 0.5, 0.53), 2000: (0.38, 0.41, 0.44, 0.47)}
ROWS |= {5000: (0.34, 0.36, 0.38, 0.4)}  # a class: shifts near the weakest
OF_INTERVALS = ("AUROC", "drop", "difference", "DeLong", "% of rows", "% of bricks")
CONFIDENCE, POWER, RESAMPLES = 0.95, 0.95, 1000


def percentile_of_rows(
    labels: np.ndarray, scores: np.ndarray, resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    """The plain bootstrap. No two scores tie."""
    order = np.argsort(scores)
    lens, n = labels[order] == 1, len(scores)
    rows = rng.integers(n, size=(resamples, n)) + n * np.arange(resamples)[:, None]
    weights = np.bincount(rows.ravel(), minlength=n * resamples).reshape(resamples, n)
    below = np.cumsum(weights * ~lens, axis=1)
    won, total = (below * weights * lens).sum(axis=1), (weights * lens).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        aucs = won / (total * below[:, -1])
    low, high = np.nanquantile(aucs, (0.025, 0.975))
    return float(low), float(high)


def percentile_of_bricks(sample: statistics.Sample, resamples: int) -> tuple[float, float]:
    """Whole bricks resampled, nothing studentised."""
    counts = statistics.brick_counts(sample[0].n_bricks, resamples, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        values, _ = statistics.influence([sample], statistics.single, counts)
    low, high = np.nanquantile(values, (0.025, 0.975))
    return float(low), float(high)


def coverage(regime: Regime, simulations: int, resamples: int) -> dict[str, float]:
    """Share of the sets in which each interval holds the truth."""
    rng, again, held = np.random.default_rng(20260207), np.random.default_rng(1), Counter()
    told = {"confidence": CONFIDENCE, "resamples": resamples, "seed": 1}
    for _ in range(simulations):
        labels, brick, scores, masked = drawn(regime, rng)
        clusters = statistics.Clusters(labels, brick, regime.bricks)
        both = [(clusters, clusters.concordance(each)) for each in (scores, masked)]
        own = statistics.interval(both[:1], statistics.single, **told)
        drop = statistics.interval(both, statistics.relative_drop, **told)
        less = statistics.interval(both, statistics.difference, **told)
        ends = {
            "AUROC": (own.low, own.high, regime.auroc),
            "drop": (drop.low, drop.high, LOST / regime.auroc),
            "difference": (less.low, less.high, LOST),
            "% of rows": (*percentile_of_rows(labels, scores, 500, again), regime.auroc),
            "% of bricks": (*percentile_of_bricks(both[0], resamples), regime.auroc),
        }
        held.update(name for name, (low, high, truth) in ends.items() if low <= truth <= high)
        held["DeLong"] += covers_by_rows(scores, labels, regime.auroc)
    return {name: held[name] / simulations for name in OF_INTERVALS}


def intervals(simulations: int) -> None:
    """A row a regime."""
    print(f"| regime | {' | '.join(OF_INTERVALS)} |\n|---|{'---|' * len(OF_INTERVALS)}")
    for name, regime in REGIMES.items():
        found = coverage(regime, simulations, RESAMPLES)
        cells = (f"{100 * found[each]:.1f} %" for each in OF_INTERVALS)
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def judged(rules: Protocol, seed: int, shift: float, a_class: int = 1000) -> dict:
    """The gate's entry on one set."""
    case = core_case(rules, seed, shift, a_class)
    return conclude(rules.gates[GATE], SHORTCUTS[GATE](case))


def planted(seeds: int, rules: Protocol) -> None:
    """Verdicts with and without a shortcut."""
    print("\n| core | probe reads | PASS | INCONCLUSIVE | FAIL | of |\n|---|---|---|---|---|---|")
    for name, shift in (("planted", SHIFT), ("clean", 0.0)):
        entries = [judged(rules, seed, shift) for seed in range(seeds)]
        values = np.array([entry["value"] for entry in entries])
        counts = Counter(entry["verdict"] for entry in entries)
        cells = " | ".join(str(counts[each]) for each in ("PASS", "INCONCLUSIVE", "FAIL"))
        print(f"| {name} | {values.mean():.3f} +- {values.std():.3f} | {cells} | {seeds} |")


def weakest(seeds: int, rules: Protocol) -> None:
    """By a line through the intervals' lower ends against what was planted, and their spread."""
    threshold = rules.gates[GATE].threshold
    assert threshold is not None
    print("\n| rows a class | planted: best possible AUROC | what the probe reads |\n|---|---|---|")
    for a_class, shifts in ROWS.items():
        told = [
            (shift, entry["ci"][0], entry["value"])
            for shift in shifts
            for entry in (judged(rules, seed, shift, a_class) for seed in range(seeds))
        ]
        shift, low, value = np.array(told).T
        slope, start = np.polyfit(shift, low, 1)
        spread = (low - start - slope * shift).std(ddof=2)
        least = (threshold + norm.ppf(POWER) * spread - start) / slope
        reads = np.polyval(np.polyfit(shift, value, 1), least)
        best = norm.cdf(2.0 * least / np.sqrt(2))  # 4 pixels of independent noise
        print(f"| {a_class} | {best:.2f} | {reads:.2f} |", flush=True)


def main() -> int:
    """The tables asked for."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--simulations", type=int, default=1000, help="sets a regime")
    parser.add_argument("--seeds", type=int, default=200, help="sets with and without a shortcut")
    parser.add_argument("--only", choices=("intervals", "planted", "weakest"))
    flags = parser.parse_args()
    rules = load_protocol(ROOT / "configs/protocols/default.json")
    document = json.loads(json.dumps(rules.document))
    document["probes"]["permutations"] = 3  # of the null, which decides no verdict
    quick = parse_protocol(document)
    with threadpool_limits(limits=1, user_api="blas"):
        if flags.only in (None, "intervals"):
            intervals(flags.simulations)
        if flags.only in (None, "planted"):
            planted(flags.seeds, quick)
        if flags.only in (None, "weakest"):
            weakest(max(flags.seeds // 20, 3), quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
