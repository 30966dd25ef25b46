"""The hard-negative gate: lenses against controls that carry their pair's arc, shuffled.

The shuffle keeps the arc's light and destroys its shape. It proves something only if no one-number
statistic sees through it; so the audit stands beside the gate, and a PASS needs it to be worse.

    found = hard_negative_auroc(case)
    found.detail["audit"]
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from lensjax.gates.case import Case
from lensjax.gates.gate import Finding, GateError
from lensjax.gates.statistics import Sample, auroc, single

STATISTICS = ("roughness", "interband_correlation")  # hard_negative_audit: of lens, then of hard


def hard_negative_auroc(case: Case) -> Finding:
    """Judged lenses (`logit`) against the hard negatives (`logit_hard_negative`) of the pairs whose
    control is judged. Raises GateError if there are none of either."""
    lens, hard = _rows(case)
    estimate = case.estimate([hard_negative_sample(case)], single)
    audit, best = _audit(case, lens, hard)
    bars: tuple[str, ...] = ()
    if best is None:
        bars = ("the shuffle was not audited",)
    elif best >= estimate.value:
        bars = (f"a one-number audit reaches {best:.3g}: the shuffle proves nothing",)
    bricks = np.unique(case.test["brick"][np.concatenate([lens, hard])])
    counts = (len(lens), len(hard), len(bricks))
    return Finding(estimate, *counts, bars=bars, detail={"audit": audit, "audit_best": best})


def hard_negative_sample(case: Case) -> Sample:
    """The scores of both sides by class and brick. Raises GateError if there are none of either."""
    test, (lens, hard) = case.test, _rows(case)
    scores = np.concatenate([test["logit"][lens], test["logit_hard_negative"][hard]])
    labels = np.repeat([1, 0], [len(lens), len(hard)])
    bricks = np.concatenate([test["brick"][lens], test["brick"][hard]])
    clusters = case.clusters_of(labels, bricks)
    return clusters, clusters.concordance(scores)


def _rows(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of the judged lenses, and of the judged controls that have a hard negative."""
    test = case.test
    lens = np.flatnonzero(test.positive)
    hard = np.flatnonzero(~test.positive & np.isfinite(test["logit_hard_negative"]))
    if not len(lens) or not len(hard):
        raise GateError(f"{len(lens)} lenses, {len(hard)} hard negatives of judged controls")
    return lens, hard


def _audit(
    case: Case, lens: np.ndarray, hard: np.ndarray
) -> tuple[list[dict[str, Any]], float | None]:
    """AUROC of each one-number statistic, of all lenses and by arc SNR; and the best over all,
    whichever way round. A hard negative's statistics and arc stand in its pair's lensed row."""
    every, test = case.every, case.test
    measured = every["hard_negative_audit"].astype(np.float64)
    lensed = np.flatnonzero(every.positive)
    pairs = every["pair_id"][lensed]
    order = np.argsort(pairs)
    wanted = test["pair_id"][hard]
    at = np.minimum(np.searchsorted(pairs[order], wanted), len(pairs) - 1)
    partner = lensed[order[at]]
    partner = partner[every["pair_id"][partner] == wanted]
    row_of = dict(zip(every["stamp_id"].tolist(), range(len(every)), strict=True))
    own = np.array([row_of[name] for name in test["stamp_id"][lens].tolist()])
    values = [measured[own][:, :2], measured[partner][:, 2:]]
    snr = [every["arc_snr"][own], every["arc_snr"][partner]]
    edges = case.protocol.document["arc_snr_bins"]
    cells = [(-np.inf, np.inf), *itertools.pairwise(edges)]
    audit = [_cell(values, snr, low, high) for low, high in cells]
    known = [value for value in audit[0]["auroc"].values() if value is not None]
    return audit, max((max(value, 1.0 - value) for value in known), default=None)


def _cell(
    values: list[np.ndarray], snr: list[np.ndarray], low: float, high: float
) -> dict[str, Any]:
    """The audit of arcs with low <= SNR < high (from -inf: all, the unknown too); AUROC of 'lens
    above hard negative'."""
    lens, hard = (
        value[((of >= low) & (of < high)) | np.isneginf(low)]
        for value, of in zip(values, snr, strict=True)
    )
    found: dict[str, float | None] = {}
    for k, name in enumerate(STATISTICS):
        a, b = (side[:, k][np.isfinite(side[:, k])] for side in (lens, hard))
        labels = np.repeat([1, 0], [len(a), len(b)])
        found[name] = auroc(np.concatenate([a, b]), labels) if len(a) and len(b) else None
    limits = [None if np.isinf(low) else low, None if np.isinf(high) else high]
    return {"arc_snr": limits, "n_pos": len(lens), "n_neg": len(hard), "auroc": found}
