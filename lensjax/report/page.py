"""The page: its sections in order, in one file that needs no network and runs no script.

A section that cannot be drawn says so in its place: hours of training are not to end without a
report because one array is odd. The page's own policy forbids it to load anything.

    path = write_report(Path("runs/b3"))      # runs/b3/report.html, runs/b3/figures/*
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from lensjax.report import (
    calibration,
    drawn,
    gates_picture,
    health,
    hunter,
    ranking,
    saliency,
    selection,
    strata,
    style,
    tables,
    verdict,
)
from lensjax.report.album import Album
from lensjax.report.markup import Html, join, tag
from lensjax.report.reading import Run, read_run
from lensjax.report.words import shortened

log = logging.getLogger(__name__)

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
SECTIONS = 14  # of a page on which nothing is missing
_CSS = Path(__file__).with_name("page.css")


def write_report(workdir: Path, advance: Callable[[], object] = lambda: None) -> Path:
    """Write `workdir`/report.html and `workdir`/figures/*.{png,pdf}; returns the page's path.

    Reads what the run left; what is absent is said on the page. The same files give the same bytes.
    advance: called after each section (a progress bar's).

    Raises:
        LensjaxError: exit 2 if `workdir` is not a directory.
        OSError: `workdir` cannot be written.
    """
    workdir = Path(workdir)
    run = read_run(workdir)
    album = Album(workdir / "figures")
    with style.styled():
        page = page_html(run, album, advance)
    album.remove_stale()
    path, partial = workdir / "report.html", workdir / "report.html.partial"
    partial.write_text(page, encoding="utf-8")
    os.replace(partial, path)  # a reader sees the old page or the new one, never half
    return path


def page_html(run: Run, album: Album, advance: Callable[[], object] = lambda: None) -> str:
    """The whole page; figures are saved in `album` on the way."""
    sections: list[tuple[str, str, Callable[[], Html]]] = [
        (
            "gates",
            "Gates",
            lambda: join([gates_picture.gates_picture(run, album), tables.gates_table(run)]),
        ),
        ("strata", "Strata", lambda: strata.strata(run, album)),
        ("selection", "Selection function", lambda: selection.selection(run, album)),
        ("calibration", "Calibration", lambda: calibration.calibration(run, album)),
        ("scores", "Ranking and scores", lambda: drawn.scores(run, album)),
        ("ranking", "The rare end", lambda: ranking.ranking(run, album)),
        ("hunter", "What the model looks at", lambda: hunter.hunter(run, album)),
        ("core", "Core reliance", lambda: drawn.reliance(run, album)),
        ("saliency", "Saliency", lambda: saliency.saliency(run, album)),
        ("health", "Red flags", lambda: health.health(run)),
        (
            "training",
            "Training",
            lambda: join([drawn.training(run, album), tables.flags_table(run)]),
        ),
        ("examples", "Examples", lambda: drawn.examples(run, album)),
        ("data", "Data checks (phase 0)", lambda: tables.phase0_table(run)),
        ("provenance", "Provenance", lambda: tables.provenance(run)),
    ]
    if run.refused:
        sections.sort(key=lambda section: section[0] != "data")  # what there is to read
    if run.absences:
        sections.append(("absent", "What is missing", lambda: tables.absences(run)))
    name = run.workdir.resolve().name
    links = [tag("a", title, href=f"#{anchor}") for anchor, title, _ in sections]
    top = tag(
        "div",
        _or_note("verdict", lambda: verdict.verdict_banner(run)),
        _or_note("population", lambda: verdict.population(run)),
        class_="top",
    )
    body = []
    for anchor, title, build in sections:
        body.append(tag("section", tag("h2", title), _or_note(title, build), id=anchor))
        advance()
    return _document(
        f"lensjax report: {name}",
        tag("header", tag("h1", f"lensjax report: {name}")),
        tag("main", top, tag("nav", *links, aria_label="Sections"), *body),
        tag(
            "footer", "Every verdict here is read from gates.json; nothing is judged by this page."
        ),
    )


def _or_note(title: str, build: Callable[[], Html]) -> Html:
    """The section, or why it could not be built: any error in one leaves the others readable."""
    try:
        return build()
    except Exception as error:
        log.warning("report: %s could not be built", title, exc_info=True)
        why = shortened(f"{type(error).__name__}: {error}", 300)
        return drawn.note(f"This part could not be built ({title}): {why}")


def _document(title: str, *body: Html) -> str:
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("title", title),
        tag("style", Html(_CSS.read_text(encoding="utf-8"))),
    )
    return "<!DOCTYPE html>\n" + tag("html", head, tag("body", *body), lang="en") + "\n"
