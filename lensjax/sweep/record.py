"""sweep.json: every run of a sweep with its config, seed and state, from before the first starts.

Not the runs' own records. It only ever grows: a sweep that is started again may add configs and
seeds, and may not leave any out or change a config.

    record = begin(folder, plan)
    record.put("b3-seed0", state="running")
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lensjax.gates.compare_sweep import MEMBER, SWEEP, SWEEP_SCHEMA, member_record, read_sweep
from lensjax.gates.protocol import first_difference
from lensjax.runs.files import plain, write_json
from lensjax.runs.workdir import Workdir
from lensjax.schema import ExitCode, LensjaxError
from lensjax.sweep.plan import Plan, Planned

PLANNED, RUNNING, DONE, FAILED, STOPPED = "planned", "running", "done", "failed", "stopped"
_OTHERWISE = "this sweep began otherwise"


@dataclass(frozen=True)
class Record:
    """The object of sweep.json in `folder`, kept on disk."""

    folder: Path
    document: dict[str, Any]

    @property
    def runs(self) -> list[dict[str, Any]]:
        """An entry a run: name, config, seed, workdir, state, exit_code, verdict, device."""
        return self.document["runs"]

    def of(self, name: str) -> dict[str, Any]:
        """The entry of a run."""
        return next(run for run in self.runs if run["name"] == name)

    def put(self, name: str, **changes: Any) -> None:
        """Change an entry, on disk too."""
        self.of(name).update(changes)
        self.write()

    def write(self) -> None:
        """Write sweep.json."""
        write_json(self.folder / SWEEP, self.document)

    def join(self, name: str) -> Path:
        """The folder of a run, made if need be, with its own record of the sweep in it."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        names = [run["name"] for run in self.runs]
        write_json(folder / MEMBER, member_record(self.document["id"], name, names))
        return folder

    def is_finished(self, name: str) -> bool:
        """Is there a verdict, and the arrays that it rests on?"""
        there = Workdir(self.folder / name)
        files = there.gates.is_file() and there.eval_manifest.is_file()
        return self.of(name)["state"] == DONE and files


def begin(folder: Path, plan: Plan) -> Record:
    """Write sweep.json with all runs of the plan, or go on with the one that is there.

    Raises:
        LensjaxError: exit 12 if the sweep that is there has runs that the plan leaves out, or
            another config; 2 if `folder` is that of a run; 22 if sweep.json cannot be read.
    """
    if Workdir(folder).provenance.exists():
        what, remedy = "is the directory of a run", "Name a folder of its own for the sweep"
        raise LensjaxError(ExitCode.USAGE, what, str(folder), remedy)
    before = read_sweep(folder)
    entries = [_entry(run) for run in plan.runs]
    if before is None:
        identity = uuid.uuid4().hex
    else:
        identity = before["id"]
        _refuse_change(folder, before, plan)
        known = {run["name"]: run for run in before["runs"]}
        entries = [{**entry, **known.get(entry["name"], {})} for entry in entries]
    document = {
        "schema": SWEEP_SCHEMA,
        "id": identity,
        "runs": entries,
        "configs": plain(plan.configs),
    }
    record = Record(folder, document)
    record.write()
    for run in plan.runs:
        if (folder / run.name).is_dir():  # of a sweep that has grown
            record.join(run.name)
    return record


def _entry(run: Planned) -> dict[str, Any]:
    return {
        "name": run.name,
        "config": run.spec,
        "seed": run.seed,
        "workdir": run.name,
        "state": PLANNED,
        "exit_code": None,
        "verdict": None,
        "device": None,
    }


def _refuse_change(folder: Path, before: dict[str, Any], plan: Plan) -> None:
    names = {run.name for run in plan.runs}
    left_out = [run["name"] for run in before["runs"] if run["name"] not in names]
    if left_out:
        raise LensjaxError(
            ExitCode.MISMATCH,
            f"{_OTHERWISE}: it lists {len(left_out)} runs that are left out ({left_out[0]}, ...)",
            str(folder / SWEEP),
            "Give all its configs and seeds, or name another --workdir",
        )
    old = before.get("configs")
    for name, config in plain(plan.configs).items():
        known = old.get(name) if isinstance(old, dict) else None
        difference = None if known is None else first_difference(known, config)
        if difference is not None:
            raise LensjaxError(
                ExitCode.MISMATCH,
                f"{_OTHERWISE}: {name}, {difference}",
                str(folder / SWEEP),
                "Undo the change, or name another --workdir: seeds of two configs do not compare",
            )
