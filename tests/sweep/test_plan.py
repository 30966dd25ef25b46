"""What a sweep is to run is validated before anything starts, and stays listed."""

import json
from pathlib import Path

import pytest

from lensjax.schema import LensjaxError
from lensjax.sweep import __main__ as command
from lensjax.sweep import record as record_module
from lensjax.sweep.plan import Plan, make_plan
from lensjax.sweep.record import DONE, begin


def refused(*args, **more) -> str:
    with pytest.raises(LensjaxError) as caught:
        make_plan(*args, **more)
    assert caught.value.code == 2
    return str(caught.value)


def test_every_config_with_every_seed(plan: Plan) -> None:
    assert [run.name for run in plan.runs] == ["a1-seed0", "a1-seed1", "b3-seed0", "b3-seed1"]
    told = make_plan(["configs/b3.py"], [7], "tiny", [("epochs", "3")]).runs[0]
    assert told.arguments == (
        "--config=configs/b3.py:tiny",
        "--config.epochs=3",
        "--config.seed=7",
    )


def test_the_data_seed_is_not_varied(plan: Plan) -> None:
    assert {config["data.seed"] for config in plan.configs.values()} == {42}
    assert not any("data.seed" in word for run in plan.runs for word in run.arguments)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ((["b7"], [0]), "no config is called 'b7'. Did you mean b4?"),
        ((["common"], [0]), "no config is called 'common'"),
        ((["b3:tiny"], [0]), "Give it to all with --variant=demo"),
        ((["b3", "b3"], [0]), "b3 is given twice"),
        ((["b3", "configs/b3.py"], [0]), "b3 is given twice"),
        ((["b3"], [1, 1]), "1 is given twice"),
        (([], [0]), "--configs: names none"),
        ((["b3"], []), "--seeds: names none"),
        ((["b3"], [2**32]), "not within"),
        ((["b3"], [0], "tny"), "Did you mean :tiny?"),
        ((["b3"], [0], "tiny", [("epohcs", "3")]), "Did you mean epochs?"),
        ((["b3"], [0], "tiny", [("seed", "3")]), "Give --seeds=0,1,2"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(args, told: str) -> None:
    assert told in refused(*args)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--seeds=0,x"], "'x' is not a whole number"),
        (["--seeds=-1"], "'-1' is not a whole number"),
        (["--seeds=0", "--devices=a b"], "is no device"),
        (["--seeds=0", "--sedes=1"], "unknown flag --sedes. Did you mean --seeds?"),
    ],
)
def test_flags_that_cannot_be_are_refused(tmp_path: Path, flags, told: str) -> None:
    with pytest.raises(LensjaxError) as caught:
        command.main(["--configs=b3", "--variant=tiny", f"--workdir={tmp_path / 'm'}", *flags])
    assert caught.value.code == 2 and told in str(caught.value)
    assert not (tmp_path / "m").exists()


# -- sweep.json -----------------------------------------------------------------------------------


def listed(folder: Path) -> list[tuple[str, int, str]]:
    runs = json.loads((folder / "sweep.json").read_text())["runs"]
    return [(run["name"], run["seed"], run["state"]) for run in runs]


def test_everything_is_listed_before_anything_runs(tmp_path: Path, plan: Plan) -> None:
    begin(tmp_path, plan)
    assert listed(tmp_path) == [
        ("a1-seed0", 0, "planned"),
        ("a1-seed1", 1, "planned"),
        ("b3-seed0", 0, "planned"),
        ("b3-seed1", 1, "planned"),
    ]


def test_a_sweep_grows_and_forgets_nothing(tmp_path: Path, plan: Plan) -> None:
    record = begin(tmp_path, plan)
    record.join("a1-seed0")
    record.put("a1-seed0", state=DONE, exit_code=20, verdict="RED")
    grown = begin(tmp_path, make_plan(["a1", "b3"], [0, 1, 2], "tiny"))
    assert grown.document["id"] == record.document["id"] and len(grown.runs) == 6
    assert grown.of("a1-seed0")["verdict"] == "RED"
    member = json.loads((tmp_path / "a1-seed0/sweep_member.json").read_text())
    assert member["runs"] == [run["name"] for run in grown.runs]
    for fewer in (make_plan(["a1", "b3"], [0, 1], "tiny"), make_plan(["a1"], [0, 1, 2], "tiny")):
        with pytest.raises(LensjaxError) as caught:
            begin(tmp_path, fewer)
        assert caught.value.code == 12 and "runs that are left out" in str(caught.value)
    assert len(listed(tmp_path)) == 6


def test_another_config_is_another_sweep(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: without looking, runs still to come are of another config than those done."""
    begin(tmp_path, plan)
    other = make_plan(["a1", "b3"], [0, 1], "tiny", [("epochs", "3")])
    with pytest.raises(LensjaxError) as caught:
        begin(tmp_path, other)
    assert caught.value.code == 12 and "a1, epochs: 2 -> 3" in str(caught.value)
    moved = [("data.cache_dir", str(tmp_path / "cache"))]
    begin(tmp_path, make_plan(["a1", "b3"], [0, 1], "tiny", moved))  # a place decides nothing
    monkeypatch.setattr(record_module, "_refuse_change", lambda *args: None)
    assert begin(tmp_path, other).document["configs"]["a1"]["epochs"] == 3


def test_the_directory_of_a_run_is_no_sweep(tmp_path: Path, plan: Plan) -> None:
    (tmp_path / "provenance.json").write_text("{}")
    with pytest.raises(LensjaxError) as caught:
        begin(tmp_path, plan)
    assert caught.value.code == 2 and not (tmp_path / "sweep.json").exists()


def test_a_damaged_list_is_not_written_over(tmp_path: Path, plan: Plan) -> None:
    (tmp_path / "sweep.json").write_text("{")
    with pytest.raises(LensjaxError) as caught:
        begin(tmp_path, plan)
    assert caught.value.code == 22 and (tmp_path / "sweep.json").read_text() == "{"
