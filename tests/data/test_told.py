"""What files declare and what the user tells: it agrees, or both are named; nothing is guessed."""

import math

import pytest

from lensjax.data import told as told_module
from lensjax.data.told import Declared, NotTold, Told, band_planes, calibration
from lensjax.data.units import COUNTS, NANOMAGGY, RATE, nanomaggies_per, unit_named
from lensjax.schema import ExitCode, LensjaxError

PS1 = Declared(zero_point={"FPA.ZP": 25.0}, exptime_s={"EXPTIME": 1204.0})
SCALED = {"pixel_scale_arcsec": 0.25}


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        *((text, NANOMAGGY) for text in ("nanomaggy", "Nanomaggies", " nMgy ", "nanomaggie")),
        *((text, COUNTS) for text in ("adu", "ADU", "counts", "ct", "DN", "electron", "Electrons")),
        *((text, RATE) for text in ("counts/s", "ADU / s", "electrons/sec", "ct s-1", "e-/s")),
        *((text, RATE) for text in ("count s**-1", "dn.s-1", "electron s^-1", "adu/second")),
        *((text, None) for text in ("", "Jy", "MJy/sr", "nJy", "counts/pixel", "mag", "s", "/s")),
        ("adu/s/s", None),
    ],
)
def test_units_as_headers_write_them(text, unit):
    assert unit_named(text) == unit


def test_nanomaggies_are_those_of_the_magnitude():
    for zero_point, exptime, counts in ((25.0, 1204.0, 300.0), (30.0, 1.0, 5e4)):
        magnitude = zero_point - 2.5 * math.log10(counts / exptime)
        flux = counts * nanomaggies_per(COUNTS, zero_point, exptime)
        assert 22.5 - 2.5 * math.log10(flux) == pytest.approx(magnitude, abs=1e-12)
        assert nanomaggies_per(RATE, zero_point, 7.0) == pytest.approx(flux / counts * exptime)
    assert nanomaggies_per(NANOMAGGY, 22.5, 9.0) == 1.0


def test_declared_told_or_both():
    for declared, told in (
        (PS1, Told(unit="counts", **SCALED)),
        (PS1, Told(unit="ADU", zero_point=25.00005, **SCALED)),
        (Declared({"BUNIT": "adu"}, {}, PS1.exptime_s), Told(zero_point=25.0, **SCALED)),
        (
            Declared({"BUNIT": "adu"}, {"ZP": 25.0}, PS1.exptime_s, {"WCS": 0.2500001}),
            Told(unit="counts", **SCALED),
        ),
    ):
        made = calibration(declared, told)
        assert made == pytest.approx((0.1 / 1204, 0.25), rel=1e-4)


@pytest.mark.parametrize(
    ("declared", "told", "both"),
    [
        (
            Declared(unit={"BUNIT": "adu"}),
            Told(unit="nanomaggy"),
            ("unit: BUNIT says counts", "data.unit (or the column of that name) says nanomaggy"),
        ),
        (PS1, Told(unit="counts", zero_point=27.0), ("FPA.ZP says 25.0", "data.zero_point")),
        (
            Declared({}, {"ZP": 25.0, "MAGZERO": 26.0}, {"EXPTIME": 1.0}),
            Told(unit="counts"),
            ("ZP says 25.0", "MAGZERO says 26.0"),
        ),
        (
            Declared({"BUNIT": "nanomaggy"}, {"ZP": 25.0}, {}, {}),
            Told(),
            ("ZP says 25.0", "nanomaggy says 22.5"),
        ),
        (
            Declared({"BUNIT": "nanomaggy"}, {}, {}, {"WCS": 0.263}),
            Told(pixel_scale_arcsec=0.262),
            ("WCS says 0.263", "data.pixel_scale_arcsec (or the column"),
        ),
        (
            Declared({"BUNIT": "nanomaggy"}, {}, {}, {"WCS": 0.25, "PIXSCALE": 0.396}),
            Told(),
            ("WCS says 0.25", "PIXSCALE says 0.396"),
        ),
    ],
)
def test_what_disagrees_names_both(declared, told, both):
    with pytest.raises(LensjaxError) as caught:
        calibration(declared, told)
    assert caught.value.code == ExitCode.DATA_INVALID
    assert all(part in caught.value.what for part in both), caught.value.what


