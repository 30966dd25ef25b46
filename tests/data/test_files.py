"""The source of a user's files, whatever their format: what it lists, hashes, joins and bins."""

import dataclasses
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lensjax import schema
from lensjax.data import files as module
from lensjax.data.files import FileSource
from lensjax.data.formats import KINDS, LENS
from lensjax.data.parquet import ParquetFormat
from lensjax.data.record import FILE, make_record, write_record
from lensjax.data.stampset import content_digest
from lensjax.schema import ExitCode, LensjaxError


def rewrite(path, **columns):
    table = pq.read_table(path)
    for name, values in columns.items():
        table = table.drop_columns([name]) if name in table.column_names else table
        table = table.append_column(name, pa.array(values))
    pq.write_table(table, path)


# -- files and digests --------------------------------------------------------------------------


def test_every_file_of_the_splits_is_listed_by_name(small_set, open_parquet):
    root = small_set.write(files=2)
    (root / "train" / ".hidden").touch()
    (root / "val" / "deep").mkdir()
    (root / "val" / "deep" / "x").touch()
    (root / "notes.txt").touch()  # of no split
    (root / FILE).write_text("{}")
    files = open_parquet(root).files
    shards = [f"{split}/{split}-{k:03d}.parquet" for split in schema.SPLITS for k in (0, 1)]
    assert list(files) == sorted([*shards, "train/.hidden", "val/deep/x"])
    assert all(path == f"{root}/{name}" for name, path in files.items())


def test_a_folder_that_cannot_be_read_is_named(small_set, open_parquet, shut):
    root = small_set.write()
    shut("/val")
    for asked in (FileSource.digest, lambda source: source.listing):
        with pytest.raises(LensjaxError, match="cannot be read: Permission denied") as caught:
            asked(open_parquet(root))
        assert (caught.value.code, caught.value.where) == (ExitCode.RESOURCE, f"{root}/val")


def test_a_digest_is_of_all_of_them_and_known_next_time(small_set, open_parquet, monkeypatch):
    root = small_set.write()
    source = open_parquet(root)
    assert sorted(source.unhashed()) == sorted(source.files.values())
    first = source.digest()
    assert open_parquet(root).unhashed() == []
    monkeypatch.setattr("lensjax.data.digests.hash_file", None)  # nothing is hashed again
    assert open_parquet(root).digest() == first
    (root / "train" / ".hidden").touch()  # one more file is another set
    monkeypatch.undo()
    assert open_parquet(root).digest() != first


def test_the_digest_is_of_the_format_and_what_it_was_told(small_set, tmp_path):
    root = str(small_set.write())
    forms = (ParquetFormat(), Kinds())
    assert len({FileSource(root, form, tmp_path).digest() for form in forms}) == 2


