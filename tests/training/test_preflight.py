"""Preflight passes what is healthy, names what is not, and leaves the state as it was."""

import io
import json
from collections import namedtuple
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from tqdm import tqdm

from lensjax.runs.files import write_json
from lensjax.schema import ExitCode, LensjaxError
from lensjax.training import preflight
from lensjax.training.feed import TrainFeed

from .conftest import BATCH, SHAPE

CHECKS = {"train_loader_valid", "val_loader_valid", "model_valid", "first_batch_ok"}


def run(bench, folder, **changes):
    options = {
        "train_step": bench.train_step,
        "plan": bench.plan(),
        "feed": bench.feed,
        "val_inputs": bench.val_inputs,
        "val_labels": bench.val_labels,
        "eval_stamps": 56,
        "workdir": folder,
    }
    return preflight.preflight(bench.state(), **options | changes)


def failed(report):
    return {k for k, v in report.items() if v is False and k != "passed"}


def code_of(report):
    with pytest.raises(LensjaxError, match="preflight failed") as error:
        preflight.raise_if_failed(report)
    return error.value.code


def test_healthy_data_pass_and_the_state_is_untouched(bench, tmp_path):
    report = run(bench, tmp_path)
    assert failed(report) == set() and report["passed"]
    assert {name for name in CHECKS if report[name] is True} == CHECKS
    assert report["losses"][-1] < report["losses"][0] and report["state_untouched"]
    preflight.raise_if_failed(report)
    write_json(tmp_path / "preflight.json", report)
    assert json.loads((tmp_path / "preflight.json").read_text())["passed"] is True
    assert [path.name for path in tmp_path.iterdir()] == ["preflight.json"]


def test_it_runs_the_very_program_that_trains(bench, tmp_path):
    run(bench, tmp_path)
    before = bench.train_step._cache_size()
    bench.train_step(bench.state(), bench.feed.source, bench.feed.batch(3, 1e-3))
    assert bench.train_step._cache_size() == before


def test_a_step_that_touches_the_state_is_found(bench, tmp_path):
    """Old flaw 11, and the control of `state_untouched`."""
    leaf = np.zeros(3, np.float32)

    def moving(copy, source, batch):
        leaf[:] = 1.0
        return {"bad_step": np.int32(-1)}, 1.0

    report = preflight.preflight(
        {"step": np.int32(0), "moved": leaf, "params": {}},
        train_step=moving,
        plan=bench.plan(),
        feed=bench.feed,
        val_inputs=bench.val_inputs,
        val_labels=bench.val_labels,
        eval_stamps=56,
        workdir=tmp_path,
    )
    assert failed(report) == {"state_untouched", "model_valid"}


def test_non_finite_inputs(bench, tmp_path, monkeypatch):
    bad = bench.feed.source["inputs"].at[:, 20, 20, 1].set(np.nan)
    monkeypatch.setattr(bench.feed, "source", {**bench.feed.source, "inputs": bad})
    report = run(bench, tmp_path)
    assert failed(report) == {"first_batch_ok", "updates_finite", "model_valid"}
    assert code_of(report) == ExitCode.DATA_INVALID
    write_json(tmp_path / "preflight.json", report)  # JSON has no NaN


def test_one_class(bench, tmp_path, train_set):
    mask = train_set.table["label"] == 1
    feed = TrainFeed(
        train_set, mask, bench.mesh, seed=7, batch_size=BATCH, hard_negatives=True, **SHAPE
    )
    report = run(bench, tmp_path, feed=feed)
    assert {"train_loader_valid", "first_batch_ok", "model_valid"} == failed(report)
    assert "0 negatives" in report["train_loader_valid_reason"]
    assert code_of(report) == ExitCode.DATA_INVALID
    report = run(bench, tmp_path, val_labels=np.zeros_like(bench.val_labels))
    assert failed(report) == {"val_loader_valid"} and "0 positives" in str(report)


def test_a_learning_rate_without_bound(bench, tmp_path):
    report = run(bench, tmp_path, plan=bench.plan(peak=float("inf")))
    assert failed(report) == {"updates_finite", "model_valid"}
    assert code_of(report) == ExitCode.NON_FINITE


