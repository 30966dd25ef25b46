"""The five red flags and the expected ranges, from metrics.jsonl and the gates."""

import json
from pathlib import Path

import pytest

from lensjax import schema
from lensjax.gates.flags import read_metrics, training_health

HEALTHY = {
    1: {"train_loss": 0.6, "val_loss": 0.6, "train_auroc": 0.66, "val_auroc": 0.65},
    5: {"train_loss": 0.3, "val_loss": 0.4, "train_auroc": 0.80, "val_auroc": 0.78},
    10: {"train_loss": 0.2, "val_loss": 0.3, "train_auroc": 0.90, "val_auroc": 0.88},
}
GATES = {"core_lr_auc": {"value": 0.6}, "auroc_test": {"value": 0.97}}


def told(folder: Path, epochs: dict, gates: dict = GATES) -> dict:
    lines = [json.dumps({"epoch": epoch, **each}) for epoch, each in epochs.items()]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return training_health(folder, gates)


def raised(found: dict) -> dict:
    return {each["flag"]: each for each in found["flags"] if each["raised"]}


def test_a_healthy_run_raises_nothing(tmp_path: Path) -> None:
    found = told(tmp_path, HEALTHY)
    assert raised(found) == {} and found["epochs"] == 10
    assert [each["flag"] for each in found["flags"]] == list(schema.RED_FLAGS)
    assert {each["is"] for each in found["ranges"]} == {"inside"} and len(found["ranges"]) == 6


CHANGES = {
    "loss_not_finite": ({"train_loss": None}, None),
    "perfect_auroc": ({"val_auroc": 1.0, "train_auroc": 1.0}, 1.0),
    "memorised": ({"train_loss": 0.009}, 0.009),
    "overfitting": ({"train_auroc": 0.99}, pytest.approx(0.11)),
}


@pytest.mark.parametrize("flag", CHANGES)
def test_each_flag_has_its_cause_and_action(tmp_path: Path, flag: str) -> None:
    change, value = CHANGES[flag]
    epochs = {**HEALTHY, 10: {**HEALTHY[10], **change}}
    found = raised(told(tmp_path, epochs))
    assert list(found) == [flag]
    assert (found[flag]["epoch"], found[flag]["epochs"]) == (10, 1)
    assert value is None or found[flag]["value"] == value
    assert (found[flag]["cause"], found[flag]["action"]) == schema.RED_FLAGS[flag]


def test_flags_of_the_gates(tmp_path: Path) -> None:
    found = raised(told(tmp_path, HEALTHY, {"core_lr_auc": {"value": 0.81}}))
    assert list(found) == ["core_shortcut"] and found["core_shortcut"]["value"] == 0.81
    found = raised(told(tmp_path, HEALTHY, {"auroc_test": {"value": 1.0}}))
    assert list(found) == ["perfect_auroc"]
    assert raised(told(tmp_path, HEALTHY, {"core_lr_auc": {"value": None}})) == {}


def test_ranges_are_told_from_their_epoch(tmp_path: Path) -> None:
    epochs = {1: {**HEALTHY[1], "train_loss": 1.2, "val_auroc": None}, 5: HEALTHY[5]}
    epochs[5] = {**epochs[5], "val_auroc": 0.60}
    found = {(each["measure"], each["epoch"]): each for each in told(tmp_path, epochs)["ranges"]}
    assert found["train_loss", 1]["is"] == "above" and found["val_auroc", 5]["is"] == "below"
    assert found["val_auroc", 1]["is"] == "not a number"
    assert found["val_auroc", 10]["is"] == "not reached"
    assert found["train_loss", 5]["expected"] == [0.15, 0.5]


def test_an_epoch_told_twice_counts_once_and_damage_is_left_out(tmp_path: Path) -> None:
    """A resumed run may tell an epoch again: the later line holds."""
    path = tmp_path / "metrics.jsonl"
    lines = ['{"epoch": 2, "train_loss": 5.0}', '{"epoch": 2, "train_loss": 0.5}', "{", "[]", "7"]
    lines += ['{"epoch": true}', '{"epoch": -1}', '{"epoch": 1.5}', '{"epoch": 1e9}', "\x00"]
    path.write_text("\n".join([*lines, '{"epoch": 1, "train_loss": true, "val_loss": 1e999}']))
    found = read_metrics(path)
    assert found is not None and [each["epoch"] for each in found] == [1.0, 2.0]
    assert found[1]["train_loss"] == 0.5 and found[0]["train_loss"] != found[0]["train_loss"]


def test_without_metrics_it_says_so(tmp_path: Path) -> None:
    assert "no metrics.jsonl" in training_health(tmp_path, GATES)["state"]
    (tmp_path / "metrics.jsonl").write_bytes(b"\xff\xfe\n{")
    assert "no line of it" in training_health(tmp_path, GATES)["state"]
