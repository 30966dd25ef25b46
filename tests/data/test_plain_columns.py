"""Stamps in Parquet that are no npz: bytes of one size, flat lists, nested lists. Whatever the
form, the pixels are the same; a form that is none is named by column or by row."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lensjax.data.stampset import content_digest
from lensjax.schema import ExitCode, LensjaxError

FIRST, LAST = (3, 64, 64), (64, 64, 3)
SHAPES = {FIRST: "3,64,64", LAST: "64, 64, 3"}


def arranged(pixels, shape):
    """[n, 3, 64, 64] with the bands first or last."""
    return np.ascontiguousarray(pixels if shape == FIRST else np.moveaxis(pixels, 1, -1))


def raw(pixels):
    return pa.array([one.tobytes() for one in pixels], pa.binary(4 * pixels[0].size))


def flat(pixels):
    return pa.array([one.ravel() for one in pixels], pa.list_(pa.float32()))


def fixed_flat(pixels):
    return pa.FixedSizeListArray.from_arrays(pa.array(pixels.ravel()), pixels[0].size)


def nested(pixels):
    return pa.array([one.tolist() for one in pixels], pa.list_(pa.list_(pa.list_(pa.float32()))))


def fixed_nested(pixels):
    array = pa.array(pixels.ravel())
    for side in pixels.shape[:0:-1]:
        array = pa.FixedSizeListArray.from_arrays(array, side)
    return array


def large_nested(pixels):
    kind = pa.large_list(pa.large_list(pa.large_list(pa.float32())))
    return pa.array([one.tolist() for one in pixels], kind)


FORMS = {
    form.__name__: form for form in (raw, flat, fixed_flat, nested, fixed_nested, large_nested)
}


@pytest.fixture
def plain_set(small_set):
    """small_set with few rows, and `write(form, shape)`."""
    for split, columns in small_set.columns.items():
        for name, values in columns.items():
            columns[name] = values[:4]
        small_set.pixels[split] = tuple(x[:4] for x in small_set.pixels[split])
    return small_set


def write(plain_set, form, shape=FIRST, metadata=True, change=None):
    for split, columns in plain_set.columns.items():
        for name, pixels in zip(
            ("stamp_npz", "ctrl_stamp_npz"), plain_set.pixels[split], strict=True
        ):
            columns[name] = form(arranged(pixels, shape))
        if change and split == "train":
            change(columns)
    told = {"stamp_shape": SHAPES[shape]} if metadata is True else metadata
    return plain_set.write(metadata=told or None)


def digests(open_parquet, root):
    return {
        split: content_digest(open_parquet(root).read(split, None))
        for split in ("train", "val", "test")
    }


def of_blobs(plain_set, packing):
    for split, columns in plain_set.columns.items():
        for name, pixels in zip(
            ("stamp_npz", "ctrl_stamp_npz"), plain_set.pixels[split], strict=True
        ):
            columns[name] = [packing(one) for one in pixels]
    return plain_set.write()


def test_every_form_gives_the_same_stamps(plain_set, open_parquet, packer, tmp_path):
    def bands(one):
        return {f"image_{band}": one[k] for k, band in enumerate("grz")}

    npz = digests(open_parquet, of_blobs(plain_set, lambda one: packer(bands(one))))
    packings = {
        "gzip": lambda one: gzip.compress(packer(bands(one))),
        "compressed": lambda one: packer(bands(one), compressed=True),
        "legacy": lambda one: packer({"img": one}),
        "big-endian": lambda one: packer({"img": one.astype(">f4")}),
    }
    for name, packing in packings.items():
        assert digests(open_parquet, of_blobs(plain_set, packing)) == npz, name
    for name, form in FORMS.items():
        for shape in SHAPES:
            is_nested = name.endswith("nested")
            root = write(plain_set, form, shape, metadata=None if is_nested else True)
            assert digests(open_parquet, root) == npz, (name, shape)


def test_the_shape_told_is_the_shape_read(plain_set, open_parquet):
    """The control: bytes of bands last, said to be bands first, are other stamps."""
    told = write(plain_set, raw, LAST)
    right = digests(open_parquet, told)
    wrong = write(plain_set, raw, LAST, metadata={"stamp_shape": "3,64,64"})
    assert digests(open_parquet, wrong) != right


def failure(open_parquet, root):
    with pytest.raises(LensjaxError) as caught:
        open_parquet(root).read("train", None)
    assert caught.value.code == ExitCode.DATA_INVALID
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (pa.binary(49_148), "fixed_size_binary[49148], expected 49152 bytes"),
        (pa.list_(pa.float64()), "list<element: double>, expected binary"),
        (pa.list_(pa.list_(pa.float32())), "expected binary (the bytes of an npz), 49152 raw"),
        (pa.string(), "string, expected binary"),
        (pa.float32(), "float, expected binary"),
    ],
)
def test_a_column_of_another_kind_is_named(plain_set, open_parquet, kind, told):
    def change(columns):
        columns["ctrl_stamp_npz"] = pa.nulls(4, kind)

    error = failure(open_parquet, write(plain_set, raw, change=change))
    assert "train/train-000.parquet: column 'ctrl_stamp_npz' is " in error and told in error


@pytest.mark.parametrize("form", [raw, flat, fixed_flat])
@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        (None, "is not there"),
        ({"stamp_shape": "64,3,64"}, "is '64,3,64'"),
        ({"stamp_shape": b"\xff"}, "expected 3,64,64 or 64,64,3"),
    ],
)
def test_a_shape_that_is_not_told_is_not_guessed(plain_set, open_parquet, form, metadata, told):
    error = failure(open_parquet, write(plain_set, form, metadata=metadata))
    assert "stamp_shape" in error and told in error and "3,64,64 or 64,64,3" in error


def replaced(row, value):
    """The column with one other value, as lists of any length can be."""

    def change(columns):
        kind = columns["stamp_npz"].type
        values = columns["stamp_npz"].to_pylist()
        values[row] = value(values[row])
        columns["stamp_npz"] = pa.array(values, kind)

    return change


@pytest.mark.parametrize(
    ("form", "value", "told"),
    [
        (flat, lambda x: None, "row 2: stamp_npz is null"),
        (raw, lambda x: None, "row 2: stamp_npz is null"),
        (flat, lambda x: x[:-1], "row 2: 12287 values, expected 12288 (3,64,64)"),
        (flat, lambda x: [], "row 2: 0 values, expected 12288"),
        (flat, lambda x: [None, *x[1:]], "row 2 band g: 1 NaN"),
        (nested, lambda x: None, "row 2: stamp_npz is null"),
        (nested, lambda x: x[:2], "row 2: shape (2, 64, 64), expected (3, 64, 64) or (64, 64, 3)"),
        (nested, lambda x: [p[:63] for p in x], "row 2: shape (3, 63, 64), expected"),
        (nested, lambda x: [x[0][:63], *x[1:]], "row 2: its lists are of several lengths"),
        (nested, lambda x: [x[0], [x[1][0][:9], *x[1][1:]], x[2]], "of several lengths"),
        (nested, lambda x: [None, *x[1:]], "row 2: its lists are of several lengths"),
        (nested, lambda x: [], "row 2: "),
        (nested, lambda x: [[], [], []], "row 2: "),
    ],
)
def test_a_value_of_another_shape_is_named_by_row(plain_set, open_parquet, form, value, told):
    root = write(plain_set, form, change=replaced(2, value))
    assert f"train/train-000.parquet {told}" in failure(open_parquet, root) or (
        told.startswith("of") and told in failure(open_parquet, root)
    )
    findings = []
    made = open_parquet(root).read("train", findings)
    assert [one.severity for one in findings] == ["QUARANTINE"] and len(made) == 6


def test_pixels_are_validated_in_every_form(plain_set, open_parquet):
    for form in FORMS.values():
        plain_set.pixels["train"][1][1, 2, 5, 6] = np.inf
        told = failure(open_parquet, write(plain_set, form))
        assert "train/train-000.parquet row 1 band z (control): 1 +Inf" in told


def test_other_columns_and_row_groups_do_not_matter(plain_set, open_parquet, tmp_path):
    """Slices of a list column have offsets of their own."""
    root = write(plain_set, flat)
    right = digests(open_parquet, root)
    path = root / "train" / "train-000.parquet"
    table = pq.read_table(path)
    pq.write_table(table, path, row_group_size=3)
    assert digests(open_parquet, root) == right
