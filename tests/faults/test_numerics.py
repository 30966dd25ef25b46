"""N1 and N3 through main.py in a process of its own: a learning rate without bound, and one that
diverges in finite numbers. In this process, by leaf and by step: tests/training.

Preflight refuses both before the first step; what the loop does is seen with that guard off.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.faults.cases import Case

pytestmark = pytest.mark.faults
UNBOUND = "--config.optimizer.learning_rate=1e39"  # infinite as float32
DIVERGES = (
    "--config.optimizer.learning_rate=2e3",  # a million times that of :tiny
    "--config.divergence.steps=2",  # of the few that :tiny has
)


@pytest.mark.proves("N1")
def test_an_update_without_bound_is_not_applied(child, plant):
    ended = child.train(plant(Case(0, "", "")), UNBOUND, off=["updates"])
    run = child.folder / "run"
    error = ended.error()
    assert ended.code == 15 and "step 0, batch of " in error
    assert "the update of params/" in error and "is not finite; the update was not applied" in error
    assert f"its batch is in {run / 'non_finite-0.npz'}" in error
    with np.load(run / "non_finite-0.npz", allow_pickle=False) as kept:
        assert kept["inputs"].shape == (16, 64, 64, 3) and len(kept["stamp_id"]) == 16
        assert all(stamp in set(kept["stamp_id"]) for stamp in _stamps(error))
    assert not list(run.glob("checkpoints/[0-9]*"))


def _stamps(error: str) -> list[str]:
    """The stamp ids of a message."""
    return error.split("batch of ")[1].split(", ...")[0].split(", ")


@pytest.mark.proves("N1")
@pytest.mark.proves("N3")
@pytest.mark.parametrize("rate", [UNBOUND, DIVERGES[0]])
def test_preflight_refuses_both(child, plant, rate):
    ended = child.train(plant(Case(0, "", "")), rate)
    assert ended.code == 15 and "preflight failed" in ended.error()
    assert "--config.optimizer.learning_rate" in ended.error()


@pytest.mark.proves("N3")
def test_training_that_diverges_stops(child, plant):
    ended = child.train(plant(Case(0, "", "")), *DIVERGES, off=["updates"])
    assert ended.code == 15 and "training diverged: mean loss" in ended.error()
    assert "over 10 x its median " in ended.error() and "--fresh" in ended.error()


@pytest.mark.harm("N3")
def test_without_the_guards_it_is_trained_to_the_end(child, plant):
    ended = child.train(plant(Case(0, "", "")), *DIVERGES, off=["updates", "divergence"])
    assert ended.code in (20, 22)  # judged, hours later: numbers beyond all bounds
    last = json.loads((child.folder / "run/metrics.jsonl").read_text().splitlines()[-1])
    assert last["epoch"] == 2 and last["train_loss"] > 100
