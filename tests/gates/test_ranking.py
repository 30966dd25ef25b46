"""The rare end of the ranking and the selection function, against scikit-learn and counting."""

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from lensjax.gates.arrays import Arrays
from lensjax.gates.breakdown import breakdown
from lensjax.gates.catalogues import catalogues
from lensjax.gates.gate import GateError
from lensjax.gates.printed_measures import _anchors as printed_anchors
from lensjax.gates.protocol import Protocol
from lensjax.gates.ranking import descending, ranking
from lensjax.gates.selection import bin_of, edges_of, selection_function, threshold_at_fpr
from lensjax.gates.statistics import StatisticsError, auroc
from tests.gates.synthetic import synthetic_case


def blurred(split: str, rows: Arrays) -> None:
    """Scores with ties."""
    rows["logit"] = np.round(rows["logit"], 1)


@pytest.fixture(scope="module")
def tied(small: Protocol):
    return synthetic_case(small, blurred, skill=0.1)


def test_rates_are_those_of_the_curves_of_scikit_learn(tied) -> None:
    label, logit = tied.test["label"], tied.test["logit"]
    found = ranking(tied)
    fpr, tpr, _ = roc_curve(label, logit, drop_intermediate=False)
    for each in found["tpr_at_fpr"]:
        assert each["value"] == pytest.approx(tpr[fpr <= each["fpr"] + 1e-12].max())
        assert each["ci"][0] <= each["value"] <= each["ci"][1]
    assert [each.get("verdict") for each in found["tpr_at_fpr"]][-1] == "INCONCLUSIVE"
    precision, recall, threshold = precision_recall_curve(label, logit)
    at = found["precision_at_recall"]
    known = np.flatnonzero(recall >= 0.9 - 1e-12)[-1]
    assert at["precision"]["value"] == pytest.approx(precision[known])
    assert at["logit"] == pytest.approx(threshold[known])
    assert at["fpr"]["value"] == pytest.approx((logit[label == 0] >= at["logit"]).mean())
    assert at["precision"]["ci"][0] < at["precision"]["value"] < at["precision"]["ci"][1]


def test_recall_at_k_by_counting(tied) -> None:
    lens = tied.test.positive
    order = sorted(zip(-tied.test["logit"].astype(float), lens, strict=True))
    for each in ranking(tied)["recall_at"]:
        hits = sum(bool(positive) for _, positive in order[: each["k"]])
        assert each["found"] == hits
        assert each["value"] == pytest.approx(hits / lens.sum())
        assert each["ceiling"] == pytest.approx(each["k"] / lens.sum())


def test_ties_count_against_the_model() -> None:
    """The control, a stable sort alone, gives the lens that happened to come first its rank."""
    scores, positive = np.array([1.0, 1.0, 2.0]), np.array([True, False, False])
    assert descending(scores, positive).tolist() == [2, 1, 0]
    assert np.argsort(-scores, kind="stable").tolist() == [2, 0, 1]


def test_the_interval_of_a_rate_covers_where_bricks_differ(small: Protocol) -> None:
    """TPR at FPR 0.1 in 30 bricks whose scores shift by brick: true 0.36, 60 sets. The control,
    Wilson at the threshold that was found, covers less."""
    document = {**small.document, "rates": {**small.document["rates"], "fpr": [0.1]}}
    rules = Protocol(document)
    truth, bricks, wilson = 0.3891, 0, 0
    for seed in range(60):
        rng = np.random.default_rng(seed)

        def shifted(split: str, rows: Arrays, rng=rng) -> None:
            names, home = np.unique(rows["brick"], return_inverse=True)
            shared = rng.normal(0, np.sqrt(0.3), len(names))[home]
            own = rng.normal(0, np.sqrt(0.7), len(home))
            rows["logit"] = (shared + own + rows["label"]).astype(np.float32)

        case = synthetic_case(rules, shifted, pairs=390, lookalikes=30, seed=seed)
        (found,) = ranking(case)["tpr_at_fpr"]
        bricks += found["ci"][0] < truth < found["ci"][1]
        half = 1.96 * np.sqrt(truth * (1 - truth) / found["n_pos"])
        wilson += abs(found["value"] - truth) < half
    assert bricks >= 53 and wilson < bricks


@pytest.fixture(scope="module")
def measured(small: Protocol):
    case = synthetic_case(small)
    return case, selection_function(case)


