"""Shortcut checks: a mixture of surveys is named first, whatever else it breaks; one survey is
not; too little to tell is not proven."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from lensjax import schema
from lensjax.checks import run, shortcuts
from lensjax.checks.result import FAIL, NOT_PROVEN, PASS, Outcome
from lensjax.checks.scan import scan_sets
from lensjax.gates.logistic import host_folds


def unpaired(made, n_train: int, n_other: int, seed: int):
    """Positives and negatives of different hosts, no pairs: as two catalogues would give."""
    sets = {}
    for split, n in (("train", n_train), ("val", n_other), ("test", n_other)):
        made_set = made.set(split, n, 0, seed)
        host = np.char.rpartition(made_set.table["lrg_id"], "-")[:, 2].astype(int)
        keep = (made_set.table["label"] == 1) == (host % 2 == 0)
        sets[split] = made.subset(made_set, keep)
    return sets


def other_survey(sets):
    """Label 0 comes from elsewhere: noisier, smoother, 0.25 arcsec a pixel (as PS1 against DES)."""
    for stamp_set in sets.values():
        rows = np.flatnonzero(stamp_set.table["label"] == 0)
        rng = np.random.default_rng(len(rows))
        noise = gaussian_filter(rng.standard_normal((len(rows), 64, 64, 3)), (0, 0.8, 0.8, 0))
        stamp_set.stamps[rows] += (0.04 * noise).astype(np.float32)
        stamp_set.table["pixel_scale_arcsec"][rows] = 0.25
    return sets


@pytest.mark.parametrize("n", [14, 40])
def test_mixture_of_surveys_is_refused(made, monkeypatch, n):
    """Some 20 against 20 rows, as there are real PS1 lenses and DES galaxies, are enough."""
    sets = other_survey(unpaired(made, n, n, 0))
    summary = made.phase0(sets, proportions=None)
    assert summary.exit_code == 11
    assert summary["survey_shortcut"].verdict == FAIL
    assert "mixture of surveys" in str(summary.error())
    monkeypatch.setattr(run, "check_survey_shortcut", lambda *a, **k: Outcome("off"))
    assert made.phase0(sets, proportions=None).all_passed


def test_mixture_is_the_first_cause_whatever_else_it_breaks(sets, made):
    other_survey(sets)  # pairs broken too
    sets["train"].stamps[3, 0, 0, 0] = np.nan
    summary = made.phase0(sets)
    assert summary.exit_code == 10  # 10 comes before 11, the cause does not
    assert summary["pairs"].verdict == summary["stamps"].verdict == FAIL
    assert summary.results[0].name == "survey_shortcut"
    assert "mixture of surveys" in str(summary.error())


@pytest.mark.parametrize("seed", range(5))
def test_one_survey_is_not_refused(made, seed):
    sets = unpaired(made, 14, 14, seed)
    summary = made.phase0(sets, proportions=None)
    assert summary.all_passed and summary["survey_shortcut"].verdict == PASS


def test_noise_level_alone_is_enough(made):
    sets = unpaired(made, 40, 40, 0)
    for stamp_set in sets.values():
        stamp_set.stamps[stamp_set.table["label"] == 1] *= np.float32(1.3)
    result = made.phase0(sets, proportions=None)["survey_shortcut"]
    assert result.verdict == FAIL
    assert any(name.startswith("log10_sigma") for name in result.counts["strongest"])


def test_negatives_on_both_sides_of_the_positives_are_seen(made):
    """No single threshold tells these labels: the squares do."""
    sets = unpaired(made, 80, 80, 0)
    for stamp_set in sets.values():
        rows = np.flatnonzero(stamp_set.table["label"] == 0)
        stamp_set.stamps[rows[0::2]] *= np.float32(1.4)
        stamp_set.stamps[rows[1::2]] /= np.float32(1.4)
    assert made.phase0(sets, proportions=None)["survey_shortcut"].verdict == FAIL


def test_unknown_values_can_be_the_shortcut(made):
    sets = unpaired(made, 40, 40, 0)
    for stamp_set in sets.values():
        stamp_set.table["ebv"][stamp_set.table["label"] == 0] = np.nan
    assert made.phase0(sets, proportions=None)["metadata_shortcut"].verdict == FAIL


def test_too_few_hosts_and_constant_features_are_not_proven_and_do_not_block(made):
    sets = unpaired(made, 6, 6, 0)
    for stamp_set in sets.values():
        for name in schema.METADATA:
            stamp_set.table[name][:] = 23.5 if name == "psf_depth" else 1.0
    few = made.phase0(sets, proportions=None)
    assert few["survey_shortcut"].verdict == NOT_PROVEN
    assert "Too few rows" in few["survey_shortcut"].message
    protocol = made.protocol
    protocol["phase0"]["minimum"]["shortcut_hosts"] = 2
    constant = made.phase0(sets, proportions=None, protocol=protocol)["metadata_shortcut"]
    assert constant.verdict == NOT_PROVEN and "constant" in constant.message
    assert few.all_passed


def test_pairs_alone_share_their_metadata_and_prove_nothing(clean, made, monkeypatch):
    """Without look-alikes both members of every pair carry the same values: 0.5 by construction."""
    alone = {
        name: made.subset(stamp_set, np.isin(stamp_set.table["negative_kind"], ("", "control")))
        for name, stamp_set in clean.items()
    }
    summary = made.phase0(alone)
    result = summary["metadata_shortcut"]
    assert result.verdict == NOT_PROVEN and summary.all_passed
    assert "Both members of every pair carry the same values" in result.message
    assert made.phase0(clean)["metadata_shortcut"].verdict == PASS  # the look-alikes are asked
    for stamp_set in alone.values():  # unknown in both is the same value too
        stamp_set.table["ebv"][:2] = np.nan
    assert made.phase0(alone)["metadata_shortcut"].verdict == NOT_PROVEN
    monkeypatch.setattr(shortcuts, "_constant_within_pairs", lambda *_: False)
    result = made.phase0(alone)["metadata_shortcut"]  # the second guard: an interval of no width
    assert result.counts["ci"] == [0.5, 0.5] and result.verdict == NOT_PROVEN
    monkeypatch.setattr(shortcuts, "NO_WIDTH", -1.0)
    assert made.phase0(alone)["metadata_shortcut"].verdict == PASS


def test_outskirts_without_arcs_prove_nothing_in_pairs(clean, made):
    alone = {}
    for name, stamp_set in clean.items():
        alone[name] = made.subset(
            stamp_set, np.isin(stamp_set.table["negative_kind"], ("", "control"))
        )
        far = made.radius >= 27
        stamps = alone[name].stamps
        control = np.flatnonzero(alone[name].table["negative_kind"] == "control")
        stamps[control + 1] = np.where(far[..., None], stamps[control], stamps[control + 1])
    assert made.phase0(alone)["survey_shortcut"].verdict == NOT_PROVEN


def test_a_pair_whose_members_differ_is_judged(made):
    sets = made.sets()
    for name, stamp_set in sets.items():
        alone = np.isin(stamp_set.table["negative_kind"], ("", "control"))
        sets[name] = made.subset(stamp_set, alone)
        sets[name].table["psf_depth"][sets[name].table["label"] == 1] += 0.5
    assert made.phase0(sets)["metadata_shortcut"].verdict == FAIL


@pytest.mark.parametrize("hosts", [0, 1, 2])
def test_a_protocol_that_asks_for_no_hosts_still_needs_two(made, hosts):
    """With one host of a class some fold would be fitted on the other class alone."""
    sets = unpaired(made, 14, 14, 0)
    for name, stamp_set in sets.items():
        rows = np.flatnonzero(stamp_set.table["label"] == 1)[hosts if name == "train" else 0 :]
        sets[name] = made.subset(stamp_set, ~np.isin(np.arange(len(stamp_set)), rows))
    protocol = made.protocol
    protocol["phase0"]["minimum"]["shortcut_hosts"] = 0
    summary = made.phase0(sets, proportions=None, protocol=protocol)
    assert (summary["survey_shortcut"].verdict == NOT_PROVEN) == (hosts < 2)


# -- bricks -----------------------------------------------------------------------------------


def by_brick(made, seed):
    """In train a brick gives one class alone, of PSF, depth and extinction like any other's; in
    val and test it gives both."""
    sets = unpaired(made, 8, 64, seed)
    train = made.set("train", 128, 0, seed)
    brick = np.unique(train.table["brick"], return_inverse=True)[1] // 2  # of 8 hosts
    train.table["brick"][:] = [f"train{k:04d}" for k in brick]
    sets["train"] = made.subset(train, (train.table["label"] == 1) == (brick % 2 == 0))
    return sets


def test_a_label_that_the_brick_tells_is_refused(made, monkeypatch):
    sets = by_brick(made, 1)
    told = {"proportions": None, "simulated": False}
    summary = made.phase0(sets, **told)
    assert summary.exit_code == 11
    assert [result.name for result in summary.stopping()] == ["metadata_shortcut"]
    (found,) = summary["metadata_shortcut"].findings
    assert found.where == "train/" and "told from the brick alone: AUC 1.000" in found.message
    assert summary["metadata_shortcut"].counts["brick_auc"]["train"] == 1.0
    monkeypatch.setattr(shortcuts, "_brick_interval", lambda *_: None)
    assert made.phase0(sets, **told).all_passed  # the guard off


def uneven(made, seed):
    """Hosts of either class at random: of train 80 %, of test 10 % lensed."""
    rng, sets = np.random.default_rng(seed), {}
    for split, n, share in (("train", 96, 0.8), ("val", 80, 0.8), ("test", 160, 0.1)):
        pairs = made.set(split, n, 0, seed)
        lensed = rng.permutation(np.arange(n) < share * n)
        host = np.unique(pairs.table["lrg_id"], return_inverse=True)[1]
        sets[split] = made.subset(pairs, (pairs.table["label"] == 1) == lensed[host])
    return sets


@pytest.mark.parametrize("seed", range(3))
def test_a_label_that_the_brick_does_not_tell_is_not_refused(made, seed):
    """Splits of other shares of lenses are for the splits check to print and no shortcut; asked of
    all splits at once, the brick tells the split and so the label."""
    sets = uneven(made, seed)
    result = made.phase0(sets, proportions=None)["metadata_shortcut"]
    assert result.verdict == PASS, result.findings
    assert set(result.counts["brick_auc"]) == {"train", "val", "test"}
    pooled = shortcuts._brick_interval(scan_sets(sets, progress=False).rows, 15)
    assert pooled is not None and pooled.low > 0.6


# -- large sets -------------------------------------------------------------------------------


def test_a_sample_of_bricks_stands_for_a_large_set(made, monkeypatch):
    """Whole bricks, drawn by seed, up to MAX_STAMPS; the mixture is found in them."""
    sets = unpaired(made, 120, 40, 0)
    whole = made.phase0(sets, proportions=None)
    monkeypatch.setattr(shortcuts, "MAX_STAMPS", 100)
    scan = scan_sets(sets, progress=False)
    mine, told = shortcuts._sample(scan.rows)
    assert told == {"stamps": int(mine.sum()), "of_stamps": 200} and 80 < mine.sum() <= 100
    for brick in np.unique(scan.rows.brick):
        assert len(np.unique(mine[scan.rows.brick == brick])) == 1
    np.testing.assert_array_equal(shortcuts._sample(scan.rows)[0], mine)
    sampled = made.phase0(sets, proportions=None)
    for name in ("survey_shortcut", "metadata_shortcut"):
        assert "of_stamps" not in whole[name].counts
        assert sampled[name].counts["of_stamps"] == 200
        assert sampled[name].verdict == whole[name].verdict == PASS
    other_survey(sets)
    refused = made.phase0(sets, proportions=None)["survey_shortcut"]
    assert refused.verdict == FAIL and refused.counts["stamps"] <= 100
    assert "mixture of surveys" in refused.findings[0].message


def test_at_most_so_many_bricks_are_asked(made, monkeypatch):
    """The cost of the interval grows with their square."""
    sets = unpaired(made, 120, 40, 0)
    monkeypatch.setattr(shortcuts, "MAX_BRICKS", 30)
    rows = scan_sets(sets, progress=False).rows
    mine, told = shortcuts._sample(rows)
    assert len(np.unique(rows.brick[mine])) == 30 and told["of_stamps"] == len(rows)


def test_one_brick_larger_than_the_sample_is_taken_whole(made, monkeypatch):
    sets = unpaired(made, 120, 40, 0)
    for stamp_set in sets.values():
        stamp_set.table["brick"][:] = "one"
    monkeypatch.setattr(shortcuts, "MAX_STAMPS", 100)
    mine, _ = shortcuts._sample(scan_sets(sets, progress=False).rows)
    assert mine.all()


def test_mixed_scales_are_seen_wherever_they_are(made, monkeypatch):
    """In one stamp that no sample has; a difference of rounding is none."""
    sets = unpaired(made, 120, 40, 0)
    monkeypatch.setattr(shortcuts, "MAX_STAMPS", 150)
    rows = scan_sets(sets, progress=False).rows
    left_out = int(np.flatnonzero(~shortcuts._sample(rows)[0] & rows.of_split("train"))[0])
    scale = sets["train"].table["pixel_scale_arcsec"]
    scale[left_out] = 0.2624
    assert made.phase0(sets, proportions=None)["survey_shortcut"].verdict == PASS
    scale[left_out] = 0.2
    refused = made.phase0(sets, proportions=None)["survey_shortcut"]
    assert refused.verdict == FAIL
    assert "0.2 and of 0.262 arcsec a pixel" in refused.findings[0].message
    monkeypatch.setattr(shortcuts, "SAME_SCALE", np.inf)
    assert made.phase0(sets, proportions=None)["survey_shortcut"].verdict == PASS  # guard off


# -- how it is fitted -------------------------------------------------------------------------


def test_hosts_stay_whole_in_the_folds():
    """Scored on its own host, a host's name tells the label: AUC 1. By host it cannot."""
    rng = np.random.default_rng(0)
    host = np.repeat(np.arange(60), 10)
    label = np.repeat(rng.permutation(np.arange(60) % 2), 10)
    name = rng.standard_normal((60, 30))[host]
    by_host = roc_auc_score(label, shortcuts.cross_validated_scores(name, label, host))
    by_row = roc_auc_score(label, shortcuts.cross_validated_scores(name, label, np.arange(600)))
    assert by_row > 0.9 and by_host < 0.7


def test_scores_out_of_fold_are_those_of_scikit_learn():
    """With the same folds: standardised features and squares, ridge C = 1, no row of the fold."""
    rng = np.random.default_rng(1)
    host = np.arange(400) // 2
    label = rng.integers(0, 2, 400)
    features = rng.standard_normal((400, 3)) + 0.5 * label[:, None] * np.array([1.0, 0.0, -1.0])
    found = shortcuts.cross_validated_scores(features, label, host)
    fold = host_folds(host, label, shortcuts.FOLDS, np.random.default_rng(shortcuts._SEED))
    for k in range(shortcuts.FOLDS):
        out = fold == k
        middle, spread = np.median(features[~out], axis=0), features[~out].std(axis=0)
        scaled = np.clip((features - middle) / spread, -5, 5)
        wide = np.concatenate([scaled, scaled**2], axis=1)
        scale = StandardScaler().fit(wide[~out])
        peer = LogisticRegression(C=shortcuts.RIDGE_C, tol=1e-9, max_iter=5000)
        peer.fit(np.clip(scale.transform(wide[~out]), -5, 5), label[~out])
        known = peer.decision_function(np.clip(scale.transform(wide[out]), -5, 5))
        np.testing.assert_allclose(found[out], known, atol=5e-3)
