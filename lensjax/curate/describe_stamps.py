"""The parts of a description's page that are pictures of stamps, and the contact sheets.

Not which stamps (`contact_sheet`, `strangeness`), nor their numbers: those come in the document.

    html = strangest(told, pictures, save)          # save(name, png)
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from lensjax import schema
from lensjax.checks.result import CHECKS
from lensjax.curate import contact_sheet
from lensjax.curate.contact_sheet import Pictures, marked
from lensjax.curate.pixels import Looked
from lensjax.report import sheets
from lensjax.report.album import image
from lensjax.report.drawn import note
from lensjax.report.markup import Html, join, tag
from lensjax.report.words import MESSAGE, number, shortened

SHEETS = (
    *(f"contact_{split}" for split in schema.SPLITS),
    "contact_pairs",
    *(f"strangest_{check}" for check in CHECKS),
)
_CLASSES = ("single", "double", "triple")
Save = Callable[[str, bytes], object]
Stamp = Mapping[str, Any]


def where(stamp: Stamp) -> str:
    """File and row, as findings name them."""
    return f"{stamp['file']} row {stamp['row']}" + (
        " (control)" if stamp["kind"] == "control" else ""
    )


def _what(stamp: Stamp) -> str:
    """'lens, θ_E 1.62", SNR 14' or 'ring'."""
    if stamp["kind"] != "lens":
        return (stamp["kind"] or "unnamed").replace("_", " ")
    return f'lens, θ_E {number(stamp["theta_e_arcsec"], 2)}", SNR {number(stamp["arc_snr"], 1)}'


def samples(told: Mapping[str, Any], pictures: Pictures, save: Save) -> Html:
    """Random stamps of each split and class, then pairs with their difference."""
    parts = [
        tag(
            "p",
            "Drawn by seed, one of a host. Red z, green r, blue g; the Legacy Surveys asinh "
            "stretch, the same for all, sky taken off. A side is "
            f"{schema.STAMP_SIZE} pixels{_side(told)}.",
        )
    ]
    paired: list[Sequence[Stamp]] = []
    for split in schema.SPLITS:
        named = {n: s for n, s in told["samples"].items() if n.split(" ", 1)[0] == split}
        alone = {name: sample for name, sample in named.items() if not name.endswith(" pair")}
        every = [one for sample in alone.values() for one in sample]
        if every:
            save(f"contact_{split}", _sheet(every, pictures, [""] * len(every)))
        for name, sample in alone.items():
            parts.append(tag("h3", name.capitalize()))
            parts.append(_cards(sample, pictures, [""] * len(sample)) if sample else note("None."))
        paired += told["samples"][f"{split} pair"]
    parts.append(tag("h3", "Pairs: stamp, control, difference"))
    if not paired:
        return join([*parts, note("No two stamps are a pair.")])
    save("contact_pairs", _sheet(paired, pictures, [""] * len(paired)))
    return join([*parts, tag("p", _DIFFERENCE), _cards(paired, pictures, [""] * len(paired))])


_DIFFERENCE = (
    "The difference is stamp less control in the r band, each on the scale of its largest value: "
    "red where the stamp is brighter, blue where it is fainter."
)


def _side(told: Mapping[str, Any]) -> str:
    """', 16.8 arcsec', where all have one pixel scale."""
    scales = [one["arcsec"] for one in told["counts"]["pixel_scales"]]
    if len(scales) != 1 or scales[0] is None:
        return ""
    return f", {schema.STAMP_SIZE * scales[0]:.1f} arcsec"


def strangest(told: Mapping[str, Any], pictures: Pictures, save: Save) -> Html:
    """The rankings by check, each stamp with its number."""
    parts = [
        tag(
            "p",
            "Something is always strangest: these are the stamps nearest to what each check "
            "refuses, in the soundest data too. Of each host the strangest alone is listed.",
        )
    ]
    for check, found in groupby(told["strangest"], key=lambda ranking: ranking["check"]):
        parts.append(tag("h3", check))
        rankings = list(found)
        every = [(item, ranking["name"]) for ranking in rankings for item in ranking["items"]]
        if every:
            heads = [f"{name} {item['value']:.4g} {item['note']}" for item, name in every]
            stamps = [item["stamps"] for item, _ in every]
            save(f"strangest_{check}", _sheet(stamps, pictures, heads))
            parts.append(tag("p", f"pictures/strangest_{check}.png", class_="file"))
        for ranking in rankings:
            parts += [
                tag("h4", ranking["title"]),
                tag("p", f"{ranking['meaning']} (of {ranking['looked_at']:,})", class_="meaning"),
            ]
            values = [_head(item) for item in ranking["items"]]
            items = [item["stamps"] for item in ranking["items"]]
            parts.append(_cards(items, pictures, values) if items else note("Nothing to rank."))
    return join(parts)


def _head(item: Mapping[str, Any]) -> Html:
    """How strange, and in what."""
    value = tag("span", f"{item['value']:.4g}", class_="value")
    return join([value, f" {item['note']}", tag("br")])


def _cards(items: Sequence[Sequence[Stamp]], pictures: Pictures, heads: Sequence[object]) -> Html:
    """Cards side by side: one picture, two, or (pairs) two and their difference."""
    cards = [_card(stamps, pictures, head) for stamps, head in zip(items, heads, strict=True)]
    class_ = _CLASSES[len(_drawn(items[0], pictures)) - 1]
    return tag("div", *cards, class_=f"stamps {class_}")


def _card(stamps: Sequence[Stamp], pictures: Pictures, head: object) -> Html:
    names = [f"stamp {stamp['id']}, {_what(stamp)}" for stamp in stamps]
    alts = [*names, "the difference of the two"]
    drawn = [_embedded(*both) for both in zip(_drawn(stamps, pictures), alts, strict=False)]
    lines = [
        join([_what(stamp), *(tag("span", x, class_="file") for x in (stamp["id"], where(stamp)))])
        for stamp in stamps
    ]
    return tag("figure", *drawn, tag("figcaption", head, *lines))


def _embedded(picture: np.ndarray, alt: str) -> Html:
    data = b64encode(contact_sheet.jpeg(picture)).decode()
    return tag("img", src=Html(f"data:image/jpeg;base64,{data}"), alt=alt)


def _drawn(stamps: Sequence[Stamp], pictures: Pictures) -> list[np.ndarray]:
    """The stamps, and of a stamp and its own control their difference."""
    found = [pictures.colour(stamp["index"]) for stamp in stamps]
    if is_pair(stamps):
        found.append(pictures.difference(stamps[0]["index"], stamps[1]["index"]))
    return found


def is_pair(stamps: Sequence[Stamp]) -> bool:
    """Are these a stamp and its own control?"""
    kinds = [stamp["kind"] for stamp in stamps]
    return kinds == ["lens", "control"] and stamps[0]["pair"] == stamps[1]["pair"]


def _sheet(items: Sequence[Sequence[Stamp]], pictures: Pictures, heads: Sequence[str]) -> bytes:
    """The same as one PNG; long names are cut there, the page has them whole."""
    drawn, captions = [], []
    for stamps, head in zip(items, heads, strict=True):
        for k, picture in enumerate(_drawn(stamps, pictures)):
            drawn.append(picture)
            stamp = stamps[min(k, len(stamps) - 1)]
            place = where(stamp).removeprefix(stamp["file"]).strip()
            names = [_what(stamp).replace("θ", "theta"), stamp["id"], stamp["file"], place]
            told = ["difference"] if k == len(stamps) else names
            captions.append([head, *told] if head else told)
    return contact_sheet.sheet(drawn, captions)


def unusable(looked: Looked) -> list[Html]:
    """Cards of stamps that cannot be used; pixels that no stamp may have are marked."""
    cards = []
    for one in looked.unusable:
        told = shortened("; ".join(one.causes), MESSAGE)
        if one.planes is None:
            drawn = note("Nothing could be decoded.")
        else:
            drawn = image(sheets.png(marked(one.planes)), f"Unusable stamp {one.where}: {told}")
        name = tag("span", one.where, class_="file")
        cards.append(tag("figure", drawn, tag("figcaption", told, name)))
    return cards
