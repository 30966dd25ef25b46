"""Parquet files that are small and ask for much: one trick each.

Not mutations: each is what somebody would write on purpose. `size` is what it unpacks to. As a
command, tries each in a process of its own, as the reader is and with its guards taken out:

    $ python -m tests.fuzz.bombs 1073741824        # one line of JSON a bomb: ends and megabytes
"""

from __future__ import annotations

import functools
import json
import os
import random
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lensjax.data import parquet_files
from lensjax.data.parquet import BATCH_ROWS
from lensjax.data.parquet_footer import Footer, Group
from tests.fuzz import corpus, thrift
from tests.fuzz.targets import TARGETS
from tests.fuzz.trying import outcome
from tests.fuzz.worker import memory_mb

STAMPS = ("stamp_npz", "ctrl_stamp_npz")
_MIB = 2**20
_LIMIT_BYTES = 6 * 2**30  # of a process that nothing guards


def _footer(data: bytes) -> tuple[list[thrift.Field], int]:
    """The tree of a footer, and where it begins."""
    first = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    return thrift.read_struct(data, first)[0], first


def _with_footer(pages: bytes, tree: list[thrift.Field]) -> bytes:
    made = thrift.write_struct(tree)
    return pages + made + len(made).to_bytes(4, "little") + b"PAR1"


def _chunk(tree: list[thrift.Field], name: str) -> list[thrift.Field]:
    """The column metadata of `name` in the first row group."""
    group = thrift.get(tree, 4).entries[0].value
    told = [thrift.get(x.value, 3) for x in thrift.get(group, 1).entries]
    return next(x for x in told if thrift.get(x, 3).entries[0].value == name.encode())


def _set(fields: list[thrift.Field], number: int, value: Any) -> None:
    next(field for field in fields if field.id == number).value = value


def lying_page(size: int) -> bytes:
    """A page header that claims `size`: what one flipped bit makes."""
    data = corpus.parquet_files()[2]
    tree, _ = _footer(data)
    first = thrift.get(_chunk(tree, "stamp_npz"), 9)
    header, end = thrift.read_struct(data, first)
    _set(header, 2, size - 64)
    _set(header, 3, size - 64)
    return data[:first] + thrift.write_struct(header) + data[end:]


def packed_page(size: int) -> bytes:
    """A stamp of zeros in a page of zstd."""
    data = corpus.parquet_files()[2]
    tree, footer = _footer(data)
    told = _chunk(tree, "stamp_npz")
    header, _ = thrift.read_struct(data, thrift.get(told, 9))
    header = [field for field in header if field.id != 4]  # its checksum
    levels = np.uint32(2).tobytes() + bytes([corpus.ROWS << 1, 1])
    head, step = levels + np.uint32(size).tobytes(), 8 * _MIB  # of the first value, its length
    frames = [pa.compress(head, codec="zstd", asbytes=True)]
    frames += [pa.compress(bytes(step), codec="zstd", asbytes=True)] * (size // step + 1)
    page = b"".join(frames)  # one after the other they unpack together
    _set(header, 2, len(head) + step * (len(frames) - 1))
    _set(header, 3, len(page))
    chunk = thrift.write_struct(header) + page
    for number, value in ((4, 6), (7, len(chunk)), (9, footer)):  # codec, size, place
        _set(told, number, value)
    return _with_footer(data[:footer] + chunk, tree)


def _columns(rows: int) -> dict[str, Any]:
    """Columns of sound rows, and random bytes that explain how many there are."""
    table = corpus.parquet_table()
    columns: dict[str, Any] = {x: (table[x].to_pylist() * rows)[:rows] for x in table.column_names}
    for name in STAMPS:
        columns[name] = _repeated(b"x", rows)
    rng = random.Random(0)
    return {**columns, "filler": [rng.randbytes(300) for _ in range(rows)]}


def _repeated(value: str | bytes, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), [value])


def repeated_word(size: int) -> bytes:
    """A brick of 900 kB, in many rows through a dictionary."""
    rows = size // 900_000 + 1
    columns = {**_columns(rows), "brickname": _repeated("b" * 900_000, rows)}
    options = {"dictionary_pagesize_limit": 64 * _MIB, "store_schema": False}
    return corpus.parquet(pa.table(columns), compression="zstd", **options)


