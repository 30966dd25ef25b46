"""D1-D6: pixels and bands that cannot be trained on, in row 17 of train-003."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.faults.cases import Case, Sets, assert_harm, assert_refused, parametrize
from tests.faults.roots import NAMED, ROW, ParquetRoot, members_of, pack, unpack
from tests.faults.running import ROOT

WHERE = rf"{NAMED} row {ROW} band r: "
STAMP = "train-00026-s"  # the id of that row


def pixel(value: float):
    """Pixel (5, 6) of band r becomes `value`."""

    def change(stamp: np.ndarray) -> np.ndarray:
        stamp[1, 5, 6] = value
        return stamp

    return lambda root: root.change(change)


def band(value: float):
    """All of band r becomes `value`."""

    def change(stamp: np.ndarray) -> np.ndarray:
        stamp[1] = value
        return stamp

    return lambda root: root.change(change)


def members(change):
    """The npz members of the stamp, changed by `change`."""

    def plant(root: ParquetRoot) -> None:
        def repacked(blob: bytes) -> bytes:
            found = members_of(unpack(blob))
            change(found)
            return pack(found)

        root.put(repacked)

    return plant


def no_r(found: dict[str, np.ndarray]) -> None:
    del found["image_r"]


def short(found: dict[str, np.ndarray]) -> None:
    found["image_r"] = found["image_r"][:63]


def of_type(dtype: str):
    def change(found: dict[str, np.ndarray]) -> None:
        found["image_r"] = found["image_r"].astype(dtype)

    return change


def swapped_metadata(root: ParquetRoot) -> None:
    root.metadata[NAMED] = {b"bands": b"r,g,z"}


def swapped_column(root: ParquetRoot) -> None:
    root.files[NAMED]["bandset"][ROW] = "rgz"


def seen(sets: Sets) -> np.ndarray:
    """Band r of the stamp, float32 [64, 64], as it would be trained on."""
    return sets["train"].stamp(STAMP)[..., 1]


def normalised(sets: Sets) -> np.ndarray:
    """The same less its median, over its MAD."""
    plane = seen(sets)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (plane - np.median(plane)) / np.median(np.abs(plane - np.median(plane)))


def stamps(cause: str, plant, harm, *off: str) -> Case:
    return Case(10, cause, "stamps", plant, off=off, harm=harm)


def values(cause: str, plant, harm) -> Case:
    return stamps(WHERE + cause, plant, harm, "pixels", "pairs")


def through(sets: Sets) -> bool:
    """The stamp is there."""
    return bool(np.isfinite(seen(sets)).all())


CASES = {
    "D1": values("1 NaN", pixel(np.nan), lambda s: np.isnan(seen(s)[5, 6])),
    "D2 +Inf": values(r"1 \+Inf", pixel(np.inf), lambda s: seen(s)[5, 6] == np.inf),
    "D2 -Inf": values("1 -Inf", pixel(-np.inf), lambda s: seen(s)[5, 6] == -np.inf),
    "D2 sentinel": values("1 of the 1e30 sentinel", pixel(1e30), lambda s: seen(s).max() > 1e29),
    "D2 fill": values("1 of the -99 fill", pixel(-99.0), lambda s: seen(s).min() == -99),
    "D3": stamps(
        WHERE + r"missing band r \(has g, z; expected g, r, z\)",
        members(no_r),
        lambda s: not seen(s).any(),
        *("pixels", "npz", "pairs"),
    ),
    "D4 metadata": stamps(
        rf"{NAMED}: band-order mismatch: metadata bands is 'rgz', expected 'grz'",
        swapped_metadata,
        through,
        "band order",
    ),
    "D4 column": stamps(
        rf"{NAMED}: band-order mismatch: bandset 'rgz', expected 'grz' \(1 rows\)",
        swapped_column,
        through,
        "band order",
    ),
    "D5 shape": stamps(
        WHERE + r"shape \(63, 64\), expected \(64, 64\)",
        members(short),
        lambda s: not seen(s)[63].any(),
        *("pixels", "npz", "pairs"),
    ),
    "D5 int16": stamps(
        WHERE + "dtype int16, expected float32",
        members(of_type("i2")),
        lambda s: (seen(s) == np.rint(seen(s))).all(),
        *("pixels", "npz", "pairs"),
    ),
    "D5 float64": stamps(
        WHERE + "dtype float64, expected float32", members(of_type("f8")), through, "npz"
    ),
    "D6 zeros": values(
        r"zero variance \(constant 0\)", band(0.0), lambda s: np.isnan(normalised(s)).all()
    ),
    "D6 constant": values(
        r"zero variance \(constant 4.5\)", band(4.5), lambda s: np.isnan(normalised(s)).all()
    ),
}


@parametrize("proves", CASES)
def test_refused(case, run, plant):
    assert_refused(case, run, plant(case))


@parametrize("harm", CASES)
def test_without_the_guard_it_goes_through(case, run, plant):
    assert_harm(case, run, plant(case))


@pytest.fixture
def budget(tmp_path: Path) -> str:
    """The default protocol, with room for one row to be set aside."""
    document = json.loads((ROOT / "configs/protocols/default.json").read_text())
    document["phase0"]["limits"]["quarantine"] = 1
    path = tmp_path / "protocol.json"
    path.write_text(json.dumps(document))
    return f"--config.protocol={path}"


@pytest.mark.proves("D1")
def test_within_a_budget_the_row_is_set_aside_and_counted(run, plant, budget):
    root = plant(CASES["D1"])
    ended = run.phase0(root, budget)
    assert ended.code == 0 and run.summary()["quarantined"] == 1
    assert "1 rows set aside, budget 1" in " ".join(ended.out.replace("│", " ").split())
    assert run.prepare(root, budget).code == 0
    ids = run.sets()["train"].table["stamp_id"]
    assert len(ids) == 56 and not np.char.startswith(ids, STAMP[:-2]).any()  # both of the pair
