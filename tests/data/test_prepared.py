"""Prepared sets: every reader gives the same bytes, damage is named, a kill costs little."""

import errno
import fcntl
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import tracemalloc
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from configs.common import VARIANTS
from lensjax import schema
from lensjax.checks.result import Summary
from lensjax.curate import prepare as prepare_command
from lensjax.data import making, prepared, prepared_manifest
from lensjax.data.making import file_digest, files_in
from lensjax.data.prepared import READERS, folder_of, is_prepared, load, prepare, resolve_reader
from lensjax.data.prepared_manifest import MANIFEST, manifest_text
from lensjax.data.stampset import StampSet, allocate_stamps, content_digest
from lensjax.schema import ExitCode, LensjaxError

DIGEST = "0123456789abcdef" * 4
REPOSITORY = Path(__file__).parents[2]
SHARD_ROWS = "lensjax.data.lens_stamps.lens_stamps_dataset_builder.SHARD_ROWS"


@pytest.fixture(scope="module")
def sets(awkward_set):
    return {"train": awkward_set("train", 130), "test": awkward_set("test", 7)}


@pytest.fixture(scope="module")
def whole(sets, tmp_path_factory):
    """A root with `sets` prepared for every reader, 64 rows a shard: to be read alone."""
    root = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SHARD_ROWS, 64)
        for reader in READERS:
            prepare(sets, root, DIGEST, reader, config="simulated_tiny")
    return root


@pytest.fixture
def copied(whole, tmp_path):
    """copied(reader): a root with a copy of the set of `reader`, to be spoiled, and its folder."""

    def copy(reader):
        folder = folder_of(tmp_path, DIGEST, reader)
        shutil.copytree(folder_of(whole, DIGEST, reader), folder)
        return tmp_path, folder

    return copy


def child(script, **values):
    """Run `script` in a process of its own, its {names} filled in."""
    command = [sys.executable, "-c", script.format(**{k: str(v) for k, v in values.items()})]
    quiet = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env=quiet)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_gives_the_bytes_that_were_prepared(sets, whole, reader, split):
    loaded = load(whole, DIGEST, split, reader)
    assert loaded.reader == reader and loaded.split == split
    assert loaded.stamps.tobytes() == sets[split].stamps.tobytes()
    for name, column in sets[split].table.items():
        assert loaded.table[name].dtype == column.dtype, name
        assert loaded.table[name].tobytes() == column.tobytes(), name


def test_the_tf_data_reader_reads_a_tfds_set(whole):
    import tensorflow_datasets as tfds

    folder = folder_of(whole, DIGEST, "tf.data")
    builder = tfds.builder_from_directory(folder / "lens_stamps" / "simulated_tiny" / "1.0.1")
    assert builder.info.splits["train"].shard_lengths == [64, 64, 2]
    assert set(builder.info.features) == {"row", "stamp", *schema.TABLE_COLUMNS}
    rows = [int(e["row"]) for e in builder.as_dataset(split="test").as_numpy_iterator()]
    assert rows == list(range(7))
    assert isinstance(load(whole, DIGEST, "test", "tf.data"), StampSet)


def test_there_is_a_tfds_config_of_each_variant_and_one_of_user_data(sets, tmp_path):
    """Names that `prepare` is given and those that the builder has; users' stamps by default."""
    from lensjax.data.lens_stamps.lens_stamps_dataset_builder import CONFIGS

    assert set(CONFIGS) == {*(f"simulated_{name}" for name in VARIANTS), prepared.USER_CONFIG}
    folder = prepare({"test": sets["test"]}, tmp_path, DIGEST, "array_record")
    assert (folder / "lens_stamps" / "parquet" / "1.0.1").is_dir()
    assert json.loads((folder / MANIFEST).read_text())["config"] == "parquet"
    assert len(load(tmp_path, DIGEST, "test", "array_record")) == 7


QUIET = """
from pathlib import Path
from lensjax.data import prepared
test = prepared.load(Path({source!r}), {digest!r}, "test", "arrays")
prepared.prepare({{"test": test}}, Path({root!r}), {digest!r}, "tf.data")
assert len(prepared.load(Path({root!r}), {digest!r}, "test", "tf.data")) == 7
"""


def test_tensorflow_says_nothing_of_itself(whole, tmp_path):
    done = child(QUIET, source=whole, root=tmp_path, digest=DIGEST)
    assert done.stderr == done.stdout == ""


