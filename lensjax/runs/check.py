"""Is what a run left still what it wrote? Checkpoints, evaluation arrays and the verdict.

Changes nothing: a bad step is named here, and set aside by the run that would have used it.

    for found in verify(workdir): ...       # every checkpoint and array against its SHA-256
    differences = reproduce(workdir)        # the verdict again, from the arrays; {}: bit for bit
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lensjax import gates
from lensjax.gates.arrays import CATALOGUES, read_manifest
from lensjax.gates.protocol import first_difference
from lensjax.gates.record import files, parsed, refusal, stored_protocol
from lensjax.runs import stepmanifest
from lensjax.runs.files import file_digest
from lensjax.runs.stepfolders import BAD, StepFolders
from lensjax.runs.workdir import Workdir
from lensjax.schema import ExitCode, LensjaxError


@dataclass(frozen=True)
class Found:
    """One thing that was looked at: `fault` says what is wrong with it, '' if nothing; `code` is
    the exit code that stands for the fault. `note` is worth knowing, and no fault."""

    name: str
    fault: str = ""
    code: ExitCode = ExitCode.OK
    note: str = ""


def verify(workdir: Workdir) -> Iterator[Found]:
    """Every checkpoint, then every file of eval/, as it is found. The run must not be writing."""
    folders = StepFolders(workdir.checkpoints)
    steps, good = folders.all(), 0
    for step in steps:
        fault = stepmanifest.fault(folders.folder(step)) or ""
        good += not fault
        note = "" if fault else _best(stepmanifest.read(folders.folder(step)))
        code = ExitCode.NO_CHECKPOINT if fault else ExitCode.OK
        yield Found(f"checkpoint of step {step}", fault, code, note)
    if steps and not good:
        yield Found("checkpoints", "none of them can be trusted", ExitCode.NO_CHECKPOINT)
    aside = sorted(path.name for path in (workdir.checkpoints / BAD).glob("*"))
    if aside:
        yield Found(f"checkpoints/{BAD}", note=f"set aside earlier: {', '.join(aside)}")
    if workdir.eval_manifest.is_file():
        yield from _arrays(workdir)


def _best(manifest: dict[str, object]) -> str:
    if manifest["best_step"] != manifest["step"]:
        return ""
    return f"the best so far, {manifest['best_metric']:.4f}"


def _arrays(workdir: Workdir) -> Iterator[Found]:
    invalid = ExitCode.GATE_INPUT_INVALID
    try:
        manifest = read_manifest(workdir.path)
    except LensjaxError as error:
        yield Found("eval/manifest.json", str(error), invalid)
        return
    entries = {f"{name}.npz": entry for name, entry in sorted(manifest["splits"].items())}
    for name in ("examples", "saliency", *CATALOGUES):
        if isinstance(manifest.get(name), dict):
            entries[f"{name}.npz"] = manifest[name]
    for name, entry in entries.items():
        path = workdir.eval / name
        try:
            same = file_digest(path) == entry["sha256"]
            fault = "" if same else "differs from its SHA-256"
        except OSError as error:
            fault = str(error.strerror or error)
        yield Found(f"eval/{name}", fault, invalid if fault else ExitCode.OK)


def reproduce(workdir: Workdir) -> dict[str, str]:
    """Judge the run again under its own protocol, from its arrays alone, and compare the bytes with
    gates.json and measures.json: the first difference of each file that differs. Writes nothing.

    Raises:
        LensjaxError: exit 22 if there is no verdict or its arrays are not what was evaluated, exit
            12 if the protocol is not the run's.
    """
    judged = refusal(workdir.path)
    if judged is None:
        digest = read_manifest(workdir.path)["protocol_digest"]
        judged = gates.examine(workdir.path, stored_protocol(workdir.path, digest))
    differences = {}
    for name, content in files(judged).items():
        try:
            there = (workdir.path / name).read_bytes()
        except OSError:
            differences[name] = "is absent"
            continue
        if there != content:
            old = parsed(there)
            told = "is no JSON object" if old is None else first_difference(old, parsed(content))
            differences[name] = told or "another layout of the same values"
    return differences
