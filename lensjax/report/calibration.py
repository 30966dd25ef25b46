"""Calibration on the page: reliability before and after the two maps, and what stays on the sky.

No map is fitted or applied here; all numbers are those of measures.json.

    figure = reliability_figure(run.measured["calibration"]["maps"])
    html = calibration(run, Album(run.workdir / "figures"))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lensjax.report import style
from lensjax.report.album import Album
from lensjax.report.intervals import estimate
from lensjax.report.markup import NONE, Html, join, table, tag, text
from lensjax.report.measures import as_number
from lensjax.report.parts import of_part, stacked
from lensjax.report.reading import Run
from lensjax.report.words import number, words

NAMES = {"none": "as it is", "temperature": "temperature", "isotonic": "isotonic"}
_LOOKS = {
    "none": (style.BLUE, "o"),
    "temperature": (style.VERMILLION, "s"),
    "isotonic": (style.GREEN, "^"),
}
_PANELS = {"before": ("none",), "after, maps fitted on val": ("temperature", "isotonic")}


def reliability_figure(maps: Mapping[str, Any]) -> Figure:
    """Share of lenses against mean probability of a bin, with its interval: before, and after."""
    figure, panels = style.new_figure(5.2, rows=2, sharex=True)
    for axes, (title, names) in zip(panels, _PANELS.items(), strict=True):
        axes.plot([0, 1], [0, 1], color=style.GREY, lw=0.8, ls=":", label="perfect")
        for name in names:
            colour, marker = _LOOKS[name]
            x, y, low, high = reliability_points(maps[name]["reliability"])
            axes.vlines(x, low, high, color=colour, lw=1.0, alpha=0.7)
            axes.plot(
                x, y, color=colour, marker=marker, ms=3.5, lw=0.8, mfc="white", label=NAMES[name]
            )
        axes.set_title(title, loc="left", fontweight="bold", pad=3)
        axes.set_ylabel("share of lenses")
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.legend(loc="upper left")
    panels[-1].set_xlabel("mean probability of the bin")
    return figure


def reliability_points(bins: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Mean probability, share of lenses and its interval's ends, of every bin: float64 [4, k]."""
    points = [(as_number(each.get("probability")), *estimate(each)) for each in bins]
    return np.array(points, float).reshape(-1, 4).T


def calibration(run: Run, album: Album) -> Html:
    """How far probabilities can be believed, on test and on the sky."""
    return of_part(run, "calibration", lambda part: _calibration(part, album))


def _calibration(part: dict[str, Any], album: Album) -> Html:
    maps = part["maps"]
    told = ", ".join(f"{NAMES[name]} {number(maps[name]['ece']['value'])}" for name in NAMES)
    figure = album.add(
        "calibration",
        reliability_figure(maps),
        f"Reliability diagram before and after calibration. Expected calibration error: {told}.",
        f"Reliability of {number(part['n'])} test stamps in bins of equal counts, with 95 % "
        f"intervals (Wilson); maps fitted on {number(part['fit_rows'])} val stamps, temperature "
        f"{number(part['temperature'])}. Half of these stamps are lenses; on the sky hardly any "
        "galaxy is.",
    )
    rows = [
        (
            NAMES[name],
            stacked(maps[name]["ece"]),
            number(maps[name]["ece"].get("floor")),
            stacked(maps[name]["brier"]),
            stacked(maps[name]["log_loss"]),
        )
        for name in NAMES
    ]
    columns = ("scores", "ECE", "ECE if perfect", "Brier score", "log loss (nats)")
    quality = table(
        columns, rows, "Calibration with 95 % intervals over bricks; lower is better.", "numbers"
    )
    side = tag("div", quality, _on_sky(part["on_sky"]))
    return tag("div", figure, side, class_="figures side")


def _on_sky(sky: dict[str, Any]) -> Html:
    rows = [
        (
            words(each["threshold"]),
            stacked(each["tpr"]),
            stacked(each["fpr"]),
            _precision(each["precision"]),
            join(
                tag("div", f"{NAMES[name]} {_small(each['claimed'].get(name))}") for name in NAMES
            ),
        )
        for each in sky["thresholds"]
    ]
    columns = (
        "flagged above",
        "true positive rate",
        "false positive rate",
        "precision on the sky",
        "probability claimed",
    )
    return table(
        columns,
        rows,
        f"What a threshold means where {sky['prevalence']:g} of the galaxies are lenses, if their "
        "non-lenses were those of test. A claimed probability far above the precision is not to be "
        "trusted there.",
        "numbers",
    )


def _precision(told: dict[str, Any]) -> Html:
    value, (low, high) = told["value"], told["ci"]
    if value is None:
        return text("none flagged" if low is None else f"at least {_small(low)}")
    return join([_small(value), tag("span", f"{_small(low)} to {_small(high)}", class_="ends")])


def _small(value: Any) -> str:
    """Two significant digits: precisions on the sky are far below a thousandth."""
    return f"{value:.2g}" if isinstance(value, (int, float)) else NONE
