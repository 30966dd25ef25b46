"""The Parquet source on small real files: what is right is read exactly, what is wrong is named
by file, row and band (D1-D6, D12, D13, D15; S1, S3, S4 through the file)."""

import errno
import gzip
import io
import logging
import os
import subprocess
import sys
import types
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lensjax import schema
from lensjax.data import parquet as parquet_module
from lensjax.data import rows as rows_module
from lensjax.data.paths import open_filesystem
from lensjax.data.rows import host_ids, shorten
from lensjax.data.stampset import content_digest
from lensjax.schema import ExitCode, LensjaxError

MAKER = Path(__file__).parents[3] / "shared" / "tools" / "make_paired_parquet.py"


def failure(source, split="train"):
    with pytest.raises(LensjaxError) as caught:
        source.read(split, None)
    return caught.value


def test_reads_both_members_of_every_row(small_set, open_parquet):
    source = open_parquet(small_set.write(files=3))
    for split, (stamps, controls) in small_set.pixels.items():
        findings = []
        made = source.read(split, findings)
        assert findings == []
        assert (made.split, made.reader, len(made)) == (split, "parquet", 2 * len(stamps))
        assert list(made.table["stamp_id"]) == sorted(made.table["stamp_id"])
        for row, (image, control) in enumerate(zip(stamps, controls, strict=True)):
            pair = np.flatnonzero(made.table["pair_id"] == f"{split}-{row:03d}")
            by_label = {int(made.table["label"][k]): k for k in pair}
            np.testing.assert_array_equal(made.stamps[by_label[1]], np.moveaxis(image, 0, -1))
            np.testing.assert_array_equal(made.stamps[by_label[0]], np.moveaxis(control, 0, -1))


def test_table_says_what_the_columns_say(small_set, open_parquet):
    columns = small_set.columns["train"]
    made = open_parquet(small_set.write(files=3)).read("train", None).table
    arc, control = made["label"] == 1, made["label"] == 0
    for name, given in (
        ("theta_e_arcsec", "theta_e_arcsec"),
        ("arc_snr", "arc_snr"),
        ("psf_fwhm_arcsec", "psf_fwhm_used_r"),
        ("psf_depth", "psfdepth_r"),
        ("ra", "ra"),
        ("psf_bin", "psf_bin"),
    ):
        expected = np.asarray(columns[given]).astype(schema.TABLE_COLUMNS[name])
        np.testing.assert_array_equal(made[name][arc], expected)
    assert np.isnan(made["theta_e_arcsec"][control]).all() and np.isnan(made["ebv"]).all()
    assert set(made["negative_kind"][control]) == {"control"}
    assert set(made["source_file"]) == {f"train/train-{k:03d}.parquet" for k in range(3)}
    assert made["source_row"].max() == 6  # rows count from 0 in each of three files
    assert len(set(made["lrg_id"])) == 20


def test_gzip_big_endian_and_large_binary_are_read_alike(small_set, open_parquet, tmp_path, packer):
    plain = content_digest(open_parquet(small_set.write()).read("train", None))
    for row in range(0, 20, 2):
        given = {name: x.astype(">f4") for name, x in small_set.members(row).items()}
        small_set.put(gzip.compress(packer(given, compressed=True)), row)
    path = small_set.write() / "train" / "train-000.parquet"
    table = pq.read_table(path)
    field = table.schema.get_field_index("ctrl_stamp_npz")
    large = table["ctrl_stamp_npz"].cast("large_binary")
    pq.write_table(table.set_column(field, "ctrl_stamp_npz", large), path, row_group_size=7)
    assert content_digest(open_parquet(small_set.root).read("train", None)) == plain


def set_pixel(value):
    def spoil(given):
        given["image_r"][5, 6] = value

    return spoil


def set_band(value):
    def spoil(given):
        given["image_r"][:] = value

    return spoil


def replace_band(change):
    def spoil(given):
        given["image_r"] = change(given["image_r"])

    return spoil