LIGHT = """
import sys
from pathlib import Path
import lensjax.data.source, lensjax.data.manifest, lensjax.data.order
from lensjax.data import prepared
test = prepared.load(Path({source!r}), {digest!r}, "test", "arrays")
prepared.prepare({{"test": test}}, Path({root!r}), {digest!r}, "arrays")
prepared.open_rows(Path({root!r}), {digest!r}, "test", "arrays").read([1])
heavy = {{"tensorflow", "tensorflow_datasets", "jax", "flax", "s3fs", "pyarrow"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""


def test_the_arrays_path_imports_no_heavy_package(whole, tmp_path):
    child(LIGHT, source=whole, root=tmp_path, digest=DIGEST)


# -- damage ---------------------------------------------------------------------------------


def flip(path, bit):
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def unguarded(patch, sets):
    """Neither files nor content are verified any more."""
    hashed = {}

    def recorded(path):
        folder = next(p for p in path.parents if (p / MANIFEST).is_file())
        files = hashed.setdefault(folder, json.loads((folder / MANIFEST).read_text())["files"])
        return files[path.relative_to(folder).as_posix()]

    patch.setattr(prepared_manifest, "file_digest", recorded)
    patch.setattr(prepared, "content_digest", lambda loaded: content_digest(sets[loaded.split]))


@pytest.mark.parametrize(
    ("reader", "flips"), [("arrays", 90), ("array_record", 80), ("tf.data", 30)]
)
def test_no_flipped_bit_is_silent(copied, reader, flips):
    """One bit of one file at a time: stamps, table, records, TFDS's own files, the manifest."""
    root, folder = copied(reader)
    names = [n for n in files_in(folder) if "train" not in n]  # what loading test reads
    rng = np.random.default_rng(flips)
    for k in range(flips):
        path = folder / names[k % len(names)]
        good = path.read_bytes()
        flip(path, int(rng.integers(len(good) * 8)))
        with pytest.raises(LensjaxError) as caught:
            load(root, DIGEST, "test", reader)
        assert caught.value.code in (ExitCode.DATA_INVALID, ExitCode.MISMATCH)
        assert path.name in caught.value.where and "Delete" in caught.value.remedy
        path.write_bytes(good)
    assert len(load(root, DIGEST, "test", reader)) == 7


@pytest.mark.parametrize("reader", READERS)
def test_a_flipped_bit_is_named_and_unguarded_it_is_silent(copied, sets, monkeypatch, reader):
    """The formats' own checksums, of records or npz members, are not on every byte."""
    root, folder = copied(reader)
    name = {"arrays": "train-stamps.npy"}.get(reader, "dataset_info.json")
    (path,) = folder.rglob(name)
    flip(path, path.read_bytes().index(b"Galaxy") * 8 if reader != "arrays" else 400_003)
    with pytest.raises(LensjaxError, match=rf"{name}.*differs from the manifest") as caught:
        load(root, DIGEST, "train", reader)
    assert caught.value.code == ExitCode.DATA_INVALID
    if reader == "arrays":
        assert len(load(root, DIGEST, "test", "arrays")) == 7  # which has files of its own
    unguarded(monkeypatch, sets)
    loaded = load(root, DIGEST, "train", reader)
    assert (loaded.stamps != sets["train"].stamps).sum() == (reader == "arrays")


