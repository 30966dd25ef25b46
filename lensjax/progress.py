"""Progress bars on stderr; and stderr itself, which may be closed before a command ends.

Not the log (lensjax.runs.logs). On a terminal a bar is redrawn in place; where stderr is a file or
a pipe each state is a line of its own, so that no other line is glued to it.

    with progress_bar(desc="train", total=100, unit="step") as bar:
        bar.update()
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable
from typing import IO, Any, cast

from tqdm import tqdm

from lensjax.schema import printable

BAR_DELAY_S = 2.0  # a bar is shown for what takes longer
BAR_EVERY_S = 0.5  # seconds between its updates on a terminal
BAR_EVERY_IN_FILE_S = 30.0  # and where stderr is none
_UP = "\x1b[A"  # what tqdm moves the cursor with


class _Tolerant:
    """sys.stdout or sys.stderr as it is now; a closed one swallows what it is given."""

    def __init__(self, name: str):
        self._name = name

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            getattr(sys, self._name).write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            getattr(sys, self._name).flush()

    def isatty(self) -> bool:
        with contextlib.suppress(OSError, ValueError):
            return getattr(sys, self._name).isatty()
        return False

    def fileno(self) -> int:
        return getattr(sys, self._name).fileno()

    @property
    def encoding(self) -> str:
        return getattr(getattr(sys, self._name), "encoding", None) or "utf-8"


class _Lines(_Tolerant):
    """What tqdm writes to redraw a bar, as lines; what only moves the cursor is left out."""

    def write(self, text: str) -> int:
        line = text.replace(_UP, "").strip()
        if line:
            super().write(line + "\n")
        return len(text)


STDERR = cast("IO[str]", _Tolerant("stderr"))
_LINES = cast("IO[str]", _Lines("stderr"))


def progress_bar(
    iterable: Iterable[Any] | None = None,
    *,
    desc: str,
    total: float | None = None,
    unit: str = "it",
    initial: int = 0,
    disable: bool = False,
) -> tqdm:
    """A bar on stderr, shown for what takes longer than 2 s; to be used as a context manager or
    around an iterable."""
    terminal = STDERR.isatty()
    every = BAR_EVERY_S if terminal else BAR_EVERY_IN_FILE_S
    return tqdm(
        iterable,
        desc=printable(desc),
        total=total,
        unit=unit,
        initial=initial,
        disable=disable,
        file=STDERR if terminal else _LINES,
        delay=BAR_DELAY_S,
        mininterval=every,
        maxinterval=max(every, 10.0),  # tqdm's own; below mininterval its monitor redraws early
        dynamic_ncols=terminal,
        leave=True,
    )
