"""Probes: can a logistic regression on simple features tell the label? Then a model could too.

Fitted on the judged val rows, scored on the judged test rows (other hosts, other bricks), so that
the AUROC is one of fixed scores and its interval is honest. Beside it: the same under permuted
labels, cross-validated on test, and scored on the rows it was fitted on (the old way, which reads
0.72 on noise).

    found = probe("outskirts", case, case.fit.features(...), case.test.features(...))
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import rankdata

from lensjax.gates.case import Case, Rows
from lensjax.gates.gate import Finding, GateError
from lensjax.gates.logistic import Design, fit, host_folds, one_step
from lensjax.gates.statistics import auroc

CONSTANT = "constant features"
_AT_ONCE = 64  # permutations; 999 of 20,000 rows together would take half a GB


def probe(
    name: str, case: Case, of_fit: np.ndarray, of_test: np.ndarray, floor: float = 0.0
) -> Finding:
    """Fit on val, score on test; `name` seeds the folds.

    of_fit, of_test: finite float64 [n, k]. Columns that vary by less than `floor` hold nothing;
    with none left the probe is undecided, never 0.5. Raises GateError for one class.
    """
    rng = case.rng(name)
    design, strength, scores = fitted(case, of_fit, of_test, floor, rng)
    if scores is None:
        return case.finding(None, undecided=CONSTANT)
    detail = {"c": strength, "features": design.width, "fit_rows": len(case.fit)}
    detail |= _beside(case, of_test, strength, floor, rng)
    estimate = case.auroc(scores)
    detail["null"] = null_of(case, design, of_test, strength, estimate.value)
    return case.finding(estimate, bars=_fit_bars(name, case), detail=detail)


def fitted(
    case: Case, of_fit: np.ndarray, of_test: np.ndarray, floor: float, rng: np.random.Generator
) -> tuple[Design, float, np.ndarray | None]:
    """The standardised fit rows, the C chosen, and the scores of the test rows [n]: None where no
    feature varies. Raises GateError for one class."""
    require_classes(case)
    design = Design.of(of_fit, case.protocol.probes["feature_clip"], floor)
    if design.width == 0:
        return design, 0.0, None
    strength = best_strength(case, of_fit, floor, rng)
    weights = fit(design, case.fit["label"][:, None], [strength]).weights[:, 0]
    return design, strength, design.apply(of_test) @ weights


def require_classes(case: Case) -> None:
    """Raises GateError if the judged rows of val or test are of one class."""
    for split, rows in (("val", case.fit), ("test", case.test)):
        n_pos, n_neg, _ = rows.counts()
        if not (n_pos and n_neg):
            raise GateError(f"{split} has {n_pos} positives and {n_neg} negatives")


def best_strength(
    case: Case, features: np.ndarray, floor: float, rng: np.random.Generator
) -> float:
    """The C of the protocol's grid with the best AUROC by host-grouped folds of the fit rows; the
    smallest where there are too few hosts to tell."""
    grid = sorted(case.protocol.probes["c_grid"])
    if len(grid) == 1:
        return grid[0]
    aucs = grouped_aurocs(case, case.fit, features, grid, floor, rng)
    return grid[0] if aucs is None else grid[int(np.argmax(aucs))]


def grouped_aurocs(
    case: Case,
    rows: Rows,
    features: np.ndarray,
    strengths: list[float],
    floor: float,
    rng: np.random.Generator,
) -> np.ndarray | None:
    """Mean AUROC over folds that keep each host whole, for every C: [len(strengths)]; None where
    no fold has both classes on both sides."""
    label, clip = rows["label"], case.protocol.probes["feature_clip"]
    fold = host_folds(rows["lrg_id"], label, case.protocol.probes["folds"], rng)
    aucs = []
    for k in np.unique(fold):
        out = fold == k
        if min(len(set(label[out].tolist())), len(set(label[~out].tolist()))) < 2:
            continue
        design = Design.of(features[~out], clip, floor)
        weights = fit(design, label[~out][:, None], strengths).weights
        scores = design.apply(features[out]) @ weights
        aucs.append([auroc(each, label[out]) for each in scores.T])
    return np.mean(aucs, axis=0) if aucs else None


def _fit_bars(name: str, case: Case) -> tuple[str, ...]:
    """Fit rows below the minimum bar a PASS as test rows do."""
    counts = dict(zip(("n_pos", "n_neg", "n_bricks"), case.fit.counts(), strict=True))
    least = case.protocol.gates[name].minimum
    return tuple(
        f"val {key} {count} below the minimum {least[key]}"
        for key, count in counts.items()
        if count < least[key]
    )


def _beside(
    case: Case, of_test: np.ndarray, strength: float, floor: float, rng: np.random.Generator
) -> dict[str, Any]:
    label = case.test["label"]
    grouped = grouped_aurocs(case, case.test, of_test, [strength], floor, rng)
    design = Design.of(of_test, case.protocol.probes["feature_clip"], floor)
    scores = design.rows @ fit(design, label[:, None], [strength]).weights[:, 0]
    return {
        "cross_validated_on_test": None if grouped is None else float(grouped[0]),
        "in_sample": auroc(scores, label) if design.width else None,
    }


def null_of(
    case: Case, design: Design, of_test: np.ndarray, strength: float, value: float
) -> dict[str, Any]:
    """The probe refitted (one step) and scored under permuted labels, on both splits."""
    (of_fit, units), (on_test, test_units) = case.permuted
    features = np.ascontiguousarray(design.apply(of_test).T)
    aucs = []
    for start in range(0, len(of_fit), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        scores = one_step(design, of_fit[some], strength) @ features
        aucs.append(row_aurocs(scores, on_test[some]))
    told = {
        "exchanged": units.kind,
        "effective_val": units.effective,
        "effective_test": test_units.effective,
    }
    return null_summary(np.concatenate(aucs), value) | told


def null_summary(aucs: np.ndarray, value: float) -> dict[str, Any]:
    """Mean and central 95 % of the AUROCs of a null, and the share of it that reaches `value`."""
    return {
        "value": float(aucs.mean()),
        "ci": np.quantile(aucs, (0.025, 0.975)).tolist(),
        "p": (1 + int((aucs >= value).sum())) / (1 + len(aucs)),
        "permutations": len(aucs),
    }


def row_aurocs(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """AUROC of each row of scores against its row of labels, mid-ranks: [m, n] -> [m].

    The label stands in the last bit of the score, so that plain sorting carries it along, which is
    twice as fast as to sort row numbers.
    """
    bits = (scores + 0.0).view(np.int64)
    rising = np.where(bits < 0, bits ^ np.int64(2**63 - 1), bits)  # as integers in the same order
    ordered = np.sort((rising & ~np.int64(1)) | labels, axis=1)
    n, n_pos = labels.shape[1], labels.sum(axis=1, dtype=float)
    ranks = (ordered & 1) @ np.arange(1.0, n + 1)
    tied = (ordered[:, 1:] >> 1 == ordered[:, :-1] >> 1).any(axis=1)  # or nearly: by mid-ranks
    if tied.any():
        ranks[tied] = (rankdata(scores[tied], axis=1) * labels[tied]).sum(axis=1)
    return (ranks - n_pos * (n_pos + 1) / 2) / (n_pos * (n - n_pos))
