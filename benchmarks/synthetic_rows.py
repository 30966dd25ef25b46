"""Parquet sets of any number of rows, fast: noise, a galaxy, a ring; made with numpy alone.

Not the simulator, and nothing to train on: it gives the benchmarks of reading and checking clean
rows by the million. The npz bytes are those of numpy.savez, pixels and CRCs put in their places.

    >>> make_set(Path("/tmp/rows"), rows=100_000, rows_per_file=500, seed=0)
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lensjax import schema

SHARES = {"train": 0.70, "val": 0.15, "test": 0.15}
DEC = {"train": -60.0, "val": 0.0, "test": 40.0}  # degrees: splits lie far from one another
HOSTS_PER_BRICK = 20
BRICKS_IN_RA = 1_440
SIGMA = 0.012  # nanomaggies a pixel
COLOURS = np.array([0.3, 1.0, 1.6], np.float32)


class Rows(NamedTuple):
    """Of n rows: columns of a table, and pixels float32 [2, n, 3, size, size]."""

    columns: dict[str, Any]
    pixels: np.ndarray


def make_set(root: Path, rows: int, rows_per_file: int, seed: int) -> None:
    """Write a set of `rows` rows (a stamp and its control each) under `root`."""
    first = 0
    for split, share in SHARES.items():
        n = round(rows * share)
        (root / split).mkdir(parents=True, exist_ok=True)
        for k, start in enumerate(range(0, n, rows_per_file)):
            count = min(rows_per_file, n - start)
            made = make_rows(split, start, count, np.random.default_rng([seed, first + start]))
            write_file(root / split / f"part-{k:05d}.parquet", made)
        first += n


def make_rows(split: str, first: int, n: int, rng: np.random.Generator) -> Rows:
    """Rows `first` to `first + n` of a split; hosts on a grid, HOSTS_PER_BRICK in each brick."""
    size = schema.STAMP_SIZE
    offset = np.arange(size, dtype=np.float32) - (size - 1) / 2
    radius = np.hypot(offset[:, None], offset[None, :])
    theta_e = rng.uniform(1.0, 2.5, n)
    scale = 64 / size * schema.PIXEL_SCALE_ARCSEC
    ring = np.exp(-0.5 * ((radius - (theta_e / scale)[:, None, None]) / (1.8 * size / 64)) ** 2)
    control = rng.standard_normal((n, 3, size, size), np.float32) * np.float32(SIGMA)
    galaxy = np.exp(-radius / (rng.uniform(2, 4, n) * size / 64)[:, None, None])
    control += (2.0 * galaxy.astype(np.float32))[:, None] * COLOURS[:, None, None]
    stamp = control + np.float32(0.02) * ring.astype(np.float32)[:, None]
    host = first + np.arange(n)
    brick, inside = np.divmod(host, HOSTS_PER_BRICK)
    columns = {
        "task_id": [f"{split}-{k:08d}" for k in host],
        "brickname": [f"{split}{k:07d}" for k in brick],
        "ra": (brick % BRICKS_IN_RA) * 0.25 + 0.02 + 0.05 * (inside % 4),
        "dec": DEC[split] + (brick // BRICKS_IN_RA) * 0.25 + 0.02 + 0.04 * (inside // 4),
        "region_split": [split] * n,
        "bandset": ["grz"] * n,
        "pixel_scale_arcsec": np.full(n, scale),
        "theta_e_arcsec": theta_e,
        "arc_snr": rng.uniform(5, 40, n),
        "psf_fwhm_used_r": rng.normal(1.2, 0.1, n),
        "psfdepth_r": rng.normal(23.4 if size == 64 else 25.5, 0.2, n),  # that of SIGMA a pixel
        "ebv": rng.uniform(0.01, 0.1, n),
        "psf_bin": np.zeros(n, np.int8),
        "depth_bin": np.zeros(n, np.int8),
    }
    return Rows(columns, np.stack([stamp, control]))


def write_file(path: Path, rows: Rows) -> None:
    """One Parquet file of `rows`, the stamps as npz."""
    stamps, controls = (list(pack(pixels)) for pixels in rows.pixels)
    write_columns(path, {**rows.columns, "stamp_npz": stamps, "ctrl_stamp_npz": controls})


def write_columns(path: Path, columns: dict[str, Any]) -> None:
    """One Parquet file, its pages with checksums; what is random is not worth packing."""
    pq.write_table(
        pa.table(columns),
        path,
        compression="none",
        use_dictionary=["brickname", "region_split", "bandset"],
        row_group_size=500,
        write_page_checksum=True,
    )


def pack(pixels: np.ndarray) -> Iterator[bytes]:
    """npz bytes of each of `pixels`, float32 [n, 3, size, size]."""
    buffer = io.BytesIO()
    np.savez(buffer, **{f"image_{band}": pixels[0, k] for k, band in enumerate(schema.BANDS)})
    blob = buffer.getvalue()
    starts, crcs, heads = [], [], []
    size = pixels[0, 0].nbytes
    for band in range(len(schema.BANDS)):
        plain = pixels[0, band].tobytes()
        start = blob.index(plain)
        head = blob.rindex(b"\x93NUMPY", 0, start)
        crc = zlib.crc32(blob[head : start + size]).to_bytes(4, "little")
        at = [k for k in range(len(blob) - 3) if blob[k : k + 4] == crc]
        starts.append(start)
        heads.append(zlib.crc32(blob[head:start]))
        crcs.append([k for k in at if not any(s <= k < s + size for s in starts)])
    for stamp in pixels:
        made = bytearray(blob)
        for band in range(len(schema.BANDS)):
            plain = stamp[band].tobytes()
            made[starts[band] : starts[band] + size] = plain
            crc = zlib.crc32(plain, heads[band]).to_bytes(4, "little")
            for at in crcs[band]:
                made[at : at + 4] = crc
        yield bytes(made)
