"""The protocol: thresholds, bins, seeds and minimum counts, in one JSON file fixed before training.

Not the rules of phase 0 (lensjax.checks.protocol validates the part `phase0`). Every key is known
and needed, so that no misspelt threshold is passed over; the digest is in every result.

    >>> protocol = load_protocol("configs/protocols/default.json")
    >>> protocol.gates["core_lr_auc"].threshold
    0.65
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from lensjax.schema import ExitCode, LensjaxError

# Every gate, and on which side of its threshold a good value lies.
GATES = {
    "auroc_test": ">",
    "core_lr_auc": "<",
    "core_masked_drop": "<",
    "hard_negative_auroc": ">",
    "perfect_scores": "<",
    "core_reliance": "<",
    "core_only_auroc": "<",
    "core_lr_auc_r5": "<",
    "core_lr_auc_raw": "<",
    "theta_e_min_auroc": ">",
    "theta_e_spread": "<",
    "radial_lr_auc": "<",
    "radial_lr_auc_raw": "<",
    "outskirts": "<",
    "survey": "<",
    "metadata": "<",
    "brick": "<",
    "high_frequency_core": "<",
}
MINIMUM = ("n_pos", "n_neg", "n_bricks")
_GATE_KEYS = ("required", "direction", "threshold", "warn")
_SECTIONS: dict[str, dict[str, type]] = {
    "intervals": {"confidence": float, "resamples": int, "seed": int},
    "minimum": dict.fromkeys(MINIMUM, int),
    "probes": {"c_grid": list, "folds": int, "permutations": int, "feature_clip": float},
    "rates": {"fpr": list, "false_positives_needed": int, "tpr_false_positives": list},
    "measures": {
        "recall_at": list,  # k of recall@k
        "recall_wanted": float,  # at which precision is told
        "score_thresholds": list,  # probabilities, of what the model says
        "prevalence": float,  # of lenses on the sky
        "calibration_bins": int,  # of equal numbers of stamps
        "selection_fpr": float,  # on val: decides the threshold of completeness
        "strata_quantiles": list,  # of val: inner edges of the PSF and depth bins
    },
    "hunter": {"ridge_grid": list, "permutations": int},
}
_INTEGERS = ("tpr_false_positives", "recall_at")  # lists of whole numbers
_RISING = ("recall_at", "score_thresholds", "strata_quantiles")
_SHARES = (  # between 0 and 1, neither included
    "recall_wanted",
    "score_thresholds",
    "prevalence",
    "selection_fpr",
    "strata_quantiles",
)
_EDGES = ("theta_e_bins", "arc_snr_bins")
_KEYS = ("name", "locked", "gates", *_SECTIONS, *_EDGES, "phase0")
_AT_LEAST = {"resamples": 200, "folds": 2, "permutations": 1, "calibration_bins": 2}


@dataclass(frozen=True)
class GateRule:
    """What the protocol says of one gate. `direction` is the side of `threshold` that passes;
    `threshold` None: printed, never judged. `minimum` guards PASS only."""

    required: bool
    direction: str
    threshold: float | None
    warn: float | None
    minimum: dict[str, int]


@dataclass(frozen=True)
class Protocol:
    """A validated protocol: `document` is the parsed JSON, whole."""

    document: dict[str, Any]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, in hex."""
        return digest(self.document)

    @cached_property
    def gates(self) -> dict[str, GateRule]:
        """The rule of every gate, its minimum counts filled in from the common ones."""
        return {
            name: GateRule(
                minimum={**self.document["minimum"], **rule.get("minimum", {})},
                **{key: rule[key] for key in _GATE_KEYS},
            )
            for name, rule in self.document["gates"].items()
        }

    @property
    def intervals(self) -> dict[str, Any]:
        """confidence, resamples, seed."""
        return self.document["intervals"]

    @property
    def probes(self) -> dict[str, Any]:
        """c_grid (scikit-learn's C), folds, permutations, feature_clip (standard deviations)."""
        return self.document["probes"]

    @property
    def measures(self) -> dict[str, Any]:
        """What is measured beside the gates: bins, thresholds, prevalence."""
        return self.document["measures"]

    @property
    def hunter(self) -> dict[str, Any]:
        """ridge_grid (L2 strength a fitted row), permutations."""
        return self.document["hunter"]


