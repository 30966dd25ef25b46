"""What is fuzzed: functions from bytes to an outcome, through the readers that users' files meet.

Not mocks: the bytes lie in a file of a data root and are read as a run reads them. A target returns
how it ended (`read`, or `exit 10` where the reader lists what is wrong) or lets the reader's
exception through.

    >>> TARGETS["npz"].run(TARGETS["npz"].make(random.Random("0 17")), folder)
    'read'
"""

from __future__ import annotations

import functools
import io
import json
import random
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console

from lensjax import configuration
from lensjax.checks.catalogues import check_anchors, check_contaminants
from lensjax.checks.protocol import check_protocol, phase0_rules
from lensjax.checks.result import CODE_ORDER, Summary
from lensjax.checks.run import run_checks, scan_source
from lensjax.curate.table import MetadataTable
from lensjax.data import npz_layout, record, split_manifest
from lensjax.data.files import FileSource
from lensjax.data.fits import FitsFormat
from lensjax.data.folders import NpyFormat, NpzFormat
from lensjax.data.formats import Format
from lensjax.data.hdf5 import Hdf5Format
from lensjax.data.npz import read_npz
from lensjax.data.parquet import ParquetFormat
from lensjax.data.paths import open_filesystem
from lensjax.data.stamps import LEGACY_MEMBER, MEMBERS, decode
from lensjax.data.stampset import Finding
from lensjax.data.told import Told
from lensjax.gates.protocol import load_protocol
from tests.fuzz import corpus, mutate, mutate_fits, mutate_parquet, mutate_text, mutate_zip
from tests.fuzz.trying import READ, Target

TOLD = Told(unit="nanomaggy", pixel_scale_arcsec=0.262, bands="grz")


def judged(findings: Iterable[Finding]) -> str:
    """The outcome that findings stand for, as a command would end."""
    codes = {one.code for one in findings if one.severity != "NOTE"}
    first = next((code for code in CODE_ORDER if code in codes), None)
    if first is None and codes:
        raise AssertionError(f"codes {codes} are no findings'")
    return READ if first is None else f"exit {int(first)}"


def _read_root(folder: Path, form: Format) -> str:
    """The split train of a root, read as a run reads it; that the others are absent is known."""
    findings: list[Finding] = []
    source = FileSource(str(folder / "root"), form, folder / "cache")
    source.read("train", findings)
    return judged(one for one in findings if not one.message.startswith("no folder"))


def _write(folder: Path, **files: bytes) -> None:
    train = folder / "root" / "train"
    train.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (train / name.replace("__", ".")).write_bytes(data)


# -- npz and npy -----------------------------------------------------------------------------------


def _npz(data: bytes, folder: Path) -> str:
    """A blob, alone; and, if it is read, once more beside itself as blobs of one layout are."""
    del folder
    read_npz(data, (*MEMBERS, LEGACY_MEMBER))
    stamp = decode(data)
    if data[:2] == b"PK" and LEGACY_MEMBER not in read_npz(data, (*MEMBERS, LEGACY_MEMBER)):
        layout = npz_layout.learn(data, MEMBERS)
        if layout is not None:
            planes = np.zeros((2, 3, 64, 64), np.float32)
            blobs = np.stack([np.frombuffer(data, np.uint8)] * 2)
            assert npz_layout.decode_alike(layout, blobs, planes).all()
            assert planes[1].tobytes() == np.moveaxis(stamp, -1, 0).tobytes()
    return READ


def _make_npz(rng: random.Random) -> bytes:
    return mutate_zip.mutated(rng, rng.choice(corpus.npz_files()), corpus.npz_files())


def _npy(data: bytes, folder: Path) -> str:
    index = b"file,row,kind,ra,dec\na.npy,0,lens,1,2\na.npy,1,ring,2,3\n"
    _write(folder, a__npy=data, stamps__csv=index)
    return _read_root(folder, NpyFormat(TOLD))


@functools.cache
def _npy_files() -> tuple[bytes, ...]:
    return tuple(corpus.npy(x) for x in (corpus.pixels(1), np.stack([corpus.pixels(2)] * 2)))


def _make_npy(rng: random.Random) -> bytes:
    data = rng.choice(_npy_files())
    return mutate.mutated(rng, data, _npy_files(), [(0, 128)] if rng.random() < 0.6 else ())


# -- Parquet ---------------------------------------------------------------------------------------


def _parquet(data: bytes, folder: Path) -> str:
    _write(folder, a__parquet=data)
    return _read_root(folder, ParquetFormat())


