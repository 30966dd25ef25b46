"""From a config to what trains; and `deterministic` reaches the compiler."""

import os
import subprocess
import sys

import numpy as np
import pytest

from lensjax import configuration
from lensjax.training.setup import DETERMINISTIC, make_trainer

DUMP = """
import os, sys
os.environ["XLA_FLAGS"] = f"--xla_dump_to={sys.argv[1]}"
from lensjax.training.setup import ask_for_determinism
import lensjax.job  # importing all that a run imports must not start a device
if sys.argv[2] == "on":
    ask_for_determinism()
    ask_for_determinism()
import jax
jax.jit(lambda x: x + 1)(1.0)
print(os.environ["XLA_FLAGS"])
"""


@pytest.mark.parametrize("asked", ["on", "off"])
def test_xla_is_told_before_the_first_device(tmp_path, asked):
    done = subprocess.run(
        [sys.executable, "-c", DUMP, str(tmp_path), asked],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=120,
        cwd=configuration.ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(DETERMINISTIC) == (asked == "on")
    told = [path.read_text() for path in tmp_path.glob("*debug_options*")]
    assert told and all(("xla_gpu_deterministic_ops: true" in t) == (asked == "on") for t in told)


def test_a_trainer_is_what_its_config_says():
    config = configuration.load_config(
        "configs/baseline.py:tiny",
        [("optimizer.label_smoothing", "0.1"), ("checkpoint.every_steps", "7"), ("patience", "4")],
    )
    trainer = make_trainer(config)
    recipe, plan = trainer.recipe, trainer.plan
    assert (recipe.seed, recipe.dihedral, recipe.hard_negative_fraction) == (42, True, 0.4)
    assert (recipe.preprocessing, recipe.clip, recipe.label_smoothing) == ("raw_robust", 100.0, 0.1)
    np.testing.assert_allclose(recipe.dropout_probability, [0.5, 0.5])
    assert (plan.epochs, plan.batch_size, plan.patience, plan.checkpoint_steps) == (2, 16, 4, 7)
    assert (plan.peak, plan.final, trainer.model.width) == (2e-3, 1e-6, 4)
