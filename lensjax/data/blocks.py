"""Blocks of stamps decoded one by one: pixels, and the faults of every row.

Not a reader: `indexed` and `hdf5` say how a stamp is decoded.

    >>> for block in decoded(shard, range(256), 2, decode, label): ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from lensjax import schema
from lensjax.data.formats import Block, Shard, stamp_fault
from lensjax.data.stamps import validate_planes
from lensjax.data.stampset import Finding
from lensjax.schema import ExitCode, LensjaxError

BLOCK_ROWS = 64
PIECE_ROWS = 256
Decode = Callable[[int, bool], np.ndarray | None]
Label = Callable[[int, bool, str], str]


def pieces(rows: int) -> list[range]:
    """Runs of 256 rows."""
    return [range(start, min(start + PIECE_ROWS, rows)) for start in range(0, rows, PIECE_ROWS)]


def decoded(
    shard: Shard, rows: range, members: int, decode: Decode, label: Label
) -> Iterator[Block]:
    """Blocks of `rows`, of stamps alone or (with two `members`) of stamps and controls.
    `decode(row, control)` gives float32 [3, 64, 64], nanomaggies, or None where a row has no
    control, or raises LensjaxError with the band in `where`; `label(row, control, band)` is added
    to the message of a fault (the file concerned, where that is not the shard)."""

    def fault(row: int, member: int, what: str, band: str, code: ExitCode) -> tuple[int, Finding]:
        control = bool(member)
        message = schema.printable(what + label(row, control, band.removeprefix("band ")))
        return stamp_fault(shard, row, band, control=control, message=message, code=code)

    for first in range(rows.start, rows.stop, BLOCK_ROWS):
        mine = range(first, min(first + BLOCK_ROWS, rows.stop))
        pixels = np.zeros((members, len(mine), len(schema.BANDS), *schema.STAMP_SHAPE[:2]), "f4")
        faults: list[tuple[int, Finding]] = []
        for member in range(members):
            sound = set()
            for row in mine:
                try:
                    if (planes := decode(row, bool(member))) is not None:
                        pixels[member, row - first] = planes
                        sound.add(row)
                except LensjaxError as error:
                    faults.append(fault(row, member, error.what, error.where, error.code))
            for cause in validate_planes(pixels[member]):
                if (row := first + cause.row) in sound:
                    band, code = f"band {cause.band}", ExitCode.DATA_INVALID
                    faults.append(fault(row, member, cause.message, band, code))
        faults.sort(key=lambda one: one[0])
        yield Block(first, pixels, faults)
