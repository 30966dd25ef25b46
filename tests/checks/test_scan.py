"""One pass over real files: what it brings is the same however it is divided, nothing that is
wrong is left out, and files are hashed on the way, once."""

from __future__ import annotations

import os
import shutil
import threading
import time
import tracemalloc
from dataclasses import fields
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lensjax import schema
from lensjax.checks import scan as scan_module
from lensjax.checks.rows import Rows
from lensjax.checks.scan import Scan, scan_files, scan_sets
from lensjax.checks.workers import FEW_TASKS
from lensjax.data import formats, parquet, parquet_files
from lensjax.data.files import FileSource
from lensjax.schema import ExitCode, LensjaxError

pytestmark = pytest.mark.usefixtures("quick_intervals")


@pytest.fixture
def root(clean_root, tmp_path) -> Path:
    """A copy of clean_root, to be changed."""
    return Path(shutil.copytree(clean_root, tmp_path / "data"))


def lines(scan: Scan) -> list[str]:
    return [f"{one.where}: {one.message}" for one in scan.findings]


def change(path: Path, **columns) -> None:
    """The file with other columns; None leaves one out."""
    table = pq.read_table(path)
    for name, values in columns.items():
        table = table.drop_columns([name])
        if values is not None:
            table = table.append_column(name, pa.array(values))
    pq.write_table(table, path)


def read_sets(source: FileSource):
    """Every split as StampSets, and what was found."""
    findings = []
    return {split: source.read(split, findings) for split in source.splits()}, findings


# -- however it is divided ----------------------------------------------------------------------


def assert_same(one: Scan, other: Scan) -> None:
    for field in fields(Rows):
        a, b = getattr(one.rows, field.name), getattr(other.rows, field.name)
        assert type(a) is type(b)
        for x, y in zip(a.values(), b.values(), strict=True) if isinstance(a, dict) else [(a, b)]:
            np.testing.assert_array_equal(x, y)
    for a, b in zip(one.measured + one.difference, other.measured + other.difference, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.pairs, other.pairs)
    assert one.findings == other.findings and one.set_aside == other.set_aside


def test_workers_change_nothing(sets, made, tmp_path, open_root):
    """With faults of every kind: arrays to the bit, findings in their order."""
    for split, row in (("train", 2), ("train", 41), ("val", 9)):
        sets[split].stamps[row, 5, 5, 1] = np.nan
    root = made.write_root(tmp_path / "data", sets, files=4)
    change(root / "test" / "part-00001.parquet", psfdepth_r=[23.0, np.nan, 23.0, 23.0, 23.0, 23.0])
    (root / "val" / "part-00003.parquet").write_bytes(b"PAR1")
    one, two = (FileSource(str(root), parquet.ParquetFormat(), tmp_path / name) for name in "ab")
    assert len(one.listing[0].shards) > FEW_TASKS
    alone = scan_files(one, workers=1, progress=False)
    together = scan_files(two, workers=2, progress=False)
    assert len(alone.rows) == 2 * (96 - 3 - 1 - 6) and alone.set_aside == 4
    assert len([one for one in alone.findings if one.severity != "NOTE"]) == 5
    assert_same(alone, together)
    assert two.unhashed() == [] and two.file_digests() == one.file_digests()  # whoever hashed them


def by_id(scan: Scan) -> np.ndarray:
    return np.argsort(scan.rows.stamp_id)


