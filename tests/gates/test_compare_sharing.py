"""Runs that are compared share what does not depend on the model, and nothing else."""

from pathlib import Path

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from lensjax.gates import compare_runs, examine, shortcuts
from lensjax.gates.compare_heads import Told
from lensjax.gates.compare_runs import read_runs
from lensjax.gates.protocol import Protocol
from lensjax.gates.record import encoded
from tests.gates.compared import make_run, quick
from tests.gates.synthetic import Arrays


@pytest.fixture(scope="module")
def rules(default: Protocol) -> Protocol:
    return quick(default)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory, rules: Protocol) -> list[Path]:
    """Two seeds on the same arrays but for the scores. Read them, do not change them."""
    folder = tmp_path_factory.mktemp("seeds")
    return [make_run(folder / str(seed), rules, seed=seed, noise=1.0) for seed in range(2)]


def fitted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the probes that are fitted from now on."""
    names: list[str] = []
    probe = shortcuts.probe

    def counted(name: str, *told):
        names.append(name)
        return probe(name, *told)

    monkeypatch.setattr(shortcuts, "probe", counted)
    return names


def test_a_probe_is_fitted_once_for_the_same_arrays(seeds, rules, monkeypatch):
    """And each run's judgement is what it is alone. The control: nothing is shared, and every probe
    is fitted for every run."""
    names = fitted(monkeypatch)
    shared = [run.judged for run in read_runs(seeds, Told())]
    assert sorted(names) == sorted(shortcuts.PROBES)
    assert [encoded(each) for each in shared] == [encoded(examine(seed, rules)) for seed in seeds]
    assert shared[0]["gates"]["auroc_test"] != shared[1]["gates"]["auroc_test"]
    names.clear()
    monkeypatch.setattr(compare_runs, "_sharing", lambda case, known: case)
    apart = [run.judged for run in read_runs(seeds, Told())]
    assert len(names) == 2 * len(shortcuts.PROBES) and apart == shared


def test_other_features_are_not_shared(seeds, rules, tmp_path, monkeypatch):
    """The control: with features left out of the digest, a run with a planted core and a sound
    one have the same probes."""

    def change(split: str, arrays: Arrays) -> None:
        arrays["core_box"] += 2.0 * arrays["label"][:, None, None, None]

    other = make_run(tmp_path / "other", rules, experiment="b1", noise=1.0, change=change)
    alone = examine(other, rules)["gates"]["core_lr_auc"]

    def compared() -> list[dict]:
        return [run.judged["gates"]["core_lr_auc"] for run in read_runs([seeds[0], other], Told())]

    first, second = compared()
    assert second == alone != first
    monkeypatch.setattr(compare_runs, "_features_digest", lambda case: str(len(case.test)))
    first, second = compared()
    assert second == first  # both have the probe of whichever came first


def test_blas_has_one_thread_while_runs_are_read(seeds, monkeypatch):
    """Sums then do not depend on the number of cores, and threads do not wait for each other."""
    seen: list[int] = []

    def threads() -> int:
        return max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")

    scores = compare_runs.shortcut_scores

    def looking(name, case):
        seen.append(threads())
        return scores(name, case)

    monkeypatch.setattr(compare_runs, "shortcut_scores", looking)
    with threadpool_limits(limits=2, user_api="blas"):
        assert threads() == 2
        read_runs(seeds, Told())
        assert threads() == 2
    assert set(seen) == {1}