def _make_parquet(rng: random.Random) -> bytes:
    files = corpus.parquet_files()
    return mutate_parquet.file_mutated(rng, rng.choice(files), files)


@functools.cache
def _table():
    return corpus.parquet_table()


def _make_table(rng: random.Random) -> bytes:
    return mutate_parquet.table_mutated(rng, _table(), corpus.npz_files())


@functools.cache
def _sound(split: str) -> bytes:
    """A file of another split: other ids and another place on the sky."""
    where = {"val": 60.0, "test": 120.0}[split]
    table = corpus.parquet_table(seed=int(where))
    n = table.num_rows
    for name, values in (
        ("task_id", [f"{split}-{k}" for k in range(n)]),
        ("brickname", [f"{int(where):04d}p{k:03d}" for k in range(n)]),
        ("region_split", [split] * n),
        ("ra", [where + k for k in range(n)]),
    ):
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    return corpus.parquet(table)


def _phase0(data: bytes, folder: Path) -> str:
    """All checks on a root of which one file is mutated; the summary is written and printed."""
    _write(folder, a__parquet=data)
    for split in ("val", "test"):
        (folder / "root" / split).mkdir(exist_ok=True)
        (folder / "root" / split / "a.parquet").write_bytes(_sound(split))
    source = FileSource(str(folder / "root"), ParquetFormat(), folder / "cache")
    protocol = load_protocol(configuration.ROOT / "configs" / "protocols" / "default.json")
    scan, _ = scan_source(source, workers=1)
    summary = run_checks(
        scan,
        protocol=protocol.document,
        protocol_digest=protocol.digest,
        data_digest=source.digest(),
        proportions=None,
        simulated=False,
    )
    shown = io.StringIO()
    summary.print(Console(file=shown, width=200))
    assert shown.getvalue().replace("\n", "").isprintable()
    assert Summary.from_json(json.loads(json.dumps(summary.to_json()))) == summary
    if summary.all_passed:
        return READ
    raise summary.error()


# -- FITS and HDF5 ---------------------------------------------------------------------------------


@functools.cache
def _band_file() -> bytes:
    return corpus.fits_files()[0].replace(b"FILTER  = 'r  ", b"OTHER   = 'r  ")


def _fits(data: bytes, folder: Path) -> str:
    """The bytes as the r band of one stamp, and as the cube of another."""
    index = b"file,kind\nx_{band}.fits,lens\ncube.fits,ring\n"
    bands = {"x_g__fits": _band_file(), "x_r__fits": data, "x_z__fits": _band_file()}
    _write(folder, **bands, cube__fits=data, stamps__csv=index)
    return _read_root(folder, FitsFormat(Told()))


def _make_fits(rng: random.Random) -> bytes:
    return mutate_fits.mutated(rng, rng.choice(corpus.fits_files()), corpus.fits_files())


def _hdf5(data: bytes, folder: Path) -> str:
    _write(folder, a__h5=data)
    return _read_root(folder, Hdf5Format(Told()))


def _make_hdf5(rng: random.Random) -> bytes:
    data = rng.choice(corpus.hdf5_files())
    hot = [(0, 4096), (len(data) - 8192, len(data))]
    return mutate.mutated(rng, data, corpus.hdf5_files(), hot)


# -- manifests -------------------------------------------------------------------------------------


def _record(data: bytes, folder: Path) -> str:
    """The manifest.json of a root, compared with what lies there."""
    (folder / "root").mkdir(exist_ok=True)
    (folder / "root" / record.FILE).write_bytes(data)
    filesystem, root = open_filesystem(str(folder / "root"))
    found = record.load_record(filesystem, root)
    if found is None:
        raise AssertionError("no record")
    there = json.loads(corpus.record_files()[0])
    return judged(record.compare(found, there["files"], there["labels"], complete=True))


def _make_record(rng: random.Random) -> bytes:
    (data,) = corpus.record_files()
    return mutate_text.json_mutated(rng, data, corpus.record_files())


def _split(data: bytes, folder: Path) -> str:
    path = folder / "split.parquet"
    path.write_bytes(data)
    manifest = split_manifest.read(str(path))
    manifest.of_file("a.parquet", np.arange(4) / 2, np.zeros(4))
    return READ


def _make_split(rng: random.Random) -> bytes:
    (data,) = corpus.split_files()
    return mutate_parquet.file_mutated(rng, data, corpus.split_files())


# -- text ------------------------------------------------------------------------------------------


