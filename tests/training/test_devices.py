"""One device and eight: the same batches, the same numbers to 2e-5."""

import os
import subprocess
import sys

SCRIPT = """
import jax, numpy as np
from jax.sharding import AxisType
from tests.training.conftest import SHAPE, make_recipe, make_set
from lensjax.training import model as resnet
from lensjax.training.feed import TrainFeed, replicated
from lensjax.training.step import init_state, make_train_step

assert len(jax.devices()) == 8
data = make_set("train", pairs=12, lookalikes=2)
model = resnet.ResNet18(2, 3.0, "patches", stages=(1, 1))
recipe = make_recipe(ema_decay=0.0, preprocessing="raw_robust")
ends = []
for devices in (1, 8):
    mesh = jax.make_mesh((devices,), ("data",), (AxisType.Auto,), devices=jax.devices()[:devices])
    feed = TrainFeed(
        data, np.ones(len(data), bool), mesh, seed=7, batch_size=16, hard_negatives=True, **SHAPE
    )
    train_step = make_train_step(model, recipe)
    state = jax.device_put(init_state(model, recipe), replicated(mesh))
    for step in range(4):
        batch = feed.batch(step, 1e-3)
        assert len(batch["rows"].sharding.device_set) == devices
        state, loss = train_step(state, feed.source, batch)
    assert train_step._cache_size() == 1  # its outputs are placed as its inputs were
    ends.append((jax.device_get({k: state[k] for k in ("params", "batch_stats")}), float(loss)))
far = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), *ends)
worst = max(jax.tree.leaves(far))
print("largest difference", worst)
assert worst < 2e-5, far
"""


def test_eight_devices_train_as_one():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ
        | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
        cwd=os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
    )
    assert done.returncode == 0, done.stdout + done.stderr
