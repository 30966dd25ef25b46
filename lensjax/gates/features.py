"""Simple features that a model could be looking at instead of arcs, by family, with their names.

Of the saved arrays alone. A feature is one number a stamp that words can say ("core flux g"); a
family may add more of the same kind (every pixel of the core) for its probe. NaN: unknown. Nothing
is fitted here (lensjax.gates.hunter).

    found = FAMILIES["core"].measure(case.test)
    found.names, found.values.shape, found.more.shape
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lensjax import schema
from lensjax.gates.case import Rows

_RINGS = ((5, 7), (7, 10), (10, 15), (15, 20), (20, 28))  # px, beyond the core
_RADIUS = schema.radius_map()[schema.CORE_BOX, schema.CORE_BOX]
_WAVES = ((5.0, 10.0), (3.3, 5.0), (2.0, 3.3))  # px, of the core box's power spectrum
_DIRECTIONS = ("horizontal", "vertical", "diagonal", "anti-diagonal")
_BRICK = re.compile(r"(\d{4})([pm])(\d{3})")


@dataclass(frozen=True)
class Features:
    """names: of the columns of `values`, float64 [n, k]. more: float64 [n, m], what the family's
    probe sees besides."""

    names: list[str]
    values: np.ndarray
    more: np.ndarray


@dataclass(frozen=True)
class Family:
    """`about`: what it is, for a reader. `action`: what to do if the model follows it. `measure`:
    its features of some rows; raises GateError for arrays that are absent or not finite. `gate`:
    which gate asks whether it tells the label; empty: the hunter does. `arcs`: arcs add to it
    honestly."""

    about: str
    action: str
    measure: Callable[[Rows], Features]
    gate: str = ""
    arcs: bool = False


def by_band(words: str) -> list[str]:
    """'WORDS g', 'WORDS r', 'WORDS z'."""
    return [f"{words} {band}" for band in schema.BANDS]


def core(rows: Rows) -> Features:
    """Of the core box as the model sees it: flux, peak, slope and asymmetry of r < 5 px; pixels."""
    box = rows.features("core_box").reshape(len(rows), *_RADIUS.shape, -1)
    inside, middle = _RADIUS < schema.CORE_RADIUS, _RADIUS < 2.0
    flux, peak = (box[:, where].mean(axis=1) for where in (inside, middle))
    slope = peak - box[:, inside & (_RADIUS >= 3.0)].mean(axis=1)
    turned = box - box[:, ::-1, ::-1]
    uneven = np.log1p(np.sqrt((turned[:, inside] ** 2).mean(axis=1)))
    words = ("core flux", "core peak", "core slope", "core asymmetry")
    names = [name for each in words for name in by_band(each)]
    return Features(
        names, np.concatenate([flux, peak, slope, uneven], axis=1), box.reshape(len(rows), -1)
    )


def brightness(rows: Rows) -> Features:
    """Of the host before preprocessing: asinh of the core's mean flux, in 0.01 nanomaggies."""
    flux = np.arcsinh(_core_flux(rows) / 0.01)
    return Features(by_band("host brightness"), flux, _none(rows))


def colour(rows: Rows) -> Features:
    """Each band's share of the flux, of the core and of rings: no brightness is left in it."""
    profile = rows.features("radial_profile").reshape(len(rows), schema.PROFILE_RINGS, -1)
    parts = {"core": _core_flux(rows)}
    parts |= {f"{a}-{b} px": profile[:, a:b].mean(axis=1) for a, b in ((5, 10), (10, 20))}
    names, columns = [], []
    for where, flux in parts.items():
        total = np.abs(flux).sum(axis=1, keepdims=True)
        share = np.divide(flux, total, out=np.zeros_like(flux), where=total > 0)
        names += by_band(f"colour {where}")
        columns.append(share)
    return Features(names, np.concatenate(columns, axis=1), _none(rows))


def profile(rows: Rows) -> Features:
    """Ring medians of the raw_robust stamp beyond the core, r = 5 to 28 px; single rings."""
    rings = rows.features("radial_profile").reshape(len(rows), schema.PROFILE_RINGS, -1)
    names = [name for a, b in _RINGS for name in by_band(f"profile {a}-{b} px")]
    values = np.concatenate([rings[:, a:b].mean(axis=1) for a, b in _RINGS], axis=1)
    more = rings[:, _RINGS[0][0] : _RINGS[-1][1]].reshape(len(rows), -1)
    return Features(names, values, more)


def outskirts(rows: Rows) -> Features:
    """Background and noise correlation beyond r = 28 px."""
    values = rows.features("outskirts").reshape(len(rows), len(schema.BANDS), -1)[:, :, 1:]
    words = ("outskirts background", "noise correlation right", "noise correlation down")
    names = [name for each in words for name in by_band(each)]
    return Features(names, values.transpose(0, 2, 1).reshape(len(rows), -1), _none(rows))


