"""How the run trained: the five red flags with cause and action, and the expected ranges.

Raises no flag itself: those are of measures.json. The curves are lensjax.report.drawn's.

    html = health(run)
    raised(run)                               # one sentence a raised flag, for the head of the page
"""

from __future__ import annotations

from typing import Any

from lensjax.report.markup import NONE, Html, join, table, tag
from lensjax.report.parts import of_part
from lensjax.report.reading import Run
from lensjax.report.words import number, objects, words


def raised(run: Run) -> list[str]:
    """The red flags that are raised, each with cause and action."""
    part = run.measured.get("training")
    flags = objects(part.get("flags")) if isinstance(part, dict) else []
    return [
        f"red flag {_name(each)}: {words(each.get('cause'))}. {words(each.get('action'))}"
        for each in flags
        if each.get("raised")
    ]


def health(run: Run) -> Html:
    """Red flags and expected ranges as two tables."""
    return of_part(run, "training", _health)


def _health(part: dict[str, Any]) -> Html:
    flags = [
        (
            _name(each),
            tag("span", "RAISED", class_="chip bad") if each["raised"] else "not raised",
            _seen(each),
            words(each["cause"]),
            words(each["action"]),
        )
        for each in objects(part["flags"])
    ]
    ranges = [
        (
            f"{words(each['measure'])}, epoch {number(each['epoch'])}",
            " to ".join(f"{end:g}" for end in each["expected"]),
            number(each["value"]),
            words(each["is"]),
        )
        for each in objects(part["ranges"])
    ]
    told = f"{number(part['epochs'])} epochs."
    return join(
        [
            table(
                ("red flag", "state", "seen", "likely cause", "what to do"),
                flags,
                f"The five red flags, {told}",
                "flags",
            ),
            table(
                ("measure", "expected", "value", "is"),
                ranges,
                f"Where a full run is expected to be, {told} Outside is no failure: shorter runs "
                "and other populations differ.",
                "numbers",
            ),
        ]
    )


def _name(flag: dict[str, Any]) -> str:
    return words(flag.get("flag")).replace("_", " ")


def _seen(flag: dict[str, Any]) -> Html | str:
    """The number that raised a flag, and when."""
    if not flag["raised"]:
        return NONE
    value = f"value {number(flag.get('value'))}"
    if "epoch" not in flag:
        return value
    return f"{value}, first at epoch {number(flag['epoch'])}, in {number(flag.get('epochs'))}"
