"""Are all pixels fit to train on? What the scan found when it decoded and validated every stamp.

Proves that each stamp is finite, in range, varies in each band, and that its sky noise is what its
depth and seeing say. Cannot prove that the unit is right to better than a factor of 5, nor without
depths to better than one of about 100. Nothing is repaired.
"""

from __future__ import annotations

import numpy as np

from lensjax import schema
from lensjax.checks.measure import OUTSKIRTS_COLUMNS, Measured
from lensjax.checks.result import Outcome
from lensjax.checks.rows import Rows
from lensjax.checks.scan import Scan
from lensjax.data.stampset import Finding
from lensjax.schema import ExitCode

NOISE_FACTOR = 5.0  # 1.75 mag; noise of resampled images is correlated, and lower by a pixel
NOISE_RANGE = (1e-4, 1.0)  # nanomaggies a pixel, r band, where no depth is known
FWHM_TO_SIGMA = 1 / (2 * np.sqrt(2 * np.log(2)))


def check_stamps(scan: Scan) -> Outcome:
    """ERROR (exit 10) where there are no stamps at all, and where the sky noise of a split's
    positives or negatives is not that of nanomaggies; the unusable bands of stamps, named by
    file, row, band and cause, are among the scan's findings. Counts the rows set aside."""
    n = len(scan.rows)
    findings = _units(scan.rows, scan.measured) if n else []
    if not n and all(one.severity != "ERROR" for one in scan.findings):  # else they say why
        what = "there are no stamps"
        findings.append(Finding("stamps", "ERROR", what, "", ExitCode.DATA_INVALID))
    counts = {"stamps": n, "set_aside": scan.set_aside}
    return Outcome(f"{n} stamps looked at.", tuple(findings), counts)


def expected_noise(
    depth: np.ndarray, fwhm_arcsec: np.ndarray, pixel_scale_arcsec: np.ndarray
) -> np.ndarray:
    """Sky noise, nanomaggies a pixel, of images whose 5-sigma point-source depth is `depth`
    magnitudes: the flux of that depth is 5 sigma sqrt(N), with N = 4 pi s^2 pixels under a Gaussian
    PSF of standard deviation s (King 1983, PASP 95, 163), at least 1. NaN gives NaN."""
    flux = 10 ** ((schema.ZERO_POINT - depth) / 2.5)
    pixels = 4 * np.pi * (fwhm_arcsec * FWHM_TO_SIGMA / pixel_scale_arcsec) ** 2
    return flux / (5 * np.sqrt(np.maximum(pixels, 1.0)))


def _units(rows: Rows, measured: Measured) -> list[Finding]:
    """One finding for the stamps of a split and label whose median noise cannot be."""
    column = OUTSKIRTS_COLUMNS.index(f"log10_sigma_{schema.BANDS[schema.R_BAND]}")
    noise = 10.0 ** measured.outskirts[:, column].astype(np.float64)
    told = [
        rows.numbers[name].astype(np.float64)
        for name in ("psf_depth", "psf_fwhm_arcsec", "pixel_scale_arcsec")
    ]
    with np.errstate(all="ignore"):  # values out of range are the labels check's to name
        ratio = noise / expected_noise(*told)
    findings = []
    for split, name in enumerate(schema.SPLITS):
        for label, kind in enumerate(("negatives", "positives")):
            mine = np.flatnonzero((rows.split == split) & (rows.label == label))
            if message := _implausible(noise[mine], ratio[mine]):
                where = f"{name} {kind}, first {rows.where(mine[0])}"
                findings.append(Finding("stamps", "ERROR", message, where, ExitCode.DATA_INVALID))
    return findings


def _implausible(noise: np.ndarray, ratio: np.ndarray) -> str:
    """What is wrong with the noise of some stamps, '' if nothing; NaN is not looked at."""
    noise, ratio = noise[np.isfinite(noise)], ratio[np.isfinite(ratio)]
    if not len(noise):
        return ""
    if len(ratio):
        times = float(np.median(ratio))
        if 1 / NOISE_FACTOR <= times <= NOISE_FACTOR:
            return ""
        than = f"{times:.3g} times what psf_depth and the seeing say"
    else:
        low, high = NOISE_RANGE
        if low <= np.median(noise) <= high:
            return ""
        than = f"outside {low:g} to {high:g}"
    return (
        f"units are not nanomaggies (zero point {schema.ZERO_POINT}): r-band sky noise is "
        f"{np.median(noise):.3g} a pixel, {than}"
    )
