"""Every gate in one picture, those that are not passed in words, and the audit of hard negatives.

Not the verdicts' table (lensjax.report.tables). All numbers are those of gates.json.

    figure = gates_figure(run.gates["gates"])
    html = gates_picture(run, Album(run.workdir / "figures"))
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from lensjax.report import intervals, style
from lensjax.report.album import Album
from lensjax.report.intervals import Row, estimate, pair
from lensjax.report.markup import Html, join, tag
from lensjax.report.measures import as_number
from lensjax.report.parts import bin_name
from lensjax.report.reading import Run
from lensjax.report.words import PASS_ABOVE, entries, number, objects, required_first, words

_DIFFERENCES = ("core_masked_drop", "core_reliance", "theta_e_spread")
_COLOURS = {"PASS": style.BLUE, "FAIL": style.VERMILLION, "ERROR": style.VERMILLION}
_MOST = 40  # gates drawn


def gates_figure(gates: Mapping[str, dict[str, Any]]) -> Figure:
    """Value, interval, threshold and chance of every gate: AUROCs above, differences of AUROC
    below. gates: the entries of gates.json, drawn in their order; required ones are in bold."""
    groups = {
        "AUROC": [name for name in gates if name not in _DIFFERENCES],
        "difference of AUROC": [name for name in gates if name in _DIFFERENCES],
    }
    groups = {unit: names[:_MOST] for unit, names in groups.items() if names}
    sizes = [len(names) for names in groups.values()]
    figure, every = style.new_figure(
        intervals.height(*sizes), rows=len(sizes), height_ratios=[n + 1.5 for n in sizes]
    )
    for axes, (unit, names) in zip(every, groups.items(), strict=True):
        intervals.draw_rows(axes, [_gate_row(name, gates[name]) for name in names], "", unit)
        for label, name in zip(axes.get_yticklabels(), names, strict=True):
            label.set_fontweight("bold" if gates[name].get("required") else "normal")
    return figure


def _gate_row(name: str, gate: dict[str, Any]) -> Row:
    detail = gate.get("detail")
    null = detail.get("null") if isinstance(detail, dict) else None
    verdict = str(gate.get("verdict"))
    return Row(
        name,
        *estimate(gate),
        null=pair(null.get("ci")) if isinstance(null, dict) else (math.nan, math.nan),
        limit=as_number(gate.get("threshold")),
        above=name in PASS_ABOVE,
        state=words(gate.get("reason") or None),
        open_=verdict not in _COLOURS,
        colour=_COLOURS.get(verdict, style.ORANGE),
    )


def gates_picture(run: Run, album: Album) -> Html:
    """The figure of all gates; nothing where none was judged."""
    gates = required_first(entries(run.gates.get("gates")))
    if not gates:
        return Html("")
    told = ", ".join(f"{name} {number(gate.get('value'))}" for name, gate in gates.items())
    figure = album.add(
        "gates",
        gates_figure(gates),
        f"Every gate with interval, threshold and chance. {told}.",
        "Every gate, required ones in bold: value and 95 % interval over bricks. Blue dot: PASS; "
        "vermillion dot: FAIL or ERROR; open orange diamond: INCONCLUSIVE. Black arrow head: the "
        "threshold, pointing to where it is passed. Grey: central 95 % of what a probe reads when "
        "labels are permuted. Numbers of stamps are in the table.",
    )
    beside = tag("div", _not_passed(gates), _hard_negatives(gates, album))
    return tag("div", figure, beside, class_="figures side")


def _not_passed(gates: Mapping[str, dict[str, Any]]) -> Html:
    """The gates that are not plainly passed, as a list: required ones first."""
    states = {name: str(gate.get("verdict")) for name, gate in gates.items()}
    lines = [
        tag(
            "li",
            tag("code", name),
            f" ({'required' if gate.get('required') else 'reported'}): {states[name]}",
            ", with a warning" if gate.get("warn") else "",
            f", {words(gate['reason'])}" if gate.get("reason") else "",
        )
        for name, gate in gates.items()
        if states[name] != "PASS" or gate.get("warn")
    ]
    passed = f"{len(gates) - len(lines)} of {len(gates)} gates passed without a warning"
    if not lines:
        return tag("p", f"{passed}.")
    return join([tag("p", f"{passed}; the others:"), tag("ul", *lines, class_="others")])


def audit_rows(gate: Mapping[str, Any]) -> list[Row]:
    """What tells lenses from hard negatives: the model, then each one-number statistic of the
    shuffle by arc signal to noise (no intervals: the gates give none)."""
    rows = [Row("the model", *estimate(gate), n=gate.get("n_pos"))]
    for each in gate["detail"]["audit"]:
        ends = bin_name(each["arc_snr"])
        rows += [
            Row(
                name if ends == "all" else f"{name}, SNR {ends}",
                as_number(value),
                n=each["n_pos"],
                colour=style.GREY,
                state="empty",
            )
            for name, value in each["auroc"].items()
        ]
    return rows


def audit_figure(rows: Sequence[Row]) -> Figure:
    """The rows beside what chance gives."""
    figure, (axes,) = style.new_figure(intervals.height(len(rows)))
    intervals.draw_rows(axes, rows, style.BLUE, "AUROC")
    axes.axvline(0.5, color=style.GREY, lw=0.8, zorder=1)
    return figure


def _hard_negatives(gates: Mapping[str, dict[str, Any]], album: Album) -> Html:
    """The figure of hard_negative_auroc with its audit; nothing where there is none."""
    gate = gates.get("hard_negative_auroc", {})
    if not isinstance(gate.get("detail"), dict) or not objects(gate["detail"].get("audit")):
        return Html("")
    return album.add(
        "hard_negatives",
        audit_figure(audit_rows(gate)),
        "AUROC against hard negatives, of the model and of one-number statistics.",
        "Lenses against the same light shuffled in azimuth. Blue: the model, with its 95 % "
        "interval. Grey: single statistics that could give the shuffle away; far from 0.5 on "
        "either side, the hard negatives prove little. In brackets the number of lenses.",
    )