def assert_same_stamps(one: Scan, other: Scan) -> None:
    """The same of each stamp, whatever the order."""
    a, b = by_id(one), by_id(other)
    np.testing.assert_array_equal(one.rows.stamp_id[a], other.rows.stamp_id[b])
    for name in ("label", "kind", "split"):
        np.testing.assert_array_equal(getattr(one.rows, name)[a], getattr(other.rows, name)[b])
    for name, values in one.rows.numbers.items():
        np.testing.assert_array_equal(values[a], other.rows.numbers[name][b])
    for row, same in zip(a, b, strict=True):
        names = [
            (scan.rows.host_name(scan.rows.host[k]), scan.rows.bricks[scan.rows.brick[k]])
            for scan, k in ((one, row), (other, same))
        ]
        assert names[0] == names[1]
    for x, y in zip(one.measured, other.measured, strict=True):
        if x.dtype == np.uint64:
            np.testing.assert_array_equal(x[a], y[b])
        else:  # sums of another block
            rounding = max(1e-5, float(np.finfo(x.dtype).eps))
            np.testing.assert_allclose(x[a], y[b], rtol=rounding, atol=2 * rounding)
    first, second = (np.argsort(scan.rows.stamp_id[scan.pairs[:, 0]]) for scan in (one, other))
    for member in (0, 1):
        ids = [
            scan.rows.stamp_id[scan.pairs[order, member]]
            for scan, order in ((one, first), (other, second))
        ]
        np.testing.assert_array_equal(*ids)
    for x, y in zip(one.difference, other.difference, strict=True):
        np.testing.assert_array_equal(x[first], y[second])


def test_files_and_sets_give_the_same(sets, made, tmp_path, open_root):
    """The scan of what the reader reads; a bad row is named by both."""
    sets["train"].stamps[2, 5, 5, 1] = np.nan
    source = open_root(made.write_root(tmp_path / "data", sets, files=3))
    of_files = scan_files(source, workers=1, progress=False)
    read, findings = read_sets(source)
    of_sets = scan_sets(read, findings, progress=False)
    assert_same_stamps(of_files, of_sets)
    assert set(of_files.findings) == set(of_sets.findings)
    for row in range(len(of_files.rows)):
        assert of_files.rows.where(row) in {of_sets.rows.where(k) for k in range(len(of_sets.rows))}
    budget = made.protocol
    budget["phase0"]["limits"]["quarantine"] = 1
    one, other = (made.judged(scan, protocol=budget) for scan in (of_files, of_sets))
    for name in ("splits", "duplicates", "labels", "metadata_shortcut", "survey_shortcut"):
        assert (one[name].message, one[name].counts) == (other[name].message, other[name].counts)


def test_the_order_of_files_and_rows_changes_nothing(clean, made, tmp_path, scan_root):
    """Rows backwards, in other files: the same stamps, the same verdicts."""

    def backwards(split, columns):
        for values in columns.values():
            values.reverse()

    plain = scan_root(made.write_root(tmp_path / "a", clean, files=2))
    other = scan_root(made.write_root(tmp_path / "b", clean, files=5, spoil=backwards))
    assert_same_stamps(plain, other)
    one, two = made.judged(plain), made.judged(other)
    assert one.all_passed and two.all_passed
    for name in ("splits", "duplicates", "pairs"):
        assert one[name].counts == two[name].counts
    assert one["labels"].counts["label_digests"] == two["labels"].counts["label_digests"]


def test_fetch_gives_the_pixels_of_any_rows(root, open_root):
    """Of several files, in any order, again and again, both members."""
    source = open_root(root)
    scan = scan_files(source, workers=1, progress=False)
    read, _ = read_sets(source)
    known = {
        stamp_id: stamp
        for made in read.values()
        for stamp_id, stamp in zip(made.table["stamp_id"].tolist(), made.stamps, strict=True)
    }
    rows = np.random.default_rng(0).integers(0, len(scan.rows), 60)
    assert len(np.unique(scan.rows.file[rows])) > 8
    rows[7] = rows[3]
    found = scan.fetch(rows)
    assert found.dtype == np.float32 and found.shape == (60, *schema.STAMP_SHAPE)
    for row, stamp in zip(rows, found, strict=True):
        np.testing.assert_array_equal(stamp, known[scan.rows.name(row)])
    assert scan.fetch(rows[:0]).shape == (0, *schema.STAMP_SHAPE)


