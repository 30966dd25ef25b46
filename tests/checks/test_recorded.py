"""ROOT/manifest.json through phase 0: what differs from the record is refused with the code of its
fault; without the record, or with its comparison off, some of it passes unseen."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lensjax import schema
from lensjax.checks import scan as scan_module
from lensjax.checks.scan import label_digests, scan_files
from lensjax.data.files import FileSource
from lensjax.data.formats import KINDS, LENS
from lensjax.data.parquet import ParquetFormat
from lensjax.data.record import FILE, load_record, make_record, write_record
from lensjax.schema import LensjaxError

pytestmark = pytest.mark.usefixtures("quick_intervals")


def vouch(source: FileSource, **changes) -> None:
    """Write the record of what lies there, `changes` made to it."""
    scan = scan_files(source, workers=1, progress=False)
    record = dict(make_record(source.file_digests(), label_digests(scan.rows)))
    write_record(source.filesystem, source.root, record | changes)


@pytest.fixture
def root(made, tmp_path, open_root) -> Path:
    """16, 8 and 8 pairs in 4 files a split, with their record."""
    sizes = zip(schema.SPLITS, (16, 8, 8), strict=True)
    sets = {name: made.set(name, size, 0, 3) for name, size in sizes}
    root = made.write_root(tmp_path / "data", sets, files=4)
    vouch(open_root(root))
    return root


@pytest.fixture
def judge(scan_root, made):
    return lambda root: made.judged(scan_root(root), simulated=False, proportions=None)


def causes(summary, check: str) -> list[str]:
    found = summary[check].findings
    return [f"{one.where}: {one.message}" for one in found if one.severity == "ERROR"]


def test_what_is_as_recorded_passes(root, judge):
    summary = judge(root)
    assert summary.all_passed
    record = json.loads((root / FILE).read_text())
    assert record["labels"] == summary["labels"].counts["label_digests"]


# -- D17: the list of files ---------------------------------------------------------------------


def test_d17_a_missing_file_is_named(root, judge):
    (root / "train" / "part-00003.parquet").unlink()
    (root / "val" / "part-00000.parquet").unlink()
    summary = judge(root)
    assert summary.exit_code == 12
    (cause,) = [line for line in causes(summary, "labels") if "missing" in line]
    assert cause.startswith(f"{FILE}: 2 files: each is missing")
    assert "train/part-00003.parquet, val/part-00000.parquet" in cause
    (root / FILE).unlink()
    assert judge(root).all_passed  # without the record nobody knows


def test_d17_an_extra_file_is_named(root, judge, made):
    extra = made.write_root(root.parent / "other", {"train": made.set("train", 4, 0, 9)})
    path = root / "train" / "part-00009.parquet"
    shutil.copy(extra / "train" / "part-00000.parquet", path)
    table = pq.read_table(path)
    bricks, ra = [f"new{k}" for k in range(4)], [100.0 + k for k in range(4)]
    table = table.drop_columns(["brickname", "ra", "task_id"])
    for name, values in (("brickname", bricks), ("ra", ra), ("task_id", bricks)):
        table = table.append_column(name, pa.array(values))
    pq.write_table(table, path)
    summary = judge(root)
    assert summary.exit_code == 12
    assert any(
        "1 files: each is not in the manifest (train/part-00009.parquet)" in line
        for line in causes(summary, "labels")
    )
    (root / FILE).unlink()
    assert judge(root).all_passed


def test_d17_a_file_renamed_within_its_split_is_both(root, judge):
    (root / "val" / "part-00003.parquet").rename(root / "val" / "part-00007.parquet")
    summary = judge(root)
    assert summary.exit_code == 12
    assert [
        "missing" in line or "not in the manifest" in line for line in causes(summary, "labels")
    ]
    (root / FILE).unlink()
    assert judge(root).all_passed


# -- D12: inverted splits -----------------------------------------------------------------------


def swap(root: Path, a: str, b: str) -> None:
    (root / a).rename(root / "x")
    (root / b).rename(root / a)
    (root / "x").rename(root / b)


def test_d12_swapped_folders_are_told_by_the_record(clean, made, tmp_path, open_root, judge):
    """The rows do not say which split they are of, and both splits are sound."""

    def spoil(split, columns):
        del columns["region_split"]

    root = made.write_root(tmp_path / "data", clean, files=2, spoil=spoil)
    vouch(open_root(root))
    swap(root, "val", "test")
    summary = judge(root)
    assert summary.exit_code == 11
    found = causes(summary, "splits")
    assert len(found) == 4  # files of the same names in both folders
    assert "test/part-00001.parquet: the manifest says that this file is val/part-00001" in found[1]
    assert "val/part-00000.parquet: the manifest says that this file is test/" in " ".join(found)
    (root / FILE).unlink()
    assert judge(root).all_passed


# -- D9: labels ---------------------------------------------------------------------------------


class Labelled(ParquetFormat):
    """Parquet files whose rows say what they are; the control of a row is not used."""

    def metadata(self, filesystem, shard):
        columns, findings = super().metadata(filesystem, shard)
        with filesystem.open(shard.path, "rb") as file:
            columns["kind"] = np.array(pq.read_table(file)["kind"].to_pylist())
        lensed = columns["kind"] == LENS
        for name in ("theta_e_arcsec", "arc_snr"):
            columns[name] = np.where(lensed, columns[name], np.nan)
        return columns, findings


def test_d9_flipped_labels_differ_from_the_record(clean, made, tmp_path, monkeypatch):
    """5 % of the rows of train, consistent in themselves: with the digests of the label columns not
    compared, what is left to say is that bytes differ."""

    def spoil(split, columns):
        columns["kind"] = [LENS if k % 2 else "ring" for k in range(len(columns["ra"]))]

    root = made.write_root(tmp_path / "data", clean, spoil=spoil)

    def judged():
        source = FileSource(str(root), Labelled(), tmp_path / "cache")
        scan = scan_files(source, workers=1, progress=False)
        return source, made.judged(scan, simulated=False, proportions=None)

    source, plain = judged()
    assert plain.all_passed and plain["labels"].counts["negatives"] == {"ring": 48}
    vouch(source)
    path = root / "train" / "part-00000.parquet"
    table = pq.read_table(path)
    kinds = table["kind"].to_pylist()
    kinds[0], kinds[5], kinds[20] = LENS, "ring", LENS
    pq.write_table(table.drop_columns(["kind"]).append_column("kind", pa.array(kinds)), path)
    _, flipped = judged()
    assert flipped.exit_code == 12 and set(kinds) <= set(KINDS)
    (cause,) = causes(flipped, "labels")
    assert cause.startswith("train/: label column differs from the manifest (")
    record = json.loads((root / FILE).read_text())
    (root / FILE).write_text(json.dumps(record | {"labels": {}}))
    assert judged()[1].exit_code == 10
    (root / FILE).unlink()
    assert judged()[1].all_passed


# -- D14: bits ----------------------------------------------------------------------------------


@pytest.fixture
def tiny_root(made, tmp_path, open_root) -> Path:
    """2 pairs a split; plain encodings, no checksums."""

    def spoil(split, columns):
        columns["is_control"] = [0] * 2

    options = {"use_dictionary": False, "compression": "none", "write_statistics": False}
    sets = {name: made.set(name, 2, 0, 3) for name in schema.SPLITS}
    return made.write_root(tmp_path / "tiny", sets, spoil=spoil, **options)


def bytes_of(path: Path, column: str) -> range:
    """Where in the file the pages of a column are."""
    file = pq.ParquetFile(path)
    chunk = file.metadata.row_group(0).column(file.schema_arrow.get_field_index(column))
    return range(chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size)


def silent(root: Path, places: range, n: int, open_root) -> int:
    """Of n single flips in `places` of the file of test, those of which the scan finds nothing."""
    path = root / "test" / "part-00000.parquet"
    sound, rng, count = path.read_bytes(), np.random.default_rng(len(places)), 0
    plain = scan_files(open_root(root), workers=1, progress=False).findings
    for _ in range(n):
        data = bytearray(sound)
        data[places[rng.integers(len(places))]] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        count += scan_files(open_root(root), workers=1, progress=False).findings == plain
    path.write_bytes(sound)
    return count


@pytest.mark.parametrize("column", ["ra", "brickname", "is_control", "stamp_npz", "npz header"])
def test_d14_no_flip_is_silent_with_a_record(tiny_root, open_root, column):
    """Without it some are: hardly of is_control, where any other value is a fault, nor of pixels,
    which have a CRC, but of positions, of names, and of fields of a zip that nobody reads."""
    path = tiny_root / "test" / "part-00000.parquet"
    places = bytes_of(path, column if column != "npz header" else "stamp_npz")
    if column == "npz header":  # of the first stamp's first member: time, date and CRC
        begin = path.read_bytes().index(b"PK\x03\x04", places.start)
        places = range(begin + 10, begin + 18)
    without = silent(tiny_root, places, 12, open_root)
    vouch(open_root(tiny_root))
    assert silent(tiny_root, places, 20, open_root) == 0
    assert without > 0 or column in ("is_control", "stamp_npz")


def test_d14_the_file_is_named(root, judge):
    """Exit 10, though what was flipped is a position that is as sound as before."""
    path = root / "test" / "part-00001.parquet"
    data = bytearray(path.read_bytes())
    data[bytes_of(path, "ra")[-9]] ^= 1
    path.write_bytes(data)
    summary = judge(root)
    assert summary.exit_code == 10
    assert causes(summary, "stamps")[0].startswith(
        "test/part-00001.parquet: its bytes differ from the manifest ("
    )


# -- S5: names that lead out ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc/passwd", "train/../../x", "s3://bucket/x", "train\\..\\..\\x"],
)
def test_s5_a_record_that_names_files_elsewhere_is_refused(root, judge, name, monkeypatch):
    record = json.loads((root / FILE).read_text())
    record["files"][name] = "0" * 64
    (root / FILE).write_text(json.dumps(record))
    summary = judge(root)
    assert summary.exit_code == 17
    assert "which leads out of the data root" in str(summary.error())
    monkeypatch.setattr("lensjax.data.record.leads_out", lambda name: False)
    assert judge(root).exit_code == 12  # the guard off: a file like any other that is missing


@pytest.mark.parametrize("what", ["file", "folder"])
def test_s5_a_link_out_of_the_root_is_refused(root, judge, tmp_path, what, monkeypatch):
    """Whether a file or a whole split is elsewhere."""
    path = root / "val" / "part-00002.parquet" if what == "file" else root / "val"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    summary = judge(root)
    assert summary.exit_code == 17
    assert f"{path.relative_to(root)}" in str(summary.error())
    assert "is a link that leads out of the data root" in str(summary.error())
    monkeypatch.setattr(FileSource, "_links", lambda self: [])
    assert judge(root).exit_code == 0  # the guard off: what is elsewhere is read


# -- the record itself ----------------------------------------------------------------------------


def test_a_damaged_record_is_an_error_of_data_and_the_rest_is_still_judged(root, judge, sets):
    (root / FILE).write_text("{")
    summary = judge(root)
    assert summary.exit_code == 10 and FILE in str(summary.error())
    assert [result.name for result in summary.stopping()] == ["labels"]
    with pytest.raises(LensjaxError):
        load_record(FileSource(str(root), ParquetFormat(), root).filesystem, str(root))


def test_rows_set_aside_hide_no_difference(root, judge, made, scan_root, monkeypatch):
    """Within a budget too: bytes are compared, whatever could be read."""
    path = root / "train" / "part-00000.parquet"
    table = pq.read_table(path)
    dec = table["dec"].to_pylist()
    dec[1] = 95.0
    pq.write_table(table.drop_columns(["dec"]).append_column("dec", pa.array(dec)), path)
    made.protocol["phase0"]["limits"]["quarantine"] = 1
    told = {"simulated": False, "proportions": None, "protocol": made.protocol}
    summary = made.judged(scan_root(root), **told)
    assert summary.exit_code == 10 and "its bytes differ" in str(summary.error())
    monkeypatch.setattr(scan_module, "compare", lambda *_: [])
    assert made.judged(scan_root(root), **told).all_passed


def test_the_record_is_held_to_in_a_store_that_tells_no_times(root, tmp_path, made):
    """Nothing is remembered there: the digests compared are those of this scan."""
    import fsspec

    memory = fsspec.filesystem("memory")
    try:
        memory.put(str(root), "/stamps", recursive=True)
        source = FileSource("memory://stamps", ParquetFormat(), tmp_path / "cache")
        scan = scan_files(source, workers=1, progress=False)
        assert source.record is not None
        assert made.judged(scan, simulated=False, proportions=None).all_passed
    finally:
        memory.store.clear()
        memory.pseudo_dirs[:] = [""]
