"""Stop a run: ask the process that holds its workdir, and wait until it has let go.

Never by name and never by age: the process is the one that has the lock file open. It saves at its
next safe point and exits 75; the same command goes on from there.

    step = stop(Path("runs/b3"), wait_s=600.0)
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import time
from pathlib import Path

from lensjax.runs import lock
from lensjax.schema import ExitCode, LensjaxError

LOOK_EVERY_S = 0.1


def stop(folder: Path, *, wait_s: float, now: bool = False) -> bool:
    """Ask the run in `folder` to stop, and wait until it has; False if none was running. `now`:
    ask it twice, so that it leaves without saving (what was saved stays good).

    Raises:
        LensjaxError: exit 13 if it runs on another machine, or where its process cannot be told
            or signalled; exit 3 if it has not ended within `wait_s` seconds.
    """
    holder = lock.holder_of(folder)
    if holder is None:
        return False
    pid = _process(folder, holder)
    for _ in range(2 if now else 1):
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            break
        except PermissionError:
            raise _not_ours(folder, holder, "its process is another user's") from None
    end = time.monotonic() + wait_s
    while lock.holder_of(folder) is not None:
        if time.monotonic() > end:
            raise LensjaxError(
                ExitCode.STALLED,
                f"asked to stop {wait_s:.0f} s ago, it still runs ({lock.named(holder)})",
                str(folder),
                f"Wait, or python -m lensjax.runs stop --now {shlex.quote(str(folder))}",
            )
        time.sleep(LOOK_EVERY_S)
    return True


def _process(folder: Path, holder: dict[str, object]) -> int:
    pid, host = holder.get("pid"), holder.get("host")
    if host != socket.gethostname():
        raise _not_ours(folder, holder, f"it runs on host {host}")
    if not isinstance(pid, int) or not lock.is_held_by(folder, pid):
        raise _not_ours(folder, holder, "which process it is cannot be told from here")
    return pid


def _not_ours(folder: Path, holder: dict[str, object], why: str) -> LensjaxError:
    return LensjaxError(
        ExitCode.IN_USE,
        f"{why} ({lock.named(holder)}); nothing was signalled",
        str(folder),
        "Stop it there: python -m lensjax.runs stop, or Ctrl-C in its terminal",
    )
