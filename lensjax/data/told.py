"""What files declare of their bands, unit and pixel scale, and what the user tells of them.

Neither alone: where both say something they must agree, and where neither does it is an error that
names the field to tell it by. Nothing is guessed.

    >>> told = Told(unit="counts", pixel_scale_arcsec=0.25)
    >>> calibration(Declared(zero_point={"FPA.ZP": 25.0}, exptime_s={"EXPTIME": 1204.0}), told)
    Calibration(nanomaggies=8.305647840531562e-05, pixel_scale_arcsec=0.25)
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from lensjax import schema
from lensjax.data.units import COUNTS, NANOMAGGY, UNITS, nanomaggies_per, unit_named
from lensjax.schema import ExitCode, LensjaxError

SAME_MAG = 1e-4  # zero points this close are one: 0.01 % of the flux
SAME_SCALE = 1e-3  # relative; 0.262 and 0.263 arcsec differ by four times as much
SAME_TIME = 1e-4  # relative
_BANDS = "".join(schema.BANDS)
_T = TypeVar("_T", str, float)


@dataclass(frozen=True)
class Told:
    """What the user tells of all files (a row of an index may tell otherwise of itself): `unit`
    ('': the file declares it), `zero_point` (magnitude of one count a second),
    `pixel_scale_arcsec`, `bands` ('': declared; 'grz'), and whether to `resample` to 0.262 arcsec.
    Raises LensjaxError (USAGE) for what cannot be."""

    unit: str = ""
    zero_point: float | None = None
    pixel_scale_arcsec: float | None = None
    bands: str = ""
    resample: bool = False

    def __post_init__(self):
        if self.unit and unit_named(self.unit) is None:
            near = difflib.get_close_matches(self.unit, UNITS, n=1, cutoff=0.0)[0]
            raise _usage("unit", f"unknown unit {self.unit!r}", f"Did you mean {near!r}?")
        if self.zero_point is not None and not math.isfinite(self.zero_point):
            raise _usage("zero_point", f"{self.zero_point} is not a magnitude", "25.0, say")
        scale = self.pixel_scale_arcsec
        if scale is not None and not (math.isfinite(scale) and scale > 0):
            raise _usage("pixel_scale_arcsec", f"{scale} is not a pixel scale", "0.262, say")
        if not self.bands.isalpha() and self.bands:
            raise _usage("bands", f"{self.bands!r} are not bands", f"{_BANDS}, say")


@dataclass(frozen=True)
class Declared:
    """What a file declares, by the keyword that does."""

    unit: Mapping[str, str] = field(default_factory=dict)
    zero_point: Mapping[str, float] = field(default_factory=dict)
    exptime_s: Mapping[str, float] = field(default_factory=dict)
    pixel_scale_arcsec: Mapping[str, float] = field(default_factory=dict)


def _usage(name: str, what: str, remedy: str) -> LensjaxError:
    return LensjaxError(ExitCode.USAGE, what, f"data.{name}", remedy)


class Calibration(NamedTuple):
    """Nanomaggies of one unit of the file, and its pixel scale."""

    nanomaggies: float
    pixel_scale_arcsec: float


class NotTold(LensjaxError):
    """What neither the file declares nor the user tells (exit 10)."""

    def __init__(self, what: str, name: str):
        text = f"no {what}: the file declares none and --config.data.{name} is not given"
        super().__init__(ExitCode.DATA_INVALID, text, remedy=f"Add --config.data.{name}=...")


def calibration(declared: Declared, told: Told) -> Calibration:
    """Raises LensjaxError (DATA_INVALID) for what disagrees, or cannot be; NotTold for what is
    neither declared nor told."""
    unit = _unit(declared.unit, told.unit)
    zero_point = _zero_point(unit, declared.zero_point, told.zero_point)
    exptime = _exptime(unit, declared.exptime_s)
    scale = pixel_scale(declared.pixel_scale_arcsec, told)
    return Calibration(nanomaggies_per(unit, zero_point, exptime), scale)


def pixel_scale(declared: Mapping[str, float], told: Told) -> float:
    """Arcsec. Raises as `calibration`."""
    scale = _agreed(
        "pixel scale",
        "pixel_scale_arcsec",
        declared,
        told.pixel_scale_arcsec,
        lambda a, b: math.isclose(a, b, rel_tol=SAME_SCALE),
    )
    if not (math.isfinite(scale) and scale > 0):
        raise LensjaxError(ExitCode.DATA_INVALID, f"pixel scale {scale:g} arcsec cannot be")
    return scale


def band_planes(declared: Mapping[str, str], told: Told, planes: int) -> tuple[int, ...]:
    """Which of `planes` are g, r and z, from the bands declared by keyword ('grz', 'g,r,i,z') or
    told. Other bands may stand between; another order is an error. Raises as `calibration`."""
    named = {name: letters(value) for name, value in declared.items()}
    bands = _agreed("bands", "bands", named, letters(told.bands) or None, lambda a, b: a == b)
    missing = [band for band in schema.BANDS if band not in bands]
    if missing:
        raise LensjaxError(
            ExitCode.DATA_INVALID,
            f"missing band {', '.join(missing)} (has {', '.join(bands) or 'none'}; "
            f"expected {', '.join(schema.BANDS)})",
            where=f"band {missing[0]}",
        )
    found = tuple(bands.index(band) for band in schema.BANDS)
    if sorted(found) != list(found) or len(set(bands)) < len(bands):
        by = f" by {', '.join(declared)}" if declared else ""
        what = f"band-order mismatch: {bands!r} declared{by}, expected {_BANDS!r}"
        raise LensjaxError(ExitCode.DATA_INVALID, what)
    if len(bands) != planes:
        what = f"{planes} planes, but bands {bands!r} are {len(bands)}"
        raise LensjaxError(ExitCode.DATA_INVALID, what)
    return found


def letters(text: str) -> str:
    """The letters and digits of `text`, lower case: 'G, R, Z' is 'grz'."""
    return "".join(c for c in text.lower() if c.isalnum())


def _unit(declared: Mapping[str, str], told: str) -> str:
    named = {}
    for name, text in declared.items():
        named[name] = unit = unit_named(text)
        if unit is None:
            what = f"{name} is {text!r}, a unit not known (known: {', '.join(UNITS)})"
            raise LensjaxError(ExitCode.DATA_INVALID, what)
    return _agreed("unit", "unit", named, unit_named(told), lambda a, b: a == b)


def _zero_point(unit: str, declared: Mapping[str, float], told: float | None) -> float:
    if unit == NANOMAGGY:  # whose zero point is a definition
        declared = {**declared, NANOMAGGY: schema.ZERO_POINT}
    zero_point = _agreed(
        "zero point", "zero_point", declared, told, lambda a, b: abs(a - b) <= SAME_MAG
    )
    if not abs(zero_point) <= 100:
        raise LensjaxError(ExitCode.DATA_INVALID, f"zero point {zero_point:g} mag cannot be")
    return zero_point


def _exptime(unit: str, declared: Mapping[str, float]) -> float:
    """Seconds; 1 where it is not asked for."""
    if unit != COUNTS:
        return 1.0
    if not declared:
        what = "unit counts, but no exposure time (EXPTIME) to divide by"
        remedy = "If the zero point holds for the pixels as they are, the unit is counts/s"
        raise LensjaxError(ExitCode.DATA_INVALID, f"{what}. {remedy}")
    exptime = _agreed(
        "exposure time", "", declared, None, lambda a, b: math.isclose(a, b, rel_tol=SAME_TIME)
    )
    if not (math.isfinite(exptime) and exptime > 0):
        raise LensjaxError(ExitCode.DATA_INVALID, f"exposure time {exptime:g} s cannot be")
    return exptime


def _agreed(
    what: str,
    name: str,
    declared: Mapping[str, _T],
    told: _T | None,
    same: Callable[[_T, _T], bool],
) -> _T:
    """The one value of all that declare or tell it."""
    values = dict(declared)
    if told is not None:
        values[f"data.{name} (or the column of that name)"] = told
    if not values:
        raise NotTold(what, name)
    first = next(iter(values))
    for other, value in values.items():
        if not same(values[first], value):
            raise LensjaxError(
                ExitCode.DATA_INVALID,
                f"{what}: {first} says {values[first]}, but {other} says {value}",
            )
    return values[first]
