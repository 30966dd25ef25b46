"""The record of a data root: what its files and labels were when somebody vouched for them.

Not needed to read the data; where ROOT/manifest.json is, every reading is held to it. It protects
what page checksums may not: labels, bricks and positions, and the list of files itself.

    >>> write_record(filesystem, root, make_record(digests, labels))
    >>> findings = compare(load_record(filesystem, root), digests, labels)
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import fsspec

from lensjax import schema
from lensjax.data.formats import READABLE, finding
from lensjax.data.stampset import Finding
from lensjax.schema import ExitCode, LensjaxError

FILE = "manifest.json"
MAX_BYTES = 100_000_000
_KEY = "lensjax_manifest"
_VERSION = 1
_SHA = re.compile(r"[0-9a-f]{64}")
LISTED = 5  # names in one message

Record = Mapping[str, Any]  # {"files": {name: sha256}, "labels": {split: sha256}}


def make_record(digests: Mapping[str, str], labels: Mapping[str, str]) -> Record:
    """The record of files (`digests` by name relative to the root, 'train/part-0.parquet') and of
    the label column of each split (digests.label_digest)."""
    return {
        _KEY: _VERSION,
        "files": dict(sorted(digests.items())),
        "labels": dict(sorted(labels.items())),
    }


def write_record(filesystem: fsspec.AbstractFileSystem, root: str, record: Record) -> str:
    """Write `record` into `root`; returns its path. Raises OSError."""
    path = f"{root}/{FILE}"
    filesystem.pipe_file(path, (json.dumps(record, indent=1) + "\n").encode())
    return path


def load_record(filesystem: fsspec.AbstractFileSystem, root: str) -> Record | None:
    """The record of `root`, None if there is none. Raises LensjaxError: REFUSED_INPUT for a name
    that leads out of the root or a file beyond 100 MB, DATA_INVALID for what is no record, RESOURCE
    for one that cannot be read."""
    path = f"{root}/{FILE}"
    if not filesystem.isfile(path):
        return None
    if (filesystem.size(path) or 0) > MAX_BYTES:
        raise LensjaxError(ExitCode.REFUSED_INPUT, f"beyond {MAX_BYTES:,} bytes", FILE)
    try:
        raw = filesystem.cat_file(path)
    except OSError as error:
        raise unreadable_record(error, path) from error
    try:
        record = json.loads(raw)
        sound = record[_KEY] == _VERSION and set(record) == {_KEY, "files", "labels"}
        for part in ("files", "labels"):
            sound &= all(_SHA.fullmatch(sha) is not None for sha in record[part].values())
        sound &= set(record["labels"]) <= set(schema.SPLITS)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _no_record(f"{type(error).__name__}: {error}") from error
    if not sound:
        raise _no_record("its fields are not those of a record")
    for name in record["files"]:
        if leads_out(name):
            raise LensjaxError(
                ExitCode.REFUSED_INPUT,
                f"names {name!r}, which leads out of the data root",
                FILE,
                "Ask where this file came from",
            )
    return record


def leads_out(name: str) -> bool:
    """Whether `name`, relative to a folder, is absolute, climbs, or is no plain path."""
    parts = name.replace("\\", "/").split("/")
    return not name or ".." in parts or parts[0] == "" or ":" in parts[0] or "\0" in name


def unreadable_record(error: OSError, path: str) -> LensjaxError:
    """The error (RESOURCE) of a record that is there and that the system does not let us read."""
    what = f"cannot be read: {error.strerror or error}"
    return LensjaxError(ExitCode.RESOURCE, what, path, READABLE)


def _no_record(what: str) -> LensjaxError:
    return LensjaxError(
        ExitCode.DATA_INVALID,
        f"is no record of a data root ({what})",
        FILE,
        "Make it again with python -m lensjax.data record, or remove it",
    )


def compare(
    record: Record, digests: Mapping[str, str], labels: Mapping[str, str], complete: bool
) -> list[Finding]:
    """What differs from `record`: files missing, extra or of another split, label columns, bytes.
    `complete`: every row was read, so that the label columns can be compared at all."""
    was = record["files"]
    found = []
    moved = _moved(was, digests)
    missing = [name for name in was if name not in digests and name not in moved.values()]
    extra = [name for name in digests if name not in was and name not in moved]
    for now, before in moved.items():
        message = f"the manifest says that this file is {before}"
        found.append(finding(message, now, check="splits", code=ExitCode.LEAK))
    for names, what in ((missing, "is missing"), (extra, "is not in the manifest")):
        if names:
            message = f"{len(names)} files: each {what} ({', '.join(names[:LISTED])}"
            message += ", ...)" if len(names) > LISTED else ")"
            found.append(finding(message, FILE, check="labels", code=ExitCode.MISMATCH))
    for split, digest in labels.items():
        if complete and not moved and record["labels"].get(split, digest) != digest:
            before = record["labels"][split]
            message = f"label column differs from the manifest ({digest[:12]}, was {before[:12]})"
            found.append(finding(message, f"{split}/", check="labels", code=ExitCode.MISMATCH))
    for name, digest in digests.items():
        if name in was and was[name] != digest and name not in moved:
            message = f"its bytes differ from the manifest ({digest[:12]}, was {was[name][:12]})"
            found.append(finding(message, name))
    return found


def _moved(was: Mapping[str, str], digests: Mapping[str, str]) -> dict[str, str]:
    """Files whose content is recorded under another split: name now -> name then."""
    names: dict[str, str] = {}
    for name, digest in was.items():
        names.setdefault(digest, name)
    return {
        name: names[digest]
        for name, digest in digests.items()
        if was.get(name) != digest
        and digest in names
        and names[digest].split("/")[0] != name.split("/")[0]
    }
