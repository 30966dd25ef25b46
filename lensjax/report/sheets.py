"""Stamps as colour pictures: composites, and contact sheets of examples.

The composite is the one of the Legacy Surveys viewer, an asinh stretch of all bands together
(Lupton et al. 2004, PASP 116, 133), red = z, green = r, blue = g. Every stamp has the same
stretch, so that brightness can be compared between stamps.

    rgb = composite(stamp)                    # float [64, 64, 3] in 0..1
    html_image = png(rgb)                     # bytes
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imsave

from lensjax import schema
from lensjax.report import style

# Legacy Surveys viewer: weights of g, r, z a nanomaggy, pedestal and softening of the stretch.
_WEIGHTS = np.array([6.0, 3.4, 2.2])
_PEDESTAL, _SOFTENING = 0.03, 20.0
# Sky noise of a typical stamp is 0.045 on that scale; model inputs are in units of it.
_NOISE_WEIGHT = 0.045
_COLUMNS = 6
_GAP = 0.05  # inches between pictures


def composite(stamp: np.ndarray) -> np.ndarray:
    """Colour picture of a stamp, float [64, 64, 3] in 0..1, red = z, row 0 as in the array.

    Args:
        stamp: float32 [64, 64, 3], nanomaggies, bands g, r, z. The median of the outer annulus is
            taken off; values that are not finite are drawn as sky.
    """
    inner, outer = schema.OUTER_ANNULUS
    radius = schema.radius_map()
    sky = np.nan_to_num(stamp[(radius >= inner) & (radius < outer)], posinf=0.0, neginf=0.0)
    return _stretch((stamp - np.median(sky, axis=0)) * _WEIGHTS)


def input_composite(model_input: np.ndarray) -> np.ndarray:
    """The same picture of what the model sees, float32 [64, 64, 3] in units of the sky noise: noise
    looks as in the stamp's own picture, and zero is the sky."""
    return _stretch(model_input * _NOISE_WEIGHT)


def _stretch(scaled: np.ndarray) -> np.ndarray:
    """Lupton et al. 2004, eq. 2: colour kept, mean intensity through an asinh. A picture too bright
    in one band is brought back along its colour, not clipped to white."""
    picture = np.maximum(np.nan_to_num(scaled.astype(float), posinf=0.0, neginf=0.0), -_PEDESTAL)
    picture = picture + _PEDESTAL
    intensity = picture.mean(-1, keepdims=True)
    stretched = np.arcsinh(_SOFTENING * intensity) / np.sqrt(_SOFTENING)
    picture = picture * np.divide(
        stretched, intensity, out=np.zeros_like(intensity), where=intensity > 0
    )
    picture = picture / np.maximum(picture.max(-1, keepdims=True), 1.0)
    return picture[..., ::-1]


def png(picture: np.ndarray) -> bytes:
    """A PNG of a picture, pixel for pixel (the page enlarges it), with row 0 at the bottom as
    astronomers draw it."""
    buffer = io.BytesIO()
    no_software: Any = {"Software": None}  # what matplotlib leaves out; its stub knows str alone
    imsave(buffer, picture, format="png", origin="lower", metadata=no_software)
    return buffer.getvalue()


def ranked(examples: Mapping[str, np.ndarray], group: str) -> np.ndarray:
    """Rows of a group of examples, the most confident first: int64 [m]."""
    rows = np.flatnonzero(examples["group"] == group)
    highest_first = group in ("false_alarm", "confident_lens")
    order = examples["logit"][rows] * (-1 if highest_first else 1)
    return rows[np.argsort(order, kind="stable")]


def contact_sheet(pictures: np.ndarray, titles: Sequence[str], columns: int = _COLUMNS) -> Figure:
    """Pictures in rows, each under its title; two journal columns wide.

    Args:
        pictures: float [m, 64, 64, 3] in 0..1; titles: m strings, drawn as they are.
    """
    rows = -(-len(pictures) // columns)
    cell, title = style.PAGE_INCHES / columns, 0.26  # inches
    height = rows * (cell + title)
    figure = Figure(figsize=(style.PAGE_INCHES, height))
    for place, (picture, words) in enumerate(zip(pictures, titles, strict=True)):
        row, column = divmod(place, columns)
        bottom = 1 - ((row + 1) * (cell + title) - _GAP) / height
        size = cell - _GAP
        box = (column / columns, bottom, size / style.PAGE_INCHES, size / height)
        axes = figure.add_axes(box)
        axes.set_axis_off()
        axes.imshow(picture, origin="lower", interpolation="nearest")
        axes.set_title(words, pad=2, fontsize=style.FONT_POINTS - 1.5, parse_math=False)
    return figure
