"""What a run is doing, seen from outside: by its lock, its heartbeat and its files.

Not the run, and nothing here stops or changes one. Alive is what the kernel's lock says, never the
age of a file; stalled is a living run whose heartbeat is overdue by its own account.

    seen = look(Path("runs/b3"))
    seen.state        # "training", "stalled", "finished", ...
    find(Path("runs"))                                  # the run directories in there
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lensjax.gates.record import read_object
from lensjax.runs import lock
from lensjax.runs.workdir import ATTIC, Workdir

STARTING = "starting"  # alive; no step of this start is done yet: data, checks, compiling
STALLED = "stalled"  # alive; the next heartbeat is overdue
STOPPED = "stopped"  # not alive, not finished: the same command goes on
REFUSED = "refused"  # not alive; the data checks did not pass
FINISHED = "finished"  # there is a verdict
EMPTY = "empty"  # nothing has run here
STAGES = {"train": "training", "validate": "validating", "evaluate": "evaluating"}
_DEPTH = 3  # folders of runs in folders of sweeps


@dataclass(frozen=True)
class Look:
    """A run as it was at one moment. Files that are absent or unreadable are empty here."""

    folder: Path
    state: str
    holder: Mapping[str, Any] = field(default_factory=dict)  # lock.holder_of; empty if not alive
    beat: Mapping[str, Any] = field(default_factory=dict)  # heartbeat.json
    age_s: float | None = None  # of the heartbeat
    epoch: Mapping[str, Any] = field(default_factory=dict)  # the last line of metrics.jsonl
    config: Mapping[str, Any] = field(default_factory=dict)
    verdict: str | None = None

    @property
    def is_alive(self) -> bool:
        """Does a process hold the workdir?"""
        return bool(self.holder)

    @property
    def left_s(self) -> float | None:
        """Seconds of training to the end of the plan, at the speed of late; patience may end it
        sooner. None if unknown, or if it does not train."""
        total, rate = self.beat.get("total_steps"), self.beat.get("steps_per_s")
        if not self.is_alive or self.state == STARTING or not total or not rate:
            return None
        return max(total - self.beat["step"], 0) / rate


def look(folder: Path) -> Look:
    """The run in `folder`.

    Raises:
        LensjaxError: exit 16 if the folder cannot be read.
    """
    workdir = Workdir(folder.resolve())
    holder = lock.holder_of(workdir.path)
    beat = read_object(workdir.heartbeat) or {}
    at = beat.get("time")
    age = max(time.time() - at, 0.0) if isinstance(at, (int, float)) else None
    judged = (read_object(workdir.gates) if workdir.eval_manifest.is_file() else None) or {}
    return Look(
        workdir.path,
        _state(workdir, holder, beat, age, bool(judged)),
        holder=(holder or {"pid": "unknown"}) if holder is not None else {},
        beat=beat,
        age_s=age,
        epoch=_last_epoch(workdir.metrics),
        config=read_object(workdir.config) or {},
        verdict=judged.get("verdict"),
    )


def _state(
    workdir: Workdir,
    holder: Mapping[str, Any] | None,
    beat: Mapping[str, Any],
    age: float | None,
    judged: bool,
) -> str:
    if holder is None:
        summary = read_object(workdir.phase0) or {}
        if judged:
            return FINISHED
        if summary.get("all_passed") is False:
            return REFUSED
        return STOPPED if _is_run(workdir.path) else EMPTY
    if beat.get("pid") != holder.get("pid") or beat.get("host") != holder.get("host"):
        return STARTING  # the heartbeat is of an earlier start, or there is none yet
    if age is not None and age > beat.get("due_s", float("inf")):
        return STALLED
    return STAGES.get(str(beat.get("stage")), "judging")


def find(folder: Path) -> list[Path]:
    """Run directories in `folder`, itself included, sorted; attics are left out."""
    return sorted(_find(folder, _DEPTH))


def _is_run(folder: Path) -> bool:
    """Has a run begun in here?"""
    return any((folder / name).is_file() for name in ("train.log", "config.json", "heartbeat.json"))


def _find(folder: Path, depth: int) -> list[Path]:
    if _is_run(folder):
        return [folder]
    try:
        inner = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]
    except OSError:
        return []
    if not depth:
        return []
    return [
        found
        for path in inner
        if not path.name.startswith((ATTIC, "."))
        for found in _find(path, depth - 1)
    ]


def _last_epoch(path: Path) -> dict[str, Any]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        found = json.loads(lines[-1]) if lines else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
