"""The sweep: runs what is not finished, passes a request to stop on, and compares at the end.

A run that fails does not stop the others and is named last. Started again, finished runs are left
alone and an interrupted one goes on: each child is main.py, which resumes by itself. One that is
still running, as it outlived an earlier sweep, is waited for.

    code = run_sweep(make_plan(["a1", "b3"], [0, 1, 2], "demo"), "runs/matrix")
"""

from __future__ import annotations

import logging
import signal
import sys
import time
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lensjax.configuration import ROOT
from lensjax.gates.compare import compare
from lensjax.gates.compare_command import write_comparison
from lensjax.gates.compare_heads import Told
from lensjax.gates.compare_runs import read_runs
from lensjax.gates.compare_table import verdict_lines
from lensjax.gates.record import GATES, read_object
from lensjax.runs.detached import CONSOLE, last_line
from lensjax.runs.lock import holder_of, named
from lensjax.runs.logs import say
from lensjax.runs.signals import StopRequest
from lensjax.runs.workdir import open_workdir
from lensjax.schema import ExitCode, LensjaxError
from lensjax.sweep.children import Children
from lensjax.sweep.plan import Plan, Planned
from lensjax.sweep.record import DONE, FAILED, RUNNING, STOPPED, Record, begin

log = logging.getLogger(__name__)
LOOK_EVERY_S = 0.2
PATIENCE_S = 5.0  # with runs that are told to leave at once, before they are killed
# Exit codes of a run that came to a verdict, the worst first.
VERDICTS = (
    ExitCode.GATE_INPUT_INVALID,
    ExitCode.GATE_FAILED,
    ExitCode.INCONCLUSIVE,
    ExitCode.OK,
)

Command = Callable[[Planned, Path], list[str]]


def main_command(accept_change: bool = False) -> Command:
    """What starts a run: main.py with the same Python."""
    more = ["--accept-change"] if accept_change else []

    def command(run: Planned, workdir: Path) -> list[str]:
        main = str(ROOT / "main.py")
        return [sys.executable, main, *run.arguments, f"--workdir={workdir}", *more]

    return command


class SweepStop(StopRequest):
    """A second request ends the runs too: `at_once` turns True. A third leaves them and exits at
    once, as the second does while none runs."""

    def __init__(self, children: Children) -> None:
        super().__init__()
        self.at_once = False
        self._children = children

    def _handle(self, number: int, frame: types.FrameType | None) -> None:
        if self.requested and self._children.running and not self.at_once:
            self.at_once = True
        else:
            super()._handle(number, frame)


def run_sweep(
    plan: Plan,
    path: str | Path,
    *,
    devices: Sequence[str] = (),
    command: Command | None = None,
) -> ExitCode | int:
    """Run what is not finished, then compare; returns the exit code.

    devices: as CUDA_VISIBLE_DEVICES names them, one run at a time on each, or k on one that is
        there k times; without any, one run after another, on all that JAX finds.
    command: what starts a run.

    Returns: 75 if stopped; else the code of the first run that came to no verdict; else that of
        the worst verdict: 22, 20, 21, and 0 if all are GREEN.

    Raises:
        LensjaxError: exit 13 if another sweep (or run) holds the folder, and as `record.begin`.
    """
    children = Children(devices or [None])
    with open_workdir(path) as workdir, SweepStop(children) as stop:
        for notice in workdir.notices:
            log.warning(notice)
        record = begin(workdir.path, plan)
        _run_all(plan, record, children, command or main_command(), stop)
        stop.raise_if_requested(str(workdir.path))
        failed = [run for run in record.runs if run["state"] != DONE]
        if not failed:
            _compare(record)
        for run in failed:
            log.error("%s", _fate(record, run))
        if failed:
            log.error("no comparison: not all runs came to a verdict. Mend it and run again")
        return _exit_code(record.runs)