def test_completeness_by_counting(measured) -> None:
    case, found = measured
    negatives = case.fit["logit"][~case.fit.positive]
    assert (negatives > found["logit"]).mean() <= 0.01 < (negatives >= found["logit"]).mean() + 1e-9
    lens = case.test.positive
    flagged = case.test["logit"] > found["logit"]
    assert found["completeness"]["value"] == pytest.approx(flagged[lens].mean())
    assert found["fpr"]["value"] == pytest.approx(flagged[~lens].mean())
    assert found["verdict"] == "INCONCLUSIVE" and "1000 needed" in found["reason"]
    theta, snr = found["axes"]["theta_e_arcsec"], found["axes"]["arc_snr"]
    assert snr[-1] is None and len(found["cells"]) == 5 * 4 * 6
    for cell in found["margins"]["theta_e_arcsec x arc_snr"]:
        low, high = (theta[cell["at"][0] + k] for k in (0, 1))
        a, b = (snr[cell["at"][1] + k] or np.inf for k in (0, 1))
        values, strength = case.test["theta_e_arcsec"], case.test["arc_snr"]
        last = (values == high) & (high == theta[-1])
        rows = lens & (values >= low) & ((values < high) | last)
        rows &= (strength >= a) & (strength < b)
        assert cell["n"] == rows.sum() and cell["found"] == (rows & flagged).sum()
        if cell["n"]:
            assert cell["ci"][0] <= cell["value"] <= cell["ci"][1]
        else:
            assert cell["state"] == "empty" and "value" not in cell
    assert sum(cell["n"] for cell in found["cells"]) == lens.sum() == found["completeness"]["n"]
    assert set(found["margins"]) == {
        *("theta_e_arcsec", "psf_fwhm_arcsec", "arc_snr", "theta_e_arcsec x arc_snr"),
        *("theta_e_arcsec x psf_fwhm_arcsec", "psf_fwhm_arcsec x arc_snr"),
    }


def test_what_is_unknown_or_beyond_the_bins_is_in_no_cell(small: Protocol) -> None:
    def odd(split: str, rows: Arrays) -> None:
        lens = np.flatnonzero(rows["in_manifest"] & (rows["label"] == 1))
        rows["theta_e_arcsec"][lens[:3]] = 9.0
        rows["psf_fwhm_arcsec"][lens[3:5]] = np.nan
        rows["arc_snr"][lens[5]] = np.inf

    case = synthetic_case(small, odd)
    found = selection_function(case)
    assert found["outside"] == 6
    assert sum(cell["n"] for cell in found["cells"]) == found["completeness"]["n"] - 6


def test_bins_and_their_edges() -> None:
    edges = np.array([0.5, 1.0, 2.0])
    values = np.array([0.4, 0.5, 0.99, 1.0, 2.0, 2.1, np.nan], np.float32)
    assert bin_of(values, edges).tolist() == [-1, 0, 0, 1, 1, -1, -1]
    open_ended = np.array([-np.inf, 1.0, np.inf])
    assert bin_of(np.array([-9.0, 1.0, 9.0, np.nan, np.inf]), open_ended).tolist() == [
        *(0, 1, 1, -1, -1)
    ]


def test_edges_of_seeing_are_quantiles_of_val(measured) -> None:
    case, _ = measured
    inner = edges_of(case, "psf_fwhm_arcsec")[1:-1]
    assert inner == pytest.approx(np.quantile(case.fit["psf_fwhm_arcsec"], [0.25, 0.5, 0.75]), 1e-5)


def test_a_threshold_needs_negatives(small: Protocol) -> None:
    def lenses(split: str, rows: Arrays) -> None:
        rows["in_manifest"] = rows["label"] == 1

    with pytest.raises(StatisticsError, match="val has no negatives"):
        threshold_at_fpr(synthetic_case(small, lenses, pairs=20, lookalikes=4), 0.01)


def test_strata_by_counting(measured) -> None:
    case, _ = measured
    found = breakdown(case)
    label, logit = case.test["label"], case.test["logit"]
    for name, told in found.items():
        values = case.test[name]
        known = []
        for each in told["bins"]:
            low, high = each["bin"]
            low, high = -np.inf if low is None else low, np.inf if high is None else high
            inside = (values >= low) & ((values < high) | (values == high))
            rows = inside if told["against"] == "negatives of the bin" else inside | (label == 0)
            assert each["n_pos"] == (rows & (label == 1)).sum()
            if each["n_pos"]:
                assert each["value"] == pytest.approx(auroc(logit[rows], label[rows]), abs=1e-9)
                assert each["ci"][0] < each["value"] <= each["ci"][1]
                known.append(each["value"])
            else:
                assert each["state"] == "no lenses"
        assert told["bins"][told["worst"]]["value"] == min(known)
        assert told["spread"]["value"] == pytest.approx(max(known) - min(known), abs=1e-9)


