"""The rare end of the ranking on the page, and real lenses and look-alikes where a run scored any.

No rates are computed here: they are those of measures.json.

    figure = ranking_figure(ranking_rows(run.measured["ranking"]))
    html = ranking(run, Album(run.workdir / "figures"))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from lensjax.report import intervals, style
from lensjax.report.album import Album
from lensjax.report.drawn import note
from lensjax.report.intervals import Row, estimate
from lensjax.report.markup import Html, join, table, tag
from lensjax.report.measures import as_number
from lensjax.report.parts import of_part, stacked
from lensjax.report.reading import Run
from lensjax.report.words import entries, number

_MOST = 60  # classes of contaminants shown


def ranking_rows(part: Mapping[str, Any]) -> list[Row]:
    """True positive rates, recall@k (limit: what k rows can hold) and precision, as rows."""
    rows = [
        Row(
            f"TPR at FPR {each['fpr']:g}",
            *estimate(each),
            open_="verdict" in each,
            colour=style.ORANGE if "verdict" in each else "",
        )
        for each in part["tpr_at_fpr"]
    ]
    rows += [
        Row(f"TPR{each['false_positives']}", *estimate(each))
        for each in part["tpr_at_false_positives"]
    ]
    rows += [
        Row(f"recall@{each['k']}", *estimate(each), limit=as_number(each["ceiling"]))
        for each in part["recall_at"]
    ]
    at = part["precision_at_recall"]
    recall = f"recall {at['recall']:g}"
    return [
        *rows,
        Row(f"precision at {recall}", *estimate(at["precision"])),
        Row(f"FPR at {recall}", *estimate(at["fpr"])),
    ]


def ranking_figure(rows: Sequence[Row]) -> Figure:
    """Rates with their intervals."""
    figure, (axes,) = style.new_figure(intervals.height(len(rows)))
    intervals.draw_rows(axes, rows, style.BLUE, "share", (0.0, 1.0))
    return figure


def ranking(run: Run, album: Album) -> Html:
    """The top of the list, and catalogues."""
    return tag(
        "div",
        of_part(run, "ranking", lambda part: _ranking(part, album)),
        tag(
            "div",
            tag("h3", "Real lenses and real look-alikes"),
            of_part(run, "catalogues", _catalogues),
        ),
        class_="figures side",
    )


def _ranking(part: dict[str, Any], album: Album) -> Html:
    rows = ranking_rows(part)
    told = ", ".join(f"{row.name} {number(row.value)}" for row in rows)
    few = [each for each in part["tpr_at_fpr"] if "verdict" in each]
    unproven = "".join(f" FPR {each['fpr']:g}: {each.get('reason', '')}." for each in few)
    return album.add(
        "ranking",
        ranking_figure(rows),
        f"Rates at the rare end of the ranking. {told}.",
        f"The top of the list, {number(part['n_pos'])} lenses and {number(part['n_neg'])} "
        "non-lenses, with 95 % intervals. TPR0, TPR10: true positive rate before the first and the "
        "tenth false positive; recall@k: share of all lenses among the k highest scores, black "
        f"mark: the most that k rows can hold. Open diamond: INCONCLUSIVE.{unproven}",
    )


def _catalogues(part: dict[str, Any]) -> Html:
    anchors, contaminants = (part.get(name, {}) for name in ("anchors", "contaminants"))
    return join([_anchors(anchors), _contaminants(contaminants)])


def _anchors(told: dict[str, Any]) -> Html:
    if "state" in told:
        return note(f"Anchors (real lenses): {told['state']}.")
    rows = [
        (f"among the {number(each['k'])} highest", number(each["found"]), stacked(each))
        for each in told["recall_at"]
    ]
    rows += [
        (f"score above {each['score']:g}", number(each["found"]), stacked(each))
        for each in told["recall_above"]
    ]
    caption = (
        f"{number(told['n'])} anchors (real lenses), {number(told['missing'])} without a score, "
        f"counted as missed; ranked among {number(told['negatives'])} non-lenses of test."
    )
    return table(("anchors", "found", "recall (95 % interval)"), rows, caption, "numbers")


def _contaminants(told: dict[str, Any]) -> Html:
    if "state" in told:
        return note(f"Contaminants (real look-alikes): {told['state']}.")
    classes = {"all": told} | dict(list(entries(told["by_class"]).items())[:_MOST])
    columns = ["class", "n", "without a score"]
    columns += [f"FPR above score {each['score']:g}" for each in told["fpr_above"]]
    rows = [
        (
            name or "no class",
            number(each["n"]),
            number(each["missing"]),
            *(stacked(above) for above in each["fpr_above"]),
        )
        for name, each in classes.items()
    ]
    caption = (
        "Contaminants (real look-alikes) taken for lenses, 95 % intervals; one without a score "
        "counts as a false alarm."
    )
    return table(columns, rows, caption, "numbers")
