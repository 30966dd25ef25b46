"""The runs that are compared: judged, and read as the measures need them.

Not the comparison, and not whether they may be compared (compare_heads). Runs under one data digest
must be on the same stamps, row by row (exit 22).

    runs = read_runs(["runs/a1", "runs/b3"], Told())
    runs[0].judged["verdict"], runs[0].scored.probes["core_lr_auc"]
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lensjax.gates.arrays import Arrays, Evaluation, read_evaluation
from lensjax.gates.case import Case
from lensjax.gates.compare_heads import Head, Told, read_heads, unusable
from lensjax.gates.compare_measures import Scored
from lensjax.gates.gate import GateError
from lensjax.gates.measures import examine
from lensjax.gates.protocol import GATES
from lensjax.gates.record import count_opening
from lensjax.gates.shortcuts import SHORTCUTS, shortcut_scores

# Columns that two runs must share row by row to be compared on the same stamps.
STAMPS = ("stamp_id", "pair_id", "lrg_id", "brick", "label", "negative_kind")
_OF_SCORES = ("logit", "hard_negative")  # how arrays that depend on the model or its seed begin
_KEPT = (  # columns that the measures need; the feature arrays would fill the memory
    *STAMPS, "in_manifest", "logit", "logit_core_masked", "logit_core_only",
    "logit_hard_negative", "theta_e_arcsec", "arc_snr",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A run that was read and judged. `stamps`: the number of the set of stamps it was evaluated
    on, 0 for the first run's; `other_protocol`: begun under another than it was judged by."""

    head: Head
    judged: dict[str, Any]
    scored: Scored
    stamps: int
    other_protocol: bool


def read_runs(
    names: Sequence[str | Path],
    told: Told,
    advance: Callable[[str], object] = lambda name: None,
) -> list[Run]:
    """The runs of the directories `names`, in that order; each is judged anew, and that is counted
    as an opening of its test arrays.

    advance: called with each run's name before it is judged.

    Raises:
        LensjaxError: as `read_heads`; exit 22 also for arrays that are damaged, or on other stamps
            of the same data.
    """
    heads = read_heads(names, told)
    rules = told.rules or heads[0].rules
    runs: list[Run] = []
    tables: list[dict[str, Arrays]] = []
    known: dict[str, dict[str, np.ndarray | str]] = {}
    for head in heads:
        advance(head.name)
        other = head.rules.digest != rules.digest
        judged = examine(head.workdir, rules, other_protocol=other)
        count_opening(head.workdir, judged)
        evaluation = _all_rows(read_evaluation(head.workdir))
        stamps = _stamps(evaluation, head, heads[0], tables, told)
        scored = _scored(Case(rules, evaluation), known)
        runs.append(Run(head, judged, scored, stamps, other))
    return runs


def _stamps(
    evaluation: Evaluation,
    head: Head,
    first: Head,
    tables: list[dict[str, Arrays]],
    told: Told,
) -> int:
    """The number of the run's set of stamps among `tables`, to which a new one is added."""
    own = {
        split: {name: rows[name] for name in STAMPS}
        for split, rows in (("val", evaluation.val), ("test", evaluation.test))
    }
    for number, table in enumerate(tables):
        if not _other_stamps(table, own):
            return number
    if tables and not told.other_data:
        what = _other_stamps(tables[0], own)
        unusable(
            f"is not on the stamps of {first.name}: {what}",
            head.workdir,
            "Runs on one data root are; move eval/ out of this workdir and run main.py again",
        )
    tables.append(own)
    return len(tables) - 1


def _other_stamps(old: dict[str, Arrays], new: dict[str, Arrays]) -> str:
    """The first difference; "" if there is none."""
    for split in ("test", "val"):
        a, b = old[split], new[split]
        odd = np.setxor1d(a["stamp_id"], b["stamp_id"])
        if len(odd):
            return f"{len(odd)} stamps of {split} are in one alone, first {str(odd[0])!r}"
        for name in STAMPS:
            differ = np.flatnonzero(a[name] != b[name])
            if len(differ):
                return f"{name} of {str(a['stamp_id'][differ[0]])!r} differs"
    return ""


# -- as the measures need them --------------------------------------------------------------------


def _all_rows(evaluation: Evaluation) -> Evaluation:
    """Every row judged, in the order of the stamp ids."""

    def every(rows: Arrays) -> Arrays:
        order = np.argsort(rows["stamp_id"])
        ordered = {name: array[order] for name, array in rows.items()}
        return {**ordered, "in_manifest": np.ones(len(order), bool)}

    return replace(evaluation, val=every(evaluation.val), test=every(evaluation.test))


def _scored(case: Case, known: dict[str, dict[str, np.ndarray | str]]) -> Scored:
    """The probes' scores, from `known` for the same features; and the few columns that are kept."""
    key = _features_digest(case)
    if key not in known:
        known[key] = {name: _ranked(name, case) for name in SHORTCUTS if name in GATES}
    test = {name: case.evaluation.test[name] for name in _KEPT}
    slim = replace(case.evaluation, val={}, test=test)
    return Scored(Case(case.protocol, slim), known[key])


def _ranked(name: str, case: Case) -> np.ndarray | str:
    try:
        return shortcut_scores(name, case)
    except GateError as error:
        return str(error)


def _features_digest(case: Case) -> str:
    """Of all arrays that do not depend on the model: runs that share them share their probes."""
    sha = hashlib.sha256(case.manifest["preprocessing"].encode())
    for rows in (case.evaluation.val, case.evaluation.test):
        for name in sorted(rows):
            if not name.startswith(_OF_SCORES):
                sha.update(f"{name} {rows[name].dtype} {rows[name].shape}".encode())
                sha.update(np.ascontiguousarray(rows[name]).tobytes())
    return sha.hexdigest()
