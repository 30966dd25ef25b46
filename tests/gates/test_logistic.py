"""The logistic regression of the probes, against scikit-learn's; permutations."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from lensjax.gates.case import Rows
from lensjax.gates.logistic import Design, fit, one_step
from lensjax.gates.permutations import permuted_labels
from lensjax.gates.probes import row_aurocs
from lensjax.gates.statistics import auroc


def data(n: int = 300, k: int = 12, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.normal(0, 1, (n, k)) @ rng.normal(0, 1, (k, k)) + 3.0
    labels = (features[:, 0] + features[:, 1] + rng.normal(0, 4, n) > 6.0).astype(int)
    return features, labels


@pytest.mark.parametrize("strength", [1e-3, 0.1, 10.0])
def test_the_fit_is_that_of_scikit_learn(strength: float) -> None:
    features, labels = data()
    others, _ = data(seed=2)
    scale = StandardScaler().fit(features)
    peer = LogisticRegression(C=strength, tol=1e-9, max_iter=5000)
    peer.fit(scale.transform(features), labels)
    design = Design.of(features, clip=1e6)
    found = fit(design, labels[:, None], [strength])
    scores = design.apply(others) @ found.weights[:, 0] + found.intercepts[0]
    known = peer.decision_function(scale.transform(others))
    assert scores == pytest.approx(known, abs=2e-4)


def test_strengths_and_labels_are_fitted_side_by_side() -> None:
    features, labels = data()
    design = Design.of(features, clip=5.0)
    together = fit(design, labels[:, None], [0.01, 1.0]).weights
    for k, strength in enumerate([0.01, 1.0]):
        alone = fit(design, labels[:, None], [strength]).weights[:, 0]
        assert together[:, k] == pytest.approx(alone, abs=1e-5)


def test_one_step_is_a_newton_step_of_the_bounded_hessian() -> None:
    """From zero weights: (X'X / 4 + 1 / C)^-1 X'(y - mean y), solved plainly."""
    features, labels = data()
    design = Design.of(features, clip=5.0)
    rows = design.rows @ design.basis.T
    gram = rows.T @ rows / 4 + np.eye(12) / 0.1
    known = np.linalg.solve(gram, rows.T @ (labels - labels.mean()))
    found = one_step(design, labels[None, :], 0.1)[0]
    assert design.basis @ found == pytest.approx(known, rel=1e-9)


def test_columns_that_hold_nothing_are_left_out() -> None:
    features, _ = data()
    features = np.concatenate([features, np.full((300, 1), 0.262), 1e-5 * features[:, :1]], axis=1)
    assert Design.of(features, 5.0).width == 13
    assert Design.of(features, 5.0, floor=1e-3).width == 12
    assert Design.of(features[:, 12:13], 5.0).width == 0


def test_an_outlier_is_clipped_where_it_is_scored_too() -> None:
    features, labels = data()
    design = Design.of(features, clip=5.0)
    far = features[:1] + np.eye(12)[:1] * 1e6
    farther = features[:1] + np.eye(12)[:1] * 1e9
    assert design.apply(far) == pytest.approx(design.apply(farther))
    assert len(fit(design, labels[:, None], [1.0]).weights) == 12


def test_aurocs_by_row_take_ties_by_mid_ranks() -> None:
    rng = np.random.default_rng(5)
    scores = rng.normal(0, 1, (6, 80))
    scores[3:] = np.round(scores[3:])
    labels = np.stack([rng.permutation(np.arange(80) % 2) for _ in range(6)])
    known = [auroc(s, y) for s, y in zip(scores, labels, strict=True)]
    assert row_aurocs(scores, labels) == pytest.approx(known, abs=1e-12)


def rows(pair: list[int], host: list[int], brick: list[int], label: list[int]) -> Rows:
    names = {"pair_id": pair, "lrg_id": host, "brick": brick}
    arrays = {name: np.array(values).astype("U8") for name, values in names.items()}
    return Rows({**arrays, "label": np.array(label, np.int8)})


def test_pairs_are_exchanged_within() -> None:
    paired = rows([0, 0, 1, 1, 2], [0, 0, 1, 1, 2], [0, 0, 0, 0, 1], [1, 0, 0, 1, 0])
    labels, units = permuted_labels(paired, 200, np.random.default_rng(0))
    assert units.kind == "pairs" and units.effective == 2
    assert (labels[:, 0] + labels[:, 1] == 1).all() and (labels[:, 2] + labels[:, 3] == 1).all()
    assert (labels[:, 4] == 0).all()
    assert 60 < labels[:, 0].sum() < 140


def test_hosts_keep_their_rows_and_their_brick() -> None:
    n = 60
    host, brick = np.arange(n) // 2, np.arange(n) // 12
    unpaired = rows(list(range(n)), host.tolist(), brick.tolist(), (host % 2).tolist())
    labels, units = permuted_labels(unpaired, 100, np.random.default_rng(0))
    assert units.kind == "hosts within bricks" and units.effective == 30
    assert (labels[:, ::2] == labels[:, 1::2]).all()
    assert (labels.reshape(100, 5, 12).sum(2) == 6).all()
    assert len(np.unique(labels, axis=0)) > 90


def test_where_bricks_have_one_label_hosts_move_over_all() -> None:
    n = 60
    host, brick = np.arange(n) // 2, np.arange(n) // 12
    sorted_ = rows(list(range(n)), host.tolist(), brick.tolist(), (brick % 2).tolist())
    labels, units = permuted_labels(sorted_, 100, np.random.default_rng(0))
    assert units.kind == "hosts over all bricks"
    assert (labels.sum(1) == 24).all()
    assert (labels[:, ::2] == labels[:, 1::2]).all()
