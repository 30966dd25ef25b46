"""What the mutations found, each once more by itself: numbers no column of float32 holds, footers
that pyarrow's own objects die of, rows that are not there."""

from __future__ import annotations

import io
import json
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lensjax.checks.catalogues import check_anchors
from lensjax.checks.scan import reach_px
from lensjax.checks.sky import chord, repeats, unit_vectors
from lensjax.curate.table import MetadataTable
from lensjax.data.files import FileSource
from lensjax.data.npz import npy_header
from lensjax.data.parquet import ParquetFormat
from lensjax.data.parquet_footer import read_footer
from lensjax.data.paths import open_filesystem
from lensjax.data.rows import host_ids
from lensjax.gates.protocol import parse_protocol
from lensjax.schema import LensjaxError
from tests.fuzz import corpus, thrift


@pytest.fixture
def read(tmp_path):
    """Reads a file as the one of a root: (severity, code, where, message) of what is wrong."""

    def reader(data: bytes) -> list[tuple[str, int, str, str]]:
        (tmp_path / "root" / "train").mkdir(parents=True)
        (tmp_path / "root" / "train" / "a.parquet").write_bytes(data)
        findings = []
        source = FileSource(str(tmp_path / "root"), ParquetFormat(), tmp_path / "cache")
        source.read("train", findings)
        mine = [x for x in findings if not x.message.startswith("no folder")]
        return [(x.severity, int(x.code), x.where, x.message) for x in mine if x.severity != "NOTE"]

    return reader


def changed(**columns) -> bytes:
    """The corpus's table with other columns (None: without it)."""
    table = corpus.parquet_table()
    for name, values in columns.items():
        place = table.column_names.index(name)
        table = table.remove_column(place)
        if values is not None:
            table = table.add_column(place, name, values)
    return corpus.parquet(table)


@pytest.mark.parametrize("name", ["theta_e_arcsec", "ebv", "psfdepth_r", "pixel_scale_arcsec"])
@pytest.mark.parametrize("value", [1e308, -1e39, np.inf])
def test_a_number_beyond_float32_is_the_rows_fault(read, name, value):
    """Once a warning of numpy on the user's screen, and inf in the table."""
    found = read(changed(**{name: pa.array([1.0, value])}))
    known = {"psfdepth_r": "psf_depth"}.get(name, name)
    assert ("QUARANTINE", 10, "train/a.parquet row 1",
            f"{known} is {value:g}: not finite in single precision") in found  # fmt: skip


def test_how_far_an_arc_may_reach_is_asked_of_any_numbers():
    names = ("theta_e_arcsec", "psf_fwhm_arcsec", "pixel_scale_arcsec")
    numbers = dict.fromkeys(names, np.array([1e308, 0.0, -np.inf, np.nan]))
    assert len(reach_px(numbers, np.arange(4))) == 4


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (pa.list_(pa.string()), "list<element: string>, expected text"),
        (pa.timestamp("ns"), "timestamp[ns], expected text"),
    ],
)
def test_words_are_text(read, kind, what):
    ((_, code, _, message),) = read(changed(brickname=pa.nulls(corpus.ROWS, kind)))
    assert code == 10 and message == f"column 'brickname' is {what}"


def test_a_column_twice_is_named(read):
    table = corpus.parquet_table()
    out = io.BytesIO()
    pq.write_table(table.append_column("ra", table["dec"]), out)
    ((_, code, where, message),) = read(out.getvalue())
    assert (code, where, message) == (10, "train/a.parquet", "column 'ra' is there twice")


def _with_rows(rows: int, *, of_group: int | None = None) -> bytes:
    """A file of two rows that says it has others."""
    data = corpus.parquet(corpus.parquet_table())
    first = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    tree, _ = thrift.read_struct(data, first)
    group = thrift.get(tree, 4).entries[0].value
    for fields, value in ((tree, rows), (group, rows if of_group is None else of_group)):
        next(field for field in fields if field.id == 3).value = value
    made = thrift.write_struct(tree)
    return data[:first] + made + len(made).to_bytes(4, "little") + b"PAR1"


@pytest.mark.parametrize(
    ("data", "code", "what"),
    [
        (_with_rows(3), 10, "2 values in 3 rows"),
        (_with_rows(1), 10, "2 values in 1 rows"),
        (_with_rows(2, of_group=1), 10, "its row groups do not hold the 2 rows that it claims"),
        (_with_rows(-2), 10, "its row groups do not hold the -2 rows that it claims"),
        (_with_rows(10**9), 17, "claims 1000000000 rows in"),
    ],
)
def test_rows_that_a_footer_makes_up_are_no_rows(read, data, code, what):
    """Once arrays of different lengths, or rows of zeros that nothing was wrong with."""
    ((_, found, _, message),) = read(data)
    assert found == code and what in message


