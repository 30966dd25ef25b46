"""Sweeps: every run once, failures last, stops passed on, nothing killed that was not started."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lensjax.gates import compare_sweep
from lensjax.runs import lock
from lensjax.schema import LensjaxError
from lensjax.sweep import sweep as module
from lensjax.sweep.plan import make_plan
from lensjax.sweep.sweep import main_command, run_sweep
from tests.sweep.conftest import child

NAMES = ["a1-seed0", "a1-seed1", "b3-seed0", "b3-seed1"]


def runs(folder: Path) -> dict[str, tuple]:
    entries = json.loads((folder / "sweep.json").read_text())["runs"]
    return {run["name"]: (run["state"], run["exit_code"], run["verdict"]) for run in entries}


def test_all_green_is_exit_0_and_compared(plan, folder, compared, started) -> None:
    assert run_sweep(plan, folder, command=child) == 0
    assert [name for name, _, _ in started()] == NAMES
    assert set(runs(folder).values()) == {("done", 0, "GREEN")}
    assert [record.folder for record in compared] == [folder.resolve()]
    for name in NAMES:
        member = json.loads((folder / name / "sweep_member.json").read_text())
        assert (member["name"], member["runs"]) == (name, NAMES)
    with pytest.raises(LensjaxError, match="belongs to a sweep"):
        compare_sweep.require_whole([folder / "b3-seed0"])
    compare_sweep.require_whole([folder / name for name in NAMES])


@pytest.mark.parametrize(
    ("codes", "code"), [((0, 21, 0, 0), 21), ((21, 20, 0, 0), 20), ((20, 21, 22, 0), 22)]
)
def test_the_worst_verdict_is_the_exit_code(plan, folder, compared, tell, codes, code) -> None:
    for name, each in zip(NAMES, codes, strict=True):
        tell(name, str(each))
    assert run_sweep(plan, folder, command=child) == code
    assert [told[1] for told in runs(folder).values()] == list(codes) and compared


def test_a_run_that_fails_does_not_stop_the_others_and_is_named_last(
    plan, folder, compared, tell, started, caplog
) -> None:
    tell("a1-seed1", "16")
    tell("b3-seed0", "20")
    assert run_sweep(plan, folder, command=child) == 16
    assert [name for name, _, _ in started()] == NAMES
    assert runs(folder)["a1-seed1"] == ("failed", 16, None) and compared == []
    errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert errors[0] == "a1-seed1: ended with exit code 16 (error: the cause)"
    assert "no comparison" in errors[1] and len(errors) == 2
    tell("a1-seed1", "0")  # the cause is gone: it alone is run again
    assert run_sweep(plan, folder, command=child) == 20
    assert [name for name, _, _ in started()][4:] == ["a1-seed1"] and compared


def test_a_finished_run_without_its_arrays_is_run_again(plan, folder, compared, started) -> None:
    run_sweep(plan, folder, command=child)
    (folder / "b3-seed1/eval/manifest.json").unlink()
    assert run_sweep(plan, folder, command=child) == 0
    assert [name for name, _, _ in started()] == [*NAMES, "b3-seed1"]


def test_a_run_that_was_killed_is_stopped_not_judged(
    plan, folder, compared, tell, started, caplog
) -> None:
    tell("a1-seed0", "die")
    assert run_sweep(plan, folder, command=child) == 75
    assert runs(folder)["a1-seed0"] == ("stopped", -9, None) and len(started()) == 4
    assert "a1-seed0: was ended by SIGKILL" in caplog.text
    assert run_sweep(plan, folder, command=child) == 0


def test_a_request_to_stop_is_passed_on_by_pid(
    plan, folder, compared, tell, started, caplog
) -> None:
    """The run that waits saves and exits 75; a process that is not the sweep's own lives on."""
    tell("a1-seed1", "wait")
    bystander = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])

    def stop_it() -> None:
        while not (folder / "a1-seed1/waiting").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_it, daemon=True).start()
    try:
        with pytest.raises(LensjaxError) as caught:
            run_sweep(plan, folder, command=child)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
    assert caught.value.code == 75 and "stopped on SIGTERM" in str(caught.value)
    assert [name for name, _, _ in started()] == NAMES[:2]
    states = [told[:2] for told in runs(folder).values()]
    assert states == [("done", 0), ("stopped", 75), ("planned", None), ("planned", None)]
    assert (folder / "a1-seed1/console.log").read_text() == "saved\n" and compared == []
    assert run_sweep(plan, folder, command=child) == 0
    assert [name for name, _, _ in started()][2:] == NAMES[1:]


