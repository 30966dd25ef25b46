"""measures.json: what is in it, that it decides nothing, and what of it is written and counted."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from lensjax.gates import STEPS, examine, judge, measures, pool, record, table, write
from lensjax.gates import __main__ as command
from lensjax.gates.arrays import read_evaluation
from lensjax.gates.protocol import Protocol, parse_protocol
from lensjax.gates.record import encoded, files
from lensjax.schema import LensjaxError
from tests.gates.synthetic import Arrays, edit_json, save_split, write_evaluation

PARTS = ("strata", "ranking", "calibration", "selection", "catalogues", "training", "hunter")


@pytest.fixture(scope="module")
def quick(small: Protocol) -> Protocol:
    """Fewer resamples and permutations still: for the writing, not the numbers."""
    document = json.loads(json.dumps(small.document))
    document["intervals"]["resamples"] = 200
    document["probes"] |= {"c_grid": [0.01], "permutations": 3}
    document["hunter"] = {"ridge_grid": [1.0], "permutations": 9}
    return parse_protocol(document)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, quick: Protocol) -> Path:
    """A small run with scored catalogues and metrics: read it, do not change it."""
    run = tmp_path_factory.mktemp("measures") / "run"
    write_evaluation(run, quick, pairs=150, lookalikes=30)
    for name in ("anchors", "contaminants"):
        scored = {
            "name": np.array([f"{name}{k}" for k in range(9)]),
            "class": np.array(["ring", "spiral", ""] * 3),
            "logit": np.linspace(-4, 4, 9).astype(np.float32),
        }
        scored["logit"][4] = np.nan
        entry = save_split(run, name, {**scored, "label": np.zeros(9)})
        edit_json(
            run / "eval/manifest.json", lambda m, name=name, entry=entry: m.update({name: entry})
        )
    line = {"epoch": 1, "train_loss": 0.5, "val_loss": 0.5, "train_auroc": 0.9, "val_auroc": 0.6}
    (run / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    return run


@pytest.fixture
def run(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "run"))


@pytest.fixture(scope="module")
def examined(sound: Path, quick: Protocol) -> dict:
    return examine(sound, quick)


def test_the_gates_are_what_they_are_without_it(sound: Path, quick: Protocol, examined) -> None:
    gates = judge(sound, quick)
    assert "measures" not in gates
    assert {key: value for key, value in examined.items() if key != "measures"} == gates
    assert files(examined)["gates.json"] == encoded(gates)


def test_every_part_is_there_and_bound_to_arrays_and_protocol(examined: dict) -> None:
    told = json.loads(files(examined)["measures.json"])
    assert list(told) == ["schema", "protocol_digest", "arrays_digest", *PARTS]
    assert told["arrays_digest"] == examined["arrays_digest"]
    assert told["protocol_digest"] == examined["protocol_digest"]
    assert not any("state" in told[part] for part in PARTS)
    assert told["catalogues"]["anchors"]["missing"] == 1
    assert [each["flag"] for each in told["training"]["flags"] if each["raised"]] == ["overfitting"]


def test_six_digits_and_nothing_of_place_or_time(sound: Path, examined: dict) -> None:
    content = files(examined)["measures.json"]
    assert str(sound).encode() not in content

    def numbers(value):
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            return [number for each in value for number in numbers(each)]
        return [value] if isinstance(value, float) else []

    found = numbers(json.loads(content, parse_constant=pytest.fail))
    assert len(found) > 1000 and all(float(f"{each:.6g}") == each for each in found)


def test_the_order_of_rows_decides_nothing(run: Path, quick: Protocol, examined: dict) -> None:
    """The hunter's folds are dealt by row, as those of the probes are; all else goes by name."""
    for split in ("val", "test"):
        with np.load(run / f"eval/{split}.npz") as archive:
            arrays = dict(archive)
        order = np.random.default_rng(0).permutation(len(arrays["label"]))
        entry = save_split(run, split, {name: array[order] for name, array in arrays.items()})
        edit_json(
            run / "eval/manifest.json",
            lambda m, split=split, entry=entry: m["splits"].update({split: entry}),
        )
    found = examine(run, quick)["measures"]
    for part in ("strata", "ranking", "selection", "calibration", "catalogues"):
        assert encoded(found[part]) == encoded(examined["measures"][part])


def test_one_core_gives_the_same_bytes_as_two(
    sound: Path, quick: Protocol, examined: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "WORKERS", 1)
    assert files(examine(sound, quick)) == files(examined)


