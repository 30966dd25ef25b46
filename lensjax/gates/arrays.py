"""The saved evaluation arrays, read and validated: what a verdict may rest on.

Not the writer (lensjax.training.evaluate). Nothing is repaired: arrays that are incomplete, not
the ones that eval/manifest.json names, or impossible are refused with exit 22.

    evaluation = read_evaluation("runs/b3")
    evaluation.test["logit"], evaluation.manifest["preprocessing"]
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from lensjax import schema
from lensjax.gates import protocol
from lensjax.gates.npz import unpack
from lensjax.schema import ExitCode, LensjaxError

SPLITS = ("val", "test")
RESIDUAL = "residual_radial_profile"
_RADII = len(schema.MASK_RADII)
_BOX = (schema.CORE_BOX.stop - schema.CORE_BOX.start,) * 2 + (len(schema.BANDS),)

# Name: kinds of dtype, shape of a row. Arrays that only some gates need may be absent: those
# gates then are in ERROR.
REQUIRED: dict[str, tuple[str, tuple[int, ...]]] = {
    "stamp_id": ("U", ()),
    "pair_id": ("U", ()),
    "lrg_id": ("U", ()),
    "brick": ("U", ()),
    "label": ("iu", ()),
    "negative_kind": ("U", ()),
    "in_manifest": ("b", ()),
    "logit": ("f", ()),
    "logit_core_masked": ("f", (_RADII,)),
    "logit_core_only": ("f", ()),
    "logit_hard_negative": ("f", ()),
    "core_box": ("f", _BOX),
    "core_box_raw": ("f", _BOX),
    "radial_profile": ("f", (schema.PROFILE_RINGS, len(schema.BANDS))),
    "theta_e_arcsec": ("f", ()),
    "arc_snr": ("f", ()),
    "arc_snr_outside": ("f", (_RADII,)),
    "psf_fwhm_arcsec": ("f", ()),
    "psf_depth": ("f", ()),
}
OPTIONAL: dict[str, tuple[str, tuple[int, ...]]] = {
    "arc_snr_shot": ("f", ()),
    "psf_bin": ("iu", ()),
    "depth_bin": ("iu", ()),
    "ebv": ("f", ()),
    "pixel_scale_arcsec": ("f", ()),
    "outskirts": ("f", (12,)),
    "noise_sigma": ("f", (len(schema.BANDS),)),
    "high_frequency_core": ("f", (12,)),
    "hard_negative_audit": ("f", (4,)),
}
# eval/anchors.npz and eval/contaminants.npz, where the manifest names them: scored catalogues.
CATALOGUES = ("anchors", "contaminants")
CATALOGUE_COLUMNS: dict[str, tuple[str, tuple[int, ...]]] = {
    "name": ("U", ()),
    "class": ("U", ()),
    "logit": ("f", ()),  # NaN: not scored
}
_ARC_COLUMNS = ("theta_e_arcsec", "arc_snr", "arc_snr_shot", "arc_snr_outside")
_SCORES = ("logit", "logit_core_masked", "logit_core_only")
_MANIFEST_KEYS: dict[str, type | tuple[type, ...]] = {
    "splits": dict,
    "evidence": bool,
    "protocol_digest": str,
    "preprocessing": str,
    "mode": str,
    "hard_negative_fraction": (int, float),
    "population": dict,
    "phase0": dict,
}
_AGAIN = "Move eval/ out of this workdir and run main.py again: it evaluates anew"

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Evaluation:
    """Validated arrays of both splits, all rows, and of the catalogues that were scored; `digest`
    binds them and the manifest."""

    manifest: dict[str, Any]
    val: Arrays
    test: Arrays
    digest: str
    catalogues: dict[str, Arrays] = field(default_factory=dict)


def manifest_path(workdir: str | Path) -> Path:
    """eval/manifest.json: written last, so that without it there is no evaluation."""
    return Path(workdir) / "eval" / "manifest.json"


def read_manifest(workdir: str | Path) -> dict[str, Any]:
    """The manifest of the evaluation in `workdir`. Raises LensjaxError (exit 22) if it is absent
    (`incomplete`), not JSON, or lacks a field."""
    path = manifest_path(workdir)
    try:
        manifest = json.loads(path.read_bytes())
        protocol.canonical(manifest)  # refuses NaN and infinities, which have no digest
    except FileNotFoundError:
        _refuse("incomplete: there is no eval/manifest.json", str(workdir), "Let the run finish")
    except (OSError, ValueError, RecursionError) as error:
        _refuse(f"cannot be read: {error}", str(path), _AGAIN)
    if wrong := _wrong_in(manifest):
        _refuse(wrong, str(path), _AGAIN)
    return manifest


def _wrong_in(manifest: Any) -> str:
    """What is wrong with the fields that the gates read; empty if nothing is."""
    if not isinstance(manifest, dict):
        return "is not an object"
    for key, kind in _MANIFEST_KEYS.items():
        if not isinstance(manifest.get(key), kind):
            return f"{key} is missing or of a wrong type"
    for key, known in (("mode", schema.PAIRINGS), ("preprocessing", schema.PREPROCESSINGS)):
        if manifest[key] not in known:
            return f"{key} is {manifest[key]!r}, not one of {', '.join(known)}"
    for key in ("theta_e", "arc_snr"):
        span = manifest["population"].get(key)
        if span is not None and not _is_range(span):
            return f"population.{key} is not [min, max]"
    for split in SPLITS:
        entry = manifest["splits"].get(split)
        if not isinstance(entry, dict) or not _describes(entry, f"{split}.npz"):
            return f"splits.{split} does not name {split}.npz"
    for name in filter(manifest.__contains__, CATALOGUES):
        if not isinstance(manifest[name], dict) or not _describes(manifest[name], f"{name}.npz"):
            return f"{name} does not name {name}.npz"
    return ""


def _is_range(value: Any) -> bool:
    numbers = isinstance(value, list) and all(type(end) in (int, float) for end in value)
    return numbers and len(value) == 2 and value[0] <= value[1]


def read_evaluation(workdir: str | Path) -> Evaluation:
    """Arrays of val and test, verified against the manifest.

    Raises:
        LensjaxError: exit 22 for an incomplete evaluation, a file that is not the one named, and
            whatever `validate` refuses.
    """
    manifest = read_manifest(workdir)
    val, test = (_read_split(workdir, manifest, split) for split in SPLITS)
    for name in ("stamp_id", "lrg_id", "brick"):
        shared = np.intersect1d(val[name], test[name])
        if len(shared):
            _refuse(
                f"val and test share {len(shared)} values of {name}, first {str(shared[0])!r}: "
                "they are not disjoint splits",
                f"{workdir}/eval",
                _AGAIN,
            )
    catalogues = {name: _read_catalogue(workdir, manifest, name) for name in CATALOGUES}
    scored = {name: arrays for name, arrays in catalogues.items() if arrays is not None}
    return Evaluation(manifest, val, test, protocol.digest(manifest), scored)


def _describes(entry: Mapping[str, Any], name: str) -> bool:
    n = entry.get("n")
    return entry.get("file") == name and isinstance(entry.get("sha256"), str) and type(n) is int


def _read_catalogue(workdir: str | Path, manifest: dict[str, Any], name: str) -> Arrays | None:
    """A catalogue's scores; None where the manifest has none."""
    if name not in manifest:
        return None
    arrays, where = _read(workdir, manifest[name], name, CATALOGUE_COLUMNS)
    _check_columns(arrays, CATALOGUE_COLUMNS, CATALOGUE_COLUMNS, where, manifest[name]["n"])
    names, counts = np.unique(arrays["name"], return_counts=True)
    if (counts > 1).any():
        _refuse(f"name {str(names[counts > 1][0])!r} is there twice", where, _AGAIN)
    if np.isinf(arrays["logit"]).any():
        _refuse("logit is infinite; NaN says that a row was not scored", where, _AGAIN)
    return arrays


