"""What the model is really looking at: the shortcut hunter's families and features on the page.

Nothing is hunted here (lensjax.gates.hunter does it); all numbers are those of measures.json.

    figure = families_figure(run.measured["hunter"])
    html = hunter(run, Album(run.workdir / "figures"))
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lensjax.gates.within import CONTROLS, LENSES, LOOKALIKES
from lensjax.report import intervals, style
from lensjax.report.album import Album
from lensjax.report.intervals import Row, estimate, pair
from lensjax.report.markup import NONE, Html, join, table, tag
from lensjax.report.measures import as_number
from lensjax.report.parts import of_part, stacked
from lensjax.report.reading import Run
from lensjax.report.words import interval, number, words

FEATURES = 12  # drawn
_FAMILIES = 30  # drawn, at most
_SIDES = {CONTROLS: ("v", style.BLACK), LOOKALIKES: ("^", style.PURPLE), LENSES: ("s", style.GREEN)}
_CHANCE = 0.05
_TOGETHER = "all together"
Part = Mapping[str, Any]


def family_rows(part: Part) -> tuple[list[Row], list[Row]]:
    """Rows of every family, as listed: does it tell the label (AUROC); does the score follow it
    (share of its variance within classes), and all named features together."""
    found = {"label": part["tells_label"], "score": part["looking_at"]}
    label, score = (
        [
            _row(each["family"], each[side], style.BLUE if each["family"] in names else style.SKY)
            for each in part["families"][:_FAMILIES]
        ]
        for side, names in found.items()
    )
    return label, [*score, _row(_TOGETHER, part["together"], style.GREY)]


def _row(name: str, told: Part, colour: str) -> Row:
    null = told.get("null")
    return Row(
        name,
        *estimate(told),
        null=pair(null.get("ci")) if isinstance(null, dict) else (math.nan, math.nan),
        state=str(told.get("state", "")),
        colour=colour,
    )


def families_figure(part: Part) -> Figure:
    """Bars of both questions, with interval and chance; below also each class by itself."""
    label, score = family_rows(part)
    sizes = [len(label), len(score)]
    figure, (upper, lower) = style.new_figure(
        intervals.height(*sizes) + 0.3, rows=2, height_ratios=[n + 2 for n in sizes]
    )
    _bars(upper, label, 0.5, "AUROC for the label")
    _bars(lower, score, 0.0, "share of the score's variance within classes")
    told = [each["score"] for each in part["families"][:_FAMILIES]] + [part["together"]]
    for side, (marker, colour) in _SIDES.items():
        places = [k for k, each in enumerate(told) if math.isfinite(as_number(each.get(side)))]
        values = [as_number(told[k][side]) for k in places]
        lower.plot(
            values,
            places,
            marker=marker,
            ms=3.4,
            mfc="white",
            mec=colour,
            mew=0.8,
            ls="none",
            label=side.replace("lookalikes", "look-alikes"),
            zorder=5,
        )
    low, high = intervals.ends(
        [*score, *(Row("", value=as_number(t.get(s))) for t in told for s in _SIDES)]
    )
    lower.set_xlim(low, high)
    lower.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3, columnspacing=1.0)
    return figure


def _bars(axes: Axes, rows: Sequence[Row], chance: float, name: str) -> None:
    """Bars from what chance gives, under the rows."""
    for y, row in enumerate(rows):
        if math.isfinite(row.value):
            axes.barh(
                y,
                row.value - chance,
                left=chance,
                height=0.7,
                color=row.colour,
                alpha=0.35,
                lw=0,
                zorder=2,
                gid="bar",
            )
    intervals.draw_rows(axes, rows, style.BLUE, name)
    axes.axvline(chance, color=style.GREY, lw=0.8, zorder=1)


def feature_rows(features: Sequence[Part]) -> tuple[list[Row], list[Row]]:
    """The first features: rank correlation with the score within classes; AUROC for the label.
    Hollow where the p of the largest of all features is above 0.05."""
    score, label = (
        [
            Row(
                each["feature"],
                *estimate(each[side]),
                state=str(each[side].get("state", "")),
                open_=not as_number(each[side].get("p")) <= _CHANCE,
                colour=colour,
            )
            for each in features[:FEATURES]
        ]
        for side, colour in (("score", style.BLUE), ("label", style.VERMILLION))
    )
    return score, label


def features_figure(features: Sequence[Part]) -> Figure:
    """Single features, strongest first."""
    score, label = feature_rows(features)
    figure, (upper, lower) = style.new_figure(intervals.height(len(score), len(label)), rows=2)
    intervals.draw_rows(upper, score, style.BLUE, "rank correlation with the score")
    upper.axvline(0.0, color=style.GREY, lw=0.8, zorder=1)
    intervals.draw_rows(lower, label, style.VERMILLION, "AUROC for the label")
    lower.axvline(0.5, color=style.GREY, lw=0.8, zorder=1)
    return figure


def hunter(run: Run, album: Album) -> Html:
    """Which simple features tell the label, and which the score follows beyond it."""
    return of_part(run, "hunter", lambda part: _hunter(part, run, album))


def _hunter(part: dict[str, Any], run: Run, album: Album) -> Html:
    rows = run.measured.get("ranking", {})
    n = f"{number(rows.get('n_pos'))} lenses and {number(rows.get('n_neg'))} non-lenses of test"
    looking = ", ".join(map(str, part["looking_at"])) or "nothing that it was shown"
    tells = ", ".join(map(str, part["tells_label"])) or "nothing that was tried"
    honest = ", ".join(f"{name} {number(value)}" for name, value in part["honest"].items())
    lead = tag(
        "p",
        tag("b", "The score follows: "),
        f"{looking}. ",
        tag("b", "The label is told by: "),
        f"{tells}. Arcs add light honestly to all that is measured near the galaxy: read the "
        "controls first, which have no arc.",
    )
    families = album.add(
        "hunter",
        families_figure(part),
        f"Families of simple features. The score follows {looking}; the label is told by {tells}.",
        f"Families of simple features, fitted on val, {n}. Above: a probe's AUROC for the label. "
        "Below: share of the variance of the score within a class that the family explains, each "
        "class also by itself. Bars with 95 % intervals over bricks, dark blue where the whole "
        "interval lies above chance (grey: central 95 % of the null). Taken off as honest before, "
        f"as shares: {honest or 'nothing'}.",
    )
    listed = part["features"]
    features = album.add(
        "hunter_features",
        features_figure(listed),
        "Single features. " + ", ".join(str(each["feature"]) for each in listed[:FEATURES]) + ".",
        f"The {min(FEATURES, len(listed))} of {number(len(listed))} single features that go with "
        f"the score most, {n}, with 95 % intervals over bricks. Hollow: no more than the largest "
        "of so many features reaches by chance (p above 0.05).",
    )
    pictures = tag("div", families, features, class_="figures two")
    return join([lead, pictures, _table(part)])


def _table(part: Part) -> Html:
    rows: list[tuple[object, ...]] = [
        (
            join([tag("code", each["family"]), tag("span", each["about"], class_="asks")]),
            _with_chance(each["label"]),
            _with_chance(each["score"]),
            *(number(each["score"].get(side)) for side in _SIDES),
            join([words(each["reading"]), tag("span", words(each["action"]), class_="asks")]),
        )
        for each in part["families"][:_FAMILIES]
    ]
    together = part["together"]
    rows.append(
        (
            _TOGETHER,
            NONE,
            _with_chance(together),
            *(number(together.get(side)) for side in _SIDES),
            "all named features at once; the rest is arcs, shapes, or what no array holds",
        )
    )
    columns = (
        "family",
        "tells the label (AUROC)",
        "the score follows it (share)",
        "controls",
        "look-alikes",
        "lenses",
        "read it as",
    )
    return table(columns, rows, "The same in numbers, 95 % intervals.", "hunted")


def _with_chance(told: Part) -> Html:
    null = told.get("null")
    if not isinstance(null, dict):
        return stacked(told)
    chance = f"chance {interval(null.get('ci'))}, p {number(null.get('p'))}"
    return join([stacked(told), tag("span", chance, class_="asks")])
