"""The numbers behind the figures, as plain arrays: curves, histograms, the population.

No verdicts and no intervals: those are the gates'. Nothing here draws.

    fpr, tpr = roc(label, logit)
    counts, edges = histograms(score_groups(test))
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.metrics import roc_curve

from lensjax import schema
from lensjax.gates import statistics

Arrays = dict[str, np.ndarray]
Curve = tuple[np.ndarray, np.ndarray]

HISTOGRAM_BINS = 40


def series(metrics: Iterable[dict[str, Any]], name: str) -> Curve:
    """One measure against epoch: float64 [k] twice, by rising epoch. Where a resumed run wrote an
    epoch twice the later line holds; values that are not finite are left out."""
    values: dict[float, float] = {}
    for record in metrics:
        epoch, value = as_number(record.get("epoch")), as_number(record.get(name))
        if math.isfinite(epoch) and math.isfinite(value):
            values[epoch] = value
    epochs = sorted(values)
    return np.array(epochs, float), np.array([values[epoch] for epoch in epochs], float)


def expected_band(ranges: dict[int, tuple[float, float]], last_epoch: float) -> np.ndarray:
    """The expected range up to `last_epoch`, straight between its stated epochs: float64 [k, 3] of
    epoch, low, high. Beyond the last stated epoch nothing is expected."""
    stated = sorted(ranges)
    low, high = ([ranges[epoch][side] for epoch in stated] for side in (0, 1))
    end = min(last_epoch, stated[-1])
    epochs = np.array([*(epoch for epoch in stated if epoch < end), max(end, stated[0])], float)
    return np.stack([epochs, np.interp(epochs, stated, low), np.interp(epochs, stated, high)], 1)


def judged(arrays: Arrays) -> Arrays:
    """The rows that gates judge: in the run's own manifest, with a finite logit."""
    rows = arrays["in_manifest"].astype(bool) & np.isfinite(arrays["logit"])
    return {name: column[rows] for name, column in arrays.items()}


def auroc(label: np.ndarray, logit: np.ndarray) -> float:
    """The gates' AUROC (`lensjax.gates.statistics.auroc`); NaN where there is none: one class, or a
    score that is not finite."""
    try:
        return statistics.auroc(logit, label)
    except statistics.StatisticsError:
        return math.nan


def roc(label: np.ndarray, logit: np.ndarray) -> Curve:
    """False and true positive rates, float64 [k] each, of the straight-line ROC curve."""
    fpr, tpr, _ = roc_curve(label, logit)
    return fpr, tpr


def against(arrays: Arrays, kinds: Iterable[str]) -> Arrays:
    """The lenses, and the negatives of these kinds alone."""
    rows = (arrays["label"] == 1) | np.isin(arrays["negative_kind"], list(kinds))
    return {name: column[rows] for name, column in arrays.items()}


def score_groups(arrays: Arrays) -> dict[str, np.ndarray]:
    """Logits of lenses and of each kind of negative, in the schema's order, then 'other' (any kind
    that the schema does not name); empty groups left out."""
    positive, kind = arrays["label"] == 1, arrays["negative_kind"]
    rows = {"lens": positive}
    rows |= {name: ~positive & (kind == name) for name in schema.NEGATIVE_KINDS}
    rows["other"] = ~positive & ~np.isin(kind, schema.NEGATIVE_KINDS)
    return {name: arrays["logit"][chosen] for name, chosen in rows.items() if chosen.any()}


def histograms(groups: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Counts of every group over common bins that hold every value: int64 [bins] each, and edges
    float64 [bins + 1]."""
    values = np.concatenate(list(groups.values()))
    low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, HISTOGRAM_BINS + 1)
    return {name: np.histogram(logits, edges)[0] for name, logits in groups.items()}, edges


def reliance(label: np.ndarray, logit_core_masked: np.ndarray) -> np.ndarray:
    """AUROC with r < schema.MASK_RADII masked: float64 [6]."""
    return np.array([auroc(label, column) for column in logit_core_masked.T])


def population(arrays: Arrays) -> dict[str, Any]:
    """What the arrays of a split hold: n_pairs of the split; n_pos, n_neg, the count of each
    negative kind and the ranges (min, max) of theta_E and arc SNR among the judged rows."""
    rows = judged(arrays)
    positive = rows["label"] == 1
    kinds = {name: len(logits) for name, logits in score_groups(rows).items() if name != "lens"}
    lookalikes = against(rows, schema.LOOKALIKES)
    return {
        "n_pairs": _complete_pairs(arrays),
        "n_pos": int(positive.sum()),
        "n_neg": int((~positive).sum()),
        "n_bricks": len(np.unique(rows["brick"])),
        "kinds": kinds,
        "lookalikes": sum(kinds.get(kind, 0) for kind in schema.LOOKALIKES),
        "theta_e": _extremes(rows["theta_e_arcsec"][positive]),
        "arc_snr": _extremes(rows["arc_snr"][positive]),
        "auroc": auroc(rows["label"], rows["logit"]),
        "auroc_lookalikes": auroc(lookalikes["label"], lookalikes["logit"]),
    }


def _complete_pairs(arrays: Arrays) -> int:
    """Pair ids that have both a lens and its control."""
    positive = arrays["label"] == 1
    ids = arrays["pair_id"]
    return len(np.intersect1d(ids[positive], ids[~positive]))


def _extremes(values: np.ndarray) -> tuple[float, float] | None:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if len(finite) else None


def as_number(value: Any) -> float:
    """A JSON number as float; NaN for anything else."""
    return float(value) if isinstance(value, (int, float)) else math.nan
