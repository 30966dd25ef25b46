"""Real lenses and real look-alikes that the model was asked about: recall@k, false alarms by class.

Of eval/anchors.npz and eval/contaminants.npz, where eval/manifest.json names them. A row without a
score counts against the model: an anchor as missed, a contaminant as a false alarm. How many of
them are hosts of training stamps, and so prove nothing, evaluation says in the manifest.

    measured = catalogues(case)
    measured["anchors"]["recall_at"][0]["found"]
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import logit as log_odds

from lensjax.gates.arrays import CATALOGUES
from lensjax.gates.case import Case, numbers
from lensjax.gates.ranking import descending
from lensjax.gates.rates import wilson


def catalogues(case: Case) -> dict[str, Any]:
    """`anchors` and `contaminants`, or the state of one that was not scored."""
    found: dict[str, Any] = {name: {"state": "not scored"} for name in CATALOGUES}
    scored = case.evaluation.catalogues
    if "anchors" in scored:
        found["anchors"] = _anchors(case, scored["anchors"]["logit"])
    if "contaminants" in scored:
        arrays = scored["contaminants"]
        found["contaminants"] = _contaminants(case, arrays["logit"], arrays["class"])
    for name in scored:
        known = case.manifest.get(name, {}).get("trained_on")
        found[name]["trained_on"] = known if type(known) is int else None
    return found


def _counts(logits: np.ndarray) -> dict[str, int]:
    missing = int(np.isnan(logits).sum())
    return {"n": len(logits), "scored": len(logits) - missing, "missing": missing}


def _anchors(case: Case, logits: np.ndarray) -> dict[str, Any]:
    """Recall above each score threshold, and among the k highest of the anchors and the judged
    negatives of test."""
    if not len(logits):
        return {"state": "no rows"}
    scores = np.where(np.isnan(logits), -np.inf, logits.astype(np.float64))
    others = case.test["logit"][~case.test.positive].astype(np.float64)
    lens = np.repeat([True, False], [len(scores), len(others)])
    scored = np.concatenate([np.isfinite(scores), np.zeros(len(others), bool)])
    scored = scored[descending(np.concatenate([scores, others]), lens)]
    confidence = case.protocol.intervals["confidence"]

    def recall(found: int) -> dict[str, Any]:
        return {"found": found, **numbers(wilson(found, len(scores), confidence))}

    return {
        **_counts(logits),
        "negatives": len(others),
        "recall_at": [
            {"k": k, **recall(int(scored[:k].sum())), "ceiling": min(k, len(scores)) / len(scores)}
            for k in case.protocol.measures["recall_at"]
        ],
        "recall_above": [
            {"score": score, **recall(int((scores > log_odds(score)).sum()))}
            for score in case.protocol.measures["score_thresholds"]
        ],
    }


def _contaminants(case: Case, logits: np.ndarray, classes: np.ndarray) -> dict[str, Any]:
    """False alarms of all, and `by_class`."""
    if not len(logits):
        return {"state": "no rows"}
    names = np.unique(classes).tolist()
    by_class = {name: _alarms(case, logits[classes == name]) for name in names}
    return {**_alarms(case, logits), "by_class": by_class}


def _alarms(case: Case, logits: np.ndarray) -> dict[str, Any]:
    """Counts, and the share above each score threshold. logits: [n], n > 0."""
    scores = np.where(np.isnan(logits), np.inf, logits.astype(np.float64))
    confidence, above = case.protocol.intervals["confidence"], []
    for score in case.protocol.measures["score_thresholds"]:
        found = int((scores > log_odds(score)).sum())
        above.append(
            {"score": score, "found": found, **numbers(wilson(found, len(scores), confidence))}
        )
    return {**_counts(logits), "fpr_above": above}
