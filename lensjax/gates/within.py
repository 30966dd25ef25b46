"""The model's score beyond the label: what is left of it within a class, and how chance deals it.

Lenses, controls and look-alikes, each class by itself. Of lenses, what their arc's strength
explains (theta_E, arc SNR) is taken off; of look-alikes, what their kind explains: a bright arc or
a ring scores high honestly. The rest is what lensjax.gates.hunter tries to explain; in controls,
which have neither, nothing is honest.

    sides = sides_of(case)
    sides["controls"].test_target       # normal scores of the logit
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata

from lensjax import schema
from lensjax.gates.case import Case, Rows
from lensjax.gates.logistic import widened

CONTROLS, LOOKALIKES, LENSES = "controls", "lookalikes", "lenses"
FEWEST = 50  # rows of a class in either split
_RIDGE = 1e-6  # a fitted row: keeps columns that repeat each other from blowing up


@dataclass(frozen=True)
class Side:
    """One class of the judged rows. `fit`, `test`: row numbers in case.fit and case.test. Targets:
    float64 [n], normal scores of the logit less what is honest. `honest`: the share of the variance
    of the test rows that was taken off. `moved_*`: int32 [permutations, n], where each row takes
    its target from under the null (`moved`)."""

    name: str
    fit: np.ndarray
    test: np.ndarray
    fit_target: np.ndarray
    test_target: np.ndarray
    honest: float
    moved_fit: np.ndarray
    moved_test: np.ndarray


def sides_of(case: Case) -> dict[str, Side]:
    """The classes that have enough rows, and scores that differ, in val and in test."""
    rows = (case.fit, case.test)
    places: dict[str, list[np.ndarray]] = {}
    for name in (CONTROLS, LOOKALIKES, LENSES):
        at = [np.flatnonzero(_is(split, name)) for split in rows]
        scores = [split["logit"][one] for split, one in zip(rows, at, strict=True)]
        if min(map(len, scores)) >= FEWEST and min(map(np.ptp, scores)) > 0:
            places[name] = at
    if not places:
        return {}

    def drawn() -> list[list[np.ndarray]]:
        rng, count = case.rng("within"), case.protocol.hunter["permutations"]
        bricks = [[split["brick"][at[k]] for at in places.values()] for k, split in enumerate(rows)]
        return [moved(each, count, rng) for each in bricks]

    to_fit, to_test = case.of_data.once(f"moved {' '.join(places)}", drawn)
    return {
        name: _side(case, name, *at, moved_fit=to_fit[k], moved_test=to_test[k])
        for k, (name, at) in enumerate(places.items())
    }


def _side(case: Case, name: str, fit: np.ndarray, test: np.ndarray, **moves: np.ndarray) -> Side:
    known, asked = _normal(case.fit["logit"][fit]), _normal(case.test["logit"][test])
    spread = ((asked - known.mean()) ** 2).sum()
    known, asked = _residual(*_honest(case, name, fit, test), known, asked)
    honest = float(1.0 - (asked**2).sum() / spread)
    return Side(name, fit, test, fit_target=known, test_target=asked, honest=honest, **moves)


def moved(bricks: Sequence[np.ndarray], count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Where every row takes its value from in `count` random moves of whole bricks: int32 [count,
    n] for each class, whose rows' bricks [n] are given.

    The rows of a brick take the values of another's, row for row, from the first again where that
    has fewer; both classes of a brick take from the same one (the next that has the class). Rows of
    a brick share sky and seeing: with rows moved freely, or each class by itself, a feature of
    bricks would look related to a score that varies by brick.
    """
    names, home = np.unique(np.concatenate(bricks), return_inverse=True)
    homes = np.split(home.reshape(-1), np.cumsum([len(each) for each in bricks])[:-1])
    size = [np.bincount(each, minlength=len(names)) for each in homes]
    listed = [np.argsort(each, kind="stable") for each in homes]
    first = [np.cumsum(each) - each for each in size]
    number = []  # of each row in its brick
    for each, order, start in zip(homes, listed, first, strict=True):
        place = np.empty(len(each), np.int64)
        place[order] = np.arange(len(each))
        number.append(place - start[each])
    found = [np.empty((count, len(each)), np.int32) for each in homes]
    for at in range(count):
        order = rng.permutation(len(names))
        for k, own in enumerate(homes):
            source = _filled(order, size[k])[own]
            found[k][at] = listed[k][first[k][source] + number[k] % size[k][source]]
    return found


def _filled(order: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The brick that each takes from: its own in `order` [bricks], or the next there with rows."""
    known = np.flatnonzero(size[order] > 0)
    following = np.searchsorted(known, np.arange(len(order)))
    return order[known[following % len(known)]]


def _is(rows: Rows, name: str) -> np.ndarray:
    if name == LENSES:
        return rows.positive
    return ~rows.positive & (
        np.isin(rows["negative_kind"], schema.LOOKALIKES) == (name == LOOKALIKES)
    )


def _normal(values: np.ndarray) -> np.ndarray:
    """Normal scores of the mid-ranks: float64 [n]."""
    return norm.ppf((rankdata(values) - 0.5) / len(values))


def _honest(
    case: Case, name: str, fit: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Columns of what may honestly move the score within a class: [n_fit, k] and [n_test, k]."""
    if name == LENSES:
        clip = case.protocol.probes["feature_clip"]
        return widened(_arc(case.fit, fit), _arc(case.test, test), clip)
    kinds, known = case.test["negative_kind"][test], case.fit["negative_kind"][fit]
    names = np.unique(known)
    return (known[:, None] == names).astype(float), (kinds[:, None] == names).astype(float)


def _arc(rows: Rows, at: np.ndarray) -> np.ndarray:
    theta_e, snr = (rows[name][at].astype(np.float64) for name in ("theta_e_arcsec", "arc_snr"))
    values = np.stack([theta_e, np.log1p(np.maximum(snr, 0.0))], axis=1)
    return np.where(np.isfinite(values), values, np.nan)


def _residual(
    fit: np.ndarray, test: np.ndarray, fit_target: np.ndarray, test_target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Both targets less what a linear fit on the fit rows says."""
    middle, level = fit.mean(axis=0), fit_target.mean()
    centred = fit - middle
    gram = centred.T @ centred + _RIDGE * len(fit) * np.eye(fit.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (fit_target - level))
    return (
        fit_target - level - centred @ weights,
        test_target - level - (test - middle) @ weights,
    )
