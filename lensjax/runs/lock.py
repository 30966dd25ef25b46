"""The lock of a workdir: the kernel's, so that it ends with the process that holds it.

Not a lock file whose age or pid is judged: flock on DIR/.lock is freed by the kernel at any death,
so no lock is ever stale and none is ever broken. What the file says (host, pid, start, command) is
for the message alone.

    with held(folder) as took_over:
        ...
    holder_of(folder)       # {"host": ..., "pid": ..., "started": ..., "command": ...}, or None
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lensjax.runs.files import unusable
from lensjax.schema import ExitCode, LensjaxError

NAME = ".lock"
_TRIES, _PAUSE_S = 5, 0.02  # `holder_of` holds a lock for microseconds: it is no run


@contextlib.contextmanager
def held(folder: Path) -> Iterator[str | None]:
    """Hold the lock of `folder` (a real path) until the block ends. Gives a sentence on the run
    before if that one died holding it, else None.

    Raises:
        LensjaxError: exit 13 if another process holds it (named in the message); exit 16 if the
            folder cannot be written.
    """
    descriptor = _locked(folder)
    try:
        earlier = _holder(descriptor)
        _write_holder(descriptor, folder)
        yield (
            f"the run before ended without letting go ({named(earlier)}); taking over"
            if earlier
            else None
        )
    finally:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)  # let go in order: nothing to say to the next run
        os.close(descriptor)


def holder_of(folder: Path) -> dict[str, Any] | None:
    """What the living process that holds the lock of `folder` says of itself (host, pid, started,
    command; any may be absent); None if nothing holds it. The answer is that of the moment.

    Raises:
        LensjaxError: exit 16 if that cannot be found out.
    """
    try:
        descriptor = os.open(folder / NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unusable(error, folder, "cannot be read") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(descriptor)
    except OSError as error:
        raise unusable(error, folder, "cannot be read") from None
    finally:
        os.close(descriptor)
    return None


def is_held_by(folder: Path, pid: int) -> bool:
    """Does process `pid` of this machine have the lock file open? Numbers of processes are used
    again, and mean others in a container: a process that has not is not to be signalled."""
    with contextlib.suppress(OSError):
        lock = os.stat(folder / NAME)
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.path.samestat(lock, os.stat(f"/proc/{pid}/fd/{name}")):
                    return True
    return False


def _locked(folder: Path) -> int:
    """An open descriptor of DIR/.lock with the lock on it. Not inherited by programs started."""
    path = folder / NAME
    tries = 0
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise unusable(error, folder, "cannot be written") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(path, descriptor):
                return descriptor
        except BlockingIOError:
            holder = _holder(descriptor)
            os.close(descriptor)
            tries += 1
            if tries < _TRIES:
                time.sleep(_PAUSE_S)
                continue
            raise LensjaxError(
                ExitCode.IN_USE,
                f"a run is using this workdir ({named(holder)})",
                str(folder),
                f"Wait for it, stop it (python -m lensjax.runs stop {shlex.quote(str(folder))}), "
                "or name another --workdir",
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise unusable(error, folder, "cannot be locked") from None
        os.close(descriptor)  # somebody removed the file that we locked: take the new one


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _write_holder(descriptor: int, folder: Path) -> None:
    holder = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join([sys.executable, *sys.argv]),
    }
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)
    except OSError as error:
        raise unusable(error, folder, "cannot be written") from None


def _holder(descriptor: int) -> dict[str, Any]:
    try:
        holder = json.loads(os.pread(descriptor, 2**16, 0))
    except ValueError:  # empty, or half written: the lock holds all the same
        return {}
    return holder if isinstance(holder, dict) else {}


def named(holder: Mapping[str, Any]) -> str:
    """Host, pid, start and command, for the reader."""
    host, pid, started, command = (
        holder.get(key, "unknown") for key in ("host", "pid", "started", "command")
    )
    return f"host {host}, pid {pid}, started {started}: {command}"
