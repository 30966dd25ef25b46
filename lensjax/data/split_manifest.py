"""The split manifest: a Parquet file that says of each row of a data root which split it is in.

Not how splits are chosen (`python -m lensjax.data split` does that). Written whole or not at all,
with page checksums and a digest of all that it says. Text that recurs is stored once and nothing
is compressed: a file from elsewhere is refused where it would need more memory than its own size
explains.

    >>> digest = write(Path("split.parquet"), manifest)
    >>> split, unpaired = read("split.parquet").of_file("train/part-003.parquet", ra, dec)
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lensjax import schema
from lensjax.data.parquet_files import check_columns, footer_of, open_shard
from lensjax.data.parquet_footer import check_rows
from lensjax.data.paths import open_filesystem
from lensjax.data.rows import Coded
from lensjax.data.split_table import (
    FORMAT,
    MEMBERS,
    REMEDY,
    Asked,
    SplitManifest,
    content_digest,
    in_order,
    text_lengths,
    validate,
)
from lensjax.schema import ExitCode, LensjaxError

KEY = b"lensjax_split"  # of the file's metadata
_SPLITS = ("", *schema.SPLITS)
_WORD = pa.dictionary(pa.int32(), pa.string())
_COLUMNS: dict[str, pa.DataType] = {
    "file": _WORD,
    "row": pa.int32(),
    "task_id": _WORD,
    "lrg_id": _WORD,
    "brick": _WORD,
    "ra": pa.float64(),
    "dec": pa.float64(),
    "split": _WORD,
    "unpaired": _WORD,
}
_TEXT = ("task_id", "lrg_id")  # mostly different in every row: stored plain
_RECUR = [name for name, kind in _COLUMNS.items() if kind == _WORD and name not in _TEXT]
_ROW_BYTES = 20  # of row, ra and dec, stored plain: fewer bytes hold no row
_GROUP_ROWS = 2**17
_UNCOMPRESSED = 0  # Parquet's name for it
_FIELDS = (*Asked.__dataclass_fields__, "format", "rows", "digest")


def write(path: Path, manifest: SplitManifest) -> str:
    """Write `manifest` to `path`, all of it or nothing; returns its digest. Raises LensjaxError as
    `split_table.validate`, and OSError."""
    manifest = in_order(manifest)
    validate(manifest, str(path))
    digest = content_digest(manifest)
    told = {"format": FORMAT, "rows": len(manifest), "digest": digest, **asdict(manifest.asked)}
    table = _table(manifest)
    temporary = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            with pq.ParquetWriter(
                file,
                table.schema,
                compression="NONE",
                use_dictionary=cast(Any, _RECUR),
                write_page_checksum=True,
                store_schema=False,
            ) as writer:
                writer.write_table(table, row_group_size=_GROUP_ROWS)
                writer.add_key_value_metadata({KEY.decode(): json.dumps(told)})
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return digest


def _table(manifest: SplitManifest) -> pa.Table:
    words = {
        "file": manifest.file,
        "brick": manifest.brick,
        "split": Coded(manifest.split + np.int8(1), _SPLITS),
        "unpaired": Coded(manifest.unpaired, MEMBERS),
    }
    coded = {
        name: pa.DictionaryArray.from_arrays(
            pa.array(column.code, pa.int32()), pa.array(column.names, pa.string())
        )
        for name, column in words.items()
    }
    return pa.table({name: coded.get(name, getattr(manifest, name)) for name in _COLUMNS})


def is_split_manifest(metadata: dict[bytes, bytes] | None) -> bool:
    """Whether a Parquet file with this metadata is a split manifest."""
    return KEY in (metadata or {})


def read(path: str) -> SplitManifest:
    """The split manifest at `path` (local, or an fsspec address), validated.

    Raises:
        LensjaxError: DATA_INVALID for what is none or is damaged, and for what
            `split_table.validate` finds; REFUSED_INPUT for names that lead out of the root and
            for more rows or text than its size explains; MISMATCH where the content is not that
            of its digest.
    """
    filesystem, inside = open_filesystem(path)
    known: dict[str, dict[str, int]] = {name: {} for name in _RECUR}
    try:
        footer = footer_of(filesystem, inside)
        with open_shard(filesystem, inside) as file:
            told = _told(file, path)
        check_rows(footer, _ROW_BYTES)
        groups = range(len(footer.groups))
        if any(chunk.codec != _UNCOMPRESSED for k in groups for chunk in footer.groups[k].chunks):
            _refused("is compressed", path)
        check_columns(filesystem, inside, groups, _COLUMNS)
        with open_shard(filesystem, inside, [*_TEXT, *_RECUR]) as file:
            parts = [_part(file.read_row_group(k), known, footer.size, path) for k in groups]
    except LensjaxError as error:
        raise LensjaxError(
            error.code, error.what, error.where or path, error.remedy or REMEDY
        ) from error
    except (pa.ArrowException, OSError, ValueError) as error:
        _invalid(f"cannot be read: {' '.join(str(error).split())[:200]}", path)
    digest, asked = told.pop("digest"), Asked(**told)
    manifest = _manifest(parts, known, asked, path)
    validate(manifest, path)
    if content_digest(manifest) != digest:
        raise LensjaxError(
            ExitCode.MISMATCH, "its content is not that of its digest: edited", path, REMEDY
        )
    return manifest


def _invalid(what: str, where: str) -> NoReturn:
    raise LensjaxError(ExitCode.DATA_INVALID, what, where, REMEDY)


def _told(file: pq.ParquetFile, path: str) -> dict[str, Any]:
    """What the footer says, once it is that of a manifest: the fields of Asked, and `digest`."""
    footer = file.metadata
    if not is_split_manifest(footer.metadata):
        _invalid("is no split manifest", path)
    if file.schema_arrow.names != list(_COLUMNS):
        _invalid(f"has the columns {file.schema_arrow.names}, expected {list(_COLUMNS)}", path)
    for column, kind in zip(file.schema_arrow, _COLUMNS.values(), strict=True):
        stored = pa.string() if kind == _WORD else kind
        if column.type != stored:
            _invalid(f"column {column.name} is {column.type}, expected {stored}", path)
    told = _parsed(footer.metadata[KEY], path)
    if told.pop("rows") != footer.num_rows:
        _invalid(f"holds {footer.num_rows} rows, and says otherwise", path)
    return told


def _refused(what: str, path: str) -> NoReturn:
    raise LensjaxError(ExitCode.REFUSED_INPUT, what, path, "Ask where this file came from")


def _parsed(text: bytes, path: str) -> dict[str, Any]:
    """The fields of the metadata but `format`. Raises LensjaxError (DATA_INVALID)."""
    try:
        told = json.loads(text)
        if told["format"] != FORMAT or sorted(told) != sorted(_FIELDS):
            raise ValueError(f"format {told['format']!r} with fields {sorted(told)}")
        del told["format"]
        told["proportions"] = tuple(map(float, told["proportions"]))
        numbers = [*told["proportions"], told["guard_band_deg"], told["separation_arcsec"]]
        sound = len(told["proportions"]) == len(schema.SPLITS) and all(map(math.isfinite, numbers))
        sound &= type(told["seed"]) is int and all(type(told[x]) is str for x in ("root", "digest"))
        edges = {} if told["bin_edges"] is None else dict(told["bin_edges"])
        sound &= all(math.isfinite(edge) for values in edges.values() for edge in values)
        if not sound:
            raise ValueError("a field is not what it should be")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = " ".join(str(error).split())[:200]
        _invalid(f"its metadata is not that of a split manifest: {what}", path)
    return told


def _part(
    table: pa.Table, known: dict[str, dict[str, int]], size: int, path: str
) -> dict[str, Any]:
    """The columns of one row group: arrays of numbers and of text, and codes of the words that
    recur, which are added to `known`."""
    table.validate(full=True)
    part: dict[str, Any] = {}
    for name, kind in _COLUMNS.items():
        column = table[name].combine_chunks()
        if column.null_count:
            _invalid(f"column {name} holds nulls", path)
        if kind != _WORD:
            part[name] = column.to_numpy()
            continue
        code, values = column.indices.to_numpy(), column.dictionary
        if name in _TEXT:
            if int(text_lengths(values)[code].sum()) > size:
                _refused(f"column {name} holds more text than the file", path)
            part[name] = values.take(column.indices)
        else:
            mine = [known[name].setdefault(word, len(known[name])) for word in values.to_pylist()]
            part[name] = np.array(mine, np.int32)[code]
    return part


def _manifest(
    parts: list[dict[str, Any]], known: dict[str, dict[str, int]], asked: Asked, path: str
) -> SplitManifest:
    if not parts:
        _invalid("holds no rows", path)
    columns: dict[str, Any] = {}
    for name in _COLUMNS:
        values = [part.pop(name) for part in parts]
        columns[name] = pa.concat_arrays(values) if name in _TEXT else np.concatenate(values)
    for name in ("file", "brick"):
        columns[name] = Coded(columns[name], tuple(known[name]))
    for name, words, first in (("split", _SPLITS, -1), ("unpaired", MEMBERS, 0)):
        unknown = [word for word in known[name] if word not in words]
        if unknown:
            _invalid(f"unknown word {unknown[0]!r} in column {name}: expected {words}", path)
        meaning = np.array([words.index(word) + first for word in known[name]], np.int8)
        columns[name] = meaning[columns[name]]
    return in_order(SplitManifest(asked, **columns))
