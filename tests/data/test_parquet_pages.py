"""The bounds on Parquet's footers and pages: whatever a writer does passes, what is not true does
not. (Files that ask for gigabytes: tests/fuzz/test_bombs.py.)"""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lensjax.data import parquet_pages
from lensjax.data.parquet_footer import MAX_FOOTER_BYTES, check_rows, read_footer
from lensjax.data.parquet_pages import check_pages
from lensjax.schema import ExitCode, LensjaxError
from tests.fuzz import thrift

ROWS = 40
REFUSED, INVALID = ExitCode.REFUSED_INPUT, ExitCode.DATA_INVALID


def table(rows=ROWS, value_bytes=20_000):
    """Words, numbers, random bytes and lists; the bytes make a dictionary of 800 kB."""
    rng = np.random.default_rng(1)
    return pa.table(
        {
            "word": ["w" * 200] * rows,
            "name": [f"name-{k}" for k in range(rows)],
            "number": rng.normal(size=rows),
            "constant": np.zeros(rows),
            "whole": pa.array([None, *range(rows - 1)], pa.int8()),
            "blob": [rng.bytes(value_bytes) for _ in range(rows)],
            "list": [rng.normal(size=300).astype(np.float32) for _ in range(rows)],
        }
    )


def written(made, **options):
    out = io.BytesIO()
    pq.write_table(made, out, **options)
    return out.getvalue()


def check(data, columns=None):
    """check_pages of all groups, of `columns` or all."""
    footer = read_footer(io.BytesIO(data))
    names = columns or [chunk.name for chunk in footer.groups[0].chunks]
    check_pages(io.BytesIO(data), footer, range(len(footer.groups)), names)
    return footer


def refusal(data, columns=None):
    with pytest.raises(LensjaxError) as caught:
        check(data, columns)
    return caught.value


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "brotli", "zstd", "lz4"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_whatever_pyarrow_writes_passes(codec, version):
    for options in (
        {},
        {"use_dictionary": False, "write_page_checksum": True},
        {"row_group_size": 7, "write_page_index": True, "data_page_size": 1000},
        {"use_dictionary": False, "column_encoding": {"number": "BYTE_STREAM_SPLIT",
         "whole": "DELTA_BINARY_PACKED", "name": "DELTA_LENGTH_BYTE_ARRAY"}},
    ):  # fmt: skip
        data = written(table(), compression=codec, data_page_version=version, **options)
        footer = check(data)
        assert (footer.rows, footer.size) == (ROWS, len(data))


def test_many_equal_rows_pass():
    """Constant columns pack by a hundred and more, in pages of a megabyte."""
    n, noise = 300_000, np.random.default_rng(0).random(300_000)
    made = pa.table({"number": np.zeros(n), "word": ["w" * 100] * n, "rest": noise})
    for dictionary in (True, False):
        footer = check(written(made, compression="zstd", use_dictionary=dictionary))
        assert footer.rows == n


@pytest.mark.parametrize("max_bytes", [0, 10**6])
def test_long_statistics_in_page_headers_pass(max_bytes):
    """A header of more than 512 bytes is read on."""
    made = pa.table({"word": [c * 900 for c in "abc"]})
    assert check(written(made, use_dictionary=False, data_page_size=1 + max_bytes)).rows == 3


def header_of(data, name, change):
    """`data` with the first page header of a column changed by `change(fields)`; where that makes
    it longer, its page is shorter, and what follows stays where it is."""
    chunk = next(x for x in read_footer(io.BytesIO(data)).groups[0].chunks if x.name == name)
    fields, end = thrift.read_struct(data, chunk.start)
    packed = thrift.get(fields, 3)
    change(fields)
    longer = len(thrift.write_struct(fields)) - (end - chunk.start)
    if thrift.get(fields, 3) == packed:
        put(3, packed - longer)(fields)
    made = thrift.write_struct(fields)
    assert len(made) == end - chunk.start + longer
    return data[: chunk.start] + made + data[end + longer :]


def put(number, value):
    """A change of one field of a header, or of the struct in it that is about the page."""

    def change(fields):
        if number > 10:
            fields, own = thrift.get(fields, 5) or thrift.get(fields, 7), number - 10
        else:
            own = number
        next(field for field in fields if field.id == own).value = value

    return change


@pytest.mark.parametrize(
    ("name", "change", "code", "what"),
    [
        ("blob", put(3, 2**31 - 1), REFUSED, "a page claims 2147483647 bytes"),
        ("blob", put(3, -1), REFUSED, "a page claims -1 bytes"),
        ("blob", put(2, 2**30), REFUSED, "claims to unpack to 1073741824"),
        ("blob", put(2, 3 * 2**26), REFUSED, "claims to unpack to 201326592"),
        ("blob", put(2, 14 * 2**20), REFUSED, "claims to unpack to 14680064"),
        ("number", put(2, 2**21), REFUSED, "40 numbers claims 2097152 bytes"),
        ("number", put(11, 41), REFUSED, "its pages hold 41 values, not 40"),
        ("number", put(11, -3), REFUSED, "a page claims"),
        ("name", put(12, 7), INVALID, "encoding 7 is not read"),
        ("name", put(1, 9), INVALID, "a damaged page header"),
        ("name", put(1, 2), INVALID, "a damaged page header"),
    ],
)
def test_a_page_header_must_be_true(name, change, code, what):
    data = written(table(), use_dictionary=False, compression="snappy")
    error = refusal(header_of(data, name, change), [name])
    assert error.code == code and what in error.what
    assert f"column {name!r} of row group 0" in error.what
    check(header_of(data, name, change), ["constant"])  # what is not read is not asked about


