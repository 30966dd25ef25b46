"""`python -m lensjax.gates`: the verdict again, from the files of a run alone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lensjax.gates import __main__ as command
from lensjax.gates import examine, load_protocol, record, refuse, write
from lensjax.gates.protocol import Protocol
from lensjax.gates.record import files
from lensjax.schema import LensjaxError
from tests.gates.synthetic import edit_json, write_json

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("jax", "flax", "optax", "orbax", "tensorflow", "matplotlib", "ml_collections")


@pytest.fixture
def run(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "run"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, small: Protocol) -> list[str]:
    """The judging itself replaced: what is asked of it is in the list."""
    asked: list[str] = []

    def judged(workdir: Path, rules: Protocol, other_protocol: bool = False) -> dict:
        asked.append(rules.document["name"])
        gate = {
            "verdict": "FAIL",
            "value": 0.123456789,
            "ci": [0.1, 0.2],
            "threshold": 0.85,
            "required": True,
            "warn": False,
            "n_pos": 5,
            "n_neg": 6,
            "n_bricks": 7,
            "reason": "why",
        }
        return {
            "schema": "s",
            "verdict": "RED",
            "reason": "auroc_test FAIL",
            "protocol_digest": rules.digest,
            "arrays_digest": "a",
            "gates": {"auroc_test": gate},
        }

    monkeypatch.setattr(command, "examine", judged)
    return asked


def called(capsys, *argv: str) -> tuple[int, str, str]:
    code = command.main(argv)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_second_process_gives_the_same_bytes_and_needs_no_jax(
    run: Path, clean: Path, small: Protocol
) -> None:
    """From the arrays alone, with another number of threads."""
    script = (
        "import sys; from lensjax.gates.__main__ import main; "
        "code = main(sys.argv[1:]); "
        f"print(*[m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, f"--workdir={run}"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert done.stdout.rstrip().endswith("GREEN")
    for name, content in files(examine(clean, small)).items():
        assert (run / name).read_bytes() == content
    written = ["eval", "gates.json", "measures.json", "opened.jsonl", "provenance.json"]
    assert sorted(os.listdir(run)) == written


def test_json_is_printed_as_it_is_written(run: Path, quick, capsys) -> None:
    code, out, err = called(capsys, f"--workdir={run}", "--json")
    assert (code, err) == (20, "")
    assert out.encode() == (run / "gates.json").read_bytes()
    assert json.loads(out)["gates"]["auroc_test"]["value"] == 0.123457


@pytest.mark.proves("S7")
def test_an_edited_verdict_is_named_and_written_anew(run: Path, quick, capsys) -> None:
    """A gates.json that nobody recomputes says what it was made to say."""
    called(capsys, f"--workdir={run}")
    sound = (run / "gates.json").read_bytes()
    for text, told in (
        (sound.replace(b'"FAIL"', b'"PASS"'), 'gates.auroc_test.verdict: "PASS" -> "FAIL"'),
        (sound.replace(b"  ", b" "), "its layout"),
        (b"{", "no JSON object"),
    ):
        (run / "gates.json").write_bytes(text)
        assert (run / "gates.json").read_bytes() != sound
        code, _, err = called(capsys, f"--workdir={run}")
        assert code == 20 and told in err and "Written anew" in err
        assert err.count("\n") == 1
        assert (run / "gates.json").read_bytes() == sound


@pytest.mark.proves("S7")
def test_another_protocol_is_judged_aside(run: Path, quick, small, tmp_path, capsys) -> None:
    """Exit 12, the first differing field with both values, gates.json as it is."""
    called(capsys, f"--workdir={run}")
    before = (run / "gates.json").read_bytes()
    document = json.loads(json.dumps(small.document))
    document["name"] = "lax"
    document["gates"]["auroc_test"]["threshold"] = 0.5
    write_json(tmp_path / "lax.json", document)
    code, out, err = called(capsys, f"--workdir={run}", f"--protocol={tmp_path}/lax.json")
    assert code == 12 and quick[-1] == "lax"
    assert "gates.auroc_test.threshold: 0.85 -> 0.5" in err and err.count("\n") == 1
    assert out.startswith("other protocol") and out.rstrip().endswith("(other protocol)")
    code, out, _ = called(capsys, f"--workdir={run}", f"--protocol={tmp_path}/lax.json", "--json")
    assert code == 12 and json.loads(out)["other_protocol"] is True
    assert (run / "gates.json").read_bytes() == before
    write_json(tmp_path / "same.json", small.document)
    assert called(capsys, f"--workdir={run}", f"--protocol={tmp_path}/same.json")[0] == 20


@pytest.mark.proves("S7")
@pytest.mark.harm("S7")
def test_an_edited_copy_of_the_protocol_is_found(
    run: Path, quick, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the digest not compared, the laxer threshold judges."""
    path = run / "provenance.json"

    def lax(document) -> None:
        document["protocol"]["gates"]["auroc_test"]["threshold"] = 0.5
        document["protocol"]["name"] = "lax"

    edit_json(path, lax)
    code, out, err = called(capsys, f"--workdir={run}")
    assert (code, out, quick) == (12, "", []) and "provenance.json: holds a protocol" in err
    assert not (run / "gates.json").exists()
    edit_json(path, lambda document: document["protocol"].update(extra=1))
    code, _, err = called(capsys, f"--workdir={run}")
    assert code == 12 and "unknown key 'extra'" in err and err.count("\n") == 1
    edit_json(path, lambda document: document["protocol"].pop("extra"))
    monkeypatch.setattr(
        command,
        "stored_protocol",
        lambda workdir, digest: record.parse_protocol(json.loads(path.read_text())["protocol"]),
    )
    assert called(capsys, f"--workdir={run}")[0] == 20 and quick == ["lax"]


