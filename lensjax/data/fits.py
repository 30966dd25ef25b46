"""Folders of FITS cutouts: one file a band, a cube a band, or a cube of the bands.

Not a pipeline: pixels are calibrated, and resampled only if told, but nothing is registered,
subtracted or repaired. `fits_image` reads pixels, `fits_header` what is declared of them.

    >>> form = FitsFormat(Told(unit="counts"))
    >>> shards, findings = form.list_split(filesystem, root, "train")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import fsspec
import numpy as np

from lensjax import schema
from lensjax.data import fits_header
from lensjax.data.cutouts import Cutout
from lensjax.data.fits_image import Image, open_image
from lensjax.data.formats import Shard, finding
from lensjax.data.index import Index
from lensjax.data.indexed import IndexedFormat
from lensjax.data.npz import damaged
from lensjax.data.reading import Bytes
from lensjax.data.stampset import Finding
from lensjax.data.told import Told, band_planes, pixel_scale
from lensjax.progress import progress_bar
from lensjax.schema import LensjaxError

BAND = "{band}"  # in the index's word for a file: one file for each band


@dataclass(frozen=True)
class FitsFormat(IndexedFormat):
    """Format of FITS files. With {band} in its name a file holds one band, as an image or as a
    cube of stamps; without, it is a cube of the bands of one stamp."""

    name: ClassVar[str] = "fits"

    def parts(self, file: str) -> tuple[str, ...]:
        """A file for each band, or the one."""
        if BAND not in file:
            return (file,)
        return tuple(file.replace(BAND, band) for band in schema.BANDS)

    def opened(self, file: Bytes) -> Image:
        """Its first image."""
        return open_image(file)

    def cutout(self, parts: Sequence[Image], row: int, told: Told) -> Cutout:
        """The stamp of a row of cubes, of images or of a cube of bands."""
        if len(parts) == 1:
            return _cube(parts[0], row, told)
        planes, declared = [], []
        for band, image in zip(schema.BANDS, parts, strict=True):
            try:
                fits_header.check_band(image, band)
                declared.append(fits_header.declared(image))
                planes.append(image.plane(row))
            except LensjaxError as error:
                error.where = f"band {band}"
                raise
        return Cutout(planes, declared)

    def declared_columns(
        self, filesystem: fsspec.AbstractFileSystem, shard: Shard, index: Index
    ) -> tuple[Index, list[Finding]]:
        """`index` with the pixel scales that the headers declare, and with ra and dec of the
        centre where there are no such columns: then every row's first header is read."""
        placed = "ra" in index.numbers and "dec" in index.numbers
        own = index.numbers.get("pixel_scale_arcsec", np.array(np.nan))
        scaled = self.told.resample or self.told.pixel_scale_arcsec or not np.isnan(own).any()
        if placed and scaled:
            return index.with_scales(self.told), []
        scale, ra, dec = np.full((3, index.rows), np.nan)
        opener = self.opener(filesystem, shard)
        bar = progress_bar(range(index.rows), desc=f"headers of {shard.split}", unit="row")
        for row in bar:
            try:
                image = opener(self.parts(index.place(row, control=False).file)[0])
                scale[row] = _scale(image, index.told(row, self.told))
                if not placed and image.planes == 1:
                    ra[row], dec[row] = fits_header.centre(image) or (np.nan, np.nan)
            except LensjaxError:
                continue  # the row's own fault: its block says so
        index = index.with_scales(self.told, scale)
        if placed:
            return index, []
        index = replace(index, numbers={**index.numbers, "ra": ra, "dec": dec})
        unplaced = np.flatnonzero(np.isnan(ra))
        if not len(unplaced):
            return index, []
        what = f"{len(unplaced)} rows without a position: no columns ra and dec, and no WCS of "
        what += f"one stamp that says it plainly ({', '.join(fits_header.PROJECTIONS)}; ICRS, FK5)"
        return index, [finding(what, f"{shard.name} row {unplaced[0]}", severity="NOTE")]


def _cube(image: Image, row: int, told: Told) -> Cutout:
    if row:
        raise damaged(f"row {row} of a cube of bands, which is one stamp")
    planes = band_planes(fits_header.cube_bands(image), told, image.planes)
    declared = fits_header.declared(image)
    return Cutout([image.plane(k) for k in planes], [declared] * len(planes))


def _scale(image: Image, told: Told) -> float:
    return pixel_scale(fits_header.declared(image).pixel_scale_arcsec, told)
