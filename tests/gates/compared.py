"""Runs to compare: synthetic evaluations on the same stamps, with configs, seeds and scores of
their own.

rules = quick(default)
make_run(tmp_path / "a1-seed0", rules, experiment="a1", seed=0, noise=0.5)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lensjax.gates.case import Case
from lensjax.gates.gate import rounded
from lensjax.gates.protocol import Protocol, parse_protocol
from lensjax.gates.statistics import auroc
from tests.gates.synthetic import Arrays, edit_json, write_evaluation

COUNTS = {"n_pos": 1, "n_neg": 1, "n_bricks": 1}
SCORES = ("logit", "logit_core_masked", "logit_core_only", "logit_hard_negative")
DATA = "d" * 64


def quick(default: Protocol) -> Protocol:
    """The default thresholds with the fewest repetitions, and counts that small runs reach."""
    document = json.loads(json.dumps(default.document))
    document["name"] = "quick"
    document["intervals"]["resamples"] = 200
    document["minimum"] = {"n_pos": 20, "n_neg": 20, "n_bricks": 10}
    for rule in document["gates"].values():
        rule.pop("minimum", None)
    document["probes"] |= {"c_grid": [0.01], "permutations": 3, "folds": 2}
    document["hunter"] |= {"ridge_grid": [0.1], "permutations": 3}
    return parse_protocol(document)


def judge_auroc_alone(case: Case, workdir: Path) -> Any:
    """In the place of lensjax.gates.measures.examine_case, where the verdict is not what is tested:
    every gate is the AUROC of the judged rows."""
    rows, rules = case.evaluation.test, case.protocol
    own = rows["in_manifest"]
    found = auroc(rows["logit"][own], rows["label"][own])
    gates = {
        name: {
            "verdict": "PASS" if found > 0.85 else "FAIL",
            "value": found,
            "ci": [found - 0.01, found + 0.01],
            "threshold": rule.threshold,
            "required": rule.required,
            "warn": False,
            **COUNTS,
            "reason": "",
        }
        for name, rule in rules.gates.items()
    }
    verdict = "GREEN" if found > 0.85 else "RED"
    told = {"verdict": verdict, "reason": "", "protocol_digest": "", "arrays_digest": None}
    return rounded({**told, "gates": gates})


def make_run(
    workdir: Path,
    rules: Protocol,
    *,
    experiment: str = "a1",
    seed: int | None = 0,
    noise: float = 0.0,
    paired: bool = False,
    change: Callable[[str, Arrays], None] = lambda split, arrays: None,
    config: dict[str, Any] | None = None,
    manifest: dict[str, Any] | None = None,
    **planted: Any,
) -> Path:
    """A finished run. noise: what is added to every score, differently for each seed; config:
    fields of the run's config that differ; seed None: provenance.json has no config."""

    def scored(split: str, arrays: Arrays) -> None:
        rng = np.random.default_rng([sum(experiment.encode()), seed or 0, split == "test"])
        added = (noise * rng.normal(0, 1, len(arrays["label"]))).astype(np.float32)
        for name in SCORES[:3]:
            arrays[name] += added[:, None] if arrays[name].ndim == 2 else added
        if paired:
            arrays["in_manifest"][:] = True
        change(split, arrays)

    write_evaluation(
        workdir,
        rules,
        change=scored,
        manifest={"data_digest": DATA, "mode": "paired" if paired else "unpaired"}
        | (manifest or {}),
        **{"pairs": 60, "lookalikes": 20, "hosts_per_brick": 4, "skill": 0.1, **planted},
    )
    if seed is not None:
        told = {
            "experiment": experiment,
            "variant": "full",
            "seed": seed,
            "data": {"root": str(workdir), "seed": 42, "pairing": "x"},
            "optimizer": {"learning_rate": 0.001},
            **(config or {}),
        }
        edit_json(workdir / "provenance.json", lambda record: record.update(config=told))
    return workdir
