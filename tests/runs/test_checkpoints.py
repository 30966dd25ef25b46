"""What is saved is restored bit for bit, or not at all; every guard with its control."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lensjax.runs import stepfolders, stepmanifest
from lensjax.runs.checkpoints import Checkpoints
from lensjax.runs.workdir import PACKAGE
from lensjax.schema import ExitCode, LensjaxError


def state_of(step):
    """A small state that differs from step to step."""
    key = jax.random.key(step)
    return {
        "params": {"conv": {"kernel": jax.random.normal(key, (3, 3, 8)), "bias": jnp.zeros(8)}},
        "opt_state": {"empty": {}, "count": jnp.int32(step)},
        "step": jnp.int32(step),
        "half": jnp.full((2,), step, jnp.bfloat16),
    }


def same(a, b):
    return jax.tree.structure(a) == jax.tree.structure(b) and jax.tree.all(
        jax.tree.map(lambda x, y: bool(np.array_equal(x, y)) and x.dtype == y.dtype, a, b)
    )


def fill(folder, metrics, first=1):
    """Save steps first, first + 1, ... with `metrics`, and close."""
    checkpoints = Checkpoints(folder)
    for step, metric in enumerate(metrics, first):
        checkpoints.save(step, state_of(step), {"step": step, "history": [step] * 3}, metric)
    checkpoints.close()


@pytest.fixture
def opened():
    """Opens Checkpoints and closes them at the end."""
    many = []

    def open_(folder, **kwargs):
        many.append(Checkpoints(folder, **kwargs))
        return many[-1]

    yield open_
    for checkpoints in many:
        checkpoints.close()


def kept(folder):
    return sorted(int(name) for name in os.listdir(folder) if name.isdecimal())


def flip_a_bit(folder, step, seed=0):
    """Flip one bit in the largest data file of `step`."""
    files = [p for p in (folder / str(step) / "arrays").rglob("*") if p.is_file()]
    path = max(files, key=lambda p: (p.stat().st_size, str(p)))
    data = bytearray(path.read_bytes())
    place = random.Random(seed).randrange(len(data) // 2, len(data))
    data[place] ^= 1 << 6
    path.write_bytes(data)


def test_restores_bit_for_bit(tmp_path, opened):
    checkpoints = opened(tmp_path)
    assert checkpoints.latest() is None and checkpoints.best_step is None
    state, meta = state_of(7), {"step": 7, "epoch": 1, "history": [{"loss": 0.1}], "best": 0.9}
    checkpoints.save(7, state, meta, metric=0.9)
    meta["history"].append("changed after the save")
    checkpoints.wait()
    assert checkpoints.last_good == checkpoints.latest() == 7
    back, told = checkpoints.restore(7, jax.tree.map(jnp.zeros_like, state))
    assert same(back, state)
    assert told == {"step": 7, "epoch": 1, "history": [{"loss": 0.1}], "best": 0.9}


def test_saves_what_was_given_though_the_next_step_donates_it(tmp_path, opened):
    checkpoints = opened(tmp_path)
    state = {"w": jnp.arange(4096.0)}
    checkpoints.save(1, state, {}, None)
    jax.jit(lambda s: jax.tree.map(lambda x: -x, s), donate_argnums=0)(state)
    back, _ = checkpoints.restore(1, {"w": np.empty(4096, np.float32)})
    assert np.array_equal(back["w"], np.arange(4096.0))


@pytest.mark.parametrize(
    ("mode", "metrics", "best"),
    [("max", [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], 1), ("max", [0.5, 0.9, 0.9, None, 0.2, None], 2),
     ("min", [0.5, 0.1, 0.3, 0.1, 0.9, 0.8], 2)],
)  # fmt: skip
def test_latest_two_and_the_earliest_best_are_kept_over_restarts(tmp_path, mode, metrics, best):
    for step, metric in enumerate(metrics, 1):
        checkpoints = Checkpoints(tmp_path, best_mode=mode)  # a restart before every save
        checkpoints.save(step, state_of(step), {}, metric)
        checkpoints.close()
    assert kept(tmp_path) == [best, 5, 6]
    checkpoints = Checkpoints(tmp_path, best_mode=mode)
    assert checkpoints.best_step == best
    assert same(checkpoints.restore(best, state_of(0))[0], state_of(best))
    checkpoints.close()


@pytest.mark.proves("K1")
def test_a_flipped_bit_falls_back_and_is_set_aside(tmp_path, opened, caplog):
    fill(tmp_path, [0.1, 0.2, 0.3])
    flip_a_bit(tmp_path, 3)
    checkpoints = opened(tmp_path)
    assert checkpoints.latest() == 2
    why = json.loads((tmp_path / "bad" / "3" / "why.json").read_text())
    assert "differs from its SHA-256" in why["cause"]
    assert "step 3 is not trusted" in caplog.text
    assert same(checkpoints.restore(2, state_of(0))[0], state_of(2))
    checkpoints.save(3, state_of(3), {}, 0.3)  # the run comes by again
    assert checkpoints.latest() == 3 and kept(tmp_path) == [2, 3]


@pytest.mark.harm("K1")
def test_without_the_manifest_a_flipped_bit_is_restored_silently(tmp_path, opened, monkeypatch):
    """The control: Orbax alone."""
    weights = {"w": jnp.asarray(np.random.default_rng(0).integers(0, 2**16, 20000), jnp.float32)}
    checkpoints = opened(tmp_path)
    checkpoints.save(1, weights, {}, None)
    checkpoints.wait()
    monkeypatch.setattr(stepmanifest, "file_digest", lambda path: "same")
    monkeypatch.setattr(stepmanifest, "state_digest", lambda leaves: "same")
    shutil.copytree(tmp_path / "1", tmp_path / "copy")
    silent = 0
    for seed in range(5):
        shutil.rmtree(tmp_path / "1")
        shutil.copytree(tmp_path / "copy", tmp_path / "1")
        manifest = stepmanifest.read(tmp_path / "1")
        manifest["state_sha256"] = "same"
        manifest["files"] = dict.fromkeys(manifest["files"], "same")
        stepmanifest.write(tmp_path / "1", manifest)
        flip_a_bit(tmp_path, 1, seed)
        try:
            back, _ = checkpoints.restore(1, weights)
        except LensjaxError:
            continue
        silent += not same(back, weights)
    assert silent  # harm: other weights, no error


@pytest.mark.proves("K2")
@pytest.mark.parametrize("harm", ["truncated", "zeroed", "deleted", "no manifest", "edited"])
def test_other_damage_falls_back_too(tmp_path, opened, harm):
    fill(tmp_path, [0.1, 0.2])
    manifest = tmp_path / "2" / stepmanifest.NAME
    data = max((tmp_path / "2" / "arrays").rglob("*"), key=lambda p: p.stat().st_size * p.is_file())
    if harm == "truncated":
        data.write_bytes(data.read_bytes()[:-9])
    if harm == "zeroed":
        data.write_bytes(bytes(data.stat().st_size))
    if harm == "deleted":
        data.unlink()
    if harm == "no manifest":
        manifest.unlink()
    if harm == "edited":
        manifest.write_text(manifest.read_text().replace("0.2", "0.9"))
    assert opened(tmp_path).latest() == 1
    assert kept(tmp_path) == [1]


@pytest.mark.proves("K3")
def test_all_bad_is_exit_14_with_every_cause_now_and_on_the_next_start(tmp_path, opened):
    fill(tmp_path, [0.1, 0.2])
    flip_a_bit(tmp_path, 1)
    (tmp_path / "2" / stepmanifest.NAME).unlink()
    for _ in range(2):
        with pytest.raises(LensjaxError) as caught:
            opened(tmp_path).latest()
        assert caught.value.code == ExitCode.NO_CHECKPOINT
        assert "step 1: arrays/" in str(caught.value)
        assert "step 2: its manifest is missing" in str(caught.value)


def test_a_damaged_best_is_never_replaced_by_another(tmp_path, opened):
    fill(tmp_path, [0.9, 0.2, 0.3])
    flip_a_bit(tmp_path, 1)
    checkpoints = opened(tmp_path)
    assert checkpoints.latest() == 3 and checkpoints.best_step == 1
    with pytest.raises(LensjaxError) as caught:
        checkpoints.restore(checkpoints.best_step, state_of(0))
    assert caught.value.code == ExitCode.NO_CHECKPOINT


@pytest.mark.proves("K9")
def test_nan_is_refused_and_the_last_good_step_stays(tmp_path, opened):
    checkpoints = opened(tmp_path)
    checkpoints.save(1, state_of(1), {}, 0.5)
    bad = state_of(2)
    bad["params"]["conv"]["bias"] = bad["params"]["conv"]["bias"].at[3].set(jnp.nan)
    for state, metric in ((bad, 0.5), (state_of(2), float("nan"))):
        with pytest.raises(LensjaxError) as caught:
            checkpoints.save(2, state, {}, metric)
        assert caught.value.code == ExitCode.NON_FINITE
    with pytest.raises(LensjaxError, match="params/conv/bias is not finite"):
        checkpoints.save(2, bad, {}, None)
    assert checkpoints.latest() == 1


@pytest.mark.harm("K9")
def test_without_the_guard_nan_is_saved_and_restored(tmp_path, opened, monkeypatch):
    monkeypatch.setattr(stepmanifest, "first_non_finite", lambda leaves: None)
    checkpoints = opened(tmp_path)
    checkpoints.save(1, {"w": jnp.full(3, jnp.nan)}, {}, None)
    assert np.isnan(checkpoints.restore(1, {"w": jnp.zeros(3)})[0]["w"]).all()  # harm


@pytest.mark.proves("K8")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s["params"]["conv"].update(bias=jnp.zeros(9)), "params/conv/bias was saved as"),
        (lambda s: s["params"]["conv"].update(bias=jnp.zeros(8, jnp.int32)), "float32 [8]"),
        (lambda s: s.update(ema=jnp.zeros(1)), "ema was not saved"),
        (lambda s: s.pop("half"), "half was saved, and the code has none"),
    ],
)
def test_another_form_is_exit_12_naming_the_first_leaf(tmp_path, opened, change, words):
    fill(tmp_path, [0.5])
    template = state_of(1)
    change(template)
    with pytest.raises(LensjaxError) as caught:
        opened(tmp_path).restore(1, template)
    assert caught.value.code == ExitCode.MISMATCH
    assert words in str(caught.value)
    assert kept(tmp_path) == [1]  # a wrong config is no reason to distrust the checkpoint


@pytest.mark.proves("K7")
def test_restores_onto_a_mesh_of_devices(tmp_path):
    """Saved on 1 device, restored on 4 replicated and split, in a child with 4 devices."""
    state = {"w": np.arange(64, dtype=np.float32).reshape(8, 8)}
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state, {"step": 1}, None)
    checkpoints.close()
    script = """
