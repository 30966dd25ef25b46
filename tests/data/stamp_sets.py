"""Small sets of stamps in every format beside Parquet, sound unless a test changes them.

made = write_set(tmp_path / "root", "fits", splits=schema.SPLITS)       # 6, 3 and 3 pairs
made.form.list_split(made.filesystem, made.root, "train")
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import fsspec
import h5py
import numpy as np
from astropy.io import fits

from lensjax import schema
from lensjax.data.fits import FitsFormat
from lensjax.data.folders import NpyFormat, NpzFormat
from lensjax.data.formats import Block, Format
from lensjax.data.hdf5 import Hdf5Format
from lensjax.data.stampset import Finding
from lensjax.data.told import Told

ROWS = {"train": 6, "val": 3, "test": 3}
SOUND = {
    "fits": Told(),  # its headers declare all
    "npz": Told(unit="nanomaggy", pixel_scale_arcsec=0.262),
    "npy": Told(unit="nanomaggy", pixel_scale_arcsec=0.262, bands="grz"),
    "hdf5": Told(),
}
FORMATS = {"fits": FitsFormat, "npz": NpzFormat, "npy": NpyFormat, "hdf5": Hdf5Format}
HEADER = {"BUNIT": "nanomaggy", "PIXSCALE": 0.262}
Change = Callable[[np.ndarray], np.ndarray]  # of the stamp [3, 64, 64] of one row, or of all


def pairs(split: str, side: int = 64) -> np.ndarray:
    """float32 [2, n, 3, side, side]: stamps with an arc, and their controls."""
    n = ROWS[split]
    rng = np.random.default_rng(sum(map(ord, split)))
    control = rng.normal(0, 0.02, (n, 3, side, side)).astype(np.float32)
    control[:, :, side // 2 - 2 : side // 2 + 2, side // 2 - 2 : side // 2 + 2] += 1.0
    arc = np.zeros_like(control)
    arc[:, :, side // 2 - 12 : side // 2 - 8, side // 2 - 4 : side // 2 + 4] = 0.3
    return np.stack([control + arc, control])


@dataclass
class Made:
    """A written set."""

    root: str
    form: Format
    filesystem: fsspec.AbstractFileSystem

    def shard(self, split: str = "train"):
        """The one shard of a split, which is sound."""
        (shard,), findings = self.form.list_split(self.filesystem, self.root, split)
        assert findings == []
        return shard

    def listed(self, split: str = "train") -> list[Finding]:
        """What is wrong with the files of a split, where no shard is sound."""
        shards, findings = self.form.list_split(self.filesystem, self.root, split)
        assert shards == [] and findings
        return findings

    def metadata(self, split: str = "train") -> tuple[dict[str, np.ndarray], list[Finding]]:
        return self.form.metadata(self.filesystem, self.shard(split))

    def blocks(self, split: str = "train") -> Iterator[Block]:
        shard = self.shard(split)
        for piece in self.form.pieces(self.filesystem, shard):
            yield from self.form.blocks(self.filesystem, shard, piece)

    def pixels(self, split: str = "train") -> np.ndarray:
        """float32 [members, n, 3, 64, 64], of a split in which nothing is wrong."""
        found = list(self.blocks(split))
        assert [fault for block in found for fault in block.faults] == []
        return np.concatenate([block.pixels for block in found], axis=1)

    def faults(self, split: str = "train") -> list[tuple[int, Finding]]:
        return [fault for block in self.blocks(split) for fault in block.faults]

    def fault(self, split: str = "train") -> tuple[str, str, str, int]:
        """Where, message, severity and exit code of the only fault there is."""
        ((_, one),) = self.faults(split)
        return one.where, one.message, one.severity, int(one.code)


def open_set(root: Path | str, kind: str, told: Told | None = None) -> Made:
    """The set at `root`, told what makes a sound one unless `told` otherwise."""
    form = FORMATS[kind](SOUND[kind] if told is None else told)
    return Made(str(root), form, fsspec.filesystem("file"))


def write_set(
    root: Path,
    kind: str,
    change: Change | None = None,
    every: Change | None = None,
    splits: Sequence[str] = ("train",),
    **how,
) -> Made:
    """Writes pairs as `kind` of files; `change` spoils the stamp of row 4 of train, `every` all
    stamps and controls."""
    for split in splits:
        members = [list(member) for member in pairs(split)]
        if change and split == "train":
            members[0][4] = change(members[0][4].copy())
        if every:
            members = [[every(stamp) for stamp in member] for member in members]
        (root / split).mkdir(parents=True)
        WRITERS[kind](root / split, members, **how)
    return open_set(root, kind)


def index_rows(split: str, suffix: str) -> list[dict[str, object]]:
    """Rows of a sound index; files are stamp-0.fits, control-0.fits, ..."""
    return [
        {
            "file": f"stamp-{k}{suffix}",
            "control_file": f"control-{k}{suffix}",
            "ra": 10.0 * list(ROWS).index(split) + k,
            "dec": -5.0,
            "theta_e_arcsec": 1.5,
            "arc_snr": 20.0,
            "psf_fwhm_arcsec": 1.1,
            "psfdepth_r": 23.5,
        }
        for k in range(ROWS[split])
    ]


def write_index(folder: Path, rows: list[dict[str, object]]) -> None:
    with open(folder / "stamps.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def write_fits(path: Path, pixels: np.ndarray, header: dict | None = None) -> None:
    cards = HEADER if header is None else header
    fits.PrimaryHDU(pixels, fits.Header(cards)).writeto(path, overwrite=True)


def _named(members) -> Iterator[tuple[str, int, np.ndarray]]:
    for name, stamps in zip(("stamp", "control"), members, strict=True):
        for k, stamp in enumerate(stamps):
            yield name, k, stamp


def _fits(folder: Path, members, header: dict | None = None) -> None:
    for name, k, stamp in _named(members):
        for band, plane in zip(schema.BANDS, stamp, strict=True):
            cards = {**HEADER, "FILTER": band} if header is None else header
            write_fits(folder / f"{name}-{k}_{band}.fits", plane, cards)
    write_index(folder, index_rows(folder.name, "_{band}.fits"))


def _npz(folder: Path, members) -> None:
    for name, k, stamp in _named(members):
        arrays = {f"image_{b}": plane for b, plane in zip(schema.BANDS, stamp, strict=False)}
        np.savez(folder / f"{name}-{k}.npz", **arrays)
    write_index(folder, index_rows(folder.name, ".npz"))


def _npy(folder: Path, members) -> None:
    for name, k, stamp in _named(members):
        np.save(folder / f"{name}-{k}.npy", stamp)
    write_index(folder, index_rows(folder.name, ".npy"))


def _hdf5(folder: Path, members, attributes: dict | None = None, **how) -> None:
    stamps, controls = (np.stack(member) for member in members)
    declared = {"unit": "nanomaggy", "pixel_scale_arcsec": 0.262, "bands": "grz"}
    with h5py.File(folder / "part.h5", "w") as file:
        file.create_dataset("stamps", data=stamps, **how)
        file.create_dataset("controls", data=controls, **how)
        file.attrs.update(declared if attributes is None else attributes)
        rows = index_rows(folder.name, "")
        for name in ("ra", "dec", "theta_e_arcsec", "arc_snr", "psf_fwhm_arcsec", "psfdepth_r"):
            file[name] = np.array([row[name] for row in rows])


WRITERS = {"fits": _fits, "npz": _npz, "npy": _npy, "hdf5": _hdf5}


def set_pixel(value: float) -> Change:
    """Pixel (5, 6) of band r becomes `value`."""

    def change(stamp: np.ndarray) -> np.ndarray:
        stamp[1, 5, 6] = value
        return stamp

    return change


def set_band(value: float) -> Change:
    """All of band r becomes `value`."""

    def change(stamp: np.ndarray) -> np.ndarray:
        stamp[1] = value
        return stamp

    return change


PIXEL_FAULTS = {
    "D1 NaN": (set_pixel(np.nan), "1 NaN"),
    "D2 +Inf": (set_pixel(np.inf), "1 +Inf"),
    "D2 -Inf": (set_pixel(-np.inf), "1 -Inf"),
    "D2 sentinel": (set_pixel(1e30), "1 of the 1e30 sentinel"),
    "D2 fill": (set_pixel(-99), "1 of the -99 fill"),
    "D6 zeros": (set_band(0), "zero variance (constant 0)"),
    "D6 constant": (set_band(4.5), "zero variance (constant 4.5)"),
}


def link_out(root: Path, inside: Path) -> None:
    """`inside` becomes a link to a copy of itself outside of `root`."""
    outside = root.parent / f"outside-{inside.name}"
    os.rename(inside, outside)
    inside.symlink_to(outside)
