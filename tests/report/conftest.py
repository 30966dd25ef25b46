"""A synthetic run directory, complete, with realistic numbers: what the report's tests read."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lensjax import schema
from lensjax.report import (
    calibration,
    figures,
    gates_picture,
    hunter,
    ranking,
    saliency,
    selection,
    sheets,
    strata,
    style,
    write_report,
)
from tests.report import synthetic

N_PAIRS, N_LOOKALIKES = 400, 160
NOISE = np.array([0.0074, 0.0128, 0.029])  # sky noise of a pixel, nanomaggies, g, r, z


@pytest.fixture(scope="session")
def build_run():
    """Function that fills a directory with a complete run."""
    return _build_run


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves and maps are neither made nor rendered, which takes seconds; stamps are."""
    ours = (calibration, figures, gates_picture, hunter, ranking, saliency, selection, strata)
    for module in ours:
        for name in [name for name in vars(module) if name.endswith(("_figure", "histogram"))]:
            monkeypatch.setattr(module, name, lambda *_, **__: None)
    monkeypatch.setattr(figures, "kind_histograms", lambda *_: None)
    monkeypatch.setattr(sheets, "contact_sheet", lambda *_, **__: None)

    def save(figure, directory: Path, name: str) -> bytes:
        for kind in ("png", "pdf"):
            (directory / f"{name}.{kind}").write_bytes(b"undrawn")
        return b"undrawn"

    monkeypatch.setattr(style, "save", save)


@pytest.fixture(scope="session")
def files_of_a_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run without its report: read it, do not change it."""
    workdir = tmp_path_factory.mktemp("files") / "b3"
    _build_run(workdir, examples=4)
    return workdir


@pytest.fixture(scope="session")
def complete_run(files_of_a_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run with its report written: read it, do not change it."""
    workdir = shutil.copytree(files_of_a_run, tmp_path_factory.mktemp("runs") / "b3")
    write_report(workdir)
    return workdir


def _build_run(workdir: Path, examples: int = 12) -> None:
    rng = np.random.default_rng(20260207)
    (workdir / "eval").mkdir(parents=True)
    arrays = {split: _arrays(rng, split) for split in ("val", "test")}
    for split, columns in arrays.items():
        np.savez(workdir / "eval" / f"{split}.npz", **columns)
    chosen = _examples(rng, arrays["test"], examples)
    np.savez(workdir / "eval" / "examples.npz", **chosen)
    path = workdir / "eval" / "saliency.npz"
    np.savez(path, **synthetic.saliency(arrays["test"], chosen))
    population = {"theta_e": [1.5, 2.5], "arc_snr": [8.0, 50.0]}
    gates = _gates()
    files = {
        "config.json": {
            "experiment": "b3",
            "variant": "demo",
            "seed": 42,
            "epochs": 12,
            "population": population,
            "data": {"source": "sim", "seed": 42},
        },
        "provenance.json": {
            "commit": "7a283fa0c1",
            "packages": {"jax": "0.10.2", "numpy": "2.4.6"},
            "device": "cpu",
            "diff": "--- a/x\n+++ b/x\n" + "+ changed line\n" * 40,
        },
        "phase0_summary.json": _phase0(),
        "gates.json": gates,
        "training_results.json": {
            "success": True,
            "best_epoch": 10,
            "best_auroc": 0.957,
            "verdict": gates["verdict"],
            "final_gates": gates,
        },
        "eval/manifest.json": {
            "evidence": True,
            "evidence_reason": "",
            "preprocessing": "residual_radial_profile",
            "mode": "unpaired",
            "hard_negative_fraction": 0.0,
            "population": population,
            "checkpoint_step": 1180,
            "model_sha256": "4f" * 32,
            "data_digest": "a1" * 32,
            "protocol_digest": "c0" * 32,
            "saliency": {
                "file": "saliency.npz",
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            },
        },
        "measures.json": synthetic.measures(gates),
    }
    for name, value in files.items():
        (workdir / name).write_text(json.dumps(value))
    lines = [json.dumps(_epoch(epoch)) for epoch in range(1, 13)]
    (workdir / "metrics.jsonl").write_text("\n".join(lines) + "\n")


