"""Summaries remembered between runs, by the digests of data, protocol and checks.

Not a way around the checks: a summary is found again only if nothing that decides it has
changed, and a damaged one is as good as none.

    >>> digest = checks_digest(proportions=None, simulated=False, anchors=None, contaminants=None)
    >>> summary = cached_summary(cache_dir, data_digest, protocol_digest, digest)
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lensjax import schema
from lensjax.checks.result import Summary
from lensjax.data import stampset
from lensjax.data.digests import hash_address
from lensjax.gates import logistic, shortcuts, statistics
from lensjax.runs.files import write_json
from lensjax.schema import ExitCode, LensjaxError

_FOLDER = "phase0"
_READERS = Path(stampset.__file__).parent  # they find faults, too
PACKAGES = ("numpy", "scipy", "scikit-learn", "pyarrow", "h5py", "astropy")  # which they rest on


def checks_digest(
    *,
    proportions: Sequence[float] | None,
    simulated: bool,
    anchors: str | None = None,
    contaminants: str | None = None,
    record: str | None = None,
) -> str:
    """SHA-256, in hex, of the source of the checks and readers, of the versions of PACKAGES and of
    all that they are told beside the data and the protocol (the catalogues by content; `record`:
    digest of the data root's manifest)."""
    sha = hashlib.sha256(b"lensjax checks 1\n")
    used = (schema, logistic, shortcuts, statistics)
    folders = (Path(__file__).parent, _READERS)
    sources = [*(path for folder in folders for path in folder.glob("*.py")), *map(_source, used)]
    for path in sorted(sources, key=lambda path: (path.parent.name, path.name)):
        sha.update(f"\n{path.parent.name}/{path.name}\n".encode())
        sha.update(path.read_bytes())
    told = {
        "proportions": None if proportions is None else [float(p) for p in proportions],
        "simulated": bool(simulated),
        "anchors": _file_digest(anchors),
        "contaminants": _file_digest(contaminants),
        "record": record,
        "packages": {name: _version(name) for name in PACKAGES},
    }
    sha.update(json.dumps(told, sort_keys=True).encode())
    return sha.hexdigest()


def cached_summary(
    cache_dir: str | Path, data_digest: str, protocol_digest: str, checks_digest: str
) -> Summary | None:
    """The stored summary of exactly these digests, or None."""
    path = _path(cache_dir, data_digest, protocol_digest, checks_digest)
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["sha256"] != _body_digest(stored["summary"]):
            return None
        summary = Summary.from_json(stored["summary"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    wanted = (data_digest, protocol_digest, checks_digest)
    found = (summary.data_digest, summary.protocol_digest, summary.checks_digest)
    return summary if found == wanted else None


def store_summary(cache_dir: str | Path, summary: Summary) -> None:
    """Stores `summary`, whole or not at all.

    Raises:
        LensjaxError: exit 16 for a cache folder that cannot be written to.
    """
    digests = (summary.data_digest, summary.protocol_digest, summary.checks_digest)
    path = _path(cache_dir, *digests)
    body = summary.to_json()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"sha256": _body_digest(body), "summary": body}, durable=False)
    except OSError as error:
        raise LensjaxError(
            ExitCode.RESOURCE,
            f"the cache folder cannot be written to ({error.strerror or error})",
            str(cache_dir),
            "Name another with --config.data.cache_dir=DIR",
        ) from error


def _path(cache_dir: str | Path, *digests: str) -> Path:
    key = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    return Path(cache_dir).expanduser() / _FOLDER / f"{key}.json"


def _body_digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _version(package: str) -> str | None:
    """Of an installed package, without importing it: some are needed by one format alone."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _source(module: Any) -> Path:
    return Path(module.__file__)


def _file_digest(path: str | None) -> str | None:
    """SHA-256 of a file's bytes; 'unreadable' where there is none to read."""
    if path is None:
        return None
    try:
        return hash_address(path)
    except (OSError, LensjaxError):
        return "unreadable"
