"""SHA-256 of many files, remembered between runs.

Not of stamps: `stampset.content_digest` is. A file is read again when its path, size, inode or
times (or the store's ETag) differ from those remembered.

    >>> digest = files_digest(filesystem, [("test/a.parquet", entry)], cache_dir)
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import fsspec

from lensjax.progress import progress_bar

_CHUNK = 2**22


def files_digest(
    filesystem: fsspec.AbstractFileSystem, files: Sequence[tuple[str, dict]], cache_dir: Path
) -> str:
    """SHA-256, in hex, over the names and bytes of `files`: pairs of a name (what it is called in
    the digest) and its fsspec entry; in order of names, whatever the order given."""
    memo = _Memo(cache_dir / "file_digests.json")
    sha = hashlib.sha256(b"lensjax files 1\n")
    ordered = sorted(files, key=lambda file: file[0])
    for name, entry in progress_bar(ordered, desc="hashing", unit="file"):
        key = _key(entry)
        digest = memo.known.get(key) if key else None
        if digest is None:
            digest = _hash(filesystem, entry["name"])
            memo.put(key, digest)
        sha.update(f"{name} {digest}\n".encode())
    memo.save()
    return sha.hexdigest()


def _hash(filesystem: fsspec.AbstractFileSystem, path: str) -> str:
    sha = hashlib.sha256()
    with filesystem.open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            sha.update(cast(bytes, chunk))
    return sha.hexdigest()


def _key(entry: dict) -> str | None:
    """What a file's digest may be remembered by; None where the store tells no such thing."""
    tag = entry.get("ETag") or entry.get("etag")
    if tag is None and os.path.exists(entry["name"]):
        status = os.stat(entry["name"])
        tag = f"{status.st_ino} {status.st_mtime_ns} {status.st_ctime_ns}"
    return f"{entry['name']} {entry['size']} {tag}" if tag else None


class _Memo:
    """Digests of files by key, kept in a JSON file; a damaged one is forgotten."""

    def __init__(self, path: Path):
        self._path, self._changed = path, False
        self.known: dict[str, str] = {}
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self.known = {str(k): str(v) for k, v in json.loads(path.read_text()).items()}

    def put(self, key: str | None, digest: str) -> None:
        if key:
            self.known[key], self._changed = digest, True

    def save(self) -> None:
        if self._changed:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._path.with_suffix(f".{uuid.uuid4().hex}")
            temporary.write_text(json.dumps(self.known))
            os.replace(temporary, self._path)
