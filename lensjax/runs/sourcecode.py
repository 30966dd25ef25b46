"""Which code this is: digests of its files, and where it stands in git, if it does.

Not the packages it imports. The digest is of the files as they are on disk, so it needs no git and
sees what is not committed.

    described = describe()      # {"digest": ..., "files": ..., "commit": ..., "modified": ...}
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lensjax.runs.files import file_digest

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = ("main.py", "lensjax", "configs", "phase0")  # what a run executes or reads
SUFFIXES = (".py", ".json", ".css")
_GIT_SECONDS = 30


def describe(root: Path = ROOT) -> dict[str, Any]:
    """The code under `root`.

    files: a line a file, as sha256sum writes them (and checks, with -c). digest: SHA-256 of that.
    commit, modified: of git; None where there is no checkout.
    """
    lines = [f"{file_digest(path)}  {path.relative_to(root).as_posix()}" for path in _files(root)]
    listing = "\n".join(lines) + "\n"
    commit = _git(root, "rev-parse", "HEAD") if _in_checkout(root) else None
    return {
        "digest": hashlib.sha256(listing.encode()).hexdigest(),
        "files": listing,
        "commit": commit.decode().strip() if commit else None,
        "modified": bool(uncommitted(root)) if commit else None,
    }


def by_file(described: Mapping[str, Any]) -> dict[str, str]:
    """{'code.lensjax/schema.py': digest} of what `describe` gave: 12 hex digits are told.

    Without configs and phase0: a run's own config and protocol are compared field by field, and a
    config written meanwhile for another run is no change of this one.
    """
    lines = [line.partition("  ") for line in str(described["files"]).splitlines()]
    executed = (part for part in lines if not part[2].startswith(("configs/", "phase0/")))
    return {f"code.{name}": digest[:12] for digest, _, name in executed}


def uncommitted(root: Path = ROOT) -> bytes:
    """What differs from the commit, as a patch that git apply takes; files not yet added included.
    Empty where nothing does, or there is no checkout."""
    if not _in_checkout(root):
        return b""
    there = [name for name in SOURCES if (root / name).exists()]
    patch = _git(root, "diff", "--binary", "HEAD", "--", *there) or b""
    new = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *there) or b""
    for name in sorted(filter(None, new.decode(errors="surrogateescape").split("\0"))):
        patch += _git(root, "diff", "--binary", "--no-index", "--", "/dev/null", name) or b""
    return patch


def _files(root: Path) -> list[Path]:
    paths = [root / name for name in SOURCES]
    found = [p for p in paths if p.is_file()]
    for folder in paths:
        if folder.is_dir():
            found += [p for p in folder.rglob("*") if p.suffix in SUFFIXES and p.is_file()]
    return sorted(found)


def _in_checkout(root: Path) -> bool:
    """Is the code itself under version control here (and not merely inside somebody's checkout)?"""
    return bool(_git(root, "ls-files", "--", "lensjax/schema.py"))


def _git(root: Path, *words: str) -> bytes | None:
    """What git says; None where it cannot. Exit 1 of `diff --no-index` means that files differ."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(root), *words],
            capture_output=True,
            timeout=_GIT_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode in (0, 1) else None
