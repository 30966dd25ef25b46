"""How much of a score within a class do some features explain? Ridge regressions, and their null.

Fitted on val, scored on test: the share of the variance explained there, which falls below zero
where features explain nothing. The null refits under targets moved as lensjax.gates.within moves
them; one decomposition serves every strength and every move.

    fits = [fitted(case, side, [(of_fit, of_test)], rng) for side in sides]
    share(case, fits), null_shares({"core": fits}, sides)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lensjax.gates.bootstrap import brick_sums, of_sums
from lensjax.gates.case import Case
from lensjax.gates.logistic import Design, host_folds
from lensjax.gates.statistics import Estimate
from lensjax.gates.within import Side

_AT_ONCE = 250  # moved targets


@dataclass(frozen=True)
class Fit:
    """One regression of one class. `others`: the test rows in the basis of `design`; `errors` and
    `spreads`: squares of each test row, [n], with and without the features."""

    side: Side
    design: Design
    strength: float
    others: np.ndarray
    errors: np.ndarray
    spreads: np.ndarray

    @property
    def value(self) -> float:
        """Share of the class's variance that is explained."""
        return float(1.0 - self.errors.sum() / self.spreads.sum())


Shown = tuple[np.ndarray, np.ndarray]  # features of the fit and of the judged test rows, [n, k]


def fitted(
    case: Case, side: Side, choices: Sequence[Shown], rng: np.random.Generator
) -> Fit | None:
    """On that one of the choices of features, and with that strength of the protocol's grid, that
    host-grouped folds of the fit rows prefer; None where no feature varies."""
    fold = host_folds(
        case.fit["lrg_id"][side.fit], side.fit_target, case.protocol.probes["folds"], rng
    )
    tried = [_tried(case, side, of_fit[side.fit], fold) for of_fit, _ in choices]
    chosen = min(range(len(tried)), key=lambda k: tried[k][0])
    strength = tried[chosen][1]
    of_fit, of_test = choices[chosen]
    design = Design.of(of_fit[side.fit], case.protocol.probes["feature_clip"])
    if design.width == 0:
        return None
    rows = design.apply(of_test[side.test])
    weights = _solved(design, side.fit_target[:, None], strength)[:, 0]
    level = side.fit_target.mean()
    errors = (side.test_target - level - rows @ weights) ** 2
    return Fit(side, design, strength, rows, errors, (side.test_target - level) ** 2)


def _solved(design: Design, targets: np.ndarray, strength: float) -> np.ndarray:
    """Weights [k, m] for targets [n, m]; strength is of the penalty a fitted row."""
    return design.rows.T @ targets / (design.power + strength * len(design.rows))[:, None]


def _tried(case: Case, side: Side, features: np.ndarray, fold: np.ndarray) -> tuple[float, float]:
    """The least squared error over folds, and the strength that has it; infinity without a fold in
    which a feature varies."""
    grid = sorted(case.protocol.hunter["ridge_grid"])
    errors, told, target = np.zeros(len(grid)), 0, side.fit_target
    for k in np.unique(fold):
        out = fold == k
        if out.all():
            continue
        design = Design.of(features[~out], case.protocol.probes["feature_clip"])
        rows, kept, told = design.apply(features[out]), target[~out], told + design.width
        for at, strength in enumerate(grid):
            said = kept.mean() + rows @ _solved(design, kept[:, None], strength)[:, 0]
            errors[at] += ((target[out] - said) ** 2).sum()
    if not told:
        return np.inf, grid[-1]
    return float(errors.min()), grid[int(np.argmin(errors))]


def share(case: Case, fits: Sequence[Fit]) -> Estimate:
    """Share of the variance within classes that is explained, of all classes together."""
    clusters = case.clusters
    totals = np.zeros((clusters.n_bricks, 2))
    for fit in fits:
        parts = np.stack([fit.errors, fit.spreads], axis=1)
        totals += brick_sums(parts, clusters.brick[fit.side.test], clusters.n_bricks)
    return of_sums(totals, lambda sums: 1.0 - sums[:, 0] / sums[:, 1], **case.protocol.intervals)


def null_shares(fits: Mapping[str, Sequence[Fit]], sides: Sequence[Side]) -> dict[str, np.ndarray]:
    """The same under moved targets, refitted each time: by name of the features, [permutations]."""
    lost = {name: np.zeros(len(sides[0].moved_fit)) for name in fits}
    spread = {name: np.zeros(len(sides[0].moved_fit)) for name in fits}
    for side in sides:
        own = {name: fit for name, found in fits.items() for fit in found if fit.side is side}
        grams = {name: fit.others.T @ fit.others for name, fit in own.items()}
        for start in range(0, len(side.moved_fit), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            known = np.ascontiguousarray(side.fit_target[side.moved_fit[some]].T)
            asked = np.ascontiguousarray(side.test_target[side.moved_test[some]].T)
            asked -= known.mean(axis=0)
            whole = (asked**2).sum(axis=0)
            for name, fit in own.items():
                weights = _solved(fit.design, known, fit.strength)
                less = 2.0 * (weights * (fit.others.T @ asked)).sum(axis=0)
                more = (weights * (grams[name] @ weights)).sum(axis=0)
                lost[name][some] += whole - less + more
                spread[name][some] += whole
    return {name: 1.0 - lost[name] / spread[name] for name in fits}
