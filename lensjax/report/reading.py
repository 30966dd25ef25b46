"""Reads what a run left in its directory; what is absent or damaged is named, never fatal.

It judges nothing: the verdict is the one in gates.json. Only the arrays that the page draws are
loaded.

    run = read_run(Path("runs/b3"))
    run.gates["verdict"], [absence.file for absence in run.absences]
"""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lensjax import schema
from lensjax.schema import ExitCode, LensjaxError

Arrays = dict[str, np.ndarray]

JSON_FILES = {
    "config": "config.json",
    "provenance": "provenance.json",
    "phase0": "phase0_summary.json",
    "gates": "gates.json",
    "results": "training_results.json",
    "manifest": "eval/manifest.json",
}
# Columns of eval/{val,test}.npz that the page needs.
EVALUATION_ARRAYS = (
    "pair_id",
    "brick",
    "label",
    "negative_kind",
    "in_manifest",
    "logit",
    "logit_core_masked",
    "arc_snr_outside",
    "theta_e_arcsec",
    "arc_snr",
)
EXAMPLE_ARRAYS = (
    "stamp_id",
    "stamps",
    "inputs",
    "label",
    "logit",
    "group",
    "theta_e_arcsec",
    "arc_snr",
    "negative_kind",
)
_WIDTHS = {  # shape of one row, where it is not a number
    "logit_core_masked": (len(schema.MASK_RADII),),
    "arc_snr_outside": (len(schema.MASK_RADII),),
    "stamps": schema.STAMP_SHAPE,
    "inputs": schema.STAMP_SHAPE,
}


@dataclass(frozen=True)
class Absence:
    """A file that the report could not use, and why."""

    file: str
    why: str


@dataclass(frozen=True)
class Run:
    """What a run directory holds. JSON objects are empty and arrays None where absent."""

    workdir: Path
    config: dict[str, Any]
    provenance: dict[str, Any]
    phase0: dict[str, Any]
    gates: dict[str, Any]
    results: dict[str, Any]
    manifest: dict[str, Any]
    metrics: list[dict[str, Any]]
    val: Arrays | None
    test: Arrays | None
    examples: Arrays | None
    absences: tuple[Absence, ...]


def read_run(workdir: Path) -> Run:
    """Everything the report needs from `workdir`.

    Raises:
        LensjaxError: exit 2 if `workdir` is not a directory.
    """
    if not workdir.is_dir():
        raise LensjaxError(
            ExitCode.USAGE, "no such run directory", str(workdir), "Give the --workdir of a run"
        )
    absences: list[Absence] = []
    objects = {name: _read_object(workdir, file, absences) for name, file in JSON_FILES.items()}
    return Run(
        workdir=workdir,
        metrics=_read_lines(workdir, "metrics.jsonl", absences),
        val=_read_arrays(workdir, "eval/val.npz", EVALUATION_ARRAYS, absences),
        test=_read_arrays(workdir, "eval/test.npz", EVALUATION_ARRAYS, absences),
        examples=_read_arrays(workdir, "eval/examples.npz", EXAMPLE_ARRAYS, absences),
        absences=tuple(absences),
        **objects,
    )


def _read_object(workdir: Path, file: str, absences: list[Absence]) -> dict[str, Any]:
    """A JSON object, or {} and an absence."""
    try:
        value = json.loads((workdir / file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        absences.append(Absence(file, "not written by this run"))
    except (OSError, ValueError, RecursionError) as error:
        absences.append(Absence(file, f"unreadable: {error}"))
    else:
        if isinstance(value, dict):
            return value
        absences.append(Absence(file, "not a JSON object"))
    return {}


def _read_lines(workdir: Path, file: str, absences: list[Absence]) -> list[dict[str, Any]]:
    """The JSON objects of a file with one a line. A run that was killed may leave half a line."""
    try:
        lines = (workdir / file).read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        absences.append(Absence(file, "not written by this run"))
        return []
    except OSError as error:
        absences.append(Absence(file, f"unreadable: {error}"))
        return []
    records, damaged = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if isinstance(record, dict):
            records.append(record)
        else:
            damaged.append(number)
    if damaged:
        first = ", ".join(map(str, damaged[:5]))
        absences.append(Absence(file, f"{len(damaged)} unreadable lines left out, first: {first}"))
    return records


def _read_arrays(
    workdir: Path, file: str, names: tuple[str, ...], absences: list[Absence]
) -> Arrays | None:
    """The named arrays of an npz, checked for shape; None and an absence if any is missing."""
    try:
        with (workdir / file).open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
            missing = [name for name in names if name not in archive.files]
            arrays = {name: archive[name] for name in names if name not in missing}
    except FileNotFoundError:
        absences.append(Absence(file, "not written by this run"))
        return None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        absences.append(Absence(file, f"unreadable: {error}"))
        return None
    why = f"without {', '.join(missing)}" if missing else _wrong_shape(arrays)
    if why:
        absences.append(Absence(file, why))
        return None
    return arrays


def _wrong_shape(arrays: Arrays) -> str:
    """The first array whose shape does not fit, in words; empty if all fit."""
    n = len(np.atleast_1d(arrays["label"]))
    for name, array in arrays.items():
        expected = (n, *_WIDTHS.get(name, ()))
        if array.shape != expected:
            return f"{name} has shape {array.shape}, expected {expected}"
    return ""
