"""The guards of lensjax by name, and how each is taken away, for the controls.

Not an option of lensjax: attributes are replaced by monkeypatch, here or in a child process. What
stands in the place of a guard is what the common way does: nothing, or plain numpy.

    switch_off(["pixels"], monkeypatch)
"""

from __future__ import annotations

import gzip
import importlib.metadata
import io
import pickle
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lensjax.checks.result import Outcome
from lensjax.data import fits_image, parquet_files, prepared_manifest


def _nothing(*args: Any, **kwargs: Any) -> list[Any]:
    return []


def _unpickled(columns: Any, metadata: dict[bytes, bytes]) -> None:
    """What pyarrow before 14.0.1 did with metadata of columns (CVE-2023-47248)."""
    for found in [metadata, *(one.metadata or {} for one in columns)]:
        for value in found.values():
            if value[:1] == b"\x80":
                pickle.loads(value)


_version = importlib.metadata.version


def _of_2023(package: str) -> str:
    return "14.0.0" if package == "pyarrow" else _version(package)


def _no(*args: Any, **kwargs: Any) -> bool:
    return False


def _passed(*args: Any, **kwargs: Any) -> Outcome:
    return Outcome("not looked at")


_list_split = parquet_files.list_split


def _sound_files(*args: Any) -> tuple[list[Any], list[Any]]:
    """What can be read, and no word about the rest."""
    return _list_split(*args)[0], []


def numpy_decode(blob: bytes | memoryview, out: np.ndarray) -> None:
    """A stamp's bytes into `out` [3, 64, 64] the common way: numpy.load, pickles allowed, absent
    bands left 0, other shapes cut or padded, other types converted."""
    data = bytes(blob)
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    out[:] = 0.0
    with np.load(io.BytesIO(data), allow_pickle=True) as stored:
        for k, band in enumerate("grz"):
            if f"image_{band}" in stored.files:
                plane = np.asarray(stored[f"image_{band}"])
                if plane.dtype != object:
                    plane = plane[:64, :64]
                    out[k, : plane.shape[0], : plane.shape[1]] = plane


def _unpickle(path: Path, variant: str) -> Any:
    with path.open("rb") as file:
        return pickle.load(file)


def _cards_until_they_end(file: Any, start: int) -> tuple[dict[str, bytes], int]:
    """A FITS header without asking for END: it is over where a block is no text."""
    cards: dict[str, bytes] = {}
    while (block := file.read(start, 2880)).isascii() and block.decode().isprintable():
        for at in range(0, 2880, 80):
            fits_image._add(cards, block[at : at + 80])
        start += 2880
    return cards, start


def _unverified(folder: Path, digest: str, split: str, reader: str) -> dict[str, Any]:
    """The manifest of a prepared set, held against nothing."""
    manifest = prepared_manifest.read_manifest(folder, digest)
    manifest["splits"][split]["sha256"] = None
    return manifest


OFF: dict[str, dict[str, Any]] = {
    "pixels": {
        "lensjax.data.parquet.validate_planes": _nothing,
        "lensjax.data.blocks.validate_planes": _nothing,
        "lensjax.checks.scan.validate_planes": _nothing,
    },
    "npz": {"lensjax.data.parquet.decode_into": numpy_decode},
    "band order": {
        "lensjax.data.parquet_files._BAND_METADATA": (),
        "lensjax.data.rows._band_findings": _nothing,
    },
    "listing": {"lensjax.data.parquet_files.list_split": _sound_files},
    "classes": {"lensjax.checks.splits._classes": _nothing},
    "config": {
        "lensjax.configuration._find": Path,
        "lensjax.configuration._get_config": _unpickle,
    },
    "pairs": {"lensjax.checks.run.check_pairs": _passed},
    "splits": {"lensjax.checks.run.check_splits": _passed},
    "duplicates": {"lensjax.checks.run.check_duplicates": _passed},
    "labels": {"lensjax.checks.run.check_labels": _passed},
    "folders": {
        "lensjax.data.files.folder_findings": _nothing,
        "lensjax.checks.splits._exchanged": _nothing,
    },
    "links": {"lensjax.data.files.FileSource._links": _nothing},
    "manifest names": {"lensjax.data.split_table.leads_out": _no},
    "record names": {"lensjax.data.record.leads_out": _no},
    "END": {"lensjax.data.fits_image._header": _cards_until_they_end},
    "byte order": {
        "lensjax.data.fits_image._TYPES": {8: "u1", 16: "<i2", 32: "<i4", -32: "<f4"},
    },
    "units": {"lensjax.checks.stamps._implausible": lambda noise, ratio: ""},
    "BZERO": {"lensjax.data.fits_image._physical": lambda raw, cards: raw},
    "words": {
        "lensjax.schema.printable": str,
        "lensjax.checks.result.printable": str,
        "lensjax.runs.logs.printable": str,
    },
    "metadata": {"lensjax.data.parquet_files._refuse_pickles": _unpickled},
    "versions": {"lensjax.data.source.require_safe": _nothing},
    "new pyarrow": {"importlib.metadata.version": _of_2023},  # what the guard looks at
    "preflight": {"lensjax.training.preflight._check_val": lambda *args: {}},
    "one class": {"lensjax.training.loop.auroc": lambda *args: 0.5},  # as the old gates had it
    "prepared": {
        "lensjax.data.prepared.verified": _unverified,
        "lensjax.data.prepared.content_digest": lambda *args: None,
    },
    "watch": {"lensjax.data.watch.Watch.look": _nothing},
    "record": {"lensjax.checks.scan.compare": _nothing},
    "updates": {"lensjax.training.preflight.raise_if_failed": _nothing},
    "divergence": {"lensjax.training.divergence.Course.diverged": _no},
}


def switch_off(names: Collection[str], patch: pytest.MonkeyPatch) -> None:
    """Take away the guards `names` until `patch` is undone."""
    for name in names:
        for target, stand_in in OFF[name].items():
            patch.setattr(target, stand_in)