def canonical(document: Any) -> bytes:
    """`document` as JSON of which there is one form: sorted keys, no spaces, ASCII."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest(document: Any) -> str:
    """SHA-256 of the canonical JSON of `document`, in hex."""
    return hashlib.sha256(canonical(document)).hexdigest()


def load_protocol(path: str | Path) -> Protocol:
    """Read and validate a protocol file.

    Raises:
        LensjaxError: exit 2 for a file that cannot be read, is not JSON, names a key twice, has an
            unknown key (the nearest is named), lacks one, or holds a value of a wrong type.
    """
    where = str(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or "not UTF-8 text"
        _refuse(f"cannot be read ({cause})", where, "Try configs/protocols/default.json")
    try:
        document = json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        _refuse(f"not a protocol in JSON: {error}", where)
    return parse_protocol(document, where)


def parse_protocol(document: Any, where: str = "protocol") -> Protocol:
    """Validate parsed JSON. Raises LensjaxError (exit 2) as `load_protocol` does."""
    _same_keys(document, _KEYS, where)
    if not isinstance(document["name"], str) or not isinstance(document["locked"], bool):
        _refuse("name must be text and locked true or false", where)
    _same_keys(document["gates"], tuple(GATES), f"{where}: gates")
    for name, rule in document["gates"].items():
        _check_gate(name, rule, f"{where}: gates.{name}")
    for section, kinds in _SECTIONS.items():
        _same_keys(document[section], tuple(kinds), f"{where}: {section}")
        for key, kind in kinds.items():
            _check_value(key, document[section][key], kind, f"{where}: {section}.{key}")
    if document["intervals"]["confidence"] != 0.95:
        _refuse("must be 0.95: gates.json states that interval", f"{where}: intervals.confidence")
    for name in _EDGES:
        _check_edges(document[name], f"{where}: {name}")
    if not isinstance(document["phase0"], dict):
        _refuse("must be an object", f"{where}: phase0")
    return Protocol(document)


def first_difference(old: Any, new: Any, field: str = "") -> str | None:
    """The first field in which two protocols differ, as 'field: old -> new'; in sorted order, the
    protocol's own name last, as it decides nothing."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}, key=lambda key: (not field and key == "name", key)):
            name = f"{field}.{key}" if field else key
            if key not in old or key not in new:
                return f"{name}: {'added' if key in new else 'removed'}"
            found = first_difference(old[key], new[key], name)
            if found is not None:
                return found
        return None
    return None if canonical(old) == canonical(new) else f"{field}: {_json(old)} -> {_json(new)}"


def _check_gate(name: str, rule: Any, where: str) -> None:
    optional = ("minimum",) if isinstance(rule, dict) and "minimum" in rule else ()
    _same_keys(rule, (*_GATE_KEYS, *optional), where)
    if not isinstance(rule["required"], bool):
        _refuse(f"{_json(rule['required'])} is not true or false", f"{where}.required")
    if rule["direction"] != GATES[name]:
        _refuse(
            f"{_json(rule['direction'])}: a good value lies on the side {GATES[name]!r}",
            f"{where}.direction",
        )
    for key in ("threshold", "warn"):
        if rule[key] is not None:
            _check_value(key, rule[key], float, f"{where}.{key}")
    if rule["required"] and rule["threshold"] is None:
        _refuse("a required gate needs a threshold", f"{where}.threshold")
    minimum = rule.get("minimum", {})
    if not isinstance(minimum, dict):
        _refuse("must be an object", f"{where}.minimum")
    for key, value in minimum.items():
        if key not in MINIMUM:
            _unknown(key, MINIMUM, f"{where}.minimum")
        _check_value(key, value, int, f"{where}.minimum.{key}")


def _check_value(key: str, value: Any, kind: type, where: str) -> None:
    """int and float are told apart, so that one number has one form and one digest."""
    if kind is list:
        _check_list(key, value, where)
        return
    if type(value) is not kind or not 0 <= value < 1e12:
        hint = f"Write {value}.0" if kind is float and type(value) is int else ""
        _refuse(f"{_json(value)} is not a {kind.__name__} of at least 0", where, hint)
    if value < _AT_LEAST.get(key, 0):
        _refuse(f"{value} is less than {_AT_LEAST[key]}", where)
    if key in _SHARES and not 0.0 < value < 1.0:
        _refuse(f"{value} is not between 0 and 1", where)


def _check_list(key: str, value: Any, where: str) -> None:
    inner = int if key in _INTEGERS else float
    if not isinstance(value, list) or not value:
        _refuse("must be a list of numbers", where)
    for number in value:
        _check_value(key if key in _SHARES else "", number, inner, where)
    if (inner is float or key == "recall_at") and min(value) <= 0:
        _refuse("numbers must be above 0", where)
    if key in _RISING and value != sorted(set(value)):
        _refuse("numbers must rise", where)


def _check_edges(edges: Any, where: str) -> None:
    if not isinstance(edges, list) or len(edges) < 2:
        _refuse("must be a list of at least two bin edges", where)
    for edge in edges:
        _check_value("", edge, float, where)
    if any(a >= b for a, b in itertools.pairwise(edges)):
        _refuse("bin edges must rise", where)


def _same_keys(part: Any, names: tuple[str, ...], where: str) -> None:
    if not isinstance(part, dict):
        _refuse("must be an object", where)
    for key in part:
        if key not in names:
            _unknown(key, names, where)
    for name in names:
        if name not in part:
            _refuse(f"key {name!r} is missing", where)


def _without_repeats(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in items:
        if key in found:
            raise ValueError(f"key {key!r} is given twice")
        found[key] = value
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _unknown(key: str, names: Iterable[str], where: str) -> NoReturn:
    near = difflib.get_close_matches(key, list(names), n=1, cutoff=0.0)[0]
    _refuse(f"unknown key {key!r}", where, f"Did you mean {near!r}?")


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _refuse(what: str, where: str, remedy: str = "") -> NoReturn:
    raise LensjaxError(ExitCode.USAGE, what, where, remedy)
