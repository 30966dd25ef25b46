"""A synthetic evaluation: a workdir with all that a verdict rests on, from a few numbers.

write_evaluation(tmp_path / "run", protocol, core=0.5)     # a planted bright core
synthetic_case(protocol, core=0.5)                         # the same without files
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lensjax import schema
from lensjax.gates.arrays import Evaluation
from lensjax.gates.case import Case
from lensjax.gates.protocol import Protocol

RADII_ARCSEC = np.array(schema.MASK_RADII) * schema.PIXEL_SCALE_ARCSEC
CHECKS = ("splits", "duplicates", "metadata_shortcut", "survey_shortcut")
Arrays = dict[str, np.ndarray]


def write_evaluation(
    workdir: Path,
    protocol: Protocol,
    *,
    change: Callable[[str, Arrays], None] = lambda split, arrays: None,
    manifest: dict[str, Any] | None = None,
    **planted: Any,
) -> Path:
    """eval/ and provenance.json of a run in `workdir`, which is returned.

    change: of the arrays of a split, in place, before they are saved.
    manifest: fields of eval/manifest.json that differ.
    planted: as `synthetic_arrays` takes them.
    """
    (workdir / "eval").mkdir(parents=True)
    splits = {}
    for split in ("val", "test"):
        arrays = synthetic_arrays(split, **planted)
        change(split, arrays)
        splits[split] = save_split(workdir, split, arrays)
    told = {
        "schema": "lensjax-eval-1",
        "splits": splits,
        "protocol_digest": protocol.digest,
        "preprocessing": "raw_robust",
        "mode": "paired" if planted.get("paired") else "unpaired",
        "hard_negative_fraction": 0.4,
        "population": {"theta_e": [1.5, 2.5], "arc_snr": [8.0, 50.0]},
        "phase0": {"all_passed": True, "checks": dict.fromkeys(CHECKS, "PASS")},
        "evidence": True,
        "evidence_reason": "",
        **(manifest or {}),
    }
    write_json(workdir / "eval/manifest.json", told)
    stored = {"protocol": protocol.document, "protocol_digest": protocol.digest}
    write_json(workdir / "provenance.json", {"schema": 1, **stored})
    return workdir


def synthetic_case(
    protocol: Protocol,
    change: Callable[[str, Arrays], None] = lambda split, arrays: None,
    catalogues: dict[str, Arrays] | None = None,
    **planted: Any,
) -> Case:
    """A case of `synthetic_arrays`, changed in place as `write_evaluation` has them changed."""
    splits = {split: synthetic_arrays(split, **planted) for split in ("val", "test")}
    for split, arrays in splits.items():
        change(split, arrays)
    manifest = {"preprocessing": "raw_robust", "mode": "unpaired", "population": {}}
    evaluation = Evaluation(manifest, splits["val"], splits["test"], "", catalogues or {})
    return Case(protocol, evaluation)


def write_json(path: Path, document: Any) -> None:
    """`document` at `path`."""
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")


def edit_json(path: Path, change: Callable[[Any], None]) -> None:
    """Change the JSON document at `path` in place."""
    document = json.loads(path.read_text())
    change(document)
    write_json(path, document)


def save_split(workdir: Path, split: str, arrays: Arrays) -> dict[str, Any]:
    """Write eval/{split}.npz; gives its entry of the manifest."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(arrays):
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as file:
                np.lib.format.write_array(file, arrays[name], allow_pickle=False)
    (workdir / "eval" / f"{split}.npz").write_bytes(buffer.getvalue())
    sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
    return {"file": f"{split}.npz", "sha256": sha256, "n": len(arrays["label"])}