PIXEL_FAULTS = {
    "D1 NaN": (set_pixel(np.nan), "row 17 band r: 1 NaN"),
    "D2 +Inf": (set_pixel(np.inf), "row 17 band r: 1 +Inf"),
    "D2 -Inf": (set_pixel(-np.inf), "row 17 band r: 1 -Inf"),
    "D2 sentinel": (set_pixel(1e30), "row 17 band r: 1 of the 1e30 sentinel"),
    "D2 fill": (set_pixel(-99), "row 17 band r: 1 of the -99 fill"),
    "range": (set_pixel(2e6), "row 17 band r: 1 beyond 1e+06"),
    "D3": (lambda given: given.pop("image_z"), "row 17 band z: missing band z (has g, r; expected"),
    "D5 shape": (replace_band(lambda x: x[:63]), "row 17 band r: shape (63, 64), expected (64, 64"),
    "D5 int16": (replace_band(lambda x: x.astype("i2")), "row 17 band r: dtype int16, expected"),
    "D5 float64": (replace_band(lambda x: x.astype("f8")), "band r: dtype float64, expected"),
    "D6 zeros": (set_band(0), "row 17 band r: zero variance (constant 0)"),
    "D6 constant": (set_band(4.5), "row 17 band r: zero variance (constant 4.5)"),
}


@pytest.mark.parametrize("name", PIXEL_FAULTS)
@pytest.mark.parametrize("column", ["stamp_npz", "ctrl_stamp_npz"])
def test_one_bad_stamp_is_named_and_its_pair_left_out(
    small_set, open_parquet, packer, name, column
):
    spoil, message = PIXEL_FAULTS[name]
    given = small_set.members()
    spoil(given)
    small_set.put(packer(given), column=column)
    source = open_parquet(small_set.write())
    if column == "ctrl_stamp_npz":
        band, what = message.split(": ", 1)
        message = f"{band} (control): {what}"
    error = failure(source)
    assert error.code == ExitCode.DATA_INVALID
    assert message in str(error) and "train/train-000.parquet" in str(error)
    findings = []
    made = source.read("train", findings)
    told = [(one.severity, one.check, one.code) for one in findings]
    assert told == [("QUARANTINE", "stamps", 10)]  # for a protocol to judge; without one it raises
    assert "train-017" not in made.table["pair_id"] and len(made) == 38
    assert np.isfinite(made.stamps).all()


def test_control_without_validation_a_nan_reaches_training(
    small_set, open_parquet, packer, monkeypatch
):
    given = small_set.members()
    set_pixel(np.nan)(given)
    small_set.put(packer(given))
    monkeypatch.setattr(parquet_module, "validate_planes", lambda planes: [])
    assert np.isnan(open_parquet(small_set.write()).read("train", None).stamps).sum() == 1


def test_every_bad_row_is_reported_not_the_first_alone(small_set, open_parquet, packer):
    for row in (2, 9, 15):
        given = small_set.members(row)
        set_pixel(np.nan)(given)
        set_band(0)(given) if row == 9 else None
        small_set.put(packer(given), row)
    small_set.columns["train"]["stamp_npz"][4] = None
    findings = []
    made = open_parquet(small_set.write(files=2)).read("train", findings)
    assert [one.where for one in findings] == [
        "train/train-000.parquet row 2 band r",
        "train/train-000.parquet row 4",
        "train/train-000.parquet row 9 band r",
        "train/train-001.parquet row 5 band r",
    ]
    assert len(made) == 2 * (20 - 4)


def bomb():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image_g.npy", bytes(32 * 2**20))
    return out.getvalue()


class Canary:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (os.mkdir, (self.path,))


def test_hostile_rows_are_refused(small_set, open_parquet, packer, tmp_path):
    mark = tmp_path / "fired"
    objects = {**small_set.members(), "image_r": np.array([Canary(mark)], dtype=object)}
    twice = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(twice, "w") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("image_g.npy", b"x")
        archive.writestr("image_g.npy", b"y")
    for row, blob in enumerate([bomb(), packer(objects), twice.getvalue(), b"\x80\x04."]):
        small_set.put(blob, row)
    findings = []
    made = open_parquet(small_set.write()).read("train", findings)
    assert [one.code for one in findings] == [ExitCode.REFUSED_INPUT] * 4
    assert not mark.exists() and len(made) == 32
    assert failure(open_parquet(small_set.root)).code == ExitCode.REFUSED_INPUT


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("theta_e_arcsec", np.nan, "theta_e_arcsec is nan: expected a number"),
        ("theta_e_arcsec", -1.0, "theta_e_arcsec is -1: negative"),
        ("arc_snr", np.nan, "arc_snr is nan: expected a number"),
        ("psfdepth_r", np.inf, "psf_depth is inf: not finite"),
        ("psfdepth_r", np.nan, "psf_depth is nan: expected a number"),
        ("psf_fwhm_used_r", 0.0, "psf_fwhm_arcsec is 0: not positive"),
        ("ra", np.nan, "ra is nan: expected a number"),
        ("dec", 95.0, "dec is 95: outside -90..90 degrees"),
        ("pixel_scale_arcsec", np.nan, "pixel_scale_arcsec is nan: not positive"),
        ("psf_bin", 1.5, "psf_bin is 1.5: not a small integer"),
        ("depth_bin", 300, "depth_bin is 300: not a small integer"),
        ("psf_bin", np.nan, "psf_bin is nan: expected a number"),
        ("pixel_scale_arcsec", 0.0, "pixel_scale_arcsec is 0: not positive"),
    ],
)
def test_impossible_numbers_are_named(small_set, open_parquet, name, value, message):
    values = np.asarray(small_set.columns["train"][name], float)
    values[17] = value
    small_set.columns["train"][name] = values
    source = open_parquet(small_set.write())
    error = failure(source)
    assert error.code == ExitCode.DATA_INVALID
    assert f"train/train-000.parquet row 17: {message}" in str(error)
    findings = []
    assert len(source.read("train", findings)) == 38 and len(findings) == 1
    assert len(source.read("test", None)) == 8  # another split's fault is not this one's


