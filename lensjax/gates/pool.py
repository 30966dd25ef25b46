"""Work on two cores: numpy lets go of the interpreter while it sorts and multiplies.

for entry in side_by_side(gate_of, protocol.GATES): ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

WORKERS = 2
Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`function` of every item, in order. It must depend on its item alone: then the results do not
    depend on which of them was done first. What it raises is raised here."""
    with ThreadPoolExecutor(WORKERS) as pool:
        yield from pool.map(function, items)
