"""Values from files as words on the page: numbers, ranges, nested JSON; and what each gate asks.

>>> number(0.97316), interval([0.9612, 0.9811]), words(["a", 1])
('0.973', '0.961 to 0.981', 'a, 1')
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from lensjax.gates.protocol import GATES
from lensjax.report.markup import NONE

MESSAGE = 400  # characters of a message shown

GATE_QUESTIONS = {
    "auroc_test": "Does the model rank test lenses above non-lenses?",
    "core_lr_auc": "Do the central 10 x 10 pixels of the input alone give the label away to a "
    "logistic regression? A property of the data, not of the model.",
    "core_lr_auc_r5": "The same of its pixels with r < 5 alone.",
    "core_lr_auc_raw": "The same in nanomaggies, before preprocessing.",
    "core_masked_drop": "How much AUROC is lost, relatively, when the model sees no core (r < 5)?",
    "hard_negative_auroc": "Does it tell arcs from the same light shuffled in azimuth?",
    "perfect_scores": "Is the ranking too good to be true (AUROC above 0.999)?",
    "core_reliance": "How much AUROC is lost without the inner 7 pixels?",
    "core_only_auroc": "How well does the model do on the core alone?",
    "theta_e_min_auroc": "The AUROC of the worst bin of Einstein radius.",
    "theta_e_spread": "How far apart are the best and worst bins of Einstein radius?",
    "radial_lr_auc": "Does the azimuthal profile alone give the label away?",
    "radial_lr_auc_raw": "The same on the raw_robust profile.",
    "outskirts": "Do noise and sky far from the galaxy give the label away?",
    "survey": "Do signs of the survey (noise, sampling) give the label away?",
    "metadata": "Do PSF, depth and the like give the label away?",
    "brick": "Does the place on the sky give the label away?",
    "high_frequency_core": "Does pixel-to-pixel texture of the core give the label away?",
}

# The section of the page with more of what a gate measures.
_HUNTED = ("core_lr_auc", "core_lr_auc_r5", "core_lr_auc_raw", "radial_lr_auc", "radial_lr_auc_raw")
_HUNTED += ("outskirts", "survey", "metadata", "brick", "high_frequency_core")
GATE_SECTIONS = dict.fromkeys(_HUNTED, "hunter") | {
    "auroc_test": "scores",
    "perfect_scores": "scores",
    "core_masked_drop": "core",
    "core_reliance": "core",
    "core_only_auroc": "core",
    "theta_e_min_auroc": "strata",
    "theta_e_spread": "strata",
    "hard_negative_auroc": "gates",
}

# Gates that pass above their threshold; the other known ones pass below theirs.
PASS_ABOVE = frozenset(gate for gate, side in GATES.items() if side == ">")

GROUP_WORDS = {
    "missed_lens": ("Missed lenses", "Lenses with the lowest scores."),
    "false_alarm": ("False alarms", "Non-lenses with the highest scores."),
    "confident_lens": ("Most confident lenses", "Lenses with the highest scores."),
    "confident_negative": ("Most confident non-lenses", "Non-lenses with the lowest scores."),
}


def number(value: Any, digits: int = 3) -> str:
    """A number to `digits` decimals (counts whole, thousands set apart), or a dash."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return NONE if value is None else words(value)
    if not math.isfinite(value):
        return NONE
    if isinstance(value, int):
        return f"{value:,}"
    return f"{round(value, digits) + 0.0:.{digits}f}"  # no -0.000


def interval(value: Any, digits: int = 3) -> str:
    """A pair of numbers as 'low to high', or a dash."""
    if isinstance(value, (list, tuple)) and len(value) == 2:
        low, high = (number(end, digits) for end in value)
        if NONE not in (low, high):
            return f"{low} to {high}"
    return NONE


def threshold(gate: str, value: Any) -> str:
    """A threshold with the side on which the gate passes, where the gate is known."""
    if gate not in GATE_QUESTIONS or number(value) == NONE:
        return number(value)
    return f"{'>' if gate in PASS_ABOVE else '<'} {number(value)}"


def share(part: int, whole: int) -> str:
    """A part of a whole in per cent, or a dash."""
    return f"{100 * part / whole:.0f} %" if whole else NONE


def words(value: Any) -> str:
    """Any JSON value as text."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(words(item) for item in value) or NONE
    if isinstance(value, dict):
        return "; ".join(f"{key}: {words(item)}" for key, item in value.items()) or NONE
    return str(value)


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a nested JSON object as (dotted name, value)."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from flat(item, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def shortened(text: str, limit: int) -> str:
    """The first `limit` characters, and how many more there were."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]} ... ({len(text) - limit:,} characters more)"


def entries(value: Any) -> dict[str, dict[str, Any]]:
    """The objects of an object; empty if it is anything else."""
    if not isinstance(value, dict):
        return {}
    return {str(name): item for name, item in value.items() if isinstance(item, dict)}


def required_first(gates: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The gates in the order in which a page shows them."""
    return dict(sorted(gates.items(), key=lambda item: not item[1].get("required")))


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; empty if it is anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
