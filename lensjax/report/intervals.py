"""Estimates with their intervals, as rows below each other: what most figures of a report are.

Not statistics: values and ends are those that the gates wrote. A row without a value says why.

    rows = [Row("at FPR 0.01", *estimate({"value": 0.44, "ci": [0.32, 0.51]}), n=1025)]
    draw_rows(axes, rows, style.BLUE, "true positive rate")
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.markers import CARETLEFTBASE, CARETRIGHTBASE

from lensjax.report import style
from lensjax.report.figures import plain
from lensjax.report.measures import as_number

ROW_INCHES = 0.19
_EDGE = 0.04  # of the axis, beside its ends
_NAN = math.nan


@dataclass(frozen=True)
class Row:
    """One estimate. low, high: its 95 % interval; null: (low, high) of what chance gives; limit:
    a threshold, passed `above` it or below (None: a mark that nothing passes); state: why there is
    no value; open_: drawn hollow, as it is not proven."""

    name: str
    value: float = _NAN
    low: float = _NAN
    high: float = _NAN
    n: int | None = None
    null: tuple[float, float] = (_NAN, _NAN)
    limit: float = _NAN
    above: bool | None = None
    state: str = ""
    open_: bool = False
    colour: str = ""

    @property
    def label(self) -> str:
        """The name, with n where it is known."""
        return plain(self.name) + ("" if self.n is None else f" ({self.n:,})")


def estimate(told: Any) -> tuple[float, float, float]:
    """value, low, high of an entry of gates.json or measures.json; NaN for what is not there."""
    if not isinstance(told, dict):
        return _NAN, _NAN, _NAN
    return (as_number(told.get("value")), *pair(told.get("ci")))


def pair(ends: Any) -> tuple[float, float]:
    """Two numbers of a list; NaN for what is not there."""
    if not isinstance(ends, (list, tuple)) or len(ends) != 2:
        return _NAN, _NAN
    return as_number(ends[0]), as_number(ends[1])


def draw_rows(
    axes: Axes,
    rows: Sequence[Row],
    colour: str,
    name: str,
    limits: tuple[float, float] | None = None,
) -> None:
    """The rows, first on top: a point with its interval; a grey block where chance puts it; a
    line at the limit, its arrow head pointing to where it is passed.

    colour: of rows that have none; name: of the axis, with its unit; limits: of the axis, or None
    for what the rows need.
    """
    place = range(len(rows))
    for y, row in zip(place, rows, strict=True):
        _draw_row(axes, y, row, row.colour or colour)
    axes.set_yticks(place, [row.label for row in rows], parse_math=False)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=style.PALE, lw=0.6, zorder=0)
    axes.set_axisbelow(True)
    axes.set_xlabel(name)
    low, high = limits or ends(rows)
    axes.set_xlim(low, high)
    for y, row in zip(place, rows, strict=True):
        if not math.isfinite(row.value):
            axes.text(
                low + _EDGE * (high - low) / 2,
                y,
                plain(row.state or "no value")[:48],
                va="center",
                color=style.GREY,
                fontstyle="italic",
                fontsize=style.FONT_POINTS - 1.5,
                parse_math=False,
            )


def _draw_row(axes: Axes, y: int, row: Row, colour: str) -> None:
    if math.isfinite(sum(row.null)):
        low, high = row.null
        axes.barh(y, high - low, left=low, height=0.62, color="#c8c8c8", lw=0, zorder=1, gid="null")
    if math.isfinite(row.low + row.high):
        axes.plot(
            [row.low, row.high],
            [y, y],
            color=colour,
            lw=1.6,
            zorder=3,
            gid="interval",
            solid_capstyle="butt",
        )
    if math.isfinite(row.value):
        face = "white" if row.open_ else colour
        axes.plot(
            [row.value],
            [y],
            marker="D" if row.open_ else "o",
            ms=4.2,
            color=colour,
            mfc=face,
            ls="none",
            zorder=4,
            gid="value",
        )
    if math.isfinite(row.limit):
        look = {"color": style.BLACK, "zorder": 2}
        axes.plot([row.limit, row.limit], [y - 0.34, y + 0.34], lw=1.0, gid="limit", **look)
        if row.above is not None:
            head = CARETRIGHTBASE if row.above else CARETLEFTBASE
            axes.plot([row.limit], [y], marker=head, ms=4.5, ls="none", gid="passed", **look)


def ends(rows: Sequence[Row]) -> tuple[float, float]:
    """Ends of an axis that holds all that is drawn."""
    every = [x for row in rows for x in (row.value, row.low, row.high, *row.null, row.limit)]
    finite = [x for x in every if math.isfinite(x)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    margin = _EDGE * (high - low) or 0.05
    return low - margin, high + margin


def height(*counts: int) -> float:
    """Inches of a figure of axes with so many rows each."""
    return sum(0.52 + ROW_INCHES * max(count, 1) for count in counts)
