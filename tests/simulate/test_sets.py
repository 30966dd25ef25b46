"""Whole sets: same seed same bits, pairs, shares, refusals, and nothing but the arc to learn."""

import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lensjax import schema
from lensjax.checks.pairs import check_pairs
from lensjax.checks.scan import scan_sets
from lensjax.data.stampset import StampSet, build_table
from lensjax.schema import ExitCode, LensjaxError
from lensjax.simulate import scene, sets, simulate_split, sky

FEW = {"seed": 3, "n_pairs": 10, "n_lookalikes": 5, "theta_e": (1.5, 2.5), "arc_snr": (8.0, 50.0)}
RADIUS = schema.radius_map()


@pytest.fixture(scope="module")
def few():
    return simulate_split("val", **FEW)


def test_same_seed_same_bits(few):
    columns, stamps = simulate_split("val", **FEW)
    assert stamps.tobytes() == few[1].tobytes()
    for name, column in columns.items():
        assert np.array_equal(column, few[0][name], equal_nan=column.dtype.kind == "f")
    for split, seed in (("val", 4), ("test", 3)):
        changed = simulate_split(split, **{**FEW, "seed": seed, "n_lookalikes": 0})[1]
        assert not (changed[:20] == stamps[:20]).all(axis=(1, 2, 3)).any()


def test_hosts_are_the_same_however_they_are_cut_into_calls():
    layout = sky.lay_out("val", 20, 5, seed=3)
    draw = sets._Draw(jax.random.split(jax.random.key(3), 3), layout)

    def make(field, keys):
        return {"stamp": scene.stamps(field), "key": jax.random.key_data(keys)}

    whole, part = (draw(np.arange(*span), make, None) for span in ((20,), (14, 19)))
    for name in whole:
        assert np.array_equal(whole[name][14:19], part[name])
    assert not np.array_equal(whole["stamp"][13:18], part["stamp"])


def test_stamp_and_control_differ_by_the_arc_alone(made):
    columns, stamps = made
    lens, control = columns["label"] == 1, columns["negative_kind"] == "control"
    assert (columns["pair_id"][lens] == columns["pair_id"][control]).all()
    arc = stamps[lens] - stamps[control]
    beyond = np.abs(arc[:, RADIUS > 30]).max()
    assert beyond < 0.05 * np.abs(stamps[control][:, RADIUS > 30]).std()  # one noise
    assert not np.isfinite(columns["theta_e_arcsec"][~lens]).any()
    snr = columns["arc_snr"][lens]
    assert snr.min() >= 8.0 and snr.max() <= 50.0


def test_shot_noise_of_the_galaxies_makes_arcs_fainter(made):
    columns, lens = made[0], made[0]["label"] == 1
    assert columns["arc_snr_shot"].dtype == np.float32
    assert np.isnan(columns["arc_snr_shot"][~lens]).all()
    ratio = columns["arc_snr_shot"][lens] / columns["arc_snr"][lens]
    assert ratio.min() > 0.0 and ratio.max() < 1.0
    assert np.quantile(ratio, 0.01) > 0.85 and 0.95 < np.median(ratio) < 0.99


def pairs_of(columns, stamps):
    """check_pairs of a test split of these alone."""
    made = StampSet("test", build_table(columns), stamps, "simulate")
    scan = scan_sets({"test": made}, progress=False)
    return check_pairs(scan.rows, scan.measured, scan.pairs, scan.difference, outside_limit=0.05)


def test_the_rule_for_pairs_holds(made):
    columns, stamps = made
    outcome = pairs_of(columns, stamps)
    assert outcome.findings == () and outcome.counts["pairs"] == 256
    assert len(pairs_of(columns, -stamps).findings) >= 256


def test_lookalikes_have_their_share_and_every_kind(made):
    kinds = made[0]["negative_kind"]
    assert [(kinds == kind).sum() for kind in ("", *schema.NEGATIVE_KINDS)] == [
        256,
        256,
        16,
        16,
        16,
        16,
    ]
    lookalike = np.isin(kinds, schema.LOOKALIKES)
    assert len(set(made[0]["lrg_id"][lookalike]) & set(made[0]["lrg_id"][~lookalike])) == 0
    assert lookalike.sum() / (kinds != "").sum() >= 0.2


def outskirts(stamps):
    """Mean, scatter and roughness of each band beyond 28 pixels: float64 [n, 12]."""
    ring = stamps[:, RADIUS >= 28].astype(np.float64)
    step = np.diff(stamps, axis=2)[:, RADIUS[:, 1:] >= 28]
    parts = np.median(ring, 1), ring.std(1), np.abs(step).mean(1), np.abs(step).max(1)
    return np.concatenate(parts, axis=1)


def separable(positives, negatives):
    """Cross-validated AUC of a logistic regression on the outskirts."""
    x = np.concatenate([outskirts(positives), outskirts(negatives)])
    y = np.repeat([1, 0], [len(positives), len(negatives)])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    return roc_auc_score(y, cross_val_predict(model, x, y, cv=5, method="decision_function"))


def test_only_the_arc_tells_a_lens_from_another_host(made):
    columns, stamps = made
    lens, control = stamps[columns["label"] == 1], stamps[columns["negative_kind"] == "control"]
    assert abs(separable(lens[0::2], control[1::2]) - 0.5) < 0.16  # 128 a class: 0.036 a sigma
    rng = np.random.default_rng(0)
    noisier = lens + 0.006 * rng.normal(size=lens.shape).astype(np.float32)
    assert separable(noisier[0::2], control[1::2]) > 0.66  # half a sigma of noise would show


@pytest.mark.parametrize(
    "change",
    [
        {"theta_e": (2.0, 1.0)},
        {"theta_e": (0.0, 1.0)},
        {"theta_e": (1.0, 3.5)},
        {"theta_e": (float("nan"), 1.0)},
        {"arc_snr": (0.0, 5.0)},
        {"arc_snr": (3.0, float("inf"))},
    ],
)
def test_a_population_that_cannot_be_is_refused(change):
    with pytest.raises(LensjaxError, match="Give two rising numbers") as caught:
        simulate_split("val", **{**FEW, **change})
    assert caught.value.code == ExitCode.USAGE


def test_arcs_of_the_widest_lenses_are_not_cut(spans):
    wide = {**FEW, "theta_e": (3.0, 3.0), "n_lookalikes": 0}
    _, stamps = simulate_split("val", **wide)
    arc = (stamps[:10] - stamps[10:])[..., 1]
    edge = np.abs(arc[:, [4, 59], :]).max((1, 2)) / arc.max((1, 2))
    assert np.median(edge) < 0.01 and edge.max() < 0.05
