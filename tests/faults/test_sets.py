"""D7, D8, D10-D13, D15 and D16: rows, files and splits that are not what they should be."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from lensjax.gates.gate import Finding, conclude
from lensjax.gates.protocol import load_protocol
from lensjax.gates.statistics import Estimate
from tests.faults.cases import (
    HDF5,
    Case,
    Sets,
    assert_harm,
    assert_refused,
    fewer_rows,
    parametrize,
    train_is_test,
)
from tests.faults.roots import (
    FILES,
    NAMED,
    ROW,
    Hdf5Root,
    ParquetRoot,
    members_of,
    pack,
    sound_hdf5,
    swap_folders,
    unpack,
)
from tests.faults.running import ROOT

TEST = "test/test-000.parquet"


# -- D7, D8 ---------------------------------------------------------------------------------------


def one_class(split: str, kind: str):
    def plant(root: Hdf5Root) -> None:
        columns = root.splits[split]
        columns["kind"] = [kind] * len(columns["kind"])
        for name in ("theta_e_arcsec", "arc_snr"):
            columns[name] = np.full(len(columns["kind"]), 1.5 if kind == "lens" else np.nan)

    return plant


def classes(split: str, kind: str, missing: str) -> Case:
    def harm(sets: Sets) -> bool:
        return set(sets[split].table["label"]) == {int(kind == "lens")}

    return Case(
        10,
        f"{split} has 0 {missing}",
        "splits",
        one_class(split, kind),
        off=("classes",),
        harm=harm,
        make=sound_hdf5,
        argv=(HDF5,),
    )


def exchanged(root: ParquetRoot) -> None:
    for columns in root.files.values():
        columns["stamp_npz"], columns["ctrl_stamp_npz"] = (
            columns["ctrl_stamp_npz"],
            columns["stamp_npz"],
        )


def positives_are_fainter(sets: Sets) -> bool:
    """The label has the opposite meaning in every pair."""
    return all(
        (x.stamps[x.table["label"] == 1].sum() < x.stamps[x.table["label"] == 0].sum())
        for x in sets.values()
    )


# -- D10, D11, D12 --------------------------------------------------------------------------------


def leaked_brick(root: ParquetRoot) -> None:
    root.files[NAMED]["brickname"][ROW] = root.files[TEST]["brickname"][5]


def shares_a_brick(sets: Sets) -> bool:
    return bool({*sets["train"].table["brick"]} & {*sets["test"].table["brick"]})


def copied(turn):
    """The pair of row 17 is in test too, as another host's row 4."""

    def plant(root: ParquetRoot) -> None:
        train, test = root.files[NAMED], root.files[TEST]
        for column in ("stamp_npz", "ctrl_stamp_npz"):
            pixels = turn(unpack(train[column][ROW]))
            test[column][4] = pack(members_of(np.ascontiguousarray(pixels, np.float32)))
        for column in ("theta_e_arcsec", "arc_snr", "psf_fwhm_arcsec"):
            test[column][4] = train[column][ROW]

    return plant


def turned(pixels: np.ndarray) -> np.ndarray:
    return np.rot90(pixels, axes=(1, 2))


def noisy(pixels: np.ndarray) -> np.ndarray:
    return pixels + 1e-6 * np.random.default_rng(int(pixels.sum())).standard_normal(pixels.shape)


def shares_a_stamp(turn):
    def harm(sets: Sets) -> bool:
        train, test = sets["train"].stamp("train-00026-s"), sets["test"].stamp("test-00004-s")
        return bool(np.abs(np.moveaxis(turn(np.moveaxis(train, 2, 0)), 0, 2) - test).max() < 1e-4)

    return harm


def copy(turn, cause: str) -> Case:
    cause = rf"{NAMED} row {ROW}.* and {TEST} row 4.*: test-00004-\S is a {cause}.*across splits"
    return Case(
        11, cause, "duplicates", copied(turn), off=("duplicates",), harm=shares_a_stamp(turn)
    )


# -- D13, D15, D16 --------------------------------------------------------------------------------


def truncated(share: float):
    def damage(root: Path) -> None:
        os.truncate(root / NAMED, int(share * os.path.getsize(root / NAMED)))

    return damage


def no_rows(root: Path) -> None:
    name = root / "train/train-001.parquet"
    pq.write_table(pq.read_table(name).slice(0, 0), name)


def empty(root: Path) -> None:
    (root / "val/val-000.parquet").unlink()


def unfinished(root: Path) -> None:
    (root / NAMED).rename(root / f"{NAMED}.tmp")
    (root / "train/_SUCCESS").touch()


def only_strays(root: Path) -> None:
    empty(root)
    (root / "val/_SUCCESS").touch()
    (root / "val/val-000.parquet.tmp").touch()


