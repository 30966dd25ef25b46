"""The image of a FITS file: its header read card by card within bounds, its pixels as they are.

Not astropy.io.fits, which opens whatever it is given: it unpacks bombs, looks for a missing END
through the whole file, and maps what a header claims. Here sizes are checked against the file
before anything is read, and only the plane asked for is. Pixels are held to astropy's in the tests.
FITS standard 4.0 (Pence et al. 2010, A&A 524, A42; fits.gsfc.nasa.gov), images alone.

    >>> image = open_image(Bytes(filesystem, path))
    >>> image.shape, image.number("EXPTIME")
    ((120, 120), 1204.0)
    >>> pixels = image.plane(0)                        # [y, x], native order, BSCALE applied
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from lensjax.data.cutouts import check_shape
from lensjax.data.npz import damaged, refused
from lensjax.data.reading import Bytes
from lensjax.schema import ExitCode, LensjaxError

BLOCK_BYTES, CARD_BYTES = 2880, 80
MAX_HEADER_BLOCKS = 256  # 9,216 cards; a stack of hundreds of exposures lists them in some 2,000
MAX_HDUS = 16
_TYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}  # by BITPIX
_KEYWORD = re.compile(rb"[ -~]{8}")
_HIERARCH = re.compile(rb"HIERARCH +([^=']{1,60}?) *=(.*)", re.DOTALL)
_VALUE = re.compile(
    rb" *(?:'(?P<text>(?:[^']|'')*)'|(?P<logical>[TF])"
    rb"|(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[EDed][+-]?\d{1,4})?))? *(?:/.*)?",
    re.DOTALL,
)
Value = str | float | bool


@dataclass(frozen=True)
class Image:
    """An image: `shape` is (y, x) or (planes, y, x), `cards` the values of its header, and of the
    primary header where its own has none."""

    shape: tuple[int, ...]
    cards: dict[str, bytes]
    file: Bytes
    start: int  # byte of the first pixel

    @property
    def planes(self) -> int:
        """Number of planes."""
        return self.shape[0] if len(self.shape) == 3 else 1

    def number(self, keyword: str) -> float | None:
        """The number of a card; None without. Raises LensjaxError (DATA_INVALID) for words."""
        return _number(self.cards, keyword)

    def text(self, keyword: str) -> str | None:
        """The text of a card; None without, or if blank. Raises likewise."""
        value = _value(self.cards, keyword)
        if value is not None and not isinstance(value, str):
            raise damaged(f"{keyword} is {value!r}, expected text")
        return value or None

    def plane(self, k: int) -> np.ndarray:
        """Plane `k` [y, x] in native order, float32 or float64: BSCALE and BZERO applied, unsigned
        integers exactly, blanks NaN. Raises LensjaxError (DATA_INVALID)."""
        if not 0 <= k < self.planes:
            raise damaged(f"plane {k} of a file that has {self.planes}")
        kind = np.dtype(_TYPES[int(self.number("BITPIX") or 0)])
        height, width = self.shape[-2:]
        size = height * width * kind.itemsize
        raw = np.frombuffer(self.file.read(self.start + k * size, size), kind)
        with np.errstate(all="ignore"):  # what is not finite is named by those who validate
            return _physical(raw.astype(kind.newbyteorder("=")), self.cards).reshape(height, width)


def open_image(file: Bytes) -> Image:
    """The first image with pixels among the HDUs of `file`.

    Raises LensjaxError: REFUSED_INPUT for a header, a number of HDUs or a claimed size beyond
    bounds; DATA_INVALID for a missing END, truncated data, no image, wrong dimensions, compressed
    tiles and asinh-scaled pixels."""
    start, primary = 0, {}
    for k in range(MAX_HDUS):
        if start >= file.size:
            break
        cards, begin = _header(file, start)
        kind = _kind(cards, first=k == 0)
        sides, size = _sizes(cards)
        file.hold(begin + size)
        if kind == "IMAGE" and sides and 0 not in sides:
            inherited = {name: card for name, card in primary.items() if not _is_own(name)}
            return _checked(Image(sides[::-1], {**inherited, **cards}, file, begin))
        primary = primary or cards
        start = begin + math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES
    else:
        raise refused(f"no image in the first {MAX_HDUS} HDUs")
    raise damaged("no HDU has an image" if start else "truncated (0 bytes)")


def _checked(image: Image) -> Image:
    if len(image.shape) not in (2, 3):
        what = f"{len(image.shape)} dimensions {image.shape}, expected an image or a cube"
        raise LensjaxError(ExitCode.DATA_INVALID, what)
    check_shape(image.shape[-2:])
    if "BSOFTEN" in image.cards:
        what = "pixels are asinh-scaled (BSOFTEN, BOFFSET)"
        raise LensjaxError(ExitCode.DATA_INVALID, f"{what}: write them as linear flux")
    return image


def _header(file: Bytes, start: int) -> tuple[dict[str, bytes], int]:
    """The cards of a header by keyword, and the byte after it. A keyword that stands there twice
    with different cards has the value b'' (never that of a card)."""
    cards: dict[str, bytes] = {}
    for k in range(MAX_HEADER_BLOCKS):
        begin = start + k * BLOCK_BYTES
        if begin + BLOCK_BYTES > file.size:
            raise damaged(
                f"truncated, or no END card: the header does not end in {file.size} bytes"
            )
        block = file.read(begin, BLOCK_BYTES)
        for at in range(0, BLOCK_BYTES, CARD_BYTES):
            card = block[at : at + CARD_BYTES]
            if card[:8] == b"END     ":
                return cards, begin + BLOCK_BYTES
            if not _KEYWORD.match(card):
                where = f"card {k * (BLOCK_BYTES // CARD_BYTES) + at // CARD_BYTES}"
                raise damaged(f"no END card, or a damaged header: {where} is {card[:8]!r}")
            _add(cards, card)
    raise refused(f"a header of more than {MAX_HEADER_BLOCKS * BLOCK_BYTES} bytes")


def _add(cards: dict[str, bytes], card: bytes) -> None:
    if card[8:9] == b"=":
        name, value = card[:8].decode("ascii").rstrip(), card[9:]
    elif long := _HIERARCH.fullmatch(card):
        name, value = long[1].decode("latin-1").strip().upper(), long[2]
    else:
        return  # a comment
    cards[name] = value if cards.get(name, value) == value else b""


def _value(cards: dict[str, bytes], keyword: str) -> Value | None:
    card = cards.get(keyword)
    if card is None:
        return None
    match = _VALUE.fullmatch(card)
    if card == b"" or not match:
        what = "is there twice, and differs" if card == b"" else f"cannot be read: {card[:70]!r}"
        raise damaged(f"header card {keyword} {what}")
    if match["text"] is not None:
        return match["text"].replace(b"''", b"'").decode("latin-1").strip()
    if match["logical"]:
        return match["logical"] == b"T"
    return float(match["number"].upper().replace(b"D", b"E")) if match["number"] else None


def _number(cards: dict[str, bytes], keyword: str) -> float | None:
    value = _value(cards, keyword)
    if isinstance(value, (str, bool)):
        raise damaged(f"{keyword} is {value!r}, expected a number")
    if value is not None and math.isinf(value):
        raise damaged(f"{keyword} is beyond the range of numbers")
    return value


def _integer(cards: dict[str, bytes], keyword: str, absent: int | None = None) -> int:
    value = _number(cards, keyword)
    if value is None and absent is not None:
        return absent
    if value is None or not value.is_integer():
        raise damaged(f"{keyword} is {value}, expected an integer")
    if not 0 <= value <= 2**62 and keyword != "BITPIX":
        raise refused(f"{keyword} is {value:g}")
    return int(value)


def _kind(cards: dict[str, bytes], *, first: bool) -> str:
    """'IMAGE' or the type of another extension."""
    if first:
        if _value(cards, "SIMPLE") is not True:
            raise damaged("not a FITS file (no SIMPLE = T)")
        if _value(cards, "GROUPS") is True:
            raise damaged("random groups, expected an image")
        return "IMAGE"
    kind = _value(cards, "XTENSION")
    if not isinstance(kind, str):
        raise damaged("an extension without XTENSION")
    if _value(cards, "ZIMAGE") is True:
        what = "tile-compressed (ZIMAGE)"
        raise LensjaxError(ExitCode.DATA_INVALID, f"{what}: unpack it first (funpack)")
    return kind


def _sizes(cards: dict[str, bytes]) -> tuple[tuple[int, ...], int]:
    """The sides as the header has them (x first), and the bytes of the data."""
    bitpix, dimensions = _integer(cards, "BITPIX"), _integer(cards, "NAXIS")
    if bitpix not in _TYPES:
        raise damaged(f"BITPIX is {bitpix}, expected one of {', '.join(map(str, _TYPES))}")
    if dimensions > 999:
        raise refused(f"NAXIS is {dimensions}")
    sides = tuple(_integer(cards, f"NAXIS{k}") for k in range(1, dimensions + 1))
    elements = math.prod(sides) if sides else 0
    per_group = elements + _integer(cards, "PCOUNT", 0)
    return sides, abs(bitpix) // 8 * _integer(cards, "GCOUNT", 1) * per_group


def _is_own(keyword: str) -> bool:
    """Is a card about its own HDU, and not to be inherited: structure, scaling, coordinates?"""
    own = ("NAXIS", "CRPIX", "CRVAL", "CDELT", "CTYPE", "CUNIT", "CD1", "CD2", "PC", "CROTA")
    return keyword.startswith(own) or keyword in ("BITPIX", "BSCALE", "BZERO", "BLANK", "BUNIT")


def _physical(raw: np.ndarray, cards: dict[str, bytes]) -> np.ndarray:
    """BZERO + BSCALE x raw (FITS 4.0, section 4.4.2.5), blanks NaN."""
    scale, zero = _number(cards, "BSCALE"), _number(cards, "BZERO")
    scale, zero = 1.0 if scale is None else scale, 0.0 if zero is None else zero
    if raw.dtype.kind == "f":
        return raw if (scale, zero) == (1.0, 0.0) else zero + scale * raw.astype(np.float64)
    blank, bits = _number(cards, "BLANK"), 8 * raw.dtype.itemsize
    if raw.dtype.kind == "i" and (scale, zero) == (1.0, 2.0 ** (bits - 1)):
        unsigned = raw.view(f"u{raw.dtype.itemsize}") ^ np.array(1 << (bits - 1), f"u{bits // 8}")
        pixels = unsigned.astype(np.float64)  # the sum in floating point loses the low bits of 64
    else:
        pixels = zero + scale * raw.astype(np.float64)
    if blank is not None:
        pixels[raw == blank] = np.nan
    return pixels
