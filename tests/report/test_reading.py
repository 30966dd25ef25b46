"""Damaged and missing files are named, and the rest is read."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from lensjax.report import reading
from lensjax.schema import ExitCode, LensjaxError


@pytest.fixture
def copied(files_of_a_run: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(files_of_a_run, tmp_path / "b3")


def why(run: reading.Run, file: str) -> str:
    return {absence.file: absence.why for absence in run.absences}[file]


def test_a_complete_run_has_no_absences(files_of_a_run):
    run = reading.read_run(files_of_a_run)
    assert run.absences == ()
    assert len(run.metrics) == 12
    assert run.test is not None
    assert set(run.test) == set(reading.EVALUATION_ARRAYS)


def test_an_empty_directory_names_every_file(tmp_path):
    run = reading.read_run(tmp_path)
    assert {absence.file for absence in run.absences} == {
        *reading.JSON_FILES.values(),
        "metrics.jsonl",
        "eval/val.npz",
        "eval/test.npz",
        "eval/examples.npz",
        reading.MEASURES,
        reading.SALIENCY,
    }


def test_no_directory_is_a_wrong_command(tmp_path):
    with pytest.raises(LensjaxError) as caught:
        reading.read_run(tmp_path / "nowhere")
    assert caught.value.code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "unreadable"),
        (b"[1]", "not a JSON object"),
        (b"\xff\xfe{}", "unreadable"),
        (b"[" * 100_000, "unreadable"),
    ],
)
def test_damaged_json_is_named(copied, content, told):
    (copied / "gates.json").write_bytes(content)
    run = reading.read_run(copied)
    assert run.gates == {}
    assert told in why(run, "gates.json")
    assert run.phase0


def test_half_a_line_of_metrics_costs_that_line_alone(copied):
    with (copied / "metrics.jsonl").open("a") as file:
        file.write('7\n{"epoch": 13, "train_lo')
    run = reading.read_run(copied)
    assert len(run.metrics) == 12
    assert "2 unreadable lines" in why(run, "metrics.jsonl")
    assert "13, 14" in why(run, "metrics.jsonl")


def test_truncated_arrays_are_named(copied):
    path = copied / "eval" / "test.npz"
    path.write_bytes(path.read_bytes()[:5000])
    run = reading.read_run(copied)
    assert run.test is None
    assert "unreadable" in why(run, "eval/test.npz")
    assert run.val is not None


def _save(path: Path, **changes) -> None:
    """Write the arrays of `path` again, with changes; None removes one."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files} | changes
    kept = {name: array for name, array in arrays.items() if array is not None}
    np.savez(path, **kept)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"logit": None}, "without logit"),
        ({"logit": np.zeros(3)}, r"logit has shape (3,)"),
        ({"arc_snr_outside": np.zeros((960, 5))}, "arc_snr_outside has shape"),
    ],
)
def test_missing_and_misshapen_arrays_are_named(copied, changes, told):
    path = copied / "eval" / "test.npz"
    _save(path, **changes)
    run = reading.read_run(copied)
    assert run.test is None
    assert told in why(run, "eval/test.npz")


def test_pickles_are_never_loaded(copied, tmp_path):
    class Harm:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "harm",))

    path = copied / "eval" / "test.npz"
    np.savez(path, logit=np.array([Harm()], dtype=object), label=np.zeros(1))
    run = reading.read_run(copied)
    assert "unreadable" in why(run, "eval/test.npz")
    assert not (tmp_path / "harm").exists()
    with np.load(path, allow_pickle=True) as archive:  # the guard off
        _ = archive["logit"]
    assert (tmp_path / "harm").exists()