def test_without_a_copy_of_the_protocol(run: Path, quick, small, tmp_path, capsys) -> None:
    (run / "provenance.json").unlink()
    code, _, err = called(capsys, f"--workdir={run}")
    assert code == 12 and "Give --protocol=FILE of the digest" in err
    write_json(tmp_path / "same.json", small.document)
    assert called(capsys, f"--workdir={run}", f"--protocol={tmp_path}/same.json")[0] == 20
    write_json(tmp_path / "other.json", {**small.document, "name": "other"})
    code, _, err = called(capsys, f"--workdir={run}", f"--protocol={tmp_path}/other.json")
    assert code == 12 and "first difference digest:" in err


SUMMARY = {
    "all_passed": False,
    "exit_code": 11,
    "protocol_digest": "c0" * 32,
    "checks": {
        "stamps": {"verdict": "PASS", "required": True, "message": "all finite"},
        "splits": {"verdict": "FAIL", "required": True, "message": "1 brick shared \x1b[2J"},
        "labels": {"verdict": "NOT PROVEN", "required": True, "message": "none read"},
        "anchors": {"verdict": "NOT PROVEN", "required": False, "message": "none given"},
    },
}


def test_a_run_that_phase_0_refused_is_told_again(tmp_path: Path, capsys) -> None:
    (tmp_path / "phase0_summary.json").write_text(json.dumps(SUMMARY))
    judged = refuse(tmp_path, SUMMARY)
    assert (judged["verdict"], judged["reason"]) == ("RED", "phase0")
    assert list(judged["failed_checks"]) == ["splits", "labels"]
    sound = (tmp_path / "gates.json").read_bytes()
    code, out, err = called(capsys, f"--workdir={tmp_path}")
    assert (code, err) == (11, "")
    assert out.startswith("RED: phase0") and "splits: 1 brick shared" in out
    assert "anchors" not in out and "\x1b" not in out
    edit_json(tmp_path / "gates.json", lambda d: d.update(verdict="GREEN"))
    code, _, err = called(capsys, f"--workdir={tmp_path}")
    assert code == 11 and 'verdict: "GREEN" -> "RED"' in err
    assert (tmp_path / "gates.json").read_bytes() == sound


def test_a_refusal_holds_beside_older_arrays(run: Path, quick, capsys) -> None:
    write_json(run / "phase0_summary.json", SUMMARY)
    assert called(capsys, f"--workdir={run}")[0] == 11
    write_json(run / "phase0_summary.json", {**SUMMARY, "all_passed": True, "exit_code": 0})
    assert called(capsys, f"--workdir={run}")[0] == 20


@pytest.mark.parametrize(
    "change", [{"exit_code": 0}, {"exit_code": "x"}, {"checks": []}, {"checks": {}}]
)
def test_a_damaged_refusal_is_refused(tmp_path: Path, capsys, change) -> None:
    write_json(tmp_path / "phase0_summary.json", {**SUMMARY, **change})
    code, out, err = called(capsys, f"--workdir={tmp_path}")
    assert (code, out) == (22, "") and "phase0_summary.json: " in err


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--workdir=nowhere"], "nowhere: no such run directory"),
        ([], "required: --workdir"),
        (["--workdri=x"], "unknown flag --workdri. Did you mean --workdir?"),
        (["--workdir=x", "--workdir=y"], "--workdir is given twice"),
        (["--workdir=x", "y"], "unrecognized arguments: y"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_2(capsys, argv, told: str) -> None:
    code, out, err = called(capsys, *argv)
    assert (code, out) == (2, "") and told in err and err.count("\n") == 1


def test_a_wrong_protocol_file_is_exit_2(run: Path, capsys) -> None:
    code, _, err = called(capsys, f"--workdir={run}", "--protocol=none.json")
    assert code == 2 and "none.json: cannot be read" in err


def test_arrays_that_cannot_be_used_are_exit_22(run: Path, capsys) -> None:
    (run / "eval/test.npz").write_bytes(b"x")
    code, out, err = called(capsys, f"--workdir={run}")
    assert (code, out) == (22, "") and err.count("\n") == 1 and "Traceback" not in err
    assert not (run / "gates.json").exists()


def test_a_bug_is_one_line_too(run: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args, **more):
        raise KeyError("x")

    monkeypatch.setattr(command, "examine", broken)
    code, _, err = called(capsys, f"--workdir={run}")
    assert code == 1 and "a bug in lensjax" in err and err.count("\n") == 1
    assert "Traceback" in called(capsys, f"--workdir={run}", "--debug")[2]


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"a": 1, "arrays_digest": None})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record.os, "fsync", full)
    with pytest.raises(LensjaxError) as caught:
        write(tmp_path, {"a": 2, "arrays_digest": None})
    assert caught.value.code == 16
    assert os.listdir(tmp_path) == ["gates.json"]
    assert json.loads((tmp_path / "gates.json").read_text())["a"] == 1
    write(tmp_path, {"a": 1, "arrays_digest": None})  # the same bytes: nothing to write


def test_the_run_protocol_is_the_one_of_its_provenance(clean: Path, small: Protocol) -> None:
    """As lensjax.runs.provenance stores it: the document whole, under `protocol`."""
    from lensjax.runs import provenance

    for rules in (small, load_protocol(ROOT / "configs/protocols/survey.json")):
        seen = provenance.collect(
            config={}, protocol=rules.document, protocol_digest=rules.digest, data_digest=None
        )
        stored = json.loads(json.dumps(seen))["protocol"]
        assert record.parse_protocol(stored).digest == rules.digest
    assert record.stored_protocol(clean, small.digest).document == small.document
