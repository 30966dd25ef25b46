"""K1-K11: checkpoints that were damaged, cut short, refused by the disk, or are another's.

In this process, on `Checkpoints` itself; one child has a disk of its own that is full. What is
restored bit for bit, and kills in mid save, are in tests/runs/test_checkpoints.py; K6, K12 and K13
with the loop, in tests/training.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_dtypes import bfloat16

from lensjax.runs import checkpoints as module
from lensjax.runs import stepmanifest
from lensjax.runs.checkpoints import Checkpoints
from lensjax.runs.stepfolders import StepFolders
from lensjax.schema import ExitCode, LensjaxError
from tests.faults.running import ROOT

GOLDEN = ROOT / "tests/runs/golden"


def state_of(step: int) -> dict:
    """A state that differs from step to step."""
    draw = np.random.default_rng(step)
    return {"params": {"w": draw.normal(size=200).astype(np.float32)}, "step": np.int32(step)}


def arrays_of(step: int) -> dict:
    """The same as restored."""
    return jax.tree.map(np.array, state_of(step))


def same(a, b) -> bool:
    return jax.tree.structure(a) == jax.tree.structure(b) and jax.tree.all(
        jax.tree.map(lambda x, y: bool(np.array_equal(x, y)) and x.dtype == y.dtype, a, b)
    )


def save(folder: Path, steps, best: int = 1) -> None:
    """Steps saved one after another; `best` has the highest metric."""
    checkpoints = Checkpoints(folder)
    for step in steps:
        checkpoints.save(step, state_of(step), {"step": step}, 0.9 if step == best else 0.5)
    checkpoints.close()


@pytest.fixture
def opened():
    """Opens Checkpoints and closes them at the end."""
    many = []

    def open_(folder):
        many.append(Checkpoints(folder))
        return many[-1]

    yield open_
    for checkpoints in many:
        checkpoints.close()


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """Steps 1 and 2, not to be written to."""
    folder = tmp_path_factory.mktemp("two") / "checkpoints"
    save(folder, (1, 2))
    return folder


def copied(two: Path, folder: Path) -> Path:
    return Path(shutil.copytree(two, folder / "checkpoints"))


# -- K1, K2, K3: damage ---------------------------------------------------------------------------
def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def undetected(folder: Path, flips: int) -> int:
    """Of single-bit flips anywhere in the files of step 2, how many are not seen."""
    paths = files(folder / "2")
    sizes = [path.stat().st_size for path in paths]
    draw, silent = random.Random(1), 0
    for _ in range(flips):
        path = draw.choices(paths, sizes)[0]
        data = path.read_bytes()
        bit = draw.randrange(8 * len(data))
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        silent += stepmanifest.fault(folder / "2") is None
        path.write_bytes(data)
    return silent


@pytest.mark.proves("K1")
@pytest.mark.parametrize("flips", [50, pytest.param(500, marks=pytest.mark.nightly)])
def test_no_flipped_bit_goes_unnoticed(two, tmp_path, flips):
    folder = copied(two, tmp_path)
    assert undetected(folder, flips) == 0 and stepmanifest.fault(folder / "2") is None


def zero_the_data(folder: Path) -> None:
    """Every file of Orbax's arrays in step 2 is zeros, as after a crash of the file system."""
    for path in (folder / "2" / "arrays").rglob("*"):
        if path.is_file():
            path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.proves("K2")
@pytest.mark.parametrize("step", [1, 2])
def test_whichever_file_is_emptied_the_other_step_is_gone_on_from(two, tmp_path, opened, step):
    """Orbax's own lists, which it reads when it is opened, too; step 1 is the best."""
    for number, path in enumerate(files(two / str(step))):
        folder = copied(two, tmp_path / str(number))
        os.truncate(folder / path.relative_to(two), 0)
        checkpoints = opened(folder)
        assert checkpoints.latest() == (1 if step == 2 else 2)
        if step == 1:
            with pytest.raises(LensjaxError) as error:
                checkpoints.restore(1, state_of(1))
            assert error.value.code == ExitCode.NO_CHECKPOINT


@pytest.mark.harm("K2")
def test_without_setting_aside_one_empty_file_of_orbax_is_a_crash(
    two, tmp_path, opened, monkeypatch
):
    monkeypatch.setattr(StepFolders, "set_bad_aside", lambda self: [])
    folder = copied(two, tmp_path)
    os.truncate(folder / "2/metrics/metrics", 0)
    with pytest.raises(json.JSONDecodeError):  # harm: a traceback, exit 1
        opened(folder)


