"""What a healthy run looks like, said each epoch: expected ranges and red flags.

Not gates: they warn in log, console and report; verdicts come from the evaluation arrays.
"""

from __future__ import annotations

from collections.abc import Mapping

from lensjax import schema

MEMORISED_LOSS = 0.01
OVERFITTING_GAP = 0.1
SHORTCUT_AUC = 0.80
NOT_FINITE = (
    "RED FLAG loss NaN: NaN in the data, or exploding gradients. Check data validation, reduce the "
    "learning rate"
)


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
        found.append(
            "RED FLAG val AUROC = 1.0: a leak, or a trivial task. Check split integrity and the "
            "core gates"
        )
    if record["train_loss"] < MEMORISED_LOSS:
        found.append(
            f"RED FLAG training loss {record['train_loss']:.4f} < {MEMORISED_LOSS}: memorised. "
            "Regularise, stop early"
        )
    gap = record["train_auroc"] - record["val_auroc"]
    if gap > OVERFITTING_GAP:
        found.append(
            f"RED FLAG train/val AUROC gap {gap:.3f} > {OVERFITTING_GAP}: overfitting. More "
            "augmentation, less capacity"
        )
    return found


def core_warning(auc: float) -> list[str]:
    """The warning that the data deserve whose cores alone tell the classes apart with this AUC."""
    if auc <= SHORTCUT_AUC:
        return []
    return [
        f"RED FLAG core LR AUC {auc:.3f} > {SHORTCUT_AUC}: the central 10 x 10 pixels give the "
        "class away, and core dropout cannot change that. Change the preprocessing or the data, "
        "and look at the model's core gates"
    ]
