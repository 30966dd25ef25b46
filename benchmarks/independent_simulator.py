"""A run's model on stamps that it was not made for: AUROC there against AUROC on its own test set.

The question is whether the simulator's own artefacts were learnt. The stamps come from a user's
Parquet root (its test split), best from a simulator that shares no code with lensjax; the run's own
test rows are its lenses and controls, look-alikes left out, since the other set has none.

    python benchmarks/independent_simulator.py --workdir=runs/demo --root=DIR
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lensjax.data.source import open_source
from lensjax.gates.statistics import auroc_interval
from lensjax.runs.checkpoints import Checkpoints
from lensjax.runs.workdir import Workdir, open_workdir
from lensjax.training.feed import model_inputs
from lensjax.training.setup import make_trainer
from lensjax.training.step import evaluated_variables, init_state


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--root", required=True, help="Parquet stamps of another simulator")
    flags = parser.parse_args()
    with open_workdir(flags.workdir) as workdir:  # no second writer while this reads
        return compare(workdir, flags.root)


def compare(workdir: Workdir, root: str) -> int:
    """Restore the best checkpoint, score, print both AUROCs and their difference."""
    config = ConfigDict(json.loads(workdir.config.read_text()))
    config.data.update({"source": "parquet", "root": root})
    trainer = make_trainer(config)
    checkpoints = Checkpoints(workdir.checkpoints)
    step = json.loads(workdir.eval_manifest.read_text())["checkpoint_step"]
    state, _ = checkpoints.restore(step, init_state(trainer.model, trainer.recipe))
    checkpoints.close()
    shape = {"name": config.preprocessing.name, "clip": config.preprocessing.clip}
    other = open_source(config.data, config.population).read("test", None)
    logits = trainer.predict(evaluated_variables(state), model_inputs(other.stamps, **shape))
    there = auroc_interval(logits, other.table["label"], other.table["brick"])
    with np.load(workdir.eval_arrays("test"), allow_pickle=False) as own:
        rows = own["in_manifest"] & np.isin(own["negative_kind"], ("", "control"))
        here = auroc_interval(own["logit"][rows], own["label"][rows], own["brick"][rows])
    for name, n, found in (("own test", rows.sum(), here), ("other simulator", len(other), there)):
        print(f"{name}: n {n}, AUROC {found.value:.3f} [{found.low:.3f}, {found.high:.3f}]")
    print(f"difference {there.value - here.value:+.3f} on {jax.default_backend()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
