"""Checkpoints: Orbax on disk, with the manifest that makes a step trustworthy.

Not a format of our own: arrays and JSON are Orbax's, pickles there are none. The state is stored as
plain numpy arrays, so that it can be restored on any number of devices. A step exists once its
manifest does (`stepmanifest`). Kept: the latest two and the best; on a full disk the latest and the
best. The caller holds the workdir's lock: nothing here is safe beside a second writer.

    checkpoints = Checkpoints(workdir.checkpoints)
    step = checkpoints.latest()                         # verified, bad ones set aside; None: fresh
    if step is not None:
        state, meta = checkpoints.restore(step, state)
    checkpoints.save(40, state, {"step": 40, "epoch": 1}, metric=0.97)  # in the background
    checkpoints.check()                                 # raises what failed there
    checkpoints.wait()
"""

from __future__ import annotations

import concurrent.futures
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from lensjax.runs import stepfolders, stepmanifest
from lensjax.runs.files import is_full, refusal, sync_folder, sync_tree
from lensjax.runs.stepfolders import StepFolders
from lensjax.schema import ExitCode, LensjaxError

KEEP_LATEST = 2
Tree = Mapping[str, Any]  # nested dicts of arrays


class Checkpoints:
    """The checkpoints of one run in `directory`; opening it clears what a kill left half done.

    `best_mode` says which metrics are better: "max" or "min"; of equals the earliest is best.
    """

    def __init__(self, directory: Path, best_mode: Literal["max", "min"] = "max"):
        self.directory = Path(directory).absolute()
        self._folders = StepFolders(self.directory)
        self._better = 1.0 if best_mode == "max" else -1.0
        self._saving: concurrent.futures.Future[int] | None = None
        self.last_good: int | None = None  # newest step verified or saved by this object
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._folders.clear_unfinished()
        except OSError as error:
            raise refusal(error, str(self.directory)) or error from None
        self._manager = self._open(best_mode)
        # One thread does all writing, in order: Orbax itself is not thread-safe.
        self._writer = concurrent.futures.ThreadPoolExecutor(1, "checkpoint")

    def _open(self, best_mode: str) -> ocp.CheckpointManager:
        """Orbax's manager. It reads the metrics of every step, and one damaged file stops it: such
        steps are set aside first, and if there are none it is not that."""
        try:
            return _manager(self.directory, best_mode)
        except Exception:
            if not self._folders.set_bad_aside():
                raise
            return _manager(self.directory, best_mode)

    # -- saving -----------------------------------------------------------------------------
    def save(self, step: int, state: Tree, meta: Mapping[str, Any], metric: float | None) -> None:
        """Copy `state` and `meta` now, write them in the background.

        state: nested dicts of arrays, after `step` steps. meta: what JSON can hold.
        metric: of this step, which decides the best one; None: not measured here.

        Raises:
            LensjaxError: exit 15 if the state or the metric is not finite (nothing is written);
                exit 16 if the save before failed on a full or forbidden disk.
        """
        self.wait()
        leaves = _on_host(state)
        _refuse_non_finite(step, leaves, metric)
        text = json.dumps(meta)
        self._saving = self._writer.submit(self._write_or_undo, step, leaves, text, metric)

    def check(self) -> None:
        """Raise what failed in the background, if anything did. Waits for nothing.

        Raises:
            LensjaxError: exit 16 on a full or forbidden disk; the steps before are kept.
        """
        if self._saving is not None and self._saving.done():
            self.wait()

    def wait(self) -> None:
        """Wait until nothing is being saved; raises as `check` does."""
        saving, self._saving = self._saving, None
        if saving is None:
            return
        try:
            self.last_good = saving.result()
        except Exception as error:
            raise refusal(error, str(self.directory)) or error from error

    def close(self) -> None:
        """Wait, and let go of the threads; raises as `check` does."""
        try:
            self.wait()
        finally:
            self._writer.shutdown()
            self._manager.close()

    def _write_or_undo(
        self, step: int, leaves: dict[str, np.ndarray], text: str, metric: float | None
    ) -> int:
        """`_write`; if that fails, nothing of it is left, and the steps before are all there.

        On a full disk it is tried again without the steps that the run can do without.
        """
        while True:
            try:
                self._write(step, leaves, text, metric)
                return step
            except Exception as error:
                self._folders.clear_unfinished()
                pruned = is_full(error) and self._folders.prune()  # each time fewer: it ends
                self._manager.reload()
                if not pruned:
                    raise

    def _write(
        self, step: int, leaves: dict[str, np.ndarray], text: str, metric: float | None
    ) -> None:
        """Intent, Orbax's commit, manifest: in the writer's thread."""
        best = self._best_with(step, metric)
        self._folders.begin(step)
        self._manager.save(
            step,
            args=ocp.args.Composite(
                arrays=ocp.args.StandardSave(_nested(leaves)),
                meta=ocp.args.JsonSave(json.loads(text)),
            ),
            metrics=None if metric is None else {"metric": float(metric), "step": step},
            force=True,
        )
        folder = self._folders.folder(step)
        sync_tree(folder)
        sync_folder(self.directory)
        manifest = stepmanifest.describe(
            folder,
            step=step,
            leaves=leaves,
            metric=None if metric is None else float(metric),
            best_step=best[0],
            best_metric=best[1],
        )
        stepmanifest.write(folder, manifest)
        self._folders.end()

    def _best_with(self, step: int, metric: float | None) -> tuple[int | None, float | None]:
        """Best step and its metric after `step`, of all steps the run has had."""
        best = self._best_before(step)
        if metric is None:
            return best
        if best[1] is None or self._better * metric > self._better * best[1]:
            return step, float(metric)
        return best

    def _best_before(self, step: int | None) -> tuple[int | None, float | None]:
        """The same before `step`, or ever: the newest manifest knows."""
        steps = [s for s in self._folders.listed() if step is None or s < step]
        if not steps:
            return None, None
        manifest = stepmanifest.read(self._folders.folder(steps[-1]))
        return manifest["best_step"], manifest["best_metric"]

    # -- what there is ----------------------------------------------------------------------
    def latest(self) -> int | None:
        """The newest step whose every file is as it was saved; None if nothing was ever saved.

        Newer ones that are not are moved to bad/, with a warning and the cause.

        Raises:
            LensjaxError: exit 14 if there are steps and none is good; each is named with its cause.
        """
        self.wait()
        step, causes = self._folders.newest_good()
        if causes:
            self._manager.reload()
        if step is None and causes:
            raise LensjaxError(
                ExitCode.NO_CHECKPOINT,
                f"no checkpoint can be trusted ({'; '.join(causes)})",
                str(self.directory),
                f"They are kept in {stepfolders.BAD}/. Start over with --fresh",
            )
        self.last_good = step
        return step

    @property
    def best_step(self) -> int | None:
        """The step of the best metric so far, by the newest manifest; None if none was measured."""
        self.wait()
        return self._best_before(None)[0]

    # -- restoring --------------------------------------------------------------------------
    def restore(
        self, step: int, template: Tree, shardings: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """State and meta of exactly `step`, verified.

        template: arrays or shapes of the state's form. shardings: one jax sharding for all leaves,
        or a tree of them; None: the default device.

        Raises:
            LensjaxError: exit 12 if the state has another form (names the first leaf); exit 14 if
                the step is missing or not as it was saved.
        """
        self.wait()
        folder = self._folders.folder(step)
        manifest = self._trusted(step)
        form = stepmanifest.flat(template)
        different = stepmanifest.first_difference(manifest, form)
        if different:
            raise LensjaxError(
                ExitCode.MISMATCH,
                f"the checkpoint's state has another form: {different}",
                str(folder),
                "Restore with the config and code that saved it, or start over with --fresh",
            )
        leaves, meta = self._read(step)
        if stepmanifest.state_digest(leaves) != manifest["state_sha256"]:
            raise _untrusted(folder, "the state read differs from its SHA-256")
        state = stepmanifest.like(template, leaves)
        if shardings is None:
            return jax.tree.map(jax.numpy.array, state), meta
        return jax.device_put(state, shardings), meta

    def _trusted(self, step: int) -> dict[str, Any]:
        folder = self._folders.folder(step)
        cause = stepmanifest.fault(folder) if folder.is_dir() else "there is no such step"
        if cause is not None:
            raise _untrusted(folder, cause)
        return stepmanifest.read(folder)

    def _read(self, step: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        try:
            found = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    arrays=ocp.args.StandardRestore(), meta=ocp.args.JsonRestore()
                ),
            )
        except Exception as error:
            raise refusal(error, str(self._folders.folder(step))) or _untrusted(
                self._folders.folder(step), f"Orbax cannot read it: {error}"
            ) from error
        return stepmanifest.flat(found["arrays"]), found["meta"]


