"""Coverage of the intervals of `python -m lensjax.gates compare`, by simulation.

Two methods, each with its seeds, score the same rows. Bricks share noise and their label mix
varies; part of a row's noise is common to all runs, as the same stamps are hard for all. The truth
is exact: scores are normal.

    python benchmarks/comparison_coverage.py --simulations=1000

Prints a table: coverage of the interval over bricks (of these trained models) and over bricks and
seeds (of the methods), and how often two methods that do not differ are told apart.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import norm
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lensjax.gates import compare_statistics as compared
from lensjax.gates.statistics import Clusters, single

BRICK_SPREAD = 0.6  # of the scores' noise, shared by a brick's rows
COMMON = 0.8  # of the variance of a row's noise, shared by all runs
SEED = 7


@dataclass(frozen=True)
class Regime:
    """skills: of the two methods, lens less non-lens in units of a row's noise; between: spread of
    the skill over seeds."""

    name: str
    bricks: int = 60
    rows: int = 10
    skills: tuple[float, float] = (2.0, 1.8)
    between: float = 0.0
    seeds: int = 1
    positives: float = 0.5


REGIMES = (
    Regime("60 bricks x 10"),
    Regime("no difference", skills=(2.0, 2.0)),
    Regime("19 bricks x 20", bricks=19, rows=20),
    Regime("AUROC 0.97", skills=(3.2, 3.0)),
    Regime("3 % positives", rows=30, positives=0.03),
    Regime("103 bricks x 30", bricks=103, rows=30),
    Regime("3 seeds alike", skills=(2.0, 2.0), seeds=3),
    Regime("3 seeds, a little apart", skills=(2.0, 2.0), seeds=3, between=0.05),
    Regime("3 seeds, far apart", skills=(2.0, 2.0), seeds=3, between=0.3),
    Regime("3 seeds, 19 bricks", bricks=19, rows=20, skills=(2.0, 2.0), seeds=3, between=0.1),
    Regime("2 seeds", skills=(2.0, 2.0), seeds=2, between=0.1),
)


def true_auroc(skill: np.ndarray) -> np.ndarray:
    """Of normal scores."""
    return norm.cdf(skill / np.sqrt(2 * (1 + BRICK_SPREAD**2)))


def sky(rng: np.random.Generator, regime: Regime, skills: np.ndarray):
    """Labels and bricks [n], and the scores of runs with these skills, a list of [n]."""
    brick = np.repeat(np.arange(regime.bricks), regime.rows)
    share = np.clip(regime.positives * rng.uniform(0.2, 1.8, regime.bricks), 0.001, 0.999)
    label = (rng.random(len(brick)) < share[brick]).astype(int)
    label[:2] = 0, 1  # both classes, always
    common = rng.normal(0, BRICK_SPREAD, regime.bricks)[brick]
    common = common + np.sqrt(COMMON) * rng.normal(0, 1, len(brick))
    own = rng.normal(0, np.sqrt(1 - COMMON), (len(skills), len(brick)))
    scores = [skill * label + common + each for skill, each in zip(skills, own, strict=True)]
    return label, brick, scores


def simulate(regime: Regime, simulations: int, resamples: int) -> tuple[float, float, float]:
    """Coverage over bricks, over bricks and seeds, and share of p below 0.05."""
    rng = np.random.default_rng([SEED, *regime.name.encode()])
    weights = compared.shared_resamples(regime.bricks, resamples, SEED)
    drawn = rng.normal(0, regime.between, 100_000)
    methods = [true_auroc(skill + drawn).mean() for skill in regime.skills]
    of_bricks, of_seeds, told_apart = 0, 0, 0
    for _ in range(simulations):
        own = [rng.normal(skill, regime.between, regime.seeds) for skill in regime.skills]
        label, brick, scores = sky(rng, regime, np.concatenate(own))
        clusters = Clusters(label, brick, regime.bricks)
        parts = [
            compared.resample_auroc([(clusters, clusters.concordance(s))], single, weights, SEED)
            for s in scores
        ]
        sides = parts[: regime.seeds], parts[regime.seeds :]
        difference = compared.less(*map(compared.mean, sides))
        error, low, high = compared.over_bricks(difference, weights)
        models = [true_auroc(skill).mean() for skill in own]
        of_bricks += low <= models[0] - models[1] <= high
        if regime.seeds > 1:
            seeds = [[part.value for part in side] for side in sides]
            told = compared.over_seeds(difference.value, error, regime.bricks, seeds)
            of_seeds += told[0] <= methods[0] - methods[1] <= told[1]
            told_apart += told[2] < 0.05
    return of_bricks / simulations, of_seeds / simulations, told_apart / simulations


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=1000)
    flags = parser.parse_args()
    print("| regime | bricks | bricks and seeds | told apart |\n|---|---|---|---|")
    with threadpool_limits(limits=1, user_api="blas"):
        for regime in REGIMES:
            found = simulate(regime, flags.simulations, flags.resamples)
            shown = found if regime.seeds > 1 else (found[0], None, None)
            cells = ("-" if share is None else f"{100 * share:.1f} %" for share in shown)
            print(f"| {regime.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
