"""Start a run that outlives the terminal: in a session of its own, no tmux needed.

Not a daemon: the same command, the same exit codes in train.log, found by `python -m lensjax.runs`.
What it says on the console is added to DIR/console.log.

    code = start([sys.executable, "main.py", "--config=...", "--workdir=DIR"], Path("DIR"))
"""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from lensjax.runs import lock
from lensjax.runs.files import refusal
from lensjax.runs.logs import say
from lensjax.schema import ExitCode

CONSOLE = "console.log"  # in a run's folder: what its process said
_TAIL = 2000  # bytes of it in which the last line is looked for
LOOK_EVERY_S = 0.05


def start(command: Sequence[str], folder: Path) -> int:
    """Start `command`, which locks `folder`, and return when it holds it: 0, or its exit code if it
    ended before (its last line is then printed).

    Raises:
        LensjaxError: exit 16 if DIR/console.log cannot be written.
    """
    path = folder / CONSOLE
    try:
        console = open(path, "ab")  # noqa: SIM115 (the child has it)
    except OSError as error:
        raise refusal(error, str(path)) or error from None
    with console:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    while (code := process.poll()) is None:
        holder = lock.holder_of(folder)
        if holder is not None and holder.get("pid") == process.pid:
            process.returncode = 0  # as far as we go: nobody waits for it
            name = shlex.quote(str(folder))
            say(f"running as process {process.pid}; what it says is in {path}")
            say(f"watch it: python -m lensjax.runs status --watch {name}")
            say(f"stop it:  python -m lensjax.runs stop {name}")
            return int(ExitCode.OK)
        time.sleep(LOOK_EVERY_S)
    say(last_line(path))
    return code


def last_line(path: Path) -> str:
    """The last thing that a process said into `path`; empty if nothing, or where that cannot be
    read."""
    try:
        with open(path, "rb") as file:
            file.seek(max(path.stat().st_size - _TAIL, 0))
            lines = file.read().decode(errors="backslashreplace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
