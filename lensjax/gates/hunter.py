"""The shortcut hunter: what is the model really looking at?

Two questions of each family of simple features (lensjax.gates.features). Does it tell the label? A
probe, fitted on val and scored on test: then a model could use it. Does the model's score follow it
beyond the label? A ridge regression of the score within a class, what is honest taken off
(lensjax.gates.within): then the model does use it, or something that goes with it. Both with an
interval and a null. It names what it was shown; what no array holds, it cannot see.

    measured = hunt(case)
    measured["looking_at"], measured["tells_label"]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lensjax.gates.bootstrap import brick_sums, of_sums
from lensjax.gates.case import Case, numbers
from lensjax.gates.features import FAMILIES, Family, Features
from lensjax.gates.gate import GateError
from lensjax.gates.logistic import widened
from lensjax.gates.pool import side_by_side
from lensjax.gates.probes import CONSTANT, null_of, null_summary
from lensjax.gates.probes import fitted as fitted_probe
from lensjax.gates.ridge import Fit, Shown, fitted, null_shares, share
from lensjax.gates.singles import singles
from lensjax.gates.statistics import StatisticsError
from lensjax.gates.within import Side, sides_of

BRICK, TOGETHER = "brick", "together"
_BRICK = Family(
    "which brick a stamp comes from",
    "draw both classes from the same bricks; look for sky or processing that changes by brick",
    lambda rows: Features([], np.zeros((len(rows), 0)), np.zeros((len(rows), 0))),
    gate="brick",
)
_TELLS = "tells the label, and the score follows it"
READINGS = {  # (tells the label, moves the score)
    (True, True): f"{_TELLS}: a shortcut in use, or what goes with it",
    (True, False): "tells the label, but the score does not follow it within a class",
    (False, True): "does not tell the label, but the score follows it: a bias, no shortcut",
    (False, False): "nothing beyond chance",
}
OF_ARCS = f"{_TELLS}: arcs' own light, or a shortcut; see the controls"


def hunt(case: Case, gates: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """`families` and `features`, each list by falling strength of what the score follows; their
    names in `looking_at` and `tells_label`; `together`, of all features at once.

    gates: entries of gates.json, whose probes are not made twice.
    """
    sides = list(sides_of(case).values())
    measured, unusable = _measured(case)
    fits = {name: _fits(case, name, sides, choices) for name, (_, choices) in measured.items()}
    shares = _scores(case, sides, fits)
    shares[BRICK] = _by_brick(case, sides)
    kept = {**FAMILIES, BRICK: _BRICK}

    def label_of(name: str) -> dict[str, Any]:
        if name in unusable:
            return {"state": unusable[name]}
        return _label(case, name, kept[name], gates, measured.get(name))

    families = []
    for (name, family), label in zip(kept.items(), side_by_side(label_of, kept), strict=True):
        score = {"state": unusable[name]} if name in unusable else shares[name]
        families.append(
            {
                "family": name,
                "about": family.about,
                "label": label,
                "score": score,
                "reading": _reading(family, label, score),
                "action": family.action if _is_found(score) else "",
            }
        )
    families.sort(key=lambda each: (not _is_found(each["score"]), -_value(each["score"])))
    told = sorted(families, key=lambda each: -_value(each["label"]))
    return {
        "honest": {side.name: side.honest for side in sides},
        "looking_at": [each["family"] for each in families if _is_found(each["score"])],
        "tells_label": [each["family"] for each in told if _is_found(each["label"])],
        "families": families,
        "together": shares.get(TOGETHER, {"state": "no features"}),
        "features": _features(case, sides, {name: both[0] for name, both in measured.items()}),
    }


Pair = tuple[Features, Features]  # of the fit and of the judged test rows
Measured = tuple[Pair, list[Shown]]  # and what a regression may see of it, the most last


def _measured(case: Case) -> tuple[dict[str, Measured], dict[str, str]]:
    """What every family measures, and all of them together; and why some cannot."""
    found: dict[str, Measured] = {}
    unusable = {}
    for name, family in FAMILIES.items():
        try:
            pair = family.measure(case.fit), family.measure(case.test)
        except GateError as error:
            unusable[name] = str(error)
            continue
        found[name] = (pair, _choices(case, pair))
    if found:
        whole = (
            _joined([pair[0] for pair, _ in found.values()]),
            _joined([pair[1] for pair, _ in found.values()]),
        )
        found[TOGETHER] = (whole, _choices(case, whole))
    return found, unusable


def _joined(parts: Sequence[Features]) -> Features:
    """The named features of several families."""
    values = np.concatenate([part.values for part in parts], axis=1)
    return Features([name for part in parts for name in part.names], values, values[:, :0])


def _choices(case: Case, pair: Pair) -> list[Shown]:
    """The named features with their squares and which are unknown; and the rest as it is beside."""
    fit, test = pair
    wide = widened(fit.values, test.values, case.protocol.probes["feature_clip"])
    if not fit.more.shape[1]:
        return [wide]
    parts = zip(wide, (fit.more, test.more), strict=True)
    whole = [np.concatenate(both, axis=1) for both in parts]
    return [wide, (whole[0], whole[1])]


def _label(
    case: Case,
    name: str,
    family: Family,
    gates: Mapping[str, Mapping[str, Any]],
    measured: Measured | None,
) -> dict[str, Any]:
    """AUROC of the family's probe for the label, and its null: the gate's where there is one."""
    if family.gate:
        entry = gates[family.gate]
        value, null = entry["value"], entry.get("detail", {}).get("null")
        if value is None or null is None:
            return {"gate": family.gate, "state": entry["reason"] or "no null"}
        return {"gate": family.gate, "value": value, "ci": entry["ci"], "null": null}
    assert measured is not None
    seen = measured[1][-1]
    return case.of_data.once(f"hunter.{name}.label", lambda: _probed(case, name, seen))


def _probed(case: Case, name: str, seen: Shown) -> dict[str, Any]:
    """AUROC of a probe on what it sees of a family, and its null."""
    of_fit, of_test = seen
    try:
        design, strength, scores = fitted_probe(
            case, of_fit, of_test, 0.0, case.rng(f"hunter.{name}.label")
        )
        if scores is None:
            return {"state": CONSTANT}
        estimate = case.auroc(scores)
        null = null_of(case, design, of_test, strength, estimate.value)
    except (GateError, StatisticsError, np.linalg.LinAlgError) as error:
        return {"state": str(error)}
    return {**numbers(estimate), "null": null}


def _fits(case: Case, name: str, sides: Sequence[Side], choices: Sequence[Shown]) -> list[Fit]:
    rng = case.rng(f"hunter.{name}.score")
    fits = [fitted(case, side, choices, rng) for side in sides]
    return [fit for fit in fits if fit is not None]


def _scores(
    case: Case, sides: Sequence[Side], fits: Mapping[str, Sequence[Fit]]
) -> dict[str, dict[str, Any]]:
    """Share of the score's variance within classes that each family explains, with its null."""
    kept = {name: both for name, both in fits.items() if both}
    nulls = null_shares(kept, sides) if kept else {}
    found: dict[str, dict[str, Any]] = {}
    for name, both in fits.items():
        if not both:
            why = CONSTANT if sides else "too few rows of any class"
            found[name] = {"state": why}
            continue
        estimate = share(case, both)
        found[name] = {
            **numbers(estimate),
            "null": null_summary(nulls[name], estimate.value),
            **{fit.side.name: fit.value for fit in both},
        }
    return found


