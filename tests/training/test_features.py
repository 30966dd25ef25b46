"""The measures that probes are fitted on, against numpy, scipy-free and slow."""

import jax
import numpy as np
import pytest

from lensjax import schema
from lensjax.training import features
from lensjax.training.hard_negatives import hard_negative
from lensjax.training.preprocess import raw_robust

RADIUS = np.hypot(*(np.indices((64, 64)) - 31.5))
OUTER = (RADIUS >= 20) & (RADIUS < 32)
noise_sigma, outskirts = jax.jit(features.noise_sigma), jax.jit(features.outskirts)
high_frequency_core = jax.jit(features.high_frequency_core)
arc_snr_outside = jax.jit(features.arc_snr_outside)
hard_negative_audit = jax.jit(features.hard_negative_audit)


@pytest.fixture(scope="module")
def pairs(train_set):
    table = train_set.table
    return train_set.stamps[table["label"] == 1][:8], train_set.stamps[
        table["negative_kind"] == "control"
    ][:8]


def mad(x):
    return np.median(np.abs(x - np.median(x)))


def test_core_box_is_rows_and_columns_27_to_36():
    stamps = np.arange(2 * 64 * 64 * 3, dtype=np.float32).reshape(2, 64, 64, 3)
    box = features.core_box(stamps)
    assert box.shape == (2, 10, 10, 3)
    np.testing.assert_array_equal(box[1, 0, 0], stamps[1, 27, 27])
    np.testing.assert_array_equal(box[1, 9, 9], stamps[1, 36, 36])


def test_noise_sigma(pairs):
    want = [[1.4826 * mad(x[OUTER, band]) for band in range(3)] for x in pairs[0]]
    np.testing.assert_allclose(noise_sigma(pairs[0]), want, rtol=1e-5)


def test_outskirts(pairs):
    want = []
    for stamp in pairs[0]:
        row = []
        for band in range(3):
            x = stamp[:, :, band].astype(float)
            far = RADIUS >= 28
            median, sigma = np.median(x[far]), 1.4826 * mad(x[far])
            v = np.clip((x - median) / sigma, -4, 4)
            right = far[:, 1:] & far[:, :-1]
            below = far[1:] & far[:-1]
            row += [np.log10(sigma), median / sigma]
            row += [np.corrcoef(v[:, 1:][right], v[:, :-1][right])[0, 1]]
            row += [np.corrcoef(v[1:][below], v[:-1][below])[0, 1]]
        want.append(row)
    np.testing.assert_allclose(outskirts(pairs[0]), want, rtol=1e-3, atol=1e-4)


def test_outskirts_see_correlated_noise():
    rng = np.random.default_rng(0)
    white = rng.standard_normal((1, 64, 65, 3)).astype(np.float32)
    smooth = (white[:, :, 1:] + white[:, :, :-1]) / np.float32(np.sqrt(2))
    across = [outskirts(x)[0, 2::4].mean() for x in (white[:, :, 1:], smooth)]
    assert abs(across[0]) < 0.1 and abs(across[1] - 0.5) < 0.1


def test_high_frequency_core(pairs):
    want = []
    for x in pairs[0]:
        row = []
        for band in range(3):
            for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
                curve = [
                    x[i + dy, j + dx, band] - 2 * x[i, j, band] + x[i - dy, j - dx, band]
                    for i in range(27, 37)
                    for j in range(27, 37)
                ]
                row.append(np.sqrt(np.mean(np.square(curve))))
        want.append(row)
    np.testing.assert_allclose(high_frequency_core(pairs[0]), want, rtol=1e-4)


def test_arc_snr_outside(pairs):
    stamps, controls = pairs
    snr = np.linspace(5, 50, len(stamps), dtype=np.float32)
    got = np.asarray(arc_snr_outside(stamps, controls, snr))
    power = (stamps - controls)[..., 1].astype(float) ** 2
    want = [
        [s * np.sqrt(p[radius <= RADIUS].sum() / p.sum()) for radius in schema.MASK_RADII]
        for s, p in zip(snr, power, strict=True)
    ]
    np.testing.assert_allclose(got, want, rtol=1e-4)
    np.testing.assert_allclose(got[:, 0], snr, rtol=1e-6)
    invisible = arc_snr_outside(controls, controls, snr)
    np.testing.assert_array_equal(invisible, np.zeros((len(snr), 6)))


def test_audit_statistics(pairs):
    stamps, controls = pairs
    theta_e = np.full(len(stamps), 2.0, np.float32)
    hard = jax.jit(hard_negative)(
        jax.random.split(jax.random.key(0), len(stamps)), stamps, controls
    )
    got = np.asarray(hard_negative_audit(stamps, hard, theta_e))
    values = np.asarray(jax.jit(raw_robust)(stamps))
    near = RADIUS < 20
    colour = [np.corrcoef(v[near, 0], v[near, 1])[0, 1] for v in values]
    np.testing.assert_allclose(got[:, 1], colour, rtol=1e-4)
    angle = np.arctan2(*(np.indices((64, 64)) - 31.5))
    for row, v in enumerate(values[..., 1]):
        steps, inside = [], RADIUS < 3 * 2.0 / 0.262
        for k in range(45):
            ring = np.flatnonzero((k <= RADIUS) & (k + 1 > RADIUS))
            ring = ring[np.argsort(angle.ravel()[ring])]
            both = inside.ravel()[ring[1:]]
            steps += np.abs(np.diff(v.ravel()[ring]))[both].tolist()
        want = np.mean(steps) / np.abs(v[inside]).mean()
        np.testing.assert_allclose(got[row, 0], want, rtol=0.02)
    assert (got[:, 2] > got[:, 0]).all()  # bright arcs: the shuffle is rougher, and it is seen
