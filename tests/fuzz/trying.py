"""What a target is, how one ends, and which ends are documented.

Not the targets (`targets` has those of lensjax): light to import, for processes that watch.

    >>> outcome(target, data, folder) in DOCUMENTED
    True
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lensjax.schema import LensjaxError

READ = "read"  # the outcome of what is sound, or only looks odd
DOCUMENTED = {READ, *(f"exit {code}" for code in (2, 10, 11, 12, 17))}


class Target(NamedTuple):
    """`share` of 100 inputs; `make` one input of a random.Random; `run` it in an empty folder, and
    say how it ended; `seeds`, the corpus."""

    share: int
    make: Callable[[random.Random], bytes]
    run: Callable[[bytes, Path], str]
    seeds: Callable[[], tuple[bytes, ...]]


def outcome(target: Target, data: bytes, folder: Path) -> str:
    """How a target ends on `data`; the name and text of an exception that is no LensjaxError."""
    try:
        return target.run(data, folder)
    except LensjaxError as error:
        shown = str(error).isprintable()  # in one line, and no escapes of a terminal
        return f"exit {int(error.code)}" if shown else "a message that cannot be printed"
    except Exception as error:  # a bug in the reader: what a fuzzer is for
        return f"{type(error).__name__}: {error}"[:200]
