"""Small sound data roots, to plant one fault in: Parquet as users have it, HDF5 with kinds of rows.

Not lensjax.simulate, nor its writers: numpy, pyarrow and h5py alone, so that a fault of lensjax is
in the reader and not in what is read. Train has four files, of which train-003 has the row 17 that
faults.md names.

    root = sound_parquet()
    root.files["train/train-003.parquet"]["brickname"][17] = "elsewhere"
    root.write(tmp_path / "data")
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BANDS = "grz"
SPLITS = ("train", "val", "test")
FILES = {
    "train/train-000.parquet": 3,
    "train/train-001.parquet": 3,
    "train/train-002.parquet": 3,
    "train/train-003.parquet": 20,
    "val/val-000.parquet": 8,
    "test/test-000.parquet": 8,
}
NAMED = "train/train-003.parquet"  # the file and row that a fault is planted in
ROW = 17
HOSTS_PER_BRICK = 4
SIGMA = 0.012  # nanomaggies a pixel
Columns = dict[str, Any]
_OFFSET = np.arange(64) - 31.5
RADIUS = np.hypot(_OFFSET[:, None], _OFFSET[None, :])


def pack(members: Mapping[str, np.ndarray]) -> bytes:
    """npz bytes."""
    out = io.BytesIO()
    np.savez(out, **members)
    return out.getvalue()


def members_of(stamp: np.ndarray) -> dict[str, np.ndarray]:
    """The npz members of a stamp, float32 [3, 64, 64]."""
    return {f"image_{band}": plane for band, plane in zip(BANDS, stamp, strict=True)}


def unpack(blob: bytes) -> np.ndarray:
    """float32 [3, 64, 64] of the bytes that `pack` made."""
    with np.load(io.BytesIO(blob)) as stored:
        return np.stack([stored[f"image_{band}"] for band in BANDS])


def make_pairs(split: str, first: int, n: int) -> tuple[np.ndarray, np.ndarray, Columns]:
    """n hosts from number `first` on: stamps and controls, float32 [n, 3, 64, 64] nanomaggies, and
    the columns that go with them. Splits lie 20 degrees of declination apart."""
    k = SPLITS.index(split)
    rng = np.random.default_rng([k, first])
    theta_e = rng.uniform(1.0, 2.5, n)
    colours = np.array([0.3, 1.0, 1.6])[:, None, None]
    control = SIGMA * rng.standard_normal((n, 3, 64, 64))
    control += 2 * np.exp(-RADIUS / rng.uniform(2, 4, n)[:, None, None])[:, None] * colours
    ring = np.exp(-0.5 * ((RADIUS - theta_e[:, None, None] / 0.262) / 1.8) ** 2)
    host = first + np.arange(n)
    brick, inside = np.divmod(host, HOSTS_PER_BRICK)
    columns: Columns = {
        "task_id": [f"{split}-{h:05d}" for h in host],
        "brickname": [f"{k}{b:03d}p{k:03d}" for b in brick],
        "ra": 10 + 0.25 * brick + 0.05 * inside + 0.02,
        "dec": np.full(n, 20.0 * k) + 0.02,
        "region_split": [split] * n,
        "bandset": [BANDS] * n,
        "theta_e_arcsec": theta_e,
        "arc_snr": rng.uniform(8, 40, n),
        "psf_fwhm_arcsec": rng.normal(1.2, 0.05, n),
        "psfdepth_r": rng.normal(23.4, 0.1, n),
        "psf_bin": np.zeros(n, np.int8),
        "depth_bin": np.zeros(n, np.int8),
        "ebv": rng.uniform(0.01, 0.05, n),
    }
    stamps = (control + 0.03 * ring[:, None]).astype(np.float32)
    return stamps, control.astype(np.float32), columns


@dataclass
class ParquetRoot:
    """Columns of each file by name, to be changed; `metadata` goes into the footers, `options` to
    pyarrow."""

    files: dict[str, Columns]
    metadata: dict[str, dict[bytes, bytes]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def change(self, change: Callable[[np.ndarray], np.ndarray], **where: Any) -> None:
        """Replace one stamp, float32 [3, 64, 64], by `change` of it."""
        self.put(lambda blob: pack(members_of(change(unpack(blob).copy()))), **where)

    def put(
        self,
        blob: Callable[[bytes], bytes],
        name: str = NAMED,
        row: int = ROW,
        column: str = "stamp_npz",
    ) -> None:
        """Replace the bytes of one stamp by `blob` of them."""
        self.files[name][column][row] = blob(self.files[name][column][row])

    def write(self, root: Path) -> Path:
        """Write everything under `root`; returns it."""
        for name, columns in self.files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            table = pa.table(columns)
            if name in self.metadata:
                table = table.replace_schema_metadata(self.metadata[name])
            pq.write_table(table, root / name, compression="none", **self.options)
        return root


_SOUND: dict[str, Columns] = {}


def sound_parquet() -> ParquetRoot:
    """45 pairs in the files of FILES, nothing wrong with them. What is expensive is made once."""
    if not _SOUND:
        start = dict.fromkeys(SPLITS, 0)
        for name, n in FILES.items():
            split = name.split("/")[0]
            stamps, controls, columns = make_pairs(split, start[split], n)
            blobs = {
                column: [pack(members_of(stamp)) for stamp in made]
                for column, made in (("stamp_npz", stamps), ("ctrl_stamp_npz", controls))
            }
            _SOUND[name] = {**columns, **blobs}
            start[split] += n
    copied = {name: {k: _copy(x) for k, x in found.items()} for name, found in _SOUND.items()}
    return ParquetRoot(copied)


def _copy(column: Any) -> Any:
    return column.copy() if isinstance(column, np.ndarray) else list(column)


@dataclass
class Hdf5Root:
    """One file a split; `kind` says of each row whether it is a lens or which negative."""

    splits: dict[str, Columns]

    def write(self, root: Path) -> Path:
        """Write everything under `root`; returns it."""
        for split, columns in self.splits.items():
            (root / split).mkdir(parents=True)
            with h5py.File(root / split / "part.h5", "w") as file:
                file.attrs.update(unit="nanomaggy", pixel_scale_arcsec=0.262, bands=BANDS)
                for name, column in columns.items():
                    file[name] = column
        return root


def sound_hdf5() -> Hdf5Root:
    """Lenses and rings, unpaired, in turn: 20 rows in train, 4 in val and in test (too few hosts to
    learn a shortcut from)."""
    splits = {}
    for split, n in zip(SPLITS, (20, 4, 4), strict=True):
        stamps, controls, columns = make_pairs(split, 0, n)
        lens = np.arange(n) % 2 == 0
        columns["kind"] = np.where(lens, "lens", "ring").tolist()
        columns["theta_e_arcsec"] = np.where(lens, columns["theta_e_arcsec"], np.nan)
        columns["arc_snr"] = np.where(lens, columns["arc_snr"], np.nan)
        columns["stamps"] = np.where(lens[:, None, None, None], stamps, controls)
        splits[split] = columns
    return Hdf5Root(splits)


def swap_folders(root: Path) -> None:
    """Train and test change places."""
    os.rename(root / "train", root / "swap")
    os.rename(root / "test", root / "train")
    os.rename(root / "swap", root / "test")