def noise(rows: Rows) -> Features:
    """Sky noise of every band, log10 of nanomaggies; NaN where it is not positive."""
    sigma = rows.features("noise_sigma")
    values = np.log10(np.where(sigma > 0, sigma, np.nan))
    return Features(by_band("sky noise"), values, _none(rows))


def texture(rows: Rows) -> Features:
    """Of the core box: second differences by direction, and the power spectrum by wavelength."""
    curved = np.log1p(np.abs(rows.features("high_frequency_core")))
    names = [f"second difference {way} {band}" for band in schema.BANDS for way in _DIRECTIONS]
    box = rows.features("core_box").reshape(len(rows), *_RADIUS.shape, -1)
    power = np.abs(np.fft.rfft2(box - box.mean(axis=(1, 2), keepdims=True), axes=(1, 2))) ** 2
    frequency = np.hypot(
        np.fft.fftfreq(_RADIUS.shape[0])[:, None], np.fft.rfftfreq(_RADIUS.shape[1])[None, :]
    )
    columns = [curved]
    for short, long in _WAVES:
        inside = (frequency >= 0.999 / long) & (frequency < 0.999 / short)
        columns.append(np.log10(power[:, inside].mean(axis=1) + 1e-12))
        names += by_band(f"power at {short:g}-{long:g} px")
    return Features(names, np.concatenate(columns, axis=1), _none(rows))


def metadata(rows: Rows) -> Features:
    """Seeing, depth, extinction, pixel scale: no pixel is looked at. Absent columns are unknown."""
    names = [*schema.METADATA, "pixel_scale_arcsec"]
    unknown = np.full(len(rows), np.nan)
    columns = [rows.arrays.get(name, unknown).astype(np.float64) for name in names]
    values = np.stack(columns, axis=1)
    return Features(names, np.where(np.isfinite(values), values, np.nan), _none(rows))


def position(rows: Rows) -> Features:
    """Where on the sky, by names of bricks as the Legacy Surveys have them ('1501p022'); NaN for
    other names."""
    names, inverse = np.unique(rows["brick"], return_inverse=True)
    places = np.full((len(names), 3), np.nan)
    for k, name in enumerate(names.tolist()):
        if told := _BRICK.fullmatch(name):
            ra = np.deg2rad(int(told[1]) / 10)
            dec = int(told[3]) / 10 * (1 if told[2] == "p" else -1)
            places[k] = dec, np.cos(ra), np.sin(ra)
    return Features(["declination", "cos RA", "sin RA"], places[inverse.reshape(-1)], _none(rows))


def _core_flux(rows: Rows) -> np.ndarray:
    """Mean of r < 5 px of the raw core box, nanomaggies a pixel: [n, band]."""
    box = rows.features("core_box_raw").reshape(len(rows), *_RADIUS.shape, -1)
    return box[:, _RADIUS < schema.CORE_RADIUS].mean(axis=1)


def _none(rows: Rows) -> np.ndarray:
    return np.zeros((len(rows), 0))


FAMILIES: dict[str, Family] = {
    "core": Family(
        "the galaxy's centre as the model sees it: flux, peak, slope, asymmetry, pixels",
        "look at core_only_auroc, core_masked_drop and core_reliance; train with core dropout, or "
        "mend the injection",
        core,
        gate="core_lr_auc",
        arcs=True,
    ),
    "brightness": Family(
        "how bright the host is, before preprocessing",
        "match the classes in host brightness; check the flux scale of injected stamps",
        brightness,
        arcs=True,
    ),
    "colour": Family(
        "colours of the core and of the rings, brightness left out",
        "match the classes in host colour; check that arcs are injected alike in all bands",
        colour,
        arcs=True,
    ),
    "profile": Family(
        "the symmetric light beyond the core, 5 to 28 px",
        "compare with residual preprocessing, which removes it",
        profile,
        arcs=True,
    ),
    "outskirts": Family(
        "background and noise correlation beyond 28 px",
        "look for stamps of different origin or resampling",
        outskirts,
    ),
    "noise": Family(
        "sky noise of every band",
        "match the classes in depth; look for stamps of different surveys or coadds",
        noise,
    ),
    "texture": Family(
        "fine structure of the core: second differences, power spectrum",
        "look at how arcs are sampled, convolved and given noise",
        texture,
        arcs=True,
    ),
    "metadata": Family(
        "seeing, depth, extinction, pixel scale",
        "match the classes in seeing and depth bins (data.pairing, data split)",
        metadata,
    ),
    "position": Family(
        "where on the sky",
        "draw both classes from the same fields",
        position,
        gate="brick",
    ),
}
