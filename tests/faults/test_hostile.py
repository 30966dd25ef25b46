"""S1-S4: what a stranger's npz does to a reader that trusts it, in row 17 of train-003."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lensjax.data.stamps import decode_into
from lensjax.schema import ExitCode, LensjaxError
from tests.faults.cases import Case, Sets, assert_harm, assert_refused, parametrize
from tests.faults.guards import numpy_decode
from tests.faults.hostile import CANARY, TRICKS, bomb
from tests.faults.roots import NAMED, ROW, ParquetRoot, unpack

WHERE = rf"{NAMED} row {ROW}: "
STAMP, CONTROL = "train-00026-s", "train-00026-c"
OFF = ("npz", "pixels", "pairs")


def seen(sets: Sets) -> np.ndarray:
    """Band r of the stamp, float32 [64, 64], as it would be trained on."""
    return sets["train"].stamp(STAMP)[..., 1]


def empty(sets: Sets) -> bool:
    return not seen(sets).any()


def read(sets: Sets) -> bool:
    return bool(seen(sets).any())


def tripled(sets: Sets) -> bool:
    """Of two members of one name the last was taken."""
    return seen(sets).max() > 2 * sets["train"].stamp(CONTROL)[..., 1].max()


def trick(name: str, cause: str, harm: Callable[[Sets], bool] = read) -> Case:
    def plant(root: ParquetRoot) -> None:
        root.options = {"use_dictionary": False}  # where values as long are refused before
        root.put(lambda blob: TRICKS[name](unpack(blob)))

    return Case(17, WHERE + ".*" + cause, "stamps", plant, off=OFF, harm=harm)


R = r"member 'image_r\.npy' "
# What the common way lets through, and what its reading of it does.
THROUGH = {
    "S3 objects": trick("S3 objects", R + "holds pickled objects", empty),
    "S4 climbing": trick("S4 climbing", r"member '\.\./\.\./image_r\.npy' is a path", empty),
    "S4 absolute": trick("S4 absolute", r"member '/image_r\.npy' is a path", empty),
    "S4 duplicate": trick("S4 duplicate", R + "is there twice", tripled),
    "S4 link": trick("S4 link", R + "is a symbolic link"),
    "S4 size more": trick("S4 size more", R + "does not have the size it claims"),
    "S4 zip64": trick("S4 zip64", R + "claims 4294967295 bytes"),
    "S4 overlap": trick("S4 overlap", r"header of " + R + "claims 4096 elements in 32937 bytes"),
}
# What the common way dies of, in a way that no exit code stands for.
ENDS = {
    "S2 elements": trick("S2 elements", "header of " + R + "claims 1000000000000 elements"),
    "S2 overflow": trick("S2 overflow", "header of " + R + "claims 4611686018427387904 elements"),
    "S2 negative": trick("S2 negative", "header of " + R + "has a negative side"),
    "S3 pickle": trick("S3 pickle", "a pickle, not an npz"),
    "S4 encrypted": trick("S4 encrypted", R + "is encrypted"),
    "S4 size less": trick("S4 size less", R + "does not have the size it claims"),
}
BOMB = trick("S1 bomb", R + "claims 1073741952 bytes, at most 1048576")


@parametrize("proves", {"S1": BOMB, **THROUGH, **ENDS})
def test_refused(case, run, plant):
    assert_refused(case, run, plant(case))  # and so no canary in the working directory


@parametrize("harm", THROUGH)
def test_numpy_lets_it_through(case, run, plant):
    assert_harm(case, run, plant(case))
    if case is THROUGH["S3 objects"]:
        assert (run.here / CANARY).is_dir()  # code of the file was run


@parametrize("harm", ENDS)
def test_numpy_ends_in_no_documented_way(case, run, plant):
    ended = run.phase0(plant(case), off=OFF)
    assert ended.code in (1, 16)  # a bug, or out of memory; and nobody knows of which file
    assert NAMED not in ended.err
    assert (run.here / CANARY).exists() == (case is ENDS["S3 pickle"])


def memory(call: Callable[..., Any], *words: Any) -> tuple[float, int]:
    """Seconds that a call takes, and the most bytes that it holds."""
    tracemalloc.start()
    start = time.perf_counter()
    try:
        call(*words)
    finally:
        spent, (_, most) = time.perf_counter() - start, tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return spent, most


@pytest.fixture
def stamp() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((3, 64, 64), np.float32)


@pytest.mark.proves("S1")
def test_a_bomb_is_refused_at_once_and_without_memory(stamp):
    def refuse(blob: bytes) -> None:
        with pytest.raises(LensjaxError) as caught:
            decode_into(blob, stamp)
        assert caught.value.code == ExitCode.REFUSED_INPUT

    blob = bomb(stamp)
    assert len(blob) < 1.2e6
    seconds, most = memory(refuse, blob)
    assert seconds < 0.1 and most < 1e6


@pytest.mark.harm("S1")
def test_numpy_unpacks_a_bomb(stamp):
    """A small one: 64 MiB of 100 kB."""
    _, most = memory(numpy_decode, bomb(stamp, 64), stamp)
    assert most > 64 * 2**20


@pytest.mark.faults
@pytest.mark.proves("S1")
def test_phase0_of_a_bomb_uses_no_more_memory(child, plant):
    _, sound = child.peak(plant(Case(0, "", "")))
    ended, most = child.peak(plant(BOMB))
    assert ended.code == 17 and most - sound < 50e6


@pytest.mark.faults
@pytest.mark.harm("S1")
def test_phase0_that_trusts_a_bomb_uses_a_gibibyte(child, plant):
    ended, most = child.peak(plant(BOMB), off=OFF)
    assert ended.code == 0 and most > 2**30


@pytest.fixture
def canary_config(tmp_path: Path) -> Path:
    path = tmp_path / "experiment.pkl"
    path.write_bytes(TRICKS["S3 pickle"](np.zeros(0)))
    return path


@pytest.mark.proves("S3")
def test_a_pickle_for_a_config_is_refused(run, canary_config):
    ended = run.phase0(None, f"--config={canary_config}")
    assert ended.code == 17 and str(canary_config) in ended.error() and "pickle" in ended.error()
    assert run.artefacts() == []


@pytest.mark.harm("S3")
def test_a_pickle_that_is_loaded_runs_its_code(run, canary_config):
    run.phase0(None, f"--config={canary_config}", off=["config"])
    assert (run.here / CANARY).is_dir()
