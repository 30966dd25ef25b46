"""Who holds a run's workdir, asked without taking it: a run that outlived its sweep, as a rule.

Not the lock (lensjax.runs.lock), which is the run's own. The answer is that of the moment.

    holder_of(Path("runs/matrix/b3-seed0"))       # 'host gpu1, pid 4711', or None
"""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

from lensjax.runs import lock


def holder_of(folder: Path) -> str | None:
    """Host and process id of what holds `folder`, as it says itself; None if nothing does, or
    where that cannot be known: the run then finds out."""
    try:
        with open(folder / lock.NAME, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _named(file.read(2**16))
    except OSError:
        pass
    return None


def _named(content: bytes) -> str:
    try:
        told = json.loads(content)
    except ValueError:  # half written: it is held all the same
        told = None
    told = told if isinstance(told, dict) else {}
    host, pid = (told.get(key, "unknown") for key in ("host", "pid"))
    return f"host {host}, pid {pid}"