def flipped_labels(made):
    """`made` with labels flipped in 5 % of its rows, each row still one that could be."""
    table = {name: column.copy() for name, column in made.table.items()}
    rows = np.random.default_rng(1).choice(len(made), len(made) // 20, replace=False)
    table["label"][rows] ^= 1
    table["negative_kind"][rows] = np.where(table["label"][rows] == 1, "", "ring")
    for name in ("theta_e_arcsec", "arc_snr", "arc_snr_shot"):
        table[name][rows] = np.where(table["label"][rows] == 1, 1, np.nan)
    return replace(made, table=table)


@pytest.mark.parametrize("reader", READERS)
def test_flipped_labels_are_a_mismatch(copied, sets, tmp_path, monkeypatch, reader):
    """D9. The files are sound, all checksums of theirs hold: only the labels are others."""
    root, folder = copied(reader)
    monkeypatch.setattr(SHARD_ROWS, 64)
    others = {**sets, "train": flipped_labels(sets["train"])}
    spoiled = prepare(others, tmp_path / "other", DIGEST, reader, config="simulated_tiny")
    for name in {*files_in(spoiled)} - {MANIFEST}:
        shutil.copy(spoiled / name, folder / name)
    with pytest.raises(LensjaxError, match="label column differs from the manifest") as caught:
        load(root, DIGEST, "train", reader)
    assert caught.value.code == ExitCode.MISMATCH and "train" in str(caught.value)
    assert len(load(root, DIGEST, "test", reader)) == 7
    unguarded(monkeypatch, sets)
    loaded = load(root, DIGEST, "train", reader)
    assert (loaded.table["label"] != sets["train"].table["label"]).sum() == 6


def test_flipped_labels_are_a_mismatch_wherever_they_are(copied, sets, monkeypatch):
    """In a table that contradicts itself; in records alone; with the hash of the file mended."""
    root, folder = copied("arrays")
    table = dict(sets["train"].table)
    table["label"] = table["label"] ^ (np.arange(130) < 6).astype(np.int8)
    np.savez_compressed(folder / "train-table.npz", **table)
    mend(folder)
    with pytest.raises(LensjaxError, match="label column differs from the manifest"):
        load(root, DIGEST, "train", "arrays")
    root, folder = copied("array_record")
    monkeypatch.setattr(SHARD_ROWS, 64)
    others = {**sets, "train": flipped_labels(sets["train"])}
    spoiled = prepare(others, root / "other", DIGEST, "array_record", config="simulated_tiny")
    for name in files_in(spoiled):
        if "array_record" in name:
            shutil.copy(spoiled / name, folder / name)
    with pytest.raises(LensjaxError, match="label column differs from the manifest"):
        load(root, DIGEST, "train", "array_record")


def mend(folder):
    """Write the manifest anew, as one who means it would: hashes of the files as they are."""
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["sha256"]
    manifest["files"] = {name: file_digest(folder / name) for name in manifest["files"]}
    (folder / MANIFEST).write_text(manifest_text(manifest))


def test_content_is_verified_whatever_the_files_say(copied, sets, monkeypatch):
    root, folder = copied("arrays")
    flip(folder / "train-stamps.npy", 400_003)
    mend(folder)
    with pytest.raises(LensjaxError, match="stamps differ from those prepared") as caught:
        load(root, DIGEST, "train", "arrays")
    assert caught.value.code == ExitCode.DATA_INVALID
    monkeypatch.setattr(prepared, "content_digest", lambda x: content_digest(sets["train"]))
    assert load(root, DIGEST, "train", "arrays").stamps.shape == (130, 64, 64, 3)


@pytest.mark.parametrize("reader", READERS)
def test_missing_and_extra_files_are_listed(copied, reader):
    """D17."""
    root, folder = copied(reader)
    kept = {name: (folder / name).read_bytes() for name in files_in(folder) if "train" in name}
    first, *_, last = sorted(kept)
    (folder / first).rename(folder / f"{first}.bak")
    (folder / last).unlink()
    with pytest.raises(LensjaxError, match="files differ from the manifest") as caught:
        load(root, DIGEST, "test", reader)
    assert caught.value.code == ExitCode.MISMATCH
    assert f"missing {first}" in caught.value.what and last in caught.value.what
    assert f"extra {first}.bak" in caught.value.what
    (folder / f"{first}.bak").rename(folder / first)
    (folder / last).write_bytes(kept[last])
    assert len(load(root, DIGEST, "test", reader)) == 7


def test_names_are_listed_up_to_five(copied):
    root, folder = copied("arrays")
    for k in range(7):
        (folder / f"stray-{k}").touch()
    with pytest.raises(LensjaxError, match=r"extra stray-0, .*stray-4 and 2 more"):
        load(root, DIGEST, "test", "arrays")


@pytest.mark.parametrize("reader", READERS)
def test_truncated_files_are_named(copied, reader):
    root, folder = copied(reader)
    path = folder / next(n for n in files_in(folder) if "train" in n)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(LensjaxError, match=path.name) as caught:
        load(root, DIGEST, "train", reader)
    assert caught.value.code == ExitCode.DATA_INVALID


@pytest.mark.parametrize("text", ["", "[]", "{", json.dumps({"splits": {}}), '{"sha256": 1}'])
def test_a_damaged_manifest_is_named(copied, text):
    root, folder = copied("arrays")
    (folder / MANIFEST).write_text(text)
    with pytest.raises(LensjaxError, match=r"prepared\.json") as caught:
        load(root, DIGEST, "test", "arrays")
    assert caught.value.code == ExitCode.DATA_INVALID


def test_the_manifest_of_another_set_is_not_taken(copied):
    root, folder = copied("arrays")
    other = "f" * 64
    folder.rename(folder_of(root, other, "arrays"))
    with pytest.raises(LensjaxError, match="of another set"):
        load(root, other, "test", "arrays")


# -- kills ----------------------------------------------------------------------------------

# Forks of this process are killed: at their k-th sync, for every k, so between any two files and
# before and after each is entered in the journal; and in the middle of a file. Another fork then
# finishes, and must write none of the files that the journal has.
KILLED = """
import json, os, shutil, signal, sys
from pathlib import Path
import tensorflow_datasets.core.writer
from tensorflow_datasets.proto import tf_example_pb2
from lensjax.data import arrays, making, prepared, stampset
from lensjax.data.lens_stamps import lens_stamps_dataset_builder as builder
reader, digest, root = {reader!r}, {digest!r}, Path({root!r})
builder.SHARD_ROWS = 8
source = prepared.open_rows(Path({source!r}), digest, "train", "arrays"), prepared.open_rows(
    Path({source!r}), digest, "test", "arrays")
sets = {{one.split: one.read(range(min(20, len(one)))) for one in source}}
folder = prepared.folder_of(root, digest, reader)
workplace = folder.with_name(".making-" + folder.name)

def fork(work):
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def die_at_sync(k):
    sync, seen = os.fsync, []
    def fsync(handle):
        if len(seen) == k:
            os.kill(os.getpid(), signal.SIGKILL)
        seen.append(sync(handle))
    os.fsync = fsync
    prepared.prepare(sets, root, digest, reader)

def die_in_mid_file():
    def deadly(rows, desc, unit):
        for row in rows:
            if (desc, row) in (("preparing test", 0), ("preparing train from row 8", 12)):
                os.kill(os.getpid(), signal.SIGKILL)
            yield row
    arrays.progress_bar = builder.progress_bar = deadly
    prepared.prepare(sets, root, digest, reader)

def finished():
    path = workplace / "journal"
    lines = path.read_text().splitlines() if path.exists() else []
    return {{json.loads(line)["name"] for line in lines[1:]}}

def finish(kept):
    written, file = [], making.Making.file
    making.Making.file = lambda self, path, write: file(
        self, path, lambda p: (written.append(path.name), write(p)))
    prepared.prepare(sets, root, digest, reader)
    assert not kept & {{*written}}, (kept, written)
    for split, made in sets.items():
        loaded = prepared.load(root, digest, split, reader)
        assert stampset.content_digest(loaded) == stampset.content_digest(made)
    assert len(written) + len(kept) == len([n for n in making.files_in(folder) if "train" in n
        or "test" in n]), (kept, written)

def go_on(kept):
    assert kept or not prepared.is_prepared(root, digest, reader)
    assert fork(lambda: finish(kept)) == 0
    shutil.rmtree(root)

k, most = 0, 0
while (code := fork(lambda: die_at_sync(k))) == -signal.SIGKILL:
    if prepared.is_prepared(root, digest, reader):  # after the rename: it is whole
        assert fork(lambda: finish(set(making.files_in(folder)))) in (0, 1)
        shutil.rmtree(root)
    else:
        most = max(most, len(finished()))
        go_on(finished())
    k += {step}
assert code == 0 and most >= {files} and k > 2 * most, (code, most, k)
shutil.rmtree(root)

assert fork(die_in_mid_file) == -signal.SIGKILL
kept = finished()
assert {before} == kept, kept
go_on(kept)

# a finished file that is damaged before it is taken over is written again
assert fork(die_in_mid_file) == -signal.SIGKILL
(path,) = workplace.rglob("*" + sorted(kept)[0])
path.write_bytes(path.read_bytes()[:-1] + b"x")
go_on(kept - {{path.name}})

# and what was made of other stamps is not taken
assert fork(die_in_mid_file) == -signal.SIGKILL
sets["train"].stamps[3, 3, 3, 0] += 1
go_on(set())
"""


@pytest.mark.parametrize(
    ("reader", "step", "files", "before"),
    [
        ("arrays", 1, 4, {"train-stamps.npy", "train-table.npz"}),
        ("array_record", 4, 5, {"lens_stamps-train.array_record-00000-of-00003"}),
    ],
)
def test_killed_at_any_moment_it_goes_on(whole, tmp_path, reader, step, files, before):
    values = {"reader": reader, "step": step, "files": files, "before": before}
    child(KILLED, source=whole, root=tmp_path / "root", digest=DIGEST, **values)


def test_an_interrupt_keeps_what_is_finished_and_an_error_keeps_nothing(
    sets, tmp_path, monkeypatch
):
    """For TFRecord files, in this process: TensorFlow cannot be forked."""
    monkeypatch.setattr(SHARD_ROWS, 64)
    file, seen = making.Making.file, []

    def third(error):
        def write(self, path, write):
            seen.append(path.name)
            if len(seen) == 3:
                raise error
            file(self, path, write)

        return write

    monkeypatch.setattr(making.Making, "file", third(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        prepare(sets, tmp_path, DIGEST, "tf.data")
    folder = folder_of(tmp_path, DIGEST, "tf.data")
    journal = folder.with_name(f".making-{folder.name}") / "journal"
    assert len(journal.read_text().splitlines()) == 3 and not is_prepared(
        tmp_path, DIGEST, "tf.data"
    )
    shards = [f"lens_stamps-train.tfrecord-0000{k}-of-00003" for k in range(3)]
    monkeypatch.setattr(making.Making, "file", third(OSError(errno.EIO, "broken")))
    seen.clear()
    with pytest.raises(OSError, match="broken"):
        prepare(sets, tmp_path, DIGEST, "tf.data")
    assert seen == shards
    assert [p.name for p in folder.parent.iterdir()] == [".lock"]
    monkeypatch.setattr(making.Making, "file", file)
    prepare(sets, tmp_path, DIGEST, "tf.data")
    assert content_digest(load(tmp_path, DIGEST, "train", "tf.data")) == content_digest(
        sets["train"]
    )


@pytest.mark.parametrize("spoil", [lambda text: text[:-30], lambda text: "{" + text, lambda _: ""])
def test_a_damaged_journal_costs_work_and_no_more(sets, tmp_path, monkeypatch, spoil):
    with monkeypatch.context() as patch:
        patch.setattr(making.Making, "publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prepare(sets, tmp_path, DIGEST, "arrays")
    (journal,) = tmp_path.glob("prepared/.making-*/journal")
    journal.write_text(spoil(journal.read_text()))
    prepare(sets, tmp_path, DIGEST, "arrays")
    assert content_digest(load(tmp_path, DIGEST, "test", "arrays")) == content_digest(sets["test"])


def test_what_killed_processes_left_of_other_sets_is_told_of(sets, tmp_path, caplog):
    parent = folder_of(tmp_path, DIGEST, "arrays").parent
    (parent / ".making-other-arrays-4").mkdir(parents=True)
    (parent / ".making-ended").mkdir()
    (parent / "ended").mkdir()
    prepare(sets, tmp_path, DIGEST, "arrays")
    assert ".making-other-arrays-4: 0.0 GB that a killed process left" in caplog.text
    assert not (parent / ".making-ended").exists() and "ended" not in caplog.text
    assert (parent / ".making-other-arrays-4").is_dir()


def test_a_folder_without_a_manifest_is_not_written_over(sets, tmp_path):
    folder_of(tmp_path, DIGEST, "arrays").mkdir(parents=True)
    with pytest.raises(LensjaxError, match=r"holds no prepared\.json"):
        prepare(sets, tmp_path, DIGEST, "arrays")
    with pytest.raises(LensjaxError, match="not prepared"):
        load(tmp_path, DIGEST, "test", "arrays")


def test_another_process_waits_and_finds_what_the_first_made(sets, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    folder = folder_of(tmp_path, DIGEST, "arrays")
    folder.parent.mkdir(parents=True)
    second = threading.Thread(target=prepare, args=(sets, tmp_path, DIGEST, "arrays"))
    with (folder.parent / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second.start()
        second.join(0.2)
        assert second.is_alive() and "waiting for another process" in caplog.text
        prepare({"test": sets["test"]}, tmp_path / "first", DIGEST, "arrays")
        shutil.copytree(folder_of(tmp_path / "first", DIGEST, "arrays"), folder)
    second.join()
    assert prepared.rows(tmp_path, DIGEST, "arrays") == {"test": 7}


# -- room -----------------------------------------------------------------------------------


def test_a_disk_without_room_is_told_of_before_anything_is_written(sets, tmp_path, monkeypatch):
    seen = []

    def full(folder):
        seen.append([p.name for p in folder.iterdir()])
        return types.SimpleNamespace(free=1_000_000)

    monkeypatch.setattr("lensjax.data.stampset.shutil.disk_usage", full)
    with pytest.raises(OSError, match="MB needed, 1 MB free") as caught:
        prepare(sets, tmp_path, DIGEST, "arrays")
    assert caught.value.errno == errno.ENOSPC and seen == [[".lock"]]
    assert [p.name for p in (tmp_path / "prepared").iterdir()] == [".lock"]


@pytest.mark.parametrize("reader", ["arrays", "array_record"])
def test_a_set_larger_than_memory_is_prepared_a_part_at_a_time(
    awkward_set, tmp_path, monkeypatch, reader
):
    n = 1200
    stamps = allocate_stamps(n, tmp_path, memory_budget_bytes=0)  # a file, mapped
    stamps[:] = np.float32(0.5)
    table = {k: np.resize(v, n) for k, v in awkward_set("train", 4).table.items()}
    large = StampSet("train", table, stamps, "simulate")
    monkeypatch.setattr(SHARD_ROWS, 100)
    tracemalloc.start()
    try:
        prepare({"train": large}, tmp_path, DIGEST, reader)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        np.array(stamps)  # what holding it once would take
        _, once = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 15e6 and once > 58e6


def test_preparing_again_changes_nothing(sets, tmp_path):
    folder = prepare(sets, tmp_path, DIGEST, "arrays")
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    prepare(sets, tmp_path, DIGEST, "arrays")
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_rows_are_known_without_reading(sets, whole):
    expected = {split: len(made) for split, made in sets.items()}
    for reader in READERS:
        assert prepared.rows(whole, DIGEST, reader) == expected


def test_a_split_that_was_not_prepared(whole):
    with pytest.raises(LensjaxError, match="'val' was not prepared"):
        load(whole, DIGEST, "val", "arrays")


def test_readers_by_name_and_by_what_is_installed(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    prepared._say_once.cache_clear()  # whatever this process said before
    assert resolve_reader("auto") == "tf.data" and "tf.data" in caplog.text
    assert resolve_reader("auto") == "tf.data"
    assert caplog.text.count("tf.data") == 1  # asked at every load, said once a run
    assert [resolve_reader(reader) for reader in READERS] == list(READERS)
    with pytest.raises(LensjaxError, match=r"unknown reader 'tfdata'.*array_record or arr"):
        resolve_reader("tfdata")
    gone = {"tensorflow"}
    monkeypatch.setattr(prepared.importlib.util, "find_spec", lambda x: None if x in gone else 1)
    caplog.clear()
    assert resolve_reader("auto") == "arrays" and resolve_reader("array_record") == "array_record"
    assert "arrays: tensorflow not installed" in caplog.text
    gone.add("array_record")
    for reader, name in (("tf.data", "tensorflow"), ("array_record", "array_record")):
        with pytest.raises(LensjaxError, match=f"{reader} needs {name}") as caught:
            resolve_reader(reader)
        assert caught.value.code == ExitCode.USAGE


# -- the command that prepares ------------------------------------------------------------------


@pytest.fixture
def found(copied, monkeypatch):
    """The folder of a set that phase 0 has passed, and `data prepare` as it finds it: exit code."""
    root, folder = copied("arrays")
    source = types.SimpleNamespace(digest=lambda: DIGEST)
    monkeypatch.setattr(prepare_command, "open_source", lambda data, population: source)
    passed = Summary((), DIGEST, "", "")
    monkeypatch.setattr(prepare_command, "check_and_prepare", lambda *told: passed)
    told = ["--config=configs/b3.py:tiny", f"--config.data.cache_dir={root}"]
    return folder, lambda: prepare_command.main([*told, "--config.data.reader=arrays"])


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_flipped_bit_of_a_set_that_is_found_is_named(found, split, monkeypatch):
    folder, command = found
    assert command() == 0
    (stamps,) = folder.glob(f"{split}-stamps*")
    raw = bytearray(stamps.read_bytes())
    raw[-1000] ^= 1
    stamps.write_bytes(raw)
    with pytest.raises(LensjaxError, match="differs from the manifest") as caught:
        command()
    assert caught.value.code == ExitCode.DATA_INVALID and caught.value.where == str(stamps)
    assert str(folder) in caught.value.remedy
    monkeypatch.setattr(prepared, "verify", lambda *told: None)
    assert command() == 0  # harm: it is said to be ready to train on


def test_a_file_of_a_set_that_is_found_is_missed(found):
    folder, command = found
    next(folder.glob("test-table*")).unlink()
    with pytest.raises(LensjaxError, match="missing test-table") as caught:
        command()
    assert caught.value.code == ExitCode.MISMATCH
