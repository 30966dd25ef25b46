"""Small Parquet sets for the reader: written here, with one thing wrong at a time."""

import io
import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

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