def _read_split(workdir: str | Path, manifest: dict[str, Any], split: str) -> Arrays:
    entry = manifest["splits"][split]
    arrays, where = _read(workdir, entry, split, {**REQUIRED, **OPTIONAL})
    validate(arrays, where, entry["n"], manifest["mode"])
    if entry.get("ids_sha256", ids_digest(arrays["stamp_id"])) != ids_digest(arrays["stamp_id"]):
        _refuse(f"its stamp ids are not in the {split} manifest", where, _AGAIN)
    return arrays


def _read(
    workdir: str | Path, entry: Mapping[str, Any], name: str, known: Mapping[str, Any]
) -> tuple[Arrays, str]:
    """The known arrays of the npz that an entry of the manifest names, and its path."""
    path = Path(workdir) / "eval" / f"{name}.npz"
    try:
        content = path.read_bytes()
    except OSError as error:
        _refuse(f"cannot be read ({error.strerror})", str(path), _AGAIN)
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        _refuse(
            "is not the file that eval/manifest.json names (its SHA-256 differs): damaged, edited "
            f"or of other rows than the {name} manifest's",
            str(path),
            _AGAIN,
        )
    try:
        return unpack(content, known), str(path)
    except ValueError as error:
        _refuse(str(error), str(path), _AGAIN)


