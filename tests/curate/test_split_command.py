"""`python -m lensjax.data split` from files to a manifest, and what it says of wrong input."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lensjax import schema
from lensjax.curate import metadata, split_command
from lensjax.curate.command import main
from lensjax.data.files import FileSource
from lensjax.data.folders import NpyFormat
from lensjax.data.manifest import manifest_mask
from lensjax.data.parquet import ParquetFormat
from lensjax.data.rows import stamp_table, stamps_of
from lensjax.data.split_manifest import read
from lensjax.data.told import Told
from lensjax.schema import LensjaxError

pytestmark = pytest.mark.usefixtures("fewer_groups")
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(tmp_path, capsys):
    """Runs the command: (exit code, what it printed, its last line on stderr, the manifest)."""

    def split(root, *flags, out="split.parquet"):
        capsys.readouterr()
        code = main(["split", str(root), f"--out={tmp_path / out}", *flags])
        printed = capsys.readouterr()
        error = (printed.err.strip().splitlines() or [""])[-1]
        return code, printed.out, error, read(str(tmp_path / out)) if not code else None

    return split


def by_task(manifest):
    """What a manifest says of each task: split, unpaired member, brick, host."""
    columns = zip(
        manifest.split.tolist(),
        manifest.unpaired.tolist(),
        (manifest.brick.names[k] for k in manifest.brick.code),
        manifest.lrg_id.to_pylist(),
        strict=True,
    )
    return dict(zip(manifest.task_id.to_pylist(), columns, strict=True))


# -- what it makes ------------------------------------------------------------------------------


def test_a_root_becomes_a_manifest_that_the_reader_honours(run, columns, write_root, tmp_path):
    given = columns()
    root = write_root(tmp_path / "root", given)
    code, printed, error, manifest = run(root)
    assert code == 0 and error == ""
    assert "the folders train (267), val (267), test (266) are ignored" in printed
    assert "share of hosts" in printed and "0.7000" in printed
    assert "set aside, within 180 arcsec of another split" in printed
    assert "verified and written" in printed and "largest deviation of a stratum" in printed
    assert manifest.asked.root == "root" and manifest.asked.bin_edges is None
    assert len(manifest) == 800 and manifest.file.names[0] == "test/c.parquet"
    assert {manifest.brick.names[k] for k in manifest.brick.code} == set(given["brickname"])
    source = FileSource(str(root), ParquetFormat(), tmp_path / "cache", manifest=manifest)
    rows, findings = source.listing
    assert [one for one in findings if one.severity == "ERROR"] == []
    np.testing.assert_array_equal(rows.split, manifest.split)


def test_the_unpaired_column_is_what_a_run_with_that_seed_takes(run, columns, write_root, tmp_path):
    given = columns(hosts=300)
    del given["psf_bin"]  # as the reader does, quartiles are made
    root = write_root(tmp_path / "root", given)
    manifest = run(root, "--seed=7")[3]
    assert set(manifest.asked.bin_edges) == {"psf_bin", "depth_bin"}
    source = FileSource(str(root), ParquetFormat(), tmp_path / "cache", manifest=manifest)
    rows, (host, names) = source.listing[0], source.hosts
    task = rows.task_id.astype(str)
    taken = {}
    for k in range(3):
        stamps = stamps_of(rows, rows.split == k)
        table = stamp_table(rows, stamps, names[host[stamps.row]].astype(str), source.bins)
        for row, member in zip(
            stamps.row[mask := manifest_mask(table, "unpaired", 7)],
            stamps.member[mask],
            strict=True,
        ):
            taken[task[row]] = member + 1
    assert {name: said[1] for name, said in by_task(manifest).items() if said[1]} == taken
    hosts = {}
    for _, member, _, lrg in by_task(manifest).values():
        hosts.setdefault(lrg, set()).add(member)
    assert all(len(members - {0}) <= 1 for members in hosts.values())
    assert by_task(run(root, "--seed=8")[3]) != by_task(manifest)


def test_rows_and_files_in_another_order_are_split_alike(run, columns, write_root, tmp_path):
    given = columns()
    order = np.random.default_rng(0).permutation(len(given["ra"]))
    first = run(write_root(tmp_path / "a", given))[3]
    moved = write_root(
        tmp_path / "b", {k: v[order] for k, v in given.items()}, ("deep/er/x.parquet",)
    )
    second = run(moved, out="other.parquet")[3]
    assert by_task(first) == by_task(second)
    again = write_root(tmp_path / "c" / "a", given)
    run(again, out="again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "split.parquet").read_bytes()


def test_files_may_lie_anywhere_and_manifests_and_hidden_ones_are_left_out(
    run, columns, write_root, tmp_path
):
    given = columns()
    root = write_root(tmp_path / "root", given, ("top.parquet", "a/b/c.parquet"))
    write_root(root, given, (".cache/x.parquet", "_old/y.parquet"))
    code, printed, _, first = run(root, out="root/split.parquet")
    assert code == 0 and first.file.names == ("a/b/c.parquet", "top.parquet")
    assert "ignored" not in printed
    code, _, _, second = run(root, out="root/split.parquet")  # its own file lies there now
    assert code == 0 and by_task(first) == by_task(second)


def test_rows_without_a_brick_are_given_tiles(run, columns, write_root, tmp_path):
    given = columns()
    named = run(write_root(tmp_path / "a", given))[3]
    bricks = given.pop("brickname")
    _, printed, _, manifest = run(write_root(tmp_path / "b", given), out="other.parquet")
    assert "800 rows have no brick: tiles of 0.25 deg stand for them" in printed
    assert by_task(manifest) == by_task(named)
    given["brickname"] = np.where(np.arange(800) % 2, bricks, "")
    _, printed, _, manifest = run(write_root(tmp_path / "c", given), out="third.parquet")
    assert "400 rows have no brick" in printed
    assert "400 faults that reading will stop at" in printed  # the reader wants all or none
    assert {task: said[2:] for task, said in by_task(manifest).items()} == {
        task: said[2:] for task, said in by_task(named).items()
    }


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_of_metadata_says_where_its_rows_are(run, columns, tmp_path, suffix):
    given = columns()
    where = {"source_file": np.repeat(["train/a.parquet", "b/c.parquet"], 400)}
    where["source_row"] = np.tile(np.arange(400), 2)
    path = tmp_path / f"table.{suffix}"

    def write(columns):
        table = pa.table(columns)
        (pa.csv.write_csv if suffix == "csv" else pq.write_table)(table, path)

    write({**given, **where})
    code, _, error, manifest = run(path)
    assert code == 0, error
    assert manifest.file.names == ("b/c.parquet", "train/a.parquet") and len(manifest) == 800
    write(given)
    plain = run(path, out="plain.parquet")[3]
    assert plain.file.names == (f"table.{suffix}",) and by_task(plain) == by_task(manifest)
    write({**given, "source_row": where["source_row"]})
    code, _, error, _ = run(path)
    assert code == 10 and "source_row" in error and "source_file" in error
    write({**given, **where, "kind": np.where(np.arange(800) % 4, "ring", "lens")})
    _, printed, _, manifest = run(path)
    assert "0.25" in next(line for line in printed.splitlines() if line.startswith("positives"))


def test_folders_of_stamps_are_read_by_their_index(run, columns, tmp_path):
    given = columns()
    for split, part in zip(schema.SPLITS, np.array_split(np.arange(800), 3), strict=True):
        (tmp_path / "root" / split).mkdir(parents=True)
        table = {name: values[part] for name, values in given.items()}
        table["file"] = [f"{task}.npy" for task in table["task_id"]]
        table["control_file"] = [f"{task}-c.npy" for task in table["task_id"]]
        pa.csv.write_csv(pa.table(table), tmp_path / "root" / split / "stamps.csv")
    code, _, error, manifest = run(tmp_path / "root")
    assert code == 0, error
    assert manifest.file.names == ("test/stamps.csv", "train/stamps.csv", "val/stamps.csv")
    form = NpyFormat(Told(unit="nanomaggy", pixel_scale_arcsec=0.262, bands="grz"))
    source = FileSource(str(tmp_path / "root"), form, tmp_path / "cache", manifest=manifest)
    rows, findings = source.listing
    assert [one for one in findings if one.severity == "ERROR"] == []
    np.testing.assert_array_equal(rows.split, manifest.split)
    shutil.move(tmp_path / "root" / "train" / "stamps.csv", tmp_path / "root" / "stamps.csv")
    code, _, _, manifest = run(tmp_path / "root")
    assert code == 0 and manifest.file.names == ("stamps.csv", "test/stamps.csv", "val/stamps.csv")
    (tmp_path / "root" / "more.h5").touch()
    code, _, error, _ = run(tmp_path / "root")
    assert code == 10 and "more.h5: an HDF5 file: give a table of its rows" in error


def test_no_stamp_is_read(run, columns, write_root, tmp_path, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("a stamp was read")

    monkeypatch.setattr(ParquetFormat, "blocks", never)
    assert run(write_root(tmp_path / "root", columns()))[0] == 0


def test_an_address_is_opened_through_fsspec(run, columns, write_root, tmp_path):
    import fsspec

    root = write_root(tmp_path / "root", columns())
    memory = fsspec.filesystem("memory")
    memory.put(str(root), "/bucket/stamps", recursive=True)
    try:
        first, second = run(root)[3], run("memory://bucket/stamps", out="other.parquet")[3]
    finally:
        memory.rm("/bucket", recursive=True)
    assert by_task(first) == by_task(second) and second.asked.root == "stamps"


def test_in_a_child_process(columns, write_root, tmp_path):
    root, out = (
        write_root(tmp_path / "root", columns(hosts=200)),
        tmp_path / "new" / "split.parquet",
    )
    argv = [sys.executable, "-m", "lensjax.data", "split", str(root), f"--out={out}", "--seed=3"]
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "verified and written" in done.stdout and read(str(out)).asked.seed == 3


# -- what it refuses ----------------------------------------------------------------------------


@pytest.mark.parametrize(("column", "value"), [("ra", np.nan), ("dec", 91.0), ("ra", np.inf)])
def test_a_row_without_a_position_is_named(run, columns, write_root, tmp_path, column, value):
    given = columns()
    given[column][300] = value
    code, _, error, _ = run(write_root(tmp_path / "root", given))
    assert code == 10 and "val/b.parquet row 33" in error and "no position" in error
    assert not (tmp_path / "split.parquet").exists()


def test_without_that_check_it_would_be_somewhere(run, columns, write_root, tmp_path, monkeypatch):
    given = columns()
    given["dec"][300] = 91.0
    monkeypatch.setattr(metadata, "_require_positions", lambda rows: None)
    code, _, error, _ = run(write_root(tmp_path / "root", given))
    assert code != 0 and "no position" not in error


def test_faults_that_reading_will_stop_at_are_said(run, columns, write_root, tmp_path):
    given = columns()
    given["theta_e_arcsec"][5] = -1.0
    code, printed, _, manifest = run(write_root(tmp_path / "root", given))
    assert code == 0 and "1 faults that reading will stop at" in printed
    assert "train/a.parquet row 5" in printed
    assert by_task(manifest)["task-00005"][1] == 0  # it gives nothing to unpaired runs


def test_a_damaged_file_is_named(run, columns, write_root, tmp_path):
    root = write_root(tmp_path / "root", columns())
    path = root / "val" / "b.parquet"
    path.write_bytes(path.read_bytes()[:-200])
    code, _, error, _ = run(root)
    assert code == 10 and "val/b.parquet" in error


def test_a_folder_that_cannot_be_read_is_named(
    run, columns, write_root, tmp_path, monkeypatch, shut
):
    root = write_root(tmp_path / "root", columns(), ("a/x.parquet", "b/deep/y.parquet"))
    shut("/deep")
    code, _, error, _ = run(root)
    assert code == 16 and "root/b/deep" in error and "cannot be read: Permission denied" in error
    monkeypatch.setattr(metadata, "files_below", lambda filesystem, root: filesystem.find(root))
    code, _, _, manifest = run(root)  # harm: half of the rows are not in the manifest
    assert code == 0 and manifest.file.names == ("a/x.parquet",)


def test_a_link_out_of_the_root_is_refused(run, columns, write_root, tmp_path):
    root = write_root(tmp_path / "root", columns())
    shutil.move(root / "val" / "b.parquet", tmp_path / "elsewhere.parquet")
    (root / "val" / "b.parquet").symlink_to(tmp_path / "elsewhere.parquet")
    code, _, error, _ = run(root)
    assert code == 17 and "val/b.parquet" in error


def test_a_linked_folder_is_refused_and_not_left_out(
    run, columns, write_root, tmp_path, monkeypatch
):
    root = write_root(tmp_path / "root", columns())
    shutil.move(root / "val", tmp_path / "elsewhere")
    (root / "val").symlink_to(tmp_path / "elsewhere")
    code, _, error, _ = run(root)
    assert code == 17 and "val" in error and "link to a folder" in error
    monkeypatch.setattr(metadata, "_is_linked_folder", lambda filesystem, path: False)
    assert len(run(root)[3]) == 533  # harm: a third of the rows is not in the manifest


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("ra,dec\n1,2\n3,four\n", "damaged"),
        ("ra,ra\n1,2\n", "twice"),
        ("", "none"),
        ("name,size\na,1\n", "no position"),
        ("ra,dec\n1\n", "damaged"),
    ],
)
def test_a_table_that_is_none(run, tmp_path, content, words):
    (tmp_path / "table.csv").write_text(content)
    code, _, error, _ = run(tmp_path / "table.csv")
    assert code == 10 and "table.csv" in error and words in error


def test_words_where_numbers_are_expected(run, tmp_path):
    pq.write_table(pa.table({"ra": ["one"], "dec": [2.0]}), tmp_path / "table.parquet")
    code, _, error, _ = run(tmp_path / "table.parquet")
    assert code == 10 and "column 'ra' is string, expected numbers" in error


def test_proportions_that_cannot_be_end_in_words_and_no_file(run, columns, write_root, tmp_path):
    given = columns(hosts=400)
    given["brickname"] = np.where(given["dec"] > 1.0, "big", given["brickname"])  # 3 hosts of 4
    code, printed, error, _ = run(
        write_root(tmp_path / "root", given), "--proportions=0.5,0.25,0.25"
    )
    assert code == 11 and "asked 0.500 +- 0.03" in error and "--proportions=" in error
    assert "share of hosts" in printed and not (tmp_path / "split.parquet").exists()


def test_a_split_without_a_class_is_refused(run, columns, tmp_path, monkeypatch):
    given = {**columns(), "kind": np.full(800, "ring")}
    given["kind"][:2] = "lens"  # both of one host
    pq.write_table(pa.table(given), tmp_path / "table.parquet")
    code, _, error, _ = run(tmp_path / "table.parquet")
    assert code == 10 and "has 0 positives" in error


def test_a_leak_found_at_the_end_is_not_written(run, columns, write_root, tmp_path, monkeypatch):
    """The verification is not the code that splits: that one fails here, and is found out."""
    true = split_command.split_rows

    def one_moved(rows, settings):
        found = true(rows, settings)
        bricks, counts = np.unique(rows.brick[found == 2], return_counts=True)
        full = np.flatnonzero(rows.brick == bricks[counts.argmax()])
        found[rows.host == rows.host[full[0]]] = 0
        return found

    monkeypatch.setattr(split_command, "split_rows", one_moved)
    root = write_root(tmp_path / "root", columns())
    code, _, error, _ = run(root)
    assert code == 11 and "nothing was written" in error
    assert not (tmp_path / "split.parquet").exists()
    monkeypatch.setattr(split_command, "verify", lambda *args: None)
    assert run(root)[0] == 0  # harm: written


def test_a_file_that_is_no_manifest_is_not_overwritten(run, columns, write_root, tmp_path):
    root = write_root(tmp_path / "root", columns())
    before = (root / "train" / "a.parquet").read_bytes()
    code, _, error, _ = run(root, out="root/train/a.parquet")
    assert code == 2 and "would be lost" in error
    assert (root / "train" / "a.parquet").read_bytes() == before


USAGE = {
    "no command": ([], "no command"),
    "misspelt command": (["splti", "x"], "Did you mean split?"),
    "misspelt flag": (["split", "x", "--out=a.parquet", "--proportion=1"], "--proportions?"),
    "no root": (["split", "--out=a.parquet"], "ROOT"),
    "no out": (["split", "x"], "--out"),
    "no such root": (["split", "/nowhere/at/all", "--out={}/a.parquet"], "no such folder"),
    "two shares": (["split", "x", "--out=a.parquet", "--proportions=0.5,0.5"], "three numbers"),
    "sum": (["split", "x", "--out=a.parquet", "--proportions=0.5,0.5,0.5"], "add up to 1"),
    "nothing": (["split", "x", "--out=a.parquet", "--proportions=1.2,-0.1,-0.1"], "above 0"),
    "no number": (["split", "x", "--out=a.parquet", "--proportions=nan,0.5,0.5"], "above 0"),
    "seed": (["split", "x", "--out=a.parquet", "--seed=-1"], "--seed"),
    "seed word": (["split", "x", "--out=a.parquet", "--seed=one"], "seed"),
    "band": (["split", "x", "--out=a.parquet", "--guard-band=nan"], "--guard-band"),
    "separation": (["split", "x", "--out=a.parquet", "--separation=-2"], "--separation"),
    "suffix": (["split", "x", "--out=a.csv"], "ending in .parquet"),
    "address": (["split", "x", "--out=s3://b/a.parquet"], "without a scheme"),
    "config": (["split", "x", "--out=a.parquet", "--config.seed=1"], "no config fields"),
    "stray": (["split", "x", "y", "--out=a.parquet"], "'y'"),
}


@pytest.mark.parametrize("what", USAGE)
def test_wrong_use_is_exit_2_in_one_line(what, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv, words = USAGE[what]
    assert main([word.format(tmp_path) for word in argv]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error and "\n" not in error
    assert [path.name for path in tmp_path.iterdir()] == []


def test_help_is_no_error(capsys):
    assert main(["--help"]) == 0 and "split" in capsys.readouterr().out
    assert main(["split", "--help"]) == 0 and "--guard-band" in capsys.readouterr().out


def test_an_out_that_cannot_be_written_is_named(run, columns, write_root, tmp_path):
    (tmp_path / "file").write_text("no folder")
    code, _, error, _ = run(write_root(tmp_path / "root", columns()), out="file/split.parquet")
    assert code == 16 and "file" in error


def test_errors_of_the_reader_keep_their_code(run, columns, write_root, tmp_path, monkeypatch):
    def fail(*args):
        raise LensjaxError(schema.ExitCode.REFUSED_INPUT, "looks hostile", "x.parquet")

    monkeypatch.setattr(split_command.metadata, "read", fail)
    assert run(tmp_path)[0] == 17