def _by_brick(case: Case, sides: Sequence[Side]) -> dict[str, Any]:
    """Share of the score's variance within classes that lies between bricks, by analysis of
    variance; the null deals rows to bricks at random."""
    if not sides:
        return {"state": "too few rows of any class"}
    names, home = np.unique(case.test["brick"], return_inverse=True)
    home, rng = home.reshape(-1), case.rng("hunter.brick")
    rows = np.concatenate([side.test for side in sides])
    target = np.concatenate([side.test_target - side.test_target.mean() for side in sides])
    place = home[rows]

    def totals(values: np.ndarray) -> np.ndarray:
        parts = np.stack([np.ones(len(values)), values, values**2], axis=1)
        return brick_sums(parts, place, len(names))

    counts = np.bincount(place, minlength=len(names))
    if (counts > 1).sum() < 2:
        return {"state": "bricks of one row"}
    estimate = of_sums(_among(totals(target)), _between, **case.protocol.intervals)
    null = np.array(
        [
            _between(_among(totals(rng.permutation(target))).sum(axis=0, keepdims=True))[0]
            for _ in range(case.protocol.hunter["permutations"])
        ]
    )
    return {**numbers(estimate), "null": null_summary(null, estimate.value)}


def _among(totals: np.ndarray) -> np.ndarray:
    """Of sums of 1, x, x^2 by brick: what `_between` needs, which adds up over bricks: bricks,
    rows, rows^2, sum, squares of the sum over rows, squares."""
    n, x, xx = totals[totals[:, 0] > 0].T
    return np.stack([np.ones_like(n), n, n**2, x, x**2 / n, xx], axis=1)


def _between(sums: np.ndarray) -> np.ndarray:
    """Intraclass correlation of unequal groups, [r, 6] -> [r]: may be below zero."""
    groups, n, n_squared, x, between, squares = sums.T
    inside = (squares - between) / (n - groups)
    among = (between - x**2 / n) / (groups - 1)
    size = (n - n_squared / n) / (groups - 1)
    return (among - inside) / (among + (size - 1) * inside)


def _features(
    case: Case, sides: Sequence[Side], measured: Mapping[str, Pair]
) -> list[dict[str, Any]]:
    own = {name: pair for name, pair in measured.items() if name != TOGETHER}
    if not own:
        return []
    names = [name for fit, _ in own.values() for name in fit.names]
    families = [family for family, (fit, _) in own.items() for _ in fit.names]
    of_fit, of_test = (
        np.concatenate([pair[k].values for pair in own.values()], axis=1) for k in (0, 1)
    )
    return singles(case, sides, names, families, of_fit, of_test)


def _reading(family: Family, label: Mapping[str, Any], score: Mapping[str, Any]) -> str:
    if "value" not in label and "value" not in score:
        return "not asked"
    found = (_is_found(label), _is_found(score))
    return OF_ARCS if family.arcs and found == (True, True) else READINGS[found]


def _is_found(told: Mapping[str, Any]) -> bool:
    """Is the whole interval above the central 95 % of the null?"""
    if told.get("value") is None or None in told["ci"]:
        return False
    return bool(told["ci"][0] > told["null"]["ci"][1])


def _value(told: Mapping[str, Any]) -> float:
    value = told.get("value")
    return -np.inf if value is None else value
