"""The page of a description: one file that needs no network and runs no script, and its pictures.

Not the numbers (`describe_document` made them, and describe.json has them all): what is shown here
is read from that document, and from pixels for the pictures. The look is the report's.

    >>> path = write_pages(Path("described"), told, scan.rows, looked, pictures)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lensjax import schema
from lensjax.checks.rows import Rows
from lensjax.curate import contact_sheet, describe_figures, describe_stamps
from lensjax.curate.contact_sheet import Pictures
from lensjax.curate.describe_tables import (
    SIZE_WORDS,
    causes_table,
    count_table,
    differences_table,
    extremes_table,
    overview,
    strata_table,
)
from lensjax.curate.pixels import Looked
from lensjax.report import page, style
from lensjax.report.album import image
from lensjax.report.drawn import note
from lensjax.report.markup import Html, join, tag
from lensjax.runs.files import write_bytes

FOLDER = "pictures"
_CSS = """
.single, .double, .triple { align-items: start; }
.single { grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); }
#strangest .single { grid-template-columns: repeat(auto-fill, minmax(min(12.5rem, 45%), 1fr)); }
.double { grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); }
.triple { grid-template-columns: repeat(auto-fill, minmax(min(100%, 18rem), 1fr)); }
.stamps.single img { width: 100%; }
.stamps.triple img { width: 33.333%; }
.stamps.single figure { max-width: 12.5rem; }
.stamps.double figure { max-width: 20rem; }
.stamps.triple figure { max-width: 28rem; }
.stamps .value { font-weight: 700; }
.gap { white-space: nowrap; }
.beyond { font-weight: 700; }
table { margin-top: 1.2rem; }
table + .figures { margin-top: 1.2rem; }
h4 { font-size: .95rem; margin: 1rem 0 .1rem; }
.meaning { color: var(--soft); font-size: .85rem; }
td, tbody th { font-variant-numeric: tabular-nums; }
"""


class Saver:
    """Writes pictures into a folder, and remembers which."""

    def __init__(self, folder: Path):
        self._folder = folder
        for name in PICTURES:  # none of an earlier description may stay
            (folder / f"{name}.png").unlink(missing_ok=True)

    def save(self, name: str, picture: bytes) -> None:
        """Write NAME.png. Raises KeyError for a name not in PICTURES."""
        if name not in PICTURES:
            raise KeyError(name)
        write_bytes(self._folder / f"{name}.png", picture, durable=False)

    def figure(self, name: str, figure: Figure, alt: str, caption: object) -> Html:
        """The figure, saved and inside the page."""
        where = tag("span", f"{FOLDER}/{name}.png", class_="file")
        picture = contact_sheet.png(figure)
        self.save(name, picture)
        return tag("figure", image(picture, alt), tag("figcaption", caption, " ", where))


PICTURES = (
    "sky",
    *(f"histogram_{name}" for name in describe_figures.UNITS),
    *describe_stamps.SHEETS,
)


def write_pages(
    out: Path, told: Mapping[str, Any], rows: Rows, looked: Looked, pictures: Pictures
) -> Path:
    """Write `out`/describe.html and `out`/pictures/*.png (the folder is there); returns the page's
    path. `pictures` has the stamps that the document names (`shown`). The same data give the same
    bytes. Raises OSError."""
    saver = Saver(out / FOLDER)
    with style.styled():
        text = page_html(told, rows, looked, pictures, saver)
    path = out / "describe.html"
    write_bytes(path, text.encode(), durable=False)
    return path


def page_html(
    told: Mapping[str, Any], rows: Rows, looked: Looked, pictures: Pictures, saver: Saver
) -> str:
    """The whole page; figures are saved on the way."""
    sections: list[tuple[str, str, Callable[[], Html]]] = [
        ("counts", "What there is", lambda: _counts(told, rows, saver)),
        ("findings", "What the reader found", lambda: _findings(told, looked)),
        ("strata", "Strata", lambda: _strata(told)),
        ("numbers", "Distributions", lambda: _distributions(told, saver)),
        ("stamps", "Random stamps", lambda: describe_stamps.samples(told, pictures, saver.save)),
        (
            "strangest",
            "The strangest by each check",
            lambda: describe_stamps.strangest(told, pictures, saver.save),
        ),
        ("extremes", "Most extreme values", lambda: _extremes(told)),
    ]
    links = [tag("a", title, href=f"#{anchor}") for anchor, title, _ in sections]
    body = [tag("section", tag("h2", title), make(), id=anchor) for anchor, title, make in sections]
    title = f"What is in {told['title']}"
    text = page._document(
        title,
        tag("header", tag("h1", title)),
        tag("main", _top(told), tag("nav", *links, aria_label="Sections"), *body),
        tag("footer", "Nothing here is a verdict. Every number is in describe.json."),
    )
    return text.replace("</head>", f"<style>{_CSS}</style></head>", 1)


def _top(told: Mapping[str, Any]) -> Html:
    return tag(
        "div",
        tag("p", "A description, not a verdict: nothing was judged, repaired or left out but what "
            "could not be read. For a verdict run"),
        tag("p", tag("code", told["phase0"])),
        class_="banner none",
    )  # fmt: skip


def _counts(told: Mapping[str, Any], rows: Rows, saver: Saver) -> Html:
    parts = [overview(told), count_table(told)]
    figure = describe_figures.sky_map(rows)
    if figure is None:
        return join([*parts, note("No position is known, so there is no map of the sky.")])
    hosts = {name: one["hosts"] for name, one in told["counts"]["splits"].items()}
    words = ", ".join(f"{name} {n:,}" for name, n in hosts.items())
    caption = f"Hosts on the sky: {words}."
    if sum(hosts.values()) > describe_figures.MAX_POINTS:
        caption += f" {describe_figures.MAX_POINTS:,} of them are drawn, chosen at random."
    sky = saver.figure("sky", figure, f"Map of the hosts on the sky by split: {words}.", caption)
    return join([*parts, tag("div", sky, class_="figures two")])


def _findings(told: Mapping[str, Any], looked: Looked) -> Html:
    parts = [causes_table(told)]
    if looked.unusable:
        parts += [
            tag("h3", "Stamps that cannot be used"),
            tag("p", f"The first {len(looked.unusable)}. Magenta, in a frame: pixels that are not "
                "finite, out of range or a fill value, in any band."),
            tag("div", *describe_stamps.unusable(looked), class_="stamps single"),
        ]  # fmt: skip
    return join(parts)


def _strata(told: Mapping[str, Any]) -> Html:
    titles = {
        "theta_e_arcsec": "Lenses by Einstein radius (arcsec)",
        "arc_snr": "Lenses by arc signal to noise",
        "psf_depth_lens": "Lenses by PSF and depth bin (with the range of values in each)",
        "psf_depth_other": "Others by PSF and depth bin",
    }
    return join(
        [
            tag("p", SIZE_WORDS),
            *(strata_table(told["strata"][name], title) for name, title in titles.items()),
        ]
    )


def _distributions(told: Mapping[str, Any], saver: Saver) -> Html:
    figures, absent = [], []
    for name, words in describe_figures.UNITS.items():
        distribution = told["distributions"][name]
        figure = describe_figures.histogram(distribution, name)
        if figure is None:
            absent.append(name)
            continue
        caption = f"{words}{_beyond(distribution)}"
        alt = f"Histogram of {words} by split and class. {_medians(distribution)}"
        figures.append(saver.figure(f"histogram_{name}", figure, alt, caption))
    parts = [differences_table(told), tag("div", *figures, class_="figures")]
    if absent:
        parts.append(note(f"Known of no stamp: {', '.join(absent)}."))
    return join(parts)


def _beyond(distribution: Mapping[str, Any]) -> str:
    """How many values lie outside the histogram, in words."""
    groups: Sequence[Mapping[str, Any]] = list(distribution["groups"].values())
    outside = sum(group["below"] + group["above"] for group in groups)
    unknown = sum(group["n"] - group["known"] for group in groups if group["known"])
    told = [f"{outside:,} beyond the ends"] if outside else []
    told += [f"{unknown:,} unknown"] if unknown else []
    return f"; {', '.join(told)}" if told else ""


def _medians(distribution: Mapping[str, Any]) -> str:
    middle = {
        name: group["quantiles"][3]
        for name, group in distribution["groups"].items()
        if group["known"] and name.split()[0] in schema.SPLITS
    }
    return "Medians: " + ", ".join(f"{name} {x:.4g}" for name, x in middle.items()) + "."


def _extremes(told: Mapping[str, Any]) -> Html:
    titles = {
        "metadata": "Metadata",
        "sky": "Sky beyond r = 28 px",
    }
    return join(extremes_table(told["extremes"][name], title) for name, title in titles.items())
