"""Shortcut gates: what is asked of a probe, and the probe of bricks.

Of the data: the core box as the model sees it (core_lr_auc), its pixels r < 5, the core before
preprocessing, the radial profile, second differences in the core. Of where a stamp comes from:
outskirts, survey, metadata, brick. What the model does with a shortcut is asked elsewhere
(lensjax.gates.core).

    found = SHORTCUTS["core_lr_auc"](case)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from lensjax import schema
from lensjax.gates.arrays import RESIDUAL
from lensjax.gates.case import Case, Rows
from lensjax.gates.gate import Finding, GateError
from lensjax.gates.logistic import widened
from lensjax.gates.probes import CONSTANT, fitted, null_summary, probe, require_classes
from lensjax.gates.statistics import auroc

TAUTOLOGY = "tautology"
EMPTY = 1e-4  # sky sigmas: features of the model's input that vary by less hold nothing
_IN_CORE = np.repeat(
    (schema.radius_map()[schema.CORE_BOX, schema.CORE_BOX] < schema.CORE_RADIUS).ravel(),
    len(schema.BANDS),
)


# Features of the fit rows [m, k] and of the test rows [n, k], and the least spread that counts.
Features = tuple[np.ndarray, np.ndarray, float]


def core_lr(case: Case) -> Features:
    """The core box of the model's input."""
    return _plain(case, lambda rows: rows.features("core_box"), EMPTY)


def core_lr_r5(case: Case) -> Features:
    """Its pixels with r < 5 alone: the box has corners that no circular mask covers."""
    return _plain(case, lambda rows: rows.features("core_box")[:, _IN_CORE], EMPTY)


def core_lr_raw(case: Case) -> Features:
    """The core box in nanomaggies, before preprocessing, which may hide a symmetric excess."""
    return _plain(case, lambda rows: rows.features("core_box_raw"))


def radial_lr_raw(case: Case) -> Features:
    """The radial profile of the raw_robust stamp; honest arcs alone tell the label by it."""
    return _plain(case, lambda rows: rows.features("radial_profile"), EMPTY)


def high_frequency_core(case: Case) -> Features:
    """RMS of second differences in the core box."""

    def features(rows: Rows) -> np.ndarray:
        rms = rows.features("high_frequency_core")
        if (rms < 0).any():
            raise GateError("high_frequency_core is negative")
        return np.log1p(rms)

    return _curved(case, features)


def outskirts(case: Case) -> Features:
    """Noise, background and noise correlation beyond r = 28 px."""
    return _curved(case, lambda rows: rows.features("outskirts"))


def survey(case: Case) -> Features:
    """Noise of every band and its correlation, and pixel scale: where a stamp was taken."""

    def features(rows: Rows) -> np.ndarray:
        noise = rows.features("noise_sigma")
        if (noise <= 0).any():
            raise GateError("noise_sigma is not positive")
        scale = rows.features("pixel_scale_arcsec")
        return np.concatenate([rows.features("outskirts"), np.log10(noise), scale], axis=1)

    return _curved(case, features)


def metadata(case: Case) -> Features:
    """PSF, depth and extinction; unknown values (NaN) count as such."""
    return _curved(
        case,
        lambda rows: np.stack([rows[name].astype(np.float64) for name in schema.METADATA], axis=1),
    )


def _plain(
    case: Case, features: Callable[[Rows], np.ndarray], least_spread: float = 0.0
) -> Features:
    """Features as they are."""
    return features(case.fit), features(case.test), least_spread


def _curved(case: Case, features: Callable[[Rows], np.ndarray]) -> Features:
    """Few features, their squares, and which of them are unknown."""
    clip = case.protocol.probes["feature_clip"]
    return *widened(features(case.fit), features(case.test), clip), 0.0


