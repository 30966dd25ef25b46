"""The figures of a description: the sky, and a histogram of each quantity.

Not pictures of stamps (`contact_sheet`). Splits differ in colour and in dash.

    >>> figure = histogram(told["distributions"]["arc_snr"], "arc_snr")
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lensjax import schema
from lensjax.checks.rows import Rows
from lensjax.curate.describe_strata import CLASSES
from lensjax.report import style

MAX_POINTS = 20_000  # hosts drawn on the sky, by seed
COLOURS = dict(zip(schema.SPLITS, (style.BLUE, style.ORANGE, style.GREEN), strict=True))
DASHES = dict(zip(schema.SPLITS, ("-", "--", ":"), strict=True))
MARKERS = dict(zip(schema.SPLITS, (".", "x", "+"), strict=True))
CLASS_WORDS = {"lens": "lenses", "other": "others"}
_SEED = 42
_MARGINS = {"left": 0.15, "right": 0.98, "bottom": 0.23, "top": 0.77, "wspace": 0.1}

UNITS = {  # of a quantity: what its axis says
    "theta_e_arcsec": "Einstein radius (arcsec)",
    "arc_snr": "arc signal to noise",
    "psf_fwhm_arcsec": "PSF FWHM (arcsec)",
    "psf_depth": "5-sigma depth (mag)",
    "ebv": "E(B-V) (mag)",
    "pair_outside": "share of difference beyond reach",
    "pair_difference": "stamp less control, r (nanomaggies)",
    **{f"noise_{band}": f"sky noise, {band} (nanomaggies)" for band in schema.BANDS},
    **{f"background_{band}": f"background, {band} (sky sigmas)" for band in schema.BANDS},
    **{
        f"autocorrelation_{way}_{band}": f"noise correlation, {band}, {word}"
        for band in schema.BANDS
        for way, word in (("h", "along rows"), ("v", "along columns"))
    },
}


def sky_map(rows: Rows) -> Figure | None:
    """Hosts on the sky by split, right ascension growing to the left; None where no position is
    known. A footprint that straddles ra = 0 stays in one piece."""
    first = np.unique(rows.host, return_index=True)[1]
    ra, dec = rows.numbers["ra"][first] % 360.0, rows.numbers["dec"][first]
    split = rows.split[first]
    known = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    if not len(known):
        return None
    if len(known) > MAX_POINTS:
        known = np.random.default_rng(_SEED).permutation(known)[:MAX_POINTS]
    ra, dec, split = _unwrapped(ra[known]), dec[known], split[known]
    figure, (axes,) = style.new_figure(2.8)
    for k, name in enumerate(schema.SPLITS):
        mine = split == k
        axes.plot(
            ra[mine], dec[mine], ls="", marker=MARKERS[name], ms=3, mew=0.6,
            color=COLOURS[name], label=name, alpha=0.7, rasterized=True,
        )  # fmt: skip
    axes.invert_xaxis()
    axes.ticklabel_format(useOffset=False)
    axes.set(xlabel="right ascension (deg)", ylabel="declination (deg)")
    figure.legend(loc="outside upper center", ncols=len(schema.SPLITS))
    return figure


def _unwrapped(ra: np.ndarray) -> np.ndarray:
    """`ra` (degrees, 0..360) with the widest gap outside: what lies beyond it is 360 less."""
    values = np.sort(ra)
    gaps = np.diff(values, append=values[0] + 360.0)
    widest = int(gaps.argmax())
    return ra if widest == len(values) - 1 else np.where(ra > values[widest], ra - 360.0, ra)


def histogram(told: Mapping[str, Any], name: str) -> Figure | None:
    """Shares by bin of the splits, one panel a class that has the quantity; None where none has."""
    classes = [
        word
        for word in CLASSES
        if any(told["groups"][f"{s} {word}"]["known"] for s in schema.SPLITS)
    ]
    if not classes:
        return None
    figure = Figure(figsize=(style.COLUMN_INCHES, 1.9))
    panels = figure.subplots(1, len(classes), squeeze=False, sharey=True, gridspec_kw=_MARGINS)[0]
    for axes, word in zip(panels, classes, strict=True):
        _panel(axes, told, word)
        axes.set_title(CLASS_WORDS[word], pad=2)
    panels[0].set_ylabel("share of stamps")
    panels[0].set_ylim(bottom=0.0)
    figure.supxlabel(UNITS[name], fontsize=style.FONT_POINTS)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncols=len(schema.SPLITS))
    return figure


def _panel(axes: Axes, told: Mapping[str, Any], word: str) -> None:
    for split in schema.SPLITS:
        group = told["groups"][f"{split} {word}"]
        if group["known"]:
            axes.stairs(
                np.array(group["counts"]) / group["known"], told["edges"],
                color=COLOURS[split], ls=DASHES[split], label=split, lw=1.2,
            )  # fmt: skip
    axes.locator_params(axis="x", nbins=3)
