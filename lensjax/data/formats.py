"""What a file format offers, so that one source, one scan and one set of checks serve them all.

Not a reader itself: `parquet`, `folders` and `hdf5` implement Format. A shard is what is listed,
digested and named to the user; a piece is a run of its rows that can be read on its own, in any
process; a block is what a piece yields.

    >>> shards, findings = form.list_split(filesystem, root, "train")
    >>> for block in form.blocks(filesystem, shards[0], form.pieces(filesystem, shards[0])[0]):
    ...     block.pixels                        # float32 [members, b, 3, 64, 64], nanomaggies
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import fsspec
import numpy as np

from lensjax import schema
from lensjax.data.stampset import Finding
from lensjax.schema import ExitCode, LensjaxError

CHECK = "stamps"  # the check that a reader's findings belong to, unless they say otherwise
PAIR, LENS = "pair", "lens"  # kinds of row: stamp and control; a stamp with an arc alone
KINDS = (PAIR, LENS, *schema.NEGATIVE_KINDS)  # the others: a stamp without an arc alone

# Columns of numbers, float64, and what stands for one that a file does not have.
NUMBERS: dict[str, float] = {
    "ra": np.nan,  # degrees
    "dec": np.nan,
    "theta_e_arcsec": np.nan,
    "arc_snr": np.nan,
    "arc_snr_shot": np.nan,
    "psf_fwhm_arcsec": np.nan,
    "psf_depth": np.nan,
    "ebv": np.nan,
    "pixel_scale_arcsec": schema.PIXEL_SCALE_ARCSEC,
    "psf_bin": np.nan,
    "depth_bin": np.nan,
    "is_control": 0.0,
}
# Columns of words, str, likewise. `kind` is one of KINDS.
WORDS: dict[str, str] = {
    "task_id": "",
    "brickname": "",
    "region_split": "",
    "bandset": "",
    "kind": PAIR,
}


@dataclass(frozen=True)
class Shard:
    """`path` in its filesystem, `name` relative to the root ('train/part-003.parquet'), its rows,
    and the columns it has: those of NUMBERS and WORDS by that name, others by their own. For a
    folder of stamps the shard is its index."""

    path: str
    name: str
    split: str
    rows: int
    columns: tuple[str, ...]


class Block(NamedTuple):
    """Consecutive rows of a shard, from row `first` on.

    `pixels` is float32 [members, b, 3, 64, 64], nanomaggies, bands g, r, z: the stamps, then (with
    two members) their controls. Pixels of what could not be decoded are 0, and of a control that
    a row does not have. `faults` name by row in the shard what is wrong with a row."""

    first: int
    pixels: np.ndarray
    faults: list[tuple[int, Finding]]


class OneFile:
    """What is alike in formats whose shards are a file each."""

    def files(self, filesystem: fsspec.AbstractFileSystem, shard: Shard) -> list[str]:
        """The file itself."""
        del filesystem
        return [shard.path]


class Format(Protocol):
    """A file format. Objects are small and can be pickled: worker processes are given them."""

    name: ClassVar[str]  # what `data.source` calls it
    endings: ClassVar[tuple[str, ...]]  # of the names of its shards

    def list_split(
        self, filesystem: fsspec.AbstractFileSystem, root: str, split: str
    ) -> tuple[list[Shard], list[Finding]]:
        """The sound shards of a split, or of any other folder below `root` ("": `root` itself),
        sorted by name, and what is wrong with the others and with the folder. Never raises for
        bad data; LensjaxError (RESOURCE) for a folder that cannot be listed."""
        ...

    def files(self, filesystem: fsspec.AbstractFileSystem, shard: Shard) -> list[str]:
        """Paths of the files that the shard's stamps are in, and of its own."""
        ...

    def metadata(
        self, filesystem: fsspec.AbstractFileSystem, shard: Shard
    ) -> tuple[dict[str, np.ndarray], list[Finding]]:
        """Every column of NUMBERS (float64 [rows]) and WORDS (str [rows]), without the stamps,
        and findings about the shard as a whole; an ERROR among them: the shard is left out."""
        ...

    def pieces(self, filesystem: fsspec.AbstractFileSystem, shard: Shard) -> list[range]:
        """Runs of rows, in order and without gaps, each read on its own."""
        ...

    def blocks(
        self, filesystem: fsspec.AbstractFileSystem, shard: Shard, rows: range
    ) -> Iterator[Block]:
        """The rows of a piece, in order, every stamp decoded and validated. What ends the
        iteration for the whole file is one of DAMAGE; faults of rows are in the blocks."""
        ...


def finding(
    message: str,
    where: str,
    *,
    check: str = CHECK,
    severity: str = "ERROR",
    code: ExitCode = ExitCode.DATA_INVALID,
    remedy: str = "",
) -> Finding:
    """A Finding, of invalid data (exit 10) unless told otherwise."""
    return Finding(check, severity, message, where, code, remedy)


READABLE = "Give yourself leave to read it, or check the disk that it is on"


def unreadable(error: OSError, name: str) -> Finding:
    """The finding of a file that the system does not let us read: what is in it, nobody knows."""
    return finding(f"cannot be read: {error.strerror or one_line(error)}", name, remedy=READABLE)


def stamp_fault(
    shard: Shard, row: int, band: str, *, control: bool, message: str, code: ExitCode
) -> tuple[int, Finding]:
    """The fault of one stamp, as Block.faults has it. A row of invalid data can be set aside
    (QUARANTINE, judged by the protocol's budget); what looks hostile cannot."""
    severity = "QUARANTINE" if code == ExitCode.DATA_INVALID else "ERROR"
    where = f"{shard.name} row {row}" + (f" {band}" if band else "")
    where += " (control)" if control else ""
    return row, finding(message, where, severity=severity, code=code)


DAMAGE = (OSError, LensjaxError)  # what a format raises of a file: damaged; or refused


def damaged_rows(error: Exception, first_row: int) -> str:
    """The message for a file whose beginning is sound and whose rows are not."""
    if isinstance(error, LensjaxError):
        return error.what
    if isinstance(error, OSError) and error.errno is not None:  # the system's, not a reader's
        after = f" after row {first_row}" if first_row else ""
        return f"cannot be read{after}: {error.strerror}"
    return f"truncated or damaged after row {first_row}: {one_line(error)}"


def damage(error: Exception, first_row: int, name: str) -> Finding:
    """Likewise the finding, of file `name`: refused, if that is what the reader did."""
    if isinstance(error, LensjaxError):
        return finding(error.what, name, code=error.code)
    system = isinstance(error, OSError) and error.errno is not None
    return finding(damaged_rows(error, first_row), name, remedy=READABLE if system else "")


def one_line(error: Exception) -> str:
    """What an exception says, short and on one line."""
    return " ".join(str(error).split())[:200]
