"""Where a run comes from: code, packages, config, protocol, data and machine, for every start.

Not a record of results. `collect` sees, `begin` compares with the earlier starts of the workdir and
writes: a run goes on only as what it began as, unless a change is accepted; another protocol or
other data is another run, always.

    seen = collect(config=fields, protocol=protocol, protocol_digest=..., data_digest=None)
    check(workdir, seen, accept_change=False)                       # early: before the data
    seen["data_digest"] = digest
    changes = begin(workdir, seen, accept_change=False, step=1200)
"""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import shlex
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lensjax.runs import sourcecode
from lensjax.runs.files import plain, write_bytes, write_json
from lensjax.runs.workdir import Workdir
from lensjax.schema import ExitCode, LensjaxError

SCHEMA = 1
PACKAGES = (  # those that decide a number that a run writes
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "scikit-learn",
    "tensorflow", "tensorflow-cpu", "tensorflow-datasets", "ml-collections", "pyarrow",
)  # fmt: skip
# Where things lie and how many processes read them, not what they are: the digests of data and
# protocol hold their content.
PLACES = (
    "config.data.root",
    "config.data.cache_dir",
    "config.data.manifest",
    "config.data.workers",
    "config.protocol",
)
FIXED = ("data_digest", "catalogues", "protocol_digest", "protocol")  # never accepted
# Of these no change can be told where one side is not known, or was not given.
MAY_BE_UNKNOWN = ("data_digest", "catalogues")
GUARDED = ("config", "code", "packages", "python")  # a change of these has to be accepted
MACHINE = ("machine", "devices", "xla_flags")  # a change of these is recorded
TOLD = 12  # changes named in an error; provenance.json has all


@dataclass(frozen=True)
class Change:
    """A field that differs between two starts; None where it is absent."""

    field: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.field}: {_short(self.old)} -> {_short(self.new)}"


def collect(
    *,
    config: Mapping[str, Any],
    protocol: Mapping[str, Any],
    protocol_digest: str,
    data_digest: str | None,
    catalogues: Mapping[str, str | None] | None = None,
    devices: Sequence[str] = (),
    command: Sequence[str] | None = None,
) -> dict[str, Any]:
    """What this start is, in JSON: `config` and `protocol` whole, digests, code, packages, machine.

    data_digest: None where the data are not known yet; `begin` then does not compare it.
    catalogues: digests of the catalogues that are scored, likewise; None for one that is not.
    devices: kinds of the accelerators in use, e.g. ("cpu",).
    """
    return {
        "config": plain(dict(config)),
        "config_digest": _digest(config),
        "protocol": plain(dict(protocol)),
        "protocol_digest": protocol_digest,
        "data_digest": data_digest,
        "catalogues": dict(catalogues or {}),
        "code": sourcecode.describe(),
        "packages": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": {"system": platform.platform(), "processor": platform.machine()},
        "devices": list(devices),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "command": shlex.join(command if command is not None else [sys.executable, *sys.argv]),
    }


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """The fields in which two starts differ, by dotted name, in order: those never accepted first.

    Digests of config and code are left out where their content names the field itself. A digest
    of data that is None is not compared.
    """
    changes: list[Change] = []
    for group in (*FIXED, *GUARDED, *MACHINE):
        a, b = _fields(group, old.get(group)), _fields(group, new.get(group))
        names = sorted({*a, *b})
        if group in MAY_BE_UNKNOWN:
            names = [n for n in names if None not in (a.get(n), b.get(n))]
        changes += [Change(n, a.get(n), b.get(n)) for n in names if a.get(n) != b.get(n)]
    return changes


def check(workdir: Workdir, seen: Mapping[str, Any], *, accept_change: bool) -> list[Change]:
    """What changed since the start before; [] in a new workdir. Writes nothing.

    Raises:
        LensjaxError: exit 12, naming the fields with their old and new values, if protocol or data
            changed, or if config, code or packages changed and `accept_change` is False. Also if
            provenance.json cannot be read.
    """
    record = _read(workdir.provenance)
    changes = compare(record, seen) if record else []
    _refuse(workdir, changes, accept_change)
    return changes


def begin(
    workdir: Workdir, seen: Mapping[str, Any], *, accept_change: bool, step: int
) -> list[Change]:
    """Record a start from `step` in provenance.json (and uncommitted changes in provenance*.patch);
    gives what changed since the start before. Refuses, and writes nothing, as `check` does."""
    changes = check(workdir, seen, accept_change=accept_change)
    record = _read(workdir.provenance)
    starts = record.get("starts", [])
    seen = dict(seen)
    if seen["data_digest"] is None:  # not known yet: what was known stays
        seen["data_digest"] = record.get("data_digest")
    given = {name: sha for name, sha in seen["catalogues"].items() if sha}
    seen["catalogues"] = {**record.get("catalogues", {}), **given}  # likewise
    start = {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "step": step,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "command": seen.pop("command"),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "slurm_restarts": os.environ.get("SLURM_RESTART_COUNT"),
        "patch": _write_patch(workdir, starts),
        "changes": [{"field": c.field, "old": c.old, "new": c.new} for c in changes],
        "accepted": bool(changes) and accept_change,
    }
    write_json(workdir.provenance, {"schema": SCHEMA, **seen, "starts": [*starts, start]})
    return changes


def refused(changes: Sequence[Change], accept_change: bool) -> list[Change]:
    """Those of `changes` that a resume must not make."""
    groups = FIXED if accept_change else (*FIXED, *GUARDED)
    return [c for c in changes if c.field.split(".", 1)[0] in groups and c.field not in PLACES]


def _refuse(workdir: Workdir, changes: Sequence[Change], accept_change: bool) -> None:
    wrong = refused(changes, accept_change)
    if not wrong:
        return
    told = [str(change) for change in wrong[:TOLD]]
    if len(wrong) > TOLD:
        told.append(f"and {len(wrong) - TOLD} more")
    fixed = any(c.field.split(".", 1)[0] in FIXED for c in wrong)
    raise LensjaxError(
        ExitCode.MISMATCH,
        f"this run began otherwise ({'; '.join(told)})",
        str(workdir.path),
        "Another protocol or other data is another run: start over with --fresh"
        if fixed
        else "Undo the change, accept it with --accept-change, or start over with --fresh",
    )


def _write_patch(workdir: Workdir, starts: Sequence[Mapping[str, Any]]) -> dict[str, str] | None:
    """Save uncommitted changes; the same ones as at an earlier start are saved once."""
    patch = sourcecode.uncommitted()
    if not patch:
        return None
    digest = hashlib.sha256(patch).hexdigest()
    before = [s["patch"] for s in starts if s.get("patch")]
    for known in before:
        if known["sha256"] == digest:
            return known
    number = f"-{len(starts) + 1}" if starts else ""
    path = workdir.provenance.with_name(f"provenance{number}.patch")
    write_bytes(path, patch)
    return {"file": path.name, "sha256": digest}


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        record = None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise LensjaxError(
            ExitCode.MISMATCH,
            "cannot be read, so what this run began as is unknown",
            str(path),
            "Start over with --fresh",
        )
    return record


def _fields(group: str, value: Any) -> dict[str, Any]:
    """Leaves by dotted name; code by file."""
    if group == "code" and isinstance(value, dict):
        return sourcecode.by_file(value)
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for key in value:
            found.update(_fields(f"{group}.{key}", value[key]))
        return found
    return {group: value}


def _short(value: Any) -> str:
    text = "absent" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _digest(value: Mapping[str, Any]) -> str:
    text = json.dumps(plain(dict(value)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
