"""What was not finite in the step that was refused: the leaf, the stamps, and the batch to keep.

Not the guard: that is in the step, which applies nothing that is not finite and then stands still.
So the state is still the one before that step, and the step can be done once more, in the open:
its cost is one compilation after the fact, and nothing before.

    raise refused(state, 41, examine=trainer.examine, feed=feed, rate=1e-4, folder=workdir.path)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lensjax.runs.files import refusal
from lensjax.runs.stepmanifest import flat
from lensjax.schema import ExitCode, LensjaxError
from lensjax.training import flags
from lensjax.training.evaluate import save_arrays
from lensjax.training.feed import TrainFeed
from lensjax.training.step import Examine, State

NAMED = 5  # stamps in the message
KEPT = 256  # stamps of a batch in the file: 12.6 MB
AGAIN = "a value (finite when computed once more: a fault of the device?)"


def refused(
    state: State, step: int, *, examine: Examine, feed: TrainFeed, rate: float, folder: Path
) -> LensjaxError:
    """The exit-15 error of `step`, whose update was not applied to `state`; keeps its batch.

    rate: the learning rate of that step. Writes `folder`/non_finite-STEP.npz.
    """
    made = jax.device_get(examine(state, feed.source, feed.batch(step, rate)))
    ids = np.array(feed.stamp_ids(step))
    bad = ~np.isfinite(made["inputs"]).all(axis=(1, 2, 3))
    stamps = ", ".join(ids[np.argsort(~bad, kind="stable")][:NAMED])
    what = f"{first_leaf(made)} is not finite; the update was not applied"
    if bad.any():
        what += f"; pixels of {bad.sum()} of its {len(bad)} stamps are not finite either"
    kept = _keep(folder / f"non_finite-{step}.npz", made, ids, bad)
    return LensjaxError(
        ExitCode.NON_FINITE,
        what,
        where=f"step {step}, batch of {stamps}, ...",
        remedy=f"{flags.NOT_FINITE}; the last good step is kept; {kept}",
    )


def first_leaf(made: Mapping[str, Any]) -> str:
    """The first thing in a step (as `make_examine` gives it, on the host) that is not finite: the
    loss, the gradient, its norm, then what they make of the state; leaves in order of paths."""
    new = made["new"]
    groups = {
        "loss": {"": made["loss"]},
        "the gradient of": flat({"params": made["gradient"]}),
        "the sum of": flat(new["sums"]),
        "the update of": flat({name: new[name] for name in ("params", "batch_stats")}),
    }
    for name, leaves in groups.items():
        bad = [path for path, leaf in leaves.items() if not np.isfinite(leaf).all()]
        if bad:
            counted = f" ({len(bad)} of {len(leaves)} leaves)" if len(leaves) > 1 else ""
            return f"{name} {bad[0]}".strip() + counted
    return AGAIN


def _keep(path: Path, made: Mapping[str, Any], ids: np.ndarray, bad: np.ndarray) -> str:
    """Write the batch; says where it is, or why not: a full disk does not hide what went wrong."""
    rows = np.sort(np.argsort(~bad, kind="stable")[:KEPT])
    arrays = {"inputs": made["inputs"][rows], "labels": made["labels"][rows], "stamp_id": ids[rows]}
    try:
        save_arrays(path, arrays)
    except OSError as error:
        known = refusal(error)
        return f"its batch could not be kept: {known.what if known else error.strerror or error}"
    return f"its batch is in {path}"
