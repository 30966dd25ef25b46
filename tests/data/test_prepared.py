"""Prepared sets: both readers give the same bytes, damage is named, a kill leaves nothing."""

import errno
import json
import logging
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from configs.common import VARIANTS
from lensjax import schema
from lensjax.data import prepared
from lensjax.data.prepared import folder_of, is_prepared, load, prepare, resolve_reader
from lensjax.data.stampset import StampSet, build_table, content_digest
from lensjax.schema import ExitCode, LensjaxError

DIGEST = "0123456789abcdef" * 4
REPOSITORY = Path(__file__).parents[2]


def make_set(split, n):
    """A set with awkward values: NaN, -0.0, doubles, accents, the widest text."""
    rng = np.random.default_rng(n)
    label = np.arange(n) % 2
    ids = [f"{split}-é-{i:04d}" for i in range(n)]
    stamps = rng.normal(size=(n, *schema.STAMP_SHAPE)).astype(np.float32)
    stamps[0, 0, 0, 0] = -0.0
    table = build_table(
        {
            "stamp_id": ids,
            "pair_id": ids,
            "lrg_id": ["x" * 64] * n,
            "brick": ["0001p000"] * n,
            "ra": rng.uniform(0, 360, n),
            "dec": rng.uniform(-90, 90, n),
            "split": [split] * n,
            "label": label,
            "negative_kind": ["" if one else "ring" for one in label],
            "theta_e_arcsec": np.where(label, rng.uniform(1, 2, n), np.nan),
            "arc_snr": np.where(label, 0.0, np.nan),
            "arc_snr_shot": np.where(label & (np.arange(n) > 2), 0.0, np.nan),
            "psf_fwhm_arcsec": rng.uniform(1, 2, n),
            "psf_depth": rng.uniform(22, 24, n),
            "psf_bin": -(np.arange(n) % 3),
            "depth_bin": np.full(n, 127),
            "ebv": np.full(n, np.nan),
            "pixel_scale_arcsec": np.full(n, 0.262),
            "source_file": ["f" * 255] * n,
            "source_row": np.arange(n) * 1000,
        }
    )
    return StampSet(split, table, stamps, "simulate")


@pytest.fixture(scope="module")
def sets():
    return {"train": make_set("train", 300), "test": make_set("test", 7)}


@pytest.fixture(scope="module")
def tfds_root(sets, tmp_path_factory):
    root = tmp_path_factory.mktemp("tfds")
    prepare(sets, root, DIGEST, "tf.data", config="simulated_tiny")
    return root


@pytest.mark.parametrize("split", ["train", "test"])
def test_both_readers_give_the_bytes_that_were_prepared(sets, tfds_root, tmp_path, split):
    prepare(sets, tmp_path, DIGEST, "arrays")
    for root, reader in ((tfds_root, "tf.data"), (tmp_path, "arrays")):
        loaded = load(root, DIGEST, split, reader)
        assert loaded.reader == reader and loaded.split == split
        assert loaded.stamps.tobytes() == sets[split].stamps.tobytes()
        for name, column in sets[split].table.items():
            assert loaded.table[name].dtype == column.dtype, name
            assert loaded.table[name].tobytes() == column.tobytes(), name


def test_the_tf_data_reader_reads_a_tfds_set(tfds_root):
    import tensorflow_datasets as tfds

    folder = folder_of(tfds_root, DIGEST, "tf.data")
    builder = tfds.builder_from_directory(folder / "lens_stamps" / "simulated_tiny" / "1.0.0")
    assert builder.info.splits["train"].num_examples == 300
    assert set(builder.info.features) == {"row", "stamp", *schema.TABLE_COLUMNS}
    assert isinstance(load(tfds_root, DIGEST, "test", "tf.data"), StampSet)