@pytest.mark.harm("K2")
def test_without_verification_a_zeroed_step_ends_the_run(two, tmp_path, opened, monkeypatch):
    """Orbax's own list has it, its reading raises: there is no fallback."""
    folder = copied(two, tmp_path)
    zero_the_data(folder)
    monkeypatch.setattr(stepmanifest, "fault", lambda folder: None)
    checkpoints = opened(folder)
    assert checkpoints.latest() == 2
    with pytest.raises(LensjaxError) as error:
        checkpoints.restore(2, state_of(2))
    assert error.value.code == ExitCode.NO_CHECKPOINT


@pytest.mark.harm("K3")
def test_without_the_causes_a_run_would_start_over_silently(two, tmp_path, opened, monkeypatch):
    newest_good = StepFolders.newest_good
    monkeypatch.setattr(StepFolders, "newest_good", lambda self: (newest_good(self)[0], []))
    folder = copied(two, tmp_path)
    for step in ("1", "2"):
        (folder / step / stepmanifest.NAME).unlink()
    assert opened(folder).latest() is None  # harm: as if nothing had ever been saved


# -- K5: a full disk ------------------------------------------------------------------------------
@pytest.fixture
def small_disk(monkeypatch):
    """A disk with room for as many steps as it is told, as far as Checkpoints can see."""
    write, room = Checkpoints._write, {"steps": 3}

    def limited(self, step, *rest):
        if len(self._folders.all()) >= room["steps"]:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, step, *rest)

    monkeypatch.setattr(Checkpoints, "_write", limited)
    return room


@pytest.mark.proves("K5")
def test_a_full_disk_costs_what_can_be_spared_and_no_more(tmp_path, opened, small_disk):
    save(tmp_path, (1, 2, 3))  # 1 is the best, 3 the newest
    checkpoints = opened(tmp_path)
    checkpoints.save(4, state_of(4), {"step": 4}, 0.6)
    checkpoints.wait()
    assert StepFolders(tmp_path).listed() == [1, 3, 4]
    small_disk["steps"] = 1
    checkpoints.save(5, state_of(5), {"step": 5}, 0.6)
    with pytest.raises(LensjaxError, match="the disk is full") as error:
        checkpoints.wait()
    assert error.value.code == ExitCode.RESOURCE == 16
    assert checkpoints.latest() == 4 and checkpoints.best_step == 1
    for step in (1, 4):
        assert same(checkpoints.restore(step, state_of(0))[0], arrays_of(step))


@pytest.mark.harm("K5")
def test_without_that_the_run_ends_for_a_step_nobody_needs(
    tmp_path, opened, small_disk, monkeypatch
):
    monkeypatch.setattr(StepFolders, "prune", lambda self: [])
    save(tmp_path, (1, 2, 3))
    checkpoints = opened(tmp_path)
    checkpoints.save(4, state_of(4), {"step": 4}, 0.6)
    with pytest.raises(LensjaxError, match="the disk is full"):
        checkpoints.wait()
    assert StepFolders(tmp_path).listed() == [1, 2, 3]


def test_nothing_is_spared_of_a_run_whose_newest_step_is_bad(tmp_path):
    save(tmp_path, (1, 2, 3))
    zero_the_data(tmp_path)  # step 2: good ones are 1 and 3
    assert StepFolders(tmp_path).prune() == [2]
    (tmp_path / "3" / stepmanifest.NAME).write_text("{}")
    save(tmp_path / "other", (1, 2, 3), best=3)
    (tmp_path / "other/3/metrics/metrics").write_text("{}")
    assert StepFolders(tmp_path / "other").prune() == []


FULL_DISK = """
import os, sys, numpy as np
from pathlib import Path
from lensjax.runs.checkpoints import Checkpoints
from lensjax.schema import LensjaxError

folder = Path(sys.argv[1])
draw = np.random.default_rng(0)

def state(step, size=300_000):
    return {"w": draw.integers(0, 2**32, size, np.uint32), "s": np.int32(step)}

def fill():
    with open(folder.parent / "ballast", "wb", 0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == 28, error

states = {step: state(step) for step in (1, 2, 3, 4, 5)}
checkpoints = Checkpoints(folder)
for step, metric in ((1, 0.9), (2, 0.5), (3, 0.5), (4, 0.5)):
    checkpoints.save(step, states[step], {"step": step}, metric)
checkpoints.wait()
assert checkpoints.latest() == 4 and checkpoints.best_step == 1
fill()
large = {"w": np.concatenate([states[5]["w"]] * 3), "s": np.int32(5)}
checkpoints.save(5, large, {"step": 5}, 0.5)
try:
    checkpoints.wait()
    sys.exit("saved on a full disk")
except LensjaxError as error:
    assert error.code == 16 and "the disk is full" in str(error), str(error)
assert checkpoints.latest() == 4 and checkpoints.best_step == 1
for step in (1, 4):
    back, meta = checkpoints.restore(step, states[step])
    assert np.array_equal(back["w"], states[step]["w"]) and meta == {"step": step}
os.unlink(folder.parent / "ballast")
checkpoints.save(5, states[5], {"step": 5}, 0.5)
assert checkpoints.latest() == 5
checkpoints.close()
"""


