"""Reads what a run left in its directory; what is absent or damaged is named, never fatal.

It judges nothing: the verdict is the one in gates.json, and measures.json is read only if it is of
the same judgement. Only the arrays that the page draws are loaded.

    run = read_run(Path("runs/b3"))
    run.gates["verdict"], [absence.file for absence in run.absences]
"""

from __future__ import annotations

import hashlib
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
SALIENCY_ARRAYS = (
    "brick",
    "label",
    "theta_e_arcsec",
    "logit",
    "logit_baseline",
    "annulus_pixels",
    "gradient",
    "integrated_gradients",
    "occlusion",
    "steps",
    "example_stamp_id",
    "example_gradient",
    "example_integrated_gradients",
)
MEASURES, SALIENCY, EXAMPLES = "measures.json", "eval/saliency.npz", "eval/examples.npz"
ABSENT = "not written by this run"
REFUSED = "nothing was evaluated, as the data checks refused the data"
# What makes a file that later versions write, or that is of another judgement.
_MAKES = {
    MEASURES: "python -m lensjax.gates --workdir=DIR writes it",
    SALIENCY: "python main.py with this run's --config and --workdir evaluates anew and writes it",
}
_DIGESTS = ("arrays_digest", "protocol_digest")
_RINGS = schema.PROFILE_RINGS
_WIDTHS = {  # shape of one row, where it is not a number
    "logit_core_masked": (len(schema.MASK_RADII),),
    "arc_snr_outside": (len(schema.MASK_RADII),),
    "stamps": schema.STAMP_SHAPE,
    "inputs": schema.STAMP_SHAPE,
    "gradient": (_RINGS, 3),
    "integrated_gradients": (_RINGS, 3),
    "occlusion": (_RINGS,),
    "example_gradient": schema.STAMP_SHAPE,
    "example_integrated_gradients": schema.STAMP_SHAPE,
}
_LENGTHS = {"annulus_pixels": _RINGS, "steps": 1}  # of arrays without a row a stamp


@dataclass(frozen=True)
class Absence:
    """A file that the report could not use, and why."""

    file: str
    why: str


@dataclass(frozen=True)
class Run:
    """What a run directory holds. JSON objects are empty and arrays None where absent; `measured`
    (measures.json) and `saliency` also where they are not of this judgement or evaluation."""

    workdir: Path
    config: dict[str, Any]
    provenance: dict[str, Any]
    phase0: dict[str, Any]
    gates: dict[str, Any]
    results: dict[str, Any]
    manifest: dict[str, Any]
    measured: dict[str, Any]
    metrics: list[dict[str, Any]]
    val: Arrays | None
    test: Arrays | None
    examples: Arrays | None
    saliency: Arrays | None
    absences: tuple[Absence, ...]

    @property
    def refused(self) -> bool:
        """Did phase 0 refuse the data?"""
        return _is_refused(self.gates)

    def why_without(self, file: str) -> str:
        """Why a file is not drawn, in words; empty if nothing is known against it."""
        return next((absence.why for absence in self.absences if absence.file == file), "")


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
        measured=_read_measures(workdir, objects["gates"], absences),
        metrics=_read_lines(workdir, "metrics.jsonl", absences),
        val=_read_arrays(workdir, "eval/val.npz", EVALUATION_ARRAYS, absences),
        test=_read_arrays(workdir, "eval/test.npz", EVALUATION_ARRAYS, absences),
        examples=_read_arrays(workdir, EXAMPLES, EXAMPLE_ARRAYS, absences),
        saliency=_read_saliency(workdir, objects, absences),
        absences=tuple(absences),
        **objects,
    )


def _read_object(workdir: Path, file: str, absences: list[Absence]) -> dict[str, Any]:
    """A JSON object, or {} and an absence."""
    try:
        value = json.loads((workdir / file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        absences.append(Absence(file, _remedied(ABSENT, file)))
    except (OSError, ValueError, RecursionError) as error:
        absences.append(Absence(file, _remedied(f"unreadable: {error}", file)))
    else:
        if isinstance(value, dict):
            return value
        absences.append(Absence(file, _remedied("not a JSON object", file)))
    return {}


def _is_refused(gates: dict[str, Any]) -> bool:
    return str(gates.get("reason", "")).startswith("phase0")


def _remedied(why: str, file: str) -> str:
    """Why a file is not used, and the command that makes it, where one does."""
    return f"{why}; {_MAKES[file]}" if file in _MAKES else why


def _read_measures(workdir: Path, gates: dict[str, Any], absences: list[Absence]) -> dict[str, Any]:
    """measures.json, or {} and an absence: also if it is not of the judgement of gates.json."""
    if _is_refused(gates):
        absences.append(Absence(MEASURES, REFUSED))
        return {}
    told = _read_object(workdir, MEASURES, absences)
    if absences and absences[-1].file == MEASURES:
        return {}
    for name in _DIGESTS:
        if not isinstance(told.get(name), str) or told[name] != gates.get(name):
            why = f"of another judgement than gates.json ({name} differs)"
            absences.append(Absence(MEASURES, _remedied(why, MEASURES)))
            return {}
    return told


def _read_saliency(
    workdir: Path, objects: dict[str, dict[str, Any]], absences: list[Absence]
) -> Arrays | None:
    """eval/saliency.npz, or None and an absence: also if it is not the one that the manifest of
    the evaluation names."""
    if _is_refused(objects["gates"]):
        absences.append(Absence(SALIENCY, REFUSED))
        return None
    entry = objects["manifest"].get("saliency")
    stated = entry.get("sha256") if isinstance(entry, dict) else None
    try:
        content = (workdir / SALIENCY).read_bytes()
    except OSError:
        content = None  # said by _read_arrays
    if content is not None and hashlib.sha256(content).hexdigest() != stated:
        why = "not the file that eval/manifest.json names (its sha256 differs)"
        absences.append(Absence(SALIENCY, _remedied(why, SALIENCY)))
        return None
    return _read_arrays(workdir, SALIENCY, SALIENCY_ARRAYS, absences)


def _read_lines(workdir: Path, file: str, absences: list[Absence]) -> list[dict[str, Any]]:
    """The JSON objects of a file with one a line. A run that was killed may leave half a line."""
    try:
        lines = (workdir / file).read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        absences.append(Absence(file, ABSENT))
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
        absences.append(Absence(file, _remedied(ABSENT, file)))
        return None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        absences.append(Absence(file, _remedied(f"unreadable: {error}", file)))
        return None
    why = f"without {', '.join(missing)}" if missing else _wrong_shape(arrays)
    if why:
        absences.append(Absence(file, _remedied(why, file)))
        return None
    return arrays


def _wrong_shape(arrays: Arrays) -> str:
    """The first array whose shape does not fit, in words; empty if all fit."""
    for name, array in arrays.items():
        rows = "example_stamp_id" if name.startswith("example_") else "label"
        n = _LENGTHS.get(name, len(np.atleast_1d(arrays[rows])))
        expected = (n, *_WIDTHS.get(name, ()))
        if array.shape != expected:
            return f"{name} has shape {array.shape}, expected {expected}"
    return ""
