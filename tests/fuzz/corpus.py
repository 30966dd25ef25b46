"""The seed corpus: small sound files of every format that lensjax reads from strangers.

Not random, and not from anywhere: made here, alike each time for one version of pyarrow and h5py.

    >>> [len(blob) for blob in npz_files()]
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits

from lensjax import configuration
from lensjax.data import split_manifest
from lensjax.data.rows import Coded
from lensjax.data.split_table import Asked, SplitManifest

ROWS = 2  # of a Parquet file
BANDS = "grz"


def pixels(seed: int, size: int = 64) -> np.ndarray:
    """A galaxy in noise: float32 [3, size, size], nanomaggies."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return (rng.normal(0, 0.02, (3, size, size)) + np.exp(-np.hypot(x, y) / 3)).astype(np.float32)


def packed(members: dict[str, np.ndarray], *, compressed: bool = False) -> bytes:
    """npz bytes."""
    out = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(out, **members)  # type: ignore[arg-type]
    return out.getvalue()


def npy(array: np.ndarray) -> bytes:
    """npy bytes."""
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


@functools.cache
def npz_files() -> tuple[bytes, ...]:
    """Stamps stored, packed, in a gzip, big-endian, in the legacy form, too small, and of
    pickled objects."""
    stamp = pixels(1)
    bands = {f"image_{band}": stamp[k] for k, band in enumerate(BANDS)}
    big = {name: x.astype(">f4") for name, x in bands.items()}
    small = {name: np.asfortranarray(x[:8, :8]) for name, x in bands.items()}
    return (
        *(packed(bands), packed(bands, compressed=True), packed(big), packed({"img": stamp})),
        *(gzip.compress(packed(bands), 1, mtime=0), packed(small), packed(small, compressed=True)),
        packed({**bands, "image_r": np.array([print, {}], dtype=object)}),
    )


def parquet_table(seed: int = 9) -> pa.Table:
    """Rows of a stamp and its control, with every column that is read."""
    n = range(ROWS)
    controls = [pixels(seed + k) for k in n]
    arc = np.zeros_like(controls[0])
    arc[:, 26:38, 36] = 0.3
    stamps = [control + arc for control in controls]
    blobs = [
        packed({f"image_{band}": stamp[i] for i, band in enumerate(BANDS)})
        for stamp in (*stamps, *controls)
    ]
    return pa.table(
        {
            "task_id": [f"task-{k}" for k in n],
            "brickname": [f"000{k}p000" for k in n],
            "ra": [10.0 + k for k in n],
            "dec": [-5.0 for _ in n],
            "region_split": ["train" for _ in n],
            "bandset": ["grz" for _ in n],
            "theta_e_arcsec": [1.5 for _ in n],
            "arc_snr": [9.0 + k for k in n],
            "psf_fwhm_used_r": [1.2 for _ in n],
            "psfdepth_r": [23.5 for _ in n],
            "psf_bin": [k for k in n],
            "depth_bin": [0 for _ in n],
            "ebv": [0.02 for _ in n],
            "pixel_scale_arcsec": [0.262 for _ in n],
            "stamp_npz": pa.array(blobs[:ROWS], pa.binary()),
            "ctrl_stamp_npz": pa.array(blobs[ROWS:], pa.binary()),
        }
    )


def parquet(table: pa.Table, **options: Any) -> bytes:
    """Parquet bytes."""
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


@functools.cache
def parquet_files() -> tuple[bytes, ...]:
    """One table as several writers would write it."""
    table = parquet_table()
    lists = table
    for name in ("stamp_npz", "ctrl_stamp_npz"):
        stored = pa.array([pixels(k).ravel() for k in range(ROWS)], pa.list_(pa.float32()))
        lists = lists.set_column(lists.column_names.index(name), name, stored)
    lists = lists.replace_schema_metadata({"stamp_shape": "3,64,64"})
    return (
        parquet(table),
        parquet(table, compression="zstd", row_group_size=1, write_page_index=True),
        parquet(table, compression="none", use_dictionary=False, write_page_checksum=True),
        parquet(table, compression="gzip", data_page_version="2.0", store_schema=False),
        parquet(lists, compression="brotli"),
    )


@functools.cache
def fits_files() -> tuple[bytes, ...]:
    """Images of one band and cubes of three, of several types, one in an extension, one in a
    gzip."""
    stamp = pixels(2)
    counts = np.round(1000 * stamp[1]).astype(np.int16)
    wcs = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": -5.0,
           "CRPIX1": 32.5, "CRPIX2": 32.5, "CD1_1": -7.2778e-5, "CD1_2": 0.0, "CD2_1": 0.0,
           "CD2_2": 7.2778e-5, "RADESYS": "ICRS", "CUNIT1": "deg", "CUNIT2": "deg"}  # fmt: skip
    flux = {"BUNIT": "nanomaggy", "FILTER": "r", "OBJECT": "host 1"}
    rate = {"BUNIT": "counts", "EXPTIME": 900.0, "HIERARCH FPA.ZP": 25.0, "PIXSCALE": 0.262}
    cube = {"BUNIT": "nanomaggy", "BANDS": "grz"}
    files = (
        fits.HDUList([_hdu(stamp[1], {**flux, **wcs})]),
        fits.HDUList([_hdu(counts, {**rate, "BSCALE": 0.001, "BZERO": 0.0, "BLANK": -32768})]),
        fits.HDUList([_hdu(stamp[1].astype(np.float64), {**flux, **wcs})]),
        fits.HDUList([_hdu(stamp, {**cube, **wcs})]),
        fits.HDUList([fits.PrimaryHDU(), _hdu(stamp, {**cube, **wcs}, fits.ImageHDU)]),
    )
    written = []
    for hdus in files:
        out = io.BytesIO()
        hdus.writeto(out)
        written.append(out.getvalue())
    return (*written, gzip.compress(written[3], 1, mtime=0))


