"""FITS cutouts: pixels and headers as astropy has them, what is declared, D3, D4, D21, and what is
hostile (S1, S2, S8, S9). D1, D2, D5, D6 and D7 are in test_stamp_faults.py."""

import gzip
import io
import time
import tracemalloc
import warnings
from pathlib import Path

import fsspec
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from lensjax.data import fits as fits_module
from lensjax.data import fits_header, fits_image, reading
from lensjax.data.cutouts import cut
from lensjax.data.fits_header import centre, check_band, cube_bands, declared, wcs_matrix
from lensjax.data.fits_image import open_image
from lensjax.data.reading import Bytes
from lensjax.data.told import Told
from lensjax.schema import ExitCode, LensjaxError
from tests.data import survey_mixture
from tests.data.stamp_sets import HEADER, open_set, pairs, write_fits, write_index, write_set

LOCAL = fsspec.filesystem("file")
SHARED = survey_mixture.SHARED
REAL = sorted(SHARED.glob("*_fits/*.fits"))
needs_real = pytest.mark.skipif(len(REAL) != 63, reason=f"the FITS files of {SHARED} are not there")
NOISE = np.random.default_rng(5).normal(0, 1, (64, 64)).astype(np.float32)
TAN = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.1, "CRVAL2": 2.2}
TAN |= {"CRPIX1": -300.0, "CRPIX2": 20.5}
STEP = 0.262 / 3600


def written(tmp_path, pixels=NOISE, header=None, name="a.fits"):
    write_fits(tmp_path / name, pixels, header or {})
    return opened(tmp_path / name)


def opened(path):
    return open_image(Bytes(LOCAL, str(path)))


def blob(*hdus):
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy's, of the odd cards that are wanted here
        fits.HDUList(list(hdus)).writeto(out, output_verify="silentfix")
    return out.getvalue()


def outcome(tmp_path, raw):
    """The error of opening `raw` and reading a plane."""
    (tmp_path / "raw.fits").write_bytes(raw)
    with pytest.raises(LensjaxError) as caught:
        opened(tmp_path / "raw.fits").plane(0)
    return caught.value


def card(name, value):
    return f"{name:8}= {value:>20}".ljust(80).encode()


def header_bytes(*cards):
    text = b"".join(cards) + b"END".ljust(80)
    return text + b" " * (-len(text) % 2880)


def claiming(*sides, bitpix=-32):
    """A header of an image with `sides`, and a block of data."""
    cards = [card("SIMPLE", "T"), card("BITPIX", bitpix), card("NAXIS", len(sides))]
    cards += [card(f"NAXIS{k + 1}", side) for k, side in enumerate(sides)]
    return header_bytes(*cards) + bytes(2880)


# -- pixels and cards as astropy has them ----------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "i8", "f4", "f8", "u2", "u4", "u8", "i1"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_d21_every_kind_of_number_is_converted_exactly(tmp_path, dtype, order):
    whole = np.random.default_rng(1).integers(0, 100, (64, 70))
    pixels = whole.astype(dtype).astype(order + dtype)
    if dtype[0] in "ui":
        limits = np.iinfo(dtype)
        pixels[0, :3] = limits.min, limits.max, limits.max // 2 + 1
    image = written(tmp_path, pixels)
    plane = image.plane(0)
    assert plane.dtype.isnative and plane.dtype.kind == "f"
    np.testing.assert_array_equal(plane, fits.getdata(tmp_path / "a.fits").astype(np.float64))
    np.testing.assert_array_equal(plane, pixels.astype(np.float64))


def test_d21_control_the_naive_conversions_are_wrong(tmp_path):
    pixels = np.full((64, 64), 1001, np.uint64)
    image = written(tmp_path, pixels)
    raw = np.frombuffer((tmp_path / "a.fits").read_bytes()[2880:], ">i8", 64 * 64)
    assert (2.0**63 + raw.astype(np.float64) != 1001).all()  # BZERO added in floating point
    assert (image.plane(0) == 1001).all()
    written(tmp_path, NOISE)
    little = np.frombuffer((tmp_path / "a.fits").read_bytes()[2880:], "<f4", 64 * 64)
    assert not np.allclose(little.reshape(64, 64), NOISE, equal_nan=True)


