"""training_results.json: what came out, in six fields.

Not the judgement (gates.json is): it repeats its gates and verdict for those who read one file.

    write_results(path, success=True, best_epoch=7, best_auroc=0.97, gates=judged, quarantined=0)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lensjax.runs.files import write_json


def write_results(
    path: Path,
    *,
    success: bool,
    best_epoch: int | None,
    best_auroc: float | None,
    gates: Mapping[str, Any],
    quarantined: int,
) -> None:
    """Write the results of a run.

    success: training, evaluation and gates completed (whatever the verdict).
    best_epoch: 1-based; best_auroc: validation AUROC at it. None if no epoch was completed.
    gates: the object of gates.json, whose `gates` and `verdict` are repeated.
    quarantined: rows of the data that phase 0 set aside.
    """
    write_json(
        path,
        {
            "success": success,
            "best_epoch": best_epoch,
            "best_auroc": best_auroc,
            "final_gates": dict(gates["gates"]),
            "verdict": gates["verdict"],
            "quarantined": quarantined,
        },
    )
