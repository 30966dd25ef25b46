"""What a verdict must not come to (T1, T4, T9, T11, S6, S7): the gates' command on stored arrays,
with its exit code and cause; and without the guard, the wrong verdict that comes out.

The other ids of the statistics, which are about many sets, are in tests/gates.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from lensjax.gates import __main__ as command
from lensjax.gates.protocol import Protocol, parse_protocol
from tests.faults.gate_guards import switch_off
from tests.gates.synthetic import (
    CHECKS,
    Arrays,
    edit_json,
    save_split,
    synthetic_arrays,
    write_evaluation,
    write_json,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Of BLAS: several, on a busy machine, wait for each other."""
    with threadpool_limits(limits=1, user_api="blas"):
        yield


def quick(name: str, **minimum: int) -> Protocol:
    """The default thresholds with few repetitions, and minimum counts of its own."""
    document = json.loads((ROOT / "configs/protocols/default.json").read_text())
    document["name"] = name
    document["intervals"]["resamples"] = 200
    document["probes"] |= {"c_grid": [0.001], "permutations": 3, "folds": 2}
    document["hunter"] |= {"ridge_grid": [0.1], "permutations": 3}
    if minimum:
        document["minimum"] = minimum
        for rule in document["gates"].values():
            rule.pop("minimum", None)
    return parse_protocol(document)


SMALL = quick("small", n_pos=100, n_neg=100, n_bricks=20)
SIZE = {"pairs": 400, "lookalikes": 60, "hosts_per_brick": 8}


class Verdict(NamedTuple):
    """How the command ended, and gates.json; {} if there is none."""

    code: int
    out: str
    err: str
    gates: dict[str, Any]


def judged(run: Path, *more: str, off: str = "", in_child: bool = False) -> Verdict:
    """`python -m lensjax.gates --workdir=RUN`, a guard taken away."""
    argv = [f"--workdir={run}", *more]
    if in_child:
        module = ["tests.faults.gate_guards", off] if off else ["lensjax.gates"]
        done = subprocess.run(
            [sys.executable, "-m", *module, *argv],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        code, out, err = done.returncode, done.stdout, done.stderr
    else:
        told, said = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(told),
            contextlib.redirect_stderr(said),
        ):
            if off:
                switch_off(off, patch)
            code = command.main(argv)
        out, err = told.getvalue(), said.getvalue()
    path = run / "gates.json"
    return Verdict(code, out, err, json.loads(path.read_text()) if path.exists() else {})


