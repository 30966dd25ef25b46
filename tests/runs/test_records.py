"""Metrics, heartbeat, results and the files under them: whole, current, without duplicates."""

import json
import os

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from lensjax.runs import files, heartbeat
from lensjax.runs.files import plain, refusal, write_bytes, write_json
from lensjax.runs.heartbeat import Heartbeat
from lensjax.runs.metrics import MetricsLog
from lensjax.runs.results import write_results
from lensjax.schema import ExitCode


def record(epoch, **more):
    return {"step": 10 * epoch, "epoch": epoch, "train_loss": 1 / epoch, "flags": [], **more}


def events(folder):
    """Every event under `folder`, in order of files: length, crc, bytes, crc each."""
    found = []
    for path in sorted(folder.iterdir(), key=lambda p: p.stat().st_mtime_ns):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            found.append(Event.FromString(data[12 : 12 + size]))
            data = data[16 + size :]
    return found


def scalars(folder, tag):
    """What TensorBoard shows of `tag`: {step: value}, purged as it purges."""
    shown = {}
    for event in events(folder):
        if event.HasField("session_log"):
            shown = {step: value for step, value in shown.items() if step < event.step}
        for value in event.summary.value:
            if value.tag == tag:
                assert event.step not in shown  # a duplicate
                shown[event.step] = value.simple_value
    return shown


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_metrics_follow_the_history_also_back_to_an_earlier_step(tmp_path):
    path, board = tmp_path / "metrics.jsonl", tmp_path / "tensorboard"
    with MetricsLog(path, board) as metrics:
        metrics.write([])
        for n in (1, 2, 3):
            metrics.write([record(epoch) for epoch in range(1, n + 1)])
    assert [line["epoch"] for line in lines(path)] == [1, 2, 3]
    with MetricsLog(path, board) as metrics:  # resumed from the end of epoch 1
        metrics.write([record(1)])
        assert [line["epoch"] for line in lines(path)] == [1]
        metrics.write([record(1), record(2, train_loss=0.25)])
    assert [line["train_loss"] for line in lines(path)] == [1, 0.25]
    assert scalars(board, "train_loss") == {10: 1.0, 20: 0.25}
    assert scalars(board, "epoch") == {10: 1.0, 20: 2.0}


def test_appending_instead_would_leave_duplicates(tmp_path, monkeypatch):
    def append(path, data):
        with path.open("ab") as file:
            file.write(data)

    monkeypatch.setattr("lensjax.runs.metrics.write_bytes", append)
    path = tmp_path / "metrics.jsonl"
    for _ in range(2):
        with MetricsLog(path, tmp_path / "t") as metrics:
            metrics.write([record(1)])
    assert len(lines(path)) == 2  # harm


def test_lines_are_strict_json_whatever_the_numbers(tmp_path):
    with MetricsLog(tmp_path / "m", tmp_path / "t") as metrics:
        metrics.write([record(1, val_auroc=float("nan"), grad_norm=np.float32(0.5))])
    (line,) = lines(tmp_path / "m")
    assert line["val_auroc"] is None and line["grad_norm"] == 0.5
    assert "NaN" not in (tmp_path / "m").read_text()


def test_the_heartbeat_tells_and_is_throttled(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: now[0])
    path = tmp_path / "heartbeat.json"
    beat = Heartbeat(path, last_good=lambda: 7).beat
    for after, step, expected in ((0, 1, 1), (0.5, 2, 1), (0.6, 3, 3)):
        now[0] += after
        beat(step=step, epoch=0)
        told = json.loads(path.read_text())
        assert told["step"] == expected
    assert told["last_good_step"] == 7 and told["pid"] == os.getpid() and told["host"]
    beat(step=4, epoch=1, stage="evaluate", force=True)
    assert json.loads(path.read_text())["stage"] == "evaluate"


def test_a_heartbeat_that_cannot_be_written_stops_nothing(tmp_path, caplog):
    beat = Heartbeat(tmp_path / "gone" / "heartbeat.json").beat
    for step in range(3):
        beat(step=step, epoch=0, force=True)
    assert caplog.text.count("no heartbeat") == 1


def test_results_have_the_six_fields(tmp_path):
    gates = {"schema": 1, "verdict": "GREEN", "gates": {"auroc_test": {"value": 0.97}}}
    path = tmp_path / "training_results.json"
    write_results(path, success=True, best_epoch=7, best_auroc=0.97, gates=gates, quarantined=3)
    assert json.loads(path.read_text()) == {
        "success": True,
        "best_epoch": 7,
        "best_auroc": 0.97,
        "final_gates": gates["gates"],
        "verdict": "GREEN",
        "quarantined": 3,
    }


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, broken):
    path = tmp_path / "f.json"
    write_json(path, {"a": 1})

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, broken, fail)
    with pytest.raises(OSError, match="No space"):
        write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert os.listdir(tmp_path) == ["f.json"]


def test_a_longest_name_can_be_written(tmp_path):
    write_bytes(tmp_path / ("x" * 255), b"data")
    assert os.listdir(tmp_path) == ["x" * 255]


def test_plain_is_strict():
    given = {"a": (1, np.int64(2)), 3: [np.float32(0.5), float("inf")], "n": np.zeros((1, 2))}
    assert plain(given) == {"a": [1, 2], "3": [0.5, None], "n": [[0.0, 0.0]]}
    with pytest.raises(TypeError):
        plain({"a": object()})


def test_only_the_systems_refusals_are_refusals():
    assert refusal(ValueError("shapes differ")) is None
    assert refusal(FileNotFoundError(2, "No such file", "f")) is None
    held = refusal(RuntimeError("Unable to initialize backend 'cuda': INTERNAL: no devices"))
    assert held is not None and "another process may hold it" in held.what
    error = refusal(ValueError("INTERNAL: ... Disk quota exceeded"), "here")
    assert error is not None
    assert (error.code, error.where) == (ExitCode.RESOURCE, "here")