def test_d21_scaled_integers_and_blanks(tmp_path):
    raw = np.random.default_rng(2).integers(-900, 900, (64, 64)).astype(np.int16)
    raw[3, 4] = -999
    cards = {"BSCALE": 0.25, "BZERO": 100.5, "BLANK": -999}
    hdu = fits.PrimaryHDU(raw)
    hdu.header.update(cards)
    (tmp_path / "a.fits").write_bytes(_unscaled(hdu, cards))
    plane = opened(tmp_path / "a.fits").plane(0)
    assert np.isnan(plane[3, 4]) and np.isnan(plane).sum() == 1
    np.testing.assert_array_equal(plane, fits.getdata(tmp_path / "a.fits").astype(np.float64))
    np.testing.assert_array_equal(plane[raw != -999], (100.5 + 0.25 * raw)[raw != -999])


def _unscaled(hdu, cards):
    """Bytes of `hdu` with scaling cards that astropy would otherwise drop."""
    for name in cards:
        hdu.header.remove(name, ignore_missing=True)
    raw = hdu.data.astype(">i2").tobytes()
    lines = [card("SIMPLE", "T"), card("BITPIX", 16), card("NAXIS", 2)]
    lines += [card("NAXIS1", 64), card("NAXIS2", 64)]
    lines += [card(name, value) for name, value in cards.items()]
    return header_bytes(*lines) + raw + bytes(-len(raw) % 2880)


def test_masked_pixels_are_named_and_never_filled(tmp_path):
    def mask(stamp):
        stamp[2, 30, 30:33] = np.nan
        return stamp

    where, what, severity, code = write_set(tmp_path / "r", "fits", mask).fault()
    assert where == "train/stamps.csv row 4 band z" and what == "3 NaN (stamp-4_z.fits)"
    assert (severity, code) == ("QUARANTINE", 10)


CARDS = [
    *("EXPTIME =  1.204D3 / s", "EXPTIME =              -.5E-03", "EXPTIME = 12", "EXPTIME = +7."),
    *("EXPTIME =                      / nothing", "OBJECT  = 'O''Neil / x ' / it''s"),
    *(
        "OBJECT  = ''",
        "OBJECT  = '        '",
        "FLAG    =                    T / yes",
        "FLAG    = F",
    ),
    *("HIERARCH FPA.ZP =          25. / zero point", "HIERARCH A LONG NAME = 'text'"),
]


@pytest.mark.parametrize("text", CARDS)
def test_cards_are_read_as_astropy_reads_them(tmp_path, text):
    lines = [card("SIMPLE", "T"), card("BITPIX", -32), card("NAXIS", 2)]
    lines += [card("NAXIS1", 64), card("NAXIS2", 64), text.ljust(80).encode()]
    (tmp_path / "a.fits").write_bytes(header_bytes(*lines) + NOISE.astype(">f4").tobytes())
    image = opened(tmp_path / "a.fits")
    theirs = fits.Card.fromstring(text.ljust(80))
    value = None if isinstance(theirs.value, fits.card.Undefined) else theirs.value
    keyword = theirs.keyword
    if isinstance(value, str):
        assert (image.text(keyword) or "") == value.strip()
    elif isinstance(value, bool):
        with pytest.raises(LensjaxError, match="expected a number"):
            image.number(keyword)
    else:
        assert image.number(keyword) == value


@needs_real
def test_real_pixels_and_cards_are_astropys():
    seen = 0
    for path in REAL:
        image, header = opened(path), fits.getheader(path)
        planes = np.squeeze([image.plane(k) for k in range(image.planes)])
        np.testing.assert_array_equal(planes, fits.getdata(path))
        for keyword in set(header) - {"COMMENT", "HISTORY", "", "SIMPLE", "EXTEND"}:
            value = header[keyword]
            if isinstance(value, str):
                assert (image.text(keyword) or "") == value.strip()
                seen += 1
            elif isinstance(value, (int, float)) and not isinstance(value, bool):
                assert image.number(keyword) == value
                seen += 1
    assert seen > 10_000