def test_arc_snr_shot_is_read_where_a_file_has_it(small_set, open_parquet):
    given = small_set.columns["train"]["arc_snr_shot"] = np.linspace(4, 5, 20)
    given[3] = np.nan  # unknown in one row
    source = open_parquet(small_set.write())
    made, other = (source.read(split, None).table for split in ("train", "test"))
    found = made["arc_snr_shot"]
    np.testing.assert_array_equal(found[made["label"] == 1], given.astype(np.float32))
    assert np.isnan(found[made["label"] == 0]).all()
    assert np.isnan(other["arc_snr_shot"]).all()  # its file has no such column
    given[17] = -1.0
    error = failure(open_parquet(small_set.write()))
    assert "row 17: arc_snr_shot is -1: negative" in str(error)


def test_arc_snr_of_zero_is_sound(small_set, open_parquet):
    small_set.columns["train"]["arc_snr"][3] = 0.0
    made = open_parquet(small_set.write()).read("train", None)
    assert np.nanmin(made.table["arc_snr"]) == 0


def test_a_control_among_the_stamps_is_named(small_set, open_parquet):
    for split, columns in small_set.columns.items():
        columns["is_control"] = [split == "train" and k == 17 for k in range(len(columns["ra"]))]
    error = failure(open_parquet(small_set.write()))
    assert "row 17: is_control is 1: a control where a stamp with an arc is expected" in str(error)


@pytest.mark.parametrize("value", ["", None])
def test_an_empty_brick_is_a_row_s_fault(small_set, open_parquet, value):
    small_set.columns["train"]["brickname"][17] = value
    error = failure(open_parquet(small_set.write()))
    assert "train/train-000.parquet row 17: brickname is empty" in str(error)


@pytest.mark.parametrize("name", ["stamp_npz", "ctrl_stamp_npz"])
def test_missing_stamps_are_named_with_the_nearest(small_set, open_parquet, name):
    columns = small_set.columns["train"]
    columns[name + "_"] = columns.pop(name)
    error = failure(open_parquet(small_set.write()))
    assert error.code == ExitCode.DATA_INVALID
    assert f"train/train-000.parquet: column {name!r} is missing (nearest: '{name}_')" in str(error)


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("ra", "ra"),
        ("dec", "dec"),
        ("brickname", "brickname"),
        ("theta_e_arcsec", "theta_e_arcsec"),
        ("arc_snr", "arc_snr"),
        ("psfdepth_r", "psf_depth"),
        ("psf_fwhm_used_r", "psf_fwhm_arcsec"),
    ],
)
def test_a_usual_column_that_is_missing_is_noted_and_unknown(small_set, open_parquet, name, called):
    """With the nearest name that nothing reads; the checks say what that leaves unproven."""
    columns = small_set.columns["train"]
    columns[name + "_"] = columns.pop(name)
    source, findings = open_parquet(small_set.write(files=2)), []
    made = source.read("train", findings)
    notes = [one for one in findings if "no column" in one.message]
    assert [(one.severity, one.where) for one in notes] == [("NOTE", "train/train-000.parquet")]
    near = f" (nearest: '{name}_')" if called == name or name == "psf_fwhm_used_r" else ""
    assert notes[0].message.startswith(f"no column {called!r} in 2 of 6 files{near}"), notes
    assert notes[0].message.endswith(": unknown") and len(made) == 40
    column = {"brickname": "brick"}.get(called, called)
    values, label = made.table[column], made.table["label"]
    assert (values == "").all() if column == "brick" else np.isnan(values[label == 1]).all()
    others = source.read("val", []).table
    assert (others[column] != "").all() if column == "brick" else np.isfinite(others["ra"]).all()


