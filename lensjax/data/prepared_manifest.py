"""What lies on disk of a prepared set, held against its manifest, prepared.json.

Not a reader of stamps: `prepared` has them. The manifest has the SHA-256 of every file, of every
split's content and of its label column, and of itself; it is written last. All is verified
whenever a set is opened.

    >>> manifest = verified(folder, source.digest(), "test", "arrays")
"""

from __future__ import annotations

import hashlib
import json
import logging
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lensjax import schema
from lensjax.data import array_records, arrays, tfrecords
from lensjax.data.digests import label_digest
from lensjax.data.making import file_digest, files_in
from lensjax.progress import progress_bar
from lensjax.schema import ExitCode, LensjaxError

log = logging.getLogger(__name__)

FORMAT = 4  # of what is on disk; another number is another folder
MANIFEST = "prepared.json"
_NAMES_SHOWN = 5
UNREADABLE = (  # what numpy, TFDS and ArrayRecord raise for damaged files
    *(LensjaxError, OSError, ValueError, KeyError, IndexError, AssertionError, RuntimeError),
    *(EOFError, zipfile.BadZipFile, zlib.error),
)


def verified(folder: Path, digest: str, split: str, reader: str) -> dict[str, Any]:
    """The manifest of `folder`, once all files are there and those of `split` are as it says.
    Raises LensjaxError as `prepared.load`, which does not read what is refused here."""
    manifest = read_manifest(folder, digest)
    if split not in manifest["splits"]:
        raise damaged(folder, f"split {split!r} was not prepared", folder)
    found, recorded = {*files_in(folder)} - {MANIFEST}, manifest["files"]
    if found != recorded.keys():
        parts = {"missing": sorted(recorded.keys() - found), "extra": sorted(found - {*recorded})}
        what = "; ".join(f"{word} {_listed(names)}" for word, names in parts.items() if names)
        what = f"files differ from the manifest: {what}"
        raise damaged(folder, what, folder, ExitCode.MISMATCH)
    others = [other for other in schema.SPLITS if other != split]
    mine = [name for name in recorded if not any(_is_of(name, other) for other in others)]
    for name in progress_bar(mine, desc=f"verifying {split}", unit="file"):
        if file_digest(folder / name) != recorded[name]:
            what = "differs from the manifest"
            raise refusal(folder, manifest, split, reader, what, folder / name)
    return manifest


def _is_of(name: str, split: str) -> bool:
    """Whether a file holds rows of `split`: test-table.npz, lens_stamps-test.tfrecord-00000-..."""
    words = Path(name).name.replace(".", "-").split("-")
    return split in words[:2]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


def refusal(
    folder: Path,
    manifest: dict[str, Any],
    split: str,
    reader: str,
    what: str,
    where: Path | None = None,
) -> LensjaxError:
    """The error for a set that is not as it was prepared: a matter of its labels, where those can
    be read and differ; else of `what`."""
    where = where or folder
    for stored in _stored_labels(folder, manifest, split, reader):
        if labels_of(stored) != manifest["labels"][split]:
            what = f"label column differs from the manifest (split {split})"
            return damaged(folder, what, where, ExitCode.MISMATCH)
    return damaged(folder, what, where)


def _stored_labels(
    folder: Path, manifest: dict[str, Any], split: str, reader: str
) -> list[Mapping[str, np.ndarray]]:
    """Columns stamp_id and label wherever the set holds them and they can be read."""
    config, found = manifest["config"], []
    wanted = {
        "tf.data": [lambda: tfrecords.read_labels(folder, config, split)],
        "array_record": [
            lambda: arrays.read_table(folder, split),
            lambda: array_records.read_labels(folder, config, split),
        ],
        "arrays": [lambda: arrays.read_table(folder, split)],
    }
    for read in wanted[reader]:
        try:
            found.append(read())
        except Exception as error:  # of damaged files, parsers of TFDS raise anything
            log.debug("labels of %s cannot be read: %s", folder, error)
    return found


def labels_of(table: Mapping[str, np.ndarray]) -> str:
    """The label digest of a table, or of its columns stamp_id and label alone."""
    return label_digest(table["stamp_id"], table["label"])


def manifest_text(manifest: dict[str, Any]) -> str:
    """`manifest` as JSON, with a digest of its own."""
    whole = {**manifest, "sha256": _self_digest(manifest)}
    return json.dumps(whole, indent=1, sort_keys=True)


def read_manifest(folder: Path, digest: str) -> dict[str, Any]:
    """The manifest of `folder`, which is the set of `digest` (a source's). Raises LensjaxError
    (DATA_INVALID) if there is none, or a damaged one."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        if manifest.pop("sha256") != _self_digest(manifest):
            raise ValueError("it was changed")
        if (manifest["format"], manifest["source_digest"]) != (FORMAT, digest):
            raise ValueError("it is of another set")
    except FileNotFoundError as error:
        raise LensjaxError(
            ExitCode.DATA_INVALID, "not prepared", str(folder), "Prepare the set first"
        ) from error
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise damaged(folder, f"cannot be read: {error}", folder / MANIFEST) from error
    return manifest


def _self_digest(manifest: dict[str, Any]) -> str:
    """SHA-256, in hex, of the manifest without its own `sha256`."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def damaged(
    folder: Path, what: str, where: Path, code: ExitCode = ExitCode.DATA_INVALID
) -> LensjaxError:
    return LensjaxError(
        code, what, str(where), f"Delete {folder}: it is made again from the source"
    )
