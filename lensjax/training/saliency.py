"""Saliency: what in a stamp moves the model's logit, by annulus and band, and as maps of a few.

Three views of one model in evaluation mode, on its own input: the gradient, integrated gradients
(Sundararajan et al. 2017, arXiv:1703.01365) and occlusion by annulus. Where something is to be put
in a pixel's place it is the median of the input's outer annulus, as for a masked core. Judges
nothing, and draws nothing: docs/formats.md has every array of eval/saliency.npz.

    gradient = make_gradient(functools.partial(resnet.apply_eval, model))
    logits, maps = gradient(variables, inputs)
    annulus_sums(maps * inputs)  # [n, 45, 3], log-odds
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lensjax import schema
from lensjax.data.permute import permutation
from lensjax.progress import progress_bar
from lensjax.runs.signals import StopRequest
from lensjax.training import model as resnet
from lensjax.training.evaluate import Arrays, Watched, example_rows
from lensjax.training.feed import FILL, Predictor, chunk_size, in_chunks
from lensjax.training.preprocess import ANNULUS_OF_PIXEL

log = logging.getLogger(__name__)
Forward = Callable[[resnet.Variables, jax.Array], jax.Array]
Gradient = Callable[[resnet.Variables, Any], tuple[jax.Array, jax.Array]]

SAMPLE = 128  # stamps of each class: with the examples 22 CPU seconds (width 16)
STEPS = (16, 48, 144)  # of integrated gradients; each refines the one before
TOLERANCE = 0.05  # of the RMS logit change, for the RMS of what the parts miss of it;
ENOUGH = 0.1  # log-odds: or this, where the model says little of any stamp
COLUMNS = (
    "stamp_id",
    "brick",
    "label",
    "negative_kind",
    "in_manifest",
    "theta_e_arcsec",
    "logit",
)
_RINGS = schema.PROFILE_RINGS
_BY_ANNULUS = np.argsort(ANNULUS_OF_PIXEL.ravel(), kind="stable")
ANNULUS_PIXELS = np.bincount(ANNULUS_OF_PIXEL.ravel()).astype(np.int32)  # of k = 0..44
_FIRST = np.cumsum(ANNULUS_PIXELS) - ANNULUS_PIXELS


def make_gradient(forward: Forward) -> Gradient:
    """`gradient(variables, inputs) -> (logits, gradient)`, jitted.

    forward: variables and inputs float32 [n, 64, 64, 3] -> logits float32 [n], each of its own
    stamp alone. gradient: float32 [n, 64, 64, 3], log-odds a sky sigma.
    """

    def gradient(variables, inputs):
        logits, back = jax.vjp(lambda x: forward(variables, x), inputs)
        return logits, back(jnp.ones_like(logits))[0]

    return jax.jit(gradient)


@jax.jit
def on_path(inputs: jax.Array, median: jax.Array, place: jax.Array) -> jax.Array:
    """`place` (float32 [n]; 0: all fill, 1: the stamp) of the way from the stamp filled with
    `median` [n, 3] to the inputs [n, 64, 64, 3]."""
    fill = median[:, None, None, :]
    return fill + place[:, None, None, None] * (inputs - fill)


@jax.jit
def fill_annulus(inputs: jax.Array, median: jax.Array, annulus: jax.Array) -> jax.Array:
    """Inputs [n, 64, 64, 3] with k <= r < k + 1 filled with `median` [n, 3]; k: int32 [n]."""
    inside = jnp.asarray(ANNULUS_OF_PIXEL)[None] == annulus[:, None, None]
    return jnp.where(inside[..., None], median[:, None, None, :], inputs)


def annulus_sums(maps: np.ndarray) -> np.ndarray:
    """Sums over the annuli k <= r < k + 1, k = 0..44: [n, 64, 64, 3] -> float64 [n, 45, 3]."""
    pixels = np.asarray(maps).reshape(len(maps), -1, maps.shape[-1])[:, _BY_ANNULUS]
    return np.add.reduceat(pixels.astype(np.float64), _FIRST, axis=1)


def integrated_gradients(
    gradient: Gradient,
    variables: resnet.Variables,
    inputs: np.ndarray,
    median: np.ndarray,
    change: np.ndarray,
    progress: Watched,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Each pixel's part of the logit's change from the filled stamp to the inputs.

    inputs: float32 [n, 64, 64, 3]; median: float32 [n, 3], the fill; change: float32 [n], the
    logit of the inputs less that of the fill, which the parts of a stamp should add up to.

    The path is straight. Its midpoints u = (k + 1/2) / m lie at u^2 of the way: most happens near
    the fill, as the network takes the asinh of its input. m is 16, and three times as many (of
    which a third are known) while the parts miss more of the changes than is `allowed`.

    Returns:
        parts, float32 [n, 64, 64, 3], log-odds; what they miss, float64 [n]: their sum less
        `change`; and m.
    """
    total = np.zeros(inputs.shape, np.float32)
    towards = inputs - median[:, None, None, :]
    for steps in STEPS:
        new = np.ones(steps, bool)
        if steps > STEPS[0]:
            new[1::3] = False  # midpoints of the steps before
            progress.expect(int(new.sum()) * len(inputs))
        places = ((np.arange(steps, dtype=np.float32) + 0.5) / steps)[new]
        _add_gradients(total, gradient, variables, inputs, median, places, progress)
        parts = total / np.float32(steps) * towards
        missed = parts.sum((1, 2, 3), dtype=np.float64) - change
        if _rms(missed) <= allowed(change):
            break
    return parts, missed, steps


