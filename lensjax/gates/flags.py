"""How a run trained, from its metrics.jsonl: the five red flags and the ranges that are expected.

Not gates, and not the warnings of training itself (lensjax.training.flags says them every epoch). A
run without metrics.jsonl is told so; its verdict does not need it.

    measured = training_health(Path("runs/b3"), judged["gates"])
    [each["flag"] for each in measured["flags"] if each["raised"]]
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lensjax import schema

METRICS = "metrics.jsonl"
RANGES = {"train_loss": schema.EXPECTED_TRAIN_LOSS, "val_auroc": schema.EXPECTED_VAL_AUROC}
_SAID = ("train_loss", "val_loss", "train_auroc", "val_auroc")
_LARGEST = 100_000_000  # bytes: a line an epoch is far less

Record = dict[str, float]  # epoch and _SAID; NaN where it is no number
Seen = Callable[[Record], float | None]  # the number that raises a flag, or None


def training_health(workdir: Path, gates: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """`epochs` told of, `flags` (each with cause and action, whether raised, first epoch and value)
    and `ranges` (of the full run). gates: the entries of gates.json.

    core_shortcut is of the gate core_lr_auc, and perfect_auroc of auroc_test too.
    """
    records = read_metrics(workdir / METRICS)
    if records is None:
        return {"state": f"there is no {METRICS}, or no line of it can be read"}
    flags = [_flag(name, _first(records, seen)) for name, seen in _SEEN.items()]
    core, auroc = (_value(gates, name) for name in ("core_lr_auc", "auroc_test"))
    shortcut = {"value": core} if core is not None and core > schema.SHORTCUT_AUC else None
    flags.append(_flag("core_shortcut", shortcut))
    perfect = next(each for each in flags if each["flag"] == "perfect_auroc")
    if not perfect["raised"] and auroc is not None and auroc >= 1.0:
        flags[flags.index(perfect)] = _flag("perfect_auroc", {"value": auroc})
    ranges = [
        _range(records, name, epoch, *ends)
        for name, expected in RANGES.items()
        for epoch, ends in expected.items()
    ]
    order = list(schema.RED_FLAGS)
    return {
        "epochs": int(max(record["epoch"] for record in records)),
        "flags": sorted(flags, key=lambda each: order.index(each["flag"])),
        "ranges": ranges,
    }


def read_metrics(path: Path) -> list[Record] | None:
    """A record an epoch, by rising epoch; where one is told twice the later line holds. Lines that
    are no JSON object with a whole epoch are left out. None if there are no others."""
    try:
        if path.stat().st_size > _LARGEST:
            return None
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    found: dict[int, Record] = {}
    for line in lines:
        try:
            told = json.loads(line)
        except (ValueError, RecursionError):
            continue
        epoch = told.get("epoch") if isinstance(told, dict) else None
        if type(epoch) is int and 0 < epoch < 2**31:
            found[epoch] = {"epoch": float(epoch), **{name: _number(told, name) for name in _SAID}}
    return [found[epoch] for epoch in sorted(found)] or None


def _number(told: Mapping[str, Any], name: str) -> float:
    value = told.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
        return math.nan
    return float(value)


def _value(gates: Mapping[str, Mapping[str, Any]], name: str) -> float | None:
    return gates.get(name, {}).get("value")


def _not_finite(record: Record) -> float | None:
    losses = [record["train_loss"], record["val_loss"]]
    return None if all(map(math.isfinite, losses)) else math.nan


def _perfect(record: Record) -> float | None:
    return record["val_auroc"] if record["val_auroc"] >= 1.0 else None


def _memorised(record: Record) -> float | None:
    return record["train_loss"] if record["train_loss"] < schema.MEMORISED_LOSS else None


def _overfitting(record: Record) -> float | None:
    gap = record["train_auroc"] - record["val_auroc"]
    return gap if gap > schema.OVERFITTING_GAP else None


_SEEN: dict[str, Seen] = {
    "loss_not_finite": _not_finite,
    "perfect_auroc": _perfect,
    "memorised": _memorised,
    "overfitting": _overfitting,
}


def _first(records: list[Record], seen: Seen) -> dict[str, Any] | None:
    """First epoch in which a flag is seen, its value there, and in how many epochs."""
    raised = [(int(each["epoch"]), value) for each in records if (value := seen(each)) is not None]
    if not raised:
        return None
    return {"epoch": raised[0][0], "value": raised[0][1], "epochs": len(raised)}


def _flag(name: str, found: dict[str, Any] | None) -> dict[str, Any]:
    cause, action = schema.RED_FLAGS[name]
    told = {"flag": name, "raised": found is not None, "cause": cause, "action": action}
    return told | (found or {})


def _range(records: list[Record], name: str, epoch: int, low: float, high: float) -> dict[str, Any]:
    """Where a measure lies at an epoch: inside, below, above, or not reached."""
    value = next((each[name] for each in records if each["epoch"] == epoch), None)
    if value is None:
        where = "not reached"
    elif math.isnan(value):
        where = "not a number"
    else:
        where = "below" if value < low else "above" if value > high else "inside"
    return {"measure": name, "epoch": epoch, "expected": [low, high], "value": value, "is": where}
