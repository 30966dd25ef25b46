"""D9, D12 and D17 on a data root that somebody vouched for (python -m lensjax.data record)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pyarrow as pa
import pyarrow.parquet as pq

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
    ParquetRoot,
    make_pairs,
    members_of,
    pack,
    sound_hdf5,
    swap_folders,
)


def flipped(root: Path) -> None:
    """One label of 20 in train: a lens is called a ring."""
    with h5py.File(root / "train/part.h5", "a") as file:
        assert file["kind"][4] == b"lens"
        file["kind"][4] = "ring"


def without_names(root: ParquetRoot) -> None:
    """The rows do not say which split they are of."""
    for columns in root.files.values():
        del columns["region_split"]


def missing(root: Path) -> None:
    (root / "train/train-001.parquet").unlink()


def extra(root: Path) -> None:
    stamps, controls, columns = make_pairs("train", 200, 3)
    columns["stamp_npz"] = [pack(members_of(x)) for x in stamps]
    columns["ctrl_stamp_npz"] = [pack(members_of(x)) for x in controls]
    pq.write_table(pa.table(columns), root / "train/train-004.parquet")


def nine_of_ten(sets: Sets) -> bool:
    return sets["train"].table["label"].sum() == 9


def recorded(
    code: int,
    check: str,
    cause: str,
    damage: Callable[[Path], None],
    harm: Callable[[Sets], bool],
    **more: Any,
) -> Case:
    told = {"off": ("record",), "harm": harm, "recorded": True, **more}
    return Case(code, cause, check, damage=damage, **told)


CASES = {
    "D9": recorded(
        *(12, "labels", r"train/: label column differs from the manifest \(\w{12}, was \w{12}\)"),
        *(flipped, nine_of_ten),
        make=sound_hdf5,
        argv=(HDF5,),
    ),
    "D12": recorded(
        *(11, "splits", "test/train-000.parquet: the manifest says that this file is train/train"),
        *(swap_folders, train_is_test),
        plant=without_names,
        off=("record", "folders"),  # the sizes of the splits tell it too
    ),
    "D17 missing": recorded(
        *(12, "labels", r"manifest.json: 1 files: each is missing \(train/train-001.parquet\)"),
        *(missing, fewer_rows(3)),
    ),
    "D17 extra": recorded(
        *(12, "labels", r"1 files: each is not in the manifest \(train/train-004.parquet\)"),
        *(extra, fewer_rows(-3)),
    ),
}


@parametrize("proves", CASES)
def test_refused(case, run, plant):
    assert_refused(case, run, plant(case))


@parametrize("harm", CASES)
def test_without_the_record_it_goes_through(case, run, plant):
    assert_harm(case, run, plant(case))