def test_there_is_a_tfds_config_of_each_variant_and_one_of_user_data(sets, tmp_path):
    """Names that `prepare` is given and those that the builder has; users' stamps by default."""
    from lensjax.data.lens_stamps.lens_stamps_dataset_builder import CONFIGS

    assert set(CONFIGS) == {*(f"simulated_{name}" for name in VARIANTS), prepared.USER_CONFIG}
    folder = prepare({"test": sets["test"]}, tmp_path, DIGEST, "tf.data")
    assert (folder / "lens_stamps" / "parquet" / "1.0.0").is_dir()
    assert json.loads((folder / "prepared.json").read_text())["config"] == "parquet"
    assert len(load(tmp_path, DIGEST, "test", "tf.data")) == 7


CHILD = """
import os, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_prepared import DIGEST, make_set
from lensjax.data import prepared
prepared.prepare({{"test": make_set("test", 7)}}, Path({root!r}), DIGEST, "tf.data")
assert len(prepared.load(Path({root!r}), DIGEST, "test", "tf.data")) == 7
"""


def test_tensorflow_says_nothing_of_itself(tmp_path):
    script = CHILD.format(tests=str(Path(__file__).parent), root=str(tmp_path))
    quiet = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env=quiet)
    assert done.returncode == 0, done.stderr
    assert done.stderr == done.stdout == ""


def damage(folder, pattern, offset):
    (path,) = folder.rglob(pattern)
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(data)
    return path, offset


def test_a_flipped_bit_is_found_and_the_file_named(sets, tmp_path, monkeypatch):
    prepare(sets, tmp_path, DIGEST, "arrays")
    damage(folder_of(tmp_path, DIGEST, "arrays"), "train-stamps.npy", 50_000)
    with pytest.raises(LensjaxError, match=r"train-stamps\.npy.*differ") as caught:
        load(tmp_path, DIGEST, "train", "arrays")
    assert caught.value.code == ExitCode.DATA_INVALID and "Delete" in caught.value.remedy
    assert len(load(tmp_path, DIGEST, "test", "arrays")) == 7
    recorded = content_digest(sets["train"])
    monkeypatch.setattr(prepared, "content_digest", lambda loaded: recorded)
    loaded = load(tmp_path, DIGEST, "train", "arrays")  # the guard off: it is silent
    assert (loaded.stamps != sets["train"].stamps).sum() == 1


@pytest.mark.parametrize("at", [0.001, 0.5, 0.999])
def test_a_damaged_record_is_found_and_the_file_named(tfds_root, sets, at):
    folder = folder_of(tfds_root, DIGEST, "tf.data")
    (path,) = folder.rglob("*test.tfrecord*")
    whole = path.read_bytes()
    try:
        damage(folder, "*test.tfrecord*", int(len(whole) * at))
        with pytest.raises(LensjaxError, match=r"lens_stamps-test\.tfrecord") as caught:
            load(tfds_root, DIGEST, "test", "tf.data")
        assert caught.value.code == ExitCode.DATA_INVALID
    finally:
        path.write_bytes(whole)
    assert content_digest(load(tfds_root, DIGEST, "test", "tf.data")) == content_digest(
        sets["test"]
    )


