"""S5: names and links that lead out of the data root, to files that nobody meant to be read."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lensjax.data import split_manifest
from lensjax.data.rows import Coded
from tests.faults.cases import Case, Sets, assert_harm, assert_refused, parametrize
from tests.faults.roots import NAMED, ParquetRoot
from tests.faults.running import Commands, tree

ESCAPE = "../../etc/passwd"


def outside(root: Path) -> Path:
    """A folder beside the data root."""
    folder = root.parent / f"{root.name}-outside"
    folder.mkdir()
    return folder


def linked_file(root: Path) -> None:
    """train-003 is a link to a file beside the root."""
    elsewhere = outside(root) / "private.parquet"
    os.rename(root / NAMED, elsewhere)
    os.symlink(elsewhere, root / NAMED)


def linked_folder(root: Path) -> None:
    elsewhere = outside(root) / "train"
    os.rename(root / "train", elsewhere)
    os.symlink(elsewhere, root / "train")


def named_in_the_record(root: Path) -> None:
    path = root / "manifest.json"
    record = json.loads(path.read_text())
    record["files"][ESCAPE] = "0" * 64
    path.write_text(json.dumps(record))


def all_there(sets: Sets) -> bool:
    """Rows from beyond the root are trained on."""
    return "train-00026-s" in sets["train"].table["stamp_id"]


OUT = "is a link that leads out of the data root"
FILE = Case(*(17, f"{NAMED}: {OUT}", "stamps"), damage=linked_file)
FOLDER = Case(
    *(17, rf"train/train-00\d\.parquet: {OUT}", "stamps"),
    damage=linked_folder,
    off=("links",),
    harm=all_there,
)
RECORD = Case(
    *(17, rf"manifest\.json: names '{ESCAPE}', which leads out of the data root", "labels"),
    damage=named_in_the_record,
    recorded=True,
)


@parametrize("proves", {"S5 file": FILE, "S5 folder": FOLDER, "S5 record": RECORD})
def test_refused(case, run, plant):
    assert_refused(case, run, plant(case))


@parametrize("harm", {"S5 folder": FOLDER})
def test_without_the_guard_it_is_read(case, run, plant):
    assert_harm(case, run, plant(case))


@pytest.mark.harm("S5")
def test_without_the_guard_the_record_s_name_is_taken_for_one_of_its_files(run, plant):
    """It is not opened: the record is held against what is listed. It would be told as missing."""
    ended = run.phase0(plant(RECORD), off=["record names"])
    assert ended.code == 12 and f"each is missing ({ESCAPE})" in ended.error()


# -- the split manifest ---------------------------------------------------------------------------


@pytest.fixture
def split(run: Commands, plant, monkeypatch) -> tuple[Path, str]:
    """A sound root, and a split manifest of it (python -m lensjax.data split) in which the name of
    train-003 was changed to that of a file beside the root, digest and all."""
    root = plant(Case(0, "", "", plant=spread))
    path = run.folder / "split.parquet"
    flags = [f"--out={path}", "--proportions=0.71,0.18,0.11"]
    ended = run.call("lensjax.data", ["split", str(root), *flags], ())
    assert ended.code == 0, ended.err
    manifest = split_manifest.read(str(path))
    names = [x.replace(NAMED, f"../{root.name}-outside/p.parquet") for x in manifest.file.names]
    os.rename(root / NAMED, outside(root) / "p.parquet")
    monkeypatch.setattr(split_manifest, "validate", lambda manifest, where: None)
    changed = replace(manifest, file=Coded(manifest.file.code, tuple(names)))
    split_manifest.write(path, changed)
    monkeypatch.undo()
    return root, f"--config.data.manifest={path}"


def spread(root: ParquetRoot) -> None:
    """Bricks so far from one another that they can be split."""
    for columns in root.files.values():
        columns["ra"] = columns["ra"] + 5 * (np.arange(len(columns["ra"])) % 5)


@pytest.mark.proves("S5")
def test_a_split_manifest_that_leads_out_is_refused(run, split):
    root, manifest = split
    before = tree(root.parent)
    ended = run.phase0(root, manifest)
    assert ended.code == 17
    line = ended.error()
    assert "split.parquet: names '../" in line and "which leads out of the data root" in line
    assert line.endswith("Ask where this file came from")
    assert run.artefacts() == [] and tree(root.parent) == before


@pytest.mark.harm("S5")
def test_without_the_guard_a_split_manifest_brings_files_from_anywhere(run, split):
    ended = run.prepare(*split, off=["manifest names", "links"])
    assert ended.code == 0, ended.err
    ids = np.concatenate([made.table["stamp_id"] for made in run.sets().values()])
    assert "train-00026-s" in ids