def test_bins_outside_the_population_are_called_so(small: Protocol) -> None:
    case = synthetic_case(small)
    case.manifest["population"] |= {"theta_e": [1.5, 2.5], "arc_snr": [8.0, 50.0]}
    found = breakdown(case)
    states = [each.get("state") for each in found["theta_e_arcsec"]["bins"]]
    assert states == ["not in population"] * 3 + [None, None]
    assert [each.get("state") for each in found["arc_snr"]["bins"]][-1] == "not in population"


def test_seeing_that_is_one_number_or_unknown_is_one_bin(small: Protocol) -> None:
    def flat(split: str, rows: Arrays) -> None:
        rows["psf_fwhm_arcsec"][:] = np.nan
        rows["psf_depth"][:] = 23.5

    found = breakdown(synthetic_case(small, flat))
    assert found["psf_fwhm_arcsec"]["worst"] is None
    assert found["psf_fwhm_arcsec"]["outside"] > 0
    assert "no spread" in found["psf_depth"]["spread"]["state"]


def scored(logits: list[float], classes: list[str]) -> Arrays:
    names = np.array([f"o{k}" for k in range(len(logits))])
    return {"name": names, "class": np.array(classes, "U16"), "logit": np.array(logits, np.float32)}


def test_catalogues_by_counting_and_missing_scores_count_against_the_model(small) -> None:
    """The control leaves rows without a score out of the denominator, and reads better."""
    nan = np.nan
    anchors = scored([9.0, 0.3, -9.0, nan], [""] * 4)
    others = scored([1.0, -1.0, 3.0, nan, -5.0], ["ring", "ring", "spiral", "spiral", "all"])
    case = synthetic_case(small, catalogues={"anchors": anchors, "contaminants": others})
    found = catalogues(case)
    told = found["anchors"]
    assert (told["n"], told["scored"], told["missing"]) == (4, 3, 1)
    assert [each["found"] for each in told["recall_above"]] == [2, 1, 1]
    assert told["recall_above"][0]["value"] == 0.5 < 2 / 3
    negatives = case.test["logit"][~case.test.positive]
    above = [(negatives >= logit).sum() + rank for rank, logit in enumerate([9.0, 0.3, -9.0], 1)]
    for each in told["recall_at"]:
        assert each["found"] == sum(rank <= each["k"] for rank in above)
    rings = found["contaminants"]["by_class"]["ring"]
    assert [each["found"] for each in rings["fpr_above"]] == [1, 1, 0]
    spirals = found["contaminants"]["by_class"]["spiral"]
    assert [each["value"] for each in spirals["fpr_above"]] == [1.0, 1.0, 1.0]
    assert found["contaminants"]["n"] == 5 and "all" in found["contaminants"]["by_class"]


def test_an_anchor_without_a_score_is_found_at_no_k(small: Protocol) -> None:
    anchors = scored([np.nan] * 30, [""] * 30)
    case = synthetic_case(small, pairs=20, lookalikes=4, catalogues={"anchors": anchors})
    assert {each["found"] for each in catalogues(case)["anchors"]["recall_at"]} == {0}
    assert catalogues(case)["contaminants"] == {"state": "not scored"}


def test_anchors_that_were_trained_on_are_said_first(small: Protocol) -> None:
    case = synthetic_case(small, catalogues={"anchors": scored([9.0, 0.3, -9.0], [""] * 3)})
    told = catalogues(case)
    assert told["anchors"]["trained_on"] is None  # not known: nothing is said
    for known, said in ((2, True), (0, False), ("\x1b[2J", False)):
        case.manifest["anchors"] = {"trained_on": known}
        line = printed_anchors(catalogues(case)["anchors"])[0]
        assert line.startswith("2 ARE HOSTS OF TRAINING STAMPS") == said and "\x1b" not in line


def test_theta_e_that_is_unknown_is_the_gate_s_error_and_the_bins_rest(small: Protocol) -> None:
    from lensjax.gates.strata import theta_e_bins

    def unknown(split: str, rows: Arrays) -> None:
        rows["theta_e_arcsec"][rows["label"] == 1] = np.nan

    case = synthetic_case(small, unknown, pairs=60, lookalikes=8)
    with pytest.raises(GateError, match="not finite"):
        theta_e_bins(case)
    assert breakdown(case)["theta_e_arcsec"]["worst"] is None