def test_footers_of_pyarrow_are_read_alike():
    """Our own reading of a footer against pyarrow's, of sound files."""
    for data in corpus.parquet_files():
        footer, theirs = read_footer(io.BytesIO(data)), pq.read_metadata(pa.BufferReader(data))
        assert (footer.rows, footer.size) == (theirs.num_rows, len(data))
        assert len(footer.groups) == theirs.num_row_groups
        for k, group in enumerate(footer.groups):
            other = theirs.row_group(k)
            assert group.rows == other.num_rows and len(group.chunks) == other.num_columns
            for j, chunk in enumerate(group.chunks):
                column, kind = other.column(j), theirs.schema.column(j)
                first = [column.data_page_offset, column.dictionary_page_offset or 2**62]
                assert chunk.start == min(first)
                assert chunk.end == chunk.start + column.total_compressed_size
                assert chunk.values == column.num_values
                assert chunk.name == column.path_in_schema.split(".")[0]
                assert chunk.flat == (kind.max_repetition_level == 0)


@pytest.mark.parametrize("cut", [0, 1, 7, 8, 20, 200])
def test_a_file_that_ends_too_soon_has_no_footer(cut):
    data = corpus.parquet_files()[0]
    for piece in (data[:cut], data[-cut:] if cut else b""):
        with pytest.raises(LensjaxError) as caught:
            read_footer(io.BytesIO(piece))
        assert caught.value.code == 10


@pytest.mark.parametrize("minimum", [None, [], "many", True, 3])
def test_a_gates_minimum_is_an_object(minimum):
    """Once an AttributeError."""
    document = json.loads(corpus.protocol_files()[0])
    document["gates"]["auroc_test"]["minimum"] = minimum
    with pytest.raises(
        LensjaxError, match=r"gates\.auroc_test\.minimum: must be an object"
    ) as caught:
        parse_protocol(document)
    assert caught.value.code == 2


def test_an_array_of_many_dimensions_is_refused():
    """Once numpy's ValueError: it has none of more than 64."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"1, " * 66 + b"), }\n"
    data = b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(4)
    with pytest.raises(LensjaxError, match="has 66 dimensions") as caught:
        npy_header(data, "the file")
    assert caught.value.code == 17


def catalogue(path, positions) -> str:
    lines = [f"a{k},{ra!r},{dec!r},1.5" for k, (ra, dec) in enumerate(positions)]
    path.write_text("\n".join(["name,ra,dec,theta_e_arcsec", *lines]))
    return str(path)


def test_a_crowd_of_anchors_is_no_catalogue(tmp_path):
    """Once every pair in memory: 3 GB for 3 MB of one row again and again."""
    same = catalogue(tmp_path / "same.csv", [(10.0, -5.0)] * 20_000)
    outcome = check_anchors(same, minimum=1, min_theta_e_arcsec=0.5)
    assert outcome.counts["repeated"] == 19_999 and outcome.counts["usable"] == 1
    near = catalogue(tmp_path / "near.csv", [(10.0 + 1e-9 * k, -5.0) for k in range(5_000)])
    (found,) = check_anchors(near, minimum=1, min_theta_e_arcsec=0.5).findings
    assert (found.severity, found.code) == ("ERROR", 10)
    assert found.message.startswith("more than 10,000,000 pairs of rows within 5 arcsec")


def test_repeats_are_those_near_one_before():
    """Against every pair of 300 rows, some of them at the same place."""
    rng = np.random.default_rng(3)
    ra = 10 + rng.integers(0, 200, 300) / 3600
    dec = rng.integers(0, 200, 300) / 3600
    vectors = unit_vectors(ra, dec)
    near = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1) <= chord(5.0)
    expected = np.array([near[k, :k].any() for k in range(300)])
    assert 20 < expected.sum() < 280
    np.testing.assert_array_equal(repeats(ra, dec, 5.0), expected)
    assert not len(repeats(ra[:0], dec[:0], 5.0))


def test_a_crowd_of_hosts_is_told():
    with pytest.raises(LensjaxError, match="pairs of different positions within") as caught:
        host_ids(10.0 + 1e-9 * np.arange(5_000), np.zeros(5_000))
    assert caught.value.code == 10
    host, names = host_ids(np.full(5_000, 10.0), np.zeros(5_000))
    assert not host.any() and len(names) == 1


def test_a_table_whose_words_are_no_numbers_is_named(tmp_path):
    """Once pyarrow's own error: the first look at the names does not reach so far."""
    path = tmp_path / "table.csv"
    path.write_bytes(b"x" * 70_000 + b",ra\n1,word\n")
    with pytest.raises(LensjaxError) as caught:
        MetadataTable(*open_filesystem(str(path)))
    assert caught.value.code == 10 and "table.csv" in str(caught.value)


def test_long_lines_of_a_catalogue_are_measured_in_one_pass(tmp_path):
    """Once a search that began anew at every byte: 34 s for 2.4 MB of lines just short enough."""
    path = tmp_path / "anchors.csv"
    path.write_bytes(b"name,ra,dec,theta_e_arcsec\n" + 40 * (b"x" * 65_000 + b"\n"))
    begun = time.process_time()
    outcome = check_anchors(str(path), minimum=1, min_theta_e_arcsec=0.5)
    assert time.process_time() - begun < 1.0
    assert "fields" in outcome.findings[0].message
    path.write_bytes(b"x" * 65_537)
    assert check_anchors(str(path), minimum=1, min_theta_e_arcsec=0.5).findings[0].code == 17
