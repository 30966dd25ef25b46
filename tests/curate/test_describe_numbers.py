"""Counts, strata, histograms and differences are those of a plain recount, or of scipy."""

from collections import Counter

import numpy as np
import pytest
from scipy.stats import ks_2samp

from lensjax import schema
from lensjax.checks.scan import scan_files
from lensjax.curate import describe_counts, describe_strata
from lensjax.curate.describe_document import rounded
from lensjax.curate.differences import (
    chance_of_distance,
    chance_of_variation,
    distance,
    variation,
)
from lensjax.data.stampset import Finding
from lensjax.schema import ExitCode


@pytest.fixture
def described(galaxies, open_root, tmp_path):
    """(galaxies, source, scan) of the set after `plant`."""

    def run(plant=lambda galaxies: None):
        plant(galaxies)
        source = open_root(galaxies.write(tmp_path / "root"))
        return galaxies, source, scan_files(source, workers=1, progress=False)

    return run


def test_counts_are_those_of_a_recount(described, tmp_path):
    def plant(galaxies):
        galaxies.pixels["train"][0, 1, 0, 3, 3] = np.nan
        galaxies.columns["test"]["ebv"][2] = np.nan

    galaxies, source, scan = described(plant)
    told = describe_counts.counts(scan)
    for split, columns in galaxies.columns.items():
        used = [k for k in range(len(columns["ra"])) if (split, k) != ("train", 1)]
        one = told["splits"][split]
        assert one["positives"] == one["negatives"] == one["pairs"] == one["hosts"] == len(used)
        assert one["stamps"] == 2 * len(used) == 2 * one["kinds"]["control"]
        assert one["bricks"] == len({columns["brickname"][k] for k in used})
    assert told["all"]["stamps"] == 42 and told["rows_set_aside"] == 1
    assert told["splits"]["train"]["share_of_hosts"] == 9 / 21
    assert told["unknown"]["ebv"] == 2 and told["unknown"]["arc_snr_shot"] == 21
    assert told["pixel_scales"] == [{"arcsec": pytest.approx(0.262), "stamps": 42}]
    files = describe_counts.files(source)
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.parquet"))
    assert files["files"] == 3 and files["bytes"] == size and files["rows"] == 22
    assert files["folders"]["val"]["files"] == 1 and files["endings"] == {".parquet": 3}


def test_findings_are_counted_by_cause_the_gravest_first():
    def one(severity, message, where="a row 1"):
        return Finding("stamps", severity, message, where, ExitCode.DATA_INVALID)

    found = describe_counts.causes(
        [
            one("NOTE", "7 rows are in no split"),
            one("QUARANTINE", "3 NaN", "a row 7"),
            one("QUARANTINE", "17 NaN (a_g.fits)"),
            one("QUARANTINE", "1 of the -99 fill"),
            one("ERROR", "no folder val"),
        ]
    )
    assert [(x["severity"], x["cause"], x["count"]) for x in found] == [
        ("ERROR", "no folder val", 1),
        ("QUARANTINE", "N NaN", 2),
        ("QUARANTINE", "N of the N fill", 1),
        ("NOTE", "N rows are in no split", 1),
    ]
    assert found[1]["first"] == {"where": "a row 7", "message": "3 NaN"}


def test_strata_are_those_of_a_recount(described):
    def plant(galaxies):
        galaxies.columns["train"]["theta_e_arcsec"][:4] = [0.4, 0.5, 2.5, 2.6]

    galaxies, source, scan = described(plant)
    at = source.listing[0].starts()[scan.rows.file] + scan.rows.row
    assert all((scan.rows.bins[name] == x[at]).all() for name, x in source.bins.items())
    told = describe_strata.strata(scan.rows)
    names = told["theta_e_arcsec"]["strata"]
    for split, columns in galaxies.columns.items():
        expected = Counter()
        for x in columns["theta_e_arcsec"]:
            low = [edge for edge in schema.THETA_E_BINS if edge <= np.float32(x)]
            name = f"below {schema.THETA_E_BINS[0]:g}"
            if np.float32(x) > schema.THETA_E_BINS[-1]:
                name = f"above {schema.THETA_E_BINS[-1]:g}"
            elif low:
                k = min(len(low), len(schema.THETA_E_BINS) - 1) - 1
                name = f"{schema.THETA_E_BINS[k]:g} to {schema.THETA_E_BINS[k + 1]:g}"
            expected[name] += 1
        counts = told["theta_e_arcsec"]["counts"][split]
        assert {n: k for n, k in zip(names, counts, strict=True) if k} == expected
        pairs = Counter(zip(columns["psf_bin"], columns["depth_bin"], strict=True))
        for kind in ("lens", "other"):
            cells = told[f"psf_depth_{kind}"]["counts"][split]
            assert cells == [pairs[stratum] for stratum in sorted(pairs)]
    counts = told["theta_e_arcsec"]["counts"]
    gap = told["theta_e_arcsec"]["variation_from_train"]["val"]["value"]
    shares = [np.array(counts[name]) / sum(counts[name]) for name in ("train", "val")]
    assert gap == pytest.approx(np.abs(shares[0] - shares[1]).sum() / 2)
    assert "psf 0 (1." in told["psf_depth_lens"]["strata"][0]


