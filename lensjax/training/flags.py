"""What a healthy run looks like, said each epoch: expected ranges and red flags.

Not gates: they warn in log, console and report; verdicts come from the evaluation arrays.
"""

from __future__ import annotations

from collections.abc import Mapping

from lensjax import schema


def _red_flag(name: str, seen: str) -> str:
    cause, action = schema.RED_FLAGS[name]
    return f"RED FLAG {seen}: {cause}. {action}"


NOT_FINITE = _red_flag("loss_not_finite", "loss NaN")


def warnings(record: Mapping[str, float]) -> list[str]:
    """The warnings that one line of metrics.jsonl deserves, each with likely cause and action.

    `record` has epoch (1-based), train_loss, train_auroc, val_auroc.
    """
    found = []
    ranges = {
        "train_loss": schema.EXPECTED_TRAIN_LOSS,
        "val_auroc": schema.EXPECTED_VAL_AUROC,
    }
    for name, expected in ranges.items():
        low, high = expected.get(int(record["epoch"]), (-float("inf"), float("inf")))
        if not low <= record[name] <= high:
            found.append(
                f"{name} {record[name]:.3f} is outside the range expected at epoch "
                f"{record['epoch']} of the full run, {low}-{high}"
            )
    if record["val_auroc"] >= 1.0:
        found.append(_red_flag("perfect_auroc", "val AUROC = 1.0"))
    loss, least = record["train_loss"], schema.MEMORISED_LOSS
    if loss < least:
        found.append(_red_flag("memorised", f"training loss {loss:.4f} < {least}"))
    gap, most = record["train_auroc"] - record["val_auroc"], schema.OVERFITTING_GAP
    if gap > most:
        found.append(_red_flag("overfitting", f"train/val AUROC gap {gap:.3f} > {most}"))
    return found


def core_warning(auc: float) -> list[str]:
    """The warning that the data deserve whose cores alone tell the classes apart with this AUC."""
    if auc <= schema.SHORTCUT_AUC:
        return []
    return [_red_flag("core_shortcut", f"core LR AUC {auc:.3f} > {schema.SHORTCUT_AUC}")]
