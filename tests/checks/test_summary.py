"""Verdicts, exit codes, the JSON and the cache of summaries."""

from __future__ import annotations

import importlib.metadata
import io
import json
import shutil
from itertools import permutations
from pathlib import Path

import pytest
from rich.console import Console

from lensjax.checks import cache
from lensjax.checks.cache import cached_summary, checks_digest, store_summary
from lensjax.checks.protocol import phase0_rules
from lensjax.checks.result import (
    FAIL,
    NOT_PROVEN,
    PASS,
    REMEDIES,
    SHOWN,
    Outcome,
    Summary,
    judge,
)
from lensjax.data.stampset import Finding
from lensjax.gates import logistic, shortcuts, statistics
from lensjax.schema import ExitCode, LensjaxError

ORDER = (17, 12, 10, 11)


def failed(name: str, code: int, severity: str = "ERROR"):
    finding = Finding(name, severity, "cause", "file row 1", ExitCode(code))
    outcome = Outcome("", (finding,))
    return judge(name, outcome, required=True, set_aside=1, quarantine_budget=0)


def summary_of(*results):
    return Summary(tuple(results), "d", "p", "c")


def test_the_code_is_the_first_present_of_17_12_10_11():
    for codes in permutations(ORDER):
        for k in range(1, 5):
            results = [failed("stamps", code) for code in codes[:k]]
            expected = next(code for code in ORDER if code in codes[:k])
            assert summary_of(*results).exit_code == expected


def test_not_proven_blocks_only_where_required():
    unknown = Outcome("", not_proven="No file.")
    for required, code in ((True, 10), (False, 0)):
        result = judge("anchors", unknown, required=required, set_aside=0, quarantine_budget=0)
        assert result.verdict == NOT_PROVEN
        assert summary_of(result).exit_code == code


def test_a_failure_stops_a_run_even_where_the_check_is_not_required():
    finding = Finding("anchors", "ERROR", "cause", "", ExitCode.DATA_INVALID)
    outcome = Outcome("", (finding,))
    result = judge("anchors", outcome, required=False, set_aside=0, quarantine_budget=0)
    assert result.verdict == FAIL and not summary_of(result).all_passed


def test_notes_never_fail_and_quarantine_has_a_budget():
    assert failed("stamps", 10, "NOTE").verdict == PASS
    assert failed("stamps", 10, "QUARANTINE").codes() == {10}
    finding = Finding("stamps", "QUARANTINE", "cause", "", ExitCode.DATA_INVALID)
    outcome = Outcome("Looked.", (finding, finding))  # two faults of one row
    for set_aside, budget, verdict in ((1, 1, PASS), (2, 1, FAIL), (1, 0, FAIL), (2, 2, PASS)):
        result = judge(
            "stamps", outcome, required=True, set_aside=set_aside, quarantine_budget=budget
        )
        assert result.verdict == verdict and result.counts["quarantined"] == set_aside
        assert f"{set_aside} rows" in result.message and f"budget {budget}" in result.message
        assert result.codes() == ({10} if verdict == FAIL else set())
    other = judge("splits", Outcome(""), required=True, set_aside=2, quarantine_budget=0)
    assert other.verdict == PASS and other.counts["quarantined"] == 0  # not this check's rows


def test_what_cannot_be_set_aside_fails_within_any_budget():
    """Hostile input is an ERROR, and a budget is for rows."""
    errors = [
        Finding("stamps", severity, "cause", "", ExitCode(code))
        for severity, code in (("QUARANTINE", 10), ("ERROR", 17))
    ]
    outcome = Outcome("", tuple(errors))
    result = judge("stamps", outcome, required=True, set_aside=1, quarantine_budget=9)
    assert result.verdict == FAIL and summary_of(result).exit_code == 17
    assert result.findings[0].severity == "ERROR"  # the cause comes first


