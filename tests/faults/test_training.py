"""The data faults that main.py meets: what phase 0 refuses (D1, D7, D9, D17), prepared sets that
were changed (D9, D17), files replaced while it trains (D19), and S8 in all that it writes."""

from __future__ import annotations

import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lensjax.data.files import FileSource
from lensjax.data.parquet import ParquetFormat
from lensjax.gates.statistics import StatisticsError, auroc
from lensjax.job.data import watch_data
from lensjax.schema import ExitCode, LensjaxError
from tests.faults.cases import HDF5, Case
from tests.faults.guards import switch_off
from tests.faults.roots import NAMED, ROW, Hdf5Root, ParquetRoot, sound_hdf5
from tests.faults.running import Commands, tree

TABLE = "train-table.npz"
EVIL = "train/\x1b[2Jevil\x07.parquet"


def one_class(split: str):
    def plant(root: Hdf5Root) -> None:
        columns = root.splits[split]
        columns["kind"] = ["ring"] * len(columns["kind"])
        for name in ("theta_e_arcsec", "arc_snr"):
            columns[name] = np.full(len(columns["kind"]), np.nan)

    return plant


def nan_in_an_evil_file(root: ParquetRoot) -> None:
    root.files[EVIL] = root.files.pop(NAMED)

    def change(stamp: np.ndarray) -> np.ndarray:
        stamp[1, 5, 6] = np.nan
        return stamp

    root.change(change, name=EVIL)


def one_more(root: Path) -> None:
    shutil.copyfile(root / NAMED, root / "train/train-004.parquet")


def of(split: str) -> Case:
    told = {"make": sound_hdf5, "argv": (HDF5,)}
    return Case(10, f"{split} has 0 positives", "splits", one_class(split), **told)


NAN = Case(10, rf"row {ROW} band r: 1 NaN", "stamps", nan_in_an_evil_file)
VAL = of("val")
REFUSED = {
    "D1": NAN,
    "D7 val": VAL,
    "D7 train": of("train"),
    "D17": Case(12, "each is not in the manifest", "labels", damage=one_more, recorded=True),
}


@pytest.mark.parametrize(
    "case",
    [pytest.param(x, id=k, marks=pytest.mark.proves(k.split()[0])) for k, x in REFUSED.items()],
)
def test_main_trains_on_nothing_that_phase0_refuses(case, run, plant):
    root = plant(case)
    before = tree(root)
    ended = run.train(root, *case.argv)
    assert ended.code == case.code and case.check in ended.error()
    judged = json.loads((run.folder / "run/gates.json").read_text())
    assert (judged["verdict"], judged["reason"]) == ("RED", "phase0")
    assert case.check in json.dumps(judged)
    assert run.artefacts() == [] and tree(root) == before


@pytest.mark.proves("S8")
def test_no_file_of_the_run_holds_a_terminal_escape(run, plant):
    run.train(plant(NAN))
    written = [path for path in (run.folder / "run").rglob("*") if path.is_file()]
    assert {"train.log", "gates.json", "report.html"} <= {path.name for path in written}
    assert [path.name for path in written if {7, 27} & {*path.read_bytes()}] == []


# -- D7: the AUROC of one class -------------------------------------------------------------------


@pytest.mark.proves("D7")
def test_one_class_has_no_auroc():
    with pytest.raises(StatisticsError, match="one class only: 0 positives, 4 negatives"):
        auroc(np.arange(4.0), np.zeros(4, np.int8))


@pytest.mark.faults
@pytest.mark.proves("D7")
def test_preflight_refuses_one_class_too(child, plant):
    """The guard behind phase 0."""
    ended = child.train(plant(VAL), HDF5, off=["classes"])
    assert ended.code == 10 and "preflight failed" in ended.error()
    assert "0 positives, 4 negatives" in ended.error()
    assert not list(child.folder.glob("run/checkpoints/*"))


