"""The head of a report: the verdict of gates.json in colour and words, and the population that it
is about. Judges nothing: a run without gates.json has no verdict.

    html = verdict_banner(run) + population(run)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lensjax.report import health, measures
from lensjax.report.markup import NONE, Html, pairs, tag
from lensjax.report.reading import Run
from lensjax.report.words import (
    MESSAGE,
    entries,
    flat,
    interval,
    number,
    objects,
    share,
    shortened,
    words,
)

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


def verdict_banner(run: Run) -> Html:
    """The verdict of gates.json in colour and words, its reason, and what held it up."""
    verdict = str(run.gates.get("verdict", ""))
    stopped = run.refused
    if verdict in _VERDICTS:
        colour, mark, state, meaning = _VERDICTS[verdict]
        meaning = _PHASE0_REFUSAL if stopped else meaning
        headline = f"{verdict}: {'data refused' if stopped else state}"
    else:
        colour, mark, headline = "none", "–", "NO VERDICT"
        meaning = "The gates have not judged this run: it is unfinished, or it stopped."
    lines = [tag("p", meaning)]
    if run.gates.get("reason"):
        lines.append(tag("p", tag("b", "Reason: "), words(run.gates["reason"])))
    if run.manifest.get("evidence") is False:
        why = words(run.manifest.get("evidence_reason"))
        lines.append(tag("p", tag("b", "Not evidence: "), why))
    held = [tag("li", line) for line in (*_held_up(run), *health.raised(run))]
    if held:
        lines.append(tag("ul", *held))
    told = run.results.get("verdict")
    if verdict and told and told != verdict:
        lines.append(
            tag("p", f"training_results.json says {words(told)}; gates.json, judged later, holds.")
        )
    sign = tag("span", mark, class_="mark", aria_hidden="true")
    return tag("div", tag("p", sign, headline, class_="verdict"), *lines, class_=f"banner {colour}")


def _held_up(run: Run) -> Iterable[str]:
    """Required gates that are not plainly passed, and data checks that are not."""
    for name, gate in entries(run.gates.get("gates")).items():
        if gate.get("required") and (gate.get("verdict") != "PASS" or gate.get("warn")):
            reason = gate.get("reason")
            yield f"{name}: {_state(gate)}" + (f" ({words(reason)})" if reason else "")
    for name, check in entries(run.phase0.get("checks")).items():
        verdict = check.get("verdict")
        if verdict == "FAIL" or (check.get("required") and verdict != "PASS"):
            first = next(
                (item for item in objects(check.get("findings")) if item.get("severity") != "NOTE"),
                {},
            )
            told = [words(check.get("message"))]
            if first:
                told.append(f"First: {words(first.get('where'))}: {words(first.get('message'))}")
            yield f"data check {name}: {words(verdict)}. {shortened(' '.join(told), MESSAGE)}"


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
