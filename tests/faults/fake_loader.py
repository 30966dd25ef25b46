"""A private loader in the place of the production one: the mistake that a smoke run must not make.

Made-up stamps of the right shape, with which everything seems to work. Also a plugin of pytest,
which gives them to the suite's own runs of main.py:

    pytest -p tests.faults.fake_loader tests/test_job.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lensjax.data.stampset import StampSet, build_table, canonical
from tests.faults.roots import make_pairs

LOADER = "lensjax.job.train.load"  # as training calls it


def load(job: Any, split: str) -> tuple[StampSet, np.ndarray]:
    """20 pairs that no file holds, and all of them in the manifest."""
    del job
    stamps, controls, made = make_pairs(split, 0, 20)
    n = len(stamps)
    label = np.repeat([1, 0], n)
    two = {name: np.tile(np.asarray(made[name]), 2) for name in made}
    columns = {
        "stamp_id": [f"{name}-{'cs'[k]}" for name, k in zip(two["task_id"], label, strict=True)],
        "pair_id": two["task_id"],
        "lrg_id": two["task_id"],
        "brick": two["brickname"],
        "split": [split] * 2 * n,
        "label": label,
        "negative_kind": np.where(label == 1, "", "control"),
        "psf_depth": two["psfdepth_r"],
        "arc_snr_shot": np.full(2 * n, np.nan),
        "pixel_scale_arcsec": np.full(2 * n, 0.262),
        "source_file": ["made up"] * 2 * n,
        "source_row": np.arange(2 * n),
    }
    for name in ("theta_e_arcsec", "arc_snr"):
        columns[name] = np.where(label == 1, two[name], np.nan)
    for name in ("ra", "dec", "psf_fwhm_arcsec", "ebv", "psf_bin", "depth_bin"):
        columns[name] = two[name]
    pixels = np.moveaxis(np.concatenate([stamps, controls]), 1, -1)
    made_up = StampSet(split, build_table(columns), np.ascontiguousarray(pixels), "arrays")
    return canonical(made_up), np.ones(2 * n, bool)


def pytest_configure() -> None:
    """For all tests of this pytest."""
    pytest.MonkeyPatch().setattr(LOADER, load)