@needs_real
def test_real_lenses_in_nanomaggies(tmp_path):
    """PROVENANCE.md: nanomaggies = 0.1 x counts / EXPTIME; positions from the WCS."""
    names = survey_mixture.lens_names()
    folder = tmp_path / "train"
    folder.mkdir()
    for path in survey_mixture.PS1.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    write_index(folder, [{"file": name + "_{band}.fits", "kind": "lens"} for name in names])
    made = open_set(tmp_path, "fits", Told(unit="counts"))
    pixels, (columns, findings) = made.pixels()[0], made.metadata()
    assert findings == [] and len(pixels) == 20
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old keywords, by astropy
        for k, name in enumerate(names):
            for b, band in enumerate("grz"):
                path = survey_mixture.PS1 / f"{name}_{band}.fits"
                data, header = fits.getdata(path), fits.getheader(path)
                expected = 0.1 * data[28:92, 28:92].astype(np.float64) / header["EXPTIME"]
                np.testing.assert_allclose(pixels[k, b], expected, rtol=2e-7)
            wcs = WCS(fits.getheader(survey_mixture.PS1 / f"{name}_g.fits"))
            sky = wcs.pixel_to_world(59.5, 59.5)
            assert columns["ra"][k] == pytest.approx(sky.ra.deg, abs=1e-9)
            assert columns["dec"][k] == pytest.approx(sky.dec.deg, abs=1e-9)
            scale = 3600 * proj_plane_pixel_scales(wcs).mean()
            assert columns["pixel_scale_arcsec"][k] == pytest.approx(scale, rel=1e-9)
    assert all(columns["brickname"])


@needs_real
def test_real_cubes_are_told_what_they_do_not_say(tmp_path):
    folder = tmp_path / "train"
    folder.mkdir()
    for path in survey_mixture.DES.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    rows = [
        {"file": "{band}.fits", "row": k, "kind": "control", "ra": 20.0 + k, "dec": -45.0}
        for k in range(23)
    ]
    write_index(folder, rows)
    for told, field in (
        (Told(), "unit"),
        (Told(unit="counts/s"), "zero_point"),
        (Told(unit="counts/s", zero_point=30.0), "pixel_scale_arcsec"),
    ):
        (found,) = open_set(tmp_path, "fits", told).metadata()[1]
        assert found.severity == "ERROR" and f"--config.data.{field} is not given" in found.message
    told = Told(unit="counts/s", zero_point=30.0, pixel_scale_arcsec=0.263)
    made = open_set(tmp_path, "fits", told)
    (note,) = made.metadata()[1]
    assert note.severity == "NOTE" and "91 x 91 pixels cut to 64 x 64" in note.message
    for b, band in enumerate("grz"):
        data = fits.getdata(survey_mixture.DES / f"{band}.fits")
        expected = data[:, 13:77, 13:77].astype(np.float64) * 10 ** (-0.4 * (30 - 22.5))
        np.testing.assert_allclose(made.pixels()[0, :, b], expected, rtol=2e-7)
    lost = open_set(
        tmp_path, "fits", Told(unit="counts", zero_point=30.0, pixel_scale_arcsec=0.263)
    )
    assert "no exposure time (EXPTIME)" in lost.faults()[0][1].message


@needs_real
def test_two_surveys_can_be_one_set(tmp_path):
    """That they may not be trained on is for phase 0 to say."""
    root = survey_mixture.write_mixture(tmp_path / "mixture")
    made = open_set(root, "fits", survey_mixture.told())
    kinds, scales = [], []
    for split in ("train", "val", "test"):
        columns, findings = made.metadata(split)
        assert {one.severity for one in findings} <= {"NOTE"}
        assert made.faults(split) == [] and set(columns["kind"]) == {"lens", "control"}
        kinds += columns["kind"].tolist()
        scales += columns["pixel_scale_arcsec"].tolist()
    assert (kinds.count("lens"), kinds.count("control")) == (20, 23)
    assert [scales[kinds.index(kind)] for kind in ("lens", "control")] == [0.25, 0.263]


# -- what headers declare --------------------------------------------------------------------------

