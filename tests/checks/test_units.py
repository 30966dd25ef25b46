"""Stamps in another unit than nanomaggies, or of another zero point, are refused by their noise."""

from __future__ import annotations

import numpy as np
import pytest

from lensjax import schema
from lensjax.checks import stamps
from lensjax.checks.result import FAIL
from lensjax.checks.stamps import expected_noise
from lensjax.schema import ExitCode

pytestmark = pytest.mark.usefixtures("quick_intervals")


def in_units(made, factor: float, *, depth: float | None = 23.5):
    """The sets of conftest with all stamps times `factor` and a depth of the table, or none."""
    sets = made.sets()
    for stamp_set in sets.values():
        stamp_set.stamps[:] *= np.float32(factor)
        stamp_set.table["psf_depth"][:] = np.nan if depth is None else depth
    return sets


def found(made, sets):
    result = made.phase0(sets)["stamps"]
    return result, [finding for finding in result.findings if "units" in finding.message]


@pytest.mark.parametrize("factor", [1e3, 1e-3, 1e2, 1e-2])  # also a zero point 5 mag off
def test_another_unit_is_refused_and_named(made, factor, monkeypatch):
    sets = in_units(made, factor)
    result, findings = found(made, sets)
    assert result.verdict == FAIL and result.codes() == {ExitCode.DATA_INVALID}
    assert len(findings) == 2 * len(schema.SPLITS)
    assert "units are not nanomaggies (zero point 22.5)" in findings[0].message
    assert findings[0].where.startswith("train negatives, first ")
    monkeypatch.setattr(stamps, "NOISE_FACTOR", np.inf)
    assert found(made, sets)[1] == []  # what would have been trained on


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_what_surveys_differ_by_passes(made, factor):
    assert found(made, in_units(made, factor))[1] == []


@pytest.mark.parametrize(("factor", "n"), [(1e3, 6), (1e-3, 6), (1.0, 0)])
def test_without_depths_only_what_no_survey_has_is_refused(made, factor, n):
    findings = found(made, in_units(made, factor, depth=None))[1]
    assert len(findings) == n and all("outside 0.0001 to 1" in f.message for f in findings)


def test_one_class_of_one_split_is_enough(made):
    sets = in_units(made, 1.0)
    positive = sets["val"].table["label"] == 1
    sets["val"].stamps[positive] *= 1e3
    assert [f.where.partition(",")[0] for f in found(made, sets)[1]] == ["val positives"]


def test_the_expected_noise_is_that_of_aperture_photometry():
    """Weights of the matched filter of a Gaussian PSF on white noise: 5 sigma at the depth."""
    depth, fwhm, scale = 23.4, 1.18, 0.262
    sigma = expected_noise(*(np.array(x) for x in (depth, fwhm, scale)))
    offset = (np.arange(101) - 50) * scale
    profile = np.exp(-0.5 * (offset / (fwhm / 2.354820)) ** 2)
    psf = np.outer(profile, profile)
    psf /= psf.sum()
    uncertainty = sigma / np.sqrt((psf**2).sum())  # of the flux of a point source
    assert 5 * uncertainty == pytest.approx(10 ** ((22.5 - depth) / 2.5), rel=1e-4)
