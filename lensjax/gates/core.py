"""Gates of the model's use of the core: what it loses without it, what it has with it alone.

Unlike the core probes (lensjax.gates.shortcuts), which judge the data and never call the model.

    found = core_reliance(case)
    found.detail["expected"]        # what geometry alone predicts for each masked radius
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import root_scalar
from scipy.stats import norm

from lensjax import schema
from lensjax.gates.case import Case, numbers
from lensjax.gates.gate import Finding, GateError
from lensjax.gates.statistics import Sample, Statistic, difference, relative_drop

DROP_RADIUS, RELIANCE_RADIUS = 5, 7  # pixels
_FAINTEST, _BRIGHTEST = 1e-6, 1e3  # bounds of a matched filter's efficiency


def core_masked_drop(case: Case) -> Finding:
    """(AUROC(0) - AUROC(5)) / AUROC(0), r < 5 px masked."""
    return _loss(case, DROP_RADIUS, relative_drop)


def core_reliance(case: Case) -> Finding:
    """AUROC(0) - AUROC(7), with the whole curve and what geometry alone predicts for it: `expected`
    is of a matched filter, whose loss needs no shortcut."""
    found = _loss(case, RELIANCE_RADIUS, difference)
    scores = case.test["logit_core_masked"]
    curve = [case.auroc(column) for column in scores.T]
    detail = {
        "radii_px": list(schema.MASK_RADII),
        "curve": [numbers(estimate) for estimate in curve],
    }
    outside = case.test["arc_snr_outside"][case.test.positive].astype(np.float64)
    if np.isfinite(outside).any():
        expected = expected_curve(outside, curve[0].value)
        detail["expected"] = expected.tolist()
        at = schema.MASK_RADII.index(RELIANCE_RADIUS)
        detail["expected_drop"] = float(expected[0] - expected[at])
    return Finding(**{**vars(found), "detail": detail})


def core_only(case: Case) -> Finding:
    """AUROC of the model that sees the core alone (pixels r >= 5 filled)."""
    return case.finding(case.auroc(case.test["logit_core_only"]))


def loss_samples(case: Case, radius: int) -> list[Sample]:
    """The samples unmasked, and with r < radius masked. Raises GateError if they are the same."""
    masked = case.test["logit_core_masked"]
    at = schema.MASK_RADII.index(radius)
    if np.array_equal(masked[:, at], masked[:, 0]):
        raise GateError(f"logit_core_masked is the same at r = 0 and r = {radius}: nothing masked")
    return [case.sample(masked[:, 0]), case.sample(masked[:, at])]


def expected_curve(arc_snr_outside: np.ndarray, unmasked: float) -> np.ndarray:
    """What geometry alone predicts for AUROC(r), r in schema.MASK_RADII: float64 [6].

    A matched filter's statistic is N(k q_i(r), 1) for an arc of signal to noise q_i(r) outside the
    mask, and N(0, 1) without one, so AUROC(r) is the mean over lenses of Phi(k q_i(r) / sqrt 2);
    the efficiency k is the one that gives AUROC(0) = `unmasked`.

    Args:
        arc_snr_outside: [n, 6], of lenses; rows that are not finite are left out, one is needed.
    """
    snr = np.maximum(arc_snr_outside[np.isfinite(arc_snr_outside).all(axis=1)], 0.0)
    if not len(snr):
        raise GateError("arc_snr_outside is not finite in any lens")

    def curve(log_k: float) -> np.ndarray:
        return norm.cdf(np.exp(log_k) * snr / np.sqrt(2)).mean(axis=0)

    low, high = np.log(_FAINTEST), np.log(_BRIGHTEST)
    if curve(low)[0] >= unmasked:
        return curve(low)
    if curve(high)[0] <= unmasked:
        return curve(high)
    solved = root_scalar(lambda log_k: curve(log_k)[0] - unmasked, bracket=(low, high))
    return curve(solved.root)


def _loss(case: Case, radius: int, statistic: Statistic) -> Finding:
    """What masking r < radius costs, as `statistic` of both AUROCs on the same resamples."""
    return case.finding(case.estimate(loss_samples(case, radius), statistic), is_auc=False)
