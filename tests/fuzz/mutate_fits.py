"""Mutations of FITS files: cards rewritten, doubled, dropped, ends of headers lost, bytes flipped.

Not of tables. A card keeps its 80 bytes and a header its blocks, unless the mutation is about that.

    >>> mutated(random.Random("0 17"), data, others=[data])
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Sequence

from tests.fuzz import mutate
from tests.fuzz.mutate_text import ESCAPES, NUMBERS

BLOCK, CARD = 2880, 80
_KEYWORDS = (
    *("SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "NAXIS999", "EXTEND", "PCOUNT"),
    *("GCOUNT", "GROUPS", "BSCALE", "BZERO", "BLANK", "BUNIT", "EXPTIME", "MAGZERO", "FPA.ZP"),
    *("PIXSCALE", "CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD1_2"),
    *("CD2_1", "CD2_2", "CDELT1", "CDELT2", "CROTA2", "PC1_1", "PC001001", "CUNIT1", "LONPOLE"),
    *("LATPOLE", "RADESYS", "EQUINOX", "FILTER", "BAND", "BANDS", "BAND0", "XTENSION", "ZIMAGE"),
    *("ZCMPTYPE", "BSOFTEN", "TFORM1", "THEAP", "CONTINUE", "HIERARCH", "OBJECT", "END", "COMMENT"),
)
_INTEGERS = (
    *("0", "1", "-1", "2", "3", "63", "64", "65", "999", "1000", "8", "16", "32", "-32", "-64"),
    *("2147483647", "-2147483648", "4294967296", "9223372036854775807", "-9223372036854775808"),
    *("9" * 30, "1.5", "6.4E1", "64.0", "1D400", "1E308"),
)
_TEXTS = (
    *("'nanomaggy'", "'counts'", "'adu/s'", "'Jy'", "''", "'", "'it''s'", "'unclosed", "'g'"),
    *("'r'", "'z'", "'grz'", "'zrg'", "'RA---TAN'", "'DEC--TAN'", "'RA---TPV'", "'GLON-CAR'"),
    *("'RA---TAN-SIP'", "'ICRS'", "'FK4'", "'IMAGE'", "'BINTABLE'", "'TABLE'", "'&'", "T", "F"),
    *("(1.0, 2.0)", "", "/ comment", "\x7f", "\xff"),
)


def mutated(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """FITS bytes, or gzip bytes around them, that were those of `data` before."""
    wrapped = data[:2] == b"\x1f\x8b"
    if wrapped and rng.random() < 0.3:
        return mutate.mutated(rng, data, others, [(0, 16)])
    plain = gzip.decompress(data) if wrapped else data
    if rng.random() < 0.65:
        for _ in range(mutate.how_many(rng)):
            plain = rng.choice(_CARDS)(rng, plain)
    else:
        plain = mutate.mutated(rng, plain, others, [_header(plain)])
    if rng.random() < 0.1:
        plain = plain[: rng.choice((0, 80, BLOCK - 1, BLOCK, BLOCK + 1, len(plain) - 1))]
    if rng.random() < 0.03:
        plain += bytes(rng.choice((BLOCK, 2**22)))
    return gzip.compress(plain, 1, mtime=0) if wrapped or rng.random() < 0.03 else plain


def _header(data: bytes) -> tuple[int, int]:
    end = data.find(b"END     ")
    return (0, end if end > 0 else BLOCK)


def _cards(data: bytes) -> list[int]:
    """Where the cards begin: those of the first header, and mostly of what follows it."""
    end = _header(data)[1]
    return list(range(0, max(CARD, min(end + CARD, len(data))), CARD))


def _rewrite(rng: random.Random, data: bytes) -> bytes:
    """A card's value, or all of it, replaced."""
    at = rng.choice(_cards(data))
    keyword = data[at : at + 8]
    if rng.random() < 0.4:
        keyword = rng.choice(_KEYWORDS).encode().ljust(8)[:8]
    return data[:at] + card(rng, keyword) + data[at + CARD :]


def card(rng: random.Random, keyword: bytes) -> bytes:
    """A card of 80 bytes with a value that is seldom right."""
    words = (*_TEXTS, *NUMBERS, *(f"'{escape}'" for escape in ESCAPES))
    value = rng.choice(_INTEGERS if rng.random() < 0.5 else words).encode("utf-8", "replace")
    sign = rng.choice((b"= ", b"= ", b"= ", b"=", b"  ", b" ="))
    made = keyword + sign + rng.choice((value.rjust(20), value.ljust(20), value))
    return made.ljust(CARD)[:CARD]


def _drop(rng: random.Random, data: bytes) -> bytes:
    at = rng.choice(_cards(data))
    return data[:at] + data[at + CARD : _header(data)[1]] + b" " * CARD + data[_header(data)[1] :]


def _double(rng: random.Random, data: bytes) -> bytes:
    """A card once more, in the place of another or pushing all that follows out of step."""
    first, at = rng.choice(_cards(data)), rng.choice(_cards(data))
    length = CARD if rng.random() < 0.8 else 0
    return data[:at] + data[first : first + CARD] + data[at + length :]


def _lose_end(rng: random.Random, data: bytes) -> bytes:
    at = _header(data)[1]
    made = rng.choice((b"END    X", b"        ", b"\0" * 8, b"END=    ", b"end     "))
    blank = rng.choice((b"", b" " * BLOCK, b" " * BLOCK * 300))
    return data[:at] + made + data[at + 8 : at + CARD] + blank + data[at + CARD :]


def _move(rng: random.Random, data: bytes) -> bytes:
    """Blocks exchanged, or one lost or doubled."""
    at = BLOCK * rng.randrange(max(1, len(data) // BLOCK))
    kind = rng.randrange(3)
    if kind == 0:
        return data[:at] + data[at + BLOCK :]
    if kind == 1:
        return data[:at] + data[at : at + BLOCK] + data[at:]
    return data[at:] + data[:at]


_CARDS = (_rewrite, _rewrite, _rewrite, _rewrite, _drop, _double, _lose_end, _move)