def test_fetch_of_what_is_left_when_rows_were_set_aside(sets, made, tmp_path, scan_root):
    sets["train"].stamps[0, 5, 5, 1] = np.nan
    kept = sets["train"].stamps[2:4].copy()
    scan = scan_root(made.write_root(tmp_path / "data", sets))
    first = np.flatnonzero(np.char.startswith(scan.rows.stamp_id, b"train-00001-"))
    found = scan.fetch(first)
    np.testing.assert_array_equal(found[np.argsort(scan.rows.stamp_id[first])], kept)


# -- memory and processes -----------------------------------------------------------------------


@pytest.fixture
def large_root(clean, tmp_path, made):
    """Makes a root of so many rows in one row group; a thousand are 98 MB of pixels."""
    small = made.write_root(tmp_path / "small", {"train": clean["train"]})
    table = pq.read_table(small / "train" / "part-00000.parquet").drop_columns(["task_id"])

    def write(rows: int) -> Path:
        root = tmp_path / f"of_{rows}"
        (root / "train").mkdir(parents=True)
        whole = pa.concat_tables([table] * (rows // len(table) + 1)).slice(0, rows)
        options = {"use_dictionary": False, "compression": "none", "write_batch_size": 16}
        pq.write_table(whole, root / "train" / "part-00000.parquet", **options)
        return root

    return write


def peak_of(work) -> float:
    """MB that numpy and Arrow had at most while `work()` was done."""
    pool, peak, done = pa.default_memory_pool(), [0], threading.Event()

    def watch():
        while not done.wait(0.002):
            peak[0] = max(peak[0], pool.bytes_allocated())

    before = pool.bytes_allocated()
    watcher = threading.Thread(target=watch)
    tracemalloc.start()
    watcher.start()
    try:
        work()
        return (tracemalloc.get_traced_memory()[1] + max(peak[0] - before, 0)) / 1e6
    finally:
        done.set()
        watcher.join()
        tracemalloc.stop()


def test_memory_is_bounded_by_blocks_not_by_the_set(large_root, open_root):
    """Twice the rows, the same memory; a StampSet (the control) holds them all."""
    roots = [large_root(rows) for rows in (300, 600)]

    def scan(root):
        scan_files(open_root(root), workers=1, progress=False)

    half, whole = (peak_of(lambda root=root: scan(root)) for root in roots)
    assert whole < 1.2 * half < 50
    half, whole = (peak_of(lambda root=root: open_root(root).read("train", [])) for root in roots)
    assert whole - half > 25  # 29 MB of pixels more


def test_a_worker_killed_in_mid_scan_is_told_and_nothing_hangs(root, open_root):
    """P14."""
    mine = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    if not mine.exists():
        pytest.skip("NOT PROVEN: no /proc")

    def kill_one():
        while True:
            for pid in mine.read_text().split():
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                if b"spawn_main" in command:
                    os.kill(int(pid), 9)
                    return
            time.sleep(0.01)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    begun = time.monotonic()
    with pytest.raises(LensjaxError, match="worker process was ended from outside") as caught:
        scan_files(open_root(root), workers=2, progress=False)
    assert caught.value.code == ExitCode.RESOURCE and time.monotonic() - begun < 60
    killer.join()


# -- nothing is left out ------------------------------------------------------------------------


def test_every_failure_is_reported_not_the_first_alone(sets, made, tmp_path, scan_root):
    """One pass: pixels, numbers, columns, files, folders, splits, duplicates."""
    sets["train"].stamps[2 * 3 + 1, 5, 5, 1] = np.nan
    sets["train"].stamps[2 * 40, 5, 5, 2] = 1e30
    sets["val"].stamps[:, 0, 0, 0] = np.inf  # a whole split
    sets["test"].stamps[8:10] = sets["train"].stamps[20:22]

    def spoil(split, columns):
        if split == "test":
            columns["dec"][7] = 95.0
            columns["brickname"][9] = "train0000"

    root = made.write_root(tmp_path / "data", sets, files=2, spoil=spoil)
    path = root / "train" / "part-00001.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 20), root / "train" / "part-00002.parquet")  # again
    path.write_bytes(path.read_bytes()[:-200])
    (root / "test" / "notes.txt").write_text("?")
    scan = scan_root(root)
    found = lines(scan)
    for wanted in (
        "train/part-00000.parquet row 3 band r: 1 NaN",
        "train/part-00002.parquet row 16 band z (control): 1 of the 1e30 sentinel",
        "val/part-00001.parquet row 11 band g: 1 +Inf",
        "test/part-00000.parquet row 7: dec is 95: outside -90..90 degrees",
    ):
        assert wanted in found, found
    assert sum(line.startswith("train/part-00001.parquet: ") for line in found) == 1
    assert sum("notes.txt" in line for line in found) == 1
    assert sum("+Inf" in line for line in found) == 2 * 24
    summary = made.judged(scan)
    messages = [one.message for result in summary.results for one in result.findings]
    assert "val has no stamp that could be read" in messages
    assert any("brick train0000 is in train and in test" in message for message in messages)
    assert sum("is a copy of" in message for message in messages) == 2
    assert summary.exit_code == 10 and scan.set_aside == 2 + 24 + 1


def damage(path: Path, row_group: int) -> None:
    """Forty bytes among the pixels in the middle of a row group."""
    file = pq.ParquetFile(path)
    place = file.schema_arrow.get_field_index("stamp_npz")
    column = file.metadata.row_group(row_group).column(place)
    start = column.data_page_offset + column.total_compressed_size // 2 + 9_000
    data = bytearray(path.read_bytes())
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)


def test_rows_before_a_damaged_page_are_measured(clean, made, tmp_path, scan_root, monkeypatch):
    """The rest of the piece is not; the file is named, and so is the row."""
    monkeypatch.setattr(parquet, "PIECE_ROWS", 24)
    monkeypatch.setattr(parquet, "BATCH_ROWS", 8)
    options = {"row_group_size": 8, "use_dictionary": False, "write_page_checksum": True}
    root = made.write_root(tmp_path / "data", clean, **options)  # of 48 rows
    damage(root / "train" / "part-00000.parquet", 1)  # rows 8..15 of the piece 0..23
    scan = scan_root(root)
    (found,) = [one for one in scan.findings if one.severity == "ERROR"]
    assert found.where == "train/part-00000.parquet"
    assert found.message.startswith("truncated or damaged after row 8: ")
    rows = np.unique(scan.rows.row[scan.rows.of_split("train")])
    assert rows.tolist() == [*range(8), *range(24, 48)]
    assert len(np.unique(scan.measured.content, axis=0)) == len(scan.rows)
    assert np.isfinite(scan.measured.outskirts).all()
    assert made.judged(scan).exit_code == 10


def test_without_page_checksums_the_stamp_is_named_by_its_own(clean, made, tmp_path, scan_root):
    options = {"row_group_size": 8, "use_dictionary": False, "compression": "none"}
    root = made.write_root(tmp_path / "data", clean, **options)
    damage(root / "train" / "part-00000.parquet", 1)
    scan = scan_root(root)
    (found,) = [one for one in scan.findings if one.severity != "NOTE"]
    assert found.severity == "QUARANTINE" and scan.set_aside == 1
    assert found.where == "train/part-00000.parquet row 12" and "CRC" in found.message


def test_a_stamp_that_is_not_validated_is_seen_nowhere_else(sets, made, tmp_path, monkeypatch):
    """The guard off: a NaN passes for a sound row."""
    sets["train"].stamps[2 * 3 + 1, 5, 5, 1] = np.nan
    root = made.write_root(tmp_path / "data", sets)
    monkeypatch.setattr(parquet, "validate_planes", lambda planes: [])
    source = FileSource(str(root), parquet.ParquetFormat(), tmp_path / "cache")
    scan = scan_files(source, workers=1, progress=False)
    assert scan.set_aside == 0 and made.judged(scan)["stamps"].verdict == "PASS"


def test_a_root_without_a_sound_row_is_an_error_of_data(tmp_path, open_root, made):
    for split in schema.SPLITS:
        (tmp_path / "data" / split).mkdir(parents=True)
    scan = scan_files(open_root(tmp_path / "data"), workers=2, progress=False)
    assert len(scan.rows) == len(scan.pairs) == 0
    assert sum(line.endswith("empty directory") for line in lines(scan)) == 3
    summary = made.judged(scan, proportions=None)
    assert summary.exit_code == 10 and "empty directory" in str(summary.error())


# -- rows set aside -----------------------------------------------------------------------------


def two_bad_rows(sets):
    """One with two faults in its pixels, one with a number."""
    sets["train"].stamps[2 * 3 + 1, 5, 5, 1] = np.nan
    sets["train"].stamps[2 * 3, 5, 5, 0] = np.inf

    def spoil(split, columns):
        if split == "val":
            columns["arc_snr"][2] = -1.0

    return spoil


@pytest.mark.parametrize(("budget", "code"), [(0, 10), (1, 10), (2, 0)])
def test_rows_are_set_aside_within_the_budget(
    sets, made, tmp_path, scan_root, monkeypatch, budget, code
):
    """Listed with file, row and cause, within it and beyond; counted once however many faults."""
    root = made.write_root(tmp_path / "data", sets, spoil=two_bad_rows(sets))
    scan = scan_root(root)
    made.protocol["phase0"]["limits"]["quarantine"] = budget
    summary = made.judged(scan, protocol=made.protocol)
    assert summary.exit_code == code
    result = summary["stamps"]
    assert result.counts["quarantined"] == result.counts["set_aside"] == scan.set_aside == 2
    assert f"budget {budget}" in result.message and "2 rows" in result.message
    listed = {f"{f.where}: {f.message}" for f in result.findings if f.severity == "QUARANTINE"}
    assert listed == {
        "train/part-00000.parquet row 3 band r: 1 NaN",
        "train/part-00000.parquet row 3 band g (control): 1 +Inf",
        "val/part-00000.parquet row 2: arc_snr is -1: negative",
    }
    assert summary["splits"].counts["rows"] == {"train": 94, "val": 46, "test": 48}
    text = str(summary.to_json())
    assert ("train/part-00000.parquet row 3 band r" in text) and "'quarantined': 2" in text


def test_a_hostile_row_is_beyond_any_budget(clean, made, tmp_path, scan_root):
    def spoil(split, columns):
        if split == "train":
            columns["stamp_npz"][5] = b"\x80\x04."  # a pickle

    scan = scan_root(made.write_root(tmp_path / "data", clean, spoil=spoil))
    made.protocol["phase0"]["limits"]["quarantine"] = 99
    summary = made.judged(scan, protocol=made.protocol)
    assert summary.exit_code == 17 and "train/part-00000.parquet row 5" in str(summary.error())


# -- what a file does not say -------------------------------------------------------------------


def without(*names):
    def spoil(split, columns):
        for name in names:
            del columns[name]

    return spoil


@pytest.mark.parametrize(
    ("missing", "check", "verdict", "message"),
    [
        (["brickname"], "splits", "NOT PROVEN", "Some rows have no brick (brickname)."),
        (["ra", "dec"], "splits", "NOT PROVEN", "Some rows have no position (ra, dec)."),
        (["theta_e_arcsec"], "pairs", "PASS", "96 pairs without theta_E or PSF: extent"),
        (["psf_fwhm_arcsec"], "pairs", "PASS", "96 pairs without theta_E or PSF: extent"),
        (["arc_snr"], "labels", "PASS", "arc_snr is unknown (NaN) in 96 of 96 rows"),
        (["psfdepth_r"], "labels", "PASS", "psf_depth is unknown (NaN) in 192 of 192 rows"),
    ],
)
def test_a_check_whose_input_is_missing_says_so(
    clean, made, tmp_path, scan_root, missing, check, verdict, message
):
    """NOT PROVEN, which stops a run where the check is required; or a count of what was not
    tested. The column is named with the nearest that nothing reads."""

    def spoil(split, columns):
        for name in missing:
            columns[f"{name}_"] = columns.pop(name)

    scan = scan_root(made.write_root(tmp_path / "data", clean, spoil=spoil))
    summary = made.judged(scan, simulated=False)
    result = summary[check]
    assert result.verdict == verdict
    said = [result.message, *(one.message for one in result.findings)]
    assert any(message in line for line in said), said
    assert summary.exit_code == (10 if verdict == "NOT PROVEN" else 0)
    for name in missing:
        wanted = {"psfdepth_r": "psf_depth"}.get(name, name)
        noted = [one.message for one in summary["stamps"].findings]
        assert any(f"no column {wanted!r} in" in line for line in noted), noted
        if wanted == name:
            assert any(f"(nearest: '{name}_'): unknown" in line for line in noted), noted


def test_stamps_alone_prove_little_and_say_so(clean, made, tmp_path, scan_root):
    kept = ("stamp_npz", "ctrl_stamp_npz")

    def spoil(split, columns):
        for name in set(columns) - set(kept):
            del columns[name]

    summary = made.judged(scan_root(made.write_root(tmp_path / "data", clean, spoil=spoil)))
    verdicts = {result.name: result.verdict for result in summary.results}
    assert verdicts["splits"] == verdicts["metadata_shortcut"] == "NOT PROVEN"
    assert verdicts["stamps"] == verdicts["pairs"] == verdicts["duplicates"] == "PASS"
    assert summary.exit_code == 10 and [r.name for r in summary.stopping()] == ["splits"]


# -- digests on the way -------------------------------------------------------------------------


@pytest.fixture
def hashed(monkeypatch):
    """Names of the files that are hashed by the scan, as they are."""
    names, plain = [], scan_module.keyed_hash

    def counted(filesystem, path):
        names.append("/".join(path.split("/")[-2:]))
        return plain(filesystem, path)

    monkeypatch.setattr(scan_module, "keyed_hash", counted)
    return names


def test_files_are_hashed_once_and_remembered(root, open_root, scan_root, hashed):
    (root / "val" / ".hidden").write_text("not a shard, and one of the files")
    every = sorted(open_root(root).files)
    scan_root(root)
    assert sorted(hashed) == every and len(every) == 13
    source = open_root(root)
    assert source.unhashed() == []
    hashed.clear()
    scan_root(root)
    assert hashed == []
    path = root / "val" / "part-00002.parquet"
    before, status = source.digest(), path.stat()
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as some copies leave them
    scan_root(root)
    assert hashed == ["val/part-00002.parquet"]
    assert open_root(root).digest() != before


def test_a_file_changed_while_it_is_read_is_named(root, open_root, made, monkeypatch):
    """And no digest is remembered for it: what was hashed is not what lies there."""
    plain = scan_module.keyed_hash

    def then_changed(filesystem, path):
        found = plain(filesystem, path)
        if path.endswith("val/part-00001.parquet"):
            data = bytearray(Path(path).read_bytes())
            data[-20] ^= 1
            Path(path).write_bytes(data)
        return found

    monkeypatch.setattr(scan_module, "keyed_hash", then_changed)
    source = open_root(root)
    scan = scan_files(source, workers=1, progress=False)
    (line,) = [line for line in lines(scan) if "changed" in line]
    assert line.startswith("val/part-00001.parquet: was changed while it was read")
    assert made.judged(scan).exit_code == 10
    assert source.unhashed() == [source.files["val/part-00001.parquet"]]


def test_files_that_cannot_be_hashed_are_each_named(root, open_root, monkeypatch):
    plain = scan_module.keyed_hash

    def failing(filesystem, path):
        if path.endswith((".a", ".b", "train/part-00001.parquet")):
            raise OSError(5, "Input/output error")
        return plain(filesystem, path)

    for name in (".a", ".b"):
        (root / "val" / name).write_text("")
    monkeypatch.setattr(scan_module, "keyed_hash", failing)
    scan = scan_files(open_root(root), workers=1, progress=False)
    found = sorted(line.split(":")[0] for line in lines(scan) if "cannot be read: Input" in line)
    assert found == ["train/part-00001.parquet", "val/.a", "val/.b"]
    assert len(scan.rows) == 2 * (96 - 12)


@pytest.fixture
def closed(root, monkeypatch):
    """The root, in which val/part-00001.parquet cannot be read, whoever runs the tests."""
    name = "val/part-00001.parquet"

    def close(module, function):
        plain = getattr(module, function)

        def opened(filesystem, path):
            if path.endswith(name):
                raise PermissionError(13, "Permission denied", path)
            return plain(filesystem, path)

        monkeypatch.setattr(module, function, opened)

    close(scan_module, "keyed_hash")
    close(parquet_files, "footer_of")
    return root


def test_a_file_that_cannot_be_read_is_told_of_once(closed, open_root, made):
    """By the listing, and not again where its bytes should have been hashed."""
    scan = scan_files(open_root(closed), workers=1, progress=False)
    found = [line for line in lines(scan) if "val/part-00001.parquet" in line]
    assert found == ["val/part-00001.parquet: cannot be read: Permission denied"]
    summary = made.judged(scan)
    assert summary.exit_code == 10 and "Give yourself leave" in str(summary.error())


def test_what_cannot_be_read_is_not_called_damaged():
    denied = formats.damage(PermissionError(13, "Permission denied", "f"), 0, "f")
    assert denied.message == "cannot be read: Permission denied" and "leave" in denied.remedy
    assert formats.damage(OSError(5, "Input/output error"), 7, "f").message == (
        "cannot be read after row 7: Input/output error"
    )
    reader = formats.damage(OSError("bad page"), 7, "f")
    assert reader.message == "truncated or damaged after row 7: bad page" and not reader.remedy


@pytest.mark.parametrize("folders", [(), schema.SPLITS], ids=["no folders", "empty folders"])
def test_an_empty_root_has_one_cause(tmp_path, folders, scan_root, made):
    (tmp_path / "root").mkdir()
    for name in folders:
        (tmp_path / "root" / name).mkdir()
    summary = made.judged(scan_root(tmp_path / "root"))
    errors = [f.message for r in summary.results for f in r.findings if f.severity == "ERROR"]
    cause = ["empty directory"] * 3
    if not folders:
        cause = [f"no folder {name}, expected train, val, test" for name in schema.SPLITS]
    assert errors == cause and summary.exit_code == 10
    told = str(summary.error())
    assert ("Put its files there" if folders else "Name the folder that holds") in told


def test_a_store_that_tells_no_times_is_read_each_time(root, tmp_path, made):
    """No key, so nothing is remembered; the record of the root is held to what was hashed."""
    memory = fsspec.filesystem("memory")
    try:
        memory.put(str(root), "/stamps", recursive=True)
        source = FileSource("memory://stamps", parquet.ParquetFormat(), tmp_path / "cache")
        assert set(source.keys().values()) == {None}
        scan = scan_files(source, workers=1, progress=False)
        assert made.judged(scan).all_passed and len(source.unhashed()) == 12
    finally:
        memory.store.clear()
        memory.pseudo_dirs[:] = [""]
