"""The comparison of runs: experiments with their seeds, every measure, and paired differences.

Not the reading of runs (compare_runs), nor tables (compare_table). An experiment's verdict is that
of its worst seed. Measures and differences are of all rows of test, so that paired and unpaired
runs of one data root meet on the same stamps.

    document = compare(read_runs(["runs/a1", "runs/b3"], Told()))
    document["differences"][0]["measures"]["auroc_test"]["value"]
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from lensjax.gates.compare_experiments import SEEDS_FOR_A_CLAIM, Experiment, grouped
from lensjax.gates.compare_measures import Measure, measures
from lensjax.gates.compare_runs import Run
from lensjax.gates.compare_statistics import (
    ALPHA,
    Resampled,
    holm,
    less,
    mean,
    over_bricks,
    over_seeds,
    shared_resamples,
)
from lensjax.gates.gate import rounded
from lensjax.gates.pool import side_by_side
from lensjax.gates.protocol import GATES
from lensjax.schema import ExitCode, LensjaxError

SCHEMA = "lensjax-comparison-1"
ADJUSTMENT = (
    "p of bricks and seeds, Holm-adjusted over all pairs of experiments within a measure; between "
    "measures nothing is adjusted"
)
_OTHER_STAMPS = "other stamps: not paired"

Found = Mapping[str, Resampled | str]  # by the name of the run; a text says why there is nothing


def compare(
    runs: Sequence[Run],
    reference: str | None = None,
    advance: Callable[[str], object] = lambda name: None,
) -> dict[str, Any]:
    """The object of comparison.json; docs/comparing.md describes it.

    reference: the experiment, or a run of it, that the others are set against; that of the first
    run by default. advance: called with each measure's name.

    Raises:
        LensjaxError: exit 2 for an unknown reference, naming the nearest.
    """
    rules = runs[0].scored.case.protocol
    experiments = _referred(grouped(runs), reference)
    pairs = [(a, b) for k, b in enumerate(experiments) for a in experiments[k + 1 :]]
    summaries: list[dict[str, Any]] = [{} for _ in experiments]
    differences: list[dict[str, Any]] = [{} for _ in pairs]
    weights = _weights(runs)
    every = measures(rules)
    # One thread: the matrices are small, and sums then do not depend on the number of cores.
    with threadpool_limits(limits=1, user_api="blas"):
        for measure in every:
            advance(measure.name)
            found = _found(measure, runs, weights)
            for into, experiment in zip(summaries, experiments, strict=True):
                into[measure.name] = _summary(experiment, measure.better, found, weights)
            entries = [_difference(a, b, found, weights) for a, b in pairs]
            _claim(entries, pairs)
            for into, entry in zip(differences, entries, strict=True):
                into[measure.name] = entry
    document = {
        "schema": SCHEMA,
        "protocol": {"name": rules.document["name"], "digest": rules.digest},
        "data_digests": sorted({str(run.head.manifest.get("data_digest")) for run in runs}),
        "stamps": [_counts(runs, number) for number in sorted(weights)],
        "resamples": rules.intervals["resamples"],
        "adjustment": ADJUSTMENT,
        "notes": _notes(runs, experiments),
        "reference": experiments[0].name,
        "better": {measure.name: measure.better for measure in every},
        "experiments": [
            {**_described(experiment), "measures": summary}
            for experiment, summary in zip(experiments, summaries, strict=True)
        ],
        "differences": [
            {"experiment": a.name, "reference": b.name, "measures": entries}
            for (a, b), entries in zip(pairs, differences, strict=True)
        ],
    }
    return rounded(document)


def _found(measure: Measure, runs: Sequence[Run], weights: Mapping[int, np.ndarray]) -> Found:
    """The measure of every run."""

    def of(run: Run) -> Resampled | str:
        return measure.of(run.scored, weights[run.stamps])

    names = [run.head.name for run in runs]
    return dict(zip(names, side_by_side(of, runs), strict=True))


def _referred(experiments: list[Experiment], reference: str | None) -> list[Experiment]:
    """The experiments, that of the reference first."""
    if reference is None:
        return experiments
    names: dict[str, Experiment] = {}
    for experiment in experiments:
        names |= {run.head.name: experiment for run in experiment.runs}
    names |= {experiment.name: experiment for experiment in experiments}
    if reference not in names:
        near = difflib.get_close_matches(reference, names, n=1, cutoff=0.0)[0]
        what = f"no experiment or run is called {reference!r}"
        raise LensjaxError(ExitCode.USAGE, what, "--reference", f"Did you mean {near}?")
    first = names[reference]
    return [first, *(each for each in experiments if each is not first)]


def _weights(runs: Sequence[Run]) -> dict[int, np.ndarray]:
    """The resamples of each set of stamps."""
    weights: dict[int, np.ndarray] = {}
    for run in runs:
        if run.stamps not in weights:
            case = run.scored.case
            intervals = case.protocol.intervals
            count, seed = intervals["resamples"], intervals["seed"]
            weights[run.stamps] = shared_resamples(case.clusters.n_bricks, count, seed)
    return weights


def _summary(
    experiment: Experiment, better: str, found: Found, weights: Mapping[int, np.ndarray]
) -> dict[str, Any]:
    """A measure of every seed; mean, least and largest, and which seed is the worst."""
    runs, parts = [], []
    for run in experiment.runs:
        each = found[run.head.name]
        if isinstance(each, str):
            runs.append({"value": None, "ci": None, "reason": each})
        else:
            parts.append(each)
            runs.append({"value": each.value, "ci": [each.low, each.high], "reason": ""})
    if len(parts) < len(runs):
        why = next(run["reason"] for run in runs if run["reason"])
        return {"mean": None, "ci": None, "reason": why, "runs": runs}
    values = [part.value for part in parts]
    ci = runs[0]["ci"]
    if len(parts) > 1:
        own = weights[experiment.runs[0].stamps]
        error, *_ = over_bricks(mean(parts), own)
        ci = over_seeds(float(np.mean(values)), error, own.shape[1], [values])[:2]
    at = int(np.argmin(values) if better == ">" else np.argmax(values))
    return {
        "mean": float(np.mean(values)),
        "ci": list(ci),
        "min": min(values),
        "max": max(values),
        "worst": experiment.runs[at].head.name,
        "reason": "",
        "runs": runs,
    }


def _difference(
    a: Experiment, b: Experiment, found: Found, weights: Mapping[int, np.ndarray]
) -> dict[str, Any]:
    """Mean over the seeds of `a` less that of `b`, on the same resamples. `ci_bricks` is of these
    models; `ci` and `p` are of other seeds too, with two seeds or more on both sides."""
    if a.runs[0].stamps != b.runs[0].stamps:
        return _no_difference(_OTHER_STAMPS)
    sides: list[list[Resampled]] = [[], []]
    for side, experiment in zip(sides, (a, b), strict=True):
        for run in experiment.runs:
            each = found[run.head.name]
            if isinstance(each, str):
                return _no_difference(f"{experiment.name}: {each}")
            side.append(each)
    own = weights[a.runs[0].stamps]
    difference = less(*(mean(side) for side in sides))
    error, low, high = over_bricks(difference, own)
    entry = {**_no_difference(""), "value": difference.value, "ci_bricks": [low, high]}
    if min(a.seeds, b.seeds) > 1:
        seeds = [[part.value for part in side] for side in sides]
        low, high, entry["p"] = over_seeds(difference.value, error, own.shape[1], seeds)
        entry["ci"] = [low, high]
    return entry


def _no_difference(reason: str) -> dict[str, Any]:
    """An entry of a difference, empty so far."""
    keys = ("value", "ci_bricks", "ci", "p", "p_adjusted")
    return {**dict.fromkeys(keys), "claim": False, "reason": reason}


def _claim(entries: list[dict[str, Any]], pairs: list[tuple[Experiment, Experiment]]) -> None:
    """Adjust p over the pairs, and say which differences may be claimed."""
    family = [entry for entry in entries if entry["p"] is not None]
    for entry, p in zip(family, holm([entry["p"] for entry in family]), strict=True):
        entry["p_adjusted"] = p
    for entry, (a, b) in zip(entries, pairs, strict=True):
        p = entry["p_adjusted"]
        entry["claim"] = a.claims and b.claims and p is not None and p < ALPHA


def _described(experiment: Experiment) -> dict[str, Any]:
    """An experiment as it was judged: its worst seed's verdict, each gate's worst seed, all
    runs."""
    worst = experiment.worst
    gates = {}
    for name in GATES:
        run = experiment.worst_of(name)
        entry = {key: run.judged["gates"][name][key] for key in _OF_GATE}
        verdicts = [each.judged["gates"][name]["verdict"] for each in experiment.runs]
        gates[name] = {**entry, "run": run.head.name, "passed": verdicts.count("PASS")}
    return {
        "name": experiment.name,
        "verdict": worst.judged["verdict"],
        "reason": worst.judged["reason"],
        "worst_run": worst.head.name,
        "seeds": experiment.seeds,
        "claims": experiment.claims,
        "mode": worst.head.manifest["mode"],
        "preprocessing": worst.head.manifest["preprocessing"],
        "gates": gates,
        "runs": [_told(run) for run in experiment.runs],
    }


_OF_GATE = ("verdict", "value", "ci", "threshold", "required", "warn", "reason")


def _told(run: Run) -> dict[str, Any]:
    return {
        "name": run.head.name,
        "seed": run.head.seed,
        "verdict": run.judged["verdict"],
        "reason": run.judged["reason"],
        "other_protocol": run.other_protocol,
        "judged": run.judged,
    }


def _counts(runs: Sequence[Run], number: int) -> dict[str, int]:
    case = next(run.scored.case for run in runs if run.stamps == number)
    n_pos, n_neg, n_bricks = case.test.counts()
    return {"n_pos": n_pos, "n_neg": n_neg, "n_bricks": n_bricks}


def _notes(runs: Sequence[Run], experiments: Sequence[Experiment]) -> list[str]:
    """What a reader of the numbers has to know, in whole sentences."""
    notes = []
    for each in experiments:
        if not each.evidence:
            notes.append(f"{each.name}: no evidence, so no claim.")
        elif not each.claims:
            notes.append(f"{each.name}: {each.seeds} of {SEEDS_FOR_A_CLAIM} seeds, so no claim.")
        if each.seeds < len(each.runs):
            notes.append(f"{each.name}: its {len(each.runs)} runs count as {each.seeds}.")
    codes = sorted({run.head.code for run in runs})
    if len(codes) > 1:
        told = ", ".join(code[:8] or "not recorded" for code in codes)
        notes.append(f"The runs are of {len(codes)} versions of the code ({told}).")
    if len({run.stamps for run in runs}) > 1:
        notes.append("The runs are on different stamps; only those on the same ones are paired.")
    others = [run.head.name for run in runs if run.other_protocol]
    if others:
        notes.append(f"Judged under another protocol than their own: {', '.join(others)}.")
    return notes
