"""Evaluation: every stamp of val and test through the model, written as arrays. Judges nothing.

`eval/{val,test}.npz` hold both members of every pair and all look-alikes; `in_manifest` marks the
rows of the run's own manifest. docs/formats.md has every array with shape and unit.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lensjax import schema
from lensjax.data.stampset import StampSet
from lensjax.runs.files import write_bytes
from lensjax.runs.signals import StopRequest
from lensjax.training import augment, features, hard_negatives
from lensjax.training import model as resnet
from lensjax.training.feed import FILL, Predictor, in_chunks, model_inputs, partners
from lensjax.training.preprocess import radial_profile

EXAMPLES = 12  # stamps of each group on the report's contact sheets
Arrays = dict[str, np.ndarray]


def evaluate_split(
    stamps: StampSet,
    in_manifest: np.ndarray,
    *,
    predict: Predictor,
    variables: resnet.Variables,
    name: str,
    clip: float,
    seed: int,
    progress: Any = None,
    stop: StopRequest | None = None,
) -> tuple[Arrays, np.ndarray]:
    """All arrays of one split, each of length n in the set's order, and the model's inputs.

    progress: its `update` is called with stamps done, `passes` in all.

    Raises:
        LensjaxError: exit 75 once `stop` is requested, at the end of a chunk.
    """
    bar = Watched(progress, stop)
    inputs = model_inputs(stamps.stamps, name=name, clip=clip, progress=bar)
    median, _ = in_chunks(FILL, inputs, progress=bar)
    run = functools.partial(predict, variables)
    arrays: Arrays = {key: stamps.table[key] for key in schema.EVAL_TABLE_COLUMNS}
    arrays["in_manifest"] = in_manifest
    masks = [functools.partial(_MASK_CORE, radius=np.float32(r)) for r in schema.MASK_RADII]
    masked = [run(inputs, median, change=mask, progress=bar) for mask in masks]
    arrays["logit"] = masked[0]
    arrays["logit_core_masked"] = np.stack(masked, axis=1)
    arrays["logit_core_only"] = run(inputs, median, change=_CORE_ONLY, progress=bar)
    arrays |= _pair_arrays(stamps, run, bar, name=name, clip=clip, seed=seed)
    arrays |= _feature_arrays(stamps.stamps, inputs, bar)
    return arrays, inputs


def score_stamps(
    raw: np.ndarray,
    *,
    predict: Predictor,
    variables: resnet.Variables,
    name: str,
    clip: float,
    progress: Any = None,
    stop: StopRequest | None = None,
) -> np.ndarray:
    """Logits float32 [n] of stamps of no split, raw float32 [n, 64, 64, 3], to the bit as
    `evaluate_split` computes `logit`. progress: as there, `SCORE_PASSES` for each stamp.

    Raises:
        LensjaxError: exit 75 once `stop` is requested, at the end of a chunk.
    """
    bar = Watched(progress, stop)
    inputs = model_inputs(raw, name=name, clip=clip, progress=bar)
    return predict(variables, inputs, progress=bar)


class Watched:
    """A progress bar (or none) at whose every update a request to stop is looked for."""

    def __init__(self, bar: Any, stop: StopRequest | None):
        self.bar, self.stop = bar, stop

    def update(self, n: int) -> None:
        if self.bar is not None:
            self.bar.update(n)
        if self.stop is not None:
            self.stop.raise_if_requested("evaluation")

    def expect(self, n: int) -> None:
        """There are `n` more to be worked on than the bar was told."""
        if self.bar is not None:
            self.bar.total += n


_MASK_CORE = jax.jit(augment.mask_core)
_CORE_ONLY = jax.jit(augment.keep_core_only)
_PROFILE = jax.jit(radial_profile)
_OUTSKIRTS = jax.jit(features.outskirts)
_NOISE = jax.jit(features.noise_sigma)
_HIGH_FREQUENCY = jax.jit(features.high_frequency_core)
_AUDIT = jax.jit(features.hard_negative_audit)
_SNR_OUTSIDE = jax.jit(features.arc_snr_outside)


FEATURE_PASSES = 4  # of `_feature_arrays`
SCORE_PASSES = 2  # of `score_stamps`: as input, and by the model


def passes(table: Arrays) -> int:
    """Stamps that `evaluate_split` works on: each as input, as fill, whole, masked, as core alone
    and for its features, and every pair's hard negative."""
    pairs = int((partners(table) >= 0).sum()) // 2
    return len(table["label"]) * (2 + len(schema.MASK_RADII) + 1 + FEATURE_PASSES) + pairs