TURN = {"1_1": 0.6, "1_2": 0.8, "2_1": -0.8, "2_2": 0.6}
MATRICES = {
    "CD": {"CD1_1": -STEP, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": STEP},
    "CD turned": {
        "CD1_1": 0.6 * STEP,
        "CD1_2": 0.8 * STEP,
        "CD2_1": -0.8 * STEP,
        "CD2_2": 0.6 * STEP,
    },
    "CDELT": {"CDELT1": -STEP, "CDELT2": STEP},
    "PC": {"CDELT1": STEP, "CDELT2": STEP, **{f"PC{k}": x for k, x in TURN.items()}},
    "old PC": {"CDELT1": STEP, "CDELT2": STEP, "PC001001": -1.0, "PC002002": 1.0},
    "CROTA2": {"CDELT1": -STEP, "CDELT2": STEP, "CROTA2": 30.0},
}


@pytest.mark.parametrize("name", MATRICES)
def test_pixel_scale_and_position_are_astropys(tmp_path, name):
    image = written(tmp_path, header={**TAN, **MATRICES[name]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wcs = WCS(fits.getheader(tmp_path / "a.fits"))
    assert declared(image).pixel_scale_arcsec["WCS"] == pytest.approx(0.262, rel=1e-12)
    np.testing.assert_allclose(wcs_matrix(image), wcs.pixel_scale_matrix, rtol=1e-9, atol=1e-15)
    ra, dec = wcs.wcs_pix2world(31.5, 31.5, 0)
    assert centre(image) == pytest.approx((float(ra), float(dec)), abs=1e-10)


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"CD1_1": -STEP, "CD2_2": 1.01 * STEP}, "pixels of 0.262 x 0.2646 arcsec, not square"),
        ({"CD1_1": -STEP, "CD1_2": 0.1 * STEP, "CD2_2": STEP}, "sheared: resample them first"),
        ({"CDELT1": -STEP, "CDELT2": STEP, "CUNIT1": "arcsec"}, "CUNIT1 is 'arcsec', expected deg"),
        ({"CDELT1": "x", "CDELT2": STEP}, "CDELT1 is 'x', expected a number"),
    ],
)
def test_pixels_that_are_not_square_are_refused(tmp_path, cards, message):
    image = written(tmp_path, header={**TAN, **cards})
    with pytest.raises(LensjaxError) as caught:
        declared(image)
    assert message in caught.value.what and caught.value.code == ExitCode.DATA_INVALID


