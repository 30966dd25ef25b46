"""The runs that are compared: judged, and read as the measures need them.

Not the comparison, and not whether they may be compared (compare_heads). Runs under one data digest
must be on the same stamps, row by row (exit 22). What does not depend on the model (probes and
their nulls) is found once for all runs whose other arrays are the same, byte by byte.

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
from threadpoolctl import threadpool_limits

from lensjax.gates.arrays import Arrays, Evaluation
from lensjax.gates.case import Case, OfData
from lensjax.gates.compare_heads import Head, Told, read_heads, unusable
from lensjax.gates.compare_measures import Scored
from lensjax.gates.gate import GateError
from lensjax.gates.measures import examine_case
from lensjax.gates.pool import side_by_side
from lensjax.gates.protocol import GATES
from lensjax.gates.record import count_opening
from lensjax.gates.shortcuts import SHORTCUTS, shortcut_scores
from lensjax.gates.verdict import open_case

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

    advance: called with each run's name before it is judged, from any thread.

    Raises:
        LensjaxError: as `read_heads`; exit 22 also for arrays that are damaged, or on other stamps
            of the same data.
    """
    heads = read_heads(names, told)
    rules = told.rules or heads[0].rules
    runs: list[Run] = []
    tables: list[dict[str, Arrays]] = []
    known: dict[str, OfData] = {}

    def read(head: Head) -> tuple[dict[str, Any], dict[str, Arrays], Scored]:
        """The judgement, the table of stamps, and what the measures need."""
        advance(head.name)
        other = head.rules.digest != rules.digest
        case = _sharing(open_case(head.workdir, rules, other), known)
        judged = examine_case(case, head.workdir)
        count_opening(head.workdir, judged)
        whole = _sharing(Case(rules, _all_rows(case.evaluation)), known)
        return judged, _table(whole.evaluation), _scored(whole)

    # One thread of BLAS, as a judgement has it: more of them wait for each other, and sums would
    # depend on the number of cores.
    with threadpool_limits(limits=1, user_api="blas"):
        for head, (judged, table, scored) in zip(heads, side_by_side(read, heads), strict=True):
            stamps = _stamps(table, head, heads[0], tables, told)
            other = head.rules.digest != rules.digest
            runs.append(Run(head, judged, scored, stamps, other))
    return runs


def _sharing(case: Case, known: dict[str, OfData]) -> Case:
    """The case with what is known of its features."""
    return replace(case, of_data=known.setdefault(_features_digest(case), OfData()))


def _table(evaluation: Evaluation) -> dict[str, Arrays]:
    """The columns that say which stamps a run is on."""
    return {
        split: {name: rows[name] for name in STAMPS}
        for split, rows in (("val", evaluation.val), ("test", evaluation.test))
    }


def _stamps(
    own: dict[str, Arrays],
    head: Head,
    first: Head,
    tables: list[dict[str, Arrays]],
    told: Told,
) -> int:
    """The number of the run's set of stamps among `tables`, to which a new one is added."""
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


def _scored(case: Case) -> Scored:
    """The probes' scores, and the few columns that are kept."""
    test = {name: case.evaluation.test[name] for name in _KEPT}
    slim = replace(case.evaluation, val={}, test=test)
    return Scored(Case(case.protocol, slim), case.of_data.once("scores", lambda: _ranked(case)))


def _ranked(case: Case) -> dict[str, np.ndarray | str]:
    """What every shortcut probe ranks the rows by, or why there is nothing."""

    def ranked(name: str) -> np.ndarray | str:
        try:
            return shortcut_scores(name, case)
        except GateError as error:
            return str(error)

    names = [name for name in SHORTCUTS if name in GATES]
    return dict(zip(names, side_by_side(ranked, names), strict=True))


def _features_digest(case: Case) -> str:
    """Of all arrays that do not depend on the model: runs that share them share their probes. All
    are judged by one protocol."""
    sha = hashlib.sha256(case.manifest["preprocessing"].encode())
    for rows in (case.evaluation.val, case.evaluation.test):
        for name in sorted(rows):
            if not name.startswith(_OF_SCORES):
                sha.update(f"{name} {rows[name].dtype} {rows[name].shape}".encode())
                sha.update(np.ascontiguousarray(rows[name]).tobytes())
    return sha.hexdigest()
