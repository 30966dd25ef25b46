"""The selection function as heat maps and along its axes: which arcs are found.

Completeness, intervals and counts are those of measures.json; a cell without lenses is hatched,
never drawn as 0.

    figure = cells_figure(run.measured["selection"])
    html = selection(run, Album(run.workdir / "figures"))
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lensjax.report import intervals, style
from lensjax.report.album import Album
from lensjax.report.intervals import Row, estimate
from lensjax.report.markup import Html, join, tag
from lensjax.report.parts import AXES, bin_name, both, of_part
from lensjax.report.reading import Run
from lensjax.report.words import number

_THETA_E, _SEEING, _SNR = "theta_e_arcsec", "psf_fwhm_arcsec", "arc_snr"
_PLANES = ((_THETA_E, _SNR), (_THETA_E, _SEEING), (_SEEING, _SNR))  # across, upwards
_DARK = 0.55  # of completeness, below which words on a cell are white
_CELL_POINTS = 5.2
Part = Mapping[str, Any]
Edges = Sequence[float | None]


def grids(cells: Sequence[Part], shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Cells as arrays of `shape`: `value`, `low`, `high` (float64, NaN where empty) and `n` (int).

    Raises:
        IndexError: a cell lies outside `shape`.
    """
    found = {name: np.full(shape, math.nan) for name in ("value", "low", "high")}
    n = np.zeros(shape, np.int64)
    for cell in cells:
        at = tuple(cell["at"])
        n[at] = cell["n"]
        for name, number_ in zip(found, estimate(cell), strict=True):
            found[name][at] = number_
    return {**found, "n": n}


