"""Experiments: runs that share a config but for its seed, their names, and which seed is the worst.

Not the comparison of experiments with each other (compare). A run is never added to an experiment
by its directory's name: its config, data, protocol and stamps decide.

    experiments = grouped(runs)
    experiments[0].name, experiments[0].worst.head.seed, experiments[0].claims
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lensjax.gates.compare_heads import Head
from lensjax.gates.compare_runs import Run
from lensjax.gates.gate import ERROR, FAIL, INCONCLUSIVE, PASS
from lensjax.gates.protocol import GATES, canonical
from lensjax.gates.verdict import GREEN, RED, YELLOW

SEEDS_FOR_A_CLAIM = 3
FULL = "full"  # the variant that goes without saying
_SEVERITY = (ERROR, FAIL, INCONCLUSIVE, PASS)
_COLOURS = (RED, YELLOW, GREEN)


@dataclass(frozen=True)
class Experiment:
    """Runs of one config, by seed."""

    name: str
    runs: list[Run]

    @property
    def seeds(self) -> int:
        """How many seeds count: runs of one seed, or with the same arrays, are one."""
        seeds = {run.head.seed for run in self.runs if run.head.seed is not None}
        arrays = {run.head.manifest["splits"]["test"]["sha256"] for run in self.runs}
        return max(min(len(seeds), len(arrays)), 1)

    @property
    def evidence(self) -> bool:
        """Is every run one that may be GREEN?"""
        return all(run.head.manifest["evidence"] for run in self.runs)

    @property
    def claims(self) -> bool:
        """May anything be claimed of it?"""
        return self.seeds >= SEEDS_FOR_A_CLAIM and self.evidence

    @property
    def worst(self) -> Run:
        """The run with the worst colour, and among those the least AUROC: it is the verdict."""

        def rank(run: Run) -> tuple[int, float]:
            value = run.judged["gates"]["auroc_test"]["value"]
            return _COLOURS.index(run.judged["verdict"]), -1.0 if value is None else value

        return min(self.runs, key=rank)

    def worst_of(self, gate: str) -> Run:
        """The run in which a gate came out worst: by verdict, then warning, then value."""
        sign = 1.0 if GATES[gate] == ">" else -1.0

        def rank(run: Run) -> tuple[int, bool, float]:
            entry = run.judged["gates"][gate]
            value = entry["value"]
            known = float("-inf") if value is None else sign * value
            return _SEVERITY.index(entry["verdict"]), not entry["warn"], known

        return min(self.runs, key=rank)


def grouped(runs: Sequence[Run]) -> list[Experiment]:
    """The experiments in the order of their first runs, each by seed."""
    groups: dict[bytes, list[Run]] = {}
    for run in runs:
        groups.setdefault(canonical([_kind(run), run.head.recipe]), []).append(run)
    named = zip(_names([group[0] for group in groups.values()]), groups.values(), strict=True)
    return [Experiment(name, sorted(group, key=_by_seed)) for name, group in named]


def _kind(run: Run) -> list[Any]:
    """What beside the config tells experiments apart."""
    digest = str(run.head.manifest.get("data_digest"))
    return [digest, run.stamps, run.head.rules.digest]


def _by_seed(run: Run) -> tuple[bool, int, str]:
    seed = run.head.seed
    return seed is None, seed or 0, run.head.name


def _names(firsts: Sequence[Run]) -> list[str]:
    """`b3`, `b3:demo`; where configs share that, with the fields in which they differ, and where
    they share all, with their data and protocol."""
    bases = [_base(run.head) for run in firsts]
    names = []
    for run, base in zip(firsts, bases, strict=True):
        alike = [other for other, name in zip(firsts, bases, strict=True) if name == base]
        recipes = [other.head.recipe for other in alike]
        fields = sorted({name for recipe in recipes for name in recipe})
        own = run.head.recipe
        told = [
            f"{name}={own.get(name)}"
            for name in fields
            if len({canonical(recipe.get(name)) for recipe in recipes}) > 1
        ]
        kinds = {tuple(map(str, _kind(other))) for other in alike}
        if len(kinds) > 1:
            data, stamps, protocol = _kind(run)
            told += [f"data {data[:8]}", f"stamps {stamps}", f"protocol {protocol[:8]}"]
        names.append(f"{base} ({', '.join(told)})" if told else base)
    return names


def _base(head: Head) -> str:
    experiment = str(head.config.get("experiment", head.name))
    variant = str(head.config.get("variant", FULL))
    return experiment if variant == FULL else f"{experiment}:{variant}"