def test_control_without_the_comparison_the_first_is_believed(monkeypatch):
    monkeypatch.setattr(told_module, "SAME_MAG", math.inf)
    made = calibration(PS1, Told(unit="counts", zero_point=27.0, **SCALED))
    assert made.nanomaggies == pytest.approx(0.1 / 1204)  # six times what 27 would make it


@pytest.mark.parametrize(
    ("declared", "told", "name"),
    [
        (PS1, Told(**SCALED), "unit"),
        (Declared(exptime_s=PS1.exptime_s), Told(unit="counts", **SCALED), "zero_point"),
        (Declared(), Told(unit="counts/s", **SCALED), "zero_point"),
        (PS1, Told(unit="counts"), "pixel_scale_arcsec"),
    ],
)
def test_what_neither_says_is_never_guessed(declared, told, name):
    with pytest.raises(NotTold) as caught:
        calibration(declared, told)
    assert f"--config.data.{name} is not given" in caught.value.what
    assert caught.value.remedy == f"Add --config.data.{name}=..."
    assert caught.value.code == ExitCode.DATA_INVALID


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (Declared({"BUNIT": "Jy\x1b[2J"}), r"BUNIT is 'Jy\x1b[2J', a unit not known"),
        (Declared({"BUNIT": "adu"}, {"ZP": 25.0}), "no exposure time (EXPTIME) to divide by"),
        (Declared({"BUNIT": "adu"}, {"ZP": 25.0}, {"EXPTIME": 0.0}), "exposure time 0 s cannot be"),
        (Declared({"BUNIT": "adu"}, {"ZP": 25.0}, {"EXPTIME": -3}), "exposure time -3 s cannot be"),
        (Declared({"BUNIT": "adu/s"}, {"ZP": 1e9}), "zero point 1e+09 mag cannot be"),
        (Declared({"BUNIT": "nanomaggy"}, {}, {}, {"WCS": 0.0}), "pixel scale 0 arcsec cannot be"),
    ],
)
def test_what_cannot_be_is_refused(declared, message):
    with pytest.raises(LensjaxError) as caught:
        calibration(declared, Told())
    assert message in caught.value.what and caught.value.code == ExitCode.DATA_INVALID


@pytest.mark.parametrize(
    ("field", "value", "near"),
    [
        ("unit", "nanomagy", "nanomaggy"),
        ("unit", "count/sec/px", "counts/s"),
        ("zero_point", math.nan, "25.0"),
        ("pixel_scale_arcsec", -0.262, "0.262"),
        ("pixel_scale_arcsec", 0.0, "0.262"),
        ("bands", "g,r", "grz"),
    ],
)
def test_what_the_user_tells_wrongly_is_a_usage_error(field, value, near):
    with pytest.raises(LensjaxError) as caught:
        Told(**{field: value})
    assert caught.value.code == ExitCode.USAGE and caught.value.where == f"data.{field}"
    assert near in caught.value.remedy


@pytest.mark.parametrize(
    ("declared", "told", "planes", "found"),
    [
        ({"BANDS": "grz"}, "", 3, (0, 1, 2)),
        ({"BANDS": "G, R, Z"}, "grz", 3, (0, 1, 2)),
        ({"BANDS": "griz"}, "", 4, (0, 1, 3)),
        ({}, "grz", 3, (0, 1, 2)),
    ],
)
def test_bands_are_found_by_name(declared, told, planes, found):
    assert band_planes(declared, Told(bands=told), planes) == found


@pytest.mark.parametrize(
    ("declared", "told", "planes", "message"),
    [
        ({"BANDS": "zrg"}, "", 3, "band-order mismatch: 'zrg' declared by BANDS, expected 'grz'"),
        ({}, "rgz", 3, "band-order mismatch: 'rgz' declared, expected 'grz'"),
        ({"BANDS": "grz"}, "griz", 3, "bands: BANDS says grz, but data.bands"),
        ({"BANDS": "gr"}, "", 2, "missing band z (has g, r; expected g, r, z)"),
        ({"BANDS": "grz"}, "", 4, "4 planes, but bands 'grz' are 3"),
        ({"BANDS": "grzz"}, "", 4, "band-order mismatch: 'grzz'"),
        ({}, "", 3, "no bands: the file declares none and --config.data.bands is not given"),
    ],
)
def test_d3_d4_other_bands_are_refused(declared, told, planes, message):
    with pytest.raises(LensjaxError) as caught:
        band_planes(declared, Told(bands=told), planes)
    assert message in caught.value.what and caught.value.code == ExitCode.DATA_INVALID