import sys, jax, numpy as np
from pathlib import Path
from jax.sharding import NamedSharding, PartitionSpec
from lensjax.runs.checkpoints import Checkpoints
mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
checkpoints = Checkpoints(Path(sys.argv[1]))
template = {"w": jax.ShapeDtypeStruct((8, 8), np.float32)}
for spec, shard in ((PartitionSpec(), (8, 8)), (PartitionSpec("data"), (2, 8))):
    back, meta = checkpoints.restore(1, template, NamedSharding(mesh, spec))
    assert len(back["w"].sharding.device_set) == 4
    assert back["w"].addressable_shards[0].data.shape == shard
    assert np.array_equal(back["w"], np.arange(64).reshape(8, 8)) and meta == {"step": 1}
checkpoints.save(2, back, {}, None)
checkpoints.close()
"""
    run_child(script, tmp_path, XLA_FLAGS="--xla_force_host_platform_device_count=4")
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.latest() == 2  # saved from 4 devices, read on 1
    assert np.array_equal(checkpoints.restore(2, state)[0]["w"], state["w"])
    checkpoints.close()


def run_child(script, *args, **env):
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, args)],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), **env},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_kill_in_mid_save_leaves_the_steps_before(tmp_path, opened):
    """kill -9 while saves follow each other without a pause, several times over one folder."""
    script = """