@pytest.mark.proves("K5")
def test_a_disk_that_is_full_keeps_the_last_good_step(tmp_path):
    """A file system of 6 MB: four steps of 1.2 MB need more than the three that are kept at once,
    then a file takes what is left."""
    inside = 'mount -t tmpfs -o size=5200k none "$1" && exec "$2" -c "$3" "$1/checkpoints"'
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", inside, "sh", str(tmp_path), sys.executable, FULL_DISK],
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no file system of one's own here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr


# -- K7: another number of devices ----------------------------------------------------------------
SHARDED = """
import sys, jax, numpy as np, orbax.checkpoint as ocp
from jax.sharding import NamedSharding, PartitionSpec

mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
sharding = NamedSharding(mesh, PartitionSpec("data"))
with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(sys.argv[1], {"w": jax.device_put(np.arange(8.0), sharding)})
"""


MOVING = """
import sys, jax, numpy as np
from jax.sharding import AxisType
from pathlib import Path
from lensjax.runs.checkpoints import Checkpoints
from lensjax.training import model as resnet
from lensjax.training.feed import TrainFeed, replicated
from lensjax.training.step import init_state, make_train_step
from tests.training.conftest import SHAPE, make_recipe, make_set

data = make_set("train", pairs=12, lookalikes=2)
model = resnet.ResNet18(2, 3.0, "patches", stages=(1,))
recipe = make_recipe(ema_decay=0.0, hard_negative_fraction=0.0)

def run(folder, devices):
    checkpoints, seen = Checkpoints(folder), []
    for leg, count in enumerate(devices):
        mesh = jax.make_mesh((count,), ("data",), (AxisType.Auto,), devices=jax.devices()[:count])
        every = np.ones(len(data), bool)
        told = {"seed": 7, "batch_size": 16, "hard_negatives": False, **SHAPE}
        feed = TrainFeed(data, every, mesh, **told)
        state = jax.device_put(init_state(model, recipe), replicated(mesh))
        if leg:
            saved = state_of_leg
            state, meta = checkpoints.restore(2 * leg, state, replicated(mesh))
            assert meta == {"step": 2 * leg}
            jax.tree.map(np.testing.assert_array_equal, jax.device_get(state), saved)
        train_step = make_train_step(model, recipe)
        for step in (2 * leg, 2 * leg + 1):
            batch = feed.batch(step, 1e-3)
            seen.append(np.asarray(batch["rows"]).tolist())
            state, _ = train_step(state, feed.source, batch)
        state_of_leg = jax.device_get(state)
        checkpoints.save(2 * leg + 2, state, {"step": 2 * leg + 2}, None)
    checkpoints.close()
    return seen, state_of_leg

rows, end = run(Path(sys.argv[1]) / "one", (1, 1, 1))
moved_rows, moved = run(Path(sys.argv[1]) / "moving", (1, 2, 4))
assert moved_rows == rows
far = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), end["params"], moved["params"])
print("largest difference", max(jax.tree.leaves(far)))
assert max(jax.tree.leaves(far)) < 2e-5, far
"""