@pytest.mark.faults
@pytest.mark.harm("D7")
def test_without_the_guards_an_auroc_of_one_class_is_reported(child, plant):
    child.train(plant(VAL), HDF5, off=["classes", "preflight", "one class"])
    lines = (child.folder / "run/metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["val_auroc"] == 0.5


# -- D9, D17: prepared sets -----------------------------------------------------------------------


def flip_a_label(folder: Path) -> None:
    """5 % of the labels of a prepared set are others, and the columns beside agree with them."""
    with np.load(folder / TABLE) as stored:
        table = {name: stored[name] for name in stored.files}
    lenses = np.flatnonzero(table["label"] == 1)
    flipped = lenses[: len(table["label"]) // 20]
    table["label"][flipped], table["negative_kind"][flipped] = 0, "ring"
    for name in ("theta_e_arcsec", "arc_snr", "arc_snr_shot"):
        table[name][flipped] = np.nan
    np.savez_compressed(folder / TABLE, **table)


def lose_a_file(folder: Path) -> None:
    (folder / TABLE).unlink()


def add_a_file(folder: Path) -> None:
    (folder / "train-more.npy").write_bytes(b"")


PREPARED = {
    "D9": (flip_a_label, "label column differs from the manifest (split train)"),
    "D17 missing": (lose_a_file, f"files differ from the manifest: missing {TABLE}"),
    "D17 extra": (add_a_file, "files differ from the manifest: extra train-more.npy"),
}


@pytest.mark.parametrize(
    ("change", "cause"),
    [pytest.param(*x, id=k, marks=pytest.mark.proves(k.split()[0])) for k, x in PREPARED.items()],
)
def test_a_prepared_set_that_was_changed_is_not_trained_on(run, plant, change, cause):
    root = plant(Case(0, "", ""))
    assert run.prepare(root).code == 0
    folder = run.prepared_folder()
    change(folder)
    before = tree(folder)
    ended = run.train(root)
    assert ended.code == 12 and cause in ended.error() and "Delete" in ended.error()
    assert not list((run.folder / "run").glob("checkpoints/*")) and tree(folder) == before


@pytest.mark.faults
@pytest.mark.harm("D9")
def test_without_the_manifest_it_is_trained_on_other_labels(child, plant):
    root = plant(Case(0, "", ""))
    assert child.prepare(root).code == 0
    flip_a_label(child.prepared_folder())
    ended = child.train(root, off=["prepared"])
    assert ended.code in (20, 21)
    assert child.sets()["train"].table["label"].sum() == 27  # of 29 lenses


# -- D19 ------------------------------------------------------------------------------------------


def replace_a_file(root: Path) -> None:
    """The same bytes in another file, as a new upload makes it."""
    shutil.copyfile(root / NAMED, root / "new")
    os.replace(root / "new", root / NAMED)


@pytest.fixture
def watch(tmp_path, plant, child):
    """What the loop calls before every epoch, and the root that it watches."""
    root = plant(Case(0, "", ""))
    source = FileSource(str(root), ParquetFormat(), tmp_path / "cache")
    config = SimpleNamespace(data=SimpleNamespace(reader="arrays"))
    job = SimpleNamespace(
        config=config, cache=tmp_path / "cache", data_digest=source.digest(), source=source
    )
    return watch_data(job), root


@pytest.mark.proves("D19")
def test_a_file_that_is_replaced_is_seen_before_the_next_epoch(watch):
    look, root = watch
    look.look()
    replace_a_file(root)
    with pytest.raises(LensjaxError, match="changed, removed or added while") as caught:
        look.look()
    assert caught.value.code == ExitCode.DATA_INVALID and caught.value.where == NAMED


@pytest.mark.harm("D19")
def test_without_the_watch_nothing_is_seen(watch, monkeypatch):
    look, root = watch
    switch_off(["watch"], monkeypatch)
    replace_a_file(root)
    look.look()


def trained_while_replaced(child: Commands, root: Path, **more):
    """main.py, in which a file is replaced once the first epoch is over."""
    metrics = child.folder / "run/metrics.jsonl"
    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(child.train, root, "--config.epochs=40", **more)
        while not (metrics.is_file() and metrics.read_text()):
            assert not ending.done(), ending.result().err
            time.sleep(0.05)
        replace_a_file(root)
        ended = ending.result()
    return ended, len(metrics.read_text().splitlines())


@pytest.mark.nightly
@pytest.mark.proves("D19")
def test_main_ends_at_the_next_epoch(child, plant):
    ended, epochs = trained_while_replaced(child, plant(Case(0, "", "")))
    assert ended.code == 10 and epochs < 40
    assert f"{NAMED}: changed, removed or added while the run was using" in ended.error()
    assert list(child.folder.glob("run/checkpoints/*"))  # what was good before still is


@pytest.mark.nightly
@pytest.mark.harm("D19")
def test_main_without_the_watch_goes_on_to_the_end(child, plant):
    ended, epochs = trained_while_replaced(child, plant(Case(0, "", "")), off=["watch"])
    assert ended.code in (20, 21) and epochs > 2
