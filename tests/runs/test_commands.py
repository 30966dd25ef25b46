"""python -m lensjax.runs list, verify, reproduce; and main.py --detach."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lensjax import gates
from lensjax.runs import detached, lock
from lensjax.runs.__main__ import main
from lensjax.runs.checkpoints import Checkpoints
from lensjax.runs.workdir import Workdir
from lensjax.schema import ExitCode, LensjaxError
from tests.gates.synthetic import write_evaluation


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Arrays, provenance, verdict and two checkpoints, as a run leaves them."""
    workdir = Workdir(tmp_path_factory.mktemp("runs") / "run")
    protocol = gates.load_protocol("configs/protocols/default.json")
    write_evaluation(workdir.path, protocol)
    workdir.log.touch()
    gates.write(workdir.path, gates.examine(workdir.path, protocol))
    checkpoints = Checkpoints(workdir.checkpoints)
    for step, metric in ((10, 0.9), (20, 0.8)):
        state = {"w": np.full((64, 64), step, np.float32)}
        checkpoints.save(step, state, {"step": step}, metric=metric)
    checkpoints.close()
    return workdir


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished.path, tmp_path / "run")
    return Workdir(tmp_path / "run")


def said(capsys, *argv: str) -> tuple[int, str]:
    code = main(argv)
    return code, capsys.readouterr().out


def test_a_sound_run_is_verified_and_reproduced(run, capsys):
    code, out = said(capsys, "verify", str(run.path))
    assert code == ExitCode.OK and "BAD" not in out
    assert [line[5:] for line in out.splitlines()] == [
        "checkpoint of step 10, the best so far, 0.9000",
        "checkpoint of step 20",
        "eval/test.npz",
        "eval/val.npz",
    ]
    code, out = said(capsys, "reproduce", str(run.path))
    assert code == ExitCode.OK and out.startswith("reproduced bit for bit: ")


def flip(path, offset: int = -30) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_one_bit_of_a_checkpoint_or_an_array_is_named(run, capsys):
    data = run.checkpoints / "20" / "arrays"
    largest = max(filter(Path.is_file, data.rglob("*")), key=lambda path: path.stat().st_size)
    flip(largest)
    code, out = said(capsys, "verify", str(run.path))
    assert code == ExitCode.NO_CHECKPOINT
    assert (
        f"BAD  checkpoint of step 20, {largest.relative_to(run.checkpoints / '20')} differs" in out
    )
    assert (run.checkpoints / "20").is_dir()  # it is looked at, not set aside
    flip(largest)
    flip(run.eval / "test.npz")
    code, out = said(capsys, "verify", str(run.path))
    assert code == ExitCode.GATE_INPUT_INVALID
    assert "BAD  eval/test.npz, differs from its SHA-256" in out


@pytest.mark.proves("S7")
def test_an_edited_verdict_is_not_reproduced_and_the_field_is_named(run, capsys):
    judged = json.loads(run.gates.read_text())
    assert judged["gates"]["auroc_test"]["verdict"] != "PASS"
    judged["gates"]["auroc_test"]["verdict"] = "PASS"
    run.gates.write_text(json.dumps(judged, indent=2) + "\n")
    before = run.gates.read_bytes()
    code, out = said(capsys, "reproduce", str(run.path))
    assert code == ExitCode.GATE_INPUT_INVALID
    assert out.startswith("gates.json: not what the arrays give: gates.auroc_test.verdict")
    assert run.gates.read_bytes() == before


@pytest.mark.harm("S7")
def test_read_as_it_is_the_edited_verdict_is_believed(run, capsys):
    judged = json.loads(run.gates.read_text())
    run.gates.write_text(json.dumps({**judged, "verdict": "GREEN"}))
    assert "finished" in said(capsys, "list", str(run.path))[1]
    assert said(capsys, "list", str(run.path))[1].rstrip().endswith("GREEN")


def test_another_protocol_in_the_record_is_exit_12(run):
    record = json.loads(run.provenance.read_text())
    record["protocol"]["gates"]["core_lr_auc"]["threshold"] = 0.95
    run.provenance.write_text(json.dumps(record))
    with pytest.raises(LensjaxError, match="holds a protocol of digest") as caught:
        main(["reproduce", str(run.path)])
    assert caught.value.code == ExitCode.MISMATCH


def test_a_run_that_writes_is_not_verified(run):
    with lock.held(run.path), pytest.raises(LensjaxError, match="a run is writing") as caught:
        main(["verify", str(run.path)])
    assert caught.value.code == ExitCode.IN_USE


@pytest.mark.parametrize("word", ["status", "list", "stop", "verify", "reproduce"])
def test_where_nothing_has_run_is_a_usage_error(word, tmp_path):
    for name in (str(tmp_path), str(tmp_path / "absent")):
        with pytest.raises(
            LensjaxError, match=r"nothing has run|no run is|no such folder"
        ) as caught:
            main([word, name])
        assert caught.value.code == ExitCode.USAGE


def test_status_as_json_and_as_text(run, capsys):
    run.metrics.write_text('{"epoch": 3, "train_loss": 0.5, "val_auroc": 0.75}\n')
    code, out = said(capsys, "status", "--json", str(run.path))
    told = json.loads(out)
    assert code == 0 and told["state"] == "finished" and told["epoch"]["epoch"] == 3
    assert told["alive"] is False and told["verdict"] in ("RED", "YELLOW", "GREEN")
    text = said(capsys, "status", str(run.path))[1]
    assert "epoch 3: loss train 0.5000 val unknown, AUROC val 0.7500" in text


HOLDER = """
import sys, time
from lensjax.runs.workdir import open_workdir
with open_workdir(sys.argv[1]):
    print("said", flush=True)
    time.sleep(60)
"""


def test_a_detached_run_is_left_alone_when_it_holds_the_workdir(tmp_path, capsys):
    code = detached.start([sys.executable, "-c", HOLDER, str(tmp_path)], tmp_path)
    out = capsys.readouterr().out
    pid = lock.holder_of(tmp_path)["pid"]
    assert code == 0 and f"running as process {pid}" in out and "lensjax.runs stop" in out
    try:
        assert os.getsid(pid) == pid  # its own session: no terminal's hang-up
        end = time.monotonic() + 10
        while "said" not in (tmp_path / detached.CONSOLE).read_text():
            assert time.monotonic() < end
    finally:
        main(["stop", "--now", str(touched(tmp_path))])


def touched(folder):
    (folder / "train.log").touch()
    return folder


def test_what_ends_a_detached_run_at_once_is_told(tmp_path, capsys):
    script = "import sys; print('first'); print('error: no such data'); sys.exit(10)"
    assert detached.start([sys.executable, "-c", script], tmp_path) == 10
    assert capsys.readouterr().out == "error: no such data\n"