def _arrays(rng: np.random.Generator, split: str) -> dict[str, np.ndarray]:
    """Rows as evaluation writes them: pairs, then look-alikes, half the hosts in the manifest."""
    n = 2 * N_PAIRS + N_LOOKALIKES
    pair = np.concatenate([np.repeat(np.arange(N_PAIRS), 2), N_PAIRS + np.arange(N_LOOKALIKES)])
    label = np.zeros(n, np.int8)
    label[0 : 2 * N_PAIRS : 2] = 1
    kind = np.where(label == 1, "", "control").astype("U16")
    kind[2 * N_PAIRS :] = np.array(schema.LOOKALIKES)[np.arange(N_LOOKALIKES) % 4]
    lens = label == 1
    theta_e = np.where(lens, rng.uniform(1.5, 2.5, n), np.nan).astype(np.float32)
    snr = np.where(lens, np.exp(rng.uniform(np.log(8), np.log(50), n)), np.nan)
    radii = np.array(schema.MASK_RADII) * schema.PIXEL_SCALE_ARCSEC
    kept = 1 / (1 + np.exp((radii[None, :] - theta_e[:, None]) / 0.25))
    outside = snr[:, None] * np.sqrt(kept / kept[:, :1])
    strength = np.where(lens[:, None], 0.16 * outside + 0.4, 0.0)
    strength[2 * N_PAIRS :] += np.linspace(0.5, 2.0, N_LOOKALIKES)[:, None]
    logit = 2.2 * (strength + rng.normal(0, 1, n)[:, None] + rng.normal(0, 0.15, (n, 6)) - 1.6)
    in_manifest = np.where(lens, pair % 2 == 0, (pair % 2 == 1) | (kind != "control"))
    return {
        "stamp_id": np.array([f"{split}-{row:05d}" for row in range(n)], "U64"),
        "pair_id": np.array([f"{split}-{number:05d}" for number in pair], "U64"),
        "brick": np.array([f"brick{number % 70:03d}" for number in pair], "U16"),
        "label": label,
        "negative_kind": kind,
        "in_manifest": in_manifest,
        "logit": logit[:, 0].astype(np.float32),
        "logit_core_masked": logit.astype(np.float32),
        "arc_snr_outside": outside.astype(np.float32),
        "theta_e_arcsec": theta_e,
        "arc_snr": snr.astype(np.float32),
    }


def _examples(
    rng: np.random.Generator, test: dict[str, np.ndarray], each: int
) -> dict[str, np.ndarray]:
    """`each` stamps of every group, galaxies of plain numpy with an arc where there is one."""
    rows = np.flatnonzero(test["in_manifest"])
    rows = rows[np.argsort(test["logit"][rows], kind="stable")]
    lenses, others = rows[test["label"][rows] == 1], rows[test["label"][rows] == 0]
    groups = {
        "confident_lens": lenses[-each:],
        "missed_lens": lenses[:each],
        "false_alarm": others[-each:],
        "confident_negative": others[:each],
    }
    chosen = np.concatenate(list(groups.values()))
    names = ("stamp_id", "label", "logit", "theta_e_arcsec", "arc_snr", "negative_kind")
    stamps = np.stack([_stamp(rng, test, row) for row in chosen]).astype(np.float32)
    arrays = {name: test[name][chosen] for name in names}
    arrays["group"] = np.repeat(np.array(list(groups), "U32"), each)
    return arrays | {"stamps": stamps, "inputs": (stamps / NOISE).clip(-100, 100)}


def _stamp(rng: np.random.Generator, test: dict[str, np.ndarray], row: int) -> np.ndarray:
    offset = np.arange(schema.STAMP_SIZE) - schema.CENTRE
    y, x = offset[:, None], offset[None, :]
    radius = schema.radius_map()
    galaxy = np.exp(-3.7 * ((np.hypot(x, 1.3 * y) + 1.0) / 7.0) ** 0.35)
    stamp = galaxy[..., None] * np.array([0.5, 1.9, 3.4]) * rng.uniform(2.0, 4.0)
    if test["label"][row] == 1:
        ring = np.exp(-(((radius - test["theta_e_arcsec"][row] / 0.262) / 1.6) ** 2))
        arc = ring * np.exp(2.5 * (np.cos(np.arctan2(y, x) - rng.uniform(0, 6.3)) - 1))
        arc *= test["arc_snr"][row] * NOISE[1] / np.sqrt((arc**2).sum())
        stamp = stamp + arc[..., None] * np.array([0.9, 1.0, 1.1])
    return stamp + rng.normal(0, 1, stamp.shape) * NOISE


