"""Warnings are errors; the default protocol and a small one; a sound run."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

from lensjax.gates.protocol import Protocol, load_protocol, parse_protocol
from tests.gates.synthetic import write_evaluation

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def strict() -> Iterator[None]:
    """Warnings are errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Of BLAS, as a judgement has it; several, on a busy machine, wait for each other."""
    with threadpool_limits(limits=1, user_api="blas"):
        yield


@pytest.fixture(scope="session")
def default() -> Protocol:
    """configs/protocols/default.json."""
    return load_protocol(ROOT / "configs/protocols/default.json")


@pytest.fixture(scope="session")
def small(default: Protocol) -> Protocol:
    """The default thresholds, with counts and repetitions for tests of a second."""
    document = json.loads(json.dumps(default.document))
    document["name"] = "small"
    document["intervals"]["resamples"] = 400
    document["minimum"] = {"n_pos": 250, "n_neg": 250, "n_bricks": 30}
    document["gates"]["hard_negative_auroc"]["minimum"] = {"n_neg": 100}
    for name in ("theta_e_min_auroc", "theta_e_spread"):
        document["gates"][name]["minimum"] = {"n_pos": 100}
    document["probes"] |= {"c_grid": [0.0001, 0.01, 1.0], "permutations": 59}
    document["hunter"] = {"ridge_grid": [0.01, 1.0], "permutations": 99}
    return parse_protocol(document)


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory, small: Protocol) -> Path:
    """A sound run under `small`: read it, do not change it."""
    return write_evaluation(tmp_path_factory.mktemp("gates") / "clean", small)