def _manager(directory: Path, best_mode: str) -> ocp.CheckpointManager:
    """Orbax's manager: latest two and best. The policy alone writes no metrics, `best_fn` alone
    deletes the newest steps: both are needed (seen with orbax-checkpoint 0.12.8)."""
    sign = 1 if best_mode == "min" else -1

    def rank(metrics: Any) -> Any:  # of equal metrics, the earliest step
        return metrics["metric"], sign * metrics["step"]

    best = policies.BestN(
        get_metric_fn=rank,
        reverse=best_mode == "min",
        n=1,
        keep_checkpoints_without_metrics=False,
    )
    return ocp.CheckpointManager(
        directory,
        options=ocp.CheckpointManagerOptions(
            enable_async_checkpointing=False,
            best_fn=rank,
            best_mode=best_mode,
            preservation_policy=policies.AnyPreservationPolicy(
                [policies.LatestN(KEEP_LATEST), best]
            ),
            todelete_subdir=stepfolders.DELETING,
        ),
        item_handlers={
            "arrays": ocp.StandardCheckpointHandler(),
            "meta": ocp.JsonCheckpointHandler(),
        },
    )


def _on_host(state: Tree) -> dict[str, np.ndarray]:
    """The leaves of `state` by path, copied: the next step may donate the originals."""
    leaves = jax.device_get(stepmanifest.flat(state))
    return {path: np.array(leaf, order="C", copy=True) for path, leaf in leaves.items()}


def _nested(leaves: Mapping[str, np.ndarray]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


def _refuse_non_finite(step: int, leaves: Mapping[str, np.ndarray], metric: float | None) -> None:
    bad = stepmanifest.first_non_finite(leaves)
    if bad is None and metric is not None and not math.isfinite(metric):
        bad = f"the metric ({metric})"
    if bad is not None:
        raise LensjaxError(
            ExitCode.NON_FINITE,
            f"{bad} is not finite; not saved",
            f"checkpoint of step {step}",
            "Check data validation, reduce the learning rate; the last good step is kept",
        )


def _untrusted(folder: Path, cause: str) -> LensjaxError:
    return LensjaxError(
        ExitCode.NO_CHECKPOINT,
        f"the checkpoint cannot be trusted: {cause}",
        str(folder),
        "Run again from an earlier step, or start over with --fresh",
    )
