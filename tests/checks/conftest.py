"""A small clean data set made with numpy alone: pairs with a ring, and look-alikes.

Nothing of lensjax.simulate is used, so that the checks are tried on pixels they were not made for.
"""

from __future__ import annotations

import copy
import functools
import io
import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lensjax import schema
from lensjax.checks import shortcuts
from lensjax.checks.result import Summary
from lensjax.checks.run import run_checks
from lensjax.checks.scan import Scan, scan_files, scan_sets
from lensjax.data.files import FileSource
from lensjax.data.parquet import ParquetFormat
from lensjax.data.stampset import Finding, StampSet, build_table, canonical

PROTOCOL: dict[str, Any] = {
    "locked": True,
    "phase0": {
        "required": [
            "stamps", "pairs", "splits", "duplicates", "labels", "protocol",
            "metadata_shortcut", "survey_shortcut",
        ],
        "minimum": {
            "anchors": 30,
            "contaminants": {"ring": 50, "spiral": 50, "merger": 30},
            "shortcut_hosts": 15,
        },
        "limits": {
            "quarantine": 0,
            "pair_outside": 0.05,
            "host_separation_arcsec": 24.0,
            "guard_band_deg": 0.05,
            "guard_band_enforced": False,
            "proportion_tolerance": 0.03,
            "shortcut_auc": 0.60,
            "anchor_theta_e_arcsec": 0.5,
        },
    },
}  # fmt: skip
PROPORTIONS = (0.5, 0.25, 0.25)
RADIUS = schema.radius_map()
Sets = dict[str, StampSet]


