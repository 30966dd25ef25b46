"""What runs are doing; stop one; verify or reproduce what one left.

python -m lensjax.runs status runs/b3 --watch
python -m lensjax.runs list runs
python -m lensjax.runs stop runs/b3
python -m lensjax.runs verify runs/b3
python -m lensjax.runs reproduce runs/b3
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from lensjax.runs import told
from lensjax.runs.check import reproduce, verify
from lensjax.runs.logs import run_command, say
from lensjax.runs.look import EMPTY, STALLED, Look, find, look
from lensjax.runs.stopping import stop
from lensjax.runs.workdir import Workdir
from lensjax.schema import ExitCode, LensjaxError

WAIT_S = 600.0  # a save and the step before it; a large step on a busy machine
WATCH_S = 2.0
_EPILOG = (
    "exit codes: 0; 2 usage, or nothing has run there; 3 a run has stalled, or did not stop in "
    "time; 13 the run is on another machine; 14 a checkpoint, 22 arrays or a verdict that are not "
    "what the run wrote; 12 another protocol; 16 a folder cannot be read"
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise LensjaxError(ExitCode.USAGE, message, "", f"See {self.prog} --help")


def main(argv: Sequence[str]) -> int:
    """Flags only."""
    flags = _flags(argv)
    return int(flags.command(flags))


def _flags(argv: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(
        prog="python -m lensjax.runs",
        description=__doc__,
        epilog=_EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    words = parser.add_subparsers(required=True, metavar="WORD")

    def word(name: str, command: Callable[[argparse.Namespace], int], about: str, n: str | None):
        added = words.add_parser(name, help=about, description=about, allow_abbrev=False)
        added.add_argument(
            "workdir",
            nargs=n,
            metavar="DIR",
            default=["runs"] if n == "*" else None,
            help="a run's directory",
        )
        added.add_argument("--debug", action="store_true", help="show tracebacks")
        added.set_defaults(command=command)
        return added

    status = word("status", _status, "a run: alive, stalled or finished; step, loss, speed", "+")
    status.add_argument("--watch", action="store_true", help="again every 2 s, until it ends")
    status.add_argument("--json", action="store_true", help="one JSON object a run")
    word("list", _list, "all runs in folders (default: runs), a line each", "*")
    halt = word("stop", _stop, "ask a run to save and end, and wait until it has", None)
    halt.add_argument("--now", action="store_true", help="leave without saving")
    halt.add_argument(
        "--wait", type=float, default=WAIT_S, metavar="S", help="seconds to wait (600)"
    )
    word("verify", _verify, "every checkpoint and array against its SHA-256", None)
    word("reproduce", _reproduce, "the verdict again from the arrays, compared byte by byte", None)
    return parser.parse_args(argv)


def _status(flags: argparse.Namespace) -> int:
    folders = [_folder(name) for name in flags.workdir]
    while True:
        seen = [look(folder) for folder in folders]
        for one in seen:
            _require_a_run(one)
        lines = [json.dumps(told.as_json(one)) if flags.json else told.status(one) for one in seen]
        if flags.watch and sys.stdout.isatty():
            print("\033[H\033[J", end="")
        say("\n".join(lines))
        if not flags.watch or not any(one.is_alive for one in seen):
            return _code(seen)
        time.sleep(WATCH_S)


def _list(flags: argparse.Namespace) -> int:
    seen = [look(run) for name in flags.workdir for run in find(_folder(name))]
    if not seen:
        raise LensjaxError(
            ExitCode.USAGE, "no run is in there", ", ".join(flags.workdir), "Name another folder"
        )
    say(told.table(seen))
    return _code(seen)


def _stop(flags: argparse.Namespace) -> int:
    folder = _folder(flags.workdir)
    _require_a_run(look(folder))
    stopped = stop(folder, wait_s=flags.wait, now=flags.now)
    seen = look(folder)
    step = seen.beat.get("last_good_step")
    told_step = "" if step is None else f"; last good step {step}"
    say(f"{folder}: {seen.state}{'' if stopped else ' (nothing was running)'}{told_step}")
    return int(ExitCode.OK)


def _verify(flags: argparse.Namespace) -> int:
    workdir = Workdir(_folder(flags.workdir))
    seen = look(workdir.path)
    _require_a_run(seen)
    if seen.is_alive:
        raise LensjaxError(
            ExitCode.IN_USE, "a run is writing there", str(workdir.path), "Stop it, or wait for it"
        )
    codes, looked = [], 0
    for found in verify(workdir):
        looked += 1
        codes += [found.code] if found.fault else []
        say(
            f"{'BAD ' if found.fault else 'ok  '} {found.name}"
            f"{told.after(found.fault or found.note)}"
        )
    if not looked:
        say("nothing was saved yet")
    return int(codes[0]) if codes else int(ExitCode.OK)


def _reproduce(flags: argparse.Namespace) -> int:
    workdir = Workdir(_folder(flags.workdir))
    _require_a_run(look(workdir.path))
    differences = reproduce(workdir)
    for name, difference in differences.items():
        say(f"{name}: not what the arrays give: {difference}")
    if differences:
        say("other versions of numpy, scipy or scikit-learn, or an edited file")
        return int(ExitCode.GATE_INPUT_INVALID)
    say(f"reproduced bit for bit: {look(workdir.path).verdict}")
    return int(ExitCode.OK)


def _folder(name: str) -> Path:
    path = Path(name).expanduser()
    if not path.is_dir():
        raise LensjaxError(ExitCode.USAGE, "no such folder", name, "Give the --workdir of a run")
    return path.resolve()


def _require_a_run(seen: Look) -> None:
    if seen.state == EMPTY:
        raise LensjaxError(
            ExitCode.USAGE,
            "nothing has run here",
            str(seen.folder),
            "Give the --workdir of a run; python -m lensjax.runs list DIR names those in DIR",
        )


def _code(seen: Sequence[Look]) -> int:
    stalled = any(one.state == STALLED for one in seen)
    return int(ExitCode.STALLED if stalled else ExitCode.OK)


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
