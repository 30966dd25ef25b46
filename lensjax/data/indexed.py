"""Folders of stamps: ROOT/{train,val,test}/stamps.csv says which files there are, and of what.

Not a search for files: what the index does not name is not read. The base of `fits` and `folders`,
which say what kind of files those are.

    >>> form = NpyFormat(Told(unit="nanomaggy", pixel_scale_arcsec=0.262, bands="grz"))
    >>> shards, findings = form.list_split(filesystem, root, "train")
"""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import fsspec
import numpy as np

from lensjax import schema
from lensjax.data import blocks, cutouts
from lensjax.data.columns import shard_columns
from lensjax.data.cutouts import Cutout
from lensjax.data.formats import PAIR, Block, Shard, finding, unreadable
from lensjax.data.index import FILE, KNOWN, Index, read_index
from lensjax.data.listing import no_folder
from lensjax.data.reading import Bytes, inside
from lensjax.data.record import leads_out
from lensjax.data.stampset import Finding
from lensjax.data.told import NotTold, Told
from lensjax.schema import ExitCode, LensjaxError

_OPEN_FILES = 8  # a cube of each band, and of their controls
Opener = Callable[[str], Any]


@dataclass(frozen=True)
class IndexedFormat:
    """Format of folders with an index. A kind of file says which files one word of the index
    stands for (`parts`), what an opened one is (`opened`) and how a stamp is found in them
    (`cutout`)."""

    told: Told
    name: ClassVar[str] = ""
    endings: ClassVar[tuple[str, ...]] = (FILE,)

    def parts(self, file: str) -> tuple[str, ...]:
        """The files that the index's word `file` stands for."""
        return (file,)

    def opened(self, file: Bytes) -> Any:
        """What `cutout` takes of one file. Raises LensjaxError."""
        raise NotImplementedError

    def cutout(self, parts: Sequence[Any], row: int, told: Told) -> Cutout:
        """The stamp of a row of opened files. Raises LensjaxError."""
        raise NotImplementedError

    def list_split(
        self, filesystem: fsspec.AbstractFileSystem, root: str, split: str
    ) -> tuple[list[Shard], list[Finding]]:
        """As Format.list_split: the index is the one shard."""
        if not filesystem.isdir(posixpath.join(root, split)):
            return [], [no_folder(root, split)]
        name = posixpath.join(split, FILE)
        path = posixpath.join(root, name)
        if not filesystem.exists(path):
            what = f"no {FILE}, the index of the stamps"
            return [], [finding(what, name, remedy="Write it: docs/readers.md has its columns")]
        try:
            inside(filesystem, root, name)
            index = read_index(filesystem, path)
            _check_names(index)
        except LensjaxError as error:
            where = f"{name} {error.where}".strip()
            return [], [finding(schema.printable(error.what), where, code=error.code)]
        except OSError as error:
            return [], [unreadable(error, name)]
        return [Shard(path, name, split, index.rows, shard_columns(index.names()))], []

    def files(self, filesystem: fsspec.AbstractFileSystem, shard: Shard) -> list[str]:
        """The index and every file that it names and that is there."""
        index, root = read_index(filesystem, shard.path), _root(shard)
        words = {*_words(index, "file"), *_words(index, "control_file")} - {""}
        found = {shard.path}
        for part in sorted({part for word in words for part in self.parts(word)}):
            try:
                path = inside(filesystem, root, posixpath.join(shard.split, part))
            except LensjaxError:
                continue  # its rows say so
            if filesystem.isfile(path):
                found.add(path)
        return sorted(found)

    def metadata(
        self, filesystem: fsspec.AbstractFileSystem, shard: Shard
    ) -> tuple[dict[str, np.ndarray], list[Finding]]:
        """As Format.metadata. What neither files nor the user say is an ERROR here, once, rather
        than one for each row."""
        try:
            index = read_index(filesystem, shard.path)
        except (LensjaxError, OSError) as error:
            return {}, [finding(f"changed while it was read: {error}", shard.name)]
        controls = index.has_control
        findings = index.findings(shard, controls, KNOWN)
        for row in index.examples():
            findings += self._shown_by(row, filesystem, shard, index)
        index, more = self.declared_columns(filesystem, shard, index)
        return index.metadata(shard, controls), findings + more

    def declared_columns(
        self, filesystem: fsspec.AbstractFileSystem, shard: Shard, index: Index
    ) -> tuple[Index, list[Finding]]:
        """`index` with the columns that only the files know, and notes."""
        del filesystem, shard
        return index.with_scales(self.told), []

    def pieces(self, filesystem: fsspec.AbstractFileSystem, shard: Shard) -> list[range]:
        """As Format.pieces."""
        del filesystem
        return blocks.pieces(shard.rows)

    def blocks(
        self, filesystem: fsspec.AbstractFileSystem, shard: Shard, rows: range
    ) -> Iterator[Block]:
        """As Format.blocks."""
        index = read_index(filesystem, shard.path)
        controls, opener = index.has_control, self.opener(filesystem, shard)

        def decode(row: int, control: bool) -> np.ndarray | None:
            if control and not controls[row]:
                return None
            _check_kind(index.word("kind", row), has_control=bool(controls[row]))
            told, (file, number) = index.told(row, self.told), index.place(row, control=control)
            return cutouts.stamp(self._cutout(opener, file, number, told), told)

        def label(row: int, control: bool, band: str) -> str:
            file = (control and index.word("control_file", row)) or index.word("file", row)
            return f" ({file.replace('{band}', band or '{band}')})"

        yield from blocks.decoded(shard, rows, 1 + bool(controls.any()), decode, label)

    def opener(self, filesystem: fsspec.AbstractFileSystem, shard: Shard) -> Opener:
        """A function that opens a file of the index; the last few are kept, with what is wrong
        with them."""

        @functools.lru_cache(maxsize=_OPEN_FILES)
        def attempt(part: str) -> Any:
            try:
                path = inside(filesystem, _root(shard), posixpath.join(shard.split, part))
                return self.opened(Bytes(filesystem, path))
            except LensjaxError as error:
                return error

        def opened(part: str) -> Any:
            found = attempt(part)
            if isinstance(found, LensjaxError):
                raise LensjaxError(found.code, found.what, found.where)
            return found

        return opened

    def _cutout(self, opener: Opener, file: str, row: int, told: Told) -> Cutout:
        parts, opened = self.parts(file), []
        for k, part in enumerate(parts):
            try:
                opened.append(opener(part))
            except LensjaxError as error:
                if len(parts) > 1:
                    error.where = f"band {schema.BANDS[k]}"
                raise
        return self.cutout(opened, row, told)

    def _shown_by(
        self, row: int, filesystem: fsspec.AbstractFileSystem, shard: Shard, index: Index
    ) -> list[Finding]:
        """What a row shows of all that are told alike: nothing told of them, or odd sizes."""
        where = f"{shard.name} row {row}"
        try:
            told, (file, number) = index.told(row, self.told), index.place(row, control=False)
            cutout = self._cutout(self.opener(filesystem, shard), file, number, told)
            cutouts.stamp(cutout, told)
        except NotTold as error:
            return [finding(error.what, where)]
        except LensjaxError:
            return []  # the row's own fault: its block says so
        note = cutouts.off_centre(*cutout.planes[0].shape)
        return [finding(note, where, severity="NOTE")] if note and not told.resample else []


def _root(shard: Shard) -> str:
    return shard.path[: -len(shard.name) - 1]


def _words(index: Index, column: str) -> list[str]:
    return index.words[column].to_pylist() if column in index.words else []


def _check_names(index: Index) -> None:
    """Raises LensjaxError (REFUSED_INPUT) naming the first row whose file is outside."""
    for column in ("file", "control_file"):
        for row, word in enumerate(_words(index, column)):
            if word and leads_out(word):
                what = f"{column} {word!r} leads out of the data root"
                raise LensjaxError(ExitCode.REFUSED_INPUT, what, f"row {row}")


def _check_kind(kind: str, *, has_control: bool) -> None:
    """Raises LensjaxError (DATA_INVALID) if a row's kind and its control contradict each other."""
    if kind and (kind == PAIR) != has_control:
        what = f"kind is {kind!r}, {'with' if has_control else 'without'} a control"
        raise LensjaxError(ExitCode.DATA_INVALID, what)
