"""From a StampSet to batches on the device: inputs preprocessed once, batches computed by step.

The arrays of a split lie on the device (preprocessing commutes with the dihedral group, so it is
done once); a batch is a handful of row numbers. Batch s is computed from (seed, s), not iterated
to: nothing but the step needs saving.

    feed = TrainFeed(stamps, in_manifest, mesh, seed=42, batch_size=128, ...)
    state, loss = train_step(state, feed.source, feed.batch(step, learning_rate=1e-4))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lensjax import schema
from lensjax.data.order import batch_rows, epoch_order
from lensjax.data.stampset import StampSet, aligned_empty
from lensjax.progress import progress_bar
from lensjax.schema import ExitCode, LensjaxError
from lensjax.training import augment
from lensjax.training import model as resnet
from lensjax.training.preprocess import is_sound, preprocess
from lensjax.training.step import Batch, Source

CHUNK = 256  # stamps a call of preprocessing or evaluation on a CPU
CHUNK_ACCELERATOR = 2048
PREPROCESS = jax.jit(preprocess, static_argnames=("name", "clip"))
IS_SOUND = jax.jit(is_sound)
FILL = jax.jit(augment.core_fill)


def data_mesh(batch_size: int) -> Mesh:
    """All devices along the axis 'data'.

    Raises:
        LensjaxError: exit 2 when the batch does not divide over them.
    """
    devices = jax.devices()
    if batch_size % len(devices):
        raise LensjaxError(
            ExitCode.USAGE,
            f"batch_size {batch_size} does not divide over {len(devices)} devices",
            where="--config.batch_size",
            remedy=f"Use a multiple of {len(devices)}",
        )
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def chunk_size() -> int:
    """Stamps a call, by backend."""
    return CHUNK if jax.default_backend() == "cpu" else CHUNK_ACCELERATOR


def in_chunks(function, *arrays: np.ndarray, progress=None) -> Any:
    """`function` over the leading axis in padded chunks of one size: one compilation, all rows, and
    no second copy of the result."""
    size, total = chunk_size(), len(arrays[0])
    whole: Any = None
    for start in range(0, total, size):
        rows = slice(start, min(start + size, total))
        n = rows.stop - start
        part = function(*(_padded(np.asarray(array[rows]), size) for array in arrays))
        if whole is None:
            whole = jax.tree.map(lambda x: aligned_empty((total, *x.shape[1:]), x.dtype), part)
        for into, piece in zip(jax.tree.leaves(whole), jax.tree.leaves(part), strict=True):
            into[rows] = np.asarray(piece)[:n]
        if progress is not None:
            progress.update(n)
    return whole


def _padded(array: np.ndarray, size: int) -> np.ndarray:
    """`array` with its first row repeated up to `size` rows."""
    missing = size - len(array)
    return np.concatenate([array, np.repeat(array[:1], missing, axis=0)]) if missing else array


def model_inputs(stamps: np.ndarray, *, name: str, clip: float, progress=None) -> np.ndarray:
    """Preprocessed stamps, float32 [n, 64, 64, 3], in sky sigmas.

    Raises:
        LensjaxError: exit 10 for a band that is not finite, or whose outer annulus has a MAD below
            schema.MIN_MAD_OF_RANGE of its range. Data checks say so before; here it cannot pass
            whatever the way.
    """

    def prepared(x):
        return PREPROCESS(x, name=name, clip=clip), IS_SOUND(x)

    inputs, sound = in_chunks(prepared, stamps, progress=progress)
    if not sound.all():
        (row, band), limit = np.argwhere(~sound)[0], schema.MIN_MAD_OF_RANGE
        raise LensjaxError(
            ExitCode.DATA_INVALID,
            f"not finite, or a MAD of the outer annulus below {limit:g} of the range",
            where=f"stamp {row}, band {schema.BANDS[band]}",
            remedy="Run the data checks: python phase0/run_all.py",
        )
    return inputs


def partners(table: dict[str, np.ndarray]) -> np.ndarray:
    """Row of the pair's other member, int32 [n]; -1 where there is none."""
    partner = np.full(len(table["pair_id"]), -1, np.int32)
    order = np.argsort(table["pair_id"], kind="stable")
    same = table["pair_id"][order[1:]] == table["pair_id"][order[:-1]]
    first, second = order[:-1][same], order[1:][same]
    partner[first], partner[second] = second, first
    return partner