def ids_digest(stamp_ids: np.ndarray) -> str:
    """SHA-256 of the stamp ids, one a line, in the order of the rows: `ids_sha256` of a split."""
    return hashlib.sha256("\n".join(stamp_ids.tolist()).encode()).hexdigest()


def validate(arrays: Arrays, where: str, n: int, mode: str) -> None:
    """Refuse arrays that are absent, of wrong length, kind or shape, or impossible.

    arrays: of one split, n rows; mode: paired or unpaired. Raises LensjaxError (exit 22).
    """
    _check_columns(arrays, REQUIRED, {**REQUIRED, **OPTIONAL}, where, n)
    _check_rows(arrays, mode, lambda what: _refuse(what, where, _AGAIN))


def _check_columns(
    arrays: Arrays,
    required: Iterable[str],
    known: Mapping[str, tuple[str, tuple[int, ...]]],
    where: str,
    n: int,
) -> None:
    for name in required:
        if name not in arrays:
            _refuse(f"array {name} is missing", where, _AGAIN)
    for name, array in arrays.items():
        kinds, shape = known[name]
        if array.dtype.kind not in kinds or array.shape[1:] != shape or array.ndim < 1:
            _refuse(f"{name} is {array.dtype} {array.shape}, not [n, *{shape}]", where, _AGAIN)
        if len(array) != n:
            _refuse(f"{name} has {len(array)} rows, the manifest says {n}", where, _AGAIN)


def _check_rows(arrays: Arrays, mode: str, refuse: Callable[[str], NoReturn]) -> None:
    label, ids = arrays["label"], arrays["stamp_id"]
    if not np.isin(label, (0, 1)).all():
        refuse("labels other than 0 and 1")
    names, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        refuse(f"stamp_id {str(names[counts > 1][0])!r} is there twice")
    member = np.char.add(arrays["pair_id"], np.where(label == 1, "+", "-"))
    twins, counts = np.unique(member, return_counts=True)
    if (counts > 1).any():
        refuse(f"pair_id {str(twins[counts > 1][0])[:-1]!r} has two rows of one label")
    if ((arrays["negative_kind"] == "") != (label == 1)).any():
        refuse("negative_kind must be empty for label 1 and named for label 0")
    for name in filter(arrays.__contains__, _ARC_COLUMNS):
        if np.isfinite(arrays[name][label == 0]).any():
            refuse(f"{name} is a number in rows without an arc, where it must be NaN")
    for name in _SCORES:
        bad = ~np.isfinite(arrays[name].reshape(len(label), -1)).all(axis=1)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            refuse(f"{name} is not finite in {bad.sum()} rows, first {str(ids[row])!r}")
    if not np.allclose(arrays["logit_core_masked"][:, 0], arrays["logit"], rtol=1e-2, atol=1e-2):
        refuse("logit_core_masked at r = 0 is not logit: they are of different models or rows")
    _check_hard_negatives(arrays, refuse)
    judged = arrays["in_manifest"]
    if mode == "unpaired":
        hosts = arrays["lrg_id"]
        both = np.intersect1d(hosts[judged & (label == 1)], hosts[judged & (label == 0)])
        if len(both):
            refuse(f"host {str(both[0])!r} has both classes in an unpaired manifest")


def _check_hard_negatives(arrays: Arrays, refuse: Callable[[str], NoReturn]) -> None:
    """A pair has one hard negative, told in both rows; a row without a partner has none. Otherwise
    a score that is not finite would leave the gate unnoticed."""
    hard, pair = arrays["logit_hard_negative"], arrays["pair_id"]
    lens, other = (np.flatnonzero(arrays["label"] == label) for label in (1, 0))
    pairs, of_lens, of_other = np.intersect1d(pair[lens], pair[other], return_indices=True)
    own, controls = hard[lens[of_lens]], hard[other[of_other]]
    bad = ~np.isfinite(own) | (own != controls)
    if bad.any():
        first = str(pairs[bad][0])
        refuse(
            f"logit_hard_negative is not one finite number in {bad.sum()} pairs, first {first!r}"
        )
    single = ~np.isin(pair, pairs)
    if np.isfinite(hard[single]).any():
        refuse("logit_hard_negative is a number in rows without a partner, where it must be NaN")


def _refuse(what: str, where: str, remedy: str = "") -> NoReturn:
    raise LensjaxError(ExitCode.GATE_INPUT_INVALID, what, where, remedy)