def repeated(root: ParquetRoot) -> None:
    """7 ids of train-003 are those of other shards."""
    others = [x for name in list(FILES)[:3] for x in root.files[name]["task_id"]]
    root.files[NAMED]["task_id"][:7] = others[:7]


def ids_repeat(sets: Sets) -> bool:
    ids = sets["train"].table["stamp_id"]
    return len(set(ids)) == len(ids) - 14


def damaged(cause: str, damage, harm, *more: str, remedy: str = "") -> Case:
    off = ("listing", *more)
    return Case(10, cause, "stamps", damage=damage, off=off, harm=harm, remedy=remedy)


FILL = "Put its files there, or say another format with --config.data.source"


CASES = {
    "D7 val": classes("val", "ring", "positives"),
    "D7 train": classes("train", "lens", "negatives"),
    "D8": Case(
        10,
        r"train/train-000.parquet row 0: stamp and control are exchanged \(summed r-band diff",
        "pairs",
        exchanged,
        off=("pairs",),
        harm=positives_are_fainter,
    ),
    "D10": Case(
        11,
        rf"{NAMED} row {ROW}.* and {TEST} row 4.*: brick 2001p002 is in train and in test",
        "splits",
        leaked_brick,
        off=("splits",),
        harm=shares_a_brick,
    ),
    "D11 copy": copy(np.array, "copy of train-00026"),
    "D11 turned": copy(turned, "turned or mirrored copy of train-00026"),
    "D11 noise": copy(noisy, r"near copy \(sky noise correlates by 1.000\) of train-00026"),
    "D12": Case(
        11,
        r"train/test-000.parquet: region_split 'test' in the folder train \(8 rows\)",
        "splits",
        damage=swap_folders,
        off=("folders",),
        harm=train_is_test,
    ),
    "D13 0 %": damaged(rf"{NAMED}: truncated \(0 bytes", truncated(0), fewer_rows(20)),
    "D13 50 %": damaged(rf"{NAMED}: truncated \(\d+ bytes", truncated(0.5), fewer_rows(20)),
    "D13 99 %": damaged(rf"{NAMED}: truncated \(\d+ bytes", truncated(0.99), fewer_rows(20)),
    "D15 0 rows": damaged("train/train-001.parquet: 0 rows", no_rows, fewer_rows(3)),
    "D15 empty": damaged(
        "val/: empty directory",
        empty,
        lambda sets: len(sets["val"].stamps) == 0,
        "classes",
        remedy=FILL,
    ),
    "D15 unfinished": damaged(
        "stray file 'train-003.parquet.tmp' is not a", unfinished, fewer_rows(20)
    ),
    "D15 only strays": damaged(
        r"val/: no \*.parquet file \(stray: _SUCCESS, val-000.parquet.tmp\)",
        only_strays,
        lambda sets: len(sets["val"].stamps) == 0,
        "classes",
        remedy=FILL,
    ),
    "D16": Case(
        10,
        rf"train/train-000.parquet row 0.* and {NAMED} row 0.*: .* train-00000-c is used twice",
        "duplicates",
        repeated,
        off=("duplicates",),
        harm=ids_repeat,
    ),
}


@parametrize("proves", CASES)
def test_refused(case, run, plant):
    assert_refused(case, run, plant(case))


@parametrize("harm", CASES)
def test_without_the_guard_it_goes_through(case, run, plant):
    assert_harm(case, run, plant(case))


@pytest.mark.proves("D15")
def test_a_finished_writer_s_mark_is_noted_and_no_fault(run, plant):
    root = plant(Case(0, "", ""))
    (root / "train/_SUCCESS").touch()
    assert run.phase0(root).code == 0
    notes = [x["message"] for x in run.summary()["checks"]["stamps"]["findings"]]
    assert notes == ["stray file '_SUCCESS' is not a *.parquet file and is not read"]


@pytest.mark.proves("D16")
def test_the_first_five_repeated_ids_are_shown_and_all_are_kept(run, plant):
    ended = run.phase0(plant(CASES["D16"]))
    assert ended.out.count("is used twice") == 5
    assert re.search(r"duplicates: and 9 more, in \S+/summary.json", ended.out)
    found = run.summary()["checks"]["duplicates"]["findings"]
    pairs = {x["where"] for x in found if "is used twice" in x["message"]}
    assert len(found) == len(pairs) == 14  # 7 rows, each a stamp and its control


@pytest.mark.proves("D8")
def test_scores_the_wrong_way_round_are_called_inverted():
    """Labels swapped in a set without pairs, where no check can know: the gate says so."""
    rule = load_protocol(ROOT / "configs/protocols/default.json").gates["auroc_test"]
    said = conclude(rule, Finding(Estimate(0.10, 0.08, 0.12), 1000, 1000, 60))
    assert said["verdict"] == "FAIL" and "inverted: the whole interval is below" in said["reason"]
