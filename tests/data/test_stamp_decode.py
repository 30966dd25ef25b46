"""Decoding one stamp, and the causes that validation names, against plain numpy."""

import gzip
import warnings

import numpy as np
import pytest

from lensjax.data import stamps as stamps_module
from lensjax.data.stamps import decode, validate
from lensjax.schema import ExitCode, LensjaxError


def stamp(seed=0):
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 0.02, (3, 64, 64)).astype(np.float32)
    image[:, 28:36, 28:36] += 2.0
    return image


def members(image):
    return {f"image_{band}": image[k] for k, band in enumerate("grz")}


def failure(blob):
    with pytest.raises(LensjaxError) as caught:
        decode(blob)
    return caught.value


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
@pytest.mark.parametrize("order", "<>")
def test_decodes_bands_by_name(packer, compressed, wrap, order):
    image = stamp()
    given = dict(reversed(members(image.astype(f"{order}f4")).items()))
    decoded = decode(wrap(packer(given, compressed=compressed)))
    assert decoded.dtype == np.float32 and decoded.dtype.isnative
    np.testing.assert_array_equal(decoded, np.moveaxis(image, 0, -1))


def test_legacy_image_of_three_bands(packer):
    np.testing.assert_array_equal(decode(packer({"img": stamp()})), np.moveaxis(stamp(), 0, -1))


@pytest.mark.parametrize("count", [None, 1, 2, 4])
def test_legacy_image_without_three_bands_is_a_missing_band(packer, count):
    image = stamp()[0] if count is None else np.repeat(stamp()[:1], count, axis=0)
    error = failure(packer({"img": image}))
    assert error.code == ExitCode.DATA_INVALID
    assert "missing bands" in str(error) and "g, r, z" in str(error)


@pytest.mark.parametrize("band", "grz")
def test_missing_band_is_named_with_what_is_expected(packer, band):
    given = members(stamp())
    del given[f"image_{band}"]
    error = failure(packer(given))
    assert (error.code, error.where) == (ExitCode.DATA_INVALID, f"band {band}")
    assert f"missing band {band}" in error.what and "expected g, r, z" in error.what


@pytest.mark.parametrize(
    ("spoil", "got", "expected"),
    [
        (lambda x: x[:63], "(63, 64)", "(64, 64)"),
        (lambda x: x[None], "(1, 64, 64)", "(64, 64)"),
        (lambda x: x.astype(np.int16), "int16", "float32"),
        (lambda x: x.astype(np.float64), "float64", "float32"),
        (lambda x: x.astype(np.float16), "float16", "float32"),
    ],
)
def test_shape_and_dtype_say_got_and_expected(packer, spoil, got, expected):
    given = members(stamp())
    given["image_r"] = spoil(given["image_r"])
    error = failure(packer(given))
    assert (error.code, error.where) == (ExitCode.DATA_INVALID, "band r")
    assert got in error.what and f"expected {expected}" in error.what


def batch(n=5):
    return np.stack([np.moveaxis(stamp(i), 0, -1) for i in range(n)])


def test_sound_stamps_have_no_causes():
    assert validate(batch()) == []
    assert validate(batch()[:0]) == []


FAULTS = [
    (np.nan, "NaN", "1 NaN"),
    (np.inf, "+Inf", "1 +Inf"),
    (-np.inf, "-Inf", "1 -Inf"),
    (1e30, "sentinel", "1 of the 1e30 sentinel"),
    (-1e30, "sentinel", "1 of the 1e30 sentinel"),
    (-99.0, "fill", "1 of the -99 fill"),
    (2e6, "out of range", "1 beyond 1e+06 nanomaggies (out of range, largest 2e+06)"),
]


@pytest.mark.parametrize(("value", "name", "message"), FAULTS)
@pytest.mark.parametrize("pixel", [(0, 0), (31, 31), (63, 5)])
def test_one_bad_pixel_is_found_and_named(value, name, message, pixel):
    spoilt = batch()
    spoilt[(3, *pixel, 1)] = value
    assert validate(spoilt) == [(3, "r", name, message)]


@pytest.mark.parametrize("value", [0.0, 3.5, -99.0])
def test_constant_bands(value):
    spoilt = batch()
    spoilt[2, :, :, 2] = value
    causes = validate(spoilt)
    assert (2, "z", "zero variance", f"zero variance (constant {value:g})") in causes
    assert {cause.name for cause in causes} <= {"zero variance", "fill"}


def test_every_cause_is_reported_in_order():
    spoilt = batch()
    spoilt[4, 1, 1, 0] = np.nan
    spoilt[4, 2, :2, 0] = np.inf
    spoilt[1, :, :, 2] = 0
    names = [(cause.row, cause.band, cause.name) for cause in validate(spoilt)]
    assert names == [(1, "z", "zero variance"), (4, "g", "NaN"), (4, "g", "+Inf")]


def mad_over_range(image):
    """The contract's rule in plain numpy, for one band."""
    y, x = np.mgrid[:64, :64] - 31.5
    r = np.hypot(y, x)
    ring = image.astype(np.float64)[(r >= 20) & (r < 32)]
    mad = np.median(np.abs(ring - np.median(ring)))
    return mad / (float(image.max()) - float(image.min()))


@pytest.mark.parametrize("noise", np.logspace(-8, -3, 21))
def test_narrow_annulus_agrees_with_plain_numpy(noise):
    rng = np.random.default_rng(int(noise * 1e9))
    image = rng.normal(0, noise, (1, 64, 64, 3)).astype(np.float32)
    image[:, 30:34, 30:34] += 1.0
    expected = [band for k, band in enumerate("grz") if mad_over_range(image[0, ..., k]) < 1e-6]
    assert [cause.band for cause in validate(image)] == expected


@pytest.mark.parametrize("share", [0.3, 0.45, 0.49, 0.51, 0.7])
@pytest.mark.parametrize("seed", range(4))
def test_partly_masked_annulus_agrees_with_plain_numpy(share, seed):
    rng = np.random.default_rng(seed)
    image = batch(1)
    image[0, rng.random((64, 64)) < share, 1] = 0.0
    image[0, : int(64 * share), :, 2] = 0.0
    expected = [band for k, band in enumerate("grz") if mad_over_range(image[0, ..., k]) < 1e-6]
    assert [cause.band for cause in validate(image)] == expected
    assert share < 0.5 or "r" in expected


def test_guards_off_harm_seen():
    """Without the variance and annulus rules the normaliser of contracts.md divides by 0."""
    spoilt = batch(1)
    spoilt[0, :, :, 0] = 0
    assert validate(spoilt)
    ring = spoilt[0, :, :, 0].ravel()[stamps_module._ANNULUS]
    with np.errstate(invalid="ignore"):
        normalised = (spoilt[0, :, :, 0] - np.median(ring)) / np.median(np.abs(ring))
    assert np.isnan(normalised).all()


def test_validation_raises_no_warnings_on_any_value():
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, (20, 64, 64, 3), dtype=np.uint64).astype(np.uint32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert {cause.row for cause in validate(bits.view(np.float32))} == set(range(20))


def test_another_shape_is_an_error():
    with pytest.raises(LensjaxError, match="expected"):
        validate(np.zeros((2, 63, 64, 3), np.float32))
