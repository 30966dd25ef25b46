"""The guards of lensjax.gates by name, taken away for the controls: what stands in their place is
what the common way does. Not an option of lensjax; guards of the data are in guards.py.

    python -m tests.faults.gate_guards arrays --workdir=DIR      # the command, one guard less
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lensjax.gates import __main__ as command
from lensjax.gates import verdict
from lensjax.gates.arrays import Evaluation
from lensjax.gates.case import Case
from lensjax.gates.gate import PASS, entry
from lensjax.gates.protocol import parse_protocol
from lensjax.gates.statistics import Estimate

_open_case, _colour, _auroc = verdict.open_case, verdict.colour, Case.estimate


def _plain(workdir: Path) -> Evaluation:
    """numpy.load: whatever lies there, whosever it is, NaN scores as 0."""
    manifest = json.loads((workdir / "eval/manifest.json").read_text())
    splits = {}
    for split in ("val", "test"):
        with np.load(workdir / f"eval/{split}.npz") as stored:
            splits[split] = dict(stored)
        splits[split]["logit"] = np.nan_to_num(splits[split]["logit"])
    return Evaluation(manifest, splits["val"], splits["test"], "0" * 64)


def _point(case: Case, *samples: Any) -> Estimate:
    """The value, as if it were certain."""
    value = _auroc(case, *samples).value
    return Estimate(value, value, value)


OFF: dict[str, dict[str, Any]] = {
    "arrays": {
        "lensjax.gates.verdict.read_evaluation": lambda workdir: _plain(Path(workdir)),
        "zipfile.ZipExtFile._update_crc": lambda file, data: None,
    },
    "perfect": {
        "lensjax.gates.verdict.perfect_scores": lambda case, rule: entry(
            rule, case.finding(case.auroc(case.test["logit"])), PASS, False, ""
        )
    },
    "intervals": {
        "lensjax.gates.case.Case.estimate": _point,
        "lensjax.gates.gate.short_of": lambda rule, found: [],
        "lensjax.gates.probes._fit_bars": lambda name, case: (),
    },
    "evidence": {"lensjax.gates.verdict.colour": lambda gates, evidence: _colour(gates, True)},
    "protocol": {
        "lensjax.gates.__main__.stored_protocol": lambda workdir, digest: parse_protocol(
            json.loads((Path(workdir) / "provenance.json").read_text())["protocol"]
        ),
        "lensjax.gates.measures.open_case": lambda workdir, rules, other: _open_case(
            workdir, rules, True
        ),
    },
    "other protocol": {
        "lensjax.gates.__main__._under_another": lambda flags, workdir, begun, rules: (
            command.exit_code(command.examine(workdir, rules, other_protocol=True))
        )
    },
    "recomputing": {
        "lensjax.gates.__main__.examine": lambda workdir, rules: json.loads(
            (workdir / "gates.json").read_text()
        )
    },
}


def switch_off(name: str, patch: pytest.MonkeyPatch) -> None:
    """Take away a guard until `patch` is undone."""
    for target, stand_in in OFF[name].items():
        patch.setattr(target, stand_in)


if __name__ == "__main__":
    switch_off(sys.argv[1], pytest.MonkeyPatch())
    sys.exit(command.main(sys.argv[2:]))
