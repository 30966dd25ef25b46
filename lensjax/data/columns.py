"""The columns that an index or an HDF5 file has, under the names of `formats`, with what is told
of a row alone.

Not a reader: `index` and `hdf5` fill Columns.

    >>> columns.told(17, Told(unit="counts")).zero_point
    30.0
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pyarrow as pa

from lensjax import schema
from lensjax.data.bricks import brick_names
from lensjax.data.formats import NUMBERS, PAIR, WORDS, Shard, finding
from lensjax.data.stampset import Finding
from lensjax.data.told import Told
from lensjax.schema import ExitCode, LensjaxError

ALIASES = {"psfdepth_r": "psf_depth", "psf_fwhm_used_r": "psf_fwhm_arcsec"}  # as in Parquet files
NUMBER_COLUMNS = (*NUMBERS, "zero_point")
WORD_COLUMNS = (*WORDS, "unit")
MAX_LENGTH = {"task_id": 64, "file": 1024, "control_file": 1024}  # characters
_MAX_LENGTH = 32  # of other words
TOLD_NUMBERS = ("zero_point", "pixel_scale_arcsec")  # with `unit`, what a row tells of itself
MAX_EXAMPLES = 8


@dataclass(frozen=True)
class Columns:
    """The columns that are there: `numbers` float64 [rows] (NaN: unknown), `words` of text, both
    by name, and the names of those not known."""

    rows: int
    numbers: dict[str, np.ndarray]
    words: dict[str, pa.StringArray]
    unknown: tuple[str, ...]

    def names(self) -> tuple[str, ...]:
        """The columns that are there."""
        return (*self.numbers, *self.words)

    def word(self, name: str, row: int) -> str:
        """The word of a row; empty without the column."""
        return self.words[name][row].as_py() if name in self.words else ""

    def number(self, name: str, row: int) -> float:
        """The number of a row; NaN without the column."""
        return float(self.numbers[name][row]) if name in self.numbers else np.nan

    def told(self, row: int, told: Told) -> Told:
        """`told` of all, with what this row tells of itself in its place. Raises LensjaxError
        (DATA_INVALID) for what cannot be."""
        own: dict = {}
        for name in TOLD_NUMBERS:
            if not np.isnan(value := self.number(name, row)):
                own[name] = value
        if unit := self.word("unit", row):
            own["unit"] = unit
        try:
            return replace(told, **own) if own else told
        except LensjaxError as error:
            what = f"column {error.where.removeprefix('data.')}: {error.what}"
            raise LensjaxError(ExitCode.DATA_INVALID, what) from error

    def examples(self) -> list[int]:
        """The first row of each way to tell of rows (of each survey in a mixture), at most 8."""
        told = [self.numbers[name] for name in TOLD_NUMBERS if name in self.numbers]
        told += [as_text(self.words["unit"])] if "unit" in self.words else []
        if not told:
            return [0]
        codes = np.stack([np.unique(column, return_inverse=True)[1] for column in told], 1)
        return sorted(np.unique(codes, axis=0, return_index=True)[1].tolist())[:MAX_EXAMPLES]

    def with_scales(self, told: Told, declared: np.ndarray | None = None) -> Self:
        """With the pixel scale of every row's stamp: as resampled, else the row's own, else as
        told, else as its file declares (float64 [rows], NaN where that cannot be read: such a row
        is refused with its stamp, and has the survey's in the meantime)."""
        scales = np.full(self.rows, told.pixel_scale_arcsec or np.nan)
        if declared is not None:
            scales = np.where(np.isnan(scales), declared, scales)
        own = self.numbers.get("pixel_scale_arcsec", scales)
        scales = np.where(np.isnan(own), scales, own)
        scales[np.isnan(scales) | told.resample] = schema.PIXEL_SCALE_ARCSEC
        return replace(self, numbers={**self.numbers, "pixel_scale_arcsec": scales})

    def metadata(self, shard: Shard, has_control: np.ndarray) -> dict[str, np.ndarray]:
        """Every column of formats.NUMBERS and WORDS: those that are there, ids made of file and
        row, bricks made of positions, kinds made of `has_control` (bool [rows])."""
        found = {
            name: self.numbers.get(name, np.full(self.rows, absent))
            for name, absent in NUMBERS.items()
        }
        for name, absent in WORDS.items():
            column = self.words.get(name)
            found[name] = np.full(self.rows, absent) if column is None else as_text(column)
        if "task_id" not in self.words:
            stem = shard.name.rsplit(".", 1)[0].replace("/", "-")
            found["task_id"] = np.array([f"{stem}-{row:07d}" for row in range(self.rows)])
        if "brickname" not in self.words:
            found["brickname"] = _bricks(found["ra"], found["dec"])
        said = found["kind"] if "kind" in self.words else np.full(self.rows, "")
        found["kind"] = np.where((said == "") & has_control, PAIR, said)
        return found

    def findings(self, shard: Shard, has_control: np.ndarray, known: tuple[str, ...]):
        """Notes of columns that are not known, and an ERROR for rows that are not said to be
        anything."""
        found: list[Finding] = []
        for name in self.unknown:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f": is it {near[0]!r}?" if near else ""
            what = f"column {name!r} is not known and not read{hint}"
            found.append(finding(what, shard.name, severity="NOTE"))
        if "kind" not in self.words and not has_control.all():
            where = f"{shard.name} row {int(np.flatnonzero(~has_control)[0])}"
            found.append(finding("no control, and no column 'kind' to say what it is", where))
        return found


def shard_columns(names: Iterable[str]) -> tuple[str, ...]:
    """Columns called `names` as Shard.columns has them; a position tells the brick."""
    found = list(dict.fromkeys(map(canonical, names)))
    placed = {"ra", "dec"} <= set(found) and "brickname" not in found
    return (*found, "brickname") if placed else tuple(found)


def canonical(name: str) -> str:
    """The name under `formats` of a column."""
    return ALIASES.get(name, name)


def as_text(words: pa.StringArray) -> np.ndarray:
    """str [n]."""
    return words.to_numpy(zero_copy_only=False).astype(str)


def bounded(name: str, words: pa.StringArray) -> pa.StringArray:
    """`words` without blanks around them. Raises LensjaxError (DATA_INVALID) naming the first row
    whose word is longer than such words are: a table of them would be as wide for every row."""
    limit = MAX_LENGTH.get(name, _MAX_LENGTH)
    trimmed = [word.strip() for word in words.to_pylist()]
    for row, word in enumerate(trimmed):
        if len(word) > limit:
            what = f"column {name!r} is longer than {limit} characters"
            raise LensjaxError(ExitCode.DATA_INVALID, what, f"row {row}")
    return pa.array(trimmed, pa.string())


def _bricks(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """str [n]: bricks of positions in degrees; empty where there is none."""
    known = np.isfinite(ra) & (np.abs(dec) <= 90)
    names = np.full(len(ra), "", "U8")
    names[known] = brick_names(ra[known], dec[known])
    return names
