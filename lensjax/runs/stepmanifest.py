"""The manifest of a checkpoint: what makes a saved step one that may be trusted.

Not Orbax's own metadata: Orbax does not protect contents (every one of 330 single-bit flips was
restored silently), so each step's files are listed here with their SHA-256, and the state with its
own. It is written last; a step without one does not count. Needs no jax: leaves are numpy arrays.

    manifest = describe(folder, step=40, leaves=flat(state), metric=0.97, best_step=40)
    write(folder, manifest)
    fault(folder)       # None, or why this step is not to be trusted
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lensjax.runs.files import TEMPORARY, file_digest, write_json
from lensjax.schema import ExitCode, LensjaxError

NAME = "lensjax_manifest.json"
SCHEMA = 1
_SELF = "sha256"  # key of the manifest's digest of itself


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves of nested dicts by path: {'params/conv/kernel': leaf}, sorted by path.

    Raises:
        TypeError: for a leaf that is no array, or a key that is no string.
    """
    found: dict[str, Any] = {}
    for key in sorted(tree):
        path, value = f"{prefix}{key}", tree[key]
        if isinstance(value, Mapping):
            found.update(flat(value, path + "/"))
        elif hasattr(value, "shape") and hasattr(value, "dtype"):
            found[path] = value
        else:
            raise TypeError(f"{path}: {type(value).__name__} is no array")
    return found


def like(tree: Mapping[str, Any], leaves: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts of the form of `tree` with the leaves of `leaves` (by path)."""
    return {
        key: like(value, leaves, f"{prefix}{key}/")
        if isinstance(value, Mapping)
        else leaves[f"{prefix}{key}"]
        for key, value in tree.items()
    }


def state_digest(leaves: Mapping[str, np.ndarray]) -> str:
    """SHA-256, in hex, over path, dtype, shape and bytes of every leaf, in order of paths. The same
    for the same numbers on any number of devices."""
    sha = hashlib.sha256(b"lensjax state 1\n")
    for path in sorted(leaves):
        leaf = leaves[path]
        sha.update(f"{path} {leaf.dtype.name} {tuple(leaf.shape)}\n".encode())
        sha.update(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data)
    return sha.hexdigest()


def describe(
    folder: Path,
    *,
    step: int,
    leaves: Mapping[str, np.ndarray],
    metric: float | None,
    best_step: int | None,
    best_metric: float | None,
) -> dict[str, Any]:
    """The manifest of the step saved in `folder`.

    best_step, best_metric: of all steps of the run up to this one.
    """
    return {
        "schema": SCHEMA,
        "step": step,
        "metric": metric,
        "best_step": best_step,
        "best_metric": best_metric,
        "finite": first_non_finite(leaves) is None,
        "state_sha256": state_digest(leaves),
        "leaves": {path: _kind(leaf) for path, leaf in leaves.items()},
        "files": {name: file_digest(folder / name) for name in _files(folder)},
    }


def write(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Put the manifest into `folder`, atomically; from then on the step exists."""
    write_json(folder / NAME, {**manifest, _SELF: _digest(manifest)})


def read(folder: Path) -> dict[str, Any]:
    """The manifest in `folder`.

    Raises:
        ValueError: it is missing, unreadable or changed; the text says which.
        LensjaxError: exit 12 if it is whole, and of another version.
    """
    try:
        manifest = json.loads((folder / NAME).read_text(encoding="utf-8"))
        told = manifest.pop(_SELF)
    except FileNotFoundError:
        raise ValueError("its manifest is missing") from None
    except (ValueError, KeyError, AttributeError, TypeError):
        raise ValueError("its manifest is unreadable") from None
    if told != _digest(manifest):
        raise ValueError("its manifest was changed")
    _require_version(folder, manifest)
    return manifest


def _require_version(folder: Path, manifest: Mapping[str, Any]) -> None:
    """A whole step of another version is no damaged one: it is not set aside, but refused."""
    if manifest.get("schema") != SCHEMA:
        raise LensjaxError(
            ExitCode.MISMATCH,
            f"a checkpoint of schema {manifest.get('schema')}; this version reads schema {SCHEMA}",
            str(folder / NAME),
            "Go on with the version of lensjax that saved it (its packages and code are in "
            "provenance.json), or start over with --fresh, which sets it aside",
        )


def fault(folder: Path) -> str | None:
    """Why the step in `folder` is not to be trusted; None if all files are as they were saved.

    Raises:
        LensjaxError: exit 12 if another version saved it.
    """
    try:
        manifest = read(folder)
        if str(manifest["step"]) != folder.name:
            return f"its manifest is of step {manifest['step']}"
        if not manifest["finite"]:
            return "its state is not finite"
        there, listed = set(_files(folder)), set(manifest["files"])
        if listed - there:
            return f"{min(listed - there)} is missing"
        if there - listed:
            return f"{min(there - listed)} is not in the manifest"
        for name, told in manifest["files"].items():
            if file_digest(folder / name) != told:
                return f"{name} differs from its SHA-256"
    except (ValueError, OSError) as error:
        return str(error)
    return None


def first_difference(manifest: Mapping[str, Any], template: Mapping[str, Any]) -> str | None:
    """The first leaf in which a saved state and `template` (flat) differ; None if in none."""
    saved: dict[str, list[Any]] = manifest["leaves"]
    for path in sorted({*saved, *template}):
        if path not in template:
            return f"{path} was saved, and the code has none"
        if path not in saved:
            return f"{path} was not saved"
        now = _kind(template[path])
        if saved[path] != now:
            return f"{path} was saved as {_told(saved[path])}, the code has {_told(now)}"
    return None


def first_non_finite(leaves: Mapping[str, np.ndarray]) -> str | None:
    """Path of the first leaf with a NaN or an infinity; None if all are finite."""
    for path, leaf in leaves.items():
        # bfloat16 and its kin have kind V: ml_dtypes knows isfinite for them, integers need none
        if leaf.dtype.kind not in "iub" and not np.isfinite(leaf).all():
            return path
    return None


def _kind(leaf: Any) -> list[Any]:
    return [np.dtype(leaf.dtype).name, list(leaf.shape)]


def _told(kind: list[Any]) -> str:
    return f"{kind[0]} {kind[1]}"


def _files(folder: Path) -> list[str]:
    """Names of all files of a step but the manifest, relative, sorted."""
    paths = (path for path in folder.rglob("*") if not path.is_dir())
    names = (path.relative_to(folder).as_posix() for path in paths)
    return sorted(name for name in names if name != NAME and not name.endswith(TEMPORARY))


def _digest(manifest: Mapping[str, Any]) -> str:
    text = json.dumps(manifest, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