def allowed(change: np.ndarray) -> float:
    """RMS, log-odds, of what parts may miss of the logits' `change` [n]."""
    return max(TOLERANCE * _rms(change), ENOUGH)


def _add_gradients(
    total: np.ndarray,
    gradient: Gradient,
    variables: resnet.Variables,
    inputs: np.ndarray,
    median: np.ndarray,
    places: np.ndarray,
    progress: Watched,
) -> None:
    """Add to `total` [n, 64, 64, 3] 2 u times the gradient at u^2 of the way, for u in `places`.

    A chunk is of pairs (stamp, u), so that few stamps fill it too; its padding is left out.
    """
    size = chunk_size()
    rows = np.repeat(np.arange(len(inputs)), len(places))
    place = np.tile(places, len(inputs))
    for start in range(0, len(rows), size):
        row, u = rows[start : start + size], place[start : start + size]
        padding = (0, size - len(row))
        taken, at = np.pad(row, padding), np.pad(u, padding) ** 2
        _, slopes = gradient(variables, on_path(inputs[taken], median[taken], at))
        for r, weight, slope in zip(row, 2 * u, np.asarray(slopes)[: len(row)], strict=True):
            total[r] += weight * slope
        progress.update(len(row))


def occlusion(
    predict: Predictor,
    variables: resnet.Variables,
    inputs: np.ndarray,
    median: np.ndarray,
    logits: np.ndarray,
    progress: Watched,
) -> np.ndarray:
    """What the logit loses if an annulus k <= r < k + 1, k = 0..31, is filled with `median`.

    inputs: float32 [n, 64, 64, 3]; median: float32 [n, 3]; logits: float32 [n], of the inputs.
    Returns float32 [n, 32], log-odds: positive where the annulus speaks for a lens.
    """
    n = len(inputs)
    rows, annulus = np.repeat(np.arange(n), _RINGS), np.tile(np.arange(_RINGS, dtype=np.int32), n)

    def filled(row, k):
        return fill_annulus(inputs[row], median[row], k)

    without = predict(variables, rows, annulus, change=filled, progress=progress)
    return logits[:, None] - without.reshape(n, _RINGS)


def sample_rows(labels: np.ndarray, theta_e: np.ndarray, seed: int) -> np.ndarray:
    """At most `SAMPLE` rows of each class, in order: int64 [m], a function of the table and seed.

    labels: int [n]; theta_e: float [n], arcsec. As many lenses of each bin of theta_E
    (schema.THETA_E_BINS; one more below, above and where unknown) as there are; others as they
    come.
    """
    bins = np.where(labels == 1, np.digitize(theta_e, schema.THETA_E_BINS), 0)
    chosen = []
    for label in (0, 1):
        rows = np.flatnonzero(labels == label)
        rank = np.zeros(len(rows), np.int64)
        for number in np.unique(bins[rows]):
            mine = np.flatnonzero(bins[rows] == number)
            rank[mine] = permutation(len(mine), "saliency", seed, label, number)
        chosen.append(rows[np.lexsort((bins[rows], rank))[:SAMPLE]])
    return np.sort(np.concatenate(chosen))


