"""SHA-256 of many files, remembered between runs, and of the column of labels.

Not of stamps: `stampset.content_digest` is. A file is read again when its path, size, inode or
times (or the store's ETag) differ from those remembered.

    >>> memo = DigestMemo(filesystem, cache_dir)
    >>> memo.known(path) or memo.put(*keyed_hash(filesystem, path))
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import fsspec
import numpy as np

from lensjax.data.paths import open_filesystem

_CHUNK = 2**22
_CHUNK_ROWS = 2**16


def hash_file(filesystem: fsspec.AbstractFileSystem, path: str) -> str:
    """SHA-256, in hex, of the bytes of one file. Raises OSError."""
    sha = hashlib.sha256()
    with filesystem.open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            sha.update(cast(bytes, chunk))
    return sha.hexdigest()


def hash_address(address: str) -> str:
    """`hash_file` of a local path or an fsspec address. Raises OSError, and LensjaxError as
    open_filesystem."""
    return hash_file(*open_filesystem(address))


def keyed_hash(filesystem: fsspec.AbstractFileSystem, path: str) -> tuple[str | None, str]:
    """`file_key` of a file as it was before it was read, and `hash_file`: of a file that is changed
    meanwhile, the digest is then remembered for nothing that there is. Raises OSError."""
    return file_key(filesystem, path), hash_file(filesystem, path)


def combined(digests: Mapping[str, str]) -> str:
    """SHA-256, in hex, over the names and digests of files, in order of names."""
    sha = hashlib.sha256(b"lensjax files 1\n")
    for name, digest in sorted(digests.items()):
        sha.update(f"{name} {digest}\n".encode())
    return sha.hexdigest()


def file_key(filesystem: fsspec.AbstractFileSystem, path: str) -> str | None:
    """What tells this content of a file from another without reading it: size, inode and times,
    or the store's ETag; None where the store tells no such thing, or there is no file."""
    if os.path.exists(path):
        status = os.stat(path)
        times = f"{status.st_ino} {status.st_mtime_ns} {status.st_ctime_ns}"
        return f"{path} {status.st_size} {times}"
    try:
        entry = filesystem.info(path)
    except OSError:
        return None
    tag = entry.get("ETag") or entry.get("etag")
    return f"{path} {entry['size']} {tag}" if tag else None


class DigestMemo:
    """Digests of files by key, kept in a JSON file of `cache_dir`; a damaged one is forgotten."""

    def __init__(self, filesystem: fsspec.AbstractFileSystem, cache_dir: Path):
        self._filesystem = filesystem
        self._path, self._changed = cache_dir / "file_digests.json", False
        self._known: dict[str, str] = {}
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self._known = {str(k): str(v) for k, v in json.loads(self._path.read_text()).items()}

    def known(self, path: str) -> str | None:
        """The digest of `path` if its content was hashed before."""
        key = file_key(self._filesystem, path)
        return self._known.get(key) if key else None

    def put(self, key: str | None, digest: str) -> str:
        """Remember what `keyed_hash` gave; returns the digest."""
        if key:
            self._known[key], self._changed = digest, True
        return digest

    def save(self) -> None:
        """Write what was put, whole or not at all. Raises OSError."""
        if self._changed:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._path.with_suffix(f".{uuid.uuid4().hex}")
            temporary.write_text(json.dumps(self._known))
            os.replace(temporary, self._path)
            self._changed = False


def label_digest(ids: np.ndarray, labels: np.ndarray) -> str:
    """SHA-256, in hex, over (stamp_id, label) of each stamp in the order of stamp_id; `ids` str or
    UTF-8 bytes [n], `labels` int8 [n]."""
    if ids.dtype.kind == "U":
        ids = np.char.encode(ids, "utf-8")
    order = np.argsort(ids, kind="stable")
    sha = hashlib.sha256()
    for start in range(0, len(order), _CHUNK_ROWS):
        part = order[start : start + _CHUNK_ROWS]
        lines = zip(ids[part].tolist(), labels[part].tolist(), strict=True)
        sha.update(b"".join(b"%s\t%d\n" % line for line in lines))
    return sha.hexdigest()
