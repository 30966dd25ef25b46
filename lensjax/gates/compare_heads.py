"""What runs say of themselves before their arrays are read, and whether they may be compared.

Not the reading of arrays (compare_runs). Refused are runs that are not finished, or of a sweep of
which others are missing (exit 22), and, unless told otherwise, of another protocol or other data
(exit 12).

    heads = read_heads(["runs/a1", "runs/b3"], Told())
    heads[0].seed, heads[0].recipe["optimizer.learning_rate"]
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from lensjax.gates.arrays import read_manifest
from lensjax.gates.compare_sweep import SWEEP, read_sweep, require_whole
from lensjax.gates.protocol import Protocol, first_difference
from lensjax.gates.record import PROVENANCE, read_object, refusal, stored_protocol
from lensjax.schema import ExitCode, LensjaxError

OUTPUTS = ("comparison.md", "comparison.csv", "comparison.html", "comparison.json")
# Fields of a config that say where things lie, or which seed: not which experiment it is.
_PLACES = ("data.root", "data.manifest", "data.cache_dir", "data.workers", "protocol", "seed")


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


def read_heads(names: Sequence[str | Path], told: Told) -> list[Head]:
    """The heads of the runs in the directories `names`, in that order; a folder that holds a sweep
    stands for its runs, and files that a comparison or a sweep wrote are passed over.

    Raises:
        LensjaxError: exit 2 for a name that is no run or given twice; 12 for other protocols or
            data; 22 for a run that is incomplete, or of a sweep of which others are missing.
    """
    folders = _folders(names)
    heads = [_head(*each, told) for each in zip(folders, _short(folders), strict=True)]
    require_whole(folders)
    _same_rules(heads, told)
    _same_data(heads, told)
    return heads


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
        unusable(f"incomplete: {why}", folder, "Compare runs that are finished")
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


def _usage(what: str, where: str, remedy: str) -> NoReturn:
    raise LensjaxError(ExitCode.USAGE, what, where, remedy)


def unusable(what: str, folder: Path, remedy: str) -> NoReturn:
    """Raise the error of a run that cannot be compared (exit 22)."""
    raise LensjaxError(ExitCode.GATE_INPUT_INVALID, what, str(folder), remedy)
