"""Mutations of bytes, whatever they are: flips, cuts, repeats, splices, extreme numbers.

Not of a format (`mutate_zip`, `mutate_parquet`, `mutate_fits` and `mutate_text` know those). All
randomness is the given random.Random: the same one makes the same bytes.

    >>> mutated(random.Random("0 17"), data, others=[data])
"""

from __future__ import annotations

import random
from collections.abc import Sequence

Ranges = Sequence[tuple[int, int]]  # first byte, and the one after the last
HOT = 0.7  # share of places inside the hot ranges, where a format keeps its sizes
_EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_WIDE = (*_EXTREMES, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
_WORDS = (
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"PAR1",
    b"\x93NUMPY",
    b"\x1f\x8b",
    b"END     ",
    b"\x80\x04",
)


def mutated(rng: random.Random, data: bytes, others: Sequence[bytes], hot: Ranges = ()) -> bytes:
    """`data` after one to four mutations; pieces of `others` may be put into it."""
    made = bytearray(data)
    for _ in range(how_many(rng)):
        rng.choice(_OPERATIONS)(rng, made, others, hot)
    return bytes(made)


def how_many(rng: random.Random) -> int:
    """Mutations of one input: mostly one, so that the rest of it is looked at."""
    return rng.choice((1, 1, 1, 1, 2, 2, 3, 4))


def place(rng: random.Random, data: bytes | bytearray, hot: Ranges) -> int:
    """A byte of `data`, mostly in a hot range; its length where there is none."""
    if hot and rng.random() < HOT:
        first, end = rng.choice(hot)
        at = rng.randrange(first, max(end, first + 1))
        if at < len(data):
            return at
    return rng.randrange(len(data)) if data else 0


def extreme(rng: random.Random, width: int) -> bytes:
    """A number at the edge of what `width` bytes hold, or near it, little- or big-endian."""
    value = (rng.choice(_WIDE) + rng.choice((-1, 0, 0, 0, 1))) % 2 ** (8 * width)
    return value.to_bytes(width, rng.choice(("little", "big")))


def _flip(rng, made, others, hot):
    del others
    if (at := place(rng, made, hot)) < len(made):
        made[at] ^= 1 << rng.randrange(8)


def _set(rng, made, others, hot):
    del others
    if (at := place(rng, made, hot)) < len(made):
        made[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _number(rng, made, others, hot):
    del others
    number = extreme(rng, rng.choice((2, 4, 4, 8)))
    at = place(rng, made, hot)
    made[at : at + len(number)] = number


def _cut(rng, made, others, hot):
    del others
    at = place(rng, made, hot)
    if rng.random() < 0.3:
        del made[at:]
    else:
        del made[at : at + rng.choice((1, 2, 4, 8, 80, 2880))]


def _insert(rng, made, others, hot):
    del others
    at = place(rng, made, hot)
    made[at:at] = rng.choice((rng.randbytes(rng.randint(1, 64)), rng.choice(_WORDS), bytes(8)))


def _repeat(rng, made, others, hot):
    del others
    at = place(rng, made, hot)
    piece = bytes(made[at : at + rng.choice((1, 4, 16, 46, 80, 512, 2880))])
    made[at:at] = piece * rng.choice((1, 1, 2, 16))


def _zero(rng, made, others, hot):
    del others
    at = place(rng, made, hot)
    count = min(rng.choice((2, 8, 80, 512)), len(made) - at)
    made[at : at + count] = rng.choice((b"\0", b"\xff")) * count


def _splice(rng, made, others, hot):
    other = rng.choice(others) if others else b""
    first = rng.randrange(len(other)) if other else 0
    piece = other[first : first + rng.choice((8, 64, 512, 4096, 2**16))]
    at = place(rng, made, hot)
    if rng.random() < 0.5:
        made[at : at + len(piece)] = piece
    else:
        made[at:at] = piece


_OPERATIONS = (_flip, _flip, _set, _set, _number, _number, _cut, _insert, _repeat, _zero, _splice)