def test_a_loss_that_rises_blames_the_learning_rate_and_not_the_data(bench, tmp_path):
    losses = iter(np.linspace(1.0, 2.0, preflight.UPDATES))

    def rising(copy, source, batch):
        return copy, next(losses)

    report = run(bench, tmp_path, train_step=rising, plan=bench.plan(peak=0.5))
    assert failed(report) == {"model_valid"}
    with pytest.raises(LensjaxError) as error:
        preflight.raise_if_failed(report)
    assert error.value.code == ExitCode.NON_FINITE
    assert "1.0000 -> 2.0000 in 10 updates at learning rate 0.5" in error.value.what
    assert "Reduce --config.optimizer.learning_rate" in error.value.remedy
    preflight_of_bad_data = {**report, "val_loader_valid": False}
    assert code_of(preflight_of_bad_data) == ExitCode.DATA_INVALID


STAMP = 64 * 64 * 3 * 4


def test_memory_is_estimated_from_the_rows_alone(monkeypatch):
    def host(*rows, hard):
        return preflight.estimate_memory(*rows, hard).host - preflight.TRAIN_BYTES

    assert host(1000, 600, 10, hard=True) == 3 * 1000 * STAMP  # a CPU: raw, its copy, inputs
    assert host(1000, 600, 10, hard=False) == (1000 + 600 + 600) * STAMP
    assert host(10, 10, 1000, hard=False) > 2 * 1000 * STAMP  # evaluation: raw, inputs, arrays
    assert preflight.estimate_memory(1000, 600, 10, True).device == 0
    monkeypatch.setattr(preflight.jax, "default_backend", lambda: "gpu")
    need = preflight.estimate_memory(1000, 600, 10, True)
    assert need.device == 2 * 1000 * STAMP
    assert need.host == preflight.TRAIN_BYTES + 2 * 1000 * STAMP


@pytest.mark.parametrize("where", ["host", "device"])
def test_too_little_memory_stops_before_anything_is_read(monkeypatch, where):
    need = preflight.Memory(host=1000, device=1000)
    free = {"host": 2000, "device": 2000}
    system = SimpleNamespace(virtual_memory=lambda: SimpleNamespace(available=free["host"]))
    stats = {"bytes_limit": 5000, "bytes_in_use": 3000}
    monkeypatch.setattr(preflight, "psutil", system)
    device = SimpleNamespace(memory_stats=lambda: stats)
    monkeypatch.setattr(preflight.jax, "devices", lambda: [device])
    preflight.require_memory(need)
    free["host"] = 500 if where == "host" else 2000
    stats["bytes_in_use"] = 4500 if where == "device" else 3000
    with pytest.raises(LensjaxError, match="MB needed") as error:
        preflight.require_memory(need)
    assert error.value.code == ExitCode.RESOURCE
    preflight.require_memory(preflight.Memory(host=100, device=0))


def test_a_bar_goes_over_every_step_and_the_model_is_named(bench, tmp_path, monkeypatch, caplog):
    bars = []

    def bar(**options):
        bars.append(tqdm(**{**options, "disable": False, "file": io.StringIO()}))
        return bars[-1]

    monkeypatch.setattr(preflight, "progress_bar", bar)
    caplog.set_level("INFO")
    run(bench, tmp_path)
    assert len(bars) == 1 and bars[0].n == bars[0].total
    count = sum(leaf.size for leaf in jax.tree.leaves(bench.state()["params"]))
    assert f"ResNet-18, {count} parameters" in caplog.text and "compiling" in caplog.text


@pytest.mark.parametrize("what", ["disk", "memory"])
def test_no_room(bench, tmp_path, monkeypatch, what):
    Free = namedtuple("Free", "free available")
    if what == "disk":
        monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: Free(1000, 0))
    else:
        monkeypatch.setattr(preflight.psutil, "virtual_memory", lambda: Free(0, 1000))
    report = run(bench, tmp_path)
    assert failed(report) == {f"{what}_ok"} and "MB needed" in report[f"{what}_ok_reason"]
    assert code_of(report) == ExitCode.RESOURCE


def test_cores_that_give_the_class_away_are_told_of(bench, tmp_path, monkeypatch, caplog):
    assert run(bench, tmp_path)["core_lr_auc"] < 1.0
    inputs = bench.feed.source["inputs"]
    planted = 20 * bench.feed.source["labels"][:, None, None, None].astype(np.float32)
    core = (np.hypot(*(np.indices((64, 64)) - 31.5)) < 5)[None, :, :, None]
    source = {**bench.feed.source, "inputs": inputs + planted * core}
    monkeypatch.setattr(bench.feed, "source", source)
    val = bench.val_inputs + 20 * bench.val_labels[:, None, None, None] * core
    report = run(bench, tmp_path, val_inputs=val.astype(np.float32))
    assert report["core_lr_auc"] > 0.95 and report["passed"]  # a flag, not a check
    assert "RED FLAG core LR AUC" in report["flags"][0] and "RED FLAG core LR AUC" in caplog.text
