"""D19 before training: files replaced while they are checked and prepared, by another process.

What is checked, read and called by a digest have to be the same bytes; else stamps that no check
has seen are trained on, and are called by the digest of the sound ones for ever after.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from lensjax.curate import prepare
from tests.faults.roots import NAMED, sound_parquet, unpack


@pytest.fixture
def root(tmp_path) -> Path:
    folder = tmp_path / "root"
    sound_parquet().write(folder)
    return folder


def replace(root: Path, table) -> None:
    """In the manner of a careful writer: another file, renamed over it."""
    path = root / NAMED
    pq.write_table(table, path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)


def exchange(root: Path) -> None:
    """Stamps and controls change places."""
    table = pq.read_table(root / NAMED)
    names = {"stamp_npz": "ctrl_stamp_npz", "ctrl_stamp_npz": "stamp_npz"}
    replace(root, table.rename_columns([names.get(name, name) for name in table.column_names]))


def cut(root: Path) -> None:
    replace(root, pq.read_table(root / NAMED).slice(0, 8))


def replaced_after(monkeypatch, name: str, root: Path, how) -> None:
    """`how(root)` once, right after `prepare.<name>` has returned."""
    whole, done = getattr(prepare, name), []

    def then(*args, **kwargs):
        found = whole(*args, **kwargs)
        if not done:
            done.append(how(root))
        return found

    monkeypatch.setattr(prepare, name, then)


@pytest.mark.parametrize("how", [exchange, cut])
@pytest.mark.parametrize("name", ["scan_source", "run_checks"])
@pytest.mark.proves("D19")
def test_a_file_replaced_meanwhile_is_named_and_nothing_is_prepared(
    root, here, monkeypatch, name, how
):
    sound = (root / NAMED).read_bytes()
    replaced_after(monkeypatch, name, root, how)
    ended = here.prepare(root)
    assert ended.code == 10 and NAMED in ended.error(), ended.err
    assert "changed, removed or added while" in ended.error()
    assert here.artefacts() == []
    (root / NAMED).write_bytes(sound)
    ended = here.prepare(root)  # nothing was remembered of it
    assert ended.code == 0, ended.err


@pytest.mark.harm("D19")
def test_without_the_look_the_wrong_set_has_the_right_digest(root, here, monkeypatch):
    replaced_after(monkeypatch, "run_checks", root, exchange)
    monkeypatch.setattr(prepare, "_require_unchanged", lambda *args: None)
    assert here.prepare(root).code == 0
    stamps, control = here.sets()["train"], sound_parquet().files[NAMED]["ctrl_stamp_npz"][0]
    positive = np.moveaxis(stamps.stamps[stamps.table["label"] == 1], -1, 1)
    assert (positive == unpack(control)).all(axis=(1, 2, 3)).any()  # a lens without an arc


def test_rows_that_fail_at_the_second_reading_are_not_left_out_silently(root, here, monkeypatch):
    """A disk that fails, a store that answers late: the file itself was not changed."""
    replaced_after(monkeypatch, "run_checks", root, cut)
    monkeypatch.setattr(prepare, "_require_unchanged", lambda *args: None)
    ended = here.prepare(root)
    assert ended.code == 10, ended.err
    assert "were checked and" in ended.error() and NAMED in ended.error()
    assert here.artefacts() == []
