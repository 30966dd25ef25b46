"""The edges of the rules for pairs, splits and tables."""

from __future__ import annotations

import numpy as np
import pytest

from lensjax import schema
from lensjax.checks import pairs, splits
from lensjax.checks.pairs import check_pairs
from lensjax.checks.scan import scan_sets
from lensjax.data.stampset import StampSet

pytestmark = pytest.mark.usefixtures("quick_intervals")


def errors(outcome_or_result):
    return [f for f in outcome_or_result.findings if f.severity == "ERROR"]


def checked(stamp_set, outside_limit: float = 0.05):
    """check_pairs of one split alone."""
    scan = scan_sets({stamp_set.split: stamp_set}, progress=False)
    told = (scan.rows, scan.measured, scan.pairs, scan.difference)
    return check_pairs(*told, outside_limit=outside_limit)


def one_pair(made, inside: float, outside: float, **columns):
    """Fluxes added at r = 10 px and at r = 25 px; theta_E 1, PSF 1.2: reach 20.6 px."""
    stamp_set = made.set("train", 1, 0, 0)
    control, stamp = stamp_set.stamps
    stamp[:] = control
    stamp[31, 41, 1] += inside
    stamp[31, 56, 1] += outside
    stamp_set.table["theta_e_arcsec"][1] = 1.0
    stamp_set.table["psf_fwhm_arcsec"][:] = 1.2
    for name, value in columns.items():
        stamp_set.table[name][1] = value
    return checked(stamp_set)


@pytest.mark.parametrize(("outside", "fails"), [(4.9, False), (5.2, True), (-5.2, True)])
def test_at_most_5_percent_beyond_the_reach(made, outside, fails):
    assert bool(errors(one_pair(made, 95.0, outside))) == fails


def test_psf_and_theta_e_widen_the_reach(made):
    assert errors(one_pair(made, 50.0, 50.0))
    assert not errors(one_pair(made, 50.0, 50.0, theta_e_arcsec=1.5))
    assert not errors(one_pair(made, 50.0, 50.0, psf_fwhm_arcsec=2.0))
    assert errors(one_pair(made, 50.0, 50.0, theta_e_arcsec=1.5, pixel_scale_arcsec=0.5))


def test_invisible_arcs_are_noted_and_counted(made):
    outcome = one_pair(made, 0.0, 0.0, arc_snr=0.0)
    assert not errors(outcome) and outcome.counts["invisible"] == 1
    zero_sum = one_pair(made, 1.0, -1.0, arc_snr=0.0)
    assert zero_sum.counts["invisible"] == 1 or errors(zero_sum)
    assert errors(one_pair(made, 0.0, 0.0, arc_snr=5.0))


def test_unknown_reach_is_counted_not_passed_over(made):
    outcome = one_pair(made, 50.0, 50.0, psf_fwhm_arcsec=np.nan)
    assert outcome.counts["extent_untested"] == 1
    assert "extent of the arc not tested" in outcome.findings[0].message
    assert errors(one_pair(made, -50.0, 0.0, psf_fwhm_arcsec=np.nan))


def test_core_flux_is_left_to_the_gates(sets, made):
    for stamp_set in sets.values():
        rows = np.flatnonzero(stamp_set.table["label"] == 1)
        stamp_set.stamps[rows, 30:34, 30:34] *= np.float32(1.35)
    assert made.phase0(sets)["pairs"].verdict == "PASS"


def test_difference_in_another_band_only_is_not_identical(made):
    stamp_set = made.set("train", 1, 0, 0)
    stamp_set.stamps[1] = stamp_set.stamps[0]
    stamp_set.stamps[1, 31, 31, 0] += 1.0
    assert not errors(checked(stamp_set))


@pytest.mark.parametrize("keep", ["stamp", "control"])
def test_a_positive_needs_its_control(made, keep):
    stamp_set = made.set("train", 4, 0, 0)
    stamp_set = made.subset(stamp_set, np.arange(8) != (0 if keep == "stamp" else 1))
    found = errors(checked(stamp_set))
    assert bool(found) == (keep == "stamp")
    if found:
        assert "has no control" in found[0].message


def test_pair_of_three_rows_is_named(made):
    stamp_set = made.set("train", 4, 0, 0)
    stamp_set.table["pair_id"][2] = stamp_set.table["pair_id"][0]
    messages = [f.message for f in errors(checked(stamp_set, outside_limit=1))]
    assert any("has 3 rows, 1 of them positive" in message for message in messages)


def test_pair_of_two_hosts_is_named(made):
    stamp_set = made.set("train", 4, 0, 0)
    stamp_set.table["lrg_id"][0] = "elsewhere"
    (found,) = errors(checked(stamp_set, outside_limit=1))
    assert "differ in lrg_id" in found.message


def other_hosts_control(made):
    """Pairs of unknown theta_E; the control of the third is the fourth host's."""
    stamp_set = made.set("train", 6, 0, 0)
    stamp_set.table["theta_e_arcsec"][:] = np.nan
    stamp_set.stamps[4] = stamp_set.stamps[6]
    stamp_set.stamps[5] += np.float32(2.0) * (made.radius < 5)[..., None]  # the sum is positive
    return stamp_set


