"""Cutting and resampling: the centre, the flux, and what is not finite."""

import numpy as np
import pytest

from lensjax.data import cutouts
from lensjax.data.cutouts import Cutout, band_axis, check_shape, cut, off_centre, resample, stamp
from lensjax.data.told import Declared, NotTold, Told
from lensjax.schema import ExitCode, LensjaxError

NANOMAGGIES = Declared(unit={"BUNIT": "nanomaggy"}, pixel_scale_arcsec={"WCS": 0.25})


def blob(side, centre, sigma=4.0):
    """A round Gaussian of flux 1 about `centre` (row and column), float64 [side, side]."""
    x = np.exp(-0.5 * ((np.arange(side) - centre) / sigma) ** 2)
    return np.outer(x, x) / x.sum() ** 2


def middle(image):
    """Row and column of the centre of light."""
    rows, columns = np.indices(image.shape)
    return (rows * image).sum() / image.sum(), (columns * image).sum() / image.sum()


@pytest.mark.parametrize("side", [64, 66, 96, 120])
def test_an_even_cutout_keeps_its_centre(side):
    assert middle(cut(blob(side, (side - 1) / 2))) == pytest.approx((31.5, 31.5))
    assert off_centre(side, side) == ""


@pytest.mark.parametrize("side", [65, 91])
def test_an_odd_cutout_moves_by_half_a_pixel_and_says_so(side):
    assert middle(cut(blob(side, (side - 1) / 2))) == pytest.approx((32.0, 32.0))
    assert f"{side} x {side} pixels cut to 64 x 64" in off_centre(side, side)
    assert "half a pixel" in off_centre(side, 64)


@pytest.mark.parametrize("side", [91, 120])
@pytest.mark.parametrize("ratio", [0.262 / 0.25, 0.262 / 0.263, 1.31, 1.0])
def test_resampling_keeps_the_centre_and_the_flux(side, ratio):
    image = blob(side, (side - 1) / 2, 6.0)
    made = resample(image, ratio)
    assert middle(made) == pytest.approx((31.5, 31.5))
    inside = np.abs(np.arange(side) - (side - 1) / 2)
    weight = np.clip(32 * ratio - inside + 0.5, 0, 1)  # of each pixel, how much the stamp covers
    assert made.sum() == pytest.approx(weight @ image @ weight, rel=1e-12)
    flat = resample(np.ones((side, side)), ratio)
    np.testing.assert_allclose(flat, ratio**2, rtol=1e-12)  # surface brightness x area
    # the control: values read off at the new centres, without the area, are flux lost or made
    assert abs(image[:64, :64].sum() - 1) > 1e-3


def test_resampling_is_the_integral_over_each_new_pixel():
    rng = np.random.default_rng(3)
    image, ratio, fine = rng.normal(size=(80, 80)), 1.1, 50
    made = resample(image, ratio)
    for row, column in ((0, 0), (31, 40), (63, 7)):
        steps = (np.arange(fine) + 0.5) / fine
        y = 40 + ratio * (row - 32 + steps)
        x = 40 + ratio * (column - 32 + steps)
        sampled = image[np.floor(y).astype(int)][:, np.floor(x).astype(int)]
        assert made[row, column] == pytest.approx(sampled.mean() * ratio**2, abs=0.05)


def test_what_is_not_finite_spoils_what_it_touches_and_no_more():
    image = np.ones((70, 70))
    image[35, 35] = np.nan
    image[40, 40] = np.inf
    made = resample(image, 1.05)
    assert 2 <= np.isnan(made).sum() <= 8 and np.isfinite(made[:20]).all()
    shared = cutouts.shared_lengths(70, 1.05)
    with np.errstate(invalid="ignore"):
        everything = shared @ image @ shared.T
    assert np.isnan(everything).mean() == 1  # the control: a plain product spoils every pixel


def test_a_cutout_that_does_not_reach_is_refused():
    with pytest.raises(LensjaxError, match=r"smaller than 64 pixels \(67.1 of its own"):
        resample(np.ones((66, 66)), 0.262 / 0.25)
    for shape in ((63, 64), (64, 1025), (64,), (3, 64, 64), ()):
        with pytest.raises(LensjaxError) as caught:
            check_shape(shape)
        assert caught.value.code == ExitCode.DATA_INVALID


@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 64, 64), 0), ((64, 64, 3), -1), ((3, 96, 91), 0), ((91, 96, 3), -1)]
)
def test_the_axis_of_the_bands_is_found(shape, axis):
    assert band_axis(shape, 3) == axis


@pytest.mark.parametrize("shape", [(64, 3, 64), (64, 64), (4, 64, 64), (3, 63, 64), (3, 3, 3)])
def test_another_shape_is_refused(shape):
    with pytest.raises(LensjaxError, match="expected"):
        band_axis(shape, 3)


def test_stamps_are_calibrated_band_by_band():
    planes = [np.full((66, 66), k, np.float32) for k in (1, 2, 3)]
    declared = [
        Declared({"BUNIT": "adu"}, {"ZP": zp}, {"EXPTIME": t}, {"WCS": 0.25})
        for zp, t in ((25.0, 10.0), (22.5, 2.0), (20.0, 4.0))
    ]
    made = stamp(Cutout(planes, declared), Told())
    assert made.shape == (3, 64, 64) and made.dtype == np.float32
    np.testing.assert_allclose(made[:, 5, 5], [0.1 * 1 / 10, 2 / 2, 10 * 3 / 4], rtol=1e-7)


def test_stamps_are_resampled_only_if_told_and_only_if_needed():
    image = blob(120, 59.5, 6.0).astype(np.float32)
    given = Cutout([image] * 3, [NANOMAGGIES] * 3)
    np.testing.assert_array_equal(stamp(given, Told())[0], cut(image))
    made = stamp(given, Told(resample=True))
    np.testing.assert_array_equal(made[0], resample(image.astype(float), 0.262 / 0.25).astype("f4"))
    survey = Declared(unit={"BUNIT": "nanomaggy"}, pixel_scale_arcsec={"WCS": 0.26201})
    same = stamp(Cutout([image] * 3, [survey] * 3), Told(resample=True))
    np.testing.assert_array_equal(same[0], cut(image))


def test_bands_that_do_not_fit_together_are_refused():
    image = np.ones((66, 66), np.float32)
    other = Declared(unit={"BUNIT": "nanomaggy"}, pixel_scale_arcsec={"WCS": 0.262})
    with pytest.raises(LensjaxError, match="bands differ in pixel scale"):
        stamp(Cutout([image] * 3, [NANOMAGGIES, NANOMAGGIES, other]), Told())
    with pytest.raises(LensjaxError, match="bands differ in shape"):
        stamp(Cutout([image, image, image[:65]], [NANOMAGGIES] * 3), Told())
    with pytest.raises(NotTold) as caught:
        stamp(Cutout([image] * 3, [NANOMAGGIES, NANOMAGGIES, Declared()]), Told())
    assert caught.value.where == "band z"


def test_what_overflows_is_infinite_and_left_to_validation():
    huge = Cutout([np.full((64, 64), 3e38, np.float32)] * 3, [NANOMAGGIES] * 3)
    told = Declared({"BUNIT": "adu/s"}, {"ZP": 20.0}, {}, {"WCS": 0.25})
    assert np.isfinite(stamp(huge, Told())).all()
    assert np.isinf(stamp(huge._replace(declared=[told] * 3), Told())).all()
