"""Which files there are: all below a folder; those of a split that are shards, and stray ones.

Not a look inside: `inspect` of a format is. What cannot be listed is said, never passed over.

    >>> files_below(filesystem, "/data/stamps/train")
    >>> shards, findings = list_files(filesystem, root, "train", (".h5", ".hdf5"), inspect)
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from lensjax import schema
from lensjax.data.formats import Shard, finding
from lensjax.data.stampset import Finding
from lensjax.schema import ExitCode, LensjaxError

Inspect = Callable[[str, str], "Shard | Finding"]


def files_below(filesystem: fsspec.AbstractFileSystem, folder: str) -> list[str]:
    """Paths of all files below `folder`, sorted; what a link to a folder leads to is not looked at.

    Raises:
        LensjaxError: exit 16 for a folder that cannot be read: fsspec's own find leaves it out, and
            its stamps would be missing without a word.
    """
    if not isinstance(filesystem, LocalFileSystem):
        return sorted(filesystem.find(folder))  # a store has keys: no folder of it is closed
    found: list[str] = []
    folders = [folder]
    while folders:
        for entry in _entries(filesystem, folders.pop()):
            (folders if entry["type"] == "directory" else found).append(entry["name"])
    return sorted(found)


def list_files(
    filesystem: fsspec.AbstractFileSystem,
    root: str,
    split: str,
    suffixes: tuple[str, ...],
    inspect: Inspect,
) -> tuple[list[Shard], list[Finding]]:
    """The sound shards among the files of a split that end in `suffixes`, sorted by name, as
    `inspect(path, name)` finds them, and what is wrong with the others, with the folder, and with
    stray files in it (a finished writer's _SUCCESS and hidden files are notes; anything else may be
    data that would silently not be read, and is an error). Raises LensjaxError as files_below."""
    folder = posixpath.join(root, split)
    if not filesystem.isdir(folder):
        return [], [no_folder(root, split)]
    wanted = " or ".join(f"*{suffix}" for suffix in suffixes)
    shards: list[Shard] = []
    findings: list[Finding] = []
    entries = sorted(_entries(filesystem, folder), key=lambda entry: entry["name"])
    names = [posixpath.basename(entry["name"].rstrip("/")) for entry in entries]
    for entry, name in zip(entries, names, strict=True):
        if entry["type"] != "directory" and name.endswith(suffixes):  # a link is inspected too
            found = inspect(entry["name"], posixpath.join(split, name))
            if isinstance(found, Shard):
                shards.append(found)
            else:
                findings.append(found)
        elif name:
            harmless = entry["type"] == "file" and (name == "_SUCCESS" or name.startswith("."))
            severity = "NOTE" if harmless and not name.endswith(".tmp") else "ERROR"
            what = "stray file" if entry["type"] == "file" else "stray folder"
            message = f"{what} {name!r} is not a {wanted} file and is not read"
            findings.append(finding(message, posixpath.join(split, name), severity=severity))
    if not any(name.endswith(suffixes) for name in names):
        stray = ", ".join(names)
        message = f"no {wanted} file (stray: {stray})" if names else "empty directory"
        remedy = "Put its files there, or say another format with --config.data.source"
        findings.insert(0, finding(message, f"{split}/", remedy=remedy))
    return shards, findings


def no_folder(root: str, split: str) -> Finding:
    """The finding of a root without a folder of the split."""
    expected = ", ".join(schema.SPLITS)
    remedy = f"Name the folder that holds {expected}; python -m lensjax.data split makes splits"
    return finding(f"no folder {split}, expected {expected}", root, remedy=remedy)


def _entries(filesystem: fsspec.AbstractFileSystem, folder: str) -> list[dict[str, Any]]:
    """What lies in `folder`. Raises LensjaxError (RESOURCE) where that cannot be told."""
    try:
        return filesystem.ls(folder, detail=True)
    except OSError as error:
        raise LensjaxError(
            ExitCode.RESOURCE,
            f"the folder cannot be read: {error.strerror or error}",
            folder,
            "Give yourself leave to read it, or move it out of the data root",
        ) from error