def test_a_control_of_another_galaxy_is_told_by_its_sky(made, monkeypatch):
    """Where theta_E is unknown no rule of the arc's extent can tell."""
    stamp_set = other_hosts_control(made)
    outcome = checked(stamp_set)
    (found,) = errors(outcome)
    assert "not of one galaxy: their sky noise differs" in found.message
    assert found.where == "train/part-0.parquet row 1" and outcome.counts["extent_untested"] == 6
    monkeypatch.setattr(pairs, "SAME_SKY", np.inf)
    assert not errors(checked(stamp_set))  # the guard off


def test_pairs_of_one_galaxy_are_well_within_the_limit(clean):
    """Measured: a pair differs by its arc, two galaxies by their noise."""
    scan = scan_sets(clean, progress=False)
    stamp, control = scan.measured.fingerprint[scan.pairs].transpose(1, 0, 2)
    assert np.linalg.norm(stamp - control, axis=1).max() < 0.1 * pairs.SAME_SKY
    assert np.linalg.norm(stamp[1:] - control[:-1], axis=1).min() > 1.2 * pairs.SAME_SKY


def test_a_sky_that_cannot_be_measured_is_no_fault(made):
    stamp_set = made.set("train", 2, 0, 0)
    stamp_set.stamps[:2, made.radius >= 20] = 0.0
    assert not [one for one in errors(checked(stamp_set)) if "sky noise" in one.message]


def in_guard_band(sets):
    train, test = sets["train"].table, sets["test"].table
    hosts = train["lrg_id"] == train["lrg_id"][0]
    train["ra"][hosts], train["dec"][hosts] = test["ra"][0], test["dec"][0] + 0.03


def test_guard_band_is_a_note_on_user_data_and_an_error_under_survey(sets, made):
    in_guard_band(sets)
    user = made.phase0(sets, simulated=False)
    assert user.all_passed
    (note,) = user["splits"].findings
    assert note.severity == "NOTE" and note.message.startswith("1 hosts within 0.05 deg")
    made.protocol["phase0"]["limits"]["guard_band_enforced"] = True
    assert made.phase0(sets, simulated=False, protocol=made.protocol).exit_code == 11
    assert made.phase0(sets, simulated=True).exit_code == 11


def test_overlap_across_ra_0_is_seen(sets, made):
    for name, ra in (("train", 359.999), ("test", 0.001)):
        table = sets[name].table
        hosts = table["lrg_id"] == table["lrg_id"][0]
        table["ra"][hosts], table["dec"][hosts] = ra, 45.0
    assert "5.1 arcsec apart" in str(made.phase0(sets, simulated=False).error())


def test_proportions_are_printed_always_and_enforced_when_stated(sets, made):
    summary = made.phase0(sets, proportions=None)
    assert summary.all_passed
    assert summary["splits"].counts["proportions"] == {"train": 0.5, "val": 0.25, "test": 0.25}
    assert "train 0.500" in summary["splits"].message
    assert made.phase0(sets, proportions=(0.52, 0.24, 0.24)).all_passed
    inverted = made.phase0(sets, proportions=(0.15, 0.15, 0.7))
    assert inverted.exit_code == 11 and len(errors(inverted["splits"])) == 3


def test_missing_split_and_empty_data_are_refused(clean, made):
    summary = made.phase0({k: clean[k] for k in ("train", "test")}, proportions=None)
    assert summary.exit_code == 10
    told = [f.message for f in errors(summary["splits"])]
    assert told == ["val has no stamp that could be read"]
    nothing = made.phase0({})
    assert nothing.exit_code == 10
    assert [f.message for f in errors(nothing["stamps"])] == ["there are no stamps"]
    assert nothing["splits"].verdict == "NOT PROVEN" and not nothing["splits"].findings


def test_a_split_of_one_class_is_refused(sets, made):
    lookalikes = np.flatnonzero(sets["val"].table["negative_kind"] == "ring")
    sets["val"] = made.subset(sets["val"], lookalikes)
    summary = made.phase0(sets, proportions=None)
    assert summary.exit_code == 10
    assert [f.message for f in errors(summary["splits"])] == ["val has 0 positives"]


def exchanged(sets):
    """Train and test under each other's name, in rows and bricks that say nothing of it."""
    for name in ("train", "test"):
        sets[name].table["split"][:] = {"train": "test", "test": "train"}[name]
    return {
        "train": StampSet("train", sets["test"].table, sets["test"].stamps, "arrays"),
        "val": sets["val"],
        "test": StampSet("test", sets["train"].table, sets["train"].stamps, "arrays"),
    }


