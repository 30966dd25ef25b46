"""gates.json, measures.json, opened.jsonl, and what else of a run a judgement needs beside arrays.

Not the judging (lensjax.gates.verdict). The first two are whole or absent, and their bytes are a
function of the run's files and the protocol alone: no time, path or version is in them. The third
has a line for every time that the test arrays were judged.

    write("runs/b3", judged)
    stored_protocol("runs/b3").digest
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lensjax.gates.gate import rounded
from lensjax.gates.protocol import Protocol, parse_protocol
from lensjax.gates.verdict import PHASE0, RED, SCHEMA
from lensjax.schema import ExitCode, LensjaxError

GATES = "gates.json"
MEASURES = "measures.json"
OPENED = "opened.jsonl"
PROVENANCE = "provenance.json"  # holds the run's protocol, whole
PHASE0_SUMMARY = "phase0_summary.json"
_DIGESTS = ("protocol", "arrays")
REFUSALS = (
    ExitCode.DATA_INVALID,
    ExitCode.LEAK,
    ExitCode.MISMATCH,
    ExitCode.REFUSED_INPUT,
)


def encoded(document: Mapping[str, Any]) -> bytes:
    """JSON as it is stored: floats to 6 significant digits, NaN and infinities null."""
    return (json.dumps(rounded(document), indent=2, allow_nan=False) + "\n").encode()


def files(judged: Mapping[str, Any]) -> dict[str, bytes]:
    """What is written of a judgement, by name: gates.json, and measures.json if it was measured."""
    parts = {GATES: {key: value for key, value in judged.items() if key != "measures"}}
    if "measures" in judged:
        parts[MEASURES] = judged["measures"]
    return {name: encoded(part) for name, part in parts.items()}


def write(workdir: str | Path, judged: Mapping[str, Any]) -> Path:
    """Write gates.json and measures.json, as `put` does, and count that the test arrays were
    opened; gives the path of gates.json."""
    for name, content in files(judged).items():
        put(Path(workdir) / name, content)
    count_opening(workdir, judged)
    return Path(workdir) / GATES


def count_opening(workdir: str | Path, judged: Mapping[str, Any]) -> None:
    """Add a line to opened.jsonl, if test arrays were opened for this judgement. Where that cannot
    be written (read-only media), the judgement counts and the line is missing."""
    if judged["arrays_digest"] is None:
        return
    line = {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "arrays_digest": judged["arrays_digest"],
        "protocol_digest": judged["protocol_digest"],
    }
    content = json.dumps(line).encode() + b"\n"  # written at once: two processes do not mix lines
    with contextlib.suppress(OSError), open(Path(workdir) / OPENED, "ab") as file:
        file.write(content)


def openings(workdir: str | Path) -> str:
    """How often the test arrays were opened, in words; empty if that is not known."""
    try:
        lines = (Path(workdir) / OPENED).read_bytes().splitlines()
    except OSError:
        return ""
    told = [found for line in lines if (found := parsed(line)) is not None]
    rules, arrays = (len({str(each.get(f"{key}_digest")) for each in told}) for key in _DIGESTS)
    return f"test arrays opened: {len(told)} (protocols: {rules}, evaluations: {arrays})"


def put(path: Path, content: bytes) -> Path:
    """Write a file atomically (temporary name, fsync, rename). One that already holds the same
    bytes is left alone, so that a run on read-only media can be verified.

    Raises:
        LensjaxError: exit 16 if the file cannot be written; the old one is then unchanged.
    """
    with contextlib.suppress(OSError):
        if path.read_bytes() == content:
            return path
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise LensjaxError(
            ExitCode.RESOURCE,
            f"cannot be written ({error.strerror})",
            str(path),
            "Free some space, or copy what is there to a place that you may write to",
        ) from error
    return path


def refuse(workdir: str | Path, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Write gates.json of a run that phase 0 refused, and give its object.

    summary: the object of phase0_summary.json. Raises LensjaxError as `refused_by_phase0` and
    `write` do.
    """
    judged = refused_by_phase0(summary)
    write(workdir, judged)
    return judged


def refused_by_phase0(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The object of gates.json for a run that phase 0 refused: RED, reason `phase0`, and the checks
    that stop it with their messages. Raises LensjaxError (exit 22) if `summary` is no summary of a
    refusal."""
    try:
        failed = {
            name: str(check["message"])
            for name, check in summary["checks"].items()
            if check["verdict"] == "FAIL" or (check["required"] and check["verdict"] != "PASS")
        }
        code, digest = ExitCode(summary["exit_code"]), str(summary["protocol_digest"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _unreadable(PHASE0_SUMMARY, f"is not a summary of the data checks: {error}") from None
    if code not in REFUSALS or not failed:
        raise _unreadable(PHASE0_SUMMARY, "does not say what was refused")
    return {
        "schema": SCHEMA,
        "verdict": RED,
        "reason": PHASE0,
        "protocol_digest": digest,
        "arrays_digest": None,
        "gates": {},
        "failed_checks": failed,
        "exit_code": int(code),
    }


def refusal(workdir: str | Path) -> dict[str, Any] | None:
    """What gates.json must say if phase 0 refused the run, by its phase0_summary.json; else None.
    Raises LensjaxError (exit 22) for a refusal that cannot be read."""
    summary = read_object(Path(workdir) / PHASE0_SUMMARY)
    if summary is None or summary.get("all_passed") is not False:
        return None
    return refused_by_phase0(summary)


def stored_protocol(workdir: str | Path, digest: str) -> Protocol:
    """The protocol under which the run began: of provenance.json, and of this digest.

    Raises:
        LensjaxError: exit 12 if it is absent, was edited, or is not a protocol.
    """
    path = Path(workdir) / PROVENANCE
    record = read_object(path) or {}
    remedy = f"Give --protocol=FILE of the digest {digest[:12]}"
    if not isinstance(record.get("protocol"), dict):
        what = "does not hold the run's protocol"
        raise LensjaxError(ExitCode.MISMATCH, what, str(path), remedy)
    try:
        found = parse_protocol(record["protocol"], "its protocol")
    except LensjaxError as error:
        raise LensjaxError(ExitCode.MISMATCH, str(error), str(path), remedy) from None
    if found.digest != digest:
        what = f"holds a protocol of digest {found.digest[:12]}, the run began under {digest[:12]}"
        raise LensjaxError(ExitCode.MISMATCH, what, str(path), remedy)
    return found


def read_object(path: Path) -> dict[str, Any] | None:
    """A JSON object; None if the file is absent or anything else."""
    try:
        return parsed(path.read_bytes())
    except OSError:
        return None


def parsed(content: bytes) -> dict[str, Any] | None:
    """The JSON object that `content` is; None if it is anything else."""
    try:
        found = json.loads(content, parse_constant=lambda name: None)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _unreadable(where: str, what: str) -> LensjaxError:
    return LensjaxError(
        ExitCode.GATE_INPUT_INVALID, what, where, "Run main.py again in this workdir"
    )
