"""Comparing runs: the same stamps, the worst seed, paired differences; what is refused."""

import copy
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lensjax.gates import compare_runs, examine
from lensjax.gates.compare import compare
from lensjax.gates.compare_heads import Told
from lensjax.gates.compare_measures import measures
from lensjax.gates.compare_runs import Run, read_runs
from lensjax.gates.measures import examine_case
from lensjax.gates.protocol import GATES, Protocol, parse_protocol
from lensjax.gates.statistics import auroc
from lensjax.schema import LensjaxError
from tests.gates.compared import judge_auroc_alone, make_run, quick
from tests.gates.synthetic import Arrays, edit_json, synthetic_arrays, write_json

CONFIGS = {"a1": 0.0, "b1": 3.0}


@pytest.fixture(scope="module")
def rules(default: Protocol) -> Protocol:
    return quick(default)


@pytest.fixture(scope="module", autouse=True)
def quick_judge() -> Iterator[None]:
    """The judging itself replaced."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare_runs, "examine_case", judge_auroc_alone)
        yield


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory, rules: Protocol) -> Path:
    """Two configs with three seeds each; b1's scores are a1's and noise. Read it, do not change
    it."""
    folder = tmp_path_factory.mktemp("matrix")
    for name, noise in CONFIGS.items():
        for seed in range(3):
            own = noise + 0.2 * seed
            make_run(folder / f"{name}-seed{seed}", rules, experiment=name, seed=seed, noise=own)
    return folder


def folders(matrix: Path) -> list[Path]:
    return sorted(matrix.iterdir())


@pytest.fixture(scope="module")
def runs(matrix: Path) -> list[Run]:
    return read_runs(folders(matrix), Told())


@pytest.fixture(scope="module")
def document(runs: list[Run]) -> dict:
    return compare(runs)


def refused(names, told: Told = Told()) -> LensjaxError:  # noqa: B008
    with pytest.raises(LensjaxError) as caught:
        read_runs(names, told)
    return caught.value


# -- what is compared ------------------------------------------------------------------------------


def test_experiments_are_told_by_config_and_judged_by_the_worst_seed(document):
    assert [each["name"] for each in document["experiments"]] == ["a1", "b1"]
    for experiment in document["experiments"]:
        runs = experiment["runs"]
        assert [run["seed"] for run in runs] == [0, 1, 2]
        verdicts = {run["verdict"] for run in runs}
        colours = [colour for colour in ("RED", "YELLOW", "GREEN") if colour in verdicts]
        assert experiment["verdict"] == colours[0]
        worst = next(run for run in runs if run["name"] == experiment["worst_run"])
        assert worst["verdict"] == experiment["verdict"]
        for gate in ("auroc_test", "core_masked_drop"):
            values = [run["judged"]["gates"][gate]["value"] for run in runs]
            least = min(values) if gate == "auroc_test" else max(values)
            assert experiment["gates"][gate]["value"] == least


def test_runs_are_judged_anew(matrix, rules, tmp_path, monkeypatch):
    """As `gates` does, whatever gates.json says."""
    runs = [shutil.copytree(matrix / name, tmp_path / name) for name in ("a1-seed0", "b1-seed2")]
    write_json(Path(runs[1]) / "gates.json", {"verdict": "GREEN", "gates": {}})
    monkeypatch.setattr(compare_runs, "examine_case", examine_case)
    assert read_runs(runs, Told())[1].judged == examine(runs[1], rules)
    openings = [(Path(run) / "opened.jsonl").read_text().count("\n") for run in runs]
    assert openings == [1, 1]


def test_a_run_with_another_field_is_another_experiment(matrix, rules, tmp_path):
    """Whatever its directory and its experiment are called. The control: without looking at the
    field the two are seeds of one."""
    for seed, rate in ((0, 0.001), (1, 0.01)):
        config = {"optimizer": {"learning_rate": rate}}
        make_run(tmp_path / f"a1-seed{seed}", rules, seed=seed, noise=0.5, config=config)
    document = compare(read_runs(sorted(tmp_path.iterdir()), Told()))
    names = [each["name"] for each in document["experiments"]]
    assert names == [
        "a1 (optimizer.learning_rate=0.001)",
        "a1 (optimizer.learning_rate=0.01)",
    ]
    edit_json(
        tmp_path / "a1-seed1/provenance.json",
        lambda record: record["config"].update(optimizer={"learning_rate": 0.001}),
    )
    document = compare(read_runs(sorted(tmp_path.iterdir()), Told()))
    assert [(each["name"], each["seeds"]) for each in document["experiments"]] == [("a1", 2)]


def test_means_and_ends_are_of_the_seeds(document):
    for experiment in document["experiments"]:
        for name, entry in experiment["measures"].items():
            values = [run["value"] for run in entry["runs"]]
            if entry["mean"] is None:
                assert entry["reason"], name
                continue
            assert entry["mean"] == pytest.approx(np.mean(values), rel=1e-5)
            assert (entry["min"], entry["max"]) == (min(values), max(values))
            higher = document["better"][name] == ">"
            worst = values.index(min(values) if higher else max(values))
            assert entry["worst"] == experiment["runs"][worst]["name"]


def test_every_gate_has_a_measure_and_its_number_is_that_of_all_rows(document, rules):
    assert set(GATES) - {"perfect_scores"} <= set(document["better"])
    rows = synthetic_arrays("test", pairs=60, lookalikes=20, hosts_per_brick=4, skill=0.1)
    told = document["experiments"][0]["measures"]["auroc_test"]["runs"][0]["value"]
    assert told == pytest.approx(auroc(rows["logit"], rows["label"]), rel=1e-5)
    judged = document["experiments"][0]["runs"][0]["judged"]["gates"]["auroc_test"]["value"]
    own = rows["in_manifest"]
    assert judged == pytest.approx(auroc(rows["logit"][own], rows["label"][own]), rel=1e-5)


def test_a_difference_has_its_sign_and_its_claim(document):
    (pair,) = document["differences"]
    assert (pair["experiment"], pair["reference"]) == ("b1", "a1")
    worse = pair["measures"]["auroc_test"]
    a, b = (each["measures"]["auroc_test"]["mean"] for each in document["experiments"])
    assert worse["value"] == pytest.approx(b - a, abs=2e-6) and worse["value"] < -0.1
    assert worse["ci"][1] < 0 and worse["ci_bricks"][1] < 0 and worse["claim"]
    assert worse["p"] <= worse["p_adjusted"] < 0.05


def test_gates_of_the_data_are_the_same_for_all(document):
    (pair,) = document["differences"]
    for name in ("core_lr_auc", "core_lr_auc_raw", "outskirts", "survey", "metadata", "brick"):
        entry = pair["measures"][name]
        assert (entry["value"], entry["ci_bricks"], entry["claim"]) == (0.0, [0.0, 0.0], False)


def test_gates_of_the_data_differ_where_the_data_do(matrix, rules, tmp_path):
    """Another preprocessing of the same stamps: a probe fitted to each, on the same resamples."""

    def brighter(split: str, arrays: Arrays) -> None:
        arrays["core_box"] += (0.3 * (arrays["label"] == 1)).astype(np.float32)[:, None, None, None]

    other = make_run(tmp_path / "bright", rules, experiment="bright", change=brighter)
    document = compare(read_runs([matrix / "a1-seed0", other], Told()))
    measures = document["differences"][0]["measures"]
    assert measures["core_lr_auc"]["value"] > 0.2 and measures["core_lr_auc"]["ci_bricks"][0] > 0
    assert measures["core_lr_auc_raw"]["value"] == 0.0


def test_identical_runs_differ_by_exactly_nothing(matrix, tmp_path):
    twin = Path(shutil.copytree(matrix / "a1-seed0", tmp_path / "twin"))
    edit_json(twin / "provenance.json", lambda r: r["config"].update(experiment="twin"))
    (pair,) = compare(read_runs([matrix / "a1-seed0", twin], Told()))["differences"]
    for entry in pair["measures"].values():
        assert (entry["value"], entry["ci_bricks"]) in ((0.0, [0.0, 0.0]), (None, None))


def test_paired_and_unpaired_runs_meet_on_the_same_stamps(rules, tmp_path):
    """The same scores: as judged they differ, on all rows they do not."""
    runs = [
        make_run(tmp_path / "paired", rules, experiment="a1", noise=1.0, paired=True),
        make_run(tmp_path / "unpaired", rules, experiment="a1", noise=1.0),
    ]
    edit_json(runs[1] / "provenance.json", lambda r: r["config"].update(experiment="b1"))
    document = compare(read_runs(runs, Told()))
    judged = [each["gates"]["auroc_test"]["value"] for each in document["experiments"]]
    assert judged[0] != judged[1]
    assert document["differences"][0]["measures"]["auroc_test"]["value"] == 0.0


# -- seeds -----------------------------------------------------------------------------------------


def test_fewer_than_three_seeds_claim_nothing(runs, document):
    few = compare([run for run in runs if run.head.seed != 2])
    assert document["differences"][0]["measures"]["auroc_test"]["claim"]
    entry = few["differences"][0]["measures"]["auroc_test"]
    assert entry["ci"] is not None and not entry["claim"]
    assert [each["claims"] for each in few["experiments"]] == [False, False]
    assert "a1: 2 of 3 seeds, so no claim." in few["notes"]
    alone = compare([runs[0], runs[3]])["differences"][0]["measures"]["auroc_test"]
    assert alone["ci"] is None and alone["p"] is None and alone["ci_bricks"] is not None


def test_one_model_copied_is_one_seed(matrix, tmp_path):
    """Other seeds in the record do not make other models."""
    runs = [matrix / "b1-seed0"]
    for seed in (1, 2):
        copied = Path(shutil.copytree(matrix / "b1-seed0", tmp_path / f"b1-seed{seed}"))
        edit_json(copied / "provenance.json", lambda r, seed=seed: r["config"].update(seed=seed))
        runs.append(copied)
    (told,) = compare(read_runs(runs, Told()))["experiments"]
    assert (told["seeds"], told["claims"]) == (1, False)


def test_a_run_that_is_no_evidence_claims_nothing(runs):
    last = runs[-1].head
    head = replace(last, manifest={**last.manifest, "evidence": False})
    document = compare([*runs[:-1], replace(runs[-1], head=head)])
    assert [each["claims"] for each in document["experiments"]] == [True, False]
    assert not document["differences"][0]["measures"]["auroc_test"]["claim"]
    assert "b1: no evidence, so no claim." in document["notes"]


def test_a_run_without_a_config_is_on_its_own(matrix, rules, tmp_path):
    bare = [make_run(tmp_path / name, rules, seed=None, noise=1.0) for name in ("x", "y")]
    document = compare(read_runs(bare, Told()))
    assert [(e["name"], e["seeds"]) for e in document["experiments"]] == [("x", 1), ("y", 1)]


# -- what is refused -------------------------------------------------------------------------------


def shifted(split: str, arrays: Arrays) -> None:
    """The same data digest, but other stamps."""
    names = arrays["stamp_id"].astype("U32")
    arrays["stamp_id"] = np.char.add(names, "x")


def test_other_stamps_of_the_same_data_are_refused(matrix, rules, tmp_path, monkeypatch):
    """The control: without looking, other stamps are subtracted row by row."""
    other = make_run(tmp_path / "other", rules, experiment="c1", change=shifted)
    error = refused([matrix / "a1-seed0", other])
    assert error.code == 22 and "is not on the stamps of a1-seed0" in str(error)
    assert "stamps of test are in one alone, first 'test-000000'" in str(error)
    monkeypatch.setattr(compare_runs, "_other_stamps", lambda old, new: "")
    (pair,) = compare(read_runs([matrix / "a1-seed0", other], Told()))["differences"]
    assert pair["measures"]["auroc_test"]["value"] is not None


def test_the_same_stamps_with_another_label_are_refused(matrix, rules, tmp_path):
    def moved(split: str, arrays: Arrays) -> None:
        arrays["brick"][0] = arrays["brick"][-1]

    other = make_run(tmp_path / "other", rules, experiment="c1", change=moved)
    error = refused([matrix / "a1-seed0", other])
    assert error.code == 22 and "brick of 'test-000000' differs" in str(error)


def test_rows_in_another_order_are_the_same_stamps(matrix, rules, tmp_path):
    def shuffled(split: str, arrays: Arrays) -> None:
        order = np.random.default_rng(1).permutation(len(arrays["label"]))
        for name in arrays:
            arrays[name] = arrays[name][order]

    other = make_run(tmp_path / "other", rules, experiment="c1", change=shuffled)
    (pair,) = compare(read_runs([matrix / "a1-seed0", other], Told()))["differences"]
    values = [entry["value"] for entry in pair["measures"].values() if entry["value"] is not None]
    assert set(values) == {0.0}


def test_other_data_are_refused_unless_told(matrix, rules, tmp_path):
    other = make_run(
        tmp_path / "other",
        rules,
        experiment="a1",
        change=shifted,
        manifest={"data_digest": "e" * 64},
        config={"data": {"root": "elsewhere", "seed": 43, "pairing": "y"}},
    )
    error = refused([matrix / "a1-seed0", other])
    assert error.code == 12 and "first difference data.root" in str(error)
    told = compare(read_runs([matrix / "a1-seed0", other], Told(other_data=True)))
    assert told["differences"][0]["measures"]["auroc_test"] == {
        **dict.fromkeys(("value", "ci_bricks", "ci", "p", "p_adjusted")),
        "claim": False,
        "reason": "other stamps: not paired",
    }
    assert [each["measures"]["auroc_test"]["mean"] for each in told["experiments"]] != [None, None]
    assert len(told["stamps"]) == len(told["data_digests"]) == 2


def test_other_protocols_are_refused_unless_told(matrix, rules, tmp_path):
    document = copy.deepcopy(rules.document)
    document["gates"]["auroc_test"]["threshold"] = 0.5
    lax = parse_protocol(document)
    other = make_run(tmp_path / "other", lax, experiment="b1", noise=3.0)
    error = refused([matrix / "b1-seed0", other])
    assert error.code == 12 and "gates.auroc_test.threshold: 0.85 -> 0.5" in str(error)
    error = refused([matrix / "a1-seed0", matrix / "b1-seed0"], Told(rules=lax))
    assert error.code == 12 and "than the protocol given" in str(error)
    runs = read_runs([matrix / "b1-seed0", other], Told(other_protocol=True))
    assert [run.other_protocol for run in runs] == [False, True]
    assert runs[1].judged["gates"]["auroc_test"]["threshold"] == 0.85
    assert any("other" in note for note in compare(runs)["notes"])


def test_incomplete_runs_are_refused(matrix, rules, tmp_path):
    run = make_run(tmp_path / "run", rules)
    (run / "eval/manifest.json").unlink()
    error = refused([matrix / "a1-seed0", run])
    assert error.code == 22 and "incomplete" in str(error)
    summary = {
        "all_passed": False,
        "exit_code": 11,
        "protocol_digest": rules.digest,
        "checks": {"splits": {"verdict": "FAIL", "required": True, "message": "shared"}},
    }
    write_json(run / "phase0_summary.json", summary)
    error = refused([matrix / "a1-seed0", run])
    assert error.code == 22 and "phase 0 refused its data" in str(error)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a1-seed0", "a1-seed0"], "given twice"),
        ([], "no run given"),
        (["a1-seed0", "nowhere"], "no such run directory"),
    ],
)
def test_wrong_names_are_usage(matrix, names, told):
    error = refused([matrix / name for name in names])
    assert error.code == 2 and told in str(error)


def test_one_run_alone_has_no_differences_and_no_claim(runs):
    document = compare(runs[:1])
    assert document["differences"] == [] and not document["experiments"][0]["claims"]


def test_measures_have_names_of_their_own(rules):
    names = [measure.name for measure in measures(rules)]
    assert len(set(names)) == len(names)
