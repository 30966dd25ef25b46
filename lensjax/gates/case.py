"""The case before the gates: judged rows of val and test, the protocol, and intervals on them.

Not the reading of files (lensjax.gates.arrays). Every interval of a verdict is made here, with the
protocol's confidence, resamples and seed.

    case = Case(protocol, evaluation)
    case.auroc(case.test["logit"])
"""

from __future__ import annotations

import math
import threading
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from lensjax.gates import statistics
from lensjax.gates.arrays import Arrays, Evaluation
from lensjax.gates.gate import Finding, GateError
from lensjax.gates.permutations import Units, permuted_labels
from lensjax.gates.protocol import Protocol
from lensjax.gates.statistics import Clusters, Estimate, Sample, Statistic

Found = TypeVar("Found")


@dataclass(frozen=True)
class Rows:
    """Some rows of a split's arrays, by name."""

    arrays: Arrays

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.arrays:
            raise GateError(f"there is no array {name}")
        return self.arrays[name]

    def __len__(self) -> int:
        return len(self.arrays["label"])

    @property
    def positive(self) -> np.ndarray:
        """bool [n]."""
        return self.arrays["label"] == 1

    def select(self, rows: np.ndarray) -> Rows:
        """The rows of a mask or of indices."""
        return Rows({name: array[rows] for name, array in self.arrays.items()})

    def features(self, name: str) -> np.ndarray:
        """float64 [n, k] of a feature array. Raises GateError if any value is not finite."""
        values = self[name].astype(np.float64)
        values = values.reshape(len(self), math.prod(values.shape[1:]))
        bad = int((~np.isfinite(values)).any(axis=1).sum())
        if bad:
            raise GateError(f"{name} is not finite in {bad} rows")
        return values

    def counts(self) -> tuple[int, int, int]:
        """Positives, negatives, bricks."""
        n_pos = int(self.positive.sum())
        return n_pos, len(self) - n_pos, len(np.unique(self.arrays["brick"]))


@dataclass(frozen=True)
class OfData:
    """What was found in arrays that do not depend on the model, by name. Cases that differ in
    nothing but the model's scores may share it, and then find it once."""

    _found: dict[str, Any] = field(default_factory=dict)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[], Found]) -> Found:
        """What `make` finds; asked again for the same name, what it found then. It must read no
        score of the model."""
        with self._locks.setdefault(name, threading.Lock()):
            if name not in self._found:
                self._found[name] = make()
            return self._found[name]


@dataclass(frozen=True)
class Case:
    """One run under one protocol."""

    protocol: Protocol
    evaluation: Evaluation
    of_data: OfData = field(default_factory=OfData)

    @property
    def manifest(self) -> dict[str, Any]:
        """eval/manifest.json."""
        return self.evaluation.manifest

    @cached_property
    def test(self) -> Rows:
        """Test rows of the run's manifest: what gates judge."""
        return Rows(self.evaluation.test).select(self.evaluation.test["in_manifest"])

    @cached_property
    def every(self) -> Rows:
        """All test rows, whatever the manifest."""
        return Rows(self.evaluation.test)

    @cached_property
    def fit(self) -> Rows:
        """Val rows of the run's manifest: what probes are fitted on."""
        return Rows(self.evaluation.val).select(self.evaluation.val["in_manifest"])

    @property
    def permuted(self) -> list[tuple[np.ndarray, Units]]:
        """Labels of the fit and of the judged test rows, permuted: int8 [permutations, n] and what
        was exchanged. The same for the null of every probe: drawing costs more than a fit."""

        def drawn() -> list[tuple[np.ndarray, Units]]:
            rng, count = self.rng("permutations"), self.protocol.probes["permutations"]
            return [permuted_labels(rows, count, rng) for rows in (self.fit, self.test)]

        return self.of_data.once("permuted", drawn)

    def rng(self, name: str) -> np.random.Generator:
        """The random numbers of what is called `name`, by the protocol's seed."""
        return np.random.default_rng([self.protocol.intervals["seed"], zlib.crc32(name.encode())])

    @cached_property
    def clusters(self) -> Clusters:
        """The judged test rows by class and brick."""
        return self.clusters_of(self.test["label"], self.test["brick"])

    def clusters_of(self, labels: np.ndarray, bricks: np.ndarray) -> Clusters:
        """Judged rows, or others of their bricks, numbered as the judged rows are; many bricks are
        pooled."""
        code, pool = np.searchsorted(self._bricks, bricks), self._pool
        return Clusters(np.asarray(labels), pool[code], int(pool.max()) + 1)

    @cached_property
    def _bricks(self) -> np.ndarray:
        return np.unique(self.test["brick"])

    @cached_property
    def _pool(self) -> np.ndarray:
        """The number of every brick's cluster, int64 [n_bricks]."""
        return statistics.pools(len(self._bricks), self.protocol.intervals["seed"])

    def sample(self, scores: np.ndarray) -> Sample:
        """The judged test rows with one score [n]."""
        return self.clusters, self.clusters.concordance(scores)

    def estimate(
        self, samples: Sequence[Sample], statistic: Statistic = statistics.single
    ) -> Estimate:
        """A statistic of the samples' AUROCs, with its interval."""
        return statistics.interval(samples, statistic, **self.protocol.intervals)

    def auroc(self, scores: np.ndarray) -> Estimate:
        """AUROC of a score of the judged test rows [n], with its interval."""
        return self.estimate([self.sample(scores)])

    def subset(self, rows: np.ndarray, scores: np.ndarray) -> tuple[Clusters, np.ndarray]:
        """The sample of some judged test rows (mask), scores [n] of all of them."""
        clusters = self.clusters_of(self.test["label"][rows], self.test["brick"][rows])
        return clusters, clusters.concordance(scores[rows])

    def finding(self, estimate: Estimate | None, **more: Any) -> Finding:
        """A Finding on all judged test rows."""
        return Finding(estimate, *self.test.counts(), **more)


def numbers(estimate: Estimate) -> dict[str, Any]:
    """An Estimate as JSON."""
    return {"value": estimate.value, "ci": [estimate.low, estimate.high]}
