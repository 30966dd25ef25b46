"""T8: the best of five seeds does not pass for one run."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lensjax.gates import __main__ as command
from lensjax.gates import compare_heads, compare_runs
from lensjax.gates.compare import compare
from lensjax.gates.compare_heads import Told
from lensjax.gates.compare_runs import read_runs
from lensjax.gates.compare_sweep import MEMBER, SWEEP, member_record, note, require_whole
from lensjax.gates.protocol import Protocol
from lensjax.schema import LensjaxError
from tests.gates.compared import judge_auroc_alone, make_run, quick
from tests.gates.synthetic import write_json

NAMES = [f"b3-seed{seed}" for seed in range(5)]


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
def sweep(tmp_path_factory: pytest.TempPathFactory, rules: Protocol) -> Path:
    """A finished sweep of five seeds, the third of which is lucky. Read it, do not change it."""
    folder = tmp_path_factory.mktemp("sweep") / "matrix"
    folder.mkdir()
    for seed, name in enumerate(NAMES):
        noise = 0.0 if seed == 2 else 2.0
        make_run(folder / name, rules, experiment="b3", seed=seed, noise=noise)
        write_json(folder / name / MEMBER, member_record("id", name, NAMES))
    runs = [{"name": name} for name in NAMES]
    write_json(folder / SWEEP, {"schema": "lensjax-sweep-1", "id": "id", "runs": runs})
    return folder


def refused(*folders: Path) -> str:
    with pytest.raises(LensjaxError) as caught:
        require_whole(folders)
    assert caught.value.code == 22
    return str(caught.value)


@pytest.mark.proves("T8")
def test_the_best_seed_alone_is_refused_and_the_missing_are_named(
    sweep: Path, rules: Protocol, tmp_path: Path, capsys
) -> None:
    other = make_run(tmp_path / "a1", rules)
    for given in ([sweep / "b3-seed2"], [sweep / "b3-seed2", other]):
        code = command.main(["compare", *map(str, given)])
        said = capsys.readouterr()
        assert (code, said.out) == (22, "") and said.err.count("\n") == 1
        assert "a sweep of 5 runs, of which 4 are not among those given" in said.err
        assert all(name in said.err for name in NAMES if name != "b3-seed2")


@pytest.mark.harm("T8")
def test_without_the_record_the_best_seed_stands_for_all(
    sweep: Path, rules: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The harm: the lucky seed is better than a1, the sweep is not."""
    other = make_run(tmp_path / "a1", rules, noise=0.5)
    whole = compare(read_runs([sweep, other], Told(), lambda name: None), reference="a1")
    assert whole["differences"][0]["measures"]["auroc_test"]["value"] < 0
    monkeypatch.setattr(compare_heads, "require_whole", lambda folders: None)
    lucky = compare(read_runs([sweep / "b3-seed2", other], Told()), reference="a1")
    assert lucky["differences"][0]["measures"]["auroc_test"]["value"] > 0


def test_the_whole_sweep_is_compared(sweep: Path, rules: Protocol, capsys) -> None:
    """By its folder, or by all of it as a shell expands it."""
    assert command.main(["compare", str(sweep), "--json"]) == 0
    by_folder = capsys.readouterr().out
    (experiment,) = json.loads(by_folder)["experiments"]
    assert [run["name"] for run in experiment["runs"]] == NAMES
    values = [run["judged"]["gates"]["auroc_test"]["value"] for run in experiment["runs"]]
    assert experiment["gates"]["auroc_test"]["value"] == min(values)
    everything = [str(path) for path in sorted(sweep.iterdir())]
    assert f"{sweep / SWEEP}" in everything
    assert command.main(["compare", *everything, "--json"]) == 0
    assert capsys.readouterr().out == by_folder


def test_a_run_that_was_copied_away_knows_its_siblings(sweep: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(sweep / "b3-seed2", tmp_path / "best"))
    assert "b3-seed0, b3-seed1, b3-seed3, b3-seed4" in refused(copied, sweep / "b3-seed2")
    (copied / MEMBER).unlink()
    require_whole([copied])  # the control: that record is what says it


def test_the_list_of_the_folder_is_enough(sweep: Path, tmp_path: Path) -> None:
    """As when --fresh set the run's own record aside."""
    folder = Path(shutil.copytree(sweep, tmp_path / "matrix"))
    (folder / "b3-seed2" / MEMBER).unlink()
    assert "b3-seed0" in refused(folder / "b3-seed2")
    (folder / SWEEP).unlink()
    require_whole([folder / "b3-seed2"])


def test_a_copy_does_not_stand_for_its_sibling(sweep: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    for name in NAMES[:-1]:
        shutil.copytree(sweep / name, folder / name)
    shutil.copytree(sweep / "b3-seed2", folder / "b3-seed4")
    given = [folder / name for name in NAMES]
    assert "of which 1 are not among those given: b3-seed4" in refused(*given)


def test_a_run_of_the_sweep_that_never_began_is_incomplete(sweep: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sweep, tmp_path / "matrix"))
    shutil.rmtree(folder / "b3-seed4")
    with pytest.raises(LensjaxError) as caught:
        read_runs([folder], Told())
    assert caught.value.code == 22 and "b3-seed4: incomplete" in str(caught.value)


@pytest.mark.proves("T8")
def test_gates_judge_one_of_a_sweep_with_a_note(sweep: Path, tmp_path: Path, capsys) -> None:
    folder = Path(shutil.copytree(sweep, tmp_path / "matrix"))
    code = command.main([f"--workdir={folder / 'b3-seed2'}"])
    said = capsys.readouterr()
    assert code in (0, 20, 21) and "auroc_test" in said.out
    assert "one of the 5 runs of a sweep (b3-seed2); one seed alone is no claim" in said.err
    alone = make_alone(folder / "b3-seed2", tmp_path / "alone")
    assert note(alone) == ""
    assert command.main([f"--workdir={alone}"]) == code and capsys.readouterr().err == ""
    same = (folder / "b3-seed2/gates.json", alone / "gates.json")
    assert same[0].read_bytes() == same[1].read_bytes()


def make_alone(run: Path, to: Path) -> Path:
    """A copy of a run without its record of a sweep."""
    shutil.copytree(run, to)
    (to / MEMBER).unlink()
    return to


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"schema": "x"}', '{"schema": "lensjax-sweep-1", "id": 1, "runs": []}']
)
def test_a_damaged_record_is_refused(sweep: Path, tmp_path: Path, text: str) -> None:
    """It may have listed what is missing. A verdict on the run itself does not rest on it."""
    run = tmp_path / "run"
    run.mkdir()
    (run / MEMBER).write_text(text)
    assert "sweep_member.json: is not the record of a sweep" in refused(run)
    assert "is not the record of a sweep" in note(run)
    (run / MEMBER).unlink()
    (tmp_path / SWEEP).write_text(text)
    assert "sweep.json: is not the record of a sweep" in refused(run)
