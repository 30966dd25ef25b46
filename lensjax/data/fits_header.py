"""What a FITS header declares: unit, zero point, exposure time, bands, pixel scale, position.

Not the calibration (`told` brings it together with what the user tells). Pixels must be square and
unsheared; they may be turned. Positions come through astropy's WCS from the cards of the projection
alone, so that no table or distortion of a stranger's header reaches it.

    >>> declared(image).pixel_scale_arcsec, centre(image)
    ({'WCS': 0.25000000...}, (337.889..., -8.829...))
"""

from __future__ import annotations

import math
import re
import warnings

import numpy as np
from astropy.io.fits import Header
from astropy.wcs import WCS

from lensjax import schema
from lensjax.data.fits_image import Image
from lensjax.data.npz import damaged
from lensjax.data.told import SAME_SCALE, Declared
from lensjax.schema import ExitCode, LensjaxError

UNIT, EXPTIME = "BUNIT", "EXPTIME"
ZERO_POINTS = (
    *("MAGZERO", "MAGZPT", "MAGZP", "MAG_ZERO", "ZEROPT", "ZEROPNT", "ZP", "ZPT", "PHOTZP"),
    *("SEXMGZPT", "FPA.ZP"),  # of SExtractor's users; of Pan-STARRS
)
SCALES = ("PIXSCALE", "PIXSCAL1", "SECPIX")
BANDS = ("BANDS", "BANDSET")  # of a cube: 'grz'; or BAND0, BAND1, ... one a plane
FILTERS = ("FILTER", "BAND", "FPA.FILTER")  # of one plane: 'g', 'g.00000', 'r DECam SDSS'
PROJECTIONS = ("TAN", "SIN", "ARC", "STG", "ZEA")  # whose pixels are square near the centre
_LETTERS = "ugrizy"


def declared(image: Image) -> Declared:
    """Raises LensjaxError (DATA_INVALID) for cards that cannot be read and pixels that are not
    square."""
    unit = image.text(UNIT)
    scales = _numbers(image, SCALES)
    matrix = wcs_matrix(image)
    return Declared(
        unit={UNIT: unit} if unit else {},
        zero_point=_numbers(image, ZERO_POINTS),
        exptime_s=_numbers(image, (EXPTIME,)),
        pixel_scale_arcsec=scales if matrix is None else {"WCS": _scale(matrix), **scales},
    )


def cube_bands(image: Image) -> dict[str, str]:
    """The bands of a cube's planes, by keyword; {} if it declares none."""
    found = {name: text for name in BANDS if (text := image.text(name))}
    planes = [image.text(f"BAND{k}") for k in range(image.planes)]
    if all(planes):
        found["BAND0..."] = "".join(_band(f"BAND{k}", x) for k, x in enumerate(planes) if x)
    return found


def check_band(image: Image, band: str) -> None:
    """Raises LensjaxError (DATA_INVALID) if the header declares another band than `band`."""
    for name in FILTERS:
        text = image.text(name) if name in image.cards else None
        if text and (given := _band(name, text)) != band:
            what = f"band-order mismatch: {name} declares {given!r}, expected {band!r}"
            raise LensjaxError(ExitCode.DATA_INVALID, what)


def wcs_matrix(image: Image) -> np.ndarray | None:
    """Degrees on the sky a pixel, float64 [2, 2]: CD, or CDELT times PC (FITS 4.0, section 8.1) or
    the older CROTA2; None without celestial axes."""
    kinds = [image.text(f"CTYPE{k}") or "" for k in (1, 2)]
    if not all(re.match(r"(RA--|DEC-|[A-Z]LON|[A-Z]LAT)", kind) for kind in kinds):
        return None
    for name in ("CUNIT1", "CUNIT2"):
        if (image.text(name) or "deg").lower() not in ("deg", "degree", "degrees"):
            raise damaged(f"{name} is {image.text(name)!r}, expected deg")
    pairs = [(i, j) for i in (1, 2) for j in (1, 2)]
    if any(f"CD{i}_{j}" in image.cards for i, j in pairs):
        return np.array([image.number(f"CD{i}_{j}") or 0.0 for i, j in pairs]).reshape(2, 2)
    step = [image.number("CDELT1"), image.number("CDELT2")]
    if step[0] is None or step[1] is None:
        return None
    if angle := math.radians(image.number("CROTA2") or 0.0):
        cos, sin = math.cos(angle), math.sin(angle)
        return np.array([[cos, -sin], [sin, cos]]) * step
    turn = np.eye(2)
    for i, j in pairs:
        for name in (f"PC{i}_{j}", f"PC{i:03}{j:03}"):
            if (given := image.number(name)) is not None:
                turn[i - 1, j - 1] = given
    with np.errstate(all="ignore"):
        return np.array(step)[:, None] * turn