import sys, numpy as np
from pathlib import Path
from lensjax.runs.checkpoints import Checkpoints
checkpoints = Checkpoints(Path(sys.argv[1]))
step = checkpoints.latest() or 0
while True:
    step += 1
    checkpoints.save(step, {"w": np.full(300_000, step, np.float32)}, {"step": step}, 1 / step)
    checkpoints.wait()
    print(step, flush=True)
"""
    generator = random.Random(5)
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)],
            env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        said = [process.stdout.readline(), process.stdout.readline()]
        time.sleep(generator.uniform(0, 0.15))
        os.kill(process.pid, signal.SIGKILL)
        said += process.communicate()[0].splitlines()
        checkpoints = opened(tmp_path)
        latest = checkpoints.latest()
        assert latest >= int(said[-1])
        state, meta = checkpoints.restore(latest, {"w": np.empty(300_000, np.float32)})
        assert meta["step"] == latest and (np.asarray(state["w"]) == latest).all()
        assert 1 in kept(tmp_path)  # the best: 1 / step falls
    assert not (tmp_path / "bad").exists()


def cut_short(folder, monkeypatch):
    """A save that ends between Orbax's commit and the manifest, as by a kill; the best was moved
    out of the way by then."""

    def killed(*args):
        raise KeyboardInterrupt

    checkpoints = Checkpoints(folder)
    with monkeypatch.context() as patch:
        patch.setattr(stepmanifest, "write", killed)
        checkpoints.save(4, state_of(4), {}, 0.99)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.wait()
    checkpoints.close()


@pytest.mark.proves("K4")
def test_a_step_cut_short_is_no_step_and_what_it_replaced_comes_back(tmp_path, monkeypatch):
    fill(tmp_path, [0.9, 0.2, 0.3])
    (tmp_path / "5.orbax-checkpoint-tmp").mkdir()
    cut_short(tmp_path, monkeypatch)
    assert kept(tmp_path) == [3, 4]  # the best, step 1, is on its way out
    checkpoints = Checkpoints(tmp_path)
    assert kept(tmp_path) == [1, 2, 3] and checkpoints.latest() == 3
    assert checkpoints.best_step == 1
    assert not [n for n in os.listdir(tmp_path) if "tmp" in n or n == "bad"]
    checkpoints.close()


@pytest.mark.proves("K4")
def test_a_first_save_cut_short_is_a_new_run_not_exit_14(tmp_path, monkeypatch, opened):
    tmp_path.joinpath("c").mkdir()
    cut_short(tmp_path / "c", monkeypatch)
    assert opened(tmp_path / "c").latest() is None


@pytest.mark.harm("K4")
def test_without_the_note_of_intent_the_same_looks_damaged(tmp_path, monkeypatch, opened):
    monkeypatch.setattr(stepfolders.StepFolders, "begin", lambda self, step: None)
    cut_short(tmp_path, monkeypatch)
    with pytest.raises(LensjaxError, match="its manifest is missing"):  # harm: a run refused
        opened(tmp_path).latest()


@pytest.mark.proves("K6")
@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (OSError(28, "No space left on device"), ExitCode.RESOURCE),
        (ValueError("RESOURCE_EXHAUSTED: ... No space left on device"), ExitCode.RESOURCE),
    ],
)
def test_a_failed_save_surfaces_at_the_next_check(tmp_path, opened, monkeypatch, failure, code):
    fill(tmp_path, [0.5])
    checkpoints = opened(tmp_path)

    def fail(*args, **kwargs):
        raise failure

    monkeypatch.setattr(checkpoints._manager, "save", fail)
    checkpoints.save(2, state_of(2), {}, 0.6)
    with pytest.raises(LensjaxError) as caught:
        for _ in range(200):
            checkpoints.check()
            time.sleep(0.01)
    assert caught.value.code == code and "disk is full" in str(caught.value)
    assert checkpoints.latest() == 1


@pytest.mark.proves("K5")
def test_a_disk_that_refuses_leaves_the_steps_before_and_may_be_tried_again(tmp_path, opened):
    """A real refusal, met by Orbax's C++ part: files may not grow beyond 200 kB for a while."""
    state = {"w": np.random.default_rng(0).normal(size=300_000).astype(np.float32)}
    checkpoints = opened(tmp_path)
    for step, metric in ((1, 0.9), (2, 0.2), (3, 0.3)):
        checkpoints.save(step, {"w": state["w"] + step}, {}, metric)
    checkpoints.wait()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(LensjaxError) as caught:
            checkpoints.save(4, state, {}, 0.95)
            checkpoints.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.code == ExitCode.RESOURCE and "grow" in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["1", "2", "3"]
    assert checkpoints.latest() == 3 and checkpoints.best_step == 1
    checkpoints.save(4, state, {}, 0.95)
    assert checkpoints.latest() == 4 and checkpoints.best_step == 4
    assert np.array_equal(checkpoints.restore(4, state)[0]["w"], state["w"])


def test_check_waits_for_nothing(tmp_path, opened, monkeypatch):
    checkpoints = opened(tmp_path)
    begin = stepfolders.StepFolders.begin
    monkeypatch.setattr(
        stepfolders.StepFolders, "begin", lambda self, step: (time.sleep(0.5), begin(self, step))
    )
    start = time.monotonic()
    checkpoints.save(1, state_of(1), {}, None)
    checkpoints.check()
    assert time.monotonic() - start < 0.4
    assert checkpoints.latest() == 1  # waits


def test_the_state_digest_knows_names_shapes_types_and_bits():
    def digest(**leaves):
        return stepmanifest.state_digest(leaves)

    zero = np.zeros((2, 3), np.float32)
    assert digest(a=zero) == digest(a=zero.copy())
    others = [digest(b=zero), digest(a=zero.T), digest(a=zero.astype(np.int32)), digest(a=-zero)]
    assert len({digest(a=zero), *others}) == 5