def test_positions_that_are_unknown_make_every_row_its_own_host(small_set, open_parquet):
    del small_set.columns["train"]["ra"], small_set.columns["train"]["task_id"]
    made = open_parquet(small_set.write(files=2)).read("train", []).table
    assert len(set(made["lrg_id"])) == 20
    for pair in set(made["pair_id"]):
        assert len(set(made["lrg_id"][made["pair_id"] == pair])) == 1


def test_columns_of_another_type_are_named(small_set, open_parquet):
    small_set.columns["train"]["ra"] = ["ten"] * 20
    assert "column 'ra' is string, expected numbers" in str(
        failure(open_parquet(small_set.write()))
    )


def test_d4_swapped_band_set(small_set, open_parquet, monkeypatch):
    small_set.columns["val"]["bandset"] = ["rgz"] * 4
    root = small_set.write()
    error = failure(open_parquet(root), "val")
    assert error.code == ExitCode.DATA_INVALID
    assert "band-order mismatch: bandset 'rgz', expected 'grz'" in str(error)
    monkeypatch.setattr(rows_module, "_band_findings", lambda rows: [])
    assert len(open_parquet(root).read("val", None)) == 8  # the guard off: r is taken for g


def test_d4_swapped_bands_in_file_metadata(small_set, open_parquet):
    error = failure(open_parquet(small_set.write(metadata={"bands": "r,g,z"})))
    assert "band-order mismatch: metadata bands is 'rgz'" in str(error)
    assert error.code == ExitCode.DATA_INVALID
    assert len(open_parquet(small_set.write(metadata={"bands": "[g, r, z]"})).read("val", None))


def test_d12_inverted_splits(small_set, open_parquet, monkeypatch):
    root = small_set.write()
    (root / "val").rename(root / "x")
    (root / "test").rename(root / "val")
    (root / "x").rename(root / "test")
    error = failure(open_parquet(root), "test")
    assert error.code == ExitCode.LEAK
    assert "region_split 'val' in the folder test (4 rows)" in str(error)
    monkeypatch.setattr("lensjax.data.files.folder_findings", lambda rows: [])
    made = open_parquet(root).read("test", None)  # the guard off: val is judged as test
    assert all(name.startswith("val-") for name in made.table["pair_id"])


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_d13_truncated_files(small_set, open_parquet, share):
    path = small_set.write(files=2) / "train" / "train-001.parquet"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    error = failure(open_parquet(small_set.root))
    assert error.code == ExitCode.DATA_INVALID
    assert "train/train-001.parquet: truncated" in str(error)
    findings = []  # the old harm, if nobody looks at the findings: rows are gone
    assert len(open_parquet(small_set.root).read("train", findings)) == 20 and len(findings) == 1


def test_damaged_pages_are_named(small_set, open_parquet):
    path = small_set.write() / "train" / "train-000.parquet"
    column = pq.ParquetFile(path).schema_arrow.get_field_index("stamp_npz")
    start = pq.ParquetFile(path).metadata.row_group(0).column(column).data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)
    error = failure(open_parquet(small_set.root))
    assert error.code == ExitCode.DATA_INVALID and "train/train-000.parquet" in str(error)


def test_not_parquet_and_no_rows(small_set, open_parquet):
    root = small_set.write(files=2)
    (root / "train" / "train-000.parquet").write_text("ra,dec\n1,2\n")
    table = pq.read_table(root / "train" / "train-001.parquet")
    pq.write_table(table.slice(0, 0), root / "train" / "train-001.parquet")
    findings = []
    made = open_parquet(root).read("train", findings)
    assert [one.message for one in findings] == ["not a Parquet file", "0 rows"]
    assert len(made) == 0


@pytest.mark.parametrize(
    ("strays", "message"),
    [
        ([], "train/: empty directory"),
        (["_SUCCESS", "part-0.tmp"], "train/: no *.parquet file (stray: _SUCCESS, part-0.tmp)"),
        (None, "no folder train, expected train, val, test"),
    ],
)
def test_d15_empty_and_missing_folders(small_set, open_parquet, strays, message):
    folder = small_set.write() / "train"
    (folder / "train-000.parquet").unlink()
    for name in strays or []:
        (folder / name).touch()
    if strays is None:
        folder.rmdir()
    error = failure(open_parquet(small_set.root))
    assert error.code == ExitCode.DATA_INVALID and message in str(error)


