"""A mixture of two surveys as one set of FITS cutouts: Pan-STARRS1 lenses against DES galaxies.

Not a set to train on: the survey tells the label, and phase 0 must say so. Made from the files of
../shared/data, which are not ours to keep; what those do not say is told in the index, row by row.

write_mixture(tmp_path / "mixture")          # then data.source=fits, data.root=..., told()
"""

from __future__ import annotations

import csv
import hashlib
import shutil
import warnings
from pathlib import Path

from astropy.io import fits
from astropy.wcs import WCS

from lensjax import schema
from lensjax.data.told import Told

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
PS1, DES = SHARED / "ps1_lenses_fits", SHARED / "des_galaxies_fits"
DES_GALAXIES = 23
COLUMNS = ("file", "row", "kind", "task_id", "ra", "dec", "unit", "zero_point")
COLUMNS += ("pixel_scale_arcsec",)
PS1_UNIT = ("counts", 25.0, 0.25)  # counts of the exposure time in the header
DES_UNIT = ("counts/s", 30.0, 0.263)  # the zero point holds for the pixels as they are


def lens_names() -> list[str]:
    """The 20 names of the lenses, sorted: NAME_{g,r,z}.fits."""
    return sorted(path.name.removesuffix("_g.fits") for path in PS1.glob("*_g.fits"))


def split_of(name: str) -> str:
    """train, val or test, of an object: half, a quarter, a quarter, by a hash of its name."""
    u = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32
    return "train" if u < 0.5 else "val" if u < 0.75 else "test"


def told() -> Told:
    """Nothing of all: every row tells of itself."""
    return Told()


def write_mixture(root: Path) -> Path:
    """Writes ROOT/{train,val,test}/stamps.csv and the files that it names; returns `root`. Lenses
    have the positions of their WCS; the DES galaxies' are nowhere told, and are made up, a degree
    apart."""
    rows: dict[str, list[tuple]] = {split: [] for split in schema.SPLITS}
    for split in schema.SPLITS:
        (root / split / "ps1").mkdir(parents=True)
        shutil.copytree(DES, root / split / "des", copy_function=shutil.copyfile)
    positions = dict(zip(lens_names(), _positions(), strict=True))
    for name, (ra, dec) in positions.items():
        split = split_of(name)
        for band in schema.BANDS:
            file = f"{name}_{band}.fits"
            shutil.copyfile(PS1 / file, root / split / "ps1" / file)
        rows[split].append(("ps1/" + name + "_{band}.fits", 0, "lens", name, ra, dec, *PS1_UNIT))
    for k in range(DES_GALAXIES):
        name = f"des-{k:02d}"
        place = ("des/{band}.fits", k, "control", name, 20.0 + k, -45.0)
        rows[split_of(name)].append((*place, *DES_UNIT))
    for split, lines in rows.items():
        with open(root / split / "stamps.csv", "w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *lines])
    return root


def _positions() -> list[tuple[float, float]]:
    """Degrees, of the centre of each lens' g image, by astropy."""
    found = []
    for name in lens_names():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of keywords older than the standard
            wcs = WCS(fits.getheader(PS1 / f"{name}_g.fits"))
        height, width = wcs.array_shape
        ra, dec = wcs.wcs_pix2world((width - 1) / 2, (height - 1) / 2, 0)
        found.append((float(ra), float(dec)))
    return found
