"""Catalogues: counted, never trusted; absent or short is not proven, unreadable is an error."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import coordinates

from lensjax.checks import catalogues
from lensjax.checks.catalogues import check_anchors, check_contaminants
from lensjax.checks.sky import nearest_arcsec

MINIMUM = {"ring": 4, "spiral": 4}


def write(path, header, rows):
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def anchors(tmp_path):
    rows = [(f"lens{i}", 10 + 0.1 * i, -5, 0.6 + 0.1 * i) for i in range(8)]
    return write(tmp_path / "anchors.csv", "name,ra,dec,theta_e_arcsec", rows)


@pytest.fixture
def contaminants(tmp_path):
    rows = [(f"c{i}", 50 + 0.1 * i, -5, ("ring", "Spiral ")[i % 2]) for i in range(8)]
    return write(tmp_path / "contaminants.csv", "name,ra,dec,category", rows)


def anchors_of(path, minimum=8):
    return check_anchors(path, minimum=minimum, min_theta_e_arcsec=0.5)


def test_enough_is_enough(anchors, contaminants):
    for outcome in (
        anchors_of(anchors),
        check_contaminants(contaminants, minimum=MINIMUM, anchors=anchors),
    ):
        assert not outcome.findings and not outcome.not_proven


def test_absent_and_short_are_not_proven(anchors, contaminants):
    assert anchors_of(None).not_proven
    assert "8 usable anchors, 9 needed" in anchors_of(anchors, minimum=9).not_proven
    assert check_contaminants(None, minimum=MINIMUM).not_proven
    short = check_contaminants(contaminants, minimum={"ring": 4, "merger": 30}).not_proven
    assert "0 of 30 mergers" in short and "ring" not in short


def test_what_is_out_of_range_is_left_out_and_counted(tmp_path):
    rows = [
        ("good", 10, 0, 1.2),
        ("small", 20, 0, 0.4),
        ("unknown", 30, 0, ""),
        ("vast", 31, 0, 30.1),
        ("endless", 32, 0, "inf"),
        ("no number", 33, 0, "nan"),
        ("nowhere", 400, 0, 1.2),
        ("twin", 10, 4 / 3600, 1.3),
        ("good", 40, 0, 1.2),
    ]
    path = write(tmp_path / "a.csv", "name,ra,dec,theta_e_arcsec", rows)
    outcome = anchors_of(path, minimum=2)
    assert outcome.counts["usable"] == 2 and not outcome.not_proven
    assert outcome.counts["theta_e_out_of_range"] == 5
    assert outcome.counts["without_position"] == outcome.counts["repeated"] == 1
    assert outcome.counts["repeated_names"] == 1
    assert {f.severity for f in outcome.findings} == {"NOTE"}


def test_without_an_upper_limit_what_no_lens_is_would_count(tmp_path, monkeypatch):
    rows = [(f"lens{i}", 10 + i, -5, value) for i, value in enumerate((30.0, 30.1, "inf"))]
    path = write(tmp_path / "a.csv", "name,ra,dec,theta_e_arcsec", rows)
    assert anchors_of(path).counts["usable"] == 1
    monkeypatch.setitem(catalogues.ARC_RANGES, "theta_e_arcsec", (0.0, np.inf))
    assert anchors_of(path).counts["usable"] == 3


def test_a_contaminant_that_is_an_anchor_is_an_error(tmp_path, anchors):
    rows = [("other", 50, 0, "ring"), ("lens3 again", 10.3, -5 + 2 / 3600, "ring")]
    path = write(tmp_path / "c.csv", "name,ra,dec,category", rows)
    (finding,) = check_contaminants(path, minimum={}, anchors=anchors).findings
    assert finding.severity == "ERROR" and finding.code == 10
    assert "lens3 again is an anchor too (2.0 arcsec)" in finding.message
    assert finding.where == f"{path} row 1" and "from one of the two" in finding.remedy
    assert not check_contaminants(path, minimum={}).findings


@pytest.mark.parametrize(
    ("content", "code", "cause", "remedy"),
    [
        (
            b"name,ra,dec\na,1,2\n",
            10,
            "missing columns",
            "first line must name name, ra, dec, theta_e",
        ),
        (b"name,ra,dec,theta_e_arcsec,ra\n", 10, "named twice", "first line must name"),
        (
            b"name,ra,dec,theta_e_arcsec\na,1,2\n",
            10,
            "3 fields, the first line names 4",
            "as many fields",
        ),
        (
            b"name,ra,dec,theta_e_arcsec\na,1,2,3,4\n",
            10,
            "5 fields, the first line names 4",
            "as many fields",
        ),
        (b"name,ra,dec,theta_e_arcsec\n\xff\xfe,1,2,3\n", 10, "not a CSV", "Save it as"),
        (b'name,ra,dec,theta_e_arcsec\n"a,1,2,3\n', 10, "not a CSV", "Save it as"),
        (
            b"name,ra,dec,theta_e_arcsec\n" + b"a" * 200_000 + b",1,2,3\n",
            17,
            "a line of more",
            "is a CSV file",
        ),
        (
            b"name,ra,dec,theta_e_arcsec\n" + b"\n" * 300_000,
            17,
            "more than 200,000 rows",
            "is a CSV file",
        ),
        (
            b"name,ra,dec,theta_e_arcsec" + b",x" * 30 + b"\n",
            10,
            "named twice",
            "first line must name",
        ),
        (b"\x80\x04\0pickle", 17, "NUL", "is a CSV file"),
        (b"", 10, "missing columns", "first line must name name, ra, dec, theta_e"),
    ],
)
def test_unreadable_catalogues_are_errors(tmp_path, content, code, cause, remedy):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    (finding,) = anchors_of(str(path)).findings
    assert finding.severity == "ERROR" and finding.code == code and cause in finding.message
    assert remedy in finding.remedy


def test_rows_are_counted_from_0_without_the_header(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("name,ra,dec,theta_e_arcsec\na,1,2,3\nb,1,2\n")
    (finding,) = anchors_of(str(path)).findings
    assert finding.where == f"{path} row 1"


def test_missing_file_is_an_error_not_an_absence(tmp_path):
    (finding,) = anchors_of(str(tmp_path / "none.csv")).findings
    assert finding.code == 10 and "cannot be read" in finding.message
    assert "Check the name" in finding.remedy


def test_separation_agrees_with_astropy_across_ra_0_and_at_the_pole():
    rng = np.random.default_rng(0)
    ra, dec = rng.uniform(0, 360, 50), np.degrees(np.arcsin(rng.uniform(-1, 1, 50)))
    ra[:2], dec[:2] = (359.9999, 10.0), (5.0, 89.9999)
    other_ra = (ra + rng.uniform(-2e-3, 2e-3, 50)) % 360
    other_dec = np.clip(dec + rng.uniform(-2e-3, 2e-3, 50), -90, 90)
    ours, index = nearest_arcsec(ra, dec, other_ra, other_dec, 20.0)
    here = coordinates.SkyCoord(ra, dec, unit="deg")
    theirs = here.separation(coordinates.SkyCoord(other_ra, other_dec, unit="deg")).arcsec
    assert np.array_equal(index, np.arange(50))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert np.isinf(nearest_arcsec(ra, dec, other_ra, other_dec, 1e-3)[0]).any()
