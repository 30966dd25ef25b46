"""Manifests: which stamps of a split a paired or an unpaired run uses.

Not the splits themselves. Paired: every stamp, hosts shared by both classes. Unpaired: a host
gives its lensed stamps or its controls, never both (LRG-disjoint), balanced in each stratum of
(psf_bin, depth_bin). Look-alikes are negatives of both.

    >>> in_manifest = manifest_mask(stamp_set.table, "unpaired", seed=42)
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import numpy as np

from lensjax import schema
from lensjax.data.permute import permutation
from lensjax.schema import ExitCode, LensjaxError


def manifest_mask(table: Mapping[str, np.ndarray], pairing: str, seed: int) -> np.ndarray:
    """bool [n], True for the rows of `table` (schema.TABLE_COLUMNS, length n) in the manifest.

    A function of the rows as a set: their order does not matter. Raises LensjaxError (USAGE) for
    an unknown pairing."""
    if pairing not in schema.PAIRINGS:
        near = difflib.get_close_matches(pairing, schema.PAIRINGS, n=1, cutoff=0.0)[0]
        raise LensjaxError(
            ExitCode.USAGE, f"unknown pairing {pairing!r}", "data.pairing", f"Did you mean {near}?"
        )
    label, kind = table["label"], table["negative_kind"]
    if pairing == "paired" or len(label) == 0:
        return np.ones(len(label), bool)
    hosts, host = np.unique(table["lrg_id"], return_inverse=True)
    host = host.reshape(-1)
    control = kind == "control"
    lookalike = (label == 0) & ~control
    positive_host = _positive_hosts(table, host, len(hosts), seed)
    return lookalike | np.where(positive_host[host], label == 1, control)


def _positive_hosts(
    table: Mapping[str, np.ndarray], host: np.ndarray, n_hosts: int, seed: int
) -> np.ndarray:
    """bool [n_hosts]: the hosts that give their lensed stamps. Stratum by stratum, shuffled hosts
    go, those with most rows first, to the class that is behind; a tie in the stratum is broken by
    the whole split, so that many small strata do not all lean to one side."""
    label, control = table["label"], table["negative_kind"] == "control"
    lookalike = (label == 0) & ~control
    n_positive = np.bincount(host, label == 1, n_hosts).astype(np.int64)
    n_control = np.bincount(host, control, n_hosts).astype(np.int64)
    has_lookalike = np.bincount(host, lookalike, n_hosts) > 0  # then it is a negative host
    row_stratum = table["psf_bin"].astype(np.int64) * 256 + table["depth_bin"]
    stratum = np.full(n_hosts, np.iinfo(np.int64).max)  # the smallest, where a host's rows differ
    np.minimum.at(stratum, host, row_stratum)

    positive = np.zeros(n_hosts, bool)
    shuffled = permutation(n_hosts, "manifest", seed)
    heavy_first = shuffled[np.argsort(-n_positive[shuffled], kind="stable")]
    behind_overall = 0  # positives less negatives, of the strata so far
    for this in np.unique(stratum):
        behind = -int(lookalike[row_stratum == this].sum())
        behind_overall += behind
        for h in heavy_first[stratum[heavy_first] == this].tolist():
            lean = behind or behind_overall
            positive[h] = lean <= 0 and n_positive[h] > 0 and not has_lookalike[h]
            change = int(n_positive[h] if positive[h] else -n_control[h])
            behind, behind_overall = behind + change, behind_overall + change
    return positive