def test_reader_findings_are_part_of_the_check_they_belong_to(clean, made):
    findings = (
        Finding("splits", "ERROR", "region_split 'test' in the folder train", "f", ExitCode.LEAK),
        Finding("stamps", "ERROR", "truncated", "train/a.parquet", ExitCode.DATA_INVALID),
        Finding("elsewhere", "ERROR", "zip bomb", "val/a.parquet", ExitCode.REFUSED_INPUT),
    )
    summary = made.phase0(clean, findings)
    assert summary["splits"].verdict == FAIL
    assert len(summary["stamps"].findings) == 2
    assert summary.exit_code == 17


def test_json_comes_back_the_same_and_lists_every_failure(sets, made):
    sets["train"].stamps[:9, 0, 0, 0] = float("nan")
    summary = made.phase0(sets)
    document = json.loads(json.dumps(summary.to_json(), allow_nan=False))
    assert Summary.from_json(document) == summary
    assert document["all_passed"] is False and document["exit_code"] == 10
    assert len(document["checks"]["stamps"]["findings"]) == 9
    document["all_passed"], document["exit_code"] = True, 0
    with pytest.raises(ValueError, match="does not follow"):
        Summary.from_json(document)


def test_the_table_escapes_what_files_say(sets, made):
    sets["train"].table["source_file"][:] = "\x1b[31mevil[bold].parquet"
    sets["train"].stamps[3, 0, 0, 0] = float("nan")
    out = io.StringIO()
    made.phase0(sets).print(Console(file=out, width=200))
    assert "\x1b" not in out.getvalue() and "evil[bold].parquet" in out.getvalue()


def test_a_finding_of_its_own_remedy_is_told_with_it():
    """That of its check is for most; a row in two catalogues is not mended by naming a file."""
    own = Finding("anchors", "ERROR", "cause", "", ExitCode.DATA_INVALID, "Do this instead")
    usual = Finding("anchors", "ERROR", "cause", "", ExitCode.DATA_INVALID)
    results = [
        judge("anchors", Outcome("", (one,)), required=True, set_aside=0, quarantine_budget=0)
        for one in (own, usual)
    ]
    told = [str(summary_of(result).error()) for result in results]
    assert "Do this instead" in told[0] and REMEDIES["anchors"] not in told[0]
    assert REMEDIES["anchors"] in told[1]
    for result in results:
        document = json.loads(json.dumps(summary_of(result).to_json()))
        assert Summary.from_json(document) == summary_of(result)


def test_all_findings_are_printed_where_no_file_has_them(sets, made):
    sets["train"].stamps[:9, 0, 0, 0] = float("nan")
    summary, shown = made.phase0(sets), {}
    for written in (None, "an/other.json"):
        out = io.StringIO()
        summary.print(Console(file=out, width=200), written)
        shown[written] = out.getvalue()
    assert shown[None].count("1 NaN") == 9 and "more, in" not in shown[None]
    assert shown["an/other.json"].count("1 NaN") == SHOWN
    assert "stamps: and 4 more, in an/other.json" in shown["an/other.json"]


def test_cache_gives_back_exactly_what_was_stored(clean, made, tmp_path):
    summary = made.phase0(clean)
    digests = (summary.data_digest, summary.protocol_digest, summary.checks_digest)
    assert cached_summary(tmp_path, *digests) is None
    store_summary(tmp_path, summary)
    assert cached_summary(tmp_path, *digests) == summary
    for k in range(3):
        other = [*digests]
        other[k] = "0" * 64
        assert cached_summary(tmp_path, *other) is None
    (path,) = (tmp_path / "phase0").iterdir()
    path.write_text(path.read_text().replace("PASS", "FAIL", 1))
    assert cached_summary(tmp_path, *digests) is None
    path.write_text("[]")
    assert cached_summary(tmp_path, *digests) is None


