"""measures.json and eval/saliency.npz of the synthetic run, with numbers that are all different.

Not what gates would measure of its arrays: what the page is to draw, so that tests read it back.
"""

from __future__ import annotations

import itertools

import numpy as np

from lensjax import schema
from lensjax.gates.features import FAMILIES
from lensjax.report.reading import Arrays

EDGES = {
    "theta_e_arcsec": [0.5, 0.75, 1.0, 1.5, 2.0, 2.5],
    "psf_fwhm_arcsec": [None, 1.1, 1.3, None],
    "arc_snr": [0.0, 8.0, 15.0, 30.0, None],
}
N_SAMPLE = 24  # stamps of each class in saliency.npz


def measures(gates: dict) -> dict:
    """Of the judgement of `gates`."""
    rng = np.random.default_rng(11)
    return {
        "schema": "lensjax-measures-1",
        "protocol_digest": gates["protocol_digest"],
        "arrays_digest": gates["arrays_digest"],
        "strata": _strata(rng),
        "ranking": _ranking(rng),
        "calibration": _calibration(rng),
        "selection": _selection(rng),
        "catalogues": {"anchors": {"state": "not scored"}, "contaminants": {"state": "not scored"}},
        "training": _training(),
        "hunter": _hunter(rng),
    }


def _estimate(rng: np.random.Generator, low: float = 0.5, high: float = 0.9) -> dict:
    value = round(float(rng.uniform(low, high)), 6)
    return {"value": value, "ci": [round(value - 0.031, 6), round(value + 0.022, 6)]}


def _strata(rng: np.random.Generator) -> dict:
    found = {}
    for name, edges in (EDGES | {"psf_depth": [None, 23.2, 23.6, None]}).items():
        bins = [
            {"bin": [low, high], "n_pos": 100 + k, "n_neg": 300, **_estimate(rng)}
            for k, (low, high) in enumerate(itertools.pairwise(edges))
        ]
        if name == "theta_e_arcsec":
            empty = {"bin": edges[:2], "n_pos": 0, "n_neg": 300, "state": "not in population"}
            bins[0] = empty
        found[name] = {
            "against": "all negatives",
            "bins": bins,
            "worst": 1,
            "spread": _estimate(rng, 0.05, 0.2),
            "outside": 3,
        }
    return found


def _ranking(rng: np.random.Generator) -> dict:
    few = {"verdict": "INCONCLUSIVE", "reason": "360 negatives, 100000 needed"}
    return {
        "n_pos": 200,
        "n_neg": 360,
        "tpr_at_fpr": [
            {"fpr": 0.01, "n_pos": 200, "found": 90, **_estimate(rng)},
            {"fpr": 0.0001, "n_pos": 200, "found": 60, **_estimate(rng), **few},
        ],
        "tpr_at_false_positives": [
            {"false_positives": k, "n_pos": 200, "found": 70, **_estimate(rng)} for k in (0, 10)
        ],
        "recall_at": [
            {"k": k, "n_pos": 200, "found": k, **_estimate(rng), "ceiling": k / 200}
            for k in (50, 100)
        ],
        "precision_at_recall": {
            "recall": 0.9,
            "logit": -0.5,
            "precision": _estimate(rng),
            "fpr": _estimate(rng, 0.1, 0.3),
        },
    }


def _calibration(rng: np.random.Generator) -> dict:
    def quality() -> dict:
        return {
            "ece": {**_estimate(rng, 0.04, 0.06), "floor": 0.02},
            "brier": _estimate(rng, 0.1, 0.2),
            "log_loss": _estimate(rng, 0.3, 0.4),
            "reliability": [
                {"n": 40, "probability": round((k + 0.5) / 6, 6), **_estimate(rng, 0.1, 0.9)}
                for k in range(6)
            ],
        }

    threshold = {
        "threshold": "score 0.5",
        "logit": 0.0,
        "tpr": _estimate(rng),
        "fpr": {"value": 0.0, "ci": [0.0, 0.0106]},
        "precision": {"value": None, "ci": [0.0071, 1.0], "state": "no false positive"},
        "claimed": {"none": 0.71, "temperature": 0.00032, "isotonic": 0.00052},
    }
    return {
        "fit_rows": 555,
        "n": 560,
        "temperature": 1.234,
        "maps": {name: quality() for name in ("none", "temperature", "isotonic")},
        "on_sky": {"prevalence": 0.0001, "share_fitted": 0.4, "thresholds": [threshold]},
    }


