"""The sections of a report that are words and tables: verdict, population, gates, phase 0,
warnings, provenance. Each takes what the run left and returns HTML; none judges.

    html = verdict_banner(run)
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from lensjax.report import measures
from lensjax.report.markup import NONE, Html, join, pairs, table, tag
from lensjax.report.reading import Run
from lensjax.report.words import (
    GATE_QUESTIONS,
    entries,
    flat,
    interval,
    number,
    share,
    shortened,
    words,
)

_MESSAGE = 400  # characters of a message shown
_FINDINGS = 12  # findings of a check shown
_BLOCK = 20_000  # characters of a file shown whole

_VERDICTS = {
    "GREEN": ("green", "✓", "passed", "Every required gate passed, and none with a warning."),
    "YELLOW": (
        "yellow",
        "?",
        "not proven",
        "No required gate failed, but what is below is not enough to say that the finder works.",
    ),
    "RED": ("red", "✕", "failed", "A required gate failed or could not be computed."),
}
_SNR = "Of the arc alone: r band, integrated over the stamp, sky noise only"
_PHASE0_REFUSAL = "The data checks refused the data, so nothing was trained."
_STATES = {"PASS": "good", "FAIL": "bad", "ERROR": "bad"}  # any other is open


def verdict_banner(run: Run) -> Html:
    """The verdict of gates.json in colour and words, its reason, and what held it up."""
    verdict = str(run.gates.get("verdict", ""))
    refused = _refused(run)
    if verdict in _VERDICTS:
        colour, mark, state, meaning = _VERDICTS[verdict]
        meaning = _PHASE0_REFUSAL if refused else meaning
        headline = f"{verdict}: {'data refused' if refused else state}"
    else:
        colour, mark, headline = "none", "–", "NO VERDICT"
        meaning = "The gates have not judged this run: it is unfinished, or it stopped."
    lines = [tag("p", meaning)]
    if run.gates.get("reason"):
        lines.append(tag("p", tag("b", "Reason: "), words(run.gates["reason"])))
    if run.manifest.get("evidence") is False:
        why = words(run.manifest.get("evidence_reason"))
        lines.append(tag("p", tag("b", "Not evidence: "), why))
    held = [tag("li", line) for line in _held_up(run)]
    if held:
        lines.append(tag("ul", *held))
    told = run.results.get("verdict")
    if verdict and told and told != verdict:
        lines.append(
            tag("p", f"training_results.json says {words(told)}; gates.json, judged later, holds.")
        )
    sign = tag("span", mark, class_="mark", aria_hidden="true")
    return tag("div", tag("p", sign, headline, class_="verdict"), *lines, class_=f"banner {colour}")


def _refused(run: Run) -> bool:
    return str(run.gates.get("reason", "")).startswith("phase0")


def _held_up(run: Run) -> Iterable[str]:
    """Required gates that are not plainly passed, and data checks that are not."""
    for name, gate in entries(run.gates.get("gates")).items():
        if gate.get("required") and (gate.get("verdict") != "PASS" or gate.get("warn")):
            reason = gate.get("reason")
            yield f"{name}: {_state(gate)}" + (f" ({words(reason)})" if reason else "")
    if not run.phase0.get("all_passed", True) or _refused(run):
        for name, check in entries(run.phase0.get("checks")).items():
            if check.get("required") and check.get("verdict") != "PASS":
                message = shortened(words(check.get("message")), _MESSAGE)
                yield f"data check {name}: {words(check.get('verdict'))}. {message}"


def _state(gate: dict[str, Any]) -> str:
    return words(gate.get("verdict")) + (", with a warning" if gate.get("warn") else "")


def population(run: Run) -> Html:
    """What the verdict is about: which lenses, against what, how prepared."""
    config = run.config
    stated = run.manifest.get("population") or config.get("population") or {}
    stated = stated if isinstance(stated, dict) else {}
    theta_e, snr = interval(stated.get("theta_e"), 2), interval(stated.get("arc_snr"), 1)
    simulated = dict(flat(config)).get("data.source") == "sim"
    uniform, log_uniform = (", uniform", ", log-uniform") if simulated else ("", "")
    items: list[tuple[object, object]] = [
        ("experiment", _experiment(run)),
        ("Einstein radius θ_E", NONE if theta_e == NONE else f"{theta_e} arcsec{uniform}"),
        ("arc signal to noise", NONE if snr == NONE else f"{snr}{log_uniform}. {_SNR}"),
        ("preprocessing", words(_either(run, "preprocessing", "preprocessing.name"))),
        ("negatives are", _mode(words(_either(run, "mode", "data.pairing")))),
        (
            "hard negatives in training",
            words(_either(run, "hard_negative_fraction", "augment.hard_negative_fraction")),
        ),
    ]
    if run.test is not None:
        items += _measured(measures.population(run.test))
    return pairs(items)


def _experiment(run: Run) -> str:
    names = (run.config.get(key) for key in ("experiment", "variant"))
    seed = run.config.get("seed")
    name = ", ".join(words(name) for name in names if name)
    return (name or NONE) + (f", seed {words(seed)}" if seed is not None else "")


def _either(run: Run, name: str, field: str) -> Any:
    """What evaluation recorded, or else the config's field."""
    if name in run.manifest:
        return run.manifest[name]
    return dict(flat(run.config)).get(field)