def _epoch(epoch: int) -> dict[str, object]:
    val = 0.96 - 0.4 * np.exp(-epoch / 2.5)
    return {
        "step": 118 * epoch,
        "epoch": epoch,
        "train_loss": 0.18 + 0.55 * float(np.exp(-epoch / 3)),
        "val_loss": 0.25 + 0.47 * float(np.exp(-epoch / 3)),
        "train_auroc": float(val) + 0.003 * epoch,
        "val_auroc": float(val),
        "learning_rate": 1e-3 * (0.51 + 0.49 * float(np.cos(np.pi * epoch / 12))),
        "grad_norm": 1.9 / epoch**0.5,
        "stamps_per_s": 41.0,
        "flags": ["val_auroc 0.842 is outside the range expected at epoch 3 of the full run"]
        if epoch == 3
        else [],
    }


def _gates() -> dict[str, object]:
    def gate(verdict, value, ci, threshold, required=True, warn=False, reason=""):
        return {
            "verdict": verdict,
            "value": value,
            "ci": ci,
            "threshold": threshold,
            "required": required,
            "warn": warn,
            "n_pos": 1043,
            "n_neg": 1307,
            "n_bricks": 68,
            "reason": reason,
        }

    few = "fewer than 60 bricks"
    return {
        "schema": 1,
        "verdict": "YELLOW",
        "reason": "core_lr_auc inconclusive",
        "protocol_digest": "c0" * 32,
        "arrays_digest": "e7" * 32,
        "gates": {
            "auroc_test": gate("PASS", 0.946, [0.931, 0.958], 0.85),
            "core_lr_auc": gate("INCONCLUSIVE", 0.634, [0.606, 0.662], 0.65, warn=True, reason=few),
            "core_masked_drop": gate("PASS", 0.021, [0.008, 0.034], 0.10),
            "perfect_scores": gate("PASS", 0.946, None, 0.999),
            "core_reliance": gate("PASS", 0.033, [0.019, 0.046], 0.05, required=False),
            "radial_lr_auc": gate("INCONCLUSIVE", None, None, 0.60, False, reason="tautology"),
            "hard_negative_auroc": gate("PASS", 0.88, [0.86, 0.9], 0.7, False)
            | {"detail": {"audit": _audit(), "audit_best": 0.57}},
            "survey": gate("FAIL", 0.652, [0.621, 0.683], 0.60, required=False),
        },
    }


def _audit() -> list[dict[str, object]]:
    def bin_(ends, n, *areas):
        names = ("roughness", "interband_correlation")
        areas = dict(zip(names, areas, strict=True))
        return {"arc_snr": ends, "n_pos": n, "n_neg": n, "auroc": areas}

    return [bin_([None, None], 200, 0.43, 0.51), bin_([0.0, 3.0], 0, None, None)]


def _phase0() -> dict[str, object]:
    def check(verdict, message, required=True, findings=()):
        return {
            "verdict": verdict,
            "required": required,
            "message": message,
            "findings": list(findings),
            "counts": {"rows": 2920, "errors": 0},
        }

    note = {"severity": "NOTE", "where": "test/part-0.parquet row 7", "message": "arc_snr is 0"}
    return {
        "schema": 1,
        "all_passed": True,
        "exit_code": 0,
        "checks": {
            "stamps": check("PASS", "2,920 stamps, all finite"),
            "pairs": check("PASS", "800 pairs", findings=[note] * 15),
            "splits": check("PASS", "no brick is shared; 0.80/0.10/0.10"),
            "anchors": check("NOT PROVEN", "no anchors were given", required=False),
        },
    }
