"""Units of flux: their names, and what one of each is in nanomaggies.

Not a unit system: the three that cutouts of the sky come in. What a file declares and what the user
tells are brought together in `told`.

    >>> unit_named("ADU / s")
    'counts/s'
    >>> nanomaggies_per("counts", zero_point=25.0, exptime_s=1204.0)     # 0.1 / 1204
    8.305647840531562e-05
"""

from __future__ import annotations

import re

from lensjax import schema

NANOMAGGY, COUNTS, RATE = "nanomaggy", "counts", "counts/s"
UNITS = (NANOMAGGY, COUNTS, RATE)
_NANOMAGGY = re.compile(r"n(?:ano)?mgy|nanomagg(?:y|ie|ies)")
_COUNTS = re.compile(r"(?:adu|dn|ct|count|electron|e-)s?")
_PER_SECOND = re.compile(r"(.+?) ?(?:/ ?(?:s|sec|second)|[ .*](?:s|sec|second)(?:\^|\*\*)?-1)")


def unit_named(text: str) -> str | None:
    """One of UNITS for `text` as headers write it (upper or lower case, ADU and electrons for
    counts, '/s', 's-1' or '/ sec' for the rate); None for any other."""
    name = " ".join(text.lower().split())
    if _NANOMAGGY.fullmatch(name):
        return NANOMAGGY
    rate = _PER_SECOND.fullmatch(name)
    if _COUNTS.fullmatch(rate[1] if rate else name):
        return RATE if rate else COUNTS
    return None


def nanomaggies_per(unit: str, zero_point: float, exptime_s: float) -> float:
    """Nanomaggies of one `unit`, where a source of one count a second has magnitude `zero_point`
    (ignored for nanomaggies); `exptime_s`, the exposure time in seconds, divides counts alone.

    From m = 22.5 - 2.5 log10(f), f in nanomaggies (legacysurvey.org/dr10/description, Photometry),
    and m = zero_point - 2.5 log10(counts / exptime) (Waters et al. 2020, ApJS 251, 4, for PS1
    stacks)."""
    if unit == NANOMAGGY:
        return 1.0
    factor = 10.0 ** ((schema.ZERO_POINT - zero_point) / 2.5)
    return factor / exptime_s if unit == COUNTS else factor