@pytest.mark.parametrize("name", ["test-table.npz", "test-stamps.npy"])
def test_missing_and_truncated_files_are_named(sets, tmp_path, name):
    folder = prepare(sets, tmp_path, DIGEST, "arrays")
    data = (folder / name).read_bytes()
    for spoil in (lambda: (folder / name).write_bytes(data[: len(data) // 2]), None):
        spoil() if spoil else (folder / name).unlink()
        with pytest.raises(LensjaxError, match=name) as caught:
            load(tmp_path, DIGEST, "test", "arrays")
        assert caught.value.code == ExitCode.DATA_INVALID


@pytest.mark.parametrize("text", ["", "[]", "{", json.dumps({"splits": {}})])
def test_a_damaged_manifest_is_named(sets, tmp_path, text):
    folder = prepare(sets, tmp_path, DIGEST, "arrays")
    (folder / "prepared.json").write_text(text)
    with pytest.raises(LensjaxError, match=r"prepared\.json"):
        load(tmp_path, DIGEST, "test", "arrays")


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_prepared import DIGEST, make_set
from lensjax.data import prepared
prepared._write_synced = lambda *a: os.kill(os.getpid(), signal.SIGKILL)
prepared.prepare({{"test": make_set("test", 7)}}, Path({root!r}), DIGEST, "arrays")
"""


def test_a_killed_preparation_leaves_nothing_that_counts(sets, tmp_path):
    script = KILLED.format(tests=str(Path(__file__).parent), root=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True)
    assert done.returncode == -9, done.stderr
    left = list((tmp_path / "prepared").glob(".making-*"))
    assert len(left) == 1 and not is_prepared(tmp_path, DIGEST, "arrays")
    with pytest.raises(LensjaxError, match="not prepared"):
        load(tmp_path, DIGEST, "test", "arrays")
    prepare(sets, tmp_path, DIGEST, "arrays")
    assert not left[0].exists() and len(load(tmp_path, DIGEST, "test", "arrays")) == 7


def test_a_disk_without_room_is_told_of_before_anything_is_written(sets, tmp_path, monkeypatch):
    seen = []

    def full(folder):
        seen.append(sorted(folder.iterdir()))
        return types.SimpleNamespace(free=1_000_000)

    monkeypatch.setattr("lensjax.data.stampset.shutil.disk_usage", full)
    with pytest.raises(OSError, match="MB needed, 1 MB free") as caught:
        prepare(sets, tmp_path, DIGEST, "arrays")
    assert caught.value.errno == errno.ENOSPC and seen == [[]]
    assert [p.name for p in (tmp_path / "prepared").iterdir()] == [".lock"]


def test_preparing_again_changes_nothing(sets, tmp_path):
    folder = prepare(sets, tmp_path, DIGEST, "arrays")
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    prepare(sets, tmp_path, DIGEST, "arrays")
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_rows_are_known_without_reading(sets, tmp_path):
    prepare(sets, tmp_path, DIGEST, "arrays")
    expected = {split: len(made) for split, made in sets.items()}
    assert prepared.rows(tmp_path, DIGEST, "arrays") == expected


def test_a_split_that_was_not_prepared(sets, tmp_path):
    prepare(sets, tmp_path, DIGEST, "arrays")
    with pytest.raises(LensjaxError, match="'val' was not prepared"):
        load(tmp_path, DIGEST, "val", "arrays")


def test_readers_by_name_and_by_what_is_installed(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    prepared._say_once.cache_clear()  # whatever this process said before
    assert resolve_reader("auto") == "tf.data" and "tf.data" in caplog.text
    assert resolve_reader("auto") == "tf.data"
    assert caplog.text.count("tf.data") == 1  # asked at every load, said once a run
    assert resolve_reader("arrays") == "arrays"
    with pytest.raises(LensjaxError, match="unknown reader 'tfdata'"):
        resolve_reader("tfdata")
    monkeypatch.setattr(
        prepared.importlib.util, "find_spec", lambda name: None if name == "tensorflow" else 1
    )
    caplog.clear()
    assert resolve_reader("auto") == "arrays"
    assert "arrays: tensorflow not installed" in caplog.text
    with pytest.raises(LensjaxError, match="needs tensorflow") as caught:
        resolve_reader("tf.data")
    assert caught.value.code == ExitCode.USAGE


def test_the_arrays_path_imports_no_heavy_package(tmp_path):
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path; from test_prepared import DIGEST, make_set\n"
        "import lensjax.data.source, lensjax.data.manifest, lensjax.data.order\n"
        "from lensjax.data.prepared import prepare, load\n"
        f"root = Path({str(tmp_path)!r})\n"
        "prepare({'test': make_set('test', 4)}, root, DIGEST, 'arrays')\n"
        "load(root, DIGEST, 'test', 'arrays')\n"
        "heavy = {'tensorflow', 'tensorflow_datasets', 'jax', 'flax', 's3fs', 'pyarrow'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