def _feature_arrays(raw: np.ndarray, inputs: np.ndarray, bar: Watched) -> Arrays:
    """What probes need of every stamp, from raw pixels and from the model's inputs."""
    measure = functools.partial(in_chunks, progress=bar)
    return {
        "core_box": features.core_box(inputs).copy(),  # a view would keep all of the inputs
        "core_box_raw": features.core_box(raw).copy(),
        "radial_profile": measure(_PROFILE, raw),
        "outskirts": measure(_OUTSKIRTS, raw),
        "noise_sigma": measure(_NOISE, raw),
        "high_frequency_core": measure(_HIGH_FREQUENCY, inputs),
    }


def _pair_arrays(
    stamps: StampSet,
    run: Callable[[np.ndarray], np.ndarray],
    bar: Watched,
    *,
    name: str,
    clip: float,
    seed: int,
) -> Arrays:
    """What a pair has and a single stamp has not; NaN where there is no pair, or no arc.

    Chunk by chunk, so that the pairs' stamps and hard negatives never lie in memory a second time.
    """
    n, table, raw = len(stamps), stamps.table, stamps.stamps
    partner = partners(table)
    lens = np.flatnonzero((table["label"] == 1) & (partner >= 0)).astype(np.int32)
    control = partner[lens]
    arrays = {
        "logit_hard_negative": np.full(n, np.nan, np.float32),
        "hard_negative_audit": np.full((n, 4), np.nan, np.float32),
        "arc_snr_outside": np.full((n, len(schema.MASK_RADII)), np.nan, np.float32),
    }
    if len(lens) == 0:
        return arrays
    key = jax.random.key(seed)

    def judged(rows, control_rows, theta_e, snr):
        stamp, other = raw[rows], raw[control_rows]
        hard = np.asarray(_hard_negative(key, stamp, other, rows))
        logits = run(model_inputs(hard, name=name, clip=clip))
        return logits, _AUDIT(stamp, hard, theta_e), _SNR_OUTSIDE(stamp, other, snr)

    columns = (table[column][lens] for column in ("theta_e_arcsec", "arc_snr"))
    logits, audit, outside = in_chunks(judged, lens, control, *columns, progress=bar)
    arrays["logit_hard_negative"][lens] = logits
    arrays["logit_hard_negative"][control] = logits
    arrays["hard_negative_audit"][lens] = audit
    arrays["arc_snr_outside"][lens] = outside
    return arrays


@jax.jit
def _hard_negative(
    key: jax.Array, stamp: jax.Array, control: jax.Array, row: jax.Array
) -> jax.Array:
    """Control plus shuffled arc; the shuffle is a function of (seed, row)."""
    keys = augment.stamp_keys(key, jax.numpy.zeros_like(row), row)
    return hard_negatives.hard_negative(keys, stamp, control)


def example_rows(arrays: Arrays) -> dict[str, np.ndarray]:
    """Rows of the manifest for the contact sheets: most confident right and wrong of each class."""
    rows = np.flatnonzero(arrays["in_manifest"])
    order = rows[np.argsort(arrays["logit"][rows], kind="stable")]
    lens = order[arrays["label"][order] == 1]
    other = order[arrays["label"][order] == 0]
    return {
        "confident_lens": lens[::-1][:EXAMPLES],
        "missed_lens": lens[:EXAMPLES],
        "false_alarm": other[::-1][:EXAMPLES],
        "confident_negative": other[:EXAMPLES],
    }


def examples(arrays: Arrays, raw: np.ndarray, inputs: np.ndarray) -> Arrays:
    """eval/examples.npz: a few stamps to look at, raw (nanomaggies) and as the model sees them."""
    groups = example_rows(arrays)
    rows = np.concatenate(list(groups.values()))
    names = np.concatenate([np.full(len(r), group, "U32") for group, r in groups.items()])
    columns = ("stamp_id", "label", "logit", "theta_e_arcsec", "arc_snr", "negative_kind")
    chosen = {key: arrays[key][rows] for key in columns}
    return chosen | {"group": names, "stamps": raw[rows], "inputs": inputs[rows]}


def save_arrays(path: Path, arrays: Arrays) -> str:
    """Write an npz whose bytes depend on the arrays alone (no time stamps); returns its SHA-256."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for key in sorted(arrays):
            entry = zipfile.ZipInfo(f"{key}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(
                    file, np.ascontiguousarray(arrays[key]), allow_pickle=False
                )
    write_bytes(path, buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def manifest_bytes(manifest: dict[str, Any]) -> bytes:
    """eval/manifest.json, written last: arrays without it are no evaluation."""
    return (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode()


def model_digest(variables: resnet.Variables) -> str:
    """SHA-256 over the evaluated weights and batch statistics, by name."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()
