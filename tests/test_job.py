"""The job end to end, tiny: what it leaves, that it resumes exactly, and what it refuses."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import main
from lensjax.data import prepared, tfrecords
from lensjax.job import evaluation as evaluation_stage
from lensjax.job import stages, train
from lensjax.runs.logs import run_command
from lensjax.schema import BANDS, ExitCode
from lensjax.training import loop

ROOT = Path(__file__).resolve().parent.parent
KILLED = """
import os, sys, time
sys.path.insert(0, {root!r})
from lensjax.runs import heartbeat
beat = heartbeat.Heartbeat.beat
def dying(self, *, step, **more):
    if step == {step}:
        while not any(self._path.parent.glob("checkpoints/*/lensjax_manifest.json")):
            time.sleep(0.05)
        os.kill(os.getpid(), {signal})
    return beat(self, step=step, **more)
heartbeat.Heartbeat.beat = dying
import main
from lensjax.runs.logs import run_command
sys.exit(run_command(main.main, sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Prepared data and compiled programs, once for all runs of this file; and a protocol with
    the default's thresholds and fewer resamplings."""
    folder = tmp_path_factory.mktemp("cache")
    document = json.loads((ROOT / "configs/protocols/default.json").read_text())
    document["intervals"]["resamples"] = 200
    document["probes"]["permutations"] = 9
    (folder / "protocol.json").write_text(json.dumps(document))
    return folder


def arguments(cache, workdir, *more):
    return [
        *("--config=configs/b3.py:tiny", f"--workdir={workdir}"),
        *(f"--config.data.cache_dir={cache}", f"--config.protocol={cache / 'protocol.json'}"),
        *more,
    ]


@pytest.fixture(scope="module")
def finished(cache, tmp_path_factory):
    """A run that was never disturbed: its workdir, exit code, and who read the stamps."""
    workdir, readers = tmp_path_factory.mktemp("runs") / "tiny", []
    with pytest.MonkeyPatch.context() as patch:
        read, feed = tfrecords.read_tfds, train.TrainFeed
        patch.setattr(
            tfrecords,
            "read_tfds",
            lambda *a, **k: readers.append(read(*a, **k)) or readers[-1],
        )
        patch.setattr(
            train, "TrainFeed", lambda stamps, *a, **k: feed(readers.pop(0), *a, **k)
        )  # a set that did not come through tf.data is not there to be popped
        code = run_command(main.main, arguments(cache, workdir))
    return workdir, code, readers


def evaluation(workdir):
    return {p.name: p.read_bytes() for p in sorted((workdir / "eval").iterdir())}


def test_a_run_leaves_everything_and_is_no_evidence(finished):
    workdir, code, _ = finished
    judged = json.loads((workdir / "gates.json").read_text())
    assert judged["verdict"] in ("RED", "YELLOW") and code in (20, 21)
    manifest = json.loads((workdir / "eval/manifest.json").read_text())
    assert manifest["evidence"] is False and manifest["phase0"]["all_passed"] is True
    files = (
        "config.json provenance.json preflight.json phase0_summary.json train.log metrics.jsonl "
        "eval/val.npz eval/test.npz eval/examples.npz eval/saliency.npz eval/manifest.json "
        "gates.json measures.json opened.jsonl training_results.json report.html heartbeat.json"
    )
    assert [name for name in files.split() if not (workdir / name).is_file()] == []
    assert list((workdir / "figures").iterdir()) and list((workdir / "tensorboard").iterdir())
    assert 1 <= len([p for p in (workdir / "checkpoints").iterdir() if p.name.isdigit()]) <= 3
    results = json.loads((workdir / "training_results.json").read_text())
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    best = max(lines, key=lambda line: line["val_auroc"])
    assert (results["best_epoch"], results["best_auroc"]) == (best["epoch"], best["val_auroc"])
    assert results["success"] is True and results["verdict"] == judged["verdict"]
    assert results["final_gates"] == judged["gates"]
    assert {"lr", "learning_rate", "grad_norm", "stamps_per_s"} - set(lines[0]) == {"lr"}
    preflight = json.loads((workdir / "preflight.json").read_text())
    for name in ("train_loader_valid", "val_loader_valid", "model_valid", "first_batch_ok"):
        assert preflight[name] is True


def test_batches_came_through_the_tfds_set(finished):
    workdir, _, readers = finished
    assert {made.reader for made in readers} == {"tf.data"}
    assert [made.split for made in readers] == ["val", "val", "test"]  # train was popped
    assert "stamps through tf.data" in (workdir / "train.log").read_text()


@pytest.mark.faults
def test_without_tensorflow_the_numbers_are_the_same(finished, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(prepared, "_TFDS_NEEDS", ("tensorflow_that_is_not_there",))
    monkeypatch.setattr(tfrecords, "read_tfds", None)
    assert run_command(main.main, arguments(cache, tmp_path / "run")) == finished[1]
    assert "tensorflow_that_is_not_there not installed" in (tmp_path / "run/train.log").read_text()
    assert evaluation(tmp_path / "run") == evaluation(finished[0])


def test_a_finished_run_says_so_and_is_judged_again(finished, cache, monkeypatch, capsys):
    workdir, code, _ = finished
    before, verdict = evaluation(workdir), (workdir / "gates.json").read_bytes()
    monkeypatch.setattr(loop, "train", None)
    assert run_command(main.main, arguments(cache, workdir)) == code
    out = capsys.readouterr()
    assert "this run is finished" in out.err and "core_lr_auc" in out.out
    assert evaluation(workdir) == before
    assert (workdir / "gates.json").read_bytes() == verdict


def test_damaged_arrays_are_made_again(finished, cache):
    workdir, code, _ = finished
    before = evaluation(workdir)
    damaged = bytearray(before["test.npz"])
    damaged[len(damaged) // 2] ^= 1
    (workdir / "eval/test.npz").write_bytes(damaged)
    assert run_command(main.main, arguments(cache, workdir)) == code
    assert evaluation(workdir) == before


def killed(cache, workdir, step, signal, *more):
    """The exit code of a run that gets `signal` in the middle of `step`."""
    script = KILLED.format(root=str(ROOT), step=step, signal=int(signal))
    command = [sys.executable, "-c", script, *arguments(cache, workdir, *more)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True).returncode


@pytest.mark.faults
def test_killed_in_mid_epoch_and_stopped_it_ends_as_if_never_disturbed(finished, cache, tmp_path):
    workdir = tmp_path / "run"
    assert killed(cache, workdir, 6, 9) == -9
    assert not (workdir / "eval").exists()
    steps = [int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit()]
    assert max(steps) < 6  # in mid-epoch: the steps since are lost, and done again
    assert killed(cache, workdir, 7, 15) == ExitCode.STOPPED
    assert run_command(main.main, arguments(cache, workdir)) == finished[1]
    assert "resuming at step 7" in (workdir / "train.log").read_text()
    assert evaluation(workdir) == evaluation(finished[0])
    for name in ("gates.json", "training_results.json"):
        assert (workdir / name).read_bytes() == (finished[0] / name).read_bytes()


def test_a_run_that_was_ever_debugged_or_cut_short_is_no_evidence(finished):
    """Whichever of its processes it was; the meta is part of the checkpoint."""
    plan = loop.Plan(2, 16, 15, 100, 1e-3, 1e-6, 0.1)
    told = SimpleNamespace(debug=False, config=SimpleNamespace(variant="demo"))
    meta = {"epoch": 2, "planned": 2, "stale": 0, "debug": False}
    assert evaluation_stage._evidence(told, plan, meta)["evidence"] is True
    for change in ({"debug": True}, {"epoch": 1}):
        assert evaluation_stage._evidence(told, plan, {**meta, **change})["evidence"] is False
    (newest,) = sorted((finished[0] / "checkpoints").glob("*/meta/metadata"))[-1:]
    assert json.loads(newest.read_text())["debug"] is False


def test_a_resume_under_another_config_is_refused_until_accepted(finished, cache, capsys):
    workdir, code, _ = finished
    changed = arguments(cache, workdir, "--config.optimizer.clip_norm=2.0")
    assert run_command(main.main, changed) == ExitCode.MISMATCH
    assert "config.optimizer.clip_norm: 1.0 -> 2.0" in capsys.readouterr().err
    assert run_command(main.main, [*changed, "--accept-change"]) == code
    starts = json.loads((workdir / "provenance.json").read_text())["starts"]
    assert starts[-1]["accepted"] is True and starts[-1]["changes"]


def test_fresh_sets_the_old_run_aside(finished, cache, tmp_path, monkeypatch):
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "old.txt").write_text("kept")
    monkeypatch.setattr(stages, "check_data", lambda job: job.nothing)  # far enough
    assert run_command(main.main, arguments(cache, workdir, "--fresh")) == 1
    (attic,) = workdir.glob("attic-*")
    assert (attic / "old.txt").read_text() == "kept" and not (workdir / "old.txt").exists()


# -- a user's own stamps ------------------------------------------------------------------------


def npz(stamp):
    buffer = io.BytesIO()
    np.savez(buffer, **{f"image_{band}": stamp[..., i] for i, band in enumerate(BANDS)})
    return buffer.getvalue()


@pytest.fixture(scope="module")
def user_sets(finished, cache):
    """The simulated pairs as StampSets, by split."""
    digest = json.loads((finished[0] / "eval/manifest.json").read_text())["data_digest"]
    return {s: prepared.load(cache, digest, s, "tf.data") for s in ("train", "val", "test")}


def write_parquet(root, sets, spoil=None):
    """The pairs of `sets` in the layout that users have; `spoil(split, columns)` breaks them."""
    for split, made in sets.items():
        table = made.table
        lens = np.flatnonzero(table["label"] == 1)
        control_of = {p: i for i, p in enumerate(table["pair_id"]) if table["label"][i] == 0}
        control = [control_of[p] for p in table["pair_id"][lens]]
        columns = {
            "stamp_npz": [npz(made.stamps[i]) for i in lens],
            "ctrl_stamp_npz": [npz(made.stamps[i]) for i in control],
            "task_id": table["pair_id"][lens].tolist(),
            "brickname": table["brick"][lens].tolist(),
            "region_split": [split] * len(lens),
            "psfdepth_r": table["psf_depth"][lens].tolist(),
        }
        kept = "ra dec theta_e_arcsec arc_snr psf_fwhm_arcsec psf_bin depth_bin ebv"
        columns |= {name: table[name][lens].tolist() for name in kept.split()}
        if spoil:
            spoil(split, columns)
        (root / split).mkdir(parents=True)
        pq.write_table(pa.table(columns), root / split / "part-0.parquet")
    return root


def test_the_same_command_trains_on_a_user_s_parquet(user_sets, cache, tmp_path):
    root = write_parquet(tmp_path / "data", user_sets)
    run = arguments(cache, tmp_path / "run", f"--config.data.root={root}")
    assert run_command(main.main, run) in (20, 21)
    summary = json.loads((tmp_path / "run/phase0_summary.json").read_text())
    assert summary["all_passed"] is True
    with np.load(tmp_path / "run/eval/test.npz") as arrays:
        assert arrays["label"].sum() == 24 and len(arrays["label"]) == 48


def nan_in_row_3(split, columns):
    if split == "train":
        with np.load(io.BytesIO(columns["stamp_npz"][3])) as stored:
            bands = {name: stored[name].copy() for name in stored.files}
        bands["image_r"][10, 10] = np.nan
        buffer = io.BytesIO()
        np.savez(buffer, **bands)
        columns["stamp_npz"][3] = buffer.getvalue()


def leaked_brick(split, columns):
    columns["brickname"][0] = "0001p001"


@pytest.mark.parametrize(
    ("spoil", "code", "named"),
    [
        (nan_in_row_3, ExitCode.DATA_INVALID, r"part-0\.parquet row 3 band r"),
        (leaked_brick, ExitCode.LEAK, "0001p001"),
    ],
)
def test_it_cannot_be_told_to_train_on_data_that_failed(
    user_sets, cache, tmp_path, capsys, spoil, code, named
):
    root = write_parquet(tmp_path / "data", user_sets, spoil)
    run = arguments(cache, tmp_path / "run", f"--config.data.root={root}")
    for again in ([], ["--accept-change"], ["--fresh"]):
        assert run_command(main.main, [*run, *again]) == code
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(named, error) and "Traceback" not in error
    judged = json.loads((tmp_path / "run/gates.json").read_text())
    assert (judged["verdict"], judged["reason"]) == ("RED", "phase0")
    assert not list((tmp_path / "run").glob("checkpoints/*"))
    assert "data refused" in (tmp_path / "run/report.html").read_text()


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        (["--config=configs/b3.py:tiny"], "--workdir"),
        (["--workdir=x"], "--config"),
        (["--config=configs/b33.py", "--workdir=x"], "configs/b3.py"),
        (["--config=configs/b3.py:demmo", "--workdir=x"], ":demo"),
        (["--config=configs/b3.py", "--workdir=x", "lr=3"], "lr=3"),
        (["--config=configs/b3.py", "--workdir=x", "--config.epoch=3"], "epochs"),
        (["--config=configs/b3.py", "--workdir=x", "--config.epochs=3.5"], "int"),
        (["--config=configs/b3.py", "--workdir=x", "--frsh"], "--fresh"),
    ],
)
def test_a_wrong_command_line_is_named_in_one_line(wrong, nearest, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_command(main.main, wrong) == ExitCode.USAGE
    error = capsys.readouterr().err.strip().splitlines()
    assert nearest in error[-1] and len(error) == 1
    assert list(tmp_path.iterdir()) == []