def test_what_is_raised_side_by_side_is_raised() -> None:
    done: list[int] = []

    def one(number: int) -> int:
        done.append(number)
        return 10 // number

    assert list(pool.side_by_side(one, [5, 2, 1])) == [2, 5, 10]
    with pytest.raises(ZeroDivisionError):
        list(pool.side_by_side(one, [1, 0, 2]))


def test_the_tables_tell_it_before_the_verdict(examined: dict) -> None:
    text = table(examined)
    assert text.split("\n")[-1].startswith(examined["verdict"])
    for told in (
        "worst bins    theta_E",
        "TPR at FPR 0.01",
        "isotonic: ECE",
        "at a prevalence of 0.0001",
        "cells empty",
        "9 of which 1 without a score, counted as missed",
        "counted as false alarms",
        "RED FLAG overfitting: overfitting. More augmentation, less capacity",
        "what the score follows",
        "brightness",
    ):
        assert told in text, told
    assert "measured beside" not in table({k: v for k, v in examined.items() if k != "measures"})


def test_one_class_has_no_measures_and_no_exception(run: Path, quick: Protocol) -> None:
    def lenses(arrays: Arrays) -> None:
        arrays["in_manifest"] = arrays["label"] == 1

    _resave(run, "test", lenses)
    found = examine(run, quick)
    assert found["verdict"] == "RED"
    for part in set(PARTS) - {"training"}:
        assert "one class only: test has" in found["measures"][part]["state"]
    assert "one class only" in table(found)


def test_numbers_that_are_missing_stop_their_own_part_alone(run: Path, quick: Protocol) -> None:
    def damaged(arrays: Arrays) -> None:
        for name in ("theta_e_arcsec", "arc_snr", "psf_fwhm_arcsec", "psf_depth", "ebv"):
            arrays[name][:] = np.nan
        for name in ("noise_sigma", "outskirts", "high_frequency_core"):
            del arrays[name]
        arrays["core_box"][:] = np.inf

    for split in ("val", "test"):
        _resave(run, split, damaged)
    found = examine(run, quick)["measures"]
    assert found["strata"]["theta_e_arcsec"]["worst"] is None
    assert found["selection"]["outside"] == found["selection"]["completeness"]["n"]
    assert found["ranking"]["recall_at"]
    states = {each["family"]: each["score"].get("state") for each in found["hunter"]["families"]}
    assert "not finite" in states["core"] and "no array" in states["noise"]
    assert states["brightness"] is None and states["metadata"] == "constant features"
    json.dumps(found, allow_nan=False)


def _resave(run: Path, split: str, change) -> None:
    with np.load(run / f"eval/{split}.npz") as archive:
        arrays = dict(archive)
    change(arrays)
    entry = save_split(run, split, arrays)
    edit_json(run / "eval/manifest.json", lambda m: m["splits"].update({split: entry}))


CATALOGUE_FAULTS = {
    "SHA-256 differs": lambda run: (run / "eval/anchors.npz").write_bytes(b"x"),
    "cannot be read": lambda run: (run / "eval/anchors.npz").unlink(),
    "does not name anchors.npz": lambda run: edit_json(
        run / "eval/manifest.json", lambda m: m["anchors"].update(file="../x.npz")
    ),
    "has 9 rows, the manifest says 3": lambda run: edit_json(
        run / "eval/manifest.json", lambda m: m["anchors"].update(n=3)
    ),
    "is there twice": lambda run: _rescore(run, "name", np.array(["a"] * 9)),
    "logit is infinite": lambda run: _rescore(run, "logit", np.full(9, np.inf)),
    "array class is missing": lambda run: _rescore(run, "class", None),
    "logit is int64": lambda run: _rescore(run, "logit", np.arange(9)),
}


def _rescore(run: Path, name: str, values: np.ndarray | None) -> None:
    with np.load(run / "eval/anchors.npz") as archive:
        arrays = dict(archive)
    arrays.pop(name)
    if values is not None:
        arrays[name] = values
    entry = save_split(run, "anchors", arrays)
    edit_json(run / "eval/manifest.json", lambda m: m.update(anchors=entry))


@pytest.mark.parametrize("told", CATALOGUE_FAULTS)
def test_damaged_catalogues_are_refused(run: Path, told: str) -> None:
    CATALOGUE_FAULTS[told](run)
    with pytest.raises(LensjaxError, match=told) as caught:
        read_evaluation(run)
    assert caught.value.code == 22


