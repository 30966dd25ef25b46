"""Each red flag and each expected range is said, with cause and action, and only when due."""

import pytest

from lensjax import schema
from lensjax.training import flags

HEALTHY = {"epoch": 2, "train_loss": 0.4, "train_auroc": 0.80, "val_auroc": 0.78}


def test_a_healthy_epoch_says_nothing():
    assert flags.warnings(HEALTHY) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"val_auroc": 1.0, "train_auroc": 1.0}, ["AUROC = 1.0", "leak", "split integrity"]),
        ({"train_loss": 0.0099}, ["memorised", "Regularise", "stop early"]),
        ({"train_auroc": 0.89}, ["gap 0.110", "overfitting", "More augmentation"]),
    ],
)
def test_red_flags(changes, words):
    (flag,) = flags.warnings(HEALTHY | changes)
    assert flag.startswith("RED FLAG") and all(word in flag for word in words)


@pytest.mark.parametrize(
    "changes", [{"val_auroc": 0.9999}, {"train_loss": 0.0101}, {"train_auroc": 0.879}]
)
def test_just_short_of_a_red_flag(changes):
    assert (
        flags.warnings(HEALTHY | changes | {"train_auroc": changes.get("train_auroc", 0.85)}) == []
    )


@pytest.mark.parametrize("epoch", [1, 5, 10])
@pytest.mark.parametrize("name", ["train_loss", "val_auroc"])
def test_expected_ranges(epoch, name):
    low, high = {
        "train_loss": schema.EXPECTED_TRAIN_LOSS,
        "val_auroc": schema.EXPECTED_VAL_AUROC,
    }[name][epoch]
    middle = {
        "epoch": epoch,
        "train_loss": sum(schema.EXPECTED_TRAIN_LOSS[epoch]) / 2,
        "train_auroc": 0.8,
        "val_auroc": sum(schema.EXPECTED_VAL_AUROC[epoch]) / 2,
    }
    middle["train_auroc"] = middle["val_auroc"]
    for value, outside in ((low, False), (high, False), (low - 0.01, True), (high + 0.01, True)):
        found = flags.warnings(middle | {name: value, "train_auroc": middle["val_auroc"]})
        assert [f.startswith(f"{name} ") for f in found] == [True] * outside
    assert flags.warnings(middle | {"epoch": epoch + 1, name: high + 0.01}) == []


def test_the_ranges_are_those_of_the_domain():
    assert schema.EXPECTED_TRAIN_LOSS == {1: (0.3, 1), 5: (0.15, 0.5), 10: (0.1, 0.3)}
    assert schema.EXPECTED_VAL_AUROC == {1: (0.55, 0.7), 5: (0.7, 0.85), 10: (0.8, 0.92)}


def test_the_cores_and_the_nan():
    assert flags.core_warning(0.80) == []
    assert "core LR AUC 0.801" in flags.core_warning(0.801)[0]
    assert "core gates" in flags.core_warning(0.9)[0]
    assert "Check data validation" in flags.NOT_FINITE and "learning rate" in flags.NOT_FINITE
