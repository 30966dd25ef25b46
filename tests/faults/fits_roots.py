"""Sound folders of FITS cutouts, one file a band, written byte by byte (FITS standard 4.0).

Not astropy's writer, which refuses what the faults need: a header without END, control characters.

    root = sound_fits()
    root.put(float32)                       # of row 2 of train
    root.write(tmp_path / "data")
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.faults.roots import BANDS, SPLITS, make_pairs

ROWS = dict(zip(SPLITS, (4, 2, 2), strict=True))
ROW = 2  # of train: where a fault is planted
SPOILT = f"train/stamp-{ROW}_r.fits"
FITS = "--config.data.source=fits"
Encode = Callable[[np.ndarray], bytes]  # a plane, float32 [64, 64], as a FITS file
_COLUMNS = ("brickname", "ra", "dec", "theta_e_arcsec", "arc_snr", "psf_fwhm_arcsec", "psfdepth_r")


def card(name: str, value: str | float | bool) -> str:
    """One card of 80 characters."""
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, str):
        text = f"'{value:<8}'"
    else:
        text = f"{value:>20}"
    return f"{name:<8}= {text}".ljust(80)


def header(bitpix: int, **more: str | float) -> str:
    """The cards of an image of 64 x 64, in nanomaggies, without END."""
    told = {"BITPIX": bitpix, "NAXIS": 2, "NAXIS1": 64, "NAXIS2": 64, "BUNIT": "nanomaggy"}
    cards = {"SIMPLE": True, **told, "PIXSCALE": 0.262, **more}
    return "".join(card(name, value) for name, value in cards.items())


def padded(data: bytes, fill: bytes) -> bytes:
    """`data` up to a whole number of blocks."""
    return data + fill * (-len(data) % 2880)


def file_of(cards: str, data: bytes, end: str = "END") -> bytes:
    """Header and data."""
    return padded((cards + end.ljust(80)).encode("latin-1"), b" ") + padded(data, b"\0")


def float32(plane: np.ndarray) -> bytes:
    """Floats as FITS has them: the large end first."""
    return file_of(header(-32), plane.astype(">f4").tobytes())


@dataclass
class FitsRoot:
    """Pixels float32 [2, n, 3, 64, 64] by split (stamps, then controls), and how band r of a row of
    train is written."""

    pixels: dict[str, np.ndarray]
    columns: dict[str, dict]
    spoilt: Encode = float32
    encode: Encode = float32

    def write(self, root: Path) -> Path:
        """Write everything under `root`; returns it."""
        for split, pixels in self.pixels.items():
            folder = root / split
            folder.mkdir(parents=True)
            for member, stamps in zip(("stamp", "control"), pixels, strict=True):
                for row, stamp in enumerate(stamps):
                    for band, plane in zip(BANDS, stamp, strict=True):
                        name = f"{member}-{row}_{band}.fits"
                        spoil = f"{split}/{name}" == SPOILT
                        encode = self.spoilt if spoil else self.encode
                        (folder / name).write_bytes(encode(plane))
            self._index(folder, split)
        return root

    def _index(self, folder: Path, split: str) -> None:
        with open(folder / "stamps.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["file", "control_file", *_COLUMNS])
            for row in range(ROWS[split]):
                names = [f"{member}-{row}_{{band}}.fits" for member in ("stamp", "control")]
                writer.writerow([*names, *(self.columns[split][x][row] for x in _COLUMNS)])


def sound_fits() -> FitsRoot:
    """4, 2 and 2 pairs."""
    pixels, columns = {}, {}
    for split, n in ROWS.items():
        stamps, controls, columns[split] = make_pairs(split, 0, n)
        pixels[split] = np.stack([stamps, controls])
    return FitsRoot(pixels, columns)
