"""The runs that are compared: found, held against each other, judged, and read.

Not the comparison. Refused are runs that are not finished, or of a sweep of which others are
missing (exit 22), and, unless told otherwise, of another protocol or other data (exit 12).

    runs = read_runs(["runs/a1", "runs/b3"], Told())
    runs[0].judged["verdict"], runs[0].scored.probes["core_lr_auc"]
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from lensjax.gates.arrays import Arrays, Evaluation, read_evaluation, read_manifest
from lensjax.gates.case import Case
from lensjax.gates.compare_measures import Scored
from lensjax.gates.compare_sweep import SWEEP, read_sweep, require_whole
from lensjax.gates.gate import GateError
from lensjax.gates.protocol import GATES, Protocol, first_difference
from lensjax.gates.record import PROVENANCE, read_object, refusal, stored_protocol
from lensjax.gates.shortcuts import SHORTCUTS, shortcut_scores
from lensjax.gates.verdict import judge
from lensjax.schema import ExitCode, LensjaxError

OUTPUTS = ("comparison.md", "comparison.csv", "comparison.html", "comparison.json")
# Columns that two runs must share row by row to be compared on the same stamps.
STAMPS = ("stamp_id", "pair_id", "lrg_id", "brick", "label", "negative_kind")
# Fields of a config that say where things lie, or which seed: not which experiment it is.
_PLACES = ("data.root", "data.manifest", "data.cache_dir", "data.workers", "protocol", "seed")
_OF_SCORES = ("logit", "hard_negative")  # how arrays that depend on the model or its seed begin
_KEPT = (  # columns that the measures need; the feature arrays would fill the memory
    *STAMPS, "in_manifest", "logit", "logit_core_masked", "logit_core_only",
    "logit_hard_negative", "theta_e_arcsec", "arc_snr",
)  # fmt: skip


@dataclass(frozen=True)
class Told:
    """What the command line allows."""

    rules: Protocol | None = None  # judge all runs by this one
    other_data: bool = False
    other_protocol: bool = False


@dataclass(frozen=True)
class Head:
    """What a run says of itself, before its arrays are read. `config`: its fields by dotted name,
    {} where provenance.json has none; `seed`: None likewise."""

    workdir: Path
    name: str
    manifest: dict[str, Any]
    rules: Protocol  # under which it was begun
    config: dict[str, Any]
    code: str

    @property
    def seed(self) -> int | None:
        seed = self.config.get("seed")
        return seed if isinstance(seed, int) else None

    @property
    def recipe(self) -> dict[str, Any]:
        """The config without places and seed: runs that share it are one experiment."""
        kept = {name: value for name, value in self.config.items() if name not in _PLACES}
        return kept or {"experiment": self.name}


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
    """The runs of the directories `names`, in that order; a folder that holds a sweep stands for
    its runs, and files that a comparison or a sweep wrote are passed over.

    advance: called with each run's name before it is judged.

    Raises:
        LensjaxError: exit 2 for a name that is no run or given twice; 12 for other protocols or
            data; 22 for a run that is incomplete, damaged, on other stamps of
            the same data, or of a sweep of which others are missing.
    """
    folders = _folders(names)
    heads = [_head(*each, told) for each in zip(folders, _short(folders), strict=True)]
    require_whole(folders)
    _same_rules(heads, told)
    _same_data(heads, told)
    rules = told.rules or heads[0].rules
    runs: list[Run] = []
    tables: list[dict[str, Arrays]] = []
    known: dict[str, dict[str, np.ndarray | str]] = {}
    for head in heads:
        advance(head.name)
        other = head.rules.digest != rules.digest
        judged = judge(head.workdir, rules, other_protocol=other)
        evaluation = _all_rows(read_evaluation(head.workdir))
        stamps = _stamps(evaluation, head, heads[0], tables, told)
        scored = _scored(Case(rules, evaluation), known)
        runs.append(Run(head, judged, scored, stamps, other))
    return runs


# -- which runs ---------------------------------------------------------------------------------


def _folders(names: Sequence[str | Path]) -> list[Path]:
    folders: list[Path] = []
    for name in names:
        path = Path(name)
        if path.is_file() and path.name in (*OUTPUTS, SWEEP):
            continue
        if not path.is_dir():
            _usage("no such run directory", str(name), "Give the directories of runs")
        whole = None if (path / "eval").is_dir() else read_sweep(path)
        members = [path] if whole is None else [path / run["name"] for run in whole["runs"]]
        folders += [Path(os.path.realpath(member)) for member in members]
    for folder in folders:
        if folders.count(folder) > 1:
            _usage("given twice", str(folder), "Give each run once")
    if not folders:
        _usage("no run given", "", "Give the directories of runs")
    return folders


def _short(folders: Sequence[Path]) -> list[str]:
    """The last parts of the paths, as many as tell them apart."""
    for depth in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = [str(Path(*folder.parts[-depth:])) for folder in folders]
        if len(set(names)) == len(names):
            return names
    raise AssertionError("the paths are distinct")


def _head(folder: Path, name: str, told: Told) -> Head:
    if not folder.is_dir() or refusal(folder) is not None:
        why = "phase 0 refused its data" if folder.is_dir() else "it was never begun"
        _unusable(f"incomplete: {why}", folder, "Compare runs that are finished")
    manifest = read_manifest(folder)
    record = read_object(folder / PROVENANCE) or {}
    config, code = record.get("config"), record.get("code")
    begun, rules = manifest["protocol_digest"], told.rules
    if rules is None or rules.digest != begun:
        rules = stored_protocol(folder, begun)
    return Head(
        folder,
        name,
        manifest,
        rules,
        _fields(config) if isinstance(config, Mapping) else {},
        str(code.get("digest", "")) if isinstance(code, Mapping) else "",
    )


def _fields(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= _fields(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


# -- held against each other ----------------------------------------------------------------------


def _same_rules(heads: Sequence[Head], told: Told) -> None:
    rules = told.rules or heads[0].rules
    given = "the protocol given" if told.rules else heads[0].name
    for head in heads:
        if head.rules.digest != rules.digest and not told.other_protocol:
            difference = first_difference(rules.document, head.rules.document)
            raise LensjaxError(
                ExitCode.MISMATCH,
                f"began under another protocol than {given}, first difference {difference}",
                str(head.workdir),
                "Compare runs of one protocol, or say --other-protocol",
            )


def _same_data(heads: Sequence[Head], told: Told) -> None:
    first = heads[0]
    for head in heads:
        old, new = (str(each.manifest.get("data_digest")) for each in (first, head))
        if old == new or told.other_data:
            continue
        a, b = (_of_data(each.config) for each in (first, head))
        difference = first_difference(a, b) or f"data_digest: {old[:12]} -> {new[:12]}"
        raise LensjaxError(
            ExitCode.MISMATCH,
            f"is of other data than {first.name}, first difference {difference}",
            str(head.workdir),
            "Compare runs on one data root, or say --other-data",
        )


def _of_data(config: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the stamps, as far as a config says it."""
    left_out = ("data.pairing", "data.reader", "data.cache_dir", "data.workers")
    return {
        name: value
        for name, value in config.items()
        if name.startswith(("data.", "population.")) and name not in left_out
    }


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
        _unusable(
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


def _usage(what: str, where: str, remedy: str) -> NoReturn:
    raise LensjaxError(ExitCode.USAGE, what, where, remedy)


def _unusable(what: str, folder: Path, remedy: str) -> NoReturn:
    raise LensjaxError(ExitCode.GATE_INPUT_INVALID, what, str(folder), remedy)