def test_a_field_twice_is_no_header():
    """pyarrow takes the last of two, a check might take the first."""
    data = written(table(), use_dictionary=False)
    twice = header_of(data, "constant", lambda fields: fields.insert(2, fields[1]))
    assert "is there twice" in refusal(twice, ["constant"]).what


def test_large_honest_pages_are_told_how_to_be_smaller(monkeypatch):
    monkeypatch.setattr(parquet_pages, "MAX_PAGE_BYTES", 2**19)
    error = refusal(written(table(), use_dictionary=False), ["blob"])
    assert error.code == INVALID and "write_batch_size" in error.what


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "brotli", "zstd", "lz4"])
def test_a_long_value_in_a_dictionary_is_refused(codec):
    made = table(value_bytes=300_000).slice(0, 3)
    error = refusal(written(made, compression=codec), ["blob"])
    assert error.code == REFUSED and "a value of 300000 bytes" in error.what
    check(written(made, compression=codec, use_dictionary=False))  # once each, it may be long


def test_a_damaged_dictionary_is_named():
    data = bytearray(written(table(), compression="zstd"))
    chunk = next(x for x in read_footer(io.BytesIO(data)).groups[0].chunks if x.name == "blob")
    _, begin = thrift.read_struct(data, chunk.start)
    data[begin : begin + 20] = bytes(20)
    error = refusal(bytes(data), ["blob"])
    assert error.code == INVALID and "its dictionary cannot be unpacked" in error.what


def footer_changed(data, change):
    first = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    fields, _ = thrift.read_struct(data, first)
    change(fields)
    made = thrift.write_struct(fields)
    return data[:first] + made + len(made).to_bytes(4, "little") + b"PAR1"


def chunk_fields(fields, k=0):
    """The column chunk k of the first row group."""
    return thrift.get(thrift.get(fields, 4).entries[0].value, 1).entries[k].value


def elsewhere(fields):
    chunk_fields(fields).insert(0, thrift.Field(1, thrift.BINARY, b"../../etc/passwd"))


def far(fields):
    put(9, 2**40)(thrift.get(chunk_fields(fields), 3))


def fewer(fields):
    columns = thrift.get(thrift.get(fields, 4).entries[0].value, 1)
    columns.entries.pop()
    columns.count -= 1


def bare(fields):
    chunk_fields(fields)[:] = [field for field in chunk_fields(fields) if field.id != 3]


def two_roots(fields):
    thrift.get(fields, 2).entries.insert(0, thrift.get(fields, 2).entries[0])
    thrift.get(fields, 2).count += 1


def other_entries(fields):
    """Lists whose entries are said to be structs: pyarrow would read numbers all the same."""
    encodings = thrift.get(thrift.get(chunk_fields(fields), 3), 2)
    encodings.kind = thrift.I64
    for entry in encodings.entries:
        entry.kind = thrift.I64


@pytest.mark.parametrize(
    ("change", "code", "what"),
    [
        (elsewhere, REFUSED, "column 'word' is said to be in another file"),
        (far, REFUSED, "its pages are said to be in bytes 1099511627776 to"),
        (fewer, INVALID, "6 columns, its schema has 7"),
        (bare, INVALID, "no field 3"),
        (two_roots, INVALID, "damaged footer"),
        (other_entries, INVALID, "a list of"),
        (put(3, ROWS + 1), INVALID, "do not hold the 41 rows"),
        (lambda fields: fields.append(fields[1]), INVALID, "field 2 is there twice"),
    ],
)
def test_a_footer_must_be_true(change, code, what):
    error = refusal(footer_changed(written(table(), use_dictionary=False), change), ["word"])
    assert error.code == code and what in error.what


def test_a_long_footer_is_told_how_to_be_shorter():
    data = written(table())
    filler = [thrift.Field(100, thrift.BINARY, bytes(MAX_FOOTER_BYTES))]
    error = refusal(footer_changed(data, lambda fields: fields.extend(filler)))
    assert error.code == REFUSED and "write larger row groups, or more files" in error.what


def test_rows_that_bytes_do_not_explain():
    footer = read_footer(io.BytesIO(written(pa.table({"x": np.zeros(100)}))))
    check_rows(footer, 0)
    with pytest.raises(LensjaxError, match="claims 100 rows") as caught:
        check_rows(footer, 256)
    assert caught.value.code == REFUSED
