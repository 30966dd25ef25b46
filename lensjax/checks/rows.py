"""Every stamp of all splits as the checks see it: numbers and codes, no pixels and few strings.

Not a reader: `of_sets` takes StampSets, `of_files` the listing of a FileSource. Names of hosts,
bricks and files are kept once each, so that ten million stamps fit into a gigabyte.

    >>> rows = of_sets(sets)
    >>> rows.where(17)
    'train/part-00003.parquet row 17'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from lensjax import schema
from lensjax.data.files import FileSource
from lensjax.data.rows import BINS, STAMP_KINDS, Stamps, kind_codes, shorten, stamp_ids
from lensjax.data.stampset import StampSet
from lensjax.schema import ExitCode, LensjaxError

Sets = Mapping[str, StampSet]  # by split
ARC_NUMBERS = ("theta_e_arcsec", "arc_snr", "arc_snr_shot")  # NaN where there is no arc
NUMBERS = ("ra", "dec", *ARC_NUMBERS, "psf_fwhm_arcsec", "psf_depth", "ebv", "pixel_scale_arcsec")
_CONTROL = STAMP_KINDS.index("control")


@dataclass(frozen=True)
class Rows:
    """n stamps, those of a split together, train first. `split` indexes schema.SPLITS, `kind`
    STAMP_KINDS ('' is a lensed arc), `host`, `brick` and `file` their lists of names; stamps of one
    pair share `pair`. `numbers` has NUMBERS as the schema's dtypes, `bins` int8 psf_bin and
    depth_bin."""

    label: np.ndarray  # int8 [n]
    kind: np.ndarray  # int8 [n]
    split: np.ndarray  # int8 [n]
    pair: np.ndarray  # int32 [n]
    host: np.ndarray  # int32 [n]
    brick: np.ndarray  # int32 [n]
    file: np.ndarray  # int32 [n]
    row: np.ndarray  # int32 [n], in the file
    stamp_id: np.ndarray  # bytes (UTF-8) [n]
    numbers: dict[str, np.ndarray]
    bins: dict[str, np.ndarray]
    hosts: Sequence[str] | np.ndarray  # str, or UTF-8 bytes
    bricks: Sequence[str]
    files: Sequence[str]

    def __len__(self) -> int:
        return len(self.label)

    def where(self, row: int, band: str = "") -> str:
        """File and row as the source has them, the band, and whether it is the control."""
        where = f"{self.files[self.file[row]]} row {self.row[row]}"
        where += f" band {band}" if band else ""
        return where + (" (control)" if self.kind[row] == _CONTROL else "")

    def name(self, row: int) -> str:
        """The stamp's id."""
        return self.stamp_id[row].decode("utf-8", "replace")

    def host_name(self, host: int) -> str:
        """The name of a host, by its number."""
        name = self.hosts[host]
        return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)

    def of_split(self, name: str) -> np.ndarray:
        """bool [n]."""
        return self.split == schema.SPLITS.index(name)

    def units(self) -> np.ndarray:
        """int [n]: what was drawn from the sky as one, the brick; where it is unknown, the host."""
        unnamed = np.array([not name for name in self.bricks] or [True])
        return np.where(unnamed[self.brick], len(self.bricks) + self.host, self.brick)

    def keep(self, mask: np.ndarray) -> Rows:
        """The rows of `mask`, bool [n]."""
        if mask.all():
            return self
        numbers, bins = (
            {name: column[mask] for name, column in columns.items()}
            for columns in (self.numbers, self.bins)
        )
        arrays = {
            field.name: getattr(self, field.name)[mask]
            for field in fields(self)
            if field.name not in ("numbers", "bins", "hosts", "bricks", "files")
        }
        return replace(self, numbers=numbers, bins=bins, **arrays)


def of_sets(sets: Sets) -> Rows:
    """The rows of StampSets. Raises LensjaxError (LEAK) for a set given under the name of another
    split."""
    for name, stamp_set in sets.items():
        if stamp_set.split != name:
            raise LensjaxError(
                ExitCode.LEAK, f"the set given as {name} is {stamp_set.split}", remedy="Swap them"
            )
    ordered = [sets[name] for name in schema.SPLITS if name in sets]
    table = {
        column: np.concatenate([np.zeros(0, dtype), *(s.table[column] for s in ordered)])
        for column, dtype in schema.TABLE_COLUMNS.items()
    }
    host, hosts = _codes(table["lrg_id"])
    brick, bricks = _codes(table["brick"])
    file, files = _codes(table["source_file"])
    return Rows(
        label=table["label"],
        kind=_indices(table["negative_kind"], STAMP_KINDS),
        split=_indices(table["split"], schema.SPLITS),
        pair=_codes(table["pair_id"])[0],
        host=host,
        brick=brick,
        file=file,
        row=table["source_row"],
        stamp_id=np.char.encode(table["stamp_id"], "utf-8"),
        numbers={name: table[name] for name in NUMBERS},
        bins={name: table[name] for name in BINS},
        hosts=hosts,
        bricks=bricks,
        files=files,
    )


def of_files(source: FileSource, stamps: Stamps) -> Rows:
    """The rows of `stamps` (of the source's listing), in their order."""
    rows, index = source.listing[0], stamps.row
    kind = kind_codes(rows, stamps)
    bricks = [shorten(name, 16) for name in rows.words["brickname"].names]
    host, hosts = source.hosts
    numbers = {
        name: rows.numbers[name][index].astype(schema.TABLE_COLUMNS[name]) for name in NUMBERS
    }
    for name in ARC_NUMBERS:
        numbers[name][kind != 0] = np.nan
    return Rows(
        label=(kind == 0).astype(np.int8),
        kind=kind,
        split=rows.split[index],
        pair=index.astype(np.int32),
        host=host[index],
        brick=rows.words["brickname"].code[index],
        file=rows.shard[index],
        row=rows.row[index],
        stamp_id=stamp_ids(rows, stamps),
        numbers=numbers,
        bins={name: column[index] for name, column in source.bins.items()},
        hosts=hosts,
        bricks=bricks,
        files=[shard.name for shard in rows.shards],
    )


def _codes(values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """int32 [n]: equal numbers for equal values, and the values by number."""
    names, code = np.unique(values, return_inverse=True)
    return code.reshape(-1).astype(np.int32), names.tolist()


def _indices(values: np.ndarray, words: Sequence[str]) -> np.ndarray:
    """int8 [n]: index of each value in `words`; -1 for another."""
    code, names = _codes(values)
    return np.array([words.index(x) if x in words else -1 for x in names] or [0], np.int8)[code]