@pytest.mark.parametrize(
    "cards",
    [
        {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"},
        {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV"},
        {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"},
        {"RADESYS": "FK4"},
        {"EQUINOX": 1950.0},
    ],
)
def test_a_position_that_is_not_plain_is_not_made_up(tmp_path, cards):
    image = written(tmp_path, header={**TAN, **MATRICES["CD"], **cards})
    assert centre(image) is None and declared(image).pixel_scale_arcsec["WCS"] > 0


def test_no_position_is_noted(tmp_path):
    made = write_set(tmp_path / "r", "fits")
    write_index(Path(made.root) / "train", [{"file": "stamp-0_{band}.fits", "kind": "ring"}] * 2)
    columns, (note,) = made.metadata()
    assert np.isnan(columns["ra"]).all() and set(columns["brickname"]) == {""}
    assert note.severity == "NOTE" and note.message.startswith("2 rows without a position")


def test_all_zero_points_are_known_and_two_must_agree(tmp_path):
    for name in fits_header.ZERO_POINTS:
        key = f"HIERARCH {name}" if len(name) > 8 or "." in name else name
        image = written(tmp_path, header={key: 25.0})
        assert declared(image).zero_point == {name: 25.0}
    with pytest.raises(LensjaxError, match="EXPTIME is 'NaN', expected a number"):
        declared(written(tmp_path, header={"EXPTIME": "NaN"}))


def test_asinh_pixels_are_refused(tmp_path):
    with pytest.raises(LensjaxError, match="asinh-scaled"):
        written(tmp_path, header={"BSOFTEN": 100.0, "BOFFSET": 1.0})


@pytest.mark.parametrize("keyword", ["FILTER", "BAND", "HIERARCH FPA.FILTER"])
@pytest.mark.parametrize("text", ["r", "R", "r.00000", "r DECam SDSS c0002 6415.0", "SDSS r"])
def test_d4_a_band_in_another_bands_place_is_named(tmp_path, keyword, text):
    image = written(tmp_path, header={keyword: text})
    check_band(image, "r")
    with pytest.raises(LensjaxError) as caught:
        check_band(image, "z")
    message = f"band-order mismatch: {keyword.split()[-1]} declares 'r', expected 'z'"
    assert caught.value.what == message and caught.value.code == ExitCode.DATA_INVALID
    with pytest.raises(LensjaxError, match="FILTER is 'F814W', expected one of g, r, z"):
        check_band(written(tmp_path, header={"FILTER": "F814W"}), "z")


def exchanged(tmp_path):
    """A set whose row 4 has g and z exchanged."""
    made = write_set(tmp_path / "r", "fits")
    folder = Path(made.root) / "train"
    (folder / "stamp-4_g.fits").rename(folder / "x")
    (folder / "stamp-4_z.fits").rename(folder / "stamp-4_g.fits")
    (folder / "x").rename(folder / "stamp-4_z.fits")
    return made


def test_d4_exchanged_files_are_refused(tmp_path):
    where, what, severity, code = exchanged(tmp_path).fault()
    assert where == "train/stamps.csv row 4 band g" and (severity, code) == ("QUARANTINE", 10)
    assert what == "band-order mismatch: FILTER declares 'z', expected 'g' (stamp-4_g.fits)"


def test_d4_control_without_the_check_they_are_exchanged_unseen(tmp_path, monkeypatch):
    monkeypatch.setattr(fits_header, "check_band", lambda image, band: None)
    stamp = exchanged(tmp_path).pixels()[0, 4]
    np.testing.assert_array_equal(stamp, pairs("train")[0, 4, ::-1])


def test_d3_a_missing_file_is_a_missing_band(tmp_path):
    made = write_set(tmp_path / "r", "fits")
    (Path(made.root) / "train" / "control-2_z.fits").unlink()
    where, what, severity, code = made.fault()
    assert where == "train/stamps.csv row 2 band z (control)"
    assert (what, severity, code) == ("no such file (control-2_z.fits)", "QUARANTINE", 10)


def test_d3_a_missing_plane_is_a_missing_band(tmp_path, monkeypatch):
    made = cube_set(tmp_path, pairs("train")[0, 0, :2], {"BANDS": "gr"})
    where, what, severity, code = made.fault()
    assert where == "train/stamps.csv row 0 band z" and (severity, code) == ("QUARANTINE", 10)
    assert what == "missing band z (has g, r; expected g, r, z) (cube.fits)"
    monkeypatch.setattr(fits_module, "band_planes", lambda *_: (0, 1, 1))  # the control
    stamp = made.pixels()[0, 0]
    np.testing.assert_array_equal(stamp[2], stamp[1])  # r is taken for z, unseen


@pytest.mark.parametrize("keyword", ["BUNIT", "PIXSCALE"])
def test_what_a_header_says_otherwise_than_told_names_both(tmp_path, keyword):
    write_set(tmp_path / "r", "fits")
    told = Told(unit="counts") if keyword == "BUNIT" else Told(pixel_scale_arcsec=0.263)
    found = open_set(tmp_path / "r", "fits", told).faults()
    assert len(found) == 12
    assert f"{keyword} says" in found[0][1].message and "data." in found[0][1].message


def test_resampling_changes_pixels_and_what_is_said_of_them(tmp_path):
    write_set(tmp_path / "r", "fits", header={**HEADER, "PIXSCALE": 0.25})
    for told, scale in ((Told(), 0.25), (Told(resample=True), 0.262)):
        made = open_set(tmp_path / "r", "fits", told)
        if told.resample:
            assert "smaller than 64 pixels (67.1" in made.faults()[0][1].message
        assert (made.metadata()[0]["pixel_scale_arcsec"] == scale).all()


# -- cubes and extensions --------------------------------------------------------------------------


def cube_set(tmp_path, planes, header, told=None):
    """One row, one file: a cube of bands."""
    folder = tmp_path / "r" / "train"
    folder.mkdir(parents=True)
    write_fits(folder / "cube.fits", planes, {**HEADER, **header})
    write_index(folder, [{"file": "cube.fits", "kind": "lens", "ra": 1.0, "dec": 2.0}])
    return open_set(tmp_path / "r", "fits", told)


def test_a_cube_of_bands(tmp_path):
    stamp = pairs("train")[0, 0]
    made = cube_set(tmp_path, stamp, {"BANDS": "grz"})
    np.testing.assert_array_equal(made.pixels()[0, 0], stamp)
    assert cube_bands(written(tmp_path, stamp, {"BAND0": "g", "BAND1": "r", "BAND2": "z"})) == {
        "BAND0...": "grz"
    }


def test_a_cube_of_more_bands(tmp_path):
    stamp = pairs("train")[0, 0]
    made = cube_set(tmp_path, np.insert(stamp, 2, 7, axis=0), {"BANDS": "griz"})
    np.testing.assert_array_equal(made.pixels()[0, 0], stamp)


def test_d4_a_cube_in_another_order_is_refused(tmp_path, monkeypatch):
    stamp = pairs("train")[0, 0]
    made = cube_set(tmp_path, stamp[::-1], {"BANDS": "zrg"})
    message = "band-order mismatch: 'zrg' declared by BANDS, expected 'grz' (cube.fits)"
    assert made.fault()[1:] == (message, "QUARANTINE", 10)
    monkeypatch.setattr(fits_module, "band_planes", lambda *_: (0, 1, 2))  # the control
    np.testing.assert_array_equal(made.pixels()[0, 0], stamp[::-1])


@pytest.mark.parametrize(
    ("planes", "header", "told", "message"),
    [
        (pairs("train")[0, 0], {}, Told(), "no bands: the file declares none"),
        (pairs("train")[0, 0, :2], {"BANDS": "gr"}, Told(), "missing band z (has g, r"),
        (pairs("train")[0, 0], {"BANDS": "grz"}, Told(bands="griz"), "bands: BANDS says grz"),
        (pairs("train")[0, 0, 0], {"BANDS": "grz"}, Told(), "1 planes, but bands 'grz' are 3"),
        (pairs("train")[:, :1, 0], {}, Told(), "4 dimensions (2, 1, 64, 64)"),
        (np.zeros(64, "f4"), {}, Told(), "1 dimensions (64,)"),
    ],
)
def test_other_cubes_are_refused(tmp_path, planes, header, told, message):
    made = cube_set(tmp_path, planes, header, told)
    if "is not given" in message or message.startswith("no bands"):
        assert message in made.metadata()[1][0].message
    assert message in made.fault()[1] and made.fault()[3] == 10


def test_a_row_beyond_the_cube_is_named(tmp_path):
    made = cube_set(tmp_path, pairs("train")[0, 0], {"BANDS": "grz"})
    folder = Path(made.root) / "train"
    write_index(folder, [{"file": "cube.fits", "row": 1, "kind": "lens"}])
    assert "row 1 of a cube of bands" in made.fault()[1]
    for band in "grz":
        write_fits(folder / f"{band}.fits", pairs("train")[0, :, 0])
    write_index(folder, [{"file": "{band}.fits", "row": 6, "kind": "lens"}])
    assert made.fault()[:2] == (
        "train/stamps.csv row 0 band g",
        "plane 6 of a file that has 6 (g.fits)",
    )


def test_an_image_in_an_extension_inherits_the_exposure_but_not_the_scaling(tmp_path):
    primary = fits.PrimaryHDU(header=fits.Header({"EXPTIME": 90.0, "BUNIT": "Jy", "FILTER": "g"}))
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=np.arange(9000))])
    image = fits.ImageHDU(NOISE, header=fits.Header({"BUNIT": "adu", "MAGZERO": 25.0}))
    path = tmp_path / "a.fits"
    path.write_bytes(blob(primary, table, image))
    made = opened(path)
    np.testing.assert_array_equal(made.plane(0), NOISE)
    found = declared(made)
    assert (found.unit, found.exptime_s) == ({"BUNIT": "adu"}, {"EXPTIME": 90.0})
    assert made.text("FILTER") == "g"


