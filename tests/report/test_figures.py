"""Figures contain what they claim: the data are read back from the drawn lines and patches."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from matplotlib.image import imread

from lensjax import schema
from lensjax.report import figures, measures, sheets, style


@pytest.fixture(autouse=True)
def _styled():
    with style.styled(), warnings.catch_warnings():
        warnings.simplefilter("error")  # a missing glyph is a warning of matplotlib
        yield


def drawn_lines(axes) -> dict[str, np.ndarray]:
    """The drawn points of each named line, [k, 2]."""
    return {str(line.get_label()): line.get_xydata() for line in axes.lines}


def render(figure) -> None:
    figure.draw_without_rendering()


def test_loss_curves_and_the_shaded_range():
    train, val = (np.array([1.0, 2, 3]), np.array([0.7, 0.5, 0.4])), (np.array([1.0]), np.ones(1))
    band = measures.expected_band(schema.EXPECTED_TRAIN_LOSS, 3)
    figure = figures.loss_figure(train, val, band)
    axes = figure.axes[0]
    lines = drawn_lines(axes)
    np.testing.assert_array_equal(lines["training"], np.stack(train, 1))
    np.testing.assert_array_equal(lines["validation"], np.stack(val, 1))
    corners = axes.collections[0].get_paths()[0].vertices
    for point in ([1, 0.3], [1, 1.0], [3, 0.225], [3, 0.75]):
        assert np.isclose(corners, point).all(1).any(), point
    render(figure)


def test_auroc_marks_the_best_epoch_and_names_no_line_that_is_not_there():
    empty = (np.array([]), np.array([]))
    val = (np.array([1.0, 2]), np.array([0.6, 0.8]))
    figure = figures.auroc_figure(empty, val, np.zeros((0, 3)), 2.0)
    lines = drawn_lines(figure.axes[0])
    assert set(lines) == {"validation", "best epoch"}
    assert (lines["best epoch"][:, 0] == 2).all()


def test_rates_are_linear_unless_the_norm_spans_decades():
    rate = (np.arange(3.0), np.ones(3))
    for norms, scale in (([1.0, 2, 3], "linear"), ([0.01, 1, 30], "log")):
        figure = figures.rates_figure(rate, (np.arange(3.0), np.array(norms)))
        assert figure.axes[1].get_yscale() == scale
        render(figure)


@pytest.mark.parametrize("logarithmic", [False, True])
def test_area_under_the_drawn_roc_is_the_auroc_it_names(logarithmic):
    rng = np.random.default_rng(1)
    label = (np.arange(500) % 2).astype(np.int8)
    logit = np.round(rng.normal(label * 1.5, 1), 1)
    area = measures.auroc(label, logit)
    curves = {"all": (*measures.roc(label, logit), area)}
    figure = figures.roc_figure(curves, n_negatives=250, logarithmic=logarithmic)
    line = drawn_lines(figure.axes[0])[f"all: {area:.3f}"]
    gap = logit[label == 1][:, None] - logit[label == 0][None, :]
    counted = ((gap > 0) + 0.5 * (gap == 0)).mean()
    assert np.trapezoid(line[:, 1], line[:, 0]) == pytest.approx(counted, abs=1e-12)
    assert figure.axes[0].get_xscale() == ("log" if logarithmic else "linear")
    render(figure)


def test_histograms_draw_every_stamp():
    rng = np.random.default_rng(2)
    groups = {"lens": rng.normal(3, 1, 70), "control": rng.normal(0, 1, 50), "ring": np.zeros(9)}
    counts, edges = measures.histograms(groups)
    figure = figures.kind_histograms(counts, edges)
    for axes, (name, logits) in zip(figure.axes, groups.items(), strict=True):
        values, drawn_edges, _ = axes.patches[0].get_data()
        np.testing.assert_array_equal(values, np.histogram(logits, edges)[0])
        np.testing.assert_array_equal(drawn_edges, edges)
        assert values.sum() == len(logits)
        assert axes.get_title(loc="left") == f"{name} (n = {len(logits)})"
    by_class = figures.class_histogram(counts, edges).axes[0]
    sums = [int(patch.get_data()[0].sum()) for patch in by_class.patches]
    assert sums == [70, 70, 59, 59]  # filled and outlined
    render(figure)


def test_reliance_draws_both_curves():
    radii = np.array(schema.MASK_RADII)
    observed, expected = np.linspace(0.95, 0.5, 6), np.linspace(0.95, 0.6, 6)
    lines = drawn_lines(figures.reliance_figure(radii, observed, expected).axes[0])
    np.testing.assert_array_equal(lines["this model"], np.stack([radii, observed], 1))
    np.testing.assert_array_equal(
        lines["geometry alone (matched filter)"], np.stack([radii, expected], 1)
    )
    unknown = figures.reliance_figure(radii, observed, np.full(6, np.nan)).axes[0]
    assert "geometry alone (matched filter)" not in drawn_lines(unknown)


HOSTILE = r"$\frac{1}$ 漢字 <b>_"


def test_hostile_kinds_are_drawn_as_text():
    counts = {HOSTILE: np.ones(2, int), "lens": np.ones(2, int)}
    render(figures.kind_histograms(counts, np.arange(3.0)))
    render(sheets.contact_sheet(np.zeros((1, 64, 64, 3)), [figures.plain(HOSTILE)]))


def test_hostile_kinds_break_a_figure_without_the_guard(monkeypatch):
    monkeypatch.setattr(figures, "plain", str)
    counts = {HOSTILE: np.ones(2, int), "lens": np.ones(2, int)}
    with pytest.raises(UserWarning, match=r"Glyph .* missing"):
        render(figures.kind_histograms(counts, np.arange(3.0)))


def test_composite_keeps_colour_and_order_and_ignores_the_sky_level():
    stamp = np.zeros(schema.STAMP_SHAPE, np.float32)
    stamp[30, 20] = [0.0, 0.0, 0.5]  # z alone: red
    stamp[40, 20] = [0.5, 0.0, 0.0]  # g alone: blue
    stamp[50, 20] = [0.01, 0.02, 0.03]
    stamp[50, 40] = [0.02, 0.04, 0.06]
    picture = sheets.composite(stamp)
    assert picture.shape == schema.STAMP_SHAPE
    assert picture.min() >= 0
    assert picture.max() <= 1
    assert picture[30, 20].argmax() == 0
    assert picture[40, 20].argmax() == 2
    assert (picture[50, 40] > picture[50, 20]).all()
    np.testing.assert_allclose(sheets.composite(stamp + 3.0), picture, atol=1e-5)


def test_composite_is_the_one_of_the_legacy_surveys_viewer():
    """Below saturation: m = 0.03, Q = 20, weights 6.0, 3.4, 2.2 (viewer's sdss_rgb)."""
    rng = np.random.default_rng(4)
    stamp = rng.uniform(0, 0.01, schema.STAMP_SHAPE)
    radius = schema.radius_map()
    sky = np.median(stamp[(radius >= 20) & (radius < 32)], axis=0)
    bands = np.maximum(0, (stamp - sky) * [6.0, 3.4, 2.2] + 0.03)
    intensity = bands.sum(-1) / 3
    scale = np.arcsinh(20 * intensity) / np.sqrt(20) / np.maximum(intensity, 1e-9)
    reference = np.clip(bands * scale[..., None], 0, 1)[..., ::-1]
    np.testing.assert_allclose(sheets.composite(stamp), reference, atol=1e-9)


def test_composite_draws_pixels_that_are_not_finite_without_a_warning():
    stamp = np.full(schema.STAMP_SHAPE, np.nan, np.float32)
    stamp[0, 0] = np.inf
    assert np.isfinite(sheets.composite(stamp)).all()


def test_png_holds_the_picture_with_row_zero_at_the_bottom():
    picture = np.random.default_rng(6).uniform(0, 1, schema.STAMP_SHAPE)
    read = imread(io.BytesIO(sheets.png(picture)))[..., :3]
    np.testing.assert_allclose(read[::-1], picture, atol=1 / 255)


def test_contact_sheet_shows_each_picture_under_its_title():
    pictures = np.random.default_rng(7).uniform(0, 1, (8, *schema.STAMP_SHAPE))
    titles = [f"number {k}" for k in range(8)]
    figure = sheets.contact_sheet(pictures, titles)
    assert [axes.get_title() for axes in figure.axes] == titles
    for axes, picture in zip(figure.axes, pictures, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), picture)
    render(figure)


def test_saved_figures_have_the_same_bytes_and_tell_no_time(tmp_path):
    def draw(directory):
        directory.mkdir()
        curve = (np.arange(3.0), np.arange(3.0))
        style.save(figures.loss_figure(curve, curve, np.zeros((0, 3))), directory, "loss")
        return [(directory / f"loss.{kind}").read_bytes() for kind in ("png", "pdf")]

    first, second = draw(tmp_path / "a"), draw(tmp_path / "b")
    assert first == second
    assert first[0].startswith(b"\x89PNG")
    assert first[1].startswith(b"%PDF")
    for secret in (b"CreationDate", b"ModDate", b"Matplotlib"):
        assert not any(secret in content for content in first)