@pytest.fixture(scope="module")
def green(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound run. Copy it."""
    return write_evaluation(tmp_path_factory.mktemp("gates") / "green", SMALL, **SIZE)


@pytest.fixture
def run(green: Path, tmp_path: Path) -> Path:
    """A sound run of one's own."""
    return Path(shutil.copytree(green, tmp_path / "run"))


# -- runs that must not be GREEN -------------------------------------------------------------------


def perfect(split: str, rows: Arrays) -> None:
    """Every lens above every other row."""
    rows["logit"] += np.float32(100) * rows["label"]
    rows["logit_core_masked"] += np.float32(100) * rows["label"][:, None]


def few_and_perfect(folder: Path) -> Path:
    """200 a class."""
    planted = {"paired": True, "pairs": 200, "lookalikes": 0, "hosts_per_brick": 5}
    return write_evaluation(folder, quick("default"), change=perfect, **planted)


def perfect_unchecked(folder: Path) -> Path:
    """1,100 a class, and the leak checks absent."""
    told = {"phase0": {}}
    return write_evaluation(
        folder, quick("default"), paired=True, pairs=1100, change=perfect, manifest=told
    )


def twenty_a_class(folder: Path) -> Path:
    """All is well by the points."""
    return write_evaluation(
        folder, quick("default"), pairs=32, lookalikes=8, hosts_per_brick=2, skill=0.2
    )


def short(folder: Path) -> Path:
    """Cut off before its epochs, though all gates are good."""
    told = {"evidence": False, "evidence_reason": "ended at epoch 1 of 10"}
    return write_evaluation(folder, SMALL, manifest=told, **SIZE)


def short_and_bad(folder: Path) -> Path:
    """The same with a model that knows nothing."""
    return write_evaluation(folder, SMALL, manifest={"evidence": False}, skill=0.0, **SIZE)


class Case(NamedTuple):
    """An id, a run, how it must end (exit code, and what gates.json's reason says), and the guard
    without which it ends with exit code `harm`."""

    id: str
    make: Callable[[Path], Path]
    code: int
    cause: str
    off: str
    harm: int


RUNS = [
    Case("T1", perfect_unchecked, 20, "perfect_scores FAIL", "perfect", 0),
    Case("T1", few_and_perfect, 20, "perfect_scores FAIL", "perfect", 21),
    Case("T4", twenty_a_class, 21, "auroc_test INCONCLUSIVE", "intervals", 0),
    Case("T11", short, 21, "not evidence", "evidence", 0),
    Case("T11", short_and_bad, 20, "auroc_test FAIL", "", 20),
]
CHILD = pytest.param(True, marks=pytest.mark.faults, id="child")
where = pytest.mark.parametrize("in_child", [pytest.param(False, id="here"), CHILD])


def each(mark: Callable[[str], pytest.MarkDecorator], cases: list[Case]):
    """A test a case, with the mark of its id."""
    told = [
        pytest.param(case, marks=mark(case.id), id=f"{case.id}-{case.make.__name__}")
        for case in cases
    ]
    return pytest.mark.parametrize("case", told)


@where
@each(pytest.mark.proves, RUNS)
def test_it_is_not_green(case: Case, in_child: bool, tmp_path: Path) -> None:
    found = judged(case.make(tmp_path / "run"), in_child=in_child)
    assert found.code == case.code, found
    assert case.cause in found.gates["reason"] and found.gates["verdict"] != "GREEN"
    assert f"\n{found.gates['verdict']}: {found.gates['reason']}\n" in f"{found.out}\n"


@where
@each(pytest.mark.harm, [case for case in RUNS if case.off and case.harm == 0])
def test_without_the_guard_it_is(case: Case, in_child: bool, tmp_path: Path) -> None:
    found = judged(case.make(tmp_path / "run"), off=case.off, in_child=in_child)
    assert (found.code, found.gates["verdict"]) == (case.harm, "GREEN"), found


# -- arrays that are not those of the test split --------------------------------------------------


def resaved(run: Path, split: str, change: Callable[[Arrays], Any]) -> None:
    """A split of `run` written anew, the manifest along, as a faulty writer would."""
    with np.load(run / f"eval/{split}.npz") as stored:
        arrays = dict(stored)
    change(arrays)
    entry = save_split(run, split, arrays)
    edit_json(run / "eval/manifest.json", lambda m: m["splits"].update({split: entry}))


def of_training(run: Path) -> None:
    """The model knows nothing of test, and its training stamps by heart: those are in test.npz."""
    resaved(run, "test", lambda rows: rows.update(synthetic_arrays("test", skill=0.0, **SIZE)))
    rows = synthetic_arrays("train", seed=3, skill=0.4, **SIZE)
    told = json.loads((run / "eval/manifest.json").read_text())["splits"]["test"]
    save_split(run, "test", rows)
    assert told["n"] == len(rows["label"])


def forged(run: Path) -> None:
    """The same, and the file's digest in the manifest along; the ids that it names stay."""
    of_training(run)
    arrays = synthetic_arrays("train", seed=3, skill=0.4, **SIZE)
    entry = save_split(run, "test", arrays) | {"ids_sha256": "0" * 64}
    edit_json(run / "eval/manifest.json", lambda m: m["splits"].update(test=entry))


def bit(run: Path) -> None:
    """One bit of a score."""
    path = run / "eval/test.npz"
    content = bytearray(path.read_bytes())
    content[content.find(b"logit.npy") + 9 + 128 + 402] ^= 0x40
    path.write_bytes(content)


def cut(run: Path) -> None:
    resaved(run, "test", lambda rows: rows.update(psf_depth=rows["psf_depth"][1:]))


def mixed(run: Path) -> None:
    """val of another run."""
    save_split(run, "val", synthetic_arrays("val", seed=9, **SIZE))


def nan(run: Path) -> None:
    resaved(run, "test", lambda rows: rows["logit"].__setitem__(3, np.nan))


class Damage(NamedTuple):
    """An id, what is done to the arrays of a sound run, and the cause that is told (exit 22).
    `silent`: without the guard a verdict comes of it; else another guard ends it."""

    id: str
    make: Callable[[Path], None]
    cause: str
    silent: bool = True


DAMAGE = [
    Damage("T9", of_training, "test.npz: is not the file .* of other rows than the test manifest"),
    Damage("T9", forged, "test.npz: its stamp ids are not in the test manifest"),
    Damage("S6", bit, "test.npz: is not the file .* SHA-256 differs"),
    Damage("S6", cut, "test.npz: psf_depth has 859 rows, the manifest says 860", silent=False),
    Damage("S6", mixed, "val.npz: is not the file that eval/manifest.json names"),
    Damage("S6", nan, "test.npz: logit is not finite in 1 rows, first 'test-000003'"),
]


@where
@each(pytest.mark.proves, DAMAGE)  # type: ignore[arg-type]
def test_arrays_that_are_not_its_own_are_refused(case: Damage, in_child: bool, run: Path) -> None:
    """Exit 22, one line that names the file and the cause, and nothing is written."""
    case.make(run)
    before = sorted(os.listdir(run))
    found = judged(run, in_child=in_child)
    assert found.code == 22 and found.out == "", found
    (line,) = found.err.splitlines()
    assert line.startswith("error: ") and re.search(case.cause, line)
    assert sorted(os.listdir(run)) == before


@where
@each(pytest.mark.harm, [case for case in DAMAGE if case.silent])  # type: ignore[arg-type]
def test_plain_numpy_makes_a_verdict_of_them(case: Damage, in_child: bool, run: Path) -> None:
    """GREEN: of rows that the model was trained on, of another run, with a score that is none's."""
    case.make(run)
    found = judged(run, off="arrays", in_child=in_child)
    assert (found.code, found.gates["verdict"]) == (0, "GREEN"), found


# -- thresholds and verdicts that somebody edited -------------------------------------------------


@pytest.fixture(scope="module")
def red(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that failed, judged: its model knows little. Copy it."""
    run = write_evaluation(tmp_path_factory.mktemp("gates") / "red", SMALL, skill=0.06, **SIZE)
    assert judged(run).code == 20
    return run


@pytest.fixture
def bad(red: Path, tmp_path: Path) -> Path:
    """A run that failed of one's own."""
    return Path(shutil.copytree(red, tmp_path / "bad"))


def lax(document: dict[str, Any]) -> dict[str, Any]:
    """A protocol that the bad run passes."""
    document["gates"]["auroc_test"]["threshold"] = 0.5
    return document


def edited_protocol(run: Path) -> list[str]:
    edit_json(run / "provenance.json", lambda record: lax(record["protocol"]))
    return []


def another_protocol(run: Path) -> list[str]:
    path = run.parent / "lax.json"
    write_json(path, lax(json.loads(json.dumps(SMALL.document))))
    return [f"--protocol={path}"]


@where
@pytest.mark.proves("S7")
@pytest.mark.parametrize(
    ("tampered", "cause"),
    [
        (edited_protocol, "provenance.json: holds a protocol of digest"),
        (another_protocol, "first difference gates.auroc_test.threshold: 0.85 -> 0.5"),
    ],
)
def test_an_edited_threshold_does_not_judge(bad: Path, tampered, cause: str, in_child) -> None:
    before = (bad / "gates.json").read_bytes()
    found = judged(bad, *tampered(bad), in_child=in_child)
    assert found.code == 12 and cause in found.err and found.err.count("\n") == 1
    assert (bad / "gates.json").read_bytes() == before and found.gates["verdict"] == "RED"


@where
@pytest.mark.harm("S7")
@pytest.mark.parametrize(
    ("tampered", "off"), [(edited_protocol, "protocol"), (another_protocol, "other protocol")]
)
def test_without_the_digest_it_does(bad: Path, tampered, off: str, in_child: bool) -> None:
    assert judged(bad, *tampered(bad), off=off, in_child=in_child).code == 0


def painted(run: Path) -> None:
    """gates.json by hand: GREEN."""

    def change(document: dict[str, Any]) -> None:
        document.update(verdict="GREEN", reason="")
        for gate in document["gates"].values():
            gate.update(verdict="PASS", warn=False)

    edit_json(run / "gates.json", change)


@where
@pytest.mark.proves("S7")
def test_an_edited_verdict_is_named_and_written_anew(bad: Path, in_child: bool) -> None:
    sound = (bad / "gates.json").read_bytes()
    painted(bad)
    found = judged(bad, in_child=in_child)
    assert found.code == 20 and (bad / "gates.json").read_bytes() == sound
    assert "gates.json: was not what the arrays give (gates.auroc_test." in found.err


@where
@pytest.mark.harm("S7")
def test_an_edited_verdict_that_nobody_recomputes_is_believed(bad: Path, in_child: bool) -> None:
    painted(bad)
    assert judged(bad, off="recomputing", in_child=in_child).code == 0


def test_the_sound_run_is_green(run: Path) -> None:
    assert json.loads((run / "eval/manifest.json").read_text())["phase0"]["checks"].keys() == set(
        CHECKS
    )
    assert judged(run).code == 0
