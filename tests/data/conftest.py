"""Small Parquet sets for the reader: written here, with one thing wrong at a time."""

import io
import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lensjax import schema
from lensjax.data.stampset import StampSet, build_table

SPLIT_ROWS = {"train": 20, "val": 4, "test": 4}


def pack(members, *, compressed=False):
    """npz bytes of `members` (name -> array)."""
    out = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(out, **members)
    return out.getvalue()


def bands_of(stamp):
    """npz members of a stamp [3, 64, 64]."""
    return {f"image_{band}": stamp[k] for k, band in enumerate("grz")}


class SmallSet:
    """Columns of a Parquet root by split, to be changed by a test and then written."""

    def __init__(self, root):
        rng = np.random.default_rng(7)
        self.root, self.columns, self.pixels = root, {}, {}
        for s, (split, n) in enumerate(SPLIT_ROWS.items()):
            control = rng.normal(0, 0.02, (n, 3, 64, 64)).astype(np.float32)
            control[:, :, 30:34, 30:34] += 1.0
            arc = np.zeros_like(control)
            arc[:, :, 20:24, 28:36] = 0.3
            self.pixels[split] = (control + arc, control)
            self.columns[split] = {
                "task_id": [f"{split}-{i:03d}" for i in range(n)],
                "brickname": [f"{s:04d}p{i // 4:03d}" for i in range(n)],
                "ra": 10.0 * s + 0.01 * np.arange(n),
                "dec": -5.0 + 0.01 * np.arange(n),
                "region_split": [split] * n,
                "bandset": ["grz"] * n,
                "pixel_scale_arcsec": np.full(n, 0.262),
                "theta_e_arcsec": rng.uniform(1, 2, n),
                "arc_snr": rng.uniform(5, 20, n),
                "psf_fwhm_used_r": rng.uniform(1, 1.4, n),
                "psfdepth_r": rng.uniform(23, 24, n),
                "psf_bin": np.arange(n) % 4,
                "depth_bin": np.arange(n) % 3,
                "stamp_npz": [pack(bands_of(x)) for x in self.pixels[split][0]],
                "ctrl_stamp_npz": [pack(bands_of(x)) for x in self.pixels[split][1]],
            }

    def members(self, row=17, split="train"):
        """Members of one stamp, to be changed and packed again."""
        return {name: x.copy() for name, x in bands_of(self.pixels[split][0][row]).items()}

    def put(self, blob, row=17, split="train", column="stamp_npz"):
        self.columns[split][column][row] = blob

    def write(self, files=1, metadata=None):
        """Write the root and return its path; each split in `files` files."""
        for split, columns in self.columns.items():
            folder = self.root / split
            folder.mkdir(parents=True, exist_ok=True)
            table = pa.table(columns)
            if metadata:
                table = table.replace_schema_metadata(metadata)
            edges = [table.num_rows * k // files for k in range(files + 1)]
            for k, (begin, end) in enumerate(itertools.pairwise(edges)):
                part = table.slice(begin, end - begin)
                pq.write_table(part, folder / f"{split}-{k:03d}.parquet")
        return self.root


@pytest.fixture
def small_set(tmp_path):
    return SmallSet(tmp_path / "root")


@pytest.fixture
def open_parquet(tmp_path):
    """Open a Parquet root with the production reader."""
    from lensjax.data.files import FileSource
    from lensjax.data.parquet import ParquetFormat

    return lambda root, **options: FileSource(
        str(root), ParquetFormat(), tmp_path / "cache", **options
    )


@pytest.fixture
def packer():
    return pack


@pytest.fixture(scope="session")
def awkward_set():
    """awkward_set(split, n): a StampSet with awkward values: NaN, -0.0, doubles, accents, the
    widest text."""
    return _awkward_set


def _awkward_set(split, n):
    rng = np.random.default_rng(n)
    label = np.arange(n) % 2
    ids = [f"{split}-é-{i:04d}" for i in range(n)]
    stamps = rng.normal(size=(n, *schema.STAMP_SHAPE)).astype(np.float32)
    stamps[0, 0, 0, 0] = -0.0
    table = build_table(
        {
            "stamp_id": ids,
            "pair_id": ids,
            "lrg_id": ["x" * 64] * n,
            "brick": ["0001p000"] * n,
            "ra": rng.uniform(0, 360, n),
            "dec": rng.uniform(-90, 90, n),
            "split": [split] * n,
            "label": label,
            "negative_kind": ["" if one else "ring" for one in label],
            "theta_e_arcsec": np.where(label, rng.uniform(1, 2, n), np.nan),
            "arc_snr": np.where(label, 0.0, np.nan),
            "arc_snr_shot": np.where(label & (np.arange(n) > 2), 0.0, np.nan),
            "psf_fwhm_arcsec": rng.uniform(1, 2, n),
            "psf_depth": rng.uniform(22, 24, n),
            "psf_bin": -(np.arange(n) % 3),
            "depth_bin": np.full(n, 127),
            "ebv": np.full(n, np.nan),
            "pixel_scale_arcsec": np.full(n, 0.262),
            "source_file": ["f" * 255] * n,
            "source_row": np.arange(n) * 1000,
        }
    )
    return StampSet(split, table, stamps, "simulate")
