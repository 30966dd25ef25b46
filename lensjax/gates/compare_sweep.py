"""Which sweep a run belongs to, and which runs of it are not there: no seed is shown alone.

Not the sweep itself (lensjax.sweep writes the records). Two records say it, so that a run that was
copied away still knows its siblings: `sweep.json` in the folder above, and `sweep_member.json` in
the run's own.

    require_whole([Path("runs/matrix/b3-seed0")])      # exit 22: b3-seed1, b3-seed2 are missing
    note("runs/matrix/b3-seed0")                       # a sentence, "" for a run of no sweep
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lensjax.gates.record import read_object
from lensjax.schema import ExitCode, LensjaxError

SWEEP = "sweep.json"  # in the sweep's folder: every run with its config, seed and state
MEMBER = "sweep_member.json"  # in each run's folder
SWEEP_SCHEMA, MEMBER_SCHEMA = "lensjax-sweep-1", "lensjax-sweep-member-1"
_NAMED = 10  # missing runs that a message names
_RECORD = "is not the record of a sweep"


@dataclass(frozen=True)
class Membership:
    """A run's place in a sweep: the sweep's id, its own name there, the names of all runs."""

    sweep: str
    name: str
    runs: tuple[str, ...]


def member_record(sweep: str, name: str, runs: Iterable[str]) -> dict[str, Any]:
    """The object of `sweep_member.json`."""
    return {"schema": MEMBER_SCHEMA, "sweep": sweep, "name": name, "runs": list(runs)}


def read_sweep(folder: str | Path) -> dict[str, Any] | None:
    """The object of `sweep.json` in `folder`, with `id`, and `runs` that have a `name` each; None
    if there is no such file. Raises LensjaxError (exit 22) for one that is anything else."""
    path = Path(folder) / SWEEP
    if not path.exists():
        return None
    record = read_object(path)
    if record is None or record.get("schema") != SWEEP_SCHEMA or not _lists_runs(record):
        raise _unreadable(path)
    return record


def memberships(workdir: str | Path) -> list[Membership]:
    """What both records say of the run in `workdir`; [] for a run of no sweep. Raises LensjaxError
    (exit 22) for a record that cannot be read."""
    folder = Path(os.path.realpath(workdir))
    found = []
    own, path = None, folder / MEMBER
    if path.exists():
        own = read_object(path)
        if own is None or own.get("schema") != MEMBER_SCHEMA or not _is_member(own):
            raise _unreadable(path)
        found.append(Membership(own["sweep"], own["name"], tuple(own["runs"])))
    above = read_sweep(folder.parent)
    if above is not None:
        names = tuple(run["name"] for run in above["runs"])
        if folder.name in names:
            found.append(Membership(above["id"], folder.name, names))
    return found


def require_whole(workdirs: Sequence[Path]) -> None:
    """Raises LensjaxError (exit 22), naming the missing runs, if any of the runs belongs to a sweep
    of which not all are among them."""
    found = [(workdir, each) for workdir in workdirs for each in memberships(workdir)]
    for workdir, each in found:
        there = {other.name for _, other in found if other.sweep == each.sweep}
        missing = [name for name in each.runs if name not in there]
        if missing:
            some = ", ".join(missing[:_NAMED])
            more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
            raise LensjaxError(
                ExitCode.GATE_INPUT_INVALID,
                f"belongs to a sweep of {len(each.runs)} runs, of which {len(missing)} are not "
                f"among those given: {some}{more}",
                str(workdir),
                "Give all of them: some seeds of a sweep alone prove nothing",
            )


def note(workdir: str | Path) -> str:
    """What a verdict on one run of a sweep has to be read with; "" for a run of no sweep."""
    try:
        found = memberships(workdir)
    except LensjaxError as error:  # the verdict does not rest on it
        return str(error)
    for each in found:
        if len(each.runs) > 1:
            return (
                f"{workdir}: one of the {len(each.runs)} runs of a sweep ({each.name}); one seed "
                "alone is no claim. python -m lensjax.gates compare judges them together"
            )
    return ""


def _lists_runs(record: dict[str, Any]) -> bool:
    runs = record.get("runs")
    named = isinstance(runs, list) and all(
        isinstance(run, dict) and isinstance(run.get("name"), str) for run in runs
    )
    return named and isinstance(record.get("id"), str)


def _is_member(record: dict[str, Any]) -> bool:
    runs = record.get("runs")
    names = isinstance(runs, list) and all(isinstance(name, str) for name in runs)
    return names and all(isinstance(record.get(key), str) for key in ("sweep", "name"))


def _unreadable(path: Path) -> LensjaxError:
    remedy = "Put back the one that python -m lensjax.sweep wrote"
    return LensjaxError(ExitCode.GATE_INPUT_INVALID, _RECORD, str(path), remedy)