def _mode(mode: str) -> str:
    meanings = {
        "paired": "paired: the same hosts without the arc",
        "unpaired": "unpaired: other hosts, matched in PSF and depth",
    }
    return meanings.get(mode, mode)


def _measured(found: dict[str, Any]) -> list[tuple[object, object]]:
    """What the test arrays hold, as terms and values."""
    n_neg = found["n_neg"]
    kinds = ", ".join(
        f"{kind.replace('_', ' ')} {share(count, n_neg)} ({count:,})"
        for kind, count in found["kinds"].items()
        if kind != "control"
    )
    return [
        (
            "test stamps judged",
            f"{found['n_pos']:,} lenses, {n_neg:,} non-lenses, {found['n_bricks']:,} bricks; "
            f"{found['n_pairs']:,} pairs in the split",
        ),
        (
            "found among these lenses",
            f"θ_E {interval(found['theta_e'], 2)} arcsec, "
            f"arc signal to noise {interval(found['arc_snr'], 1)}",
        ),
        (
            "look-alikes among non-lenses",
            f"{share(found['lookalikes'], n_neg)}" + (f": {kinds}" if kinds else ""),
        ),
        ("AUROC, all non-lenses", number(found["auroc"])),
        ("AUROC, look-alikes alone", number(found["auroc_lookalikes"])),
    ]


def gates_table(run: Run) -> Html:
    """Every gate: verdict, value, interval, threshold, numbers, reason."""
    gates = entries(run.gates.get("gates"))
    if not gates:
        return tag("p", "No gate was judged.", class_="note")
    ranked = sorted(gates.items(), key=lambda item: not item[1].get("required"))
    rows = [
        (
            join([tag("code", name), tag("span", GATE_QUESTIONS.get(name, ""), class_="asks")]),
            _chip(gate.get("verdict"), "warn" if gate.get("warn") else ""),
            number(gate.get("value")),
            interval(gate.get("ci")),
            number(gate.get("threshold")),
            "required" if gate.get("required") else "reported",
            f"{number(gate.get('n_pos'))} / {number(gate.get('n_neg'))}",
            number(gate.get("n_bricks")),
            words(gate.get("reason") or None),
        )
        for name, gate in ranked
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
            join([shortened(words(check.get("message")), _MESSAGE), _findings(check)]),
        )
        for name, check in checks.items()
    ]
    columns = ("check", "verdict", "role", "what was found")
    return table(columns, rows, "Data checks, run before training.", "checks")


def _findings(check: dict[str, Any]) -> Html:
    found = check.get("findings")
    found = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
    if not found:
        return Html("")
    lines = [
        tag(
            "li",
            tag("b", words(item.get("severity"))),
            f" {shortened(words(item.get('where')), _MESSAGE)}: "
            f"{shortened(words(item.get('message')), _MESSAGE)}",
        )
        for item in found[:_FINDINGS]
    ]
    more = len(found) - len(lines)
    if more:
        lines.append(tag("li", f"and {more:,} more in phase0_summary.json"))
    return tag("ul", *lines, class_="findings")


def flags_table(run: Run) -> Html:
    """Red flags and warnings of training, as metrics.jsonl has them."""
    rows = []
    for record in run.metrics:
        flags = record.get("flags")
        for flag in flags if isinstance(flags, list) else [flags] if flags else []:
            rows.append(
                (f"epoch {number(record.get('epoch'), 0)}", shortened(words(flag), _MESSAGE))
            )
    if not rows:
        return tag("p", "Training raised no red flag and left no expected range.", class_="note")
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
        (blocks if len(told) > _MESSAGE or "\n" in told else short).append((name, told))
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
    rows = [(tag("code", item.file), shortened(item.why, _MESSAGE)) for item in run.absences]
    return table(("file", "why"), rows, "What the run did not leave, or left unreadable.")


def _fold(title: str, body: Html) -> Html:
    return tag("details", tag("summary", title), body)
