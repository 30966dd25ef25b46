"""Parts of measures.json as sections of the page: the part, or a sentence why there is none.

Reads no file and judges nothing: `read_run` has kept measures.json only if it is of the judgement
that gates.json is of.

    html = of_part(run, "ranking", lambda part: tag("p", number(part["n_pos"])))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lensjax.report.drawn import note
from lensjax.report.markup import NONE, Html, join, tag, text
from lensjax.report.reading import MEASURES, Run
from lensjax.report.words import interval, number

AXES = {  # columns that strata and the selection function are told by, with their units
    "theta_e_arcsec": "θ_E (arcsec)",
    "arc_snr": "arc signal to noise",
    "psf_fwhm_arcsec": "PSF FWHM (arcsec)",
    "psf_depth": "5σ depth (magnitudes)",
}


def of_part(run: Run, name: str, build: Callable[[dict[str, Any]], Html]) -> Html:
    """What `build` makes of a part of measures.json, or why there is nothing to make it of."""
    if not run.measured:
        return note(f"{MEASURES} is not drawn: {run.why_without(MEASURES)}.")
    part = run.measured.get(name)
    if not isinstance(part, dict):
        return note(f"{MEASURES} has no part {name}.")
    if "state" in part:
        return note(f"Not measured: {part['state']}.")
    return build(part)


def both(told: Any, digits: int = 3) -> str:
    """'value (low to high)' of an entry, its state where it has no value, or a dash."""
    if not isinstance(told, dict):
        return NONE
    if number(told.get("value")) == NONE:
        return str(told.get("state", NONE))
    return f"{number(told['value'], digits)} ({interval(told.get('ci'), digits)})"


def stacked(told: Any) -> Html:
    """The same for a table: the interval below the value."""
    if not isinstance(told, dict) or number(told.get("value")) == NONE:
        return text(both(told))
    return join([number(told["value"]), tag("span", interval(told.get("ci")), class_="ends")])


def bin_name(ends: Any) -> str:
    """A bin in words: '1.5 to 2', 'below 1.08', 'from 50'."""
    low, high = ends
    if low is None or high is None:
        return "all" if low == high else f"below {high:.4g}" if low is None else f"from {low:.4g}"
    return f"{low:.4g} to {high:.4g}"
