"""What became of a split: counts, shares, classes and strata of each, and what was set aside.

Not a guarantee (`verify` is): these numbers are as good as the bricks allow, and are said. Those
that no run could use are errors.

    >>> told = summarise(rows, split, unpaired)
    >>> print("\\n".join(told.lines(settings)))
    >>> told.judge(settings)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lensjax import schema
from lensjax.curate.split import ASIDE, Settings, SkyRows
from lensjax.data.split_table import MEMBERS
from lensjax.schema import ExitCode, LensjaxError

TOLERANCE = 0.03  # of the shares of hosts, as the check of splits has it
STRATUM = 256  # a stratum's number is psf_bin times this and depth_bin
_COUNTED = ("hosts", "rows", "bricks", "positives", "negatives")
_N = len(schema.SPLITS)


@dataclass(frozen=True)
class Summary:
    """`counts`, by name int64 [4]: of each split, then of what was set aside; `strata` int64
    [4, c], rows by stratum, and the `stratum` numbers; `unpaired` int64 [4, 3], rows by member."""

    counts: dict[str, np.ndarray]
    strata: np.ndarray
    stratum: np.ndarray
    unpaired: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """float64 [3]: of the hosts that are in a split."""
        hosts = self.counts["hosts"][:_N]
        return hosts / max(int(hosts.sum()), 1)

    def lines(self, settings: Settings) -> list[str]:
        """The summary as printed."""
        asked = np.array(settings.proportions) / sum(settings.proportions)
        stamps = self.counts["positives"] + self.counts["negatives"]
        rows: list[tuple[str, list[str]]] = [("", [*schema.SPLITS, "set aside"])]
        rows += [(name, [f"{n:,}" for n in self.counts[name]]) for name in _COUNTED[:3]]
        rows += [
            ("share of hosts", [f"{x:.4f}" for x in self.shares]),
            ("asked", [f"{x:.4f}" for x in asked]),
            ("positives", [f"{x:.4f}" for x in self.counts["positives"] / np.maximum(stamps, 1)]),
            ("strata differ by", [f"{x:.4f}" for x in self._variation()]),
        ]
        for k, name in enumerate(MEMBERS[1:], 1):
            rows.append((f"unpaired: {name}s", [f"{n:,}" for n in self.unpaired[:_N, k]]))
        lines = [f"{name:<18}" + "".join(f"{x:>14}" for x in cells) for name, cells in rows]
        hosts = self.counts["hosts"]
        lost = f"{hosts[_N]:,} of {hosts.sum():,} hosts ({hosts[_N] / hosts.sum():.2%})"
        return [*lines, "", self._worst(), f"set aside, within {_reach(settings)}: {lost}"]

    def _variation(self) -> np.ndarray:
        """float64 [3]: total variation between the strata of each split and those of all rows."""
        mine = self.strata[:_N] / np.maximum(self.strata[:_N].sum(axis=1, keepdims=True), 1)
        return np.abs(mine - self.strata.sum(axis=0) / self.strata.sum()).sum(axis=1) / 2

    def _worst(self) -> str:
        mine = self.strata[:_N] / np.maximum(self.strata[:_N].sum(axis=1, keepdims=True), 1)
        whole = self.strata.sum(axis=0) / self.strata.sum()
        k, c = np.unravel_index(np.argmax(np.abs(mine - whole)), mine.shape)
        psf, depth = divmod(int(self.stratum[c]), STRATUM)
        return (
            f"largest deviation of a stratum: psf_bin {psf}, depth_bin {depth} is "
            f"{mine[k, c]:.4f} of {schema.SPLITS[int(k)]}, {whole[c]:.4f} of all"
        )

    def judge(self, settings: Settings) -> None:
        """Raises LensjaxError: LEAK for shares missed by more than TOLERANCE, DATA_INVALID for a
        split without a class that there is."""
        asked = np.array(settings.proportions) / sum(settings.proportions)
        missed = np.abs(self.shares - asked)
        if missed.max() > TOLERANCE or not self.counts["hosts"][:_N].all():
            k = int(np.argmax(missed))
            reached = ",".join(f"{x:.2f}" for x in self.shares)
            raise LensjaxError(
                ExitCode.LEAK,
                f"{schema.SPLITS[k]} holds {self.shares[k]:.3f} of the hosts, asked "
                f"{asked[k]:.3f} +- {TOLERANCE:g}: the bricks are too few or too unequal, or the "
                "guard band takes too much",
                remedy=f"Ask for --proportions={reached}, a narrower --guard-band, another --seed, "
                "or give more sky",
            )
        for name in ("positives", "negatives"):
            for k in np.flatnonzero(self.counts[name][:_N] == 0).tolist():
                if self.counts[name].sum():
                    what = f"{schema.SPLITS[k]} has 0 {name}"
                    remedy = "Ask for a larger share of it, or another --seed"
                    raise LensjaxError(ExitCode.DATA_INVALID, what, remedy=remedy)


def _reach(settings: Settings) -> str:
    return f"{settings.reach_arcsec:g} arcsec of another split"


def summarise(rows: SkyRows, split: np.ndarray, unpaired: np.ndarray) -> Summary:
    """The summary of a split, int8 [n], and of `unpaired`, int8 [n], index into MEMBERS."""
    place = np.where(split == ASIDE, _N, split).astype(np.int64)
    counts = {"rows": np.bincount(place, minlength=_N + 1)}
    for name, code in (("hosts", rows.host), ("bricks", rows.brick)):
        # a brick with hosts in a split and hosts set aside counts in both
        size = (int(code.max()) + 1, _N + 1)
        there = np.bincount(code.astype(np.int64) * (_N + 1) + place, minlength=size[0] * size[1])
        counts[name] = (there.reshape(size) > 0).sum(axis=0)
    for name, weights in (("positives", rows.positives), ("negatives", rows.negatives)):
        counts[name] = np.bincount(place, weights, _N + 1).astype(np.int64)
    stratum, number = np.unique(rows.stratum, return_inverse=True)
    size = (_N + 1, len(stratum))
    strata = np.bincount(place * size[1] + number.reshape(-1), minlength=size[0] * size[1])
    members = np.bincount(place * len(MEMBERS) + unpaired, minlength=size[0] * len(MEMBERS))
    return Summary(counts, strata.reshape(size), stratum, members.reshape(size[0], len(MEMBERS)))