def repeated_stamp(size: int) -> bytes:
    """A long stamp, in every row of a batch through a dictionary."""
    rng = np.random.default_rng(0)
    stamps = {name: _repeated(rng.bytes(size // 2 // BATCH_ROWS), BATCH_ROWS) for name in STAMPS}
    options = {"dictionary_pagesize_limit": 64 * _MIB, "store_schema": False}
    return corpus.parquet(pa.table({**_columns(BATCH_ROWS), **stamps}), **options)


def prefixed_stamp(size: int) -> bytes:
    """A long stamp, in every row of a batch as what the row before has, and no byte more."""
    value = np.random.default_rng(0).bytes(size // 2 // BATCH_ROWS)
    stamps = {name: pa.array([value] * BATCH_ROWS) for name in STAMPS}
    return corpus.parquet(
        pa.table({**_columns(BATCH_ROWS), **stamps}),
        use_dictionary=["task_id"],
        column_encoding={name: "DELTA_BYTE_ARRAY" for name in STAMPS},
        compression="none",
    )


def long_list(size: int) -> bytes:
    """A stamp of many zeros, run-length encoded."""
    pixels = np.zeros(size // 4 // 2, np.float32)
    columns = {name: values[:1] for name, values in _columns(2).items() if name != "filler"}
    for name in STAMPS:
        offsets = pa.array([0, len(pixels)], pa.int32())
        columns[name] = pa.ListArray.from_arrays(offsets, pa.array(pixels))
    table = pa.table(columns).replace_schema_metadata({"stamp_shape": "3,64,64"})
    return corpus.parquet(table, compression="zstd", row_group_size=1)


def many_rows(size: int) -> bytes:
    """Rows that are all alike, one for 512 bytes of `size`: numbers and words take that much."""
    n = size // 512
    columns = {name: _repeated(word, n) for name, word in (("task_id", "t"), ("brickname", "b"))}
    columns |= {name: _repeated(b"x", n) for name in STAMPS}
    return corpus.parquet(
        pa.table({"ra": np.zeros(n), "dec": np.zeros(n), **columns}), store_schema=False
    )


def long_footer(size: int) -> bytes:
    """A row group of columns of three bytes each, of which pyarrow makes 700."""
    data = corpus.parquet_files()[2]
    tree, first = _footer(data)
    mark = [thrift.Field(15, thrift.BINARY, b"mark")]
    count = min(size // 700, 999_999)
    group = thrift.get(tree, 4).entries[0].value
    _set(group, 1, thrift.Listed(thrift.STRUCT, count, [thrift.Field(0, thrift.STRUCT, mark)]))
    made = thrift.write_struct(tree)
    chunk = thrift.write_struct([thrift.Field(2, thrift.I64, 4)])
    made = made.replace(thrift.write_struct(mark), chunk * count)
    return data[:first] + made + len(made).to_bytes(4, "little") + b"PAR1"


def unknown_codec(size: int) -> bytes:
    """A codec that Parquet does not have: pyarrow ends the process that asks for its name."""
    del size
    data = corpus.parquet_files()[0]
    tree, first = _footer(data)
    _set(_chunk(tree, "stamp_npz"), 4, 128)
    return _with_footer(data[:first], tree)


BOMBS: dict[str, Callable[[int], bytes]] = {
    "lying page": lying_page,
    "zstd page": packed_page,
    "repeated word": repeated_word,
    "repeated stamp": repeated_stamp,
    "prefixed stamp": prefixed_stamp,
    "long list": long_list,
    "many rows": many_rows,
    "long footer": long_footer,
    "unknown codec": unknown_codec,
}


def believe(*, ask: bool) -> None:
    """Takes the guards out of the Parquet reader of this process: what a footer says is so. `ask`
    pyarrow, rather than our own reading of the footer, how columns are packed."""

    def footer_of(filesystem: Any, path: str) -> Footer:
        footer = pq.read_metadata(path)
        for k in range(footer.num_row_groups if ask else 0):
            for j in range(footer.row_group(k).num_columns):
                _ = footer.row_group(k).column(j).compression
        groups = (footer.row_group(k).num_rows for k in range(footer.num_row_groups))
        return Footer(footer.num_rows, tuple(Group(rows, ()) for rows in groups), 2**62)

    module = cast(Any, parquet_files)
    module.footer_of, module.check_columns = footer_of, lambda *args: None
    module.MAX_LIST, module.MAX_FOOTER_BYTES, module._MAX_WORD = 10**6, 10**9, 10**9


def tried(name: str, data: bytes, *, guarded: bool) -> tuple[str, float]:
    """How reading `data`, the bomb called `name`, ends, and by how many MB the memory grew."""
    resource.setrlimit(resource.RLIMIT_AS, (_LIMIT_BYTES, _LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    if not guarded:
        believe(ask=name == "unknown codec")
    with tempfile.TemporaryDirectory() as folder:
        before = memory_mb("VmHWM")
        ended = outcome(TARGETS["parquet"], data, Path(folder))
        return ended, memory_mb("VmHWM") - before


def forked(function: Callable[[], Any]) -> Any:
    """What `function` returns in a process of its own, whose memory nothing else has touched; how
    that process died."""
    here, there = os.pipe()
    child = os.fork()
    if not child:
        os.write(there, json.dumps(function()).encode())
        os._exit(0)
    os.close(there)
    with os.fdopen(here) as pipe:
        told = pipe.read()
    status = os.waitpid(child, 0)[1]
    return json.loads(told) if told else (f"death by signal {status & 127}", 0.0)


def main(size: int) -> None:
    """Prints name, bytes of the file, and both ends of each bomb."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bomb"
        outcome(TARGETS["parquet"], corpus.parquet_files()[0], Path(folder))  # imports, first uses
        for name, make in BOMBS.items():
            forked(lambda make=make: path.write_bytes(make(size)))
            data = path.read_bytes()
            ends = [
                forked(functools.partial(tried, name, data, guarded=guarded))
                for guarded in (True, False)
            ]
            print(json.dumps([name, len(data), *ends]), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