def centre(image: Image) -> tuple[float, float] | None:
    """Right ascension and declination, degrees, of the geometric centre; None where the header
    does not say them plainly: no WCS, not equatorial (ICRS or FK5), distorted, or a projection
    other than TAN, SIN, ARC, STG or ZEA. Raises LensjaxError (DATA_INVALID) for a WCS that
    astropy refuses."""
    matrix = wcs_matrix(image)
    kinds = [image.text("CTYPE1") or "", image.text("CTYPE2") or ""]
    plain = {f"RA---{code}" for code in PROJECTIONS} | {f"DEC--{code}" for code in PROJECTIONS}
    equatorial = (image.text("RADESYS") or image.text("RADECSYS") or "ICRS") in ("ICRS", "FK5")
    equatorial &= image.number("EQUINOX") in (None, 2000.0)
    names = ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2")
    given = {name: value for name in names if (value := image.number(name)) is not None}
    if matrix is None or not equatorial or not plain.issuperset(kinds) or len(given) < 4:
        return None
    height, width = image.shape[-2:]
    header = {"CTYPE1": kinds[0], "CTYPE2": kinds[1], **given}
    header |= {f"CD{i + 1}_{j + 1}": float(matrix[i, j]) for i in (0, 1) for j in (0, 1)}
    for name in ("LONPOLE", "LATPOLE"):
        if (value := image.number(name)) is not None:
            header[name] = value
    return _sky(header, (width - 1) / 2, (height - 1) / 2)


def _sky(header: dict[str, str | float], x: float, y: float) -> tuple[float, float] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wcs = WCS(Header(header), naxis=2, fix=False).celestial
            ra, dec = wcs.wcs_pix2world(x, y, 0)
    except Exception as error:  # astropy documents none; wcslib's errors are ValueErrors and others
        what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise damaged(f"its WCS cannot be used ({what})") from error
    if not (math.isfinite(ra) and math.isfinite(dec)):
        return None
    return float(ra) % 360.0, float(dec)


def _scale(matrix: np.ndarray) -> float:
    """Arcsec a pixel. Raises LensjaxError for pixels that are not square, or sheared."""
    with np.errstate(all="ignore"):  # what overflows is infinite, and no pixel scale
        along, down = (float(x) for x in np.hypot(matrix[0], matrix[1]))
        sheared = abs(float(matrix[:, 0] @ matrix[:, 1])) > SAME_SCALE * along * down
    if not math.isclose(along, down, rel_tol=SAME_SCALE) or sheared:
        what = f"pixels of {3600 * along:.4g} x {3600 * down:.4g} arcsec"
        raise LensjaxError(
            ExitCode.DATA_INVALID,
            f"{what}, {'sheared' if sheared else 'not square'}: resample them first",
        )
    return 3600.0 * math.sqrt(along * down)


def _numbers(image: Image, names: tuple[str, ...]) -> dict[str, float]:
    return {name: value for name in names if (value := image.number(name)) is not None}


def _band(keyword: str, text: str) -> str:
    """The one band that a header's words name: 'g' of 'g.00000' or 'g DECam SDSS c0001'."""
    words = set(re.findall(r"[a-z0-9]+", text.lower()))
    found = words.intersection(_LETTERS)
    if len(found) != 1:
        what = f"{keyword} is {text!r}, expected one of {', '.join(schema.BANDS)}"
        raise LensjaxError(ExitCode.DATA_INVALID, f"band mismatch: {what}")
    return found.pop()