def _anchors(data: bytes, folder: Path) -> str:
    path = folder / "anchors.csv"
    path.write_bytes(data)
    return judged(check_anchors(str(path), minimum=30, min_theta_e_arcsec=0.5).findings)


def _make_anchors(rng: random.Random) -> bytes:
    data = rng.choice(corpus.anchor_files())
    return mutate_text.csv_mutated(rng, data, corpus.anchor_files())


def _contaminants(data: bytes, folder: Path) -> str:
    path, anchors = folder / "contaminants.csv", folder / "anchors.csv"
    path.write_bytes(data)
    anchors.write_bytes(corpus.anchor_files()[0])
    minimum = {"ring": 50, "spiral": 50, "merger": 30}
    return judged(check_contaminants(str(path), minimum=minimum, anchors=str(anchors)).findings)


def _make_contaminants(rng: random.Random) -> bytes:
    data = rng.choice(corpus.contaminant_files())
    return mutate_text.csv_mutated(rng, data, corpus.contaminant_files())


def _index(data: bytes, folder: Path) -> str:
    stamp = corpus.npz_files()[0]
    _write(folder, stamps__csv=data, a__npz=stamp, b__npz=stamp)
    return _read_root(folder, NpzFormat(TOLD))


def _make_index(rng: random.Random) -> bytes:
    data = rng.choice(corpus.index_files())
    return mutate_text.csv_mutated(rng, data, corpus.index_files())


def _metadata(data: bytes, folder: Path) -> str:
    """A table of metadata alone, Parquet or CSV, as `data split` takes it."""
    name = "table.parquet" if data[:4] == b"PAR1" else "table.csv"
    (folder / name).write_bytes(data)
    filesystem, path = open_filesystem(str(folder / name))
    table = MetadataTable(filesystem, path)
    (shard,), findings = table.list_split(filesystem, str(folder), "")
    columns, more = table.metadata(filesystem, shard)
    assert {len(column) for column in columns.values()} == {shard.rows}
    table.sources()
    return judged([*findings, *more])


@functools.cache
def _metadata_files() -> tuple[bytes, ...]:
    table = corpus.parquet_table().drop_columns(["stamp_npz", "ctrl_stamp_npz", "bandset"])
    text = b"task_id,ra,dec,psf_bin,source_file,source_row\n"
    rows = (f"t{k},{k}.5,-2.25,1,train/a.parquet,{k}\n".encode() for k in range(20))
    return corpus.parquet(table), text + b"".join(rows)


def _make_metadata(rng: random.Random) -> bytes:
    parquet, text = _metadata_files()
    if rng.random() < 0.5:
        return mutate_text.csv_mutated(rng, text, [text])
    return mutate_parquet.file_mutated(rng, parquet, [parquet])


def _protocol(data: bytes, folder: Path) -> str:
    path = folder / "protocol.json"
    path.write_bytes(data)
    protocol = load_protocol(path)
    phase0_rules(protocol.document)
    assert len(protocol.digest) == 64 and protocol.gates
    return judged(check_protocol(protocol.document, protocol.digest).findings)


def _make_protocol(rng: random.Random) -> bytes:
    data = rng.choice(corpus.protocol_files())
    return mutate_text.json_mutated(rng, data, corpus.protocol_files())


TARGETS: dict[str, Target] = {
    "npz": Target(18, _make_npz, _npz, corpus.npz_files),
    "npy": Target(4, _make_npy, _npy, _npy_files),
    "parquet": Target(17, _make_parquet, _parquet, corpus.parquet_files),
    "parquet-table": Target(12, _make_table, _parquet, corpus.parquet_files),
    "phase0": Target(2, _make_table, _phase0, corpus.parquet_files),
    "fits": Target(15, _make_fits, _fits, corpus.fits_files),
    "hdf5": Target(4, _make_hdf5, _hdf5, corpus.hdf5_files),
    "record": Target(6, _make_record, _record, corpus.record_files),
    "split": Target(6, _make_split, _split, corpus.split_files),
    "anchors": Target(4, _make_anchors, _anchors, corpus.anchor_files),
    "contaminants": Target(3, _make_contaminants, _contaminants, corpus.contaminant_files),
    "index": Target(4, _make_index, _index, corpus.index_files),
    "metadata": Target(2, _make_metadata, _metadata, _metadata_files),
    "protocol": Target(3, _make_protocol, _protocol, corpus.protocol_files),
}
assert sum(target.share for target in TARGETS.values()) == 100
