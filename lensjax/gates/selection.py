"""The selection function: which arcs are found, by Einstein radius, seeing and arc SNR.

At one threshold, that of a stated false positive rate on val; intervals are Wilson's, and an empty
cell is called so. A table for whoever counts lenses, not a gate.

    measured = selection_function(case)
    measured["cells"][0]["at"], measured["margins"]["theta_e_arcsec"]
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from lensjax.gates.case import Case, numbers
from lensjax.gates.ranking import allowed, enough
from lensjax.gates.rates import wilson
from lensjax.gates.statistics import StatisticsError

AXES = ("theta_e_arcsec", "psf_fwhm_arcsec", "arc_snr")


def selection_function(case: Case) -> dict[str, Any]:
    """Completeness of the judged lenses in cells of AXES, in every plane and along every axis.

    `edges` of an axis: null at an end that is open. A cell or margin has `at`, the number of its
    bin on each axis that it names. Lenses whose theta_E, seeing or SNR is unknown or beyond the
    bins are in `outside`, and in no cell. Raises StatisticsError without lenses or negatives.
    """
    rate = case.protocol.measures["selection_fpr"]
    threshold, lens = threshold_at_fpr(case, rate), case.test.positive
    flagged = case.test["logit"] > threshold
    confidence = case.protocol.intervals["confidence"]
    n_pos, n_neg, _ = case.test.counts()
    edges = {name: edges_of(case, name) for name in AXES}
    place = np.stack([bin_of(case.test[name][lens], edges[name]) for name in AXES], axis=1)
    inside = (place >= 0).all(axis=1)
    place, found = place[inside], flagged[lens][inside]
    shape = tuple(len(edges[name]) - 1 for name in AXES)
    needed = case.protocol.document["rates"]["false_positives_needed"]
    return {
        "fpr_on_val": rate,
        "logit": threshold,
        **enough(rate, case.fit.counts()[1], needed),
        "fpr": numbers(wilson(int(flagged[~lens].sum()), n_neg, confidence)),
        "completeness": {
            "n": n_pos,
            "found": int(flagged[lens].sum()),
            **numbers(wilson(int(flagged[lens].sum()), n_pos, confidence)),
        },
        "axes": {name: [_or_open(edge) for edge in edges[name]] for name in AXES},
        "outside": int((~inside).sum()),
        "cells": _cells(place, found, shape, (0, 1, 2), confidence),
        "margins": {
            " x ".join(AXES[k] for k in axes): _cells(place, found, shape, axes, confidence)
            for count in (1, 2)
            for axes in itertools.combinations(range(3), count)
        },
    }


def threshold_at_fpr(case: Case, rate: float) -> float:
    """The logit above which (strictly) at most `rate` of the judged val negatives lie. Raises
    StatisticsError without any."""
    negatives = np.sort(case.fit["logit"][~case.fit.positive].astype(np.float64))[::-1]
    if not len(negatives):
        raise StatisticsError("val has no negatives")
    return float(negatives[min(allowed(rate, len(negatives)), len(negatives) - 1)])


def edges_of(case: Case, name: str) -> np.ndarray:
    """Edges of the bins of a column, float64 [k + 1]: the protocol's for arcs (the last of arc_snr
    is open); quantiles of the judged val rows, both ends open, for seeing and depth."""
    if name == "theta_e_arcsec":
        return np.array(case.protocol.document["theta_e_bins"])
    if name == "arc_snr":
        return np.array([*case.protocol.document["arc_snr_bins"], np.inf])
    values = case.fit[name].astype(np.float64)
    values = values[np.isfinite(values)]
    inner = np.quantile(values, case.protocol.measures["strata_quantiles"]) if len(values) else []
    inner = np.array([float(f"{edge:.6g}") for edge in inner])  # as they are told
    return np.concatenate([[-np.inf], np.unique(inner), [np.inf]])


def bin_of(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Number of the bin [low, high) of every value, int64 [n]; the last holds its upper edge too;
    -1 for what is unknown or in none."""
    values = values.astype(np.float64)
    place = np.searchsorted(edges, values, side="right") - 1
    place[values == edges[-1]] = len(edges) - 2
    known = np.isfinite(values) & (values >= edges[0]) & (values <= edges[-1])
    return np.where(known, place, -1)


def _cells(
    place: np.ndarray,
    found: np.ndarray,
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    confidence: float,
) -> list[dict[str, Any]]:
    """Every cell of some of the axes, in order of its bins."""
    sizes = tuple(shape[k] for k in axes)
    cell = np.ravel_multi_index(tuple(place[:, k] for k in axes), sizes)
    count = np.bincount(cell, minlength=int(np.prod(sizes))).tolist()
    hits = np.bincount(cell, found, int(np.prod(sizes))).astype(int).tolist()
    cells: list[dict[str, Any]] = []
    for number, (n, k) in enumerate(zip(count, hits, strict=True)):
        at = [int(each) for each in np.unravel_index(number, sizes)]
        told = numbers(wilson(k, n, confidence)) if n else {"state": "empty"}
        cells.append({"at": at, "n": n, "found": k, **told})
    return cells


def _or_open(edge: float) -> float | None:
    return float(edge) if np.isfinite(edge) else None