def test_a_catalogue_that_the_manifest_does_not_name_is_not_read(run: Path) -> None:
    """Else anyone could put better scores beside the arrays."""
    edit_json(run / "eval/manifest.json", lambda m: m.pop("anchors"))
    found = read_evaluation(run)
    assert set(found.catalogues) == {"contaminants"}
    assert found.digest != read_evaluation_digest_with_anchors(run)


def read_evaluation_digest_with_anchors(run: Path) -> str:
    with np.load(run / "eval/anchors.npz") as archive:
        entry = save_split(run, "anchors", dict(archive))
    edit_json(run / "eval/manifest.json", lambda m: m.update(anchors=entry))
    return read_evaluation(run).digest


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch, examined: dict) -> None:
    """The command with the examination already done."""

    def done(workdir, rules, other_protocol=False) -> dict:
        return {**examined, "protocol_digest": rules.digest}

    monkeypatch.setattr(command, "examine", done)


def called(capsys, *argv: str) -> tuple[int, str, str]:
    code = command.main(argv)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_both_files_are_written_and_printed(run: Path, instant, examined, capsys) -> None:
    code, out, err = called(capsys, f"--workdir={run}")
    assert code in (20, 21) and err == ""
    assert {"gates.json", "measures.json", "opened.jsonl"} < set(os.listdir(run))
    assert "measured beside the gates" in out and "test arrays opened: 1 (protocols: 1" in out
    _, out, _ = called(capsys, f"--workdir={run}", "--json")
    told = json.loads(out)
    assert told.pop("measures") == json.loads((run / "measures.json").read_text())
    assert told == json.loads((run / "gates.json").read_text())


def test_an_edited_measures_json_is_named_and_written_anew(run: Path, instant, capsys) -> None:
    """S7, of the file that decides nothing. The control: nobody who only reads it would know."""
    called(capsys, f"--workdir={run}")
    sound = (run / "measures.json").read_bytes()
    edit_json(run / "measures.json", lambda d: d["hunter"].update(looking_at=["arcs alone"]))
    assert json.loads((run / "measures.json").read_text())["hunter"]["looking_at"]
    _, _, err = called(capsys, f"--workdir={run}")
    assert "measures.json: was not what the arrays give (hunter.looking_at:" in err
    assert err.count("\n") == 1 and (run / "measures.json").read_bytes() == sound


def test_every_opening_of_the_test_arrays_is_counted(
    run: Path, quick: Protocol, instant, examined, tmp_path: Path, capsys
) -> None:
    """By the command, under another protocol too, and by whoever writes a judgement; not by a
    refused one, which opens nothing."""
    write(run, examined)
    other = {**quick.document, "name": "other"}
    (tmp_path / "other.json").write_text(json.dumps(other))
    called(capsys, f"--workdir={run}", f"--protocol={tmp_path}/other.json")
    called(capsys, f"--workdir={run}")
    lines = [json.loads(line) for line in (run / "opened.jsonl").read_text().splitlines()]
    assert [set(line) for line in lines] == [{"time", "arrays_digest", "protocol_digest"}] * 3
    assert len({line["protocol_digest"] for line in lines}) == 2
    write(run, {**examined, "arrays_digest": None})
    assert record.openings(run) == "test arrays opened: 3 (protocols: 2, evaluations: 1)"
    with open(run / "opened.jsonl", "a") as file:
        file.write('{"half a li')
    assert record.openings(run).startswith("test arrays opened: 3 ")


def test_where_nothing_can_be_written_the_judgement_stands(
    run: Path, instant, examined, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run on read-only media can be verified: the files are what they should be."""
    write(run, examined)
    before = record.openings(run)
    plain = open

    def refused(path, mode="r", *args, **more):
        if "a" in mode or "x" in mode:
            raise OSError(30, "Read-only file system")
        return plain(path, mode, *args, **more)

    monkeypatch.setattr(record, "open", refused, raising=False)
    code, out, err = called(capsys, f"--workdir={run}")
    assert code in (20, 21) and err == "" and before in out


def test_as_many_steps_are_told_as_are_said(sound: Path, quick: Protocol, monkeypatch) -> None:
    steps: list[int] = []
    monkeypatch.setattr(measures, "hunt", lambda case, gates: {})
    examine(sound, quick, advance=lambda: steps.append(1))
    assert len(steps) == STEPS