def test_histograms_and_quantiles_are_those_of_a_recount(described):
    galaxies, _, scan = described()
    told = describe_strata.distributions(scan)
    assert len(told) == 19
    psf = told["psf_fwhm_arcsec"]["groups"]["train lens"]
    values = np.array(galaxies.columns["train"]["psf_fwhm_used_r"], np.float32).astype(float)
    assert psf["n"] == psf["known"] == 10 == psf["below"] + sum(psf["counts"]) + psf["above"]
    assert psf["quantiles"][3] == pytest.approx(np.median(values))
    assert (psf["quantiles"][0], psf["quantiles"][-1]) == (values.min(), values.max())
    assert told["theta_e_arcsec"]["groups"]["train other"]["known"] == 0
    noise = told["noise_r"]["groups"]["val other"]["quantiles"][3]
    assert noise == pytest.approx(0.012, rel=0.1)
    assert told["pair_outside"]["groups"]["val lens"]["known"] == 6
    snr = told["arc_snr"]["differences"]["lens: val from train"]["value"]
    train, val = (scan.rows.numbers["arc_snr"][scan.rows.of_split(x)] for x in ("train", "val"))
    train, val = train[np.isfinite(train)], val[np.isfinite(val)]
    assert snr == pytest.approx(ks_2samp(train, val).statistic)


@pytest.mark.parametrize("ties", [False, True])
def test_distances_are_scipys(ties):
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 1, 300), rng.normal(0.3, 1, 170)
    if ties:
        a, b = a.round(1), b.round(1)
    assert distance(a, b) == pytest.approx(ks_2samp(a, b).statistic)
    assert np.isnan(distance(a, b[:0])) and distance(a, a) == 0.0
    assert variation(np.array([1, 1, 0]), np.array([0, 0, 5])) == 1.0
    assert np.isnan(variation(np.zeros(3), np.array([0, 0, 5])))


def simulated(seed, bricks=60, per_brick=20):
    """Values that are nearly the same all over a brick, and bricks drawn into two splits."""
    rng = np.random.default_rng(seed)
    brick = np.repeat(np.arange(bricks), per_brick)
    values = rng.normal(0, 1, bricks)[brick] + rng.normal(0, 0.1, len(brick))
    first = (rng.permutation(bricks) < bricks // 2)[brick]
    return values, first, ~first, brick


def beyond(seed, unit=None, stratified=False):
    """Is the distance of two splits that differ by chance alone beyond what chance gives?"""
    values, first, second, brick = simulated(seed)
    unit = brick if unit is None else unit(brick)
    if stratified:
        stratum = np.digitize(values, (-1, 0, 1))
        counts = (np.bincount(stratum[mine], minlength=4) for mine in (first, second))
        return variation(*counts) > chance_of_variation(stratum, first, second, unit)
    gap = distance(values[first], values[second])
    return gap > chance_of_distance(values, first, second, unit)


@pytest.mark.parametrize("stratified", [False, True])
def test_chance_alone_is_beyond_one_time_in_twenty(stratified):
    assert 0 <= np.mean([beyond(seed, stratified=stratified) for seed in range(40)]) <= 0.15


def test_with_stamps_drawn_for_bricks_chance_would_seem_a_difference():
    """The guard off: as if each stamp had been drawn on its own."""
    found = [beyond(seed, unit=lambda brick: np.arange(len(brick))) for seed in range(10)]
    assert np.mean(found) > 0.8


def test_a_difference_is_beyond_chance():
    values, first, second, brick = simulated(0)
    values[first] += 2.0
    gap = distance(values[first], values[second])
    assert gap > chance_of_distance(values, first, second, brick) + 0.2
    one = np.zeros(len(values), int)
    assert np.isnan(chance_of_distance(values, first, second, one))


def test_numbers_are_rounded_and_what_is_not_finite_is_none():
    told = rounded({"a": [1 / 3, float("nan")], "b": (2, True, "x"), 3: float("-inf")})
    assert told == {"a": [0.333333, None], "b": [2, True, "x"], "3": None}