def test_files_without_an_image_are_named(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=np.arange(9))])
    assert outcome(tmp_path, blob(fits.PrimaryHDU(), table)).what == "no HDU has an image"
    assert outcome(tmp_path, blob(fits.PrimaryHDU())).what == "no HDU has an image"
    packed = outcome(tmp_path, blob(fits.PrimaryHDU(), fits.CompImageHDU(NOISE)))
    assert "tile-compressed (ZIMAGE): unpack it first (funpack)" in packed.what
    assert {packed.code} == {ExitCode.DATA_INVALID}
    many = [fits.PrimaryHDU()] + [fits.ImageHDU() for _ in range(16)] + [fits.ImageHDU(NOISE)]
    refused = outcome(tmp_path, blob(*many))
    assert refused.code == ExitCode.REFUSED_INPUT and "first 16 HDUs" in refused.what


# -- damaged and hostile files ---------------------------------------------------------------------

SOUND = blob(fits.PrimaryHDU(NOISE, fits.Header({"BUNIT": "nanomaggy", "EXPTIME": 3.0})))


def test_d21_a_missing_end_is_named(tmp_path):
    error = outcome(tmp_path, SOUND.replace(b"END" + b" " * 77, b" " * 80))
    assert error.code == ExitCode.DATA_INVALID and "no END card" in error.what
    error = outcome(tmp_path, SOUND.replace(b"END" + b" " * 77, b" " * 80)[:2880])
    assert error.code == ExitCode.DATA_INVALID and "no END card" in error.what