def test_d15_strays_beside_data(small_set, open_parquet):
    folder = small_set.write() / "train"
    for name in ("_SUCCESS", ".part.crc"):
        (folder / name).touch()
    findings = []
    assert len(open_parquet(small_set.root).read("train", findings)) == 40
    assert [one.severity for one in findings] == ["NOTE", "NOTE"]
    (folder / "part-9.parquet.tmp").touch()
    (folder / "_temporary").mkdir()
    findings = []
    open_parquet(small_set.root).read("train", findings)
    errors = [one.message for one in findings if one.severity == "ERROR"]
    assert len(errors) == 2 and "'_temporary'" in errors[0] and ".tmp" in errors[1]


def test_bins_from_quartiles_of_all_splits_where_missing(small_set, open_parquet):
    for columns in small_set.columns.values():
        del columns["psf_bin"]
    source = open_parquet(small_set.write())
    findings, psf, bins = [], [], []
    for split in schema.SPLITS:
        made = source.read(split, findings).table
        psf.append(made["psf_fwhm_arcsec"])
        bins.append(made["psf_bin"])
    edges = np.quantile(np.concatenate(psf), (0.25, 0.5, 0.75))
    np.testing.assert_array_equal(np.concatenate(bins), np.searchsorted(edges, np.concatenate(psf)))
    assert [(one.severity, "quartiles" in one.message) for one in findings] == [("NOTE", True)] * 3


def test_a_disk_without_room_is_told_of_before_stamps_are_read(
    small_set, open_parquet, monkeypatch
):
    root = small_set.write()
    free = types.SimpleNamespace(free=100_000)
    monkeypatch.setattr("lensjax.data.stampset.shutil.disk_usage", lambda folder: free)
    open_parquet(root).read("val", [])  # within the budget of memory: the disk is not needed
    monkeypatch.setattr("lensjax.data.parquet._decode", None)
    with pytest.raises(OSError, match="MB needed") as caught:
        open_parquet(root, memory_budget_bytes=2**16).read("val", [])
    assert caught.value.errno == errno.ENOSPC


def test_stamps_over_the_budget_are_mapped_and_the_same(small_set, open_parquet, packer, tmp_path):
    given = small_set.members()
    set_pixel(np.nan)(given)
    small_set.put(packer(given))
    root = small_set.write()
    plain, mapped = (
        open_parquet(root, memory_budget_bytes=budget).read("train", [])
        for budget in (2**30, 2**16)
    )
    assert isinstance(mapped.stamps, np.memmap) and not isinstance(plain.stamps, np.memmap)
    assert content_digest(plain) == content_digest(mapped) and len(mapped) == 38
    assert list((tmp_path / "cache").glob("*.npy")) == []  # nameless: nothing to clean up


def test_a_large_row_group_is_streamed(small_set, open_parquet, tmp_path):
    columns = small_set.columns["train"]
    table = pa.table({name: list(values) * 25 for name, values in columns.items()})
    folder = tmp_path / "large" / "train"
    folder.mkdir(parents=True)
    options = {"use_dictionary": False, "compression": "none", "write_batch_size": 16}
    pq.write_table(table, folder / "a.parquet", **options)  # one row group, pages of 1 MiB
    del table
    assert (folder / "a.parquet").stat().st_size > 48e6
    filesystem, root = open_filesystem(str(tmp_path / "large"))
    form = parquet_module.ParquetFormat()
    (shard,), _ = form.list_split(filesystem, root, "train")
    (piece,) = form.pieces(filesystem, shard)
    pool, before, peak, rows = pa.default_memory_pool(), pa.total_allocated_bytes(), 0, 0
    for block in form.blocks(filesystem, shard, piece):
        rows, peak = rows + block.pixels.shape[1], max(peak, pool.bytes_allocated() - before)
    assert rows == 500 and peak < 30e6


def test_digest_follows_names_and_bytes(small_set, open_parquet, tmp_path):
    root = small_set.write(files=2)
    first = open_parquet(root).digest()
    assert open_parquet(root).digest() == first
    path = root / "test" / "test-001.parquet"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    second = open_parquet(root).digest()
    path.rename(path.with_name("test-002.parquet"))
    third = open_parquet(root).digest()
    assert len({first, second, third}) == 3
    (tmp_path / "cache" / "file_digests.json").write_text("{damaged")
    assert open_parquet(root).digest() == third


