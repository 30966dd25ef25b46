"""Which strata of a set (theta_E, seeing, depth) are in which split, and where a split lacks one.

Not a verdict: splits of different sky differ somewhat, so that nothing here is more than a NOTE.

    >>> strata, notes = compare_strata(rows)
    >>> strata["theta_e_arcsec"]["positives"]["0.5 to 0.75"]
    {'train': 310, 'val': 66, 'test': 71}
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from lensjax import schema
from lensjax.checks.rows import Rows
from lensjax.data.rows import BINS
from lensjax.data.stampset import Finding
from lensjax.schema import ExitCode

CLASSES = {"positives": 1, "negatives": 0}
EXPECTED = 5.0  # hosts: fewer may be missing by chance
DIFFERENCE = 0.10  # of shares; smaller ones change no result much
ERRORS = 4.0  # standard errors of it, bricks counted


def binned(values: np.ndarray, edges: tuple[float, ...]) -> tuple[np.ndarray, list[str]]:
    """The bin of each of `values` [n], int [n], and the bins' names: below, [edge, next edge) and
    so on (the last end included), above, unknown (NaN)."""
    values = values.astype(np.float64)
    code = np.searchsorted(edges, values, "right")
    code[values == edges[-1]] = len(edges) - 1
    code[np.isnan(values)] = len(edges) + 1
    names = [f"below {edges[0]:g}", *(f"{low:g} to {high:g}" for low, high in pairwise(edges))]
    return code, [*names, f"above {edges[-1]:g}", "unknown"]


def compare_strata(rows: Rows) -> tuple[dict[str, Any], list[Finding]]:
    """Stamps by quantity, class, stratum and split (of theta_E positives alone), and a NOTE for
    each stratum that is `_missing` from a split, or whose share is `_unlike` that in train."""
    members = {word: rows.label == label for word, label in CLASSES.items()}
    units = rows.units()
    sizes = {word: _sizes(rows, units, mine) for word, mine in members.items()}
    told: dict[str, Any] = {}
    findings = []
    for name in ("theta_e_arcsec", *BINS):
        if name in BINS:
            values, code = np.unique(rows.bins[name], return_inverse=True)
            code, names = code.reshape(-1), [str(value) for value in values.tolist()]
        else:
            code, names = binned(rows.numbers[name], schema.THETA_E_BINS)
        told[name] = {}
        for word, mine in members.items():
            if word == "negatives" and name not in BINS:
                continue
            table = np.zeros((len(names), len(schema.SPLITS)), np.int64)
            np.add.at(table, (code[mine], rows.split[mine]), 1)
            told[name][word] = {
                stratum: dict(zip(schema.SPLITS, line.tolist(), strict=True))
                for stratum, line in zip(names, table, strict=True)
                if line.any()
            }
            findings += _notes(f"{word} of {name}", names, table, sizes[word])
    return told, findings


def _sizes(rows: Rows, units: np.ndarray, mine: np.ndarray) -> np.ndarray:
    """int [2, splits]: hosts, and bricks (`units`), of the rows `mine` in each split."""
    inside = [mine & rows.of_split(name) for name in schema.SPLITS]
    return np.array([[len(np.unique(x[one])) for one in inside] for x in (rows.host, units)])


def _notes(what: str, names: list[str], table: np.ndarray, sizes: np.ndarray) -> list[Finding]:
    findings = []
    total = table.sum(axis=0)
    for stratum, line in zip(names, table, strict=True):
        if not line.any():
            continue
        for k, split in enumerate(schema.SPLITS):
            if not total[k]:  # a split without the class is told of elsewhere
                continue
            if _missing(line, total, sizes[0], k):
                cause = f"{split} has none"
            elif _unlike(line, total, sizes[1], k):
                cause = f"the share in {split} differs from that in {schema.SPLITS[0]}"
            else:
                continue
            shares = ", ".join(
                f"{name} {n} of {of}"
                for name, n, of in zip(schema.SPLITS, line, total, strict=True)
            )
            message = f"{what}, stratum {stratum}: {cause} ({shares})"
            findings.append(Finding("splits", "NOTE", message, "", ExitCode.DATA_INVALID))
    return findings


def _missing(line: np.ndarray, total: np.ndarray, hosts: np.ndarray, k: int) -> bool:
    """Whether split `k` has none of a stratum of which it would have EXPECTED hosts or more at the
    share that the stratum has in the other splits."""
    others = max(total.sum() - total[k], 1)
    return not line[k] and bool(hosts[k] * line.sum() / others >= EXPECTED)


def _unlike(line: np.ndarray, total: np.ndarray, bricks: np.ndarray, k: int) -> bool:
    """Whether the share of a stratum in split `k` differs from that in train by more than
    DIFFERENCE and by more than ERRORS standard errors, were each brick one draw."""
    if k == 0 or not total[0]:
        return False
    both = line[[0, k]].sum() / total[[0, k]].sum()
    error = np.sqrt(both * (1.0 - both) * (1.0 / bricks[0] + 1.0 / bricks[k]))
    difference = abs(line[k] / total[k] - line[0] / total[0])
    return bool(difference > max(DIFFERENCE, ERRORS * error))
