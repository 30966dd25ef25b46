"""Stamps to be looked at: which ones, drawn at random by split and class, and as pictures.

Not the colour picture itself, which is the report's (lensjax.report.sheets), nor the page.

    >>> drawn = draw(scan, seed=42)
    >>> pictures = Pictures(scan, drawn.values())
    >>> pictures.colour(17), pictures.difference(16, 17)        # float [64, 64, 3] in 0..1
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from scipy.ndimage import binary_dilation

from lensjax import schema
from lensjax.checks.rows import Rows
from lensjax.checks.scan import Scan
from lensjax.curate.pixels import bad_pixels
from lensjax.data.rows import STAMP_KINDS
from lensjax.report import sheets, style

SHOWN = 8  # random stamps of a split and class
SHOWN_PAIRS = 4  # of a split
BAD_PIXEL = (1.0, 0.0, 1.0)  # magenta: no stretch of a stamp gives it
_JPEG = {"quality": 80, "subsampling": 0}  # a third of the bytes of a PNG, for the page
_COLUMNS, _ZOOM = 6, 3  # of a contact sheet
_CELL, _LINE = 236, 17  # pixels: a picture with the gap beside it, a line of its caption
_POINTS, _LETTERS = 5.0, 28  # of a line


def draw(scan: Scan, seed: int) -> dict[str, np.ndarray]:
    """Rows drawn at random, int64 [k, 1] of lenses, controls and look-alikes of each split ('train
    lens'), one of a host, and [k, 2] of its pairs ('train pair'); those of a set that has none are
    [0, m]. A function of the stamps and of `seed`."""
    rows, control = scan.rows, STAMP_KINDS.index("control")
    classes = {
        "lens": rows.label == 1,
        "control": (rows.label == 0) & (rows.kind == control),
        "look-alike": (rows.label == 0) & (rows.kind != control),
    }
    found = {}
    for k, split in enumerate(schema.SPLITS):
        mine = rows.of_split(split)
        for m, (name, among) in enumerate(classes.items()):
            rng = np.random.default_rng([seed, k, m])
            found[f"{split} {name}"] = _draw(rows, np.flatnonzero(mine & among), rng, SHOWN)[
                :, None
            ]
        rng = np.random.default_rng([seed, k, len(classes)])
        partner = np.full(len(rows), -1)
        partner[scan.pairs[:, 0]] = scan.pairs[:, 1]
        stamps = _draw(rows, np.flatnonzero(mine & (partner >= 0)), rng, SHOWN_PAIRS)
        found[f"{split} pair"] = np.stack([stamps, partner[stamps]], axis=1)
    return found


def _draw(rows: Rows, among: np.ndarray, rng: np.random.Generator, n: int) -> np.ndarray:
    """int64 [k], k <= n: of different hosts, each drawn with as much chance as it has rows."""
    order = among[rng.permutation(len(among))]
    first = np.unique(rows.host[order], return_index=True)[1]
    return order[np.sort(first)[:n]]


class Pictures:
    """Pictures of the stamps in `wanted` (int arrays of rows), read in one go."""

    def __init__(self, scan: Scan, wanted: Iterable[np.ndarray]):
        index = np.unique(np.concatenate([np.zeros(0, np.int64), *(w.ravel() for w in wanted)]))
        self._stamps = dict(zip(index.tolist(), scan.fetch(index), strict=True))

        self._colours: dict[int, np.ndarray] = {}

    def colour(self, row: int) -> np.ndarray:
        """The stamp in colour, float [64, 64, 3] in 0..1."""
        if row not in self._colours:
            self._colours[row] = sheets.composite(self._stamps[row])
        return self._colours[row]

    def difference(self, row: int, other: int) -> np.ndarray:
        """The r band of `row` less that of `other`: red where it is brighter, blue where fainter,
        each on the scale of its own largest difference."""
        both = (self._stamps[k][..., schema.R_BAND].astype(np.float64) for k in (row, other))
        gap = np.subtract(*both)
        size = np.abs(gap).max()
        return colormaps["RdBu_r"](0.5 + 0.5 * gap / (size if size > 0 else 1.0))[..., :3]


def marked(planes: np.ndarray) -> np.ndarray:
    """Colour picture of an unusable stamp, float32 [3, 64, 64] nanomaggies, its bad pixels in
    BAD_PIXEL, and a frame of it two pixels away, or one pixel would go unseen: float [64, 64, 3].
    """
    stamp = np.moveaxis(planes, 0, -1)
    bad = bad_pixels(stamp)
    sound = np.where(np.isfinite(stamp), stamp, 0.0).astype(np.float64)
    picture = sheets.composite(np.where(bad[..., None], 0.0, sound))
    near = [np.asarray(binary_dilation(bad, np.ones((3, 3)), iterations=k)) for k in (2, 3)]
    picture[bad | np.logical_xor(*near)] = BAD_PIXEL
    return picture


def jpeg(picture: np.ndarray) -> bytes:
    """A picture pixel for pixel, row 0 at the bottom."""
    buffer = io.BytesIO()
    imsave(buffer, picture, format="jpeg", origin="lower", pil_kwargs=dict(_JPEG))
    return buffer.getvalue()


def sheet(pictures: Sequence[np.ndarray], captions: Sequence[Sequence[str]]) -> bytes:
    """A contact sheet as PNG, two journal columns wide: pictures six a row, each pixel three by
    three, and below each its caption, of which every line is cut to what has room (the end is
    kept).

    Not the report's, which has room for two short lines and makes axes for each picture: here are
    up to a hundred, each with id, file and row."""
    side, step = _ZOOM * schema.STAMP_SIZE, _CELL + max(map(len, captions)) * _LINE
    width, height = _COLUMNS * _CELL, -(-len(pictures) // _COLUMNS) * step
    size = (width / style.PNG_DPI, height / style.PNG_DPI)
    canvas = FigureCanvasAgg(Figure(figsize=size, dpi=style.PNG_DPI))
    corners = [divmod(k, _COLUMNS) for k in range(len(pictures))]
    corners = [(row * step, column * _CELL) for row, column in corners]
    for (top, left), lines in zip(corners, captions, strict=True):
        canvas.figure.text(
            left / width, 1 - (top + side + _LINE / 4) / height, "\n".join(map(_cut, lines)),
            fontsize=_POINTS, va="top", parse_math=False,
        )  # fmt: skip
    canvas.draw()
    whole = np.array(canvas.buffer_rgba())[..., :3]
    for (top, left), picture in zip(corners, pictures, strict=True):
        large = picture[::-1].repeat(_ZOOM, axis=0).repeat(_ZOOM, axis=1)  # row 0 at the bottom
        whole[top : top + side, left : left + side] = np.rint(255 * large.clip(0, 1))
    buffer = io.BytesIO()
    no_software: Any = {"Software": None}
    imsave(buffer, whole, format="png", metadata=no_software)
    return buffer.getvalue()


def _cut(line: str) -> str:
    """In letters that the font has, and no longer than there is room for."""
    return schema.printable(line).encode("ascii", "backslashreplace").decode()[-_LETTERS:]


def png(figure: Figure) -> bytes:
    """The figure as PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=style.PNG_DPI, metadata={"Software": None})
    return buffer.getvalue()
