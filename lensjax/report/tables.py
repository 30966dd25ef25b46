"""The sections of a report that are tables: gates, data checks, warnings of training, provenance.
Each takes what the run left and returns HTML; none judges.

    html = gates_table(run)
"""

from __future__ import annotations

import json
from typing import Any

from lensjax.gates import beside
from lensjax.report.markup import Html, join, pairs, table, tag
from lensjax.report.reading import Run
from lensjax.report.words import (
    GATE_QUESTIONS,
    GATE_SECTIONS,
    MESSAGE,
    entries,
    flat,
    interval,
    number,
    objects,
    required_first,
    shortened,
    threshold,
    words,
)

_FINDINGS = 12  # findings of a check shown
_WARNINGS = 200  # of training shown
_BLOCK = 20_000  # characters of a file shown whole

_STATES = {"PASS": "good", "FAIL": "bad", "ERROR": "bad"}  # any other is open


def gates_table(run: Run) -> Html:
    """Every gate: verdict, value, interval, threshold, numbers, reason."""
    gates = entries(run.gates.get("gates"))
    if not gates:
        return tag("p", "No gate was judged.", class_="note")
    rows = [
        (
            join([_linked(name), tag("span", GATE_QUESTIONS.get(name, ""), class_="asks")]),
            _chip(gate.get("verdict"), "warn" if gate.get("warn") else ""),
            number(gate.get("value")),
            interval(gate.get("ci")),
            threshold(name, gate.get("threshold")),
            "required" if gate.get("required") else "reported",
            f"{number(gate.get('n_pos'))} / {number(gate.get('n_neg'))}",
            number(gate.get("n_bricks")),
            join([words(gate.get("reason") or None), tag("span", _beside(gate), class_="asks")]),
        )
        for name, gate in required_first(gates).items()
    ]
    columns = (
        "gate",
        "verdict",
        "value",
        "95 % interval",
        "threshold",
        "role",
        "lenses / others",
        "bricks",
        "reason",
    )
    return table(columns, rows, "Gates: the required ones first.", "gates")


def _linked(gate: str) -> Html:
    """The name of a gate, leading to its pictures where there are more of it."""
    section = GATE_SECTIONS.get(gate)
    name = tag("code", gate)
    return tag("a", name, href=f"#{section}") if section else name


def _beside(gate: dict[str, Any]) -> str:
    """What the gate's number has to be read with; empty where its detail is not as gates write."""
    try:
        return beside(gate)
    except (KeyError, TypeError, ValueError, AttributeError):
        return ""


def _chip(verdict: Any, flag: str = "") -> Html:
    """A verdict as a coloured word."""
    name = words(verdict)
    state = _STATES.get(name, "open")
    chip = tag("span", name, class_=f"chip {'open' if flag and state == 'good' else state}")
    return join([chip, f" {flag}"]) if flag else chip


def phase0_table(run: Run) -> Html:
    """The data checks, with their first findings."""
    checks = entries(run.phase0.get("checks"))
    if not checks:
        return tag("p", "No data check was recorded.", class_="note")
    rows = [
        (
            tag("code", name),
            _chip(check.get("verdict")),
            "required" if check.get("required") else "reported",
            join([shortened(words(check.get("message") or None), MESSAGE), _findings(check)]),
            shortened(words(check.get("counts") or None), MESSAGE),
        )
        for name, check in checks.items()
    ]
    columns = ("check", "verdict", "role", "what was found", "counts")
    return table(columns, rows, "Data checks, run before training.", "checks")


def _findings(check: dict[str, Any]) -> Html:
    found = objects(check.get("findings"))
    if not found:
        return Html("")
    lines = [
        tag(
            "li",
            tag("b", words(item.get("severity"))),
            f" {shortened(words(item.get('where')), MESSAGE)}: "
            f"{shortened(words(item.get('message')), MESSAGE)}",
        )
        for item in found[:_FINDINGS]
    ]
    more = len(found) - len(lines)
    if more:
        lines.append(tag("li", f"and {more:,} more in phase0_summary.json"))
    return tag("ul", *lines, class_="findings")


def flags_table(run: Run) -> Html:
    """Red flags and warnings of training, as metrics.jsonl has them; nothing if there is none."""
    if not run.metrics:
        return Html("")
    rows = []
    for record in run.metrics:
        flags = record.get("flags")
        for flag in flags if isinstance(flags, list) else [flags] if flags else []:
            rows.append(
                (f"epoch {number(record.get('epoch'), 0)}", shortened(words(flag), MESSAGE))
            )
    if not rows:
        return tag("p", "Training raised no red flag and left no expected range.", class_="note")
    if len(rows) > _WARNINGS:
        rows[_WARNINGS:] = [("later", f"{len(rows) - _WARNINGS:,} more in metrics.jsonl")]
    return table(("when", "warning"), rows, "Red flags and warnings seen in training.")


def provenance(run: Run) -> Html:
    """Where the run came from, and its whole config."""
    known: list[tuple[object, object]] = [
        (name, run.manifest[name])
        for name in ("checkpoint_step", "model_sha256", "data_digest", "protocol_digest")
        if name in run.manifest
    ]
    if "arrays_digest" in run.gates:
        known.append(("arrays_digest", words(run.gates["arrays_digest"])))
    short, blocks = [], []
    for name, value in flat(run.provenance):
        told = words(value)
        (blocks if len(told) > MESSAGE or "\n" in told else short).append((name, told))
    parts = [pairs(known)] if known else []
    if run.provenance:
        parts.append(_fold("Provenance: code, packages, machine", pairs(short)))
    parts += [_fold(name, tag("pre", shortened(told, _BLOCK))) for name, told in blocks]
    if run.config:
        whole = shortened(json.dumps(run.config, indent=1, sort_keys=True), _BLOCK)
        parts.append(_fold("Config", tag("pre", whole)))
    return join(parts) if parts else tag("p", "Nothing was recorded.", class_="note")


def absences(run: Run) -> Html:
    """Files that could not be used, and so what this page does not show."""
    rows = [(tag("code", item.file), shortened(item.why, MESSAGE)) for item in run.absences]
    return table(("file", "why"), rows, "What the run did not leave, or left unreadable.")


def _fold(title: str, body: Html) -> Html:
    return tag("details", tag("summary", title), body)