def make_set(split: str, n_pairs: int, n_lookalikes: int, seed: int) -> StampSet:
    """Pairs and ring look-alikes, 4 hosts a brick, splits 10 degrees of declination apart."""
    k = schema.SPLITS.index(split)
    rng = np.random.default_rng([seed, k])
    columns: dict[str, list] = {name: [] for name in schema.TABLE_COLUMNS}
    stamps = []
    for host in range(n_pairs + n_lookalikes):
        sky = rng.normal(0.012, 0.001, 3) * rng.standard_normal((64, 64, 3))
        galaxy = 2.0 * np.exp(-RADIUS / rng.uniform(2, 4))[..., None] * np.array([0.3, 1.0, 1.6])
        theta_e, psf, snr = rng.uniform(1.0, 2.5), rng.normal(1.18, 0.1), rng.uniform(5, 40)
        ring = np.exp(-0.5 * ((RADIUS - theta_e / 0.262) / 1.8) ** 2)[..., None]
        ring = 0.012 * snr * ring / np.sqrt((ring**2).sum()) * np.array([1.0, 1.0, 0.7])
        pair = host < n_pairs
        ids = [f"{split}-{host:05d}-s", f"{split}-{host:05d}-c"] if pair else [f"{split}-{host}-l"]
        for member, stamp_id in enumerate(ids):
            positive = pair and member == 0
            row = {
                "stamp_id": stamp_id,
                "pair_id": f"{split}-{host:05d}",
                "lrg_id": f"{split}-host-{host:05d}",
                "brick": f"{split}{host // 4:04d}",
                "ra": 0.25 * (host // 4) + 0.05 * (host % 4) + 0.02,
                "dec": 10.0 * k,
                "split": split,
                "label": int(positive),
                "negative_kind": "" if positive else "control" if pair else "ring",
                "theta_e_arcsec": theta_e if positive else np.nan,
                "arc_snr": snr if positive else np.nan,
                "arc_snr_shot": 0.95 * snr if positive else np.nan,
                "psf_fwhm_arcsec": psf,
                "psf_depth": 23.4 + 0.1 * psf,
                "psf_bin": 0,
                "depth_bin": 0,
                "ebv": 0.02 * psf,
                "pixel_scale_arcsec": 0.262,
                "source_file": f"{split}/part-{host % 2}.parquet",
                "source_row": host // 2,
            }
            for name, value in row.items():
                columns[name].append(value)
            stamps.append(sky + galaxy + (ring if positive or not pair else 0.0))
    table = build_table(columns)
    return canonical(StampSet(split, table, np.asarray(stamps, np.float32), "arrays"))


def make_sets(seed: int = 0) -> Sets:
    return {
        name: make_set(name, n_pairs, n_lookalikes, seed)
        for name, n_pairs, n_lookalikes in (("train", 48, 12), ("val", 24, 6), ("test", 24, 6))
    }


def changed(stamp_set: StampSet, **columns: Any) -> StampSet:
    """`stamp_set` with other columns."""
    return StampSet(
        stamp_set.split, {**stamp_set.table, **columns}, stamp_set.stamps, stamp_set.reader
    )


def subset(stamp_set: StampSet, keep: np.ndarray) -> StampSet:
    """Those rows of `stamp_set`."""
    table = {name: column[keep] for name, column in stamp_set.table.items()}
    return StampSet(stamp_set.split, table, stamp_set.stamps[keep], stamp_set.reader)


def phase0(sets: Sets, findings: tuple[Finding, ...] = (), **kwargs: Any) -> Summary:
    """scan_sets, and `judged`."""
    return judged(scan_sets(sets, findings, progress=False), **kwargs)


def judged(scan: Scan, **kwargs: Any) -> Summary:
    """run_checks under the test's protocol."""
    given: dict[str, Any] = {
        "protocol": PROTOCOL,
        "protocol_digest": "p" * 64,
        "data_digest": "d" * 64,
        "proportions": PROPORTIONS,
        "simulated": True,
    }
    return run_checks(scan, **{**given, **kwargs})


def blob(stamp: np.ndarray) -> bytes:
    """The npz bytes of a stamp [64, 64, 3], as Parquet files hold it."""
    out = io.BytesIO()
    np.savez(out, **{f"image_{band}": stamp[..., k] for k, band in enumerate(schema.BANDS)})
    return out.getvalue()


Spoil = Callable[[str, dict[str, list]], None]  # split, columns


def write_root(
    root: Path, sets: Sets, *, files: int = 1, spoil: Spoil | None = None, **options: Any
) -> Path:
    """The pairs of `sets` as users have them, ROOT/{train,val,test}/part-00000.parquet and on, in
    `files` files a split; `options` are pyarrow's."""
    for split, stamp_set in sets.items():
        table = stamp_set.table
        control = np.flatnonzero(table["negative_kind"] == "control")
        stamp = control + 1
        columns = {
            "task_id": table["pair_id"][stamp].tolist(),
            "brickname": table["brick"][stamp].tolist(),
            "region_split": table["split"][stamp].tolist(),
            "psfdepth_r": table["psf_depth"][stamp].tolist(),
            **{
                name: table[name][stamp].tolist()
                for name in ("ra", "dec", "theta_e_arcsec", "arc_snr", "psf_fwhm_arcsec", "ebv")
            },
            "stamp_npz": [blob(s) for s in stamp_set.stamps[stamp]],
            "ctrl_stamp_npz": [blob(s) for s in stamp_set.stamps[control]],
        }
        if spoil:
            spoil(split, columns)
        (root / split).mkdir(parents=True)
        whole = pa.table(columns)
        edges = [len(whole) * k // files for k in range(files + 1)]
        for k, (first, end) in enumerate(itertools.pairwise(edges)):
            path = root / split / f"part-{k:05d}.parquet"
            pq.write_table(whole.slice(first, end - first), path, **options)
    return root


@pytest.fixture(scope="session")
def clean() -> Sets:
    """Never to be changed: `sets` is a copy."""
    return make_sets()


@pytest.fixture
def quick_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer resamplings of the shortcuts' intervals, for tests of something else."""
    quick = functools.partial(shortcuts.auroc_interval, resamples=200)
    monkeypatch.setattr(shortcuts, "auroc_interval", quick)


@pytest.fixture
def sets(clean: Sets) -> Sets:
    """A clean set to plant faults in."""
    return copy.deepcopy(clean)


@pytest.fixture(scope="session")
def clean_root(clean: Sets, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pairs of `clean` in 4 files a split: enough pieces for a pool of workers. Never to be
    changed."""
    return write_root(tmp_path_factory.mktemp("clean") / "root", clean, files=4)


@pytest.fixture
def open_root(tmp_path: Path) -> Callable[..., FileSource]:
    """Opens a Parquet root with the production reader, its digests remembered in tmp_path."""
    return lambda root: FileSource(str(root), ParquetFormat(), tmp_path / "cache")


@pytest.fixture
def scan_root(open_root: Callable[..., FileSource]) -> Callable[..., Scan]:
    """The scan of a Parquet root, in this process unless told otherwise."""
    return lambda root, workers=1: scan_files(open_root(root), workers=workers, progress=False)


@pytest.fixture
def made() -> SimpleNamespace:
    """The functions and the protocol of this file (test files cannot import one another)."""
    return SimpleNamespace(
        sets=make_sets,
        set=make_set,
        changed=changed,
        subset=subset,
        phase0=phase0,
        judged=judged,
        blob=blob,
        write_root=write_root,
        protocol=copy.deepcopy(PROTOCOL),
        radius=RADIUS,
    )
