"""Requests to stop: SIGTERM, SIGUSR1 and SIGINT set a flag that the loop reads between steps.

A second request exits at once (75; what was good stays good). SIGHUP is ignored: a closed terminal
stops nothing. The handlers found are put back at the end.

    with StopRequest() as stop:
        while not stop.requested:
            ...
"""

from __future__ import annotations

import contextlib
import os
import signal
import types
from typing import Any, Self

from lensjax.schema import ExitCode, LensjaxError

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class StopRequest:
    """`requested` turns True at the first signal; `by` names it. Main thread only."""

    def __init__(self) -> None:
        self.by: str | None = None
        self._before: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        """Has somebody asked this run to stop?"""
        return self.by is not None

    def raise_if_requested(self, where: str = "") -> None:
        """Stop here, where nothing needs saving.

        Raises:
            LensjaxError: exit 75 after a signal.
        """
        if self.requested:
            raise LensjaxError(
                ExitCode.STOPPED, f"stopped on {self.by}", where, "Run again to go on"
            )

    def __enter__(self) -> Self:
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._handle)
        self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()

    def _handle(self, number: int, frame: types.FrameType | None) -> None:
        name = signal.Signals(number).name
        if self.requested:
            _say(f"{name} again: leaving now\n")
            os._exit(ExitCode.STOPPED)
        self.by = name
        _say(f"{name}: stopping at the next safe point; once more to leave at once\n")


def _say(text: str) -> None:
    """Straight to stderr: a signal handler must enter neither logging nor print again."""
    with contextlib.suppress(OSError):
        os.write(2, text.encode())
