"""The AUROC by strata and by kind of non-lens.

Nothing is measured here: all numbers are those of measures.json, and of auroc_test in gates.json.

    figure = strata_figure(strata_rows(run.measured["strata"], {}))
    html = strata(run, Album(run.workdir / "figures"))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from lensjax.report import intervals, style
from lensjax.report.album import Album
from lensjax.report.drawn import note
from lensjax.report.intervals import Row, estimate
from lensjax.report.markup import Html, table, tag
from lensjax.report.parts import AXES, bin_name, both, of_part, stacked
from lensjax.report.reading import MEASURES, Run
from lensjax.report.words import entries, number, words

_MOST = 30  # bins of a stratum drawn
Groups = Mapping[str, list[Row]]


def strata_rows(part: Mapping[str, Any], by_kind: Mapping[str, dict[str, Any]]) -> Groups:
    """Rows of every stratum of measures.json, and of every kind of non-lens of auroc_test."""
    groups = {}
    for column, told in entries(part).items():
        bins, worst = told["bins"][:_MOST], told.get("worst")
        groups[AXES.get(column, column)] = [
            Row(
                bin_name(each["bin"]) + (" (worst)" if k == worst else ""),
                *estimate(each),
                n=each["n_pos"],
                state=str(each.get("state", "")),
                colour=style.VERMILLION if k == worst else style.BLUE,
            )
            for k, each in enumerate(bins)
        ]
    kinds = [Row(name, *estimate(each), n=each["n_neg"]) for name, each in by_kind.items()]
    return groups | ({"kind of non-lens": kinds} if kinds else {})


def strata_figure(groups: Groups) -> Figure:
    """AUROC with interval, a block of rows for each stratum under one axis."""
    sizes = [len(rows) for rows in groups.values()]
    figure, every = style.new_figure(
        intervals.height(*sizes), len(sizes), sharex=True, height_ratios=[n + 1 for n in sizes]
    )
    shared = intervals.ends([row for rows in groups.values() for row in rows])
    for axes, (name, rows) in zip(every, groups.items(), strict=True):
        intervals.draw_rows(axes, rows, style.BLUE, "", shared)
        axes.set_title(name, loc="left", fontweight="bold", pad=3, parse_math=False)
    every[-1].set_xlabel("AUROC")
    return figure


def strata(run: Run, album: Album) -> Html:
    """AUROC by theta_E, arc SNR, seeing and depth, and against each kind of non-lens."""
    return of_part(run, "strata", lambda part: _strata(part, run, album))


def _strata(part: dict[str, Any], run: Run, album: Album) -> Html:
    detail = entries(run.gates.get("gates")).get("auroc_test", {}).get("detail")
    by_kind = entries(detail.get("by_kind")) if isinstance(detail, dict) else {}
    groups = strata_rows(part, by_kind)
    if not groups:
        return note(f"{MEASURES} has no stratum.")
    told = "; ".join(
        f"{name}: " + ", ".join(f"{row.label} {number(row.value)}" for row in rows)
        for name, rows in groups.items()
    )
    figure = album.add(
        "strata",
        strata_figure(groups),
        f"AUROC by stratum. {told}.",
        "AUROC with 95 % intervals over bricks, of the judged test rows. In brackets the number of "
        "lenses of a bin (non-lenses of a kind). Bins of θ_E and arc signal to noise hold lenses, "
        "against all non-lenses; bins of seeing and depth hold both classes. Vermillion: the worst "
        "bin.",
    )
    rows = [
        (
            AXES.get(column, column),
            words(each.get("against")),
            _worst(each),
            stacked(each.get("spread")),
            number(each.get("outside")),
        )
        for column, each in entries(part).items()
    ]
    columns = ("stratum", "against", "worst bin", "spread", "rows in no bin")
    summary = table(
        columns,
        rows,
        "The worst bin of each stratum, and how far its bins differ, with 95 % intervals.",
    )
    return tag("div", figure, tag("div", summary), class_="figures side")


def _worst(told: dict[str, Any]) -> str:
    worst = told.get("worst")
    if not isinstance(worst, int):
        return "no bin with both classes"
    return f"{bin_name(told['bins'][worst]['bin'])}: {both(told['bins'][worst])}"
