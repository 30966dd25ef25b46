"""How every figure looks and is saved: one journal column wide, colour-blind safe, same bytes.

Colours are those of Okabe and Ito (2008), never the only sign: lines differ in dash and marker and
bear names. Figures are matplotlib objects without pyplot, so nothing global is drawn on.

    figure, axes = new_figure(height=2.6)
    png = save(figure, Path("runs/b3/figures"), "roc")
"""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLUMN_INCHES = 3.5  # a journal column; 8-point text stays readable on a phone
PAGE_INCHES = 7.1  # two columns
PNG_DPI = 200
FONT_POINTS = 8.0

BLACK, GREY, PALE = "#1a1a1a", "#595959", "#e6e6e6"
BLUE, ORANGE, GREEN, SKY = "#0072B2", "#E69F00", "#009E73", "#56B4E9"
VERMILLION, PURPLE = "#D55E00", "#CC79A7"

CIVIDIS = matplotlib.colormaps["cividis"]  # made for colour-blind readers

KIND_COLOURS = {
    "lens": BLUE,
    "control": ORANGE,
    "ring": GREEN,
    "spiral": PURPLE,
    "merger": VERMILLION,
    "blue_companion": SKY,
}

_RC = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "font.size": FONT_POINTS,
    "axes.labelsize": FONT_POINTS,
    "axes.titlesize": FONT_POINTS,
    "xtick.labelsize": FONT_POINTS - 1,
    "ytick.labelsize": FONT_POINTS - 1,
    "legend.fontsize": FONT_POINTS - 1,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
    "legend.borderpad": 0.2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "pdf.fonttype": 42,  # TrueType: journals refuse type 3
}
# Nothing in a figure tells when or with what version it was made.
_PNG_METADATA = {"Software": None}
_PDF_METADATA = {"Creator": None, "Producer": None, "CreationDate": None}


def styled() -> AbstractContextManager[None]:
    """Context in which figures are made and saved; leaves matplotlib's settings as they were."""
    return matplotlib.rc_context(cast(Any, _RC))


def new_figure(
    height: float,
    rows: int = 1,
    width: float = COLUMN_INCHES,
    columns: int = 1,
    **subplots: object,
) -> tuple[Figure, list[Axes]]:
    """A figure of `rows` times `columns` axes, listed row by row; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **subplots)  # type: ignore[arg-type]
    return figure, list(axes.flat)


def save(figure: Figure, directory: Path, name: str) -> bytes:
    """Write `name`.png and `name`.pdf; returns the PNG's bytes."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, not at each saving
    figure.savefig(directory / f"{name}.pdf", metadata=_PDF_METADATA)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=PNG_DPI, metadata=_PNG_METADATA)
    (directory / f"{name}.png").write_bytes(buffer.getvalue())
    return buffer.getvalue()
