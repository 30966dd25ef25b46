"""Files that are whole or absent, and what the system's refusals mean.

Not a file format: each writer's module has its own. A file appears under its name only when all of
it is on disk (temporary name, fsync, rename, fsync of the folder), so that a kill or a full disk
leaves the old one.

    write_json(workdir.heartbeat, {"step": 3})
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from lensjax.schema import ExitCode, LensjaxError

TEMPORARY = ".tmp"  # how the name of an unfinished file ends
_CHUNK = 2**22

_REFUSALS = {
    errno.ENOSPC: ("the disk is full", "Free some space and run again"),
    errno.EDQUOT: ("the disk quota is used up", "Free some space and run again"),
    errno.EFBIG: ("a file may not grow that large here", "Raise the file size limit (ulimit -f)"),
    errno.EROFS: ("the file system is read-only", "Name a writable place"),
    errno.EACCES: ("permission denied", "Name a place that you may write to"),
    errno.EPERM: ("operation not permitted", "Name a place that you may write to"),
    errno.EMFILE: ("too many open files", "Raise the limit (ulimit -n)"),
    errno.ENFILE: ("too many open files on this machine", "Close some and run again"),
    errno.ENOMEM: ("out of memory", "Use a smaller batch_size, or a machine with more memory"),
    errno.EBUSY: (
        "the accelerator cannot be used: another process may hold it",
        "Wait for that to end, or set JAX_PLATFORMS=cpu",
    ),
    errno.EIO: ("the disk fails to read or write", "Check the disk"),
}
# The same, as tensorstore (C++) and XLA say it; in order, the first one found counts.
_REFUSAL_TEXTS = (
    ("No space left on device", errno.ENOSPC),
    ("Disk quota exceeded", errno.EDQUOT),
    ("File too large", errno.EFBIG),
    ("Read-only file system", errno.EROFS),
    ("Permission denied", errno.EACCES),
    ("Too many open files", errno.EMFILE),
    ("Unable to initialize backend", errno.EBUSY),
    ("Out of memory", errno.ENOMEM),
    ("RESOURCE_EXHAUSTED", errno.ENOMEM),
)


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Put `data` at `path`, all of it or nothing; `durable=False` skips the syncs, for files whose
    loss in a power failure costs nothing.

    Raises:
        OSError: the file at `path`, if there was one, is then unchanged.
    """
    temporary = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex}{TEMPORARY}")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if durable:
        sync_folder(path.parent)


def write_json(path: Path, obj: Any, *, durable: bool = True) -> None:
    """`obj` as indented JSON, atomically. NaN and infinities become null, numpy scalars numbers."""
    text = json.dumps(plain(obj), indent=2, allow_nan=False)
    write_bytes(path, (text + "\n").encode(), durable=durable)


def plain(obj: Any) -> Any:
    """`obj` in what strict JSON can hold: dict, list, str, int, float, bool and None.

    Raises:
        TypeError: for anything else.
    """
    if isinstance(obj, dict):
        return {str(key): plain(value) for key, value in obj.items()}
    if isinstance(obj, (list, tuple)):
        return [plain(value) for value in obj]
    if isinstance(obj, (np.generic, np.ndarray)):
        return plain(obj.tolist())
    if isinstance(obj, float):
        return obj if math.isfinite(obj) else None
    if obj is None or isinstance(obj, (str, int)):
        return obj
    raise TypeError(f"{type(obj).__name__} has no place in JSON")


def sync_folder(folder: Path) -> None:
    """fsync a folder, so that the names in it outlive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """fsync every file and folder under `folder`, and itself."""
    for root, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(root, name), "rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(root))


def file_digest(path: Path) -> str:
    """SHA-256 of the file's bytes, in hex."""
    sha = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            sha.update(chunk)
    return sha.hexdigest()


def refusal(error: BaseException, where: str = "") -> LensjaxError | None:
    """The exit-16 error that `error` amounts to, or None if it is not the system's refusal.

    A full, read-only or forbidden disk, used-up memory or descriptors: by errno, or by the text
    of errors that come from C++.
    """
    number = _number(error)
    if number is None:
        return None
    what, remedy = _REFUSALS[number]
    named = getattr(error, "filename", None)
    return LensjaxError(ExitCode.RESOURCE, what, where or str(named or ""), remedy)


def is_full(error: BaseException) -> bool:
    """Did the system refuse for want of disk space?"""
    return _number(error) in (errno.ENOSPC, errno.EDQUOT)


def _number(error: BaseException) -> int | None:
    """The errno of a known refusal."""
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    if isinstance(error, OSError) and error.errno in _REFUSALS:
        return error.errno
    text = str(error)
    return next((code for words, code in _REFUSAL_TEXTS if words in text), None)


def unusable(error: OSError, folder: Path, how: str) -> LensjaxError:
    """The exit-16 error of a workdir that `how` ("cannot be written")."""
    known = refusal(error)
    return LensjaxError(
        ExitCode.RESOURCE,
        f"the workdir {how}: {known.what if known else error.strerror or error}",
        str(folder),
        "Name a place that you may write to with --workdir",
    )