def test_exchanged_folders_are_told_by_their_size(sets, made):
    """D12 where neither rows nor a manifest say which split is which."""
    assert made.phase0(sets, proportions=None, simulated=False).all_passed
    sets = exchanged(sets)
    summary = made.phase0(sets, proportions=None, simulated=False)
    assert summary.exit_code == 11
    (found,) = errors(summary["splits"])
    assert found.message == "train is smaller than test: are they exchanged? (30 hosts and 60)"
    assert "Exchange them" in str(summary.error())
    stated = made.phase0(sets, proportions=(0.5, 0.25, 0.25), simulated=False)
    assert stated.exit_code == 11 and "stated 0.500" in str(stated.error())
    assert made.phase0(sets, proportions=(0.25, 0.25, 0.5), simulated=False).all_passed  # meant


@pytest.mark.parametrize(("train", "told"), [(54, False), (53, True)])
def test_equal_splits_that_lost_a_few_rows_are_no_exchanged_ones(train, told):
    found = splits._exchanged(np.array([train, 20, 60]), None)
    assert [one.code for one in found] == [11] * told


def test_with_the_size_not_looked_at_exchanged_folders_pass(sets, made, monkeypatch):
    monkeypatch.setattr(splits, "_exchanged", lambda hosts, stated: [])
    assert made.phase0(exchanged(sets), proportions=None, simulated=False).all_passed


def notes(summary):
    return [f.message for f in summary["splits"].findings if f.severity == "NOTE"]


def test_strata_of_each_split_are_counted(sets, made):
    sets["val"].table["psf_bin"][:6] = 2
    summary = made.phase0(sets, simulated=False)
    strata = summary["splits"].counts["strata"]
    assert strata["psf_bin"]["positives"]["2"] == {"train": 0, "val": 3, "test": 0}
    assert strata["psf_bin"]["negatives"]["0"] == {"train": 60, "val": 27, "test": 30}
    assert strata["depth_bin"]["negatives"] == {"0": {"train": 60, "val": 30, "test": 30}}
    theta_e = {name: s.table["theta_e_arcsec"][s.table["label"] == 1] for name, s in sets.items()}
    low, high = schema.THETA_E_BINS[2:4]
    assert strata["theta_e_arcsec"]["positives"]["1 to 1.5"] == {
        name: int(((x >= low) & (x < high)).sum()) for name, x in theta_e.items()
    }
    assert "negatives" not in strata["theta_e_arcsec"]
    assert notes(summary) == []  # three lenses: chance


@pytest.mark.parametrize(
    ("column", "value"), [("theta_e_arcsec", 0.9), ("psf_bin", 3), ("depth_bin", 3)]
)
def test_a_stratum_that_a_split_lacks_is_a_note(sets, made, column, value):
    """Half of train and of val, none of test."""
    for name in ("train", "val"):
        lenses = np.flatnonzero(sets[name].table["label"] == 1)
        sets[name].table[column][lenses[::2]] = value
    summary = made.phase0(sets)
    assert summary.all_passed
    found = [text for text in notes(summary) if "test has none" in text]
    stratum = "0.75 to 1" if value == 0.9 else "3"
    expected = f"positives of {column}, stratum {stratum}: test has none "
    assert found == [expected + "(train 24 of 48, val 12 of 24, test 0 of 24)"]


def test_a_share_of_a_stratum_that_differs_strongly_is_a_note(sets, made):
    """By more than 0.10 and 4 standard errors of as many draws as bricks."""
    sets["train"].table["psf_bin"][:8] = 1
    sets["val"].table["psf_bin"][:] = 1
    sets["test"].table["psf_bin"][:12] = 1
    summary = made.phase0(sets)
    assert summary.all_passed
    told = notes(summary)
    assert any("psf_bin, stratum 1: the share in val differs from that in train" in x for x in told)
    assert not any("in test" in x for x in told)


def test_rows_without_a_brick_prove_nothing(sets, made):
    sets["train"].table["brick"][:4] = ""
    summary = made.phase0(sets)
    assert summary["splits"].verdict == "NOT PROVEN" and summary.exit_code == 10


@pytest.mark.parametrize(
    ("column", "value", "cause"),
    [
        ("dec", 95.0, "dec outside"),
        ("psf_fwhm_arcsec", 0.0, "psf_fwhm_arcsec outside"),
        ("pixel_scale_arcsec", -1.0, "pixel_scale_arcsec outside"),
    ],
)
def test_impossible_values_are_named(sets, made, column, value, cause):
    sets["val"].table[column][3] = value
    assert cause in errors(made.phase0(sets)["labels"])[0].message


def test_unknown_metadata_are_noted(sets, made):
    for stamp_set in sets.values():
        stamp_set.table["ebv"][:] = np.nan
    summary = made.phase0(sets)
    assert summary.all_passed
    assert "ebv is unknown (NaN) in 216 of 216 rows" in summary["labels"].findings[0].message


def test_every_kind_of_negative_is_counted(clean, made):
    kinds = made.phase0(clean)["labels"].counts["negatives"]
    assert kinds == {"control": 96, "ring": 24} and set(kinds) <= set(schema.NEGATIVE_KINDS)
