"""HTML that is escaped unless it was made here: a string is text, an `Html` is markup.

Not a template engine: one page needs no more than nested tags, and text from files (stamp ids,
file names, messages) cannot become markup by oversight.

    >>> tag("p", "1 < 2 ", tag("b", "&"), class_="note")
    '<p class="note">1 &lt; 2 <b>&amp;</b></p>'
"""

from __future__ import annotations

import html
from collections.abc import Iterable

from lensjax.schema import printable

NONE = "–"  # a value that there is not
_VOID = frozenset({"br", "img", "meta"})


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: object) -> Html:
    """`value` as HTML: an `Html` as it is, anything else escaped. Control characters, lone
    surrogates and marks that turn the writing direction are shown as escapes; line ends stay."""
    if isinstance(value, Html):
        return value
    lines = str(value).split("\n")
    return Html("\n".join(html.escape(printable(line), quote=True) for line in lines))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """An element. A trailing underscore of an attribute is dropped, others become hyphens; an
    attribute that is None is left out."""
    head = name + "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{head}>")
    return Html(f"<{head}>{join(children)}</{name}>")


def join(parts: Iterable[object]) -> Html:
    """The parts one after the other."""
    return Html("".join(text(part) for part in parts))


def table(
    columns: Iterable[str], rows: Iterable[Iterable[object]], caption: str, class_: str = ""
) -> Html:
    """A table whose cells carry their column's name, so that a narrow screen can show each row as
    a card, without the cells that hold nothing (a dash). The first cell of a row is its header."""
    columns = list(columns)
    body = []
    for row in rows:
        first, *rest = row
        cells = [tag("th", first, scope="row")]
        cells += [
            tag("td", tag("div", cell), data_label=column, class_="empty" if cell == NONE else None)
            for column, cell in zip(columns[1:], rest, strict=True)
        ]
        body.append(tag("tr", *cells))
    head = tag("thead", tag("tr", *(tag("th", column, scope="col") for column in columns)))
    return tag(
        "table",
        tag("caption", caption),
        head,
        tag("tbody", *body),
        class_=f"cards {class_}".strip(),
    )


def pairs(items: Iterable[tuple[object, object]]) -> Html:
    """Terms and their values."""
    return tag("dl", *(tag("div", tag("dt", term), tag("dd", value)) for term, value in items))