def synthetic_arrays(
    split: str,
    *,
    pairs: int = 700,
    lookalikes: int = 100,
    hosts_per_brick: int = 14,
    seed: int = 0,
    skill: float = 0.22,
    core: float = 0.0,
    seen: float = 0.0,
    paired: bool = False,
) -> Arrays:
    """Rows as evaluation writes them: pairs, then look-alikes; half the hosts in the manifest.

    skill: of a matched filter, logit per unit of arc SNR left outside the mask.
    core: what a lens has more in every pixel of the core box, noise sigmas.
    seen: what the model adds for a lens while r < 5 is not masked: its own use of the core.
    """
    rng = np.random.default_rng([seed, split == "test"])
    n_bricks = -(-(pairs + lookalikes) // hosts_per_brick)
    n = 2 * pairs + lookalikes
    host = np.concatenate([np.repeat(np.arange(pairs), 2), pairs + np.arange(lookalikes)])
    label = np.zeros(n, np.int8)
    label[0 : 2 * pairs : 2] = 1
    lens = label == 1
    kind = np.where(lens, "", "control").astype("U16")
    kind[2 * pairs :] = np.array(schema.LOOKALIKES)[np.arange(lookalikes) % 4]
    theta_e = np.where(lens, rng.uniform(1.5, 2.5, n), np.nan)
    snr = np.where(lens, np.exp(rng.uniform(np.log(8), np.log(50), n)), np.nan)
    kept = 1 / (1 + np.exp((RADII_ARCSEC[None, :] - theta_e[:, None]) / 0.2))
    outside = snr[:, None] * np.sqrt(kept / kept[:, :1])
    strength = np.where(lens[:, None], skill * outside, 0.0) + rng.normal(0, 1, (n, 1))
    strength[:, :2] += seen * lens[:, None]
    masked = strength + rng.normal(0, 0.05, (n, 6))
    masked[2 * pairs :] += 0.8
    negative_host = (rng.permutation(pairs + lookalikes) % 2 == 1)[host]
    member = np.where(lens, ~negative_host, negative_host | (kind != "control"))
    hard = np.full(n, np.nan, np.float32)
    hard[: 2 * pairs] = np.repeat(rng.normal(0.3, 1, pairs), 2)
    box = rng.normal(0, 1, (n, 10, 10, 3)) + core * lens[:, None, None, None]
    names = {
        "stamp_id": [f"{split}-{row:06d}" for row in range(n)],
        "pair_id": [f"{split}-p{number:06d}" for number in host],
        "lrg_id": [f"{split}-h{number:06d}" for number in host],
        "brick": [f"{split}-{number % n_bricks:05d}" for number in host],
    }
    return {
        **{name: np.array(values, "U24") for name, values in names.items()},
        "label": label,
        "negative_kind": kind,
        "in_manifest": np.ones(n, bool) if paired else member,
        "logit": masked[:, 0].astype(np.float32),
        "logit_core_masked": masked.astype(np.float32),
        "logit_core_only": rng.normal(0, 1, n).astype(np.float32),
        "logit_hard_negative": hard,
        "core_box": box.astype(np.float32),
        "core_box_raw": (0.02 * box + 0.5).astype(np.float32),
        "radial_profile": rng.normal(0, 1, (n, 32, 3)).astype(np.float32),
        "theta_e_arcsec": theta_e.astype(np.float32),
        "arc_snr": snr.astype(np.float32),
        "arc_snr_shot": (0.95 * snr).astype(np.float32),
        "arc_snr_outside": outside.astype(np.float32),
        "psf_fwhm_arcsec": rng.normal(1.2, 0.1, n).astype(np.float32),
        "psf_depth": rng.normal(23.5, 0.2, n).astype(np.float32),
        "ebv": rng.exponential(0.05, n).astype(np.float32),
        "pixel_scale_arcsec": np.full(n, schema.PIXEL_SCALE_ARCSEC, np.float32),
        "outskirts": rng.normal(0, 1, (n, 12)).astype(np.float32),
        "noise_sigma": rng.lognormal(-4, 0.1, (n, 3)).astype(np.float32),
        "high_frequency_core": rng.lognormal(0, 0.1, (n, 12)).astype(np.float32),
        "hard_negative_audit": np.where(lens[:, None], rng.normal(0, 1, (n, 4)), np.nan).astype(
            np.float32
        ),
    }