def saliency_arrays(
    arrays: Arrays,
    inputs: np.ndarray,
    *,
    gradient: Gradient,
    predict: Predictor,
    variables: resnet.Variables,
    seed: int,
    stop: StopRequest | None = None,
) -> Arrays:
    """eval/saliency.npz: profiles of a sample of a split, and maps of its examples.

    arrays, inputs: of `evaluate_split`; gradient and predict: of the same model. The sample is of
    all rows, so that runs on one data root meet on the same stamps.

    Raises:
        LensjaxError: exit 75 once `stop` is requested, at the end of a chunk.
    """
    sample = sample_rows(arrays["label"], arrays["theta_e_arcsec"], seed)
    shown = np.concatenate(list(example_rows(arrays).values()))
    rows = np.union1d(sample, shown)
    total = len(rows) * (3 + STEPS[0] + _RINGS)  # fill, gradient, its path and end, occlusion
    with progress_bar(desc="saliency", total=total, unit="stamp") as bar:
        found = _measured(inputs[rows], gradient, predict, variables, Watched(bar, stop))
    told = {name: found.pop(name) for name in ("steps", "tolerance")}
    told["annulus_pixels"] = ANNULUS_PIXELS[:_RINGS]
    here = np.searchsorted(rows, sample)
    told |= {name: arrays[name][sample] for name in COLUMNS}
    told |= _profiles({name: values[here] for name, values in found.items()}, inputs[sample])
    here = np.searchsorted(rows, shown)
    maps = ("gradient", "integrated_gradients", "occlusion")
    told |= {f"example_{name}": found[name][here] for name in maps}
    told["example_stamp_id"] = arrays["stamp_id"][shown]
    return told


def _measured(
    inputs: np.ndarray,
    gradient: Gradient,
    predict: Predictor,
    variables: resnet.Variables,
    progress: Watched,
) -> Arrays:
    """Maps and occlusion of all `inputs`; says how complete the integrated gradients are."""
    median, _ = in_chunks(FILL, inputs, progress=progress)
    logits, slopes = in_chunks(lambda x: gradient(variables, x), inputs, progress=progress)
    nowhere = np.zeros(len(inputs), np.float32)
    blank = predict(variables, inputs, median, nowhere, change=on_path, progress=progress)
    parts, missed, steps = integrated_gradients(
        gradient, variables, inputs, median, logits - blank, progress
    )
    error, tolerance = _rms(missed), allowed(logits - blank)
    log.log(
        logging.INFO if error <= tolerance else logging.WARNING,
        "saliency of %d stamps: integrated gradients of %d steps add up to the change of the logit "
        "(RMS %.3g) within %.2g (RMS; allowed: %.2g)",
        *(len(inputs), steps, _rms(logits - blank), error, tolerance),
    )
    return {
        "steps": np.array(steps, np.int32),
        "tolerance": np.array(tolerance, np.float32),
        "logit_baseline": blank,
        "completeness_error": missed.astype(np.float32),
        "gradient": slopes,
        "integrated_gradients": parts,
        "occlusion": occlusion(predict, variables, inputs, median, logits, progress),
    }


def _profiles(found: Arrays, inputs: np.ndarray) -> Arrays:
    """What is stored of the sample: the maps by annulus, the rest as it is."""
    maps = {
        "gradient": annulus_sums(np.abs(found["gradient"])) / ANNULUS_PIXELS[None, :, None],
        "gradient_x_input": annulus_sums(found["gradient"] * inputs),
        "integrated_gradients": annulus_sums(found["integrated_gradients"]),
    }
    outside = maps["integrated_gradients"][:, _RINGS:].sum(1)
    profiles = {name: sums[:, :_RINGS].astype(np.float32) for name, sums in maps.items()}
    return found | profiles | {"integrated_gradients_outside": outside.astype(np.float32)}


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
