"""Where files are: one function turns a path, with or without a scheme, into a filesystem.

Not a downloader. `s3://`, `s3a://` (the same store, Hadoop's spelling), `gs://`, `file://` and
plain paths all open through fsspec; the package of a cloud is imported by fsspec when a path of
its scheme is opened, and never before.

    >>> filesystem, root = open_filesystem("s3a://bucket/stamps")
"""

from __future__ import annotations

import os

import fsspec

from lensjax.schema import ExitCode, LensjaxError


def open_filesystem(path: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The filesystem of `path` and the path inside it. Raises LensjaxError (USAGE) for a scheme
    that fsspec does not know or whose package is not installed."""
    if path.startswith("s3a://"):
        path = "s3://" + path.removeprefix("s3a://")
    if "://" not in path:
        path = os.path.abspath(os.path.expanduser(path))
    try:
        return fsspec.core.url_to_fs(path)
    except (ImportError, ValueError) as error:
        raise LensjaxError(
            ExitCode.USAGE,
            f"no filesystem for this path: {error}",
            where=path,
            remedy="Install the package named (for S3: pip install s3fs), or copy the files here",
        ) from error
