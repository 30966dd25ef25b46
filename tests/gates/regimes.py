"""Simulated sets of which the truth is known: scores of two kinds by brick, and planted cores.

Scores are normal, so that true AUROCs are exact. Bricks share part of a row's noise (ICC), the
label mix may vary by brick. The second score is the first one's model without the core: most of its
noise is the same.

    labels, brick, scores, masked = drawn(REGIMES["19 bricks"], rng)
    core_case(protocol, seed=0, shift=0.51, a_class=1000)        # the probe reads 0.70
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from lensjax.gates.arrays import Arrays, Evaluation
from lensjax.gates.case import Case
from lensjax.gates.protocol import Protocol

LOST = 0.06  # AUROC, without the core
_COMMON = 0.8  # of the variance of a row's own noise, shared by both scores
_MANIFEST = {"preprocessing": "raw_robust", "mode": "unpaired"}


@dataclass(frozen=True)
class Regime:
    """icc: share of the noise's variance that a brick's rows have in common. mix: of the beta
    distribution of a brick's share of positives, 0 for the same in all."""

    bricks: int = 60
    rows: int = 10
    icc: float = 0.0
    mix: float = 0.0
    positives: float = 0.5
    auroc: float = 0.7


REGIMES = {
    "independent": Regime(),
    "correlated bricks": Regime(icc=0.3),
    "label mix varies by brick": Regime(icc=0.3, mix=1.5),
    "1 % positives": Regime(rows=50, icc=0.3, positives=0.01),
    "19 bricks": Regime(bricks=19, icc=0.3),
    "AUROC 0.95": Regime(icc=0.3, auroc=0.95),
}


def drawn(
    regime: Regime, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels, bricks, scores of a true AUROC of `regime.auroc`, and scores without the core, whose
    true AUROC is less by LOST: [n] each. True between rows of different bricks, as all but one pair
    in `regime.bricks` are."""
    brick = np.repeat(np.arange(regime.bricks), regime.rows)
    share = np.full(regime.bricks, regime.positives)
    if regime.mix:
        share = rng.beta(regime.mix, regime.mix, regime.bricks)
    labels = (rng.random(len(brick)) < share[brick]).astype(int)
    labels[:2] = 0, 1  # both classes, always
    shared = rng.normal(0, np.sqrt(regime.icc), regime.bricks)[brick]
    common = np.sqrt(_COMMON) * rng.normal(0, 1, len(brick))

    def scores(auroc: float) -> np.ndarray:
        own = common + np.sqrt(1 - _COMMON) * rng.normal(0, 1, len(brick))
        return np.sqrt(2) * norm.ppf(auroc) * labels + shared + np.sqrt(1 - regime.icc) * own

    return labels, brick, scores(regime.auroc), scores(regime.auroc - LOST)


def covers_by_rows(scores: np.ndarray, labels: np.ndarray, truth: float) -> bool:
    """Does the interval of plain DeLong hold the truth, rows taken as independent?"""
    lens, other = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    of_lens = np.searchsorted(other, lens) / len(other)
    of_other = 1 - np.searchsorted(lens, other) / len(lens)
    error = np.sqrt(of_lens.var(ddof=1) / len(lens) + of_other.var(ddof=1) / len(other))
    return bool(abs(of_lens.mean() - truth) < 1.96 * error)


def core_case(
    protocol: Protocol, seed: int, shift: float, a_class: int = 1000, bricks: int = 60
) -> Case:
    """val and test of `a_class` rows a class: noise, but that 4 of the core's 300 pixels are
    brighter by `shift` sigmas in lenses."""
    rng = np.random.default_rng(seed)
    n = 2 * a_class

    def rows(split: str) -> Arrays:
        number = np.arange(n)
        label = (rng.permutation(n) % 2).astype(np.int8)
        names = np.char.add(split, number.astype("U6"))
        box = rng.normal(0, 1, (n, 10, 10, 3)).astype(np.float32)
        box[:, 4:6, 4:6, 1] += np.float32(shift) * label[:, None, None]
        return {
            "label": label,
            "in_manifest": np.ones(n, bool),
            "brick": np.char.add(split, (number % bricks).astype("U6")),
            "lrg_id": names,
            "pair_id": names,
            "core_box": box,
        }

    return Case(protocol, Evaluation(_MANIFEST, rows("val"), rows("test"), ""))
