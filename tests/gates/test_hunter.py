"""The shortcut hunter: what is planted is found and named, what is not there is not found."""

import json

import numpy as np
import pytest

from lensjax import schema
from lensjax.gates import hunter, within
from lensjax.gates.arrays import Arrays
from lensjax.gates.case import Case
from lensjax.gates.features import FAMILIES
from lensjax.gates.gate import conclude
from lensjax.gates.placements import delong
from lensjax.gates.protocol import Protocol, parse_protocol
from lensjax.gates.shortcuts import SHORTCUTS
from lensjax.gates.singles import singles
from lensjax.gates.statistics import auroc_interval
from tests.gates.synthetic import synthetic_case

CORE = schema.radius_map()[schema.CORE_BOX, schema.CORE_BOX] < schema.CORE_RADIUS


def hunted(case: Case) -> dict:
    """What the hunter finds, with the entries of the gates that it takes over."""
    names = {family.gate for family in FAMILIES.values() if family.gate} | {"brick"}
    gates = {name: conclude(case.protocol.gates[name], SHORTCUTS[name](case)) for name in names}
    return hunter.hunt(case, gates)


def unrelated(split: str, rows: Arrays) -> None:
    """A score that knows the label and nothing else."""
    rng = np.random.default_rng(len(split))
    rows["logit"] = (1.5 * rows["label"] + rng.normal(0, 1, len(rows["label"]))).astype(np.float32)


def by_core(split: str, rows: Arrays) -> None:
    """A score that is a function of the core's r-band brightness (and noise), whatever the label;
    the raw core is another galaxy's, so that the input's alone can tell."""
    unrelated(split, rows)
    flux = rows["core_box"][:, CORE, 1].mean(axis=1)
    noise = np.random.default_rng(3).normal(0, 0.5, len(flux))
    rows["logit"] = (np.tanh(flux / flux.std()) + noise).astype(np.float32)
    rows["core_box_raw"] = rows["core_box_raw"][::-1].copy()


def family(found: dict, name: str) -> dict:
    return next(each for each in found["families"] if each["family"] == name)


@pytest.mark.parametrize("paired", [False, True])
def test_a_model_that_looks_at_the_core_is_found_out(small: Protocol, paired: bool) -> None:
    """First of the families, and first by name; nothing else beside what shares its pixels."""
    found = hunted(synthetic_case(small, by_core, paired=paired, core=0.05, pairs=450))
    assert found["looking_at"] == ["core"]
    first = found["families"][0]
    assert first["family"] == "core" and first["score"]["ci"][0] > 0.2
    assert first["score"]["null"]["ci"][1] < 0.05
    assert first["reading"].startswith("tells the label, and the score follows it")
    assert "core_only_auroc" in first["action"]
    assert found["features"][0]["feature"] == "core flux r"
    assert found["features"][0]["score"]["p"] <= 0.01
    assert found["features"][0]["score"]["controls"] > 0.5
    assert found["together"]["value"] > 0.2


def test_a_score_that_follows_nothing_finds_nothing(small: Protocol) -> None:
    found = hunted(synthetic_case(small, unrelated, pairs=450))
    assert found["looking_at"] == [] and found["tells_label"] == []
    for each in found["families"]:
        if "value" in each["score"]:
            assert each["score"]["value"] < 0.03
        assert each["reading"] in ("nothing beyond chance", "not asked") and not each["action"]
    assert min(each["score"]["p"] for each in found["features"]) > 0.02
    assert family(found, "position")["score"] == {"state": "constant features"}


def test_a_shortcut_that_the_model_leaves_alone_is_of_the_data_alone(small: Protocol) -> None:
    """Under (a), not (b): seeing tells the label, and within a class the score does not follow."""

    def seeing(split: str, rows: Arrays) -> None:
        unrelated(split, rows)
        rows["psf_fwhm_arcsec"] += np.float32(0.15) * rows["label"]

    found = hunted(synthetic_case(small, seeing, pairs=450))
    assert found["tells_label"] == ["metadata"] and found["looking_at"] == []
    assert family(found, "metadata")["reading"].startswith("tells the label, but the score does")
    best = max(found["features"], key=lambda each: each["label"]["value"])
    assert (best["feature"], best["label"]["higher_in"]) == ("psf_fwhm_arcsec", "lenses")
    assert best["label"]["p"] <= 0.02 < 0.05 < best["score"]["p"]


