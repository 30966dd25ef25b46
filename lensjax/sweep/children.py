"""The processes of a sweep: one a run, started, watched, and told to stop by their own ids.

Nothing is ever killed by name, and no process that was not started here. A child has a process
group of its own, so that Ctrl-C reaches it once, from the sweep.

    children = Children(slots=["0", "1"])
    children.start("b3-seed0", ["python", "main.py", ...], log=Path("console.log"))
    for name, code in children.ended(): ...
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_MEMORY = "XLA_PYTHON_CLIENT_MEM_FRACTION"  # of a GPU, that JAX takes at its start
_USED = 0.9  # of a GPU's memory, by all runs that share it
_TELL_EVERY_S = 0.1


@dataclass(frozen=True)
class Child:
    """A process and where it runs: `device` None is wherever JAX finds."""

    name: str
    process: subprocess.Popen[bytes]
    device: str | None


class Children:
    """At most as many processes as there are `slots`: devices, or None for one process alone. A
    device that is there k times takes k processes, each with a k-th of its memory."""

    def __init__(self, slots: Sequence[str | None]):
        self._slots, self._free, self._running = list(slots), list(slots), list[Child]()

    @property
    def free(self) -> bool:
        """Is there room for one more?"""
        return bool(self._free)

    @property
    def running(self) -> int:
        """How many run."""
        return len(self._running)

    def start(self, name: str, command: Sequence[str], log: Path) -> str | None:
        """Start a process, which sees its own device alone; gives that. All that it says is added
        to `log`."""
        device = self._free.pop(0)
        with open(log, "ab") as file:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._seen(device)},
                start_new_session=True,
            )
        self._running.append(Child(name, process, device))
        return device

    def _seen(self, device: str | None) -> dict[str, str]:
        """What tells JAX its device, and its share of it."""
        if device is None:
            return {}
        share = self._slots.count(device)
        told = {"CUDA_VISIBLE_DEVICES": device}
        if share > 1 and _MEMORY not in os.environ:
            told[_MEMORY] = f"{_USED / share:.3f}"
        return told

    def ended(self) -> list[tuple[str, int]]:
        """Name and exit code of those that ended since the last call; minus a signal's number."""
        ended = [child for child in self._running if child.process.poll() is not None]
        for child in ended:
            self._running.remove(child)
            self._free.append(child.device)
        return [(child.name, int(child.process.returncode)) for child in ended]

    def stop(self) -> None:
        """Ask all to save and end (SIGTERM)."""
        for child in self._running:
            child.process.terminate()

    def end(self, patience_s: float) -> None:
        """End all, and wait until they have: SIGTERM again and again, as a run leaves at the second
        and two in a row may arrive as one; after `patience_s` seconds SIGKILL."""
        until = time.monotonic() + patience_s
        while any(child.process.poll() is None for child in self._running):
            for child in self._running:
                if time.monotonic() < until:
                    child.process.terminate()
                else:
                    child.process.kill()
            time.sleep(_TELL_EVERY_S)