def _selection(rng: np.random.Generator) -> dict:
    """Cells of the first bin of theta_E are empty, so are its margins."""
    names = list(EDGES)
    sizes = {name: len(edges) - 1 for name, edges in EDGES.items()}

    def cells(axes: list[str]) -> list[dict]:
        found = []
        for at in np.ndindex(*(sizes[name] for name in axes)):
            if axes[0] == names[0] and at[0] == 0:
                found.append({"at": list(at), "n": 0, "found": 0, "state": "empty"})
            else:
                n = int(rng.integers(1, 99))
                found.append({"at": list(at), "n": n, "found": n // 2, **_estimate(rng, 0.1, 0.9)})
        return found

    planes = [names[:2], [names[0], names[2]], names[1:]]
    margins = {" x ".join(axes): cells(axes) for axes in [[name] for name in names] + planes}
    return {
        "fpr_on_val": 0.01,
        "logit": 2.39,
        "fpr": _estimate(rng, 0.04, 0.05),
        "completeness": {"n": 200, "found": 96, "value": 0.48, "ci": [0.41, 0.55]},
        "axes": EDGES,
        "outside": 0,
        "cells": cells(names),
        "margins": margins,
    }


def _training() -> dict:
    flags = [
        {"flag": name, "raised": False, "cause": cause, "action": action}
        for name, (cause, action) in schema.RED_FLAGS.items()
    ]
    ranges = [
        {
            "measure": "train_loss",
            "epoch": epoch,
            "expected": list(ends),
            "value": 0.31,
            "is": "inside",
        }
        for epoch, ends in schema.EXPECTED_TRAIN_LOSS.items()
    ]
    return {"epochs": 12, "flags": flags, "ranges": ranges}


def _hunter(rng: np.random.Generator) -> dict:
    def null(low: float, high: float) -> dict:
        return {"value": (low + high) / 2, "ci": [low, high], "p": 0.001, "permutations": 999}

    def sides() -> dict:
        values = rng.uniform(0, 0.2, 3).round(6).tolist()
        return dict(zip(("controls", "lookalikes", "lenses"), values, strict=True))

    families = [
        {
            "family": name,
            "about": f"about {name}",
            "label": {**_estimate(rng), "null": null(0.47, 0.53)},
            "score": {**_estimate(rng, 0.05, 0.2), "null": null(-0.02, 0.01), **sides()},
            "reading": f"reading of {name}",
            "action": f"action on {name}",
        }
        for name in FAMILIES
    ]
    families[-1]["label"] = {"state": "constant features"}
    features = [
        {
            "feature": f"feature {k}",
            "family": "core",
            "label": {**_estimate(rng), "higher_in": "lenses", "p": 0.001 if k < 5 else 0.4},
            "score": {**_estimate(rng, -0.3, 0.3), "p": 0.001 if k < 3 else 0.6, **sides()},
        }
        for k in range(20)
    ]
    return {
        "honest": {"controls": 0.0, "lenses": 0.363},
        "looking_at": [families[0]["family"], families[1]["family"]],
        "tells_label": [families[2]["family"]],
        "families": families,
        "together": {**_estimate(rng, 0.2, 0.3), "null": null(-0.07, -0.03), **sides()},
        "features": features,
    }


def saliency(test: Arrays, examples: Arrays) -> Arrays:
    """Of the first rows of each class of `test`, and of `examples` in their order."""
    rng = np.random.default_rng(12)
    rows = np.concatenate([np.flatnonzero(test["label"] == c)[:N_SAMPLE] for c in (0, 1)])
    names = ("stamp_id", "brick", "label", "negative_kind", "in_manifest", "theta_e_arcsec")
    n, k, rings = len(rows), len(examples["stamp_id"]), schema.PROFILE_RINGS
    radius = schema.radius_map().astype(int).ravel()

    def noise(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.01, shape).astype(np.float32)

    return {name: test[name][rows] for name in (*names, "logit")} | {
        "logit_baseline": noise(n),
        "annulus_pixels": np.bincount(radius)[:rings].astype(np.int32),
        "gradient": np.abs(noise(n, rings, 3)),
        "gradient_x_input": noise(n, rings, 3),
        "integrated_gradients": noise(n, rings, 3) + test["label"][rows][:, None, None],
        "integrated_gradients_outside": noise(n, 3),
        "completeness_error": noise(n),
        "steps": np.array([48], np.int32),
        "tolerance": np.array([0.1], np.float32),
        "occlusion": noise(n, rings),
        "example_stamp_id": examples["stamp_id"],
        "example_gradient": noise(k, *schema.STAMP_SHAPE),
        "example_integrated_gradients": noise(k, *schema.STAMP_SHAPE),
        "example_occlusion": noise(k, rings),
    }