def test_a_bias_that_is_no_shortcut_is_called_so(small: Protocol) -> None:
    def depth(split: str, rows: Arrays) -> None:
        unrelated(split, rows)
        rows["logit"] += 4 * (rows["psf_depth"] - np.float32(23.5))

    found = hunted(synthetic_case(small, depth, pairs=450))
    assert found["looking_at"] == ["metadata"] and found["tells_label"] == []
    assert family(found, "metadata")["reading"].startswith("does not tell the label, but")


def test_arcs_and_kinds_of_negatives_are_honest(small: Protocol, monkeypatch) -> None:
    """Bright arcs score high and show beyond the core: no shortcut. The control takes nothing off,
    and the honest arcs are held against the model."""

    def arcs(split: str, rows: Arrays) -> None:
        unrelated(split, rows)
        strength = np.nan_to_num(np.log(rows["arc_snr"]))
        rows["logit"] += 2 * strength
        rows["radial_profile"][:, 8] += 4 * strength[:, None]

    case = synthetic_case(small, arcs, pairs=400)
    found = hunted(case)
    assert found["honest"]["lenses"] > 0.5
    assert "profile" in found["tells_label"] and "profile" not in found["looking_at"]
    monkeypatch.setattr(
        within, "_honest", lambda case, name, *at: tuple(np.zeros((len(k), 0)) for k in at)
    )
    assert "profile" in hunted(case)["looking_at"]


def test_what_cannot_be_asked_says_why(small: Protocol) -> None:
    def without(split: str, rows: Arrays) -> None:
        del rows["noise_sigma"]
        if split == "test":
            del rows["ebv"]  # known in val alone: then it is no feature
        rows["radial_profile"][np.flatnonzero(rows["in_manifest"])[0]] = np.nan

    found = hunted(synthetic_case(small, without, pairs=200, lookalikes=40))
    assert family(found, "noise")["score"] == {"state": "there is no array noise_sigma"}
    assert "radial_profile is not finite in 1 rows" in family(found, "profile")["label"]["state"]
    assert "value" in family(found, "metadata")["score"]
    assert "ebv" not in {each["feature"] for each in found["features"]}
    assert "value" in family(found, "core")["score"] and "value" in found["together"]


def test_few_rows_or_one_score_are_no_ground(small: Protocol) -> None:
    def one_score(split: str, rows: Arrays) -> None:
        rows["logit"] = np.where(rows["label"] == 1, 1, -1).astype(np.float32)

    for case in (
        synthetic_case(small, pairs=40, lookalikes=8),
        synthetic_case(small, one_score, pairs=200, lookalikes=40),
    ):
        found = hunted(case)
        assert found["looking_at"] == [] and found["honest"] == {}
        assert family(found, "core")["score"] == {"state": "too few rows of any class"}
        assert found["features"][0]["score"] == {"state": "too few rows of any class"}


def by_sky(split: str, rows: Arrays) -> None:
    """Scores and seeing both vary by brick, one without the other."""
    rng = np.random.default_rng(
        [rows["stamp_id"].size, int(rows["psf_depth"][0] * 1e4), len(split)]
    )
    names, home = np.unique(rows["brick"], return_inverse=True)
    rows["logit"] = (
        rng.normal(0, 0.7, len(names))[home] + rng.normal(0, 0.7, len(home)) + rows["label"]
    ).astype(np.float32)
    for name in ("psf_fwhm_arcsec", "psf_depth", "ebv"):
        rows[name] = (rng.normal(0, 1, len(names))[home] + 0.1 * rng.normal(size=len(home))).astype(
            np.float32
        )


def test_moving_whole_bricks_keeps_chance_from_looking_like_a_cause(
    small: Protocol, monkeypatch
) -> None:
    """Over 24 sets in which score and seeing vary by brick, one without the other, few are called
    related at p <= 0.1. The control moves rows freely, and calls many so."""

    def called() -> int:
        count = 0
        for seed in range(24):
            case = synthetic_case(small, by_sky, pairs=120, lookalikes=20, seed=seed)
            shown = [FAMILIES["metadata"].measure(rows) for rows in (case.fit, case.test)]
            sides = list(within.sides_of(case).values())
            names = shown[0].names
            listed = singles(case, sides, names, names, *(each.values for each in shown))
            count += min(each["score"].get("p", 1.0) for each in listed) <= 0.1
        return count

    assert called() <= 6

    def freely(bricks, count, rng):
        return [
            np.stack([rng.permutation(len(each)) for _ in range(count)]).astype(np.int32)
            for each in bricks
        ]

    monkeypatch.setattr(within, "moved", freely)
    assert called() >= 10


