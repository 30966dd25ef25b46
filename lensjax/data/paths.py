"""Where files are: one function turns a path, with or without a scheme, into a filesystem.

Not a downloader. `s3://`, `s3a://` (the same store, Hadoop's spelling), `gs://`, `file://` and
plain paths all open through fsspec; the package of a cloud is imported by fsspec when a path of
its scheme is opened, and never before. Address and credentials of a store are those of its own
tools: AWS_ENDPOINT_URL, AWS_PROFILE, AWS_ACCESS_KEY_ID and so on for S3.

    >>> filesystem, root = open_filesystem("s3a://bucket/stamps")
"""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from lensjax.schema import ExitCode, LensjaxError

_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}  # that fsspec needs for a scheme


def local_path(name: str, flag: str) -> Path:
    """The path of this machine called `name`, to be written to. Raises LensjaxError (USAGE) for an
    address: as a path it would be a folder here called 's3:'."""
    if "://" in name:
        raise LensjaxError(
            ExitCode.USAGE,
            "is an address, and is written on this machine alone",
            f"{flag}={name}",
            "Name a path without a scheme, and copy what is written",
        )
    return Path(name)


def open_filesystem(path: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The filesystem of `path` and the path inside it. Nothing that a store lists is remembered:
    a file that was replaced is seen to be another. Raises LensjaxError: USAGE for a scheme that
    fsspec does not know or whose package is not installed, RESOURCE for a store that does not
    answer or does not let us in."""
    typed = path
    if path.startswith("s3a://"):
        path = "s3://" + path.removeprefix("s3a://")
    if "://" not in path:
        path = os.path.abspath(os.path.expanduser(path))
    try:
        filesystem, inner = fsspec.core.url_to_fs(path, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        package = _PACKAGES.get(path.partition("://")[0])
        raise LensjaxError(
            ExitCode.USAGE,
            f"no filesystem for this path: {error}",
            where=typed,
            remedy=f"pip install {package}" if package else "Copy the files to where others are",
        ) from error
    if not isinstance(filesystem, LocalFileSystem):
        try:
            filesystem.exists(inner)
        except Exception as error:  # each cloud's package has exceptions of its own
            raise LensjaxError(
                ExitCode.RESOURCE,
                f"the store cannot be read: {type(error).__name__}: {error}",
                where=typed,
                remedy="Check the network, the credentials and the store's address",
            ) from error
    return filesystem, inner
