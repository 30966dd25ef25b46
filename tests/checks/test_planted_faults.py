"""Each fault planted in clean data is refused with its code and its named cause; with the check
off, the same data pass, which is the harm."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from lensjax.checks import run, scan
from lensjax.checks.result import FAIL, Outcome
from lensjax.data.stampset import StampSet
from lensjax.schema import ExitCode, LensjaxError

pytestmark = pytest.mark.usefixtures("quick_intervals")

Sets = dict[str, StampSet]


def rows_of(stamp_set: StampSet, host: int) -> np.ndarray:
    """Rows of the host with this number, the control first."""
    return np.flatnonzero(np.char.endswith(stamp_set.table["lrg_id"], f"{host:05d}"))


def nan(sets: Sets) -> None:
    sets["train"].stamps[17, 3, 4, 1] = np.nan


def inf(sets: Sets) -> None:
    sets["val"].stamps[5, 3, 4, 2] = -np.inf


def sentinel(sets: Sets) -> None:
    sets["val"].stamps[5, 3, 4, 2] = 1e30


def fill(sets: Sets) -> None:
    sets["val"].stamps[5, :2, 4, 0] = -99.0


def constant(sets: Sets) -> None:
    sets["test"].stamps[7, :, :, 0] = 0.0


def identical(sets: Sets) -> None:
    control, stamp = rows_of(sets["train"], 3)
    sets["train"].stamps[stamp] = sets["train"].stamps[control]


def exchanged(sets: Sets) -> None:
    """D8: in every row."""
    for stamp_set in sets.values():
        pairs = np.flatnonzero(stamp_set.table["negative_kind"] == "control")
        stamp_set.stamps[pairs], stamp_set.stamps[pairs + 1] = (
            stamp_set.stamps[pairs + 1],
            stamp_set.stamps[pairs].copy(),
        )


def labels_swapped(sets: Sets) -> None:
    """D8: the labels of every pair, with all that goes with them."""
    for stamp_set in sets.values():
        pairs = np.flatnonzero(stamp_set.table["negative_kind"] == "control")
        for name in ("label", "negative_kind", "theta_e_arcsec", "arc_snr"):
            column = stamp_set.table[name]
            column[pairs], column[pairs + 1] = column[pairs + 1], column[pairs].copy()


def other_control(sets: Sets) -> None:
    """The control is another galaxy with the same ids."""
    control, _ = rows_of(sets["train"], 3)
    rng = np.random.default_rng(1)
    noise = 0.012 * rng.standard_normal((64, 64, 3), np.float32)
    sets["train"].stamps[control] = noise - 0.01


def other_sky(sets: Sets) -> None:
    """The same with an unknown theta_E, as in every positive: the extent cannot be tested."""
    other_control(sets)
    for stamp_set in sets.values():
        stamp_set.table["theta_e_arcsec"][:] = np.nan


def one_class(sets: Sets) -> None:
    """D7."""
    val = sets["val"]
    keep = val.table["label"] == 0
    table = {name: column[keep] for name, column in val.table.items()}
    sets["val"] = StampSet("val", table, val.stamps[keep], val.reader)


def shared_brick(sets: Sets) -> None:
    """D10: one host of test keeps the brick that it has in train."""
    sets["train"].table["brick"][rows_of(sets["train"], 9)] = sets["test"].table["brick"][0]


def shared_host(sets: Sets) -> None:
    sets["train"].table["lrg_id"][rows_of(sets["train"], 9)] = sets["test"].table["lrg_id"][0]


def overlap(sets: Sets) -> None:
    rows = rows_of(sets["train"], 9)
    sets["train"].table["ra"][rows] = sets["test"].table["ra"][0]
    sets["train"].table["dec"][rows] = sets["test"].table["dec"][0] + 15 / 3600


def guard_band(sets: Sets) -> None:
    rows = rows_of(sets["train"], 9)
    sets["train"].table["ra"][rows] = sets["test"].table["ra"][0]
    sets["train"].table["dec"][rows] = sets["test"].table["dec"][0] + 0.04


def proportions(sets: Sets) -> None:
    """A fifth of the training hosts is gone."""
    train = sets["train"]
    keep = np.char.strip(train.table["lrg_id"]) < "train-host-00048"
    table = {name: column[keep] for name, column in train.table.items()}
    sets["train"] = StampSet("train", table, train.stamps[keep], train.reader)


def copied(turn: Callable[[np.ndarray], np.ndarray]) -> Callable[[Sets], None]:
    """D11: a pair of train is in test too, under another id."""

    def plant(sets: Sets) -> None:
        source, target = rows_of(sets["train"], 9), rows_of(sets["test"], 4)
        sets["test"].stamps[target] = np.stack([turn(s) for s in sets["train"].stamps[source]])
        for name in ("theta_e_arcsec", "arc_snr", "psf_fwhm_arcsec"):
            sets["test"].table[name][target] = sets["train"].table[name][source]

    return plant


def noisy(stamp: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(2).standard_normal(stamp.shape, np.float32)
    return np.flip(stamp, axis=1) + np.float32(1e-6) * noise


def other_arc(stamp: np.ndarray) -> np.ndarray:
    """The same galaxy and the same sky under another arc."""
    out = stamp.copy()
    out[20:24, 28:36] += 0.05
    return out


def copied_in_split(sets: Sets) -> None:
    source, target = rows_of(sets["test"], 9), rows_of(sets["test"], 4)
    sets["test"].stamps[target] = np.rot90(sets["test"].stamps[source], axes=(1, 2))
    for name in ("theta_e_arcsec", "psf_fwhm_arcsec"):
        sets["test"].table[name][target] = sets["test"].table[name][source]


def repeated_id(sets: Sets) -> None:
    """D16."""
    sets["train"].table["stamp_id"][40] = sets["train"].table["stamp_id"][41]


def bad_label(sets: Sets) -> None:
    table = sets["train"].table
    table["label"][np.flatnonzero(table["negative_kind"] == "ring")[0]] = 2


def theta_e_unknown(sets: Sets) -> None:
    sets["train"].table["theta_e_arcsec"][rows_of(sets["train"], 3)[1]] = np.nan


def metadata(sets: Sets) -> None:
    """Look-alikes from another season: deeper, sharper."""
    for stamp_set in sets.values():
        other = np.flatnonzero(stamp_set.table["negative_kind"] != "")
        stamp_set.table["psf_depth"][other] += 0.3


def pixel_scale(sets: Sets) -> None:
    """Two hosts of another survey: too few to learn from, enough to be no mistake."""
    for host in (3, 4):
        sets["train"].table["pixel_scale_arcsec"][rows_of(sets["train"], host)] = 0.25


class Fault(NamedTuple):
    plant: Callable[[Sets], None]
    check: str
    code: int
    cause: str  # regular expression, of where and message of one finding


FAULTS = {
    "D1": Fault(nan, "stamps", 10, r"train/part-\d\.parquet row \d+ band r.*: 1 NaN"),
    "D2-inf": Fault(inf, "stamps", 10, r"band z.*-Inf"),
    "D2-sentinel": Fault(sentinel, "stamps", 10, r"band z.*1e30 sentinel"),
    "D2-fill": Fault(fill, "stamps", 10, r"band g.*-99 fill"),
    "D6": Fault(constant, "stamps", 10, r"band g.*zero variance"),
    "pair-identical": Fault(identical, "pairs", 10, r"train/part-1.parquet row 1: .*identical"),
    "D8-pixels": Fault(exchanged, "pairs", 10, r"exchanged"),
    "D8-labels": Fault(labels_swapped, "pairs", 10, r"exchanged"),
    "pair-other-host": Fault(other_control, "pairs", 10, r"lies beyond 3 theta_E"),
    "pair-other-sky": Fault(
        other_sky, "pairs", 10, r"train/part-1.parquet row 1: .*not of one galaxy: their sky noise"
    ),
    "D7": Fault(one_class, "splits", 10, r"val has 0 positives"),
    "D10": Fault(
        shared_brick,
        "splits",
        11,
        r"train/part-\d.parquet row \d+.* and test/part-\d.parquet row \d+.*: brick test0000",
    ),
    "host-shared": Fault(shared_host, "splits", 11, r"host test-host-00000 is in train and in te"),
    "overlap": Fault(overlap, "splits", 11, r"15\.0 arcsec apart"),
    "guard-band": Fault(guard_band, "splits", 11, r"1 hosts within 0.05 deg"),
    "proportions": Fault(proportions, "splits", 11, r"train holds 0.444 of the hosts, stated 0.5"),
    "D11-bytes": Fault(copied(np.array), "duplicates", 11, r"is a copy of .* across splits"),
    "D11-turned": Fault(copied(np.rot90), "duplicates", 11, r"is a turned or mirrored copy of"),
    "D11-noise": Fault(copied(noisy), "duplicates", 11, r"is a near copy .*across splits"),
    "D11-arc": Fault(copied(other_arc), "duplicates", 11, r"is a near copy .*across splits"),
    "D11-hosts": Fault(copied_in_split, "duplicates", 11, r"across hosts"),
    "D16": Fault(repeated_id, "duplicates", 10, r"train-\S+ is used twice"),
    "label": Fault(bad_label, "labels", 10, r"label holds values other than 0 and 1"),
    "theta_e": Fault(theta_e_unknown, "labels", 10, r"row 1.*theta_e_arcsec is unknown .* 1 of 96"),
    "metadata": Fault(metadata, "metadata_shortcut", 11, r"psf, depth and ebv.*psf_depth"),
    "scales": Fault(
        pixel_scale,
        "survey_shortcut",
        11,
        r"train/part-1.parquet row 1.* and train/part-\d.parquet row \d+.*: stamps of 0.25 and of "
        r"0.262 arcsec a pixel are mixed",
    ),
}


def test_clean_data_pass(clean, made):
    summary = made.phase0(clean)
    assert summary.all_passed and summary.exit_code == 0
    assert not [f for result in summary.results for f in result.findings]
    assert {r.name: r.verdict for r in summary.results if r.required} == dict.fromkeys(
        made.protocol["phase0"]["required"], "PASS"
    )


@pytest.mark.parametrize("seed", range(1, 6))
def test_no_false_alarm_on_other_clean_sets(made, seed):
    assert made.phase0(made.sets(seed)).all_passed


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_refused_with_its_code_and_cause(sets, made, name):
    fault = FAULTS[name]
    fault.plant(sets)
    summary = made.phase0(sets)
    assert summary.exit_code == fault.code and not summary.all_passed
    result = summary[fault.check]
    assert result.verdict == FAIL
    lines = [f"{f.where}: {f.message}" for f in result.findings if f.severity == "ERROR"]
    assert any(re.search(fault.cause, line) for line in lines), lines
    text = str(summary.error())
    assert "\n" not in text and fault.check in text


@pytest.mark.parametrize("name", FAULTS)
def test_with_the_check_off_the_fault_passes(sets, made, monkeypatch, name):
    fault = FAULTS[name]
    fault.plant(sets)

    def blind(*args: Any, **kwargs: Any) -> Outcome:
        return Outcome("not looked at")

    monkeypatch.setattr(run, f"check_{fault.check}", blind)
    if fault.check == "stamps":
        monkeypatch.setattr(scan, "validate_planes", lambda planes: [])
    if name == "D8-labels":
        monkeypatch.setattr(run, "check_labels", blind)
    assert made.phase0(sets).all_passed


def test_the_cause_of_a_fault_is_the_first_thing_said(sets, made):
    """D7: a split of one class is no shortcut by the bricks that are in it."""
    one_class(sets)
    summary = made.phase0(sets)
    assert "val has 0 positives" in str(summary.error())
    assert [result.name for result in summary.stopping()] == ["splits"]


def test_splits_given_under_other_names_are_refused(sets, made):
    """D12."""
    sets["train"], sets["test"] = sets["test"], sets["train"]
    with pytest.raises(LensjaxError, match="given as train is test") as caught:
        made.phase0(sets)
    assert caught.value.code == ExitCode.LEAK