def test_moves_keep_bricks_and_classes_together() -> None:
    bricks = [np.array(list("aaabbcd")), np.array(list("abbbd"))]
    first, second = within.moved(bricks, 300, np.random.default_rng(0))
    for one, two in zip(first, second, strict=True):
        assert len(set(bricks[0][one[:3]])) == 1 and len(set(bricks[0][one[3:5]])) == 1
        if bricks[0][one[0]] != "c":  # which the second class does not have
            assert bricks[1][two[0]] == bricks[0][one[0]]
        assert len(set(bricks[1][two[1:4]])) == 1
    assert {"".join(bricks[0][one]) for one in first} >= {"aaabbcd", "bbbaadc"}


def test_features_are_said_in_words_and_no_name_twice(small: Protocol) -> None:
    rows = synthetic_case(small, pairs=60, lookalikes=8).test
    found = {name: each.measure(rows) for name, each in FAMILIES.items()}
    names = [name for each in found.values() for name in each.names]
    assert len(names) == len(set(names)) > 70
    for each in found.values():
        assert each.values.shape == (len(rows), len(each.names)) and len(each.more) == len(rows)
    core = rows["core_box"][:, CORE, 2].mean(axis=1)
    assert found["core"].values[:, found["core"].names.index("core flux z")] == pytest.approx(
        core, abs=1e-6
    )
    shares = np.abs(found["colour"].values[:, :3])
    assert shares.sum(axis=1) == pytest.approx(1.0)


def test_positions_are_those_of_the_bricks(small: Protocol) -> None:
    def named(split: str, rows: Arrays) -> None:
        rows["brick"] = np.full(len(rows["label"]), "1501m022")
        rows["brick"][0] = "elsewhere"

    rows = synthetic_case(small, named, pairs=60, lookalikes=8, paired=True).test
    found = FAMILIES["position"].measure(rows).values
    assert np.isnan(found[0]).all()
    assert found[1] == pytest.approx([-2.2, np.cos(np.deg2rad(150.1)), np.sin(np.deg2rad(150.1))])


def test_texture_sees_what_ripples(small: Protocol) -> None:
    """A wave of 4 px in one band raises the power at 3.3-5 px of that band, and no other."""

    def rippled(split: str, rows: Arrays) -> None:
        wave = np.cos(2 * np.pi * np.arange(10) / 4).astype(np.float32)
        rows["core_box"][0, :, :, 0] = 10 * wave[:, None]

    rows = synthetic_case(small, rippled, pairs=60, lookalikes=8, paired=True).test
    found = FAMILIES["texture"].measure(rows)
    power = dict(zip(found.names[12:], (found.values[0] - found.values[1])[12:], strict=True))
    assert max(power, key=lambda name: power[name]) == "power at 3.3-5 px g"


def test_delong_by_bricks_is_the_interval_of_the_verdicts_nearly() -> None:
    """And where every row is its own brick, DeLong's, from its definition."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 900)
    scores = np.round(rng.normal(0, 1, 900) + 0.8 * labels, 1)
    brick = np.arange(900) // 15
    found = delong(scores, labels, brick, 60, 0.95)
    known = auroc_interval(scores, labels, brick, resamples=2000, seed=1)
    assert found.value == pytest.approx(known.value, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=3e-3)
    lens, other = scores[labels == 1], scores[labels == 0]
    won = (lens[:, None] > other) + 0.5 * (lens[:, None] == other)
    variance = won.mean(1).var(ddof=1) / len(lens) + won.mean(0).var(ddof=1) / len(other)
    alone = delong(scores, labels, np.arange(900), 900, 0.95)
    width = alone.high - alone.low
    assert width == pytest.approx(2 * 1.9626 * np.sqrt(variance), rel=0.02)
    apart = delong(labels.astype(float), labels, brick, 60, 0.95)
    assert apart.value == 1.0 and np.isnan(apart.low)


def test_the_same_bits_each_time(small: Protocol) -> None:
    quick = parse_protocol(
        json.loads(json.dumps(small.document))
        | {"hunter": {"ridge_grid": [1.0], "permutations": 9}}
    )
    found = [hunted(synthetic_case(quick, pairs=120, lookalikes=20)) for _ in range(2)]
    assert json.dumps(found[0]) == json.dumps(found[1])