PROBES: dict[str, Callable[[Case], Features]] = {
    "core_lr_auc": core_lr,
    "core_lr_auc_r5": core_lr_r5,
    "core_lr_auc_raw": core_lr_raw,
    "radial_lr_auc_raw": radial_lr_raw,
    "outskirts": outskirts,
    "survey": survey,
    "metadata": metadata,
    "high_frequency_core": high_frequency_core,
}


def radial_lr(case: Case) -> Finding:
    """The radial profile; after residual preprocessing it is zero by construction and is not
    asked."""
    if case.manifest["preprocessing"] == RESIDUAL:
        return case.finding(None, undecided=TAUTOLOGY)
    return _probe("radial_lr_auc_raw", case)


def brick(case: Case) -> Finding:
    """Bricks do not recur between splits: within test, hosts are halved at random, and a row's
    score is the label mean of its brick in the other half."""
    return case.of_data.once("brick", lambda: _brick(case))


def _brick(case: Case) -> Finding:
    label, rng = case.test["label"], case.rng("brick")
    first, host, home, half = _halves(case.test, rng)
    scores = mean_of_other_half(label, home, half)
    if np.ptp(scores) < 1e-12:
        return case.finding(None, undecided=f"{CONSTANT}: bricks have one label mean")
    estimate = case.auroc(scores)
    home_of_host, null = home[first], []
    for _ in range(case.protocol.probes["permutations"]):
        moved = rng.permutation(home_of_host)[host]
        null.append(auroc(mean_of_other_half(label, moved, half), label))
    beside = null_summary(np.array(null), estimate.value)
    beside |= {"exchanged": "hosts over bricks", "effective_test": len(first)}
    return case.finding(estimate, detail={"null": beside})


def shortcut_scores(name: str, case: Case) -> np.ndarray | str:
    """What the gate `name` ranks the test rows by, float64 [n]; or why there is nothing to rank
    them by. Raises GateError for arrays that it cannot use."""
    if name == "brick":
        _, _, home, half = _halves(case.test, case.rng(name))
        scores = mean_of_other_half(case.test["label"], home, half)
        return scores if np.ptp(scores) >= 1e-12 else CONSTANT
    if name == "radial_lr_auc":
        residual = case.manifest["preprocessing"] == RESIDUAL
        return TAUTOLOGY if residual else shortcut_scores("radial_lr_auc_raw", case)
    _, _, scores = fitted(case, *_features(name, case), case.rng(name))
    return CONSTANT if scores is None else scores


def _halves(
    rows: Rows, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A row of every host [hosts]; and of every row [n] its host, its brick and its half."""
    _, first, host = np.unique(rows["lrg_id"], return_index=True, return_inverse=True)
    _, home = np.unique(rows["brick"], return_inverse=True)
    host, home = host.reshape(-1), home.reshape(-1)
    half = np.zeros(len(first), np.int64)
    half[rng.permutation(len(first))[: len(first) // 2]] = 1
    return first, host, home, half[host]


def mean_of_other_half(label: np.ndarray, brick: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Label mean of each row's brick among rows of the other half; of all of that half where the
    brick has none there: float64 [n]."""
    n_bricks = int(brick.max()) + 1
    cell = half * n_bricks + brick
    lenses, size = np.bincount(cell, label, 2 * n_bricks), np.bincount(cell, minlength=2 * n_bricks)
    lenses, size = lenses.reshape(2, -1), size.reshape(2, -1)
    overall = lenses.sum(1) / np.maximum(size.sum(1), 1)
    mean = np.where(size > 0, lenses / np.maximum(size, 1), overall[:, None])
    return mean[1 - half, brick]


def _probe(name: str, case: Case) -> Finding:
    return case.of_data.once(name, lambda: probe(name, case, *_features(name, case)))


def _features(name: str, case: Case) -> Features:
    require_classes(case)  # first: no feature can be standardised on no rows
    return PROBES[name](case)


SHORTCUTS: dict[str, Callable[[Case], Finding]] = {
    **{name: partial(_probe, name) for name in PROBES},
    "radial_lr_auc": radial_lr,
    "brick": brick,
}
