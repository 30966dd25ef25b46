"""S9: a thousand mutated files, and what must come of them. The hundred thousand are
benchmarks/hostile_input.py; the defects that it must not miss are planted here."""

from __future__ import annotations

import pytest

from tests.fuzz import campaign, planted
from tests.fuzz.targets import TARGETS
from tests.fuzz.worker import make_input, schedule

COUNT, SEED = 1000, 0
AGAIN = "python benchmarks/hostile_input.py --seed={} --only={}"
each_target = pytest.mark.parametrize("name", TARGETS)


@pytest.fixture(scope="module")
def results():
    found = campaign.run("tests.fuzz.targets:TARGETS", seed=SEED, count=COUNT, workers=1)
    by_target = {name: [] for name in TARGETS}
    for result in found:
        by_target[result.target].append(result)
    return by_target


@pytest.mark.proves("S9")
@each_target
def test_every_input_ends_as_documented(name, results):
    wrong = [result for result in results[name] if result.is_undocumented]
    assert not wrong, [(one, AGAIN.format(SEED, one.number)) for one in wrong]
    assert len(results[name]) == TARGETS[name].share * COUNT // 100


@each_target
def test_the_mutations_reach_beyond_the_first_check(name, results):
    """Of every format some are read and some are not: neither all sound nor all noise."""
    outcomes = {result.outcome for result in results[name]}
    assert "read" in outcomes and len(outcomes) > 1


def test_one_seed_makes_one_input():
    turns = schedule(TARGETS)
    numbers = [turns.index(name) for name in TARGETS]
    first, again, other = (
        [make_input(TARGETS, seed, number) for number in numbers] for seed in (1, 1, 2)
    )
    assert first == again
    assert [name for name, _ in first] == list(TARGETS)
    assert all(a != b for a, b in zip(first, other, strict=True))


@pytest.fixture(scope="module")
def planted_results():
    count = len(planted.TARGETS)
    place = "tests.fuzz.planted:TARGETS"
    found = campaign.run(place, seed=0, count=count, workers=1, limit_s=3.0)
    return {result.target: result for result in found}


@pytest.mark.harm("S9")
@pytest.mark.parametrize("name", planted.DEFECTS)
def test_a_planted_defect_is_told(name, planted_results):
    result = planted_results[name]
    assert result.is_undocumented and result.outcome == planted.DEFECTS[name]


@pytest.mark.parametrize("name", planted.HARMLESS)
def test_what_is_documented_is_not_told(name, planted_results):
    result = planted_results[name]
    assert not result.is_undocumented and result.outcome == planted.HARMLESS[name]
    assert result.peak_mb < 100