def test_checks_digest_depends_on_all_that_the_checks_are_told(tmp_path):
    catalogue = tmp_path / "a.csv"
    catalogue.write_text("name\n")

    def digest(**kwargs):
        return checks_digest(**{"proportions": None, "simulated": False, **kwargs})

    seen = {
        digest(),
        digest(simulated=True),
        digest(proportions=(0.7, 0.15, 0.15)),
        digest(anchors=str(catalogue)),
        digest(contaminants=str(catalogue)),
        digest(record="0" * 64),
    }
    catalogue.write_text("name,ra\n")
    seen.add(digest(anchors=str(catalogue)))
    assert len(seen) == 7
    assert digest() == digest()


def test_checks_digest_is_of_all_that_decides_a_verdict(monkeypatch, tmp_path):
    """A summary of other code must not be found again, be it code of the gates that checks use or
    of the readers, which find faults."""
    here = checks_digest(proportions=None, simulated=False)
    for module in (logistic, shortcuts, statistics):
        changed = tmp_path / Path(module.__file__).name
        changed.write_text(Path(module.__file__).read_text() + "# changed\n")
        with monkeypatch.context() as context:
            context.setattr(module, "__file__", str(changed))
            assert checks_digest(proportions=None, simulated=False) != here
    for name in ("rows", "files", "parquet", "npz", "record", "stamps"):
        readers = tmp_path / name / "data"
        shutil.copytree(
            cache._READERS, readers, ignore=shutil.ignore_patterns("__pycache__", "lens_stamps")
        )
        with monkeypatch.context() as context:
            context.setattr(cache, "_READERS", readers)
            assert checks_digest(proportions=None, simulated=False) == here
            (readers / f"{name}.py").write_text("# changed\n")
            assert checks_digest(proportions=None, simulated=False) != here
    assert checks_digest(proportions=None, simulated=False) == here


@pytest.mark.parametrize(
    "package", ["numpy", "scipy", "scikit-learn", "pyarrow", "h5py", "astropy"]
)
def test_checks_digest_is_of_the_packages_too(monkeypatch, package):
    """Another pyarrow may read another thing from the same bytes; an absent one is no error."""
    here, plain = checks_digest(proportions=None, simulated=False), importlib.metadata.version
    seen = {here}
    for other in ("0.0.1", None):

        def version(name, other=other):
            if name == package and other is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return other if name == package else plain(name)

        monkeypatch.setattr(importlib.metadata, "version", version)
        seen.add(checks_digest(proportions=None, simulated=False))
    monkeypatch.undo()
    assert len(seen) == 3 and checks_digest(proportions=None, simulated=False) == here


def test_protocol_rules_are_read_strictly(made):
    assert phase0_rules(made.protocol).limits["shortcut_auc"] == 0.60

    def broken(change):
        protocol = made.protocol
        change(protocol["phase0"])
        with pytest.raises(LensjaxError) as caught:
            phase0_rules(protocol)
        assert caught.value.code == ExitCode.USAGE
        return str(caught.value)

    assert "Did you mean 'pairs'" in broken(lambda p: p["required"].append("pair"))
    made.protocol["phase0"]["required"].pop()
    assert "Did you mean 'shortcut_auc'" in broken(lambda p: p["limits"].update(shortcut_acu=1))


@pytest.mark.parametrize(
    ("key", "value"), [("shortcut_auc", "0.6"), ("shortcut_auc", float("nan")), ("quarantine", 0.5),
                       ("quarantine", True), ("guard_band_enforced", 1), ("pair_outside", -0.1)]
)  # fmt: skip
def test_protocol_limits_are_typed(made, key, value):
    made.protocol["phase0"]["limits"][key] = value
    with pytest.raises(LensjaxError, match=key):
        phase0_rules(made.protocol)


def test_unlocked_protocol_is_a_mismatch(clean, made):
    made.protocol["locked"] = False
    assert made.phase0(clean, protocol=made.protocol).exit_code == ExitCode.MISMATCH
