"""phase0/run_all.py and its sisters on Parquet files, through the real reader."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lensjax.checks import command, run
from lensjax.checks.command import main
from lensjax.checks.result import CHECKS, Outcome
from lensjax.checks.scan import scan_sets
from lensjax.configuration import load_config
from lensjax.data.stampset import Finding
from lensjax.schema import ExitCode

pytestmark = pytest.mark.usefixtures("quick_intervals")
ROOT = Path(__file__).resolve().parents[2]


def simulated(sets):
    """In place of the simulator: scan_source of these sets."""
    return lambda source, workers: (scan_sets(sets, progress=False), sets)


@pytest.fixture
def phase0(tmp_path, capsys, made):
    """Runs the command on sets: (exit code, last line of stderr, summary as JSON)."""

    def run_all(sets, *flags: str, only=CHECKS):
        root = made.write_root(tmp_path / "data", sets)
        out = tmp_path / "summary.json"
        argv = [f"--data={root}", f"--config.data.cache_dir={tmp_path / 'cache'}", f"--out={out}"]
        code = main([*argv, *flags], only=only)
        lines = capsys.readouterr().err.strip().splitlines()
        return code, (lines or [""])[-1], json.loads(out.read_text())

    return run_all


def test_clean_files_pass(clean, phase0):
    code, _, summary = phase0(clean)
    assert code == 0 and summary["all_passed"] is True and summary["exit_code"] == 0
    assert list(summary["checks"]) == list(CHECKS)
    assert summary["checks"]["splits"]["counts"]["proportions"]["train"] == 0.5
    assert summary["checks"]["anchors"]["verdict"] == "NOT PROVEN"


def test_nan_is_named_by_file_row_and_band(sets, phase0):
    sets["train"].stamps[2 * 17 + 1, 5, 5, 1] = np.nan
    code, line, _ = phase0(sets)
    assert code == 10
    assert "train/part-00000.parquet row 17 band r" in line and "1 NaN" in line


def test_shared_brick_names_both_files(sets, phase0, monkeypatch):
    sets["train"].table["brick"][2:4] = sets["test"].table["brick"][0]
    code, line, summary = phase0(sets)
    assert code == 11 and summary["all_passed"] is False
    assert "train/part-00000.parquet" in line and "test/part-00000.parquet" in line


def test_with_the_check_off_a_shared_brick_passes(sets, phase0, monkeypatch):
    sets["train"].table["brick"][2:4] = sets["test"].table["brick"][0]
    monkeypatch.setattr(run, "check_splits", lambda *args, **kwargs: Outcome("off"))
    assert phase0(sets)[0] == 0


def test_folders_swapped_are_refused(sets, phase0):
    """D12: the rows say which split they are of."""
    train, test = sets["train"], sets["test"]
    code, line, _ = phase0({"train": test, "val": sets["val"], "test": train})
    assert code == 11 and "region_split 'test' in the folder train" in line


def test_stated_proportions_are_enforced_on_user_data(clean, phase0):
    code, line, _ = phase0(clean, "--config.data.proportions=(0.8, 0.1, 0.1)")
    assert code == 11 and "stated 0.800" in line


def test_survey_protocol_needs_the_catalogues(clean, phase0):
    code, line, _ = phase0(clean, "--config.protocol=configs/protocols/survey.json")
    assert code == 10 and "anchors" in line


def test_a_row_is_set_aside_where_the_protocol_has_a_budget(sets, phase0, tmp_path, capsys):
    """Passed, listed with file, row and cause, counted; one row more and it is refused."""
    sets["train"].stamps[2 * 17 + 1, 5, 5, 1] = np.nan
    protocol = json.loads((ROOT / "configs/protocols/default.json").read_text())
    codes = []
    for budget in (0, 1):
        protocol["phase0"]["limits"]["quarantine"] = budget
        (tmp_path / "protocol.json").write_text(json.dumps(protocol))
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        code, line, summary = phase0(sets, f"--config.protocol={tmp_path / 'protocol.json'}")
        stamps = summary["checks"]["stamps"]
        assert stamps["counts"]["quarantined"] == summary["quarantined"] == 1
        (found,) = [one for one in stamps["findings"] if one["severity"] == "QUARANTINE"]
        assert found["where"] == "train/part-00000.parquet row 17 band r"
        assert (found["message"], found["code"]) == ("1 NaN", 10)
        assert f"1 rows to set aside, budget {budget}" in stamps["message"] or budget
        assert ("row 17 band r: 1 NaN" in line) == (budget == 0)
        codes.append(code)
    assert codes == [10, 0] and "1 rows set aside, budget 1" in stamps["message"]
    assert summary["checks"]["labels"]["counts"]["positives"] == 95


def test_workers_are_as_many_as_asked_for(clean, phase0, monkeypatch):
    """data.workers: 0 is one a processor."""
    asked, plain = [], run.scan_files
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2}, raising=False)

    def counted(source, *, workers):
        asked.append(workers)
        return plain(source, workers=1, progress=False)

    monkeypatch.setattr(run, "scan_files", counted)
    assert phase0(clean)[0] == 0
    assert asked == [3]


def test_a_simulated_set_that_passed_is_prepared_under_its_variant(
    clean, tmp_path, monkeypatch, capsys
):
    told = {}
    monkeypatch.setattr(command, "scan_source", simulated(clean))
    monkeypatch.setattr(command.prepared, "prepare", lambda *args, config: told.update(name=config))
    argv = ["--config=configs/b3.py:tiny", f"--config.data.cache_dir={tmp_path}"]
    assert main([*argv, f"--out={tmp_path / 'new' / 'summary.json'}"]) == 0
    assert told == {"name": "simulated_tiny"}
    assert json.loads((tmp_path / "new" / "summary.json").read_text())["all_passed"] is True


def test_a_bug_is_one_line_and_debug_keeps_the_exit_code(clean, phase0, monkeypatch, capsys):
    def broken(*args, **kwargs):
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(command, "run_checks", broken)
    argv = ["--config=configs/b3.py:tiny"]
    assert main(argv, only=("protocol",)) == 1
    line = capsys.readouterr().err.strip()
    assert "ZeroDivisionError: on purpose" in line and "\n" not in line
    monkeypatch.undo()
    assert main([*argv, "--anchors=none.csv", "--debug"], only=("anchors",)) == 10
    assert "Traceback" in capsys.readouterr().err
    assert main(["--dta=x", "--debug"]) == 2


def test_the_help_is_no_error(capsys):
    assert main(["--help"]) == 0
    assert "exit codes" in capsys.readouterr().out


def test_a_cache_that_cannot_be_written_to_is_named(clean, tmp_path, monkeypatch, capsys):
    """Before the checks, and where it becomes so while they run."""
    monkeypatch.setattr(command, "scan_source", simulated(clean))
    cache = tmp_path / "cache"
    cache.write_text("a file")
    argv = ["--config=configs/b3.py:tiny", f"--config.data.cache_dir={cache}"]
    for check in (None, lambda name: None):
        if check:
            monkeypatch.setattr(command.configuration, "_check_cache", check)
        assert main([*argv]) == 16
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert str(cache) in line and "cache folder" in line and "data.cache_dir" in line


def test_counts_that_contradict_the_proportions_are_told_as_such(clean, tmp_path, phase0, capsys):
    """Simulated bricks are never split anew: the fields of the config disagree."""
    monkeypatch = pytest.MonkeyPatch()
    with monkeypatch.context() as patch:
        patch.setattr(command, "scan_source", simulated(clean))
        flag = "--config.data.proportions=(0.8, 0.1, 0.1)"
        cache = f"--config.data.cache_dir={tmp_path}"
        assert main(["--config=configs/b3.py:tiny", flag, cache]) == 11
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "stated 0.800" in line and "data.pairs" in line and "data.lookalikes" in line
    assert "Change data.proportions" in line and "Split anew" not in line
    code, line, _ = phase0(clean, "--config.data.proportions=(0.8, 0.1, 0.1)")
    assert code == 11 and "Split anew" in line and "data.pairs" not in line


@pytest.mark.parametrize("name", ["anchors", "contaminants"])
def test_the_remedy_for_a_catalogue_is_one_that_main_takes(name, capsys):
    argv = ["--config=configs/b3.py:tiny", "--config.protocol=configs/protocols/survey.json"]
    assert main(argv, only=(name,)) == 10
    line = capsys.readouterr().err.strip().splitlines()[-1]
    (field,) = [word for word in line.split() if word.startswith(f"--config.data.{name}=")]
    assert load_config("configs/b3.py:tiny", [(field.split("=")[0][len("--config.") :], "a.csv")])


def test_an_address_is_no_place_for_the_summary(tmp_path, capsys, monkeypatch):
    argv = ["--config=configs/b3.py:tiny", "--out=s3://bucket/summary.json"]
    assert main(argv, only=("protocol",)) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "--out=s3://bucket/summary.json: is an address" in line and "copy what is" in line
    monkeypatch.setattr(command, "local_path", lambda name, flag: tmp_path / name)
    assert main(argv, only=("protocol",)) == 0
    assert (tmp_path / "s3:" / "bucket" / "summary.json").is_file()  # harm: here, and not there


def test_more_findings_are_where_the_last_line_says(sets, made, tmp_path, capsys, monkeypatch):
    """The file that --out names; and all on the screen where a script writes none."""
    monkeypatch.setenv("COLUMNS", "200")
    sets["train"].stamps[1:40:2, 0, 0, 0] = np.nan
    argv = [f"--data={made.write_root(tmp_path / 'data', sets)}"]
    argv += [f"--config.data.cache_dir={tmp_path / 'cache'}"]
    assert main(argv, only=("stamps",)) == 10
    alone = capsys.readouterr().out
    assert alone.count("1 NaN") == 20 and ".json" not in alone
    out = tmp_path / "other.json"
    assert main([*argv, f"--out={out}"], only=("stamps",), out="phase0_summary.json") == 10
    assert f"more, in {out}" in capsys.readouterr().out
    assert len(json.loads(out.read_text())["checks"]["stamps"]["findings"]) >= 20


def test_a_lens_among_the_look_alikes_has_a_remedy_of_its_own(tmp_path, capsys):
    anchors, contaminants = tmp_path / "a.csv", tmp_path / "c.csv"
    anchors.write_text("name,ra,dec,theta_e_arcsec\nlens,10,-5,1.2\n")
    contaminants.write_text("name,ra,dec,category\nthe same,10,-5,ring\n")
    argv = ["--config=configs/b3.py:tiny", f"--anchors={anchors}", f"--contaminants={contaminants}"]
    assert main(argv, only=("contaminants",)) == 10
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"{contaminants} row 0" in line and "Remove it from one of the two" in line


def test_one_check_alone(sets, phase0):
    sets["train"].stamps[1] = sets["train"].stamps[0]  # identical pair: not this check's business
    code, _, summary = phase0(sets, only=("splits",))
    assert code == 0 and list(summary["checks"]) == ["splits"]


@pytest.mark.parametrize(
    ("argv", "cause"),
    [
        ([], "nothing to check"),
        (["--dta=x"], "--data"),
        (["--data=/nowhere/at/all"], "no such directory"),
        ([f"--data={__file__}"], "is a file, not a directory"),
        (["--data=x", "--config.data.root=y"], "twice"),
        (["--data=x", "--anchors=y", "--config.data.anchors=y"], "name the anchors twice"),
        (["--config=configs/b3.py:tiny", "--config.data.pairing_=x"], "pairing"),
    ],
)
def test_wrong_use_is_exit_2_in_one_line(argv, cause, capsys):
    assert main(argv) == 2
    error = capsys.readouterr().err.strip()
    assert cause in error and "\n" not in error


def test_every_script_runs_its_checks():
    """Between them the scripts run all checks; each is thin and answers --help."""
    scripts = sorted((ROOT / "phase0").glob("*.py"))
    assert len(scripts) == 9
    text = "".join(path.read_text() for path in scripts)
    assert all(f'"{name}"' in text for name in CHECKS)
    assert max(len(path.read_text().splitlines()) for path in scripts) < 25


@pytest.mark.parametrize("flag", ["--anchors", "--config.data.anchors"])
def test_catalogues_are_named_by_flag_or_in_the_config(flag, capsys):
    argv = ["--config=configs/b3.py:tiny", f"{flag}=none.csv"]
    assert main(argv, only=("anchors",)) == 10
    assert "none.csv: cannot be read" in capsys.readouterr().err


def test_script_in_a_child_process(tmp_path):
    """No data is read for the catalogues; the exit code is the process's own."""
    script = ROOT / "phase0" / "check_catalogues.py"
    argv = [sys.executable, str(script), "--config=configs/b3.py:tiny", "--anchors=none.csv"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 10, done.stderr
    assert "none.csv: cannot be read" in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("only", ["pairs", "duplicates", "splits"])
def test_one_check_alone_does_not_pass_what_was_not_read(sets, made, monkeypatch, only):
    """A file that could not be read is told of, whichever check was asked for."""
    lost = Finding("stamps", "ERROR", "truncated", "val/part-1.parquet", ExitCode.DATA_INVALID)
    summary = made.phase0(sets, (lost,), only=[only])
    assert summary.exit_code == ExitCode.DATA_INVALID
    assert [result.name for result in summary.stopping()] == ["stamps"]
    assert [r.name for r in made.phase0(sets, only=[only]).results] == [only]  # not if all is well