def _run_all(
    plan: Plan, record: Record, children: Children, command: Command, stop: SweepStop
) -> None:
    """Every run that is not finished, as many at a time as there is room for."""
    waiting = [run for run in plan.runs if not record.is_finished(run.name)]
    if len(waiting) < len(plan.runs):
        log.info("%d of %d runs are finished", len(plan.runs) - len(waiting), len(plan.runs))
    told, said = False, set[str]()
    while children.running or (waiting and not stop.requested):
        while children.free and not stop.requested:
            run = _next(waiting, record, said)
            if run is None:
                break
            folder = record.join(run.name)
            device = children.start(run.name, command(run, folder), folder / CONSOLE)
            record.put(run.name, state=RUNNING, exit_code=None, verdict=None, device=device)
            log.info("%s: started%s; see %s", run.name, _on(device), folder / CONSOLE)
        if stop.requested and not told:
            children.stop()
            told = True
        if stop.at_once and children.running:
            log.warning("%s again: ending %d runs and leaving", stop.by, children.running)
            children.end(PATIENCE_S)
        for name, code in children.ended():
            _end(record, name, code, stop.requested)
        time.sleep(LOOK_EVERY_S)


def _next(waiting: list[Planned], record: Record, said: set[str]) -> Planned | None:
    """Takes the first run out of `waiting` that no living process holds; None if there is none.
    Those that are held are waited for, and said to be, once (`said`)."""
    for run in waiting:
        holder = _held_by(record.folder / run.name)
        if holder is None:
            waiting.remove(run)
            return run
        if run.name not in said:
            said.add(run.name)
            what = "is running by itself, as it outlived an earlier sweep; waiting for it to end"
            log.warning("%s: %s (%s)", run.name, what, named(holder))
    return None


def _held_by(folder: Path) -> dict[str, Any] | None:
    try:
        return holder_of(folder)
    except LensjaxError:  # cannot be known: the run finds out, and says so
        return None


def _on(device: str | None) -> str:
    return "" if device is None else f" on device {device}"


def _end(record: Record, name: str, code: int, asked: bool) -> None:
    """Enter how a run ended."""
    judged = read_object(record.folder / name / GATES) or {}
    stopped = code == ExitCode.STOPPED or code < 0  # by a signal, before it could save
    state = DONE if code in VERDICTS else STOPPED if stopped else FAILED
    verdict = judged.get("verdict") if state != STOPPED else None
    record.put(name, state=state, exit_code=code, verdict=verdict)
    if state == DONE:
        log.info("%s: %s", name, verdict)
    elif not (asked and stopped):
        log.warning("%s", _fate(record, record.of(name)))


def _fate(record: Record, run: dict[str, Any]) -> str:
    """How a run without a verdict ended, with the last thing that it said."""
    code = run["exit_code"]
    how = "was not run" if code is None else f"ended with exit code {code}"
    if code is not None and code < 0:
        how = f"was ended by {signal.Signals(-code).name}"
    last = last_line(record.folder / run["name"] / CONSOLE)
    return f"{run['name']}: {how}{f' ({last})' if last else ''}"


def _compare(record: Record) -> None:
    """Compare all runs, write the comparison into the sweep's folder, print the verdicts."""
    folders = [record.folder / run["name"] for run in record.runs]
    log.info("comparing %d runs", len(folders))
    document = compare(read_runs(folders, Told()))
    paths = write_comparison(record.folder, document)
    say(verdict_lines(document))
    say(f"comparison: {paths[0]} (and {', '.join(path.name for path in paths[1:])})")


def _exit_code(runs: Sequence[dict[str, Any]]) -> ExitCode | int:
    """The sweep's exit code from its runs'."""
    codes = [run["exit_code"] for run in runs]
    for code in codes:
        if code not in VERDICTS:
            return ExitCode.STOPPED if code is None or code < 0 else code
    return next(code for code in VERDICTS if code in codes)
