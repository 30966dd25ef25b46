"""Random skies for the splits, and data roots of them whose stamps are never read."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lensjax.curate import split
from lensjax.curate.split import SkyRows
from lensjax.data.bricks import brick_names

SPANS = {
    "field": ((10.0, 14.0), (0.0, 4.0)),
    "across ra 0": ((357.0, 363.0), (-2.0, 2.0)),
    "north pole": ((0.0, 360.0), (87.5, 90.0)),
    "south pole": ((0.0, 360.0), (-90.0, -87.5)),
}


def positions(where, hosts, seed):
    """ra, dec of hosts, uniform on the sky of `where`, or in clusters of it."""
    rng = np.random.default_rng([seed, hosts])
    name, _, clustered = where.partition(", ")
    (west, east), (south, north) = SPANS[name]
    n = hosts if not clustered else max(hosts // 60, 4)
    sine = np.sin(np.deg2rad([south, north]))
    ra, dec = rng.uniform(west, east, n), np.rad2deg(np.arcsin(rng.uniform(*sine, n)))
    if clustered:
        pick = rng.integers(0, n, hosts)
        dec = np.clip(dec[pick] + rng.normal(0, 0.15, hosts), -90, 90)
        ra = ra[pick] + rng.normal(0, 0.15, hosts) / np.maximum(np.cos(np.deg2rad(dec)), 1e-3)
    return ra % 360.0, dec


@pytest.fixture
def fewer_groups(monkeypatch):
    """64 groups, not 256: a quarter of the time, the same code."""
    monkeypatch.setattr(split, "LEVELS", 6)


@pytest.fixture
def sky():
    """Rows of a random sky, each of `per_host` rows a host at one position; strata follow it."""

    def make(where="field", hosts=1200, seed=0, per_host=1):
        ra, dec = (np.repeat(x, per_host) for x in positions(where, hosts, seed))
        rng = np.random.default_rng(seed + 1)
        x = (
            np.sin(np.deg2rad(90 * ra))
            + np.cos(np.deg2rad(120 * dec))
            + rng.normal(0, 0.3, len(ra))
        )
        stratum = np.searchsorted(np.quantile(x, [0.25, 0.5, 0.75]), x)
        brick = np.unique(brick_names(ra, dec), return_inverse=True)[1]
        one = np.ones(len(ra), np.int64)
        return SkyRows(ra, dec, brick, np.repeat(np.arange(hosts), per_host), stratum, one, one)

    return make


@pytest.fixture
def columns(sky):
    """Columns of a data root, as users have them, by name."""

    def make(hosts=400, seed=3, per_host=2, where="field"):
        rows = sky(where, hosts, seed, per_host)
        rng = np.random.default_rng(seed)
        n = len(rows.ra)
        return {
            "task_id": np.array([f"task-{k:05d}" for k in range(n)]),
            "brickname": brick_names(rows.ra, rows.dec),
            "ra": rows.ra,
            "dec": rows.dec,
            "theta_e_arcsec": rng.uniform(1, 2, n),
            "arc_snr": rng.uniform(5, 20, n),
            "psf_fwhm_used_r": rng.uniform(1, 1.4, n),
            "psfdepth_r": rng.uniform(23, 24, n),
            "psf_bin": rows.stratum,
            "depth_bin": rng.integers(0, 2, n),
        }

    return make


@pytest.fixture
def write_root():
    """Write columns as ROOT/NAME for each of `names`, in turn; the stamps are noise, which is no
    stamp: whoever reads them would notice."""

    def write(root, columns, names=("train/a.parquet", "val/b.parquet", "test/c.parquet")):
        rng = np.random.default_rng(0)
        parts = np.array_split(np.arange(len(columns["ra"])), len(names))
        for name, part in zip(names, parts, strict=True):
            table = {key: values[part] for key, values in columns.items()}
            for key in ("stamp_npz", "ctrl_stamp_npz"):
                table[key] = [rng.bytes(200) for _ in part]
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table(table), root / name)
        return root

    return write


class Galaxies:
    """A small sound data root with stamps, to plant oddities in: by split the columns, and
    `pixels`, float32 [2, n, 3, 64, 64], stamps and controls. Two hosts a brick, 1 degree apart."""

    def __init__(self):
        rng = np.random.default_rng(11)
        radius = np.hypot(*np.meshgrid(np.arange(64) - 31.5, np.arange(64) - 31.5))
        colour = np.array([0.3, 1.0, 1.6])[:, None, None]
        self.columns, self.pixels = {}, {}
        for s, (name, n) in enumerate((("train", 10), ("val", 6), ("test", 6))):
            theta_e, snr = rng.uniform(1, 2.5, n), rng.uniform(5, 20, n)
            sky = 0.012 * rng.standard_normal((n, 3, 64, 64))
            size = rng.uniform(2, 4, (n, 1, 1, 1))
            control = sky + 2.0 * np.exp(-radius / size) * colour
            ring = np.exp(-0.5 * ((radius - theta_e[:, None, None] / 0.262) / 1.8) ** 2)
            ring *= 0.012 * (snr / np.sqrt((ring**2).sum((1, 2))))[:, None, None]
            self.pixels[name] = np.stack([control + ring[:, None], control]).astype(np.float32)
            self.columns[name] = {
                "task_id": [f"{name}-{k:03d}" for k in range(n)],
                "brickname": [f"{s:04d}p{k // 2:03d}" for k in range(n)],
                "ra": 20.0 * s + np.arange(n) + rng.uniform(0, 0.3, n),
                "dec": -5.0 + 0.1 * np.arange(n),
                "theta_e_arcsec": theta_e,
                "arc_snr": snr,
                "psf_fwhm_used_r": rng.uniform(1, 1.4, n),
                "psfdepth_r": rng.uniform(23, 24, n),
                "psf_bin": np.arange(n) % 2,
                "depth_bin": np.arange(n) % 3 % 2,
                "ebv": rng.uniform(0.02, 0.04, n),
            }

    def write(self, root, name="part-0.parquet"):
        """Write ROOT/{train,val,test}/NAME, a row group for every four rows; returns ROOT."""
        for folder, columns in self.columns.items():
            table = {key: list(values) for key, values in columns.items()}
            for member, key in enumerate(("stamp_npz", "ctrl_stamp_npz")):
                table[key] = [_npz(planes) for planes in self.pixels[folder][member]]
            (root / folder).mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table(table), root / folder / name, row_group_size=4)
        return root


def _npz(planes):
    out = io.BytesIO()
    np.savez(out, **{f"image_{band}": plane for band, plane in zip("grz", planes, strict=True)})
    return out.getvalue()


@pytest.fixture(scope="session")
def make_galaxies():
    """Makes a sound set to plant oddities in and then to write."""
    return Galaxies


@pytest.fixture
def galaxies():
    """One of the test's own."""
    return Galaxies()


@pytest.fixture
def open_root(tmp_path):
    """Open a Parquet root with the production reader."""
    from lensjax.data.files import FileSource
    from lensjax.data.parquet import ParquetFormat

    return lambda root: FileSource(str(root), ParquetFormat(), tmp_path / "cache")
