"""What stands beside the gates: measures.json. Nothing in it decides a verdict.

Strata, the rare end of the ranking, calibration, the selection function, scored catalogues, how the
run trained, and what the model's score follows (lensjax.gates.hunter). A part that cannot be
measured says why under `state`.

    judged = examine("runs/b3", load_protocol("configs/protocols/default.json"))
    judged["measures"]["hunter"]["looking_at"]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from lensjax.gates.breakdown import breakdown
from lensjax.gates.calibration import calibration
from lensjax.gates.case import Case
from lensjax.gates.catalogues import catalogues
from lensjax.gates.flags import training_health
from lensjax.gates.gate import GateError, rounded
from lensjax.gates.hunter import hunt
from lensjax.gates.protocol import GATES, Protocol
from lensjax.gates.ranking import ranking
from lensjax.gates.selection import selection_function
from lensjax.gates.statistics import StatisticsError
from lensjax.gates.verdict import judge_case, open_case

SCHEMA = "lensjax-measures-1"
_OF_CASE: dict[str, Callable[[Case], dict[str, Any]]] = {
    "strata": breakdown,
    "ranking": ranking,
    "calibration": calibration,
    "selection": selection_function,
    "catalogues": catalogues,
}


STEPS = len(GATES) + len(_OF_CASE) + 2  # that `examine` tells of


def examine(
    workdir: str | Path,
    rules: Protocol,
    *,
    other_protocol: bool = False,
    advance: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """The object of gates.json, as `lensjax.gates.judge` gives it, and under `measures` that of
    measures.json. advance: called STEPS times. Raises as `judge` does."""
    return examine_case(open_case(workdir, rules, other_protocol), workdir, advance)


def examine_case(
    case: Case, workdir: str | Path, advance: Callable[[], object] = lambda: None
) -> dict[str, Any]:
    """What `examine` gives, of a case that is open."""
    judged = judge_case(case, advance)
    with threadpool_limits(limits=1, user_api="blas"):
        measured = _measures(case, Path(workdir), judged["gates"], advance)
    return {**judged, "measures": rounded(measured)}


def _measures(
    case: Case,
    workdir: Path,
    gates: Mapping[str, Mapping[str, Any]],
    advance: Callable[[], object],
) -> dict[str, Any]:
    told: dict[str, Any] = {
        "schema": SCHEMA,
        "protocol_digest": case.protocol.digest,
        "arrays_digest": case.evaluation.digest,
    }
    for name, part in _OF_CASE.items():
        told[name] = _or_why(case, lambda part=part: part(case))
        advance()
    told["training"] = training_health(workdir, gates)
    advance()
    told["hunter"] = _or_why(case, lambda: hunt(case, gates))
    advance()
    return told


def _or_why(case: Case, part: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The part, or the state in which there is none."""
    for split, rows in (("val", case.fit), ("test", case.test)):
        n_pos, n_neg, _ = rows.counts()
        if not (n_pos and n_neg):
            return {"state": f"one class only: {split} has {n_pos} positives, {n_neg} negatives"}
    try:
        return part()
    except (GateError, StatisticsError, np.linalg.LinAlgError) as error:
        return {"state": str(error)}