@pytest.mark.parametrize("kept", [0, 100, 2880, 2881, 2880 + 8000, 2880 + 4 * 64 * 64 - 1])
def test_truncated_files_are_named(tmp_path, kept):
    error = outcome(tmp_path, SOUND[:kept])
    assert error.code == ExitCode.DATA_INVALID and "truncated" in error.what


def test_control_without_the_check_a_truncated_file_is_a_traceback(tmp_path, monkeypatch):
    monkeypatch.setattr(Bytes, "hold", lambda self, end: None)
    unchecked = lambda self, start, count: self._head[start : start + count]  # noqa: E731
    monkeypatch.setattr(Bytes, "read", unchecked)
    (tmp_path / "a.fits").write_bytes(SOUND[:-9000])
    with pytest.raises(ValueError, match="reshape"):
        opened(tmp_path / "a.fits").plane(0)


HOSTILE = {
    "far beyond the file": (claiming(10**6, 10**6), "its header claims"),
    "beyond 64 bits": (claiming(2**31, 2**31, 2**31), "its header claims"),
    "negative side": (claiming(-64, 64), "NAXIS1 is -64"),
    "a side of 1e30": (claiming("1E30", 64), "NAXIS1 is 1e+30"),
    "1e9 axes": (header_bytes(card("SIMPLE", "T"), card("BITPIX", 8), card("NAXIS", 10**9)), "NAX"),
    "an endless header": (card("SIMPLE", "T") + b"COMMENT ".ljust(80) * 40_000, "a header of more"),
    "gzip bomb": (gzip.compress(bytes(128 * 2**20)), "gzip unpacks to more than"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_before_anything_is_allocated(tmp_path, name):
    raw, message = HOSTILE[name]
    (tmp_path / "raw.fits").write_bytes(raw)
    tracemalloc.start()
    begun = time.perf_counter()
    with pytest.raises(LensjaxError) as caught:
        opened(tmp_path / "raw.fits").plane(0)
    took, peak = time.perf_counter() - begun, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.code == ExitCode.REFUSED_INPUT and message in caught.value.what
    assert took < 2 and peak < 60 * 2**20


def test_control_without_the_bounds_memory_and_time_are_the_files(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_PACKED_BYTES", 2**28)
    (tmp_path / "raw.fits").write_bytes(HOSTILE["gzip bomb"][0])
    tracemalloc.start()
    with pytest.raises(LensjaxError):
        opened(tmp_path / "raw.fits")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak > 120 * 2**20
    monkeypatch.setattr(fits_image, "MAX_HEADER_BLOCKS", 10**9)
    assert (
        "does not end in" in outcome(tmp_path, HOSTILE["an endless header"][0]).what
    )  # to its end


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"hello", "no END card"),
        (b"\x80\x04pickle" * 1000, "no END card"),
        (header_bytes(card("SIMPLE", "F")), "not a FITS file"),
        (header_bytes(card("SIMPLE", "T"), card("BITPIX", 12), card("NAXIS", 0)), "BITPIX is 12"),
        (header_bytes(card("SIMPLE", "T"), card("NAXIS", 0)), "BITPIX is None"),
        (header_bytes(card("SIMPLE", "T"), card("BITPIX", "'8'")), "BITPIX is '8', expected a num"),
        (header_bytes(card("SIMPLE", "T"), card("BITPIX", 8), card("BITPIX", 16)), "there twice"),
        (header_bytes(card("SIMPLE", "T"), card("BITPIX", "1e999")), "beyond the range"),
        (header_bytes(card("SIMPLE", "T"), card("GROUPS", "T")), "random groups"),
        (claiming(40, 64) + bytes(9000), "shape (64, 40), expected (64, 64) or larger"),
        (claiming(64, 0)[:2880], "no HDU has an image"),
    ],
)
def test_damaged_headers_are_named(tmp_path, raw, message):
    error = outcome(tmp_path, raw)
    assert error.code == ExitCode.DATA_INVALID and message in error.what


