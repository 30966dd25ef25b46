"""The AUROC by Einstein radius, arc SNR, seeing and depth: bins, intervals, the worst bin, spread.

No verdict: that of theta_E is a gate's (lensjax.gates.strata). Bins of theta_E and SNR hold lenses,
against all judged negatives; bins of seeing and depth hold rows of both classes.

    measured = breakdown(case)
    measured["psf_fwhm_arcsec"]["worst"], measured["psf_fwhm_arcsec"]["bins"]
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lensjax.gates.case import Case, numbers
from lensjax.gates.selection import bin_of, edges_of
from lensjax.gates.statistics import Sample
from lensjax.gates.strata import spread_of

OF_LENSES = ("theta_e_arcsec", "arc_snr")
OF_ROWS = ("psf_fwhm_arcsec", "psf_depth")
_POPULATION = {"theta_e_arcsec": "theta_e", "arc_snr": "arc_snr"}  # its name in the manifest


def breakdown(case: Case) -> dict[str, Any]:
    """By column: `against`, `bins`, `worst` (number of the bin with the least AUROC, None where no
    bin has both classes), `spread` (over all pairs of bins) and `outside` (rows that are unknown or
    beyond the bins)."""
    return {name: _by(case, name) for name in (*OF_LENSES, *OF_ROWS)}


def _by(case: Case, name: str) -> dict[str, Any]:
    edges, lens = edges_of(case, name), case.test.positive
    place = bin_of(case.test[name], edges)
    of_lenses = name in OF_LENSES
    bins: list[dict[str, Any]] = []
    samples: list[Sample] = []
    for k in range(len(edges) - 1):
        rows = (place == k) & lens | ~lens if of_lenses else place == k
        n_pos, n_neg = int((rows & lens).sum()), int((rows & ~lens).sum())
        ends = [float(edge) if np.isfinite(edge) else None for edge in edges[k : k + 2]]
        bins.append({"bin": ends, "n_pos": n_pos, "n_neg": n_neg})
        if n_pos and n_neg:
            samples.append(case.subset(rows, case.test["logit"]))
            bins[-1] |= numbers(case.estimate(samples[-1:]))
        else:
            bins[-1]["state"] = _state(case, name, ends) if n_pos == 0 else "no negatives"
    measured = [k for k, each in enumerate(bins) if "value" in each]
    spread: dict[str, Any] = {"state": f"{len(measured)} bin with both classes: no spread"}
    if len(measured) > 1:
        spread = numbers(spread_of(case, samples))
    return {
        "against": "all negatives" if of_lenses else "negatives of the bin",
        "bins": bins,
        "worst": min(measured, key=lambda k: bins[k]["value"], default=None),
        "spread": spread,
        "outside": int(((place < 0) & (lens | (not of_lenses))).sum()),
    }


def _state(case: Case, name: str, ends: list[float | None]) -> str:
    """Why a bin has no lenses: it lies outside the population, or none is there."""
    limits = case.manifest["population"].get(_POPULATION.get(name))
    if limits:
        low, high = (np.nan if end is None else end for end in ends)
        if low >= limits[1] or high <= limits[0]:
            return "not in population"
    return "no lenses"
