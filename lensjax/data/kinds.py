"""The formats of files by the name that `data.source` gives them.

Not the formats themselves: each is imported when it is asked for, with the packages it needs.

    >>> form = format_of("fits", config.data)
"""

from __future__ import annotations

from typing import Any

from lensjax.data.formats import Format
from lensjax.data.told import Told
from lensjax.schema import ExitCode, LensjaxError

TOLD = ("unit", "zero_point", "pixel_scale_arcsec", "bands", "resample")  # fields of `data`


def format_of(name: str, data: Any) -> Format:
    """The format called `name`, told what the `data` part of a config says of the files. Raises
    LensjaxError (USAGE) for what does not apply to the format, or cannot be."""
    told = Told(**{field: getattr(data, field) for field in TOLD})
    if name == "parquet":
        from lensjax.data.parquet import ParquetFormat

        _untold(name, told, Told())
        return ParquetFormat()
    if name == "fits":
        from lensjax.data.fits import FitsFormat

        return FitsFormat(told)
    if name == "hdf5":
        from lensjax.data.hdf5 import Hdf5Format

        return Hdf5Format(told)
    from lensjax.data.folders import NpyFormat, NpzFormat

    return NpzFormat(told) if name == "npz" else NpyFormat(told)


def _untold(name: str, told: Told, nothing: Told) -> None:
    """An option that would do nothing is refused."""
    for field in TOLD:
        if getattr(told, field) != getattr(nothing, field):
            raise LensjaxError(
                ExitCode.USAGE,
                f"does not apply to {name} files, which are nanomaggies in g, r, z",
                f"--config.data.{field}",
                "Leave it out; pixel scales are a column, pixel_scale_arcsec",
            )