def cells_figure(part: Part) -> Figure:
    """All cells: a panel for each bin of seeing, theta_E across and arc SNR upwards."""
    edges = part["axes"]
    shape = tuple(len(edges[name]) - 1 for name in (_THETA_E, _SEEING, _SNR))
    every = grids(part["cells"], shape)
    rows = -(-shape[1] // 2)
    figure, panels = style.new_figure(0.5 + 2.7 * rows, rows, style.PAGE_INCHES, columns=2)
    for k, axes in enumerate(panels):
        if k >= shape[1]:
            axes.set_axis_off()
            continue
        here = {name: grid[:, k, :] for name, grid in every.items()}
        _heat_map(axes, here, edges[_THETA_E], edges[_SNR])
        seeing = bin_name(edges[_SEEING][k : k + 2])
        axes.set_title(f"PSF FWHM {seeing} arcsec", loc="left", fontweight="bold", pad=3)
        axes.set_xlabel(AXES[_THETA_E])
        axes.set_ylabel(AXES[_SNR])
    _colour_bar(figure, panels)
    return figure


def planes_figure(part: Part) -> Figure:
    """The three planes, each over all of the third axis."""
    figure, panels = style.new_figure(2.9, 1, style.PAGE_INCHES, columns=3)
    for axes, (across, upwards) in zip(panels, _PLANES, strict=True):
        x, y = part["axes"][across], part["axes"][upwards]
        name = f"{across} x {upwards}"
        _heat_map(axes, grids(part["margins"][name], (len(x) - 1, len(y) - 1)), x, y)
        axes.set_xlabel(AXES[across])
        axes.set_ylabel(AXES[upwards])
    _colour_bar(figure, panels)
    return figure


def _heat_map(axes: Axes, grid: Mapping[str, np.ndarray], x: Edges, y: Edges) -> None:
    """Completeness as colour, first axis across; in each cell per cent, its interval, and n."""
    axes.imshow(
        np.ma.masked_invalid(grid["value"].T),
        cmap=style.CIVIDIS,
        vmin=0.0,
        vmax=1.0,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
    )
    for (i, j), n in np.ndenumerate(grid["n"]):
        if not n:
            box = Rectangle(
                (i - 0.5, j - 0.5), 1, 1, fill=False, hatch="////", ec="#bdbdbd", lw=0, gid="empty"
            )
            axes.add_patch(box)
            continue
        value, low, high = (100 * grid[name][i, j] for name in ("value", "low", "high"))
        axes.text(
            i,
            j,
            f"{value:.0f} %\n{low:.0f}–{high:.0f}\nn {n:,}",
            ha="center",
            va="center",
            fontsize=_CELL_POINTS,
            linespacing=1.1,
            color="white" if value < 100 * _DARK else style.BLACK,
        )
    for axis, edges in ((axes.xaxis, x), (axes.yaxis, y)):
        names = ["open" if edge is None else f"{edge:.4g}" for edge in edges]
        axis.set_ticks(np.arange(len(edges)) - 0.5, names)
    axes.tick_params(length=2, labelsize=style.FONT_POINTS - 2)


def _colour_bar(figure: Figure, panels: list[Axes]) -> None:
    scale = ScalarMappable(Normalize(0.0, 1.0), style.CIVIDIS)
    bar = figure.colorbar(scale, ax=panels, shrink=0.7, aspect=30, pad=0.01)
    bar.set_label("completeness")
    bar.outline.set_visible(False)  # type: ignore[operator]


def axes_figure(part: Part) -> Figure:
    """Completeness along each axis with Wilson's interval; dotted: of all lenses."""
    groups = {
        name: [
            Row(
                bin_name(part["axes"][name][k : k + 2]),
                *estimate(cell),
                n=cell["n"],
                state=str(cell.get("state", "")),
            )
            for k, cell in enumerate(part["margins"][name])
        ]
        for name in (_THETA_E, _SNR, _SEEING)
    }
    sizes = [len(rows) for rows in groups.values()]
    figure, every = style.new_figure(
        intervals.height(*sizes), len(sizes), sharex=True, height_ratios=[n + 1 for n in sizes]
    )
    for axes, (name, rows) in zip(every, groups.items(), strict=True):
        intervals.draw_rows(axes, rows, style.BLUE, "", (0.0, 1.0))
        axes.set_title(AXES[name], loc="left", fontweight="bold", pad=3)
        overall = estimate(part["completeness"])[0]
        axes.axvline(overall, color=style.GREY, lw=0.8, ls=":", label="all lenses")
    every[-1].set_xlabel("completeness")
    return figure


def selection(run: Run, album: Album) -> Html:
    """The selection function of the judged test lenses."""
    return of_part(run, "selection", lambda part: _selection(part, album))


def _selection(part: dict[str, Any], album: Album) -> Html:
    total, empty = part["completeness"], sum(not cell["n"] for cell in part["cells"])
    told = (
        f"{number(total['found'])} of {number(total['n'])} lenses found, completeness "
        f"{both(total)}, at the logit {number(part['logit'])} that gives a false positive rate of "
        f"{part['fpr_on_val']:g} on val; on test it gives {both(part['fpr'])}. "
        f"{number(part['outside'])} lenses lie in no bin."
    )
    if "verdict" in part:
        told += f" {part['verdict']}: {part.get('reason', '')}."
    words = (
        "In a cell: completeness, 95 % interval (Wilson, per cent), number of lenses. Hatched: no "
        "lens, so nothing is known. open: all beyond the last edge."
    )
    axes = album.add(
        "selection_axes",
        axes_figure(part),
        f"Completeness by Einstein radius, arc signal to noise and seeing. {told}",
        join(
            [
                tag("p", told, " Rates are of injected arcs."),
                f"Completeness along each axis with 95 % intervals (Wilson), {number(total['n'])} "
                "lenses, in brackets those of the bin. Dotted: of all.",
            ]
        ),
    )
    planes = album.add(
        "selection_planes",
        planes_figure(part),
        "Heat maps of completeness in the three planes of Einstein radius, seeing, arc SNR.",
        f"Completeness in each plane, {number(total['n'])} lenses. {words}",
    )
    cells = album.add(
        "selection_cells",
        cells_figure(part),
        f"Heat maps of completeness in all {len(part['cells'])} cells, {empty} of them empty.",
        f"All {len(part['cells'])} cells, {empty} of them empty; {number(total['n'])} lenses. "
        f"{words}",
    )
    return tag(
        "div",
        tag("div", axes, class_="figures one"),
        tag("div", planes, cells, class_="figures wide"),
    )