@pytest.mark.faults
@pytest.mark.proves("K7")
def test_a_run_goes_on_from_1_to_2_to_4_devices(tmp_path):
    """Every state exactly as saved, the rows of every step the same, the end within 2e-5."""
    done = subprocess.run(
        [sys.executable, "-c", MOVING, str(tmp_path)],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.harm("K7")
def test_arrays_saved_as_they_lie_are_not_read_on_fewer_devices(tmp_path):
    """Orbax as it comes: saved by 4 devices, it wants 4."""
    subprocess.run(
        [sys.executable, "-c", SHARDED, str(tmp_path / "saved")],
        env={
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        },
        check=True,
        capture_output=True,
        timeout=120,
    )
    told = pytest.raises(ValueError, match="saved with a different topology")
    with module.ocp.StandardCheckpointer() as checkpointer, told:
        checkpointer.restore(tmp_path / "saved")


# -- K8: another form -----------------------------------------------------------------------------
@pytest.mark.harm("K8")
def test_without_the_look_at_its_form_a_state_of_another_is_taken(two, opened, monkeypatch):
    monkeypatch.setattr(stepmanifest, "first_difference", lambda manifest, template: None)
    template = {"params": {"w": np.zeros(7, np.float32)}, "step": np.int32(0)}
    state, _ = opened(two).restore(2, template)
    assert state["params"]["w"].shape == (200,)  # harm: the code has 7


# -- K10: another version -------------------------------------------------------------------------
def golden_state() -> dict:
    """What every file in tests/runs/golden holds, whichever version saved it at step 7."""
    kernel = np.arange(72, dtype=np.float32).reshape(3, 3, 8) / 7
    return {
        "params": {"conv": {"kernel": kernel, "bias": np.zeros(8, np.float32)}},
        "opt_state": {"empty": {}, "count": np.array(7, np.int32)},
        "step": np.array(7, np.int32),
        "half": np.full(2, 1.5, bfloat16),
    }


@pytest.mark.proves("K10")
@pytest.mark.parametrize("version", sorted(path.name for path in GOLDEN.iterdir()))
def test_a_checkpoint_of_every_release_is_restored(tmp_path, opened, version):
    checkpoints = opened(Path(shutil.copytree(GOLDEN / version, tmp_path / "checkpoints")))
    assert checkpoints.latest() == checkpoints.best_step == 7
    state, meta = checkpoints.restore(7, golden_state())
    assert same(state, golden_state())
    assert meta == {"step": 7, "epoch": 1, "history": [{"loss": 0.1}]}


@pytest.fixture
def of_tomorrow(two, tmp_path) -> Path:
    """A whole step 2 of a schema that names its fields otherwise."""
    folder = copied(two, tmp_path)
    manifest = stepmanifest.read(folder / "2") | {"schema": 2}
    manifest["digests"] = manifest.pop("files")
    stepmanifest.write(folder / "2", manifest)
    return folder


@pytest.mark.proves("K10")
def test_a_checkpoint_of_another_schema_is_refused_and_left_alone(of_tomorrow, opened):
    for _ in range(2):
        with pytest.raises(LensjaxError, match="schema 2; this version reads schema 1") as error:
            opened(of_tomorrow).latest()
        assert error.value.code == ExitCode.MISMATCH == 12
        assert "--fresh" in error.value.remedy and "version of lensjax" in error.value.remedy
    assert StepFolders(of_tomorrow).all() == [1, 2]  # not damaged, so not set aside


@pytest.mark.harm("K10")
def test_without_the_look_at_its_version_it_is_a_crash(of_tomorrow, opened, monkeypatch):
    monkeypatch.setattr(stepmanifest, "_require_version", lambda folder, manifest: None)
    with pytest.raises(KeyError, match="files"):  # harm: a traceback, exit 1
        opened(of_tomorrow).latest()


# -- K11: the power fails after the rename ---------------------------------------------------------
def power_fails(folder: Path, monkeypatch) -> set[str]:
    """Save steps 1 and 2; at the instant that the manifest of 2 has its name the power fails: of
    every file that was not synced by then the name stays, and the data do not. Names of these."""
    save(folder, (1,))
    synced, at_commit = set(), set()
    fsync, replace = os.fsync, os.replace

    def noted(descriptor):
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def committed(source, target):
        replace(source, target)
        if Path(target).name == stepmanifest.NAME:
            at_commit.update(synced)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", noted)
        patch.setattr(os, "replace", committed)
        save(folder, (2,))
    lost = [path for path in (folder / "2").rglob("*") if path.stat().st_ino not in at_commit]
    for path in lost:
        if path.is_file():
            os.truncate(path, 0)
    return {path.relative_to(folder / "2").as_posix() for path in lost}


@pytest.mark.proves("K11")
def test_all_is_on_disk_before_a_step_exists(tmp_path, opened, monkeypatch):
    """Files and folders; and the manifest before its name."""
    assert power_fails(tmp_path, monkeypatch) == set()
    checkpoints = opened(tmp_path)
    assert checkpoints.latest() == 2
    assert same(checkpoints.restore(2, state_of(0))[0], arrays_of(2))


@pytest.mark.proves("K11")
def test_a_disk_that_syncs_nothing_is_found_out(tmp_path, opened, monkeypatch):
    monkeypatch.setattr(module, "sync_tree", lambda folder: None)
    assert "arrays/manifest.ocdbt" in power_fails(tmp_path, monkeypatch)
    checkpoints = opened(tmp_path)
    assert checkpoints.latest() == 1
    assert json.loads((tmp_path / "bad/2/why.json").read_text())["step"] == 2
    assert same(checkpoints.restore(1, state_of(0))[0], arrays_of(1))


@pytest.mark.harm("K11")
def test_without_syncs_and_digests_the_run_cannot_be_opened(tmp_path, opened, monkeypatch):
    monkeypatch.setattr(module, "sync_tree", lambda folder: None)
    assert power_fails(tmp_path, monkeypatch)
    monkeypatch.setattr(stepmanifest, "fault", lambda folder: None)
    with pytest.raises(json.JSONDecodeError):  # harm: a traceback, though step 1 is good
        opened(tmp_path)