def test_a_file_that_cannot_be_read_is_named(small_set, open_parquet, monkeypatch):
    root = small_set.write()

    def failing(filesystem, path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(module, "keyed_hash", failing)
    digests = open_parquet(root).file_digests()
    assert digests["test/test-000.parquet"] == "unreadable: Input/output error"


def test_keys_change_with_the_file_and_the_record_has_a_digest(small_set, open_parquet):
    root = small_set.write()
    source = open_parquet(root)
    before = source.keys()
    assert source.record is None and source.record_digest() is None
    path = root / "val" / "val-000.parquet"
    status = path.stat()
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = source.keys()
    assert [name for name in before if before[name] != after[name]] == ["val/val-000.parquet"]
    write_record(source.filesystem, source.root, make_record(source.file_digests(), {}))
    first = open_parquet(root).record_digest()
    write_record(source.filesystem, source.root, make_record({}, {}))
    assert None not in (first, open_parquet(root).record) and first != source.record_digest()


def test_a_link_out_of_the_root_is_refused(small_set, open_parquet, tmp_path, monkeypatch):
    """S5: whoever may write into the root could have any file read."""
    root = small_set.write()
    (root / "val").rename(tmp_path / "elsewhere")
    (root / "val").symlink_to(tmp_path / "elsewhere")
    source = open_parquet(root)
    with pytest.raises(LensjaxError, match="link that leads out of the data root") as caught:
        source.read("val", None)
    assert caught.value.code == ExitCode.REFUSED_INPUT
    assert caught.value.where == "val/val-000.parquet"
    assert len(source.read("test", None)) == 8  # another split's fault
    monkeypatch.setattr(FileSource, "_links", lambda self: [])
    assert len(open_parquet(root).read("val", None)) == 8  # the guard off


def test_a_root_that_is_a_link_itself_is_no_fault(small_set, open_parquet, tmp_path):
    (tmp_path / "link").symlink_to(small_set.write())
    assert len(open_parquet(tmp_path / "link").read("val", None)) == 8


# -- rows -----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Kinds(ParquetFormat):
    """Parquet whose column `kind` says what the stamp of a row is; a control where it is a pair."""

    def metadata(self, filesystem, shard):
        columns, findings = super().metadata(filesystem, shard)
        with filesystem.open(shard.path, "rb") as file:
            columns["kind"] = np.array(pq.read_table(file)["kind"].to_pylist())
        return columns, findings


@pytest.fixture
def open_kinds(small_set, tmp_path):
    """Opens small_set with these kinds of train, in order, repeated; all else are pairs."""

    def opened(*kinds):
        for split, columns in small_set.columns.items():
            given = kinds if split == "train" else ("pair",)
            columns["kind"] = [given[k % len(given)] for k in range(len(columns["ra"]))]
        return FileSource(str(small_set.write()), Kinds(), tmp_path / "cache")

    return opened


def test_stamps_alone_are_lenses_or_negatives_of_a_kind(small_set, open_kinds):
    """Only what is asked for is taken of a row: a stamp alone has no control."""
    made = open_kinds(*KINDS).read("train", None)
    table, kinds = made.table, KINDS
    by_row = {}
    for k, row in enumerate(table["source_row"].tolist()):
        by_row.setdefault(row, []).append(k)
    stamps, controls = small_set.pixels["train"]
    for row in range(20):
        kind = kinds[row % len(kinds)]
        found = {table["negative_kind"][k].item(): k for k in by_row[row]}
        expected = {"pair": {"", "control"}, LENS: {""}}.get(kind, {kind})
        assert set(found) == expected
        first = found["" if kind in ("pair", LENS) else kind]
        np.testing.assert_array_equal(made.stamps[first], np.moveaxis(stamps[row], 0, -1))
        if kind == "pair":
            control = made.stamps[found["control"]]
            np.testing.assert_array_equal(control, np.moveaxis(controls[row], 0, -1))
        label = 1 if kind in ("pair", LENS) else 0
        assert table["label"][first] == label
        assert np.isnan(table["theta_e_arcsec"][first]) == (label == 0)
        ids = {table["stamp_id"][k].item() for k in by_row[row]}
        plain = f"train-{row:03d}"
        assert ids == ({f"{plain}-s", f"{plain}-c"} if kind == "pair" else {plain})


def test_another_kind_is_named(open_kinds):
    source = open_kinds(*["pair"] * 17, "lense", "ring", "ring")
    with pytest.raises(LensjaxError, match="kind is 'lense', expected one of pair, lens, control"):
        source.read("train", None)


def test_an_arc_is_asked_for_where_there_is_one(small_set, open_kinds):
    """theta_E of a ring is unknown, and no fault; of a lens it is one."""
    small_set.columns["train"]["theta_e_arcsec"][:] = np.nan
    findings = []
    open_kinds("ring").read("train", findings)
    assert [one for one in findings if one.severity != "NOTE"] == []
    open_kinds(LENS).read("train", findings)
    assert len([one for one in findings if "theta_e_arcsec is nan" in one.message]) == 20


def test_one_position_is_one_host_in_all_splits(small_set, open_parquet):
    """Rows of a host share its id wherever they are: the checks then see that it is in two."""
    train, test = small_set.columns["train"], small_set.columns["test"]
    train["ra"][3] = train["ra"][4] = test["ra"][0]
    train["dec"][3] = test["dec"][0] + 0.05 / 3600
    train["dec"][4] = test["dec"][0] + 0.5 / 3600
    source = open_parquet(small_set.write())
    ids = {
        (split, row): source.read(split, None).table["lrg_id"][2 * row]
        for split, row in (("train", 3), ("train", 4), ("test", 0))
    }
    assert ids["train", 3] == ids["test", 0] != ids["train", 4]


def test_long_ids_and_names_stay_different(small_set, open_parquet):
    ids = [f"{'x' * 80}{k:02d}" for k in range(20)]
    small_set.columns["train"]["task_id"] = ids
    small_set.columns["train"]["brickname"] = [f"{'b' * 30}{k // 4}" for k in range(20)]
    table = open_parquet(small_set.write()).read("train", None).table
    assert len(set(table["stamp_id"])) == 40 and len(set(table["pair_id"])) == 20
    assert len(set(table["brick"])) == 5
    assert {one[-2:] for one in table["stamp_id"].tolist()} == {"-s", "-c"}


def test_rows_without_an_id_are_named_after_file_and_row(small_set, open_parquet):
    del small_set.columns["train"]["task_id"]
    table = open_parquet(small_set.write(files=2)).read("train", None).table
    assert "train-train-001-0000007" in table["pair_id"] and len(set(table["pair_id"])) == 20


# -- bins -----------------------------------------------------------------------------------------


def test_bins_of_the_files_are_kept_where_all_have_them(small_set, open_parquet):
    small_set.columns["train"]["psf_bin"] = np.arange(20) - 5
    table = open_parquet(small_set.write()).read("train", None).table
    np.testing.assert_array_equal(table["psf_bin"][::2], np.arange(20) - 5)


@pytest.mark.parametrize("split", ["train", "val"])
def test_where_one_file_lacks_them_all_are_made_alike(small_set, open_parquet, split):
    """Bins of two kinds would be one stratum of two meanings."""
    del small_set.columns[split]["depth_bin"]
    source = open_parquet(small_set.write())
    depth = np.concatenate([x["psfdepth_r"] for x in small_set.columns.values()])
    psf = np.concatenate([x["psf_fwhm_used_r"] for x in small_set.columns.values()])
    table = source.read("train", []).table
    for name, column, values in (
        ("depth_bin", "psf_depth", depth),
        ("psf_bin", "psf_fwhm_arcsec", psf),
    ):
        edges = np.quantile(values, (0.25, 0.5, 0.75))
        np.testing.assert_array_equal(table[name], np.searchsorted(edges, table[column]))


def test_unknown_depths_are_in_the_first_bin(small_set, open_parquet):
    """And decide no edge."""
    del small_set.columns["train"]["psfdepth_r"], small_set.columns["train"]["depth_bin"]
    source = open_parquet(small_set.write())
    assert set(source.read("train", []).table["depth_bin"]) == {0}
    assert set(source.read("val", []).table["depth_bin"]) | {0, 3} <= {0, 1, 2, 3}
    known = np.concatenate([small_set.columns[k]["psfdepth_r"] for k in ("val", "test")])
    edges = np.quantile(known, (0.25, 0.5, 0.75))
    np.testing.assert_allclose(source._bin_edges["depth_bin"], edges)


def test_bad_rows_decide_no_edge(small_set, open_parquet):
    for columns in small_set.columns.values():
        del columns["psf_bin"]
    plain = open_parquet(small_set.write())
    small_set.columns["train"]["psf_fwhm_used_r"][17] = -50.0
    spoilt = open_parquet(small_set.write())
    edges = spoilt._bin_edges["psf_bin"]
    assert edges[0] > 1.0 and np.abs(edges - plain._bin_edges["psf_bin"]).max() < 0.1


# -- reading --------------------------------------------------------------------------------------


def test_what_is_read_is_the_same_however_the_rows_are_divided(small_set, open_parquet):
    """But for where each was read."""

    def stripped(source, split):
        made = source.read(split, None)
        table = dict(made.table)
        table["source_file"] = np.zeros_like(table["source_file"])
        table["source_row"] = np.zeros_like(table["source_row"])
        return content_digest(dataclasses.replace(made, table=table))

    one = {split: stripped(open_parquet(small_set.write()), split) for split in schema.SPLITS}
    for path in small_set.root.rglob("*.parquet"):
        path.unlink()
    root = small_set.write(files=4)
    assert {split: stripped(open_parquet(root), split) for split in schema.SPLITS} == one


def test_another_split_s_faults_are_not_this_one_s(small_set, open_parquet):
    small_set.columns["train"]["dec"][17] = 95.0
    root = small_set.write()
    (root / "train" / "x.txt").touch()
    findings = []
    open_parquet(root).read("val", findings)
    assert findings == []
    open_parquet(root).read("train", findings)
    assert len(findings) == 2


def test_rows_that_a_file_no_longer_gives_are_left_out_by_name(
    small_set, open_parquet, monkeypatch
):
    """A file that ends in order, and before the rows that it was listed with: their pixels would be
    whatever the memory held."""
    source = open_parquet(small_set.write())
    rows = len(source.read("val", []))
    monkeypatch.setattr(type(source.form), "blocks", lambda *args: iter(()))
    findings = []
    assert rows > 0 and len(source.read("val", findings)) == 0
    told = [one.message for one in findings if one.severity == "ERROR"]
    assert told and all("it ends there, and was listed with" in message for message in told)
