"""What a check found, and what all checks together mean: verdicts, exit code, JSON, table.

Not the checks themselves. A check returns an Outcome; `judge` turns it into a CheckResult under
the protocol; a Summary holds them all and knows the exit code.

    >>> summary = Summary(results, data_digest, protocol_digest, checks_digest)
    >>> summary.all_passed, summary.exit_code
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lensjax.data.stampset import Finding
from lensjax.schema import ExitCode, LensjaxError, printable

SCHEMA = "lensjax-phase0-1"
PASS, FAIL, NOT_PROVEN = "PASS", "FAIL", "NOT PROVEN"
VERDICTS = (PASS, FAIL, NOT_PROVEN)

# In the order in which they are reported: a mixture of surveys breaks much else, so it is first.
CHECKS = (
    "survey_shortcut",
    "metadata_shortcut",
    "stamps",
    "pairs",
    "splits",
    "duplicates",
    "labels",
    "protocol",
    "anchors",
    "contaminants",
)
CODE_ORDER = (
    ExitCode.REFUSED_INPUT,
    ExitCode.MISMATCH,
    ExitCode.DATA_INVALID,
    ExitCode.LEAK,
)
SHOWN = 5  # findings a check under the table, where a file has all of them

Counts = dict[str, Any]  # JSON values


@dataclass(frozen=True)
class Outcome:
    """What one check saw: findings, one line for the reader, counts for the record; and, if it
    could not judge, why (`not_proven`)."""

    message: str
    findings: tuple[Finding, ...] = ()
    counts: Counts = field(default_factory=dict)
    not_proven: str = ""


@dataclass(frozen=True)
class CheckResult:
    """An Outcome under a protocol: its verdict, and whether the run needs it."""

    name: str
    verdict: str
    required: bool
    message: str
    findings: tuple[Finding, ...]
    counts: Counts

    def codes(self) -> set[ExitCode]:
        """Exit codes this result asks for; empty if it does not stop a run."""
        if self.verdict == FAIL:
            return {f.code for f in self.findings if f.severity != "NOTE"}
        if self.verdict == NOT_PROVEN and self.required:
            return {ExitCode.DATA_INVALID}
        return set()


def judge(
    name: str, outcome: Outcome, *, required: bool, set_aside: int, quarantine_budget: int
) -> CheckResult:
    """FAIL on any ERROR, or on QUARANTINE findings where more rows were set aside than the budget
    allows; else NOT PROVEN if the check says so; else PASS."""
    errors = [f for f in outcome.findings if f.severity == "ERROR"]
    quarantine = [f for f in outcome.findings if f.severity == "QUARANTINE"]
    over = bool(quarantine) and set_aside > quarantine_budget
    quarantined = set_aside if quarantine else 0
    counts = {**outcome.counts, "errors": len(errors), "quarantined": quarantined}
    message = outcome.message
    if errors or over:
        verdict = FAIL
        number = len(errors) + len(quarantine) * over
        message = f"{number} failure{'s' if number > 1 else ''}. {message}".rstrip()
        if over:
            message += f" {set_aside} rows to set aside, budget {quarantine_budget}."
    elif outcome.not_proven:
        verdict, message = NOT_PROVEN, f"{outcome.not_proven} {message}".rstrip()
    else:
        verdict = PASS
        if quarantined:
            message += f" {set_aside} rows set aside, budget {quarantine_budget}."
    ordered = sorted(
        outcome.findings, key=lambda f: ("ERROR", "QUARANTINE", "NOTE").index(f.severity)
    )
    return CheckResult(name, verdict, required, message, tuple(ordered), counts)


@dataclass(frozen=True)
class Summary:
    """All results of one phase 0, and the digests of what was checked, under what, by what."""

    results: tuple[CheckResult, ...]
    data_digest: str
    protocol_digest: str
    checks_digest: str

    @property
    def exit_code(self) -> ExitCode:
        """The first present of 17, 12, 10, 11; 0 if nothing stops a run."""
        present = set().union(*(result.codes() for result in self.results))
        return next((code for code in CODE_ORDER if code in present), ExitCode.OK)

    @property
    def all_passed(self) -> bool:
        """True if nothing stops a run. NOT PROVEN where the protocol does not require it does
        not, and is never called a PASS."""
        return self.exit_code == ExitCode.OK

    @property
    def quarantined(self) -> int:
        """Rows set aside for a stamp or a number that cannot be used."""
        return max((result.counts.get("quarantined", 0) for result in self.results), default=0)

    def __getitem__(self, name: str) -> CheckResult:
        return next(result for result in self.results if result.name == name)

    def stopping(self) -> list[CheckResult]:
        """The results that stop a run, in the order of CHECKS."""
        return [result for result in self.results if result.codes()]

    def error(self) -> LensjaxError:
        """The first failure that the exit code is of, in one line, for the end of the log (or a
        mixture of surveys: it breaks much else). Only if not all_passed."""
        stopping, code = self.stopping(), self.exit_code
        first = next(x for x in stopping if code in x.codes() or x.name == "survey_shortcut")
        others = [result for result in stopping if result is not first]
        findings = [f for f in first.findings if f.severity != "NOTE"]
        finding = next((f for f in findings if f.code == code), findings[0] if findings else None)
        if first.verdict == NOT_PROVEN or finding is None:
            cause = first.message.rstrip(".")
        else:
            cause = f"{finding.where}: {finding.message}" if finding.where else finding.message
        also = f" (also: {', '.join(result.name for result in others)})" if others else ""
        remedy = _AGREE if FIELDS_DISAGREE in cause else REMEDIES[first.name]
        if first.verdict == NOT_PROVEN:
            remedy = _UNPLACED if first.name == "splits" else remedy
        elif finding is not None and finding.remedy:
            remedy = finding.remedy
        if code == ExitCode.REFUSED_INPUT:
            remedy = REFUSED
        return LensjaxError(code, f"{cause}{also}", f"phase 0, {first.name}", remedy)

    def to_json(self) -> dict[str, Any]:
        """phase0_summary.json (docs/formats.md)."""
        return {
            "schema": SCHEMA,
            "all_passed": self.all_passed,
            "exit_code": int(self.exit_code),
            "quarantined": self.quarantined,
            "data_digest": self.data_digest,
            "protocol_digest": self.protocol_digest,
            "checks_digest": self.checks_digest,
            "checks": {result.name: _result_json(result) for result in self.results},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Summary:
        """The inverse of `to_json`. Raises KeyError, TypeError or ValueError for anything else."""
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']!r}, expected {SCHEMA!r}")
        results = [_result_from_json(name, body) for name, body in document["checks"].items()]
        digests = (document[f"{name}_digest"] for name in ("data", "protocol", "checks"))
        summary = cls(tuple(results), *digests)
        if summary.exit_code != document["exit_code"]:
            raise ValueError("exit code does not follow from the checks")
        return summary

    def print(self, console: Console, written: str | None = None) -> None:
        """A table of verdicts, then what failed and what was noted: all of it, or the first of each
        check and the name of the file that has all, if one is to be `written`."""
        table = Table(title="Phase 0: the data checks", title_justify="left")
        for column in ("check", "verdict", "needed", "what was seen"):
            table.add_column(column, overflow="fold")
        for result in self.results:
            table.add_row(
                result.name,
                f"[{_COLOURS[result.verdict]}]{result.verdict}[/]",
                "yes" if result.required else "no",
                escape(printable(result.message)),
            )
        console.print(table)
        for result in self.results:
            _print_findings(console, result, written)


# What a finding says where the fields of a simulated set contradict one another, and its remedy.
FIELDS_DISAGREE = "data.pairs and data.lookalikes disagree with data.proportions"
_AGREE = "Change data.proportions or the counts: a host is a pair or a look-alike"
_UNPLACED = "Give the columns brickname, ra and dec; a near name is among the notes of stamps"
REFUSED = "Do not open what is named; ask where it came from"
_COLOURS = {PASS: "green", FAIL: "bold red", NOT_PROVEN: "yellow"}
REMEDIES = {
    "survey_shortcut": "Take both classes from one survey, depth and pixel scale",
    "metadata_shortcut": "Draw both classes from the same seeing, depth and extinction",
    "stamps": "Make the file, column or stamp that is named again, leave it out, or say its unit",
    "pairs": "Write stamp and control anew: control + arc = stamp, arc within 3 theta_E + 2 PSF",
    "splits": "Split anew by brick, with both classes in each (or put exchanged files back)",
    "duplicates": "Keep each galaxy under one id and in one split",
    "labels": "Put back what is named; a change that was meant: data record --replace, data split",
    "protocol": "Use a protocol of configs/protocols, unedited",
    "anchors": "Give --config.data.anchors=FILE, a CSV with name, ra, dec, theta_e_arcsec",
    "contaminants": "Give --config.data.contaminants=FILE, a CSV with name, ra, dec, category",
}


def _print_findings(console: Console, result: CheckResult, written: str | None) -> None:
    shown = result.findings[: SHOWN if written else None]
    for finding in shown:
        where = f"{finding.where}: " if finding.where else ""
        console.print(
            escape(printable(f"  {result.name} {finding.severity}: {where}{finding.message}")),
            soft_wrap=True,
            highlight=False,
        )
    if more := len(result.findings) - len(shown):
        text = f"  {result.name}: and {more} more, in {printable(written or '')}"
        console.print(escape(text), soft_wrap=True, highlight=False)


def _result_json(result: CheckResult) -> dict[str, Any]:
    return {
        "verdict": result.verdict,
        "required": result.required,
        "message": result.message,
        "counts": result.counts,
        "findings": [
            {"severity": f.severity, "where": f.where, "message": f.message, "code": int(f.code)}
            | ({"remedy": f.remedy} if f.remedy else {})
            for f in result.findings
        ],
    }


def _result_from_json(name: str, body: Mapping[str, Any]) -> CheckResult:
    if body["verdict"] not in VERDICTS:
        raise ValueError(f"verdict {body['verdict']!r} of {name}")
    findings: Sequence[Mapping[str, Any]] = body["findings"]
    return CheckResult(
        name=name,
        verdict=body["verdict"],
        required=bool(body["required"]),
        message=body["message"],
        findings=tuple(
            Finding(
                *(name, f["severity"], f["message"], f["where"]),
                *(ExitCode(f["code"]), f.get("remedy", "")),
            )
            for f in findings
        ),
        counts=dict(body["counts"]),
    )