def test_no_such_root(open_parquet, tmp_path):
    with pytest.raises(LensjaxError) as caught:
        open_parquet(tmp_path / "nowhere")
    assert caught.value.code == ExitCode.USAGE


def test_scheme_paths_open_alike(small_set, open_parquet):
    root = small_set.write()
    made = open_parquet(f"file://{root}").read("val", None)
    assert content_digest(made) == content_digest(open_parquet(root).read("val", None))


def test_notes_are_logged_where_no_list_is_given(small_set, open_parquet, caplog):
    (small_set.write() / "val" / "_SUCCESS").touch()
    with caplog.at_level(logging.INFO):
        open_parquet(small_set.root).read("val", None)
    assert "_SUCCESS" in caplog.text


def test_hosts_are_not_split_by_rounding():
    arcsec = 1 / 3600
    ra = np.array([359.99999, 10.00005, 10.00005 + 0.02 * arcsec, 10.0, 10.0 + 1 * arcsec, -1e-5])
    dec = np.array([5.0, -3.0, -3.0 + 0.02 * arcsec, 40.0, 40.0, 5.0])

    def ids_of(ra, dec):
        host, names = host_ids(ra, dec)
        return names[host]

    ids = ids_of(ra, dec)
    assert ids[1] == ids[2] and ids[0] == ids[5]
    assert len(set(ids)) == 4
    np.testing.assert_array_equal(ids_of(ra[::-1], dec[::-1])[::-1], ids)


def test_long_ids_stay_different():
    a, b = "x" * 80 + "a", "x" * 80 + "b"
    assert len(shorten(a, 62)) == 62 and shorten(a, 62) != shorten(b, 62)
    assert shorten("short", 62) == "short"


@pytest.mark.skipif(not MAKER.exists(), reason=f"NOT PROVEN: {MAKER} is absent")
def test_files_of_the_independent_maker(open_parquet, tmp_path):
    root = tmp_path / "made"
    counts = ["--train", "6", "--val", "2", "--test", "2", "--files", "2", "--workers", "1"]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(MAKER), "--out", str(root), *counts, "--per-brick", "3"]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    findings = []
    made = open_parquet(root).read("train", findings)
    assert findings == [] and len(made) == 12
    for path in sorted((root / "train").glob("*.parquet")):
        for _, row in pd.read_parquet(path).iterrows():
            k = list(made.table["stamp_id"]).index(f"{row.task_id}-s")
            with np.load(io.BytesIO(row.stamp_npz)) as stored:
                for band, name in enumerate(("image_g", "image_r", "image_z")):
                    np.testing.assert_array_equal(made.stamps[k, :, :, band], stored[name])
            assert made.table["theta_e_arcsec"][k] == np.float32(row.theta_e_arcsec)


def test_blocks_come_in_order_and_what_cannot_be_decoded_is_zero(
    small_set, open_parquet, packer, monkeypatch
):
    """As a Format promises: whoever measures a block needs no list of bad rows."""
    monkeypatch.setattr(parquet_module, "BATCH_ROWS", 8)
    blob = bytearray(small_set.columns["train"]["stamp_npz"][3])
    blob[9_000] ^= 1  # a pixel: the CRC is of another
    given = small_set.members(12)
    given["image_r"] = given["image_r"][:63]
    small_set.put(bytes(blob), 3)
    small_set.put(packer(given), 12, column="ctrl_stamp_npz")
    small_set.columns["train"]["stamp_npz"][17] = None
    source = open_parquet(small_set.write())
    (shard,), _ = source.form.list_split(source.filesystem, source.root, "train")
    (piece,) = source.form.pieces(source.filesystem, shard)
    blocks = list(source.form.blocks(source.filesystem, shard, piece))
    assert [(block.first, block.pixels.shape[1]) for block in blocks] == [(0, 8), (8, 8), (16, 4)]
    pixels = np.concatenate([block.pixels for block in blocks], axis=1)
    for member, row in ((0, 3), (1, 12), (0, 17)):
        assert not pixels[member, row].any()
        assert pixels[1 - member, row].any()
    for member, bad in ((0, (3, 17)), (1, (12,))):
        sound = np.setdiff1d(np.arange(20), bad)
        expected = small_set.pixels["train"][member][sound]
        np.testing.assert_array_equal(pixels[member, sound], expected)
    assert [row for block in blocks for row, _ in block.faults] == [3, 12, 17]