def test_every_device_has_one_run_at_a_time(folder, compared, tell, started) -> None:
    plan = make_plan(["a1", "b3"], [0, 1, 2], "tiny")
    assert run_sweep(plan, folder, devices=["2", "5"], command=child) == 0
    seen = [device for _, device, _ in started()]
    assert len(seen) == 6 and set(seen[:2]) == set(seen) == {"2", "5"}
    entries = json.loads((folder / "sweep.json").read_text())["runs"]
    assert {run["device"] for run in entries} == {"2", "5"}


def test_a_device_named_twice_takes_two_runs_with_half_its_memory_each(
    folder, compared, started, monkeypatch
) -> None:
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION", raising=False)
    plan = make_plan(["a1", "b3"], [0, 1], "tiny")
    assert run_sweep(plan, folder, devices=["0", "0", "1"], command=child) == 0
    shares = {(device, memory) for _, device, memory in started()}
    assert shares <= {("0", "0.450"), ("1", None)} and ("0", "0.450") in shares


def test_two_devices_run_at_once(folder, compared, tell, started) -> None:
    """Both wait until both wait: one after the other would never end."""
    plan = make_plan(["a1", "b3"], [0], "tiny")
    for run in plan.runs:
        tell(run.name, "wait")

    def stop_both() -> None:
        until = time.monotonic() + 20
        while not all((folder / run.name / "waiting").exists() for run in plan.runs):
            if time.monotonic() > until:
                break
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_both, daemon=True).start()
    with pytest.raises(LensjaxError, match="stopped on SIGTERM"):
        run_sweep(plan, folder, devices=["0", "1"], command=child)
    assert [told[:2] for told in runs(folder).values()] == [("stopped", 75)] * 2


def test_a_second_sweep_is_refused(plan, folder, compared, started) -> None:
    folder.mkdir()
    with lock.held(folder.resolve()), pytest.raises(LensjaxError) as caught:
        run_sweep(plan, folder, command=child)
    assert caught.value.code == 13 and started() == [] and not (folder / "sweep.json").exists()
    assert run_sweep(plan, folder, command=child) == 0  # the control


def test_the_list_is_on_disk_before_the_first_run(plan, folder, compared) -> None:
    seen = []

    def looking(run, workdir):
        seen.append(list(runs(folder)))
        return child(run, workdir)

    run_sweep(plan, folder, command=looking)
    assert seen == [NAMES] * 4


def test_a_run_is_main_py_with_the_same_python(plan, tmp_path) -> None:
    told = main_command(accept_change=True)(plan.runs[0], tmp_path)
    assert told[0] == sys.executable and Path(told[1]).name == "main.py"
    assert told[2:] == [
        "--config=configs/a1.py:tiny",
        "--config.seed=0",
        f"--workdir={tmp_path}",
        "--accept-change",
    ]
    assert "--accept-change" not in main_command()(plan.runs[0], tmp_path)


def test_the_comparison_is_written_into_the_sweep(folder, monkeypatch, capsys) -> None:
    """What is compared is read as `gates compare` reads it; its numbers are tested there."""
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.005)
    asked = []
    monkeypatch.setattr(module, "read_runs", lambda names, told: asked.append(names) or names)
    monkeypatch.setattr(module, "compare", lambda found: {"runs": len(found)})
    monkeypatch.setattr(module, "verdict_lines", lambda document: "the verdicts")
    monkeypatch.setattr(module, "write_comparison", lambda where, d: [Path(where) / "c.md"])
    plan = make_plan(["a1", "b3"], [0], "tiny")
    assert run_sweep(plan, folder, command=child) == 0
    assert asked == [[folder.resolve() / run.name for run in plan.runs]]
    out = capsys.readouterr().out
    assert "the verdicts" in out and str(folder.resolve() / "c.md") in out