def test_an_image_that_is_no_cutout_is_refused(tmp_path):
    with pytest.raises(LensjaxError, match="more than 1024 pixels a side is no cutout"):
        written(tmp_path, np.zeros((1025, 64), np.uint8))


def test_gzip_is_read_alike(tmp_path):
    made = write_set(tmp_path / "r", "fits")
    path = Path(made.root) / "train" / "stamp-4_r.fits"
    path.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(made.pixels(), pairs("train"))


def test_a_large_cube_is_read_plane_by_plane(tmp_path):
    planes = np.random.default_rng(0).normal(size=(700, 64, 64)).astype(np.float32)
    image = written(tmp_path, planes)
    tracemalloc.start()
    np.testing.assert_array_equal(image.plane(699), planes[699])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20 and image.file.size > 11_000_000


@pytest.mark.parametrize("keyword", ["BUNIT", "FILTER", "BANDS", "OBJECT"])
def test_s8_header_text_is_escaped(tmp_path, keyword):
    made = write_set(tmp_path / "r", "fits")
    path = Path(made.root) / "train" / "stamp-4_r.fits"
    raw = path.read_bytes()
    line = f"{keyword:8}= '\x1b[2Jowned\x07'".ljust(80).encode()
    cards = [raw[k : k + 80] for k in range(0, 2880, 80)]
    cards = [c for c in cards if not c.startswith((keyword.encode(), b"END"))]
    head = b"".join(c for c in cards if c.strip()) + line + b"END".ljust(80)
    path.write_bytes(head.ljust(2880) + raw[2880:])
    text = " ".join(one.where + one.message for _, one in made.faults())
    assert "\x1b" not in text and "\x07" not in text
    assert (r"\x1b[2Jowned" in text) == (keyword in ("BUNIT", "FILTER"))


def test_s9_mutations_end_in_documented_ways(tmp_path):
    header = {**HEADER, **TAN, **MATRICES["PC"], "FILTER": "g", "EXPTIME": 30.0}
    sound = blob(fits.PrimaryHDU(NOISE, fits.Header(header)))
    rng = np.random.default_rng(42)
    outcomes, begun = set(), time.perf_counter()
    for _ in range(250):
        spoilt = bytearray(sound)
        for _ in range(rng.integers(1, 5)):
            at = int(rng.integers(2880 if rng.random() < 0.9 else len(spoilt) - 8))
            kind = rng.integers(4)
            if kind == 0:
                spoilt[at] ^= 1 << int(rng.integers(8))
            elif kind == 1:
                spoilt[at] = int(rng.choice(list(b"0123456789E+-.'/= T")))
            elif kind == 2:
                spoilt[at : at + 8] = rng.bytes(8)
            else:
                del spoilt[at : at + int(rng.integers(1, 99))]
        (tmp_path / "x.fits").write_bytes(spoilt)
        try:
            image = opened(tmp_path / "x.fits")
            declared(image), centre(image), check_band(image, "g"), image.plane(0)
            outcomes.add("read")
        except LensjaxError as error:
            outcomes.add(error.code)
    assert {"read", ExitCode.DATA_INVALID} <= outcomes
    assert outcomes <= {"read", ExitCode.DATA_INVALID, ExitCode.REFUSED_INPUT}
    assert time.perf_counter() - begun < 20


def test_the_middle_of_the_cutout_is_the_stamp(tmp_path):
    made = write_set(tmp_path / "r", "fits", every=lambda x: np.pad(x, ((0, 0), (9, 9), (20, 20))))
    np.testing.assert_array_equal(made.pixels(), pairs("train"))
    assert cut(np.zeros((3, 82, 104))).shape == (3, 64, 64)
