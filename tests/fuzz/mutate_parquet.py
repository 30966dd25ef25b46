"""Mutations of Parquet files: of their bytes, of the Thrift trees of footers and page headers, and
of the tables before they are written.

Not of pages' contents, except as bytes. A mutated footer mostly has its true length again, so that
the rest of it is read.

    >>> file_mutated(random.Random("0 17"), data, others=[data])
    >>> table_mutated(random.Random("0 17"), table, blobs=[blob])
"""

from __future__ import annotations

import base64
import io
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.fuzz import mutate, mutate_zip, thrift
from tests.fuzz.mutate_text import ESCAPES, WORDS

STAMPS = ("stamp_npz", "ctrl_stamp_npz")
_INTEGERS = (
    *(0, 1, -1, 2, 3, 7, 127, 128, 255, 2**15, 2**16, 2**20, 2**27, 2**31 - 1, 2**31, -(2**31)),
    *(2**32 - 1, 2**40, 2**62, 2**63 - 1, -(2**63)),
)


def file_mutated(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """The bytes of a file that was `data` before."""
    length = int.from_bytes(data[-8:-4], "little")
    footer = (len(data) - 8 - length, len(data) - 8)
    kind = rng.random()
    if kind < 0.3:
        return mutate.mutated(rng, data, others, [footer, *_headers(data)])
    if kind < 0.75:
        tree, _ = thrift.read_struct(data, footer[0])
        for _ in range(mutate.how_many(rng)):
            _node(rng, tree)
        made = thrift.write_struct(tree)
        size = (
            len(made)
            if rng.random() < 0.93
            else rng.choice((0, 1, len(made) * 2, 2**31, 2**32 - 1))
        )
        return data[: footer[0]] + made + size.to_bytes(4, "little") + b"PAR1"
    first, _ = rng.choice(_headers(data) or [(4, 5)])
    tree, end = thrift.read_struct(data, first)
    for _ in range(mutate.how_many(rng)):
        _node(rng, tree)
    made = thrift.write_struct(tree)
    if rng.random() < 0.5:  # the pages behind it stay where the footer says
        made = made[: end - first].ljust(end - first, b"\0")
    return data[:first] + made + data[end:]


def _headers(data: bytes) -> list[tuple[int, int]]:
    """Where the first page headers of each column begin and end, as the footer says."""
    length = int.from_bytes(data[-8:-4], "little")
    footer, _ = thrift.read_struct(data, len(data) - 8 - length)
    found = []
    for group in thrift.get(footer, 4).entries:
        for chunk in thrift.get(group.value, 1).entries:
            told = thrift.get(chunk.value, 3)
            for first in {thrift.get(told, 9), thrift.get(told, 11) or 0} - {0}:
                found.append((first, thrift.read_struct(data, first)[1]))
    return sorted(found)


def _node(rng: random.Random, tree: list[thrift.Field]) -> None:
    """One field of a tree changed, dropped, doubled, or a list's number made a lie."""
    nodes = thrift.walk(tree)
    if not nodes:
        return
    holder, k = rng.choice(nodes)
    field, kind = holder[k], rng.random()
    if kind < 0.08:
        del holder[k]
    elif kind < 0.14:
        holder.insert(k, field)
    elif field.kind in (thrift.I16, thrift.I32, thrift.I64):
        field.value = rng.choice((*_INTEGERS, field.value + 1, field.value - 1, field.value * 1000))
    elif field.kind == thrift.BINARY:
        text = rng.choice(WORDS).encode("utf-8", "replace")
        field.value = rng.choice((text, b"", rng.randbytes(9), field.value * 1000))
    elif field.kind in (thrift.LIST, thrift.SET):
        if kind < 0.5:
            field.value.count = rng.choice((0, 1, 14, 15, 200, 10_000, 1_000_000, 2**31 - 1, 2**32))
        else:
            field.value.entries *= rng.choice((0, 2, 50))
            field.value.count = len(field.value.entries)
    elif field.kind == thrift.STRUCT and kind < 0.6:
        field.value = []
    else:
        field.id = rng.choice((0, 1, 2, 15, 16, 2**15 - 1))


# -- tables ---------------------------------------------------------------------------------------


def table_mutated(rng: random.Random, table: pa.Table, blobs: Sequence[bytes]) -> bytes:
    """The bytes of a file of a table that was `table` before; `blobs` may become stamps."""
    repeated = rng.random() < 0.1
    if repeated:
        table = _repeated(rng, blobs)
    else:
        for _ in range(mutate.how_many(rng)):
            table = rng.choice(_TABLES)(rng, table, blobs)
    if rng.random() < 0.25:
        metadata = {rng.choice(_KEYS): rng.choice(_metadata_values(rng))}
        table = table.replace_schema_metadata(metadata)
    options: dict[str, Any] = {
        "compression": rng.choice(("snappy", "none", "zstd", "gzip", "lz4")),
        "use_dictionary": repeated or rng.random() < 0.5,
        "dictionary_pagesize_limit": 2**26,  # or what is repeated would be written out
        "data_page_version": rng.choice(("1.0", "2.0")),
        "write_page_checksum": rng.random() < 0.5,
        "row_group_size": 2**20 if repeated else rng.choice((1, 2, 1000)),
        "store_schema": rng.random() < 0.8,
    }
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    made = out.getvalue()
    return file_mutated(rng, made, [made]) if rng.random() < 0.1 else made


_KEYS = (b"bands", b"bandset", b"stamp_shape", b"pandas", b"ARROW:schema", b"\xff\x1b[31m", b"")


def _metadata_values(rng: random.Random) -> tuple[bytes, ...]:
    pickle = b"\x80\x04\x8c\x02os\x8c\x06getcwd\x93)R."
    extension = pa.schema([("x", pa.int32())]).serialize().to_pybytes()
    return (
        *(
            b"",
            b"grz",
            b"zrg",
            b"64,64,3",
            b"3,64,64",
            b"-1,-1",
            b"\xff\xfe",
            b"a" * 100_000,
            pickle,
        ),
        *(base64.b64encode(pickle), base64.b64encode(extension), rng.randbytes(50)),
        *(json.dumps({"columns": [], "index_columns": [pickle.hex()]}).encode(), b"[" * 10_000),
        rng.choice(ESCAPES).encode(),
    )


def _replace(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


def _some_column(rng: random.Random, table: pa.Table) -> str:
    return rng.choice(table.column_names)


def _columns(rng: random.Random, table: pa.Table, blobs: Sequence[bytes]) -> pa.Table:
    """Dropped, renamed, doubled, in another order, or more of them."""
    del blobs
    name, kind = _some_column(rng, table), rng.randrange(5)
    if kind == 0 and table.num_columns > 1:
        return table.remove_column(rng.randrange(table.num_columns))
    if kind == 1:
        other = rng.choice((name.upper(), name + ".x", rng.choice(WORDS), _some_column(rng, table)))
        other = other.encode("utf-8", "replace").decode()
        return table.rename_columns([other if x == name else x for x in table.column_names])
    if kind == 2:
        return table.append_column(name, table.column(rng.randrange(table.num_columns)))
    if kind == 3:
        return table.select(rng.sample(range(table.num_columns), table.num_columns))
    extra = pa.array([1] * table.num_rows)
    for k in range(rng.choice((1, 30, 300))):
        table = table.append_column(f"extra{k}", extra)
    return table


def _kinds(rng: random.Random, table: pa.Table, blobs: Sequence[bytes]) -> pa.Table:
    """A column of another type, its values lost where they cannot be cast."""
    del blobs
    name = _some_column(rng, table)
    if table.column_names.count(name) > 1:
        return table
    kinds = (
        *(pa.int8(), pa.int64(), pa.uint64(), pa.float32(), pa.float16(), pa.bool_(), pa.string()),
        *(pa.large_string(), pa.binary(), pa.large_binary(), pa.string_view(), pa.binary_view()),
        *(pa.timestamp("ns"), pa.date32(), pa.time64("us"), pa.decimal128(20, 3), pa.null()),
        *(pa.list_(pa.int32()), pa.struct([("a", pa.int32())]), pa.map_(pa.string(), pa.int8())),
        *(pa.binary(7), pa.binary(49152), pa.list_(pa.float32()), pa.large_list(pa.float32())),
        *(pa.list_(pa.float32(), 12288), pa.dictionary(pa.int8(), pa.string()), pa.uuid()),
        pa.list_(pa.list_(pa.list_(pa.float32()))),
    )
    kind = rng.choice(kinds)
    try:
        return _replace(table, name, table[name].cast(kind, safe=False))
    except (pa.ArrowException, ValueError):
        return _replace(table, name, pa.nulls(table.num_rows, kind))


def _values(rng: random.Random, table: pa.Table, blobs: Sequence[bytes]) -> pa.Table:
    """One value, or all of a column, impossible."""
    name = _some_column(rng, table)
    if table.column_names.count(name) > 1 or not table.num_rows:
        return table
    kind = table[name].type
    if pa.types.is_binary(kind):
        made: Any = _blob(rng, blobs)
    elif pa.types.is_string(kind):
        made = rng.choice((*WORDS, "a" * 10**5, None)) if rng.random() < 0.9 else "b" * 10**6
        made = made and made.encode("utf-8", "replace").decode()
    elif pa.types.is_floating(kind):
        made = rng.choice((np.nan, np.inf, -np.inf, 1e308, -1e308, 5e-324, -1.0, 0.0, 361.0, None))
    elif pa.types.is_integer(kind):
        made = rng.choice((127, -128, 0, -1, 100, None))
    else:
        return table
    values = table[name].to_pylist()
    if rng.random() < 0.7 or len(values) > 4:
        values[rng.randrange(len(values))] = made
    else:
        values = [made] * len(values)
    return _replace(table, name, pa.array(values, kind))


def _blob(rng: random.Random, blobs: Sequence[bytes]) -> bytes | None:
    blob, kind = rng.choice(blobs), rng.random()
    if kind < 0.7:
        return mutate_zip.mutated(rng, blob, blobs)
    return rng.choice((None, b"", blob, bytes(2**20), bytes(5 * 2**20), rng.randbytes(64)))


def _plain(rng: random.Random, table: pa.Table, blobs: Sequence[bytes]) -> pa.Table:
    """Stamps as lists of numbers or as raw bytes, of right and wrong sizes."""
    del blobs
    name = rng.choice(STAMPS)
    if table.column_names.count(name) != 1 or not 0 < table.num_rows <= 4:
        return table
    size = rng.choice((12288, 12288, 12287, 0, 1, 3 * 128 * 128, 10**6))
    pixels = np.frombuffer(rng.randbytes(2 * size), np.uint16).astype(np.float32)
    n = table.num_rows
    if rng.random() < 0.5:
        lists = [pixels, *[pixels[:12288]] * (n - 1)]
        if rng.random() < 0.2:
            lists[-1] = None
        made = pa.array(lists, rng.choice((pa.list_(pa.float32()), pa.large_list(pa.float32()))))
    elif rng.random() < 0.5 and size == 12288:
        cubes = [pixels.reshape(3, 64, 64).tolist()] * n
        cubes[0] = rng.choice(([[[]]], [], cubes[0][:2], [row[:63] for row in cubes[0]], cubes[0]))
        made = pa.array(cubes, pa.list_(pa.list_(pa.list_(pa.float32()))))
    else:
        width = 4 * size or 1
        made = pa.array([pixels.tobytes().ljust(width, b"\0")] * n, pa.binary(width))
    table = _replace(table, name, made)
    shape = rng.choice((b"3,64,64", b"3,64,64", b"64,64,3", b"64, 64, 3", b"3,64", b""))
    return table.replace_schema_metadata({b"stamp_shape": shape})


def _rows(rng: random.Random, table: pa.Table, blobs: Sequence[bytes]) -> pa.Table:
    """None, one, the same ones again and again."""
    del blobs
    kind = rng.randrange(4)
    if kind < 2:
        return table.slice(0, kind)
    return pa.concat_tables([table] * rng.choice((2, 30 if table.nbytes < 10**6 else 3)))


def _repeated(rng: random.Random, blobs: Sequence[bytes]) -> pa.Table:
    """Many rows of one value: what a dictionary stores once."""
    n = rng.choice((100, 5000, 100_000))
    word = rng.choice(("a", "a" * 1000, "a" * 10**6))
    blob = rng.choice((b"x", rng.choice(blobs), bytes(10**6), rng.randbytes(2**21)))
    made = {"ra": pa.array(np.zeros(n)), "dec": pa.array(np.zeros(n))}
    once = pa.array(np.zeros(n, np.int32))
    for name in ("task_id", "brickname"):
        made[name] = pa.DictionaryArray.from_arrays(once, [word])
    for name in STAMPS:
        made[name] = pa.DictionaryArray.from_arrays(once, [blob])
    if n == 5000:  # and bytes that explain the rows
        made["filler"] = pa.array([rng.randbytes(300) for _ in range(n)])
    return pa.table(made)


_Change = Callable[[random.Random, pa.Table, Sequence[bytes]], pa.Table]
_TABLES: tuple[_Change, ...] = (
    *(_columns, _columns, _kinds, _kinds, _values, _values, _values, _values, _plain, _rows),
)