def _hdu(data: np.ndarray, cards: dict, kind: type = fits.PrimaryHDU):
    hdu = kind(data)
    for name, value in cards.items():
        hdu.header[name] = value
    return hdu


@functools.cache
def hdf5_files() -> tuple[bytes, ...]:
    """Stamps and controls, plain and in packed chunks."""
    written = []
    stamps = np.stack([np.moveaxis(pixels(k), 0, -1) for k in range(ROWS)])
    for options in ({}, {"chunks": (1, 64, 64, 3), "compression": "gzip", "shuffle": True}):
        out = io.BytesIO()
        with h5py.File(out, "w") as file:
            for name in ("stamps", "controls"):
                file.create_dataset(name, data=stamps + (name == "stamps"), **options)
            file.attrs.update(bands="grz", unit="nanomaggy", pixel_scale_arcsec=0.262)
            file["ra"], file["dec"] = np.arange(ROWS) * 1.0, np.zeros(ROWS)
            file["theta_e_arcsec"] = np.full(ROWS, 1.5)
            file["task_id"] = [f"task-{k}" for k in range(ROWS)]
        written.append(out.getvalue())
    return tuple(written)


def record_files() -> tuple[bytes, ...]:
    """manifest.json of a data root."""
    names = [f"{split}/part-{k}.parquet" for split in ("train", "val", "test") for k in range(3)]
    sha = {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
    labels = {split: hashlib.sha256(split.encode()).hexdigest() for split in ("train", "val")}
    record = {"lensjax_manifest": 1, "files": sha, "labels": labels}
    return (json.dumps(record, indent=1).encode(),)


@functools.cache
def split_files() -> tuple[bytes, ...]:
    """A split manifest."""
    n = 12
    manifest = SplitManifest(
        asked=Asked(1, (0.7, 0.15, 0.15), 0.05, 24.0, "root", {"psf_bin": [1.0, 1.2, 1.4]}),
        file=Coded(np.arange(n, dtype=np.int32) // 4, ("a.parquet", "b/b.parquet", "c.parquet")),
        row=np.arange(n, dtype=np.int32) % 4,
        task_id=pa.array([f"task-{k}" for k in range(n)]),
        lrg_id=pa.array([f"host-{k}" for k in range(n)]),
        brick=Coded(np.arange(n, dtype=np.int32) // 6, ("0001p000", "0002p000")),
        ra=np.arange(n) / 2,
        dec=np.zeros(n),
        split=(np.arange(n) // 4).astype(np.int8),
        unpaired=(np.arange(n) % 3).astype(np.int8),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "split.parquet"
        split_manifest.write(path, manifest)
        return (path.read_bytes(),)


def anchor_files() -> tuple[bytes, ...]:
    """A catalogue of lenses."""
    head = "name,ra,dec,theta_e_arcsec,theta_e_quality"
    rows = [f"J{k:04d},{10 * k}.5,{-k}.25,1.{k},published" for k in range(1, 30)]
    return ("\n".join([head, *rows, ""]).encode(), "\r\n".join([head, *rows]).encode())


def contaminant_files() -> tuple[bytes, ...]:
    """A catalogue of look-alikes."""
    kinds = ("ring", "spiral", "merger")
    rows = [f'"C {k}",{9 * k}.125,{k}.5,{kinds[k % 3]},"a, b"' for k in range(1, 30)]
    return ("\n".join(["name,ra,dec,category,note", *rows, ""]).encode(),)


def index_files() -> tuple[bytes, ...]:
    """The index of a folder of npz files."""
    head = "file,control_file,kind,task_id,ra,dec,theta_e_arcsec,psf_fwhm_arcsec,pixel_scale_arcsec"
    rows = [f"a.npz,,lens,t{k},{k}.5,-1.5,1.5,1.2,0.262" for k in range(3)]
    pair = "file,control_file,ra,dec\na.npz,b.npz,1.0,2.0\nb.npz,a.npz,3.0,4.0\n"
    return ("\n".join([head, *rows, ""]).encode(), pair.encode())


def protocol_files() -> tuple[bytes, ...]:
    """The protocols that are shipped."""
    folder = configuration.ROOT / "configs" / "protocols"
    return tuple(path.read_bytes() for path in sorted(folder.glob("*.json")))