class Predictor:
    """Logits of any number of inputs, with the batch statistics as they are."""

    def __init__(self, model: resnet.ResNet18):
        self._forward = jax.jit(lambda variables, x: resnet.apply_eval(model, variables, x))

    def __call__(
        self,
        variables: resnet.Variables,
        inputs: np.ndarray,
        *more: np.ndarray,
        change: Callable[..., jax.Array] = lambda x: x,
        progress=None,
    ) -> np.ndarray:
        """inputs float32 [n, 64, 64, 3] -> logits float32 [n].

        change: what is done to each chunk of the inputs (and of `more`) before the model sees it.
        """

        def logits(*chunk):
            return self._forward(variables, change(*chunk))

        return in_chunks(logits, inputs, *more, progress=progress)


class TrainFeed:
    """The training rows of a set: arrays on the device, and the batch of any step."""

    def __init__(
        self,
        stamps: StampSet,
        in_manifest: np.ndarray,
        mesh: Mesh,
        *,
        seed: int,
        batch_size: int,
        name: str,
        clip: float,
        hard_negatives: bool,
        progress=None,
    ):
        keep = np.ones(len(in_manifest), bool) if hard_negatives else in_manifest
        kept = np.flatnonzero(keep)
        raw = stamps.stamps if keep.all() else stamps.stamps[kept]
        inputs = model_inputs(raw, name=name, clip=clip, progress=progress)
        self.rows = np.flatnonzero(in_manifest[kept]).astype(np.int32)
        labels = stamps.table["label"][kept]
        self.labels = labels[self.rows]
        self.ids = stamps.table["stamp_id"][kept]
        self.seed, self.batch_size, self.mesh = seed, batch_size, mesh
        with progress_bar(desc="core fills", total=len(inputs), unit="stamp") as bar:
            median, sigma = in_chunks(FILL, inputs, progress=bar)
        source = {
            "inputs": inputs,  # aligned: on a CPU the device takes it as it is, without a copy
            "labels": labels,
            "ids": kept.astype(np.int32),
            "fill_median": median,
            "fill_sigma": sigma,
        }
        if hard_negatives:
            source |= {"stamps": raw, "partner": partners(stamps.table)}
        self.source: Source = jax.device_put(source, replicated(mesh))

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, step: int, learning_rate: float, augmented: bool = True) -> Batch:
        """Batch `step` of the run, its rows divided over the mesh."""
        rows, epochs = batch_rows(self.seed, step, self.batch_size, self.labels)
        return self.device_batch(self.rows[rows], epochs, learning_rate, augmented)

    def device_batch(self, rows, epochs, learning_rate: float, augmented: bool) -> Batch:
        """Row numbers and epochs (int32 [b]) as a batch on the mesh."""
        divided = NamedSharding(self.mesh, PartitionSpec("data"))
        batch = {
            "rows": np.asarray(rows, np.int32),
            "epochs": np.asarray(epochs, np.int32),
        }
        scalars = {"learning_rate": np.float32(learning_rate), "augment": np.float32(augmented)}
        return jax.device_put(batch, divided) | jax.device_put(scalars, replicated(self.mesh))

    def stamp_ids(self, step: int) -> list[str]:
        """The stamps of batch `step`, for a message."""
        rows, _ = batch_rows(self.seed, step, self.batch_size, self.labels)
        return [str(name) for name in self.ids[self.rows[rows]]]

    def probe(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """A fixed sample of at most `size` rows, both classes as in the whole: inputs and labels,
        unaugmented."""
        pick = np.sort(epoch_order(self.seed, 0, self.labels)[:size])
        return np.asarray(self.source["inputs"][self.rows[pick]]), self.labels[pick]


def binary_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean binary cross-entropy of logits [n] against labels [n], nats."""
    values = jnp.asarray(logits, jnp.float32)
    signed = jnp.where(jnp.asarray(labels) == 1, values, -values)
    return float(jnp.mean(jax.nn.softplus(-signed)))
