"""How the stamps of each split and class are distributed: strata, histograms, differences.

Not counts of files (`describe_counts`) and no judgement. A quantity is a number a stamp, NaN where
there is none. Everything returned can be written as JSON.

    >>> told = strata(rows)
    >>> told["theta_e_arcsec"]["counts"]["train"]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lensjax import schema
from lensjax.checks.measure import OUTSKIRTS_COLUMNS
from lensjax.checks.rows import Rows
from lensjax.checks.scan import Scan
from lensjax.checks.strata import binned
from lensjax.curate.differences import (
    chance_of_distance,
    chance_of_variation,
    distance,
    variation,
)
from lensjax.data.rows import BINS

SNR_EDGES = (3.0, 5.0, 8.0, 12.0, 20.0, 30.0, 50.0)
HISTOGRAM_BINS = 30
TAILS = (0.001, 0.999)  # quantiles of all between which a histogram has its bins
QUANTILES = (0.0, 0.01, 0.16, 0.5, 0.84, 0.99, 1.0)
CLASSES = {"lens": 1, "other": 0}
FIRST = schema.SPLITS[0]  # what the other splits are compared with
_METADATA = ("theta_e_arcsec", "arc_snr", *schema.METADATA)


def quantities(scan: Scan) -> dict[str, np.ndarray]:
    """float [n] by name: metadata; of each band the sky's noise (nanomaggies), background in its
    units and autocorrelations beyond r = 28 px; of pairs, at the stamp, the share of the difference
    beyond the arc's reach and the summed r-band difference (nanomaggies)."""
    found = {name: scan.rows.numbers[name] for name in _METADATA}
    for name, column in zip(OUTSKIRTS_COLUMNS, scan.measured.outskirts.T, strict=True):
        if name.startswith("log10_sigma"):
            found[f"noise{name.removeprefix('log10_sigma')}"] = 10.0**column
        else:
            found[name.replace("median_over_sigma", "background")] = column
    for name, values in (
        ("pair_outside", scan.difference.outside),
        ("pair_difference", scan.difference.total),
    ):
        found[name] = np.full(len(scan.rows), np.nan)
        found[name][scan.pairs[:, 0]] = values
    return found


def groups(rows: Rows) -> dict[str, np.ndarray]:
    """bool [n] of each split and class: 'train lens', 'train other', 'val lens', ..."""
    return {
        f"{split} {name}": rows.of_split(split) & (rows.label == label)
        for split in schema.SPLITS
        for name, label in CLASSES.items()
    }


# -- strata ---------------------------------------------------------------------------------------


def strata(rows: Rows) -> dict[str, Any]:
    """Counts by stratum: of lenses by theta_E and by arc SNR, of stamps of each class by PSF bin
    and depth bin; and how far val and test are from train."""
    lens = rows.label == 1
    found = {
        "theta_e_arcsec": _binned(rows, "theta_e_arcsec", schema.THETA_E_BINS, lens),
        "arc_snr": _binned(rows, "arc_snr", SNR_EDGES, lens),
    }
    both = np.stack([rows.bins[name] for name in BINS], axis=1)
    present, stratum = np.unique(both, axis=0, return_inverse=True)
    names = [_bin_name(rows, both, psf, depth) for psf, depth in present.tolist()]
    for name, label in CLASSES.items():
        found[f"psf_depth_{name}"] = _stratified(
            rows, stratum.reshape(-1), names, rows.label == label
        )
    return found


def _bin_name(rows: Rows, both: np.ndarray, psf: int, depth: int) -> str:
    """'psf 0 (0.92 to 1.08), depth 3 (23.6 to 24.1)', the ranges of the numbers in them."""
    told = []
    for k, (word, value) in enumerate((("psf", psf), ("depth", depth))):
        column = ("psf_fwhm_arcsec", "psf_depth")[k]
        mine = rows.numbers[column][both[:, k] == value]
        mine = mine[np.isfinite(mine)]
        span = f" ({mine.min():.2f} to {mine.max():.2f})" if len(mine) else ""
        told.append(f"{word} {value}{span}")
    return ", ".join(told)


def _binned(rows: Rows, name: str, edges: tuple[float, ...], mine: np.ndarray) -> dict[str, Any]:
    """By the bins of checks.strata.binned."""
    stratum, names = binned(rows.numbers[name], edges)
    return _stratified(rows, stratum, names, mine)


def _stratified(
    rows: Rows, stratum: np.ndarray, names: list[str], mine: np.ndarray
) -> dict[str, Any]:
    members = {split: mine & rows.of_split(split) for split in schema.SPLITS}
    table = {
        split: np.bincount(stratum[among], minlength=len(names)) for split, among in members.items()
    }
    unit = rows.units()
    return {
        "strata": names,
        "counts": {split: counts.tolist() for split, counts in table.items()},
        "variation_from_train": {
            split: {
                "value": variation(table[FIRST], table[split]),
                "chance": chance_of_variation(stratum, members[FIRST], members[split], unit),
            }
            for split in schema.SPLITS[1:]
        },
    }


# -- numbers --------------------------------------------------------------------------------------


def distributions(scan: Scan) -> dict[str, Any]:
    """Of each quantity: the bins' `edges`, and of each split and class the counts in them, below
    and above them, quantiles, how many are unknown; and how far classes and splits differ."""
    rows, unit = scan.rows, scan.rows.units()
    members = groups(rows)
    found = {}
    for name, values in quantities(scan).items():
        known = np.isfinite(values)
        edges = _edges(values[known])
        found[name] = {
            "edges": edges.tolist(),
            "groups": {
                group: _distribution(values[mine & known], edges) | {"n": int(mine.sum())}
                for group, mine in members.items()
            },
            "differences": _differences(values, known, members, unit),
        }
    return found


def _edges(values: np.ndarray) -> np.ndarray:
    if not len(values):
        return np.array([0.0, 1.0])
    low, high = np.quantile(values.astype(np.float64), TAILS)
    if not high > low:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, HISTOGRAM_BINS + 1)


def _distribution(values: np.ndarray, edges: np.ndarray) -> dict[str, Any]:
    values = values.astype(np.float64)
    return {
        "known": len(values),
        "below": int((values < edges[0]).sum()),
        "counts": np.histogram(values, edges)[0].tolist(),
        "above": int((values > edges[-1]).sum()),
        "quantiles": np.quantile(values, QUANTILES).tolist() if len(values) else [],
    }


def _differences(
    values: np.ndarray, known: np.ndarray, members: Mapping[str, np.ndarray], unit: np.ndarray
) -> dict[str, Any]:
    """Kolmogorov-Smirnov distances: of val and test from train for each class, with what chance
    gives; of lenses from others in each split."""
    found: dict[str, Any] = {}
    values = values.astype(np.float64)
    for name in CLASSES:
        first = members[f"{FIRST} {name}"] & known
        for split in schema.SPLITS[1:]:
            second = members[f"{split} {name}"] & known
            if first.any() and second.any():
                found[f"{name}: {split} from {FIRST}"] = {
                    "value": distance(values[first], values[second]),
                    "chance": chance_of_distance(values, first, second, unit),
                }
    for split in schema.SPLITS:
        lens, other = (members[f"{split} {name}"] & known for name in CLASSES)
        if lens.any() and other.any():
            found[f"{split}: lens from other"] = {"value": distance(values[lens], values[other])}
    return found
