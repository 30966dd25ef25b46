"""The phase0 part of a protocol: which checks a run needs, minimum counts, limits.

Not the gates' part (lensjax.gates.protocol reads the file and gives its digest). Thresholds of
verdicts and minimum counts stand in the protocol; bounds of what a value can be at all (`labels`,
`measure`), what counts as the same stamp or object (`duplicates`, `catalogues`), and how a shortcut
is fitted (`shortcuts`) stand in the code, and the checks' digest has them.

    >>> rules = phase0_rules(document)      # the parsed JSON of configs/protocols/default.json
    >>> "stamps" in rules.required
    True
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lensjax.checks.result import CHECKS, Outcome
from lensjax.data.stampset import Finding
from lensjax.schema import ExitCode, LensjaxError

MINIMUM = {
    "anchors": int,  # usable rows of the catalogue
    "contaminants": dict,  # usable rows by category
    "shortcut_hosts": int,  # of each class, for the shortcut checks
}
LIMITS = {
    "quarantine": int,  # rows that may be set aside
    "pair_outside": float,  # of the summed absolute difference, beyond 3 theta_E + 2 PSF FWHM
    "host_separation_arcsec": float,  # between splits
    "guard_band_deg": float,  # between splits
    "guard_band_enforced": bool,  # for user data too
    "proportion_tolerance": float,
    "shortcut_auc": float,  # the lower end of the interval must not be above
    "anchor_theta_e_arcsec": float,  # smallest
}


@dataclass(frozen=True)
class Phase0Rules:
    """`required` check names; `minimum` and `limits` with the keys of MINIMUM and LIMITS."""

    required: tuple[str, ...]
    minimum: dict[str, Any]
    limits: dict[str, Any]


def phase0_rules(document: Mapping[str, Any]) -> Phase0Rules:
    """The phase0 part of a parsed protocol. Raises LensjaxError (USAGE) for an unknown or missing
    key, naming the nearest, a wrong type, or a number that is not finite and at least 0."""
    part = document.get("phase0")
    if not isinstance(part, Mapping):
        raise _usage("has no object phase0", "phase0")
    _same_keys(part, ("required", "minimum", "limits"), "phase0")
    required = part["required"]
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise _usage("is not a list of check names", "phase0.required")
    for name in required:
        if name not in CHECKS:
            raise _usage(f"unknown check {name!r}", "phase0.required", _nearest(name, CHECKS))
    values = {}
    for name, kinds in (("minimum", MINIMUM), ("limits", LIMITS)):
        where = f"phase0.{name}"
        _same_keys(part[name], tuple(kinds), where)
        values[name] = {key: _typed(part[name][key], kinds[key], f"{where}.{key}") for key in kinds}
    return Phase0Rules(tuple(required), values["minimum"], values["limits"])


def check_protocol(document: Mapping[str, Any], digest: str) -> Outcome:
    """ERROR (exit 12) for a protocol that is not locked: a draft may change after the fact."""
    counts = {"digest": digest, "locked": document.get("locked") is True}
    findings: tuple[Finding, ...] = ()
    if not counts["locked"]:
        cause = "the protocol is not locked: it may not judge a run"
        findings = (Finding("protocol", "ERROR", cause, "locked", ExitCode.MISMATCH),)
    return Outcome(f"Digest {digest[:12]}.", findings, counts)


def _same_keys(part: Any, names: tuple[str, ...], where: str) -> None:
    if not isinstance(part, Mapping):
        raise _usage("is not an object", where)
    for key in part:
        if key not in names:
            raise _usage(f"unknown key {key!r}", where, _nearest(key, names))
    for name in names:
        if name not in part:
            raise _usage(f"key {name!r} is missing", where)


def _typed(value: Any, kind: type, where: str) -> Any:
    if kind is dict:
        if not isinstance(value, Mapping):
            raise _usage("is not an object", where)
        return {key: _typed(number, int, f"{where}.{key}") for key, number in value.items()}
    if kind is bool or isinstance(value, bool):
        sound = kind is bool and isinstance(value, bool)
    else:
        sound = isinstance(value, int if kind is int else (int, float)) and 0 <= value < 1e12
    if not sound:
        raise _usage(f"{value!r} is not a {kind.__name__} of at least 0", where)
    return value


def _nearest(word: str, names: Iterable[str]) -> str:
    return f"Did you mean {difflib.get_close_matches(word, list(names), n=1, cutoff=0.0)[0]!r}?"


def _usage(what: str, where: str, remedy: str = "") -> LensjaxError:
    return LensjaxError(ExitCode.USAGE, what, f"protocol {where}", remedy)
