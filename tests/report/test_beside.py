"""Figures of what stands beside the gates hold the numbers of the JSON that they are drawn of."""

from __future__ import annotations

import copy
import math
import warnings

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from lensjax import schema
from lensjax.report import (
    calibration,
    gates_picture,
    hunter,
    intervals,
    ranking,
    saliency,
    selection,
    strata,
    style,
)
from lensjax.report.reading import read_run
from lensjax.report.words import entries

HOSTILE = r"$\frac{1}$ 漢字 <b>_"


@pytest.fixture(autouse=True)
def _styled():
    with style.styled(), warnings.catch_warnings():
        warnings.simplefilter("error")  # a missing glyph is a warning of matplotlib
        yield


@pytest.fixture(scope="module")
def run(files_of_a_run):
    return read_run(files_of_a_run)


def points(axes, gid: str = "value") -> list[tuple[float, float]]:
    """Drawn (row, x) of every artist of a kind: `value`, `interval`, `limit` or `passed`."""
    lines = [line for line in axes.lines if line.get_gid() == gid]
    return [(float(line.get_ydata()[0]), *map(float, line.get_xdata())) for line in lines]


def blocks(axes, gid: str) -> list[tuple[int, float, float]]:
    """Drawn (row, left, right) of every bar of a kind: `null` or `bar`."""
    bars = [patch for patch in axes.patches if patch.get_gid() == gid]
    return [
        (round(bar.get_y() + bar.get_height() / 2), bar.get_x(), bar.get_x() + bar.get_width())
        for bar in bars
    ]


def stated(told: list[dict]) -> list[tuple[float, float]]:
    """(row, value) of every entry that has a value."""
    return [(float(k), each["value"]) for k, each in enumerate(told) if each.get("value")]


def ends(told: list[dict]) -> list[tuple[float, float, float]]:
    """(row, low, high) of every entry that has an interval."""
    return [(float(k), *each["ci"]) for k, each in enumerate(told) if each.get("ci")]


def labels(axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def test_every_gate_is_drawn_with_interval_threshold_and_chance(run):
    gates = entries(run.gates["gates"])
    gates["survey"]["detail"] = {"null": {"ci": [0.47, 0.53]}}
    figure = gates_picture.gates_figure(gates)
    differences = ("core_masked_drop", "core_reliance")
    groups = [[name for name in gates if name not in differences], list(differences)]
    for axes, names in zip(figure.axes, groups, strict=True):
        told = [gates[name] for name in names]
        assert labels(axes) == [name.replace("_", " ") for name in names]
        assert points(axes) == stated(told)
        assert points(axes, "interval") == ends(told)
        limits = [(k - 0.34, each["threshold"]) for k, each in enumerate(told)]
        np.testing.assert_allclose([point[:2] for point in points(axes, "limit")], limits)
    upper = figure.axes[0]
    row = groups[0].index("survey")
    np.testing.assert_allclose(blocks(upper, "null"), [(row, 0.47, 0.53)])
    colours = {name: line.get_color() for name, line in _values(upper, groups[0], gates)}
    assert colours["auroc_test"] == style.BLUE
    assert colours["survey"] == style.VERMILLION
    assert colours["core_lr_auc"] == style.ORANGE
    bold = [label.get_fontweight() for label in upper.get_yticklabels()]
    assert bold == ["bold" if gates[name]["required"] else "normal" for name in groups[0]]
    heads = [line.get_marker() for line in upper.lines if line.get_gid() == "passed"]
    above = [name in ("auroc_test", "hard_negative_auroc") for name in groups[0]]
    assert [head == intervals.CARETRIGHTBASE for head in heads] == above


def _values(axes, names, gates):
    drawn = [line for line in axes.lines if line.get_gid() == "value"]
    return zip([name for name in names if gates[name]["value"]], drawn, strict=True)


def test_the_audit_of_hard_negatives_is_drawn_beside_the_model(run):
    gate = run.gates["gates"]["hard_negative_auroc"]
    axes = gates_picture.audit_figure(gates_picture.audit_rows(gate)).axes[0]
    assert points(axes) == [(0.0, 0.88), (1.0, 0.43), (2.0, 0.51)]
    assert labels(axes)[3] == "roughness, SNR 0 to 3 (0)"
    assert [text.get_text() for text in axes.texts] == ["empty", "empty"]


def test_strata_hold_every_bin_and_kind(run):
    part = run.measured["strata"]
    kinds = {"ring": {"n_neg": 103, "value": 0.87, "ci": [0.84, 0.9]}}
    figure = strata.strata_figure(strata.strata_rows(part, kinds))
    assert len(figure.axes) == len(part) + 1
    for axes, told in zip(figure.axes, part.values(), strict=False):
        assert points(axes) == stated(told["bins"])
        assert points(axes, "interval") == ends(told["bins"])
        worst = [line for line in axes.lines if line.get_gid() == "value"]
        rows = [point[0] for point in points(axes)]
        assert worst[rows.index(told["worst"])].get_color() == style.VERMILLION
        assert sum("(worst)" in label for label in labels(axes)) == 1
    assert [text.get_text() for text in figure.axes[0].texts] == ["not in population"]
    assert labels(figure.axes[0])[0] == "0.5 to 0.75 (0)"
    assert points(figure.axes[-1]) == [(0.0, 0.87)]


def heat(axes) -> np.ma.MaskedArray:
    """The drawn completeness, first axis across."""
    return axes.images[0].get_array().T


def test_heat_maps_hold_every_cell_and_mark_the_empty_ones(run):
    part = run.measured["selection"]
    panels = selection.cells_figure(part).axes
    drawn = 0
    for cell in part["cells"]:
        theta_e, seeing, snr = cell["at"]
        axes = panels[seeing]
        value = heat(axes)[theta_e, snr]
        if not cell["n"]:
            assert np.ma.is_masked(value)
            continue
        drawn += 1
        assert value == cell["value"]
        (text,) = [t for t in axes.texts if t.get_position() == (theta_e, snr)]
        low, high = cell["ci"]
        told = f"{100 * cell['value']:.0f} %\n{100 * low:.0f}–{100 * high:.0f}\nn {cell['n']}"
        assert text.get_text() == told
    shown = [axes for axes in panels if axes.images]
    assert drawn == sum(len(axes.texts) for axes in shown) == 48
    hatched = [patch for axes in shown for patch in axes.patches if patch.get_gid() == "empty"]
    assert len(hatched) == sum(not cell["n"] for cell in part["cells"]) == 12
    assert all(patch.get_hatch() for patch in hatched)
    assert [t.get_text() for t in shown[0].get_yticklabels()] == ["0", "8", "15", "30", "open"]


def test_planes_hold_their_margins(run):
    part = run.measured["selection"]
    panels = selection.planes_figure(part).axes
    planes = ["theta_e_arcsec x arc_snr", "theta_e_arcsec x psf_fwhm_arcsec"]
    for axes, plane in zip(panels, [*planes, "psf_fwhm_arcsec x arc_snr"], strict=False):
        for cell in part["margins"][plane]:
            value = heat(axes)[tuple(cell["at"])]
            assert np.ma.is_masked(value) if not cell["n"] else value == cell["value"]


def test_axes_of_the_selection_function_hold_intervals(run):
    part = run.measured["selection"]
    figure = selection.axes_figure(part)
    names = ("theta_e_arcsec", "arc_snr", "psf_fwhm_arcsec")
    for axes, name in zip(figure.axes, names, strict=True):
        assert points(axes) == stated(part["margins"][name])
        assert points(axes, "interval") == ends(part["margins"][name])
        (overall,) = [line for line in axes.lines if line.get_label() == "all lenses"]
        assert set(overall.get_xdata()) == {part["completeness"]["value"]}
    assert [text.get_text() for text in figure.axes[0].texts] == ["empty"]


def test_reliability_is_drawn_before_and_after(run):
    maps = run.measured["calibration"]["maps"]
    before, after = calibration.reliability_figure(maps).axes
    drawn = {line.get_label(): line.get_xydata() for axes in (before, after) for line in axes.lines}
    assert [line.get_label() for line in before.lines] == ["perfect", "as it is"]
    for name, label in calibration.NAMES.items():
        told = maps[name]["reliability"]
        np.testing.assert_array_equal(
            drawn[label], [(each["probability"], each["value"]) for each in told]
        )
    segments = before.collections[0].get_segments()
    told = [[(e["probability"], end) for end in e["ci"]] for e in maps["none"]["reliability"]]
    np.testing.assert_array_equal(segments, told)
    assert len(after.collections) == 2


def test_ranking_holds_rates_and_ceilings(run):
    part = run.measured["ranking"]
    rows = ranking.ranking_rows(part)
    axes = ranking.ranking_figure(rows).axes[0]
    at = part["precision_at_recall"]
    lists = (part["tpr_at_fpr"], part["tpr_at_false_positives"], part["recall_at"])
    told = [each for some in lists for each in some] + [at["precision"], at["fpr"]]
    assert points(axes) == stated(told)
    assert points(axes, "interval") == ends(told)
    ceilings = [each["ceiling"] for each in part["recall_at"]]
    assert [point[1] for point in points(axes, "limit")] == ceilings
    assert not points(axes, "passed")
    hollow = [line.get_markerfacecolor() == "white" for line in axes.lines if _is_value(line)]
    assert hollow == ["verdict" in each for each in told]
    assert labels(axes)[:2] == ["TPR at FPR 0.01", "TPR at FPR 0.0001"]


def _is_value(line) -> bool:
    return line.get_gid() == "value"


def test_hunter_bars_hold_both_questions_with_chance_and_each_class(run):
    part = run.measured["hunter"]
    families = part["families"]
    upper, lower = hunter.families_figure(part).axes
    label, score = ([each[side] for each in families] for side in ("label", "score"))
    assert points(upper) == stated(label)
    assert points(upper, "interval") == ends(label)
    known = [each for each in label if "value" in each]
    bars = [(k, 0.5, each["value"]) for k, each in enumerate(known)]
    np.testing.assert_allclose(blocks(upper, "bar"), bars)
    nulls = [(k, *each["null"]["ci"]) for k, each in enumerate(known)]
    np.testing.assert_allclose(blocks(upper, "null"), nulls)
    assert [text.get_text() for text in upper.texts] == ["constant features"]
    score.append(part["together"])
    assert points(lower) == stated(score)
    assert labels(lower) == [*(each["family"] for each in families), "all together"]
    sides = {line.get_label(): line for line in lower.lines if line.get_marker() in "v^s"}
    for name, side in (("controls", "controls"), ("look-alikes", "lookalikes"), ("lenses",) * 2):
        told = [(each[side], k) for k, each in enumerate(score)]
        np.testing.assert_array_equal(sides[name].get_xydata(), told)
    colours = [line.get_color() for line in lower.lines if _is_value(line)]
    assert colours == [style.BLUE] * 2 + [style.SKY] * (len(families) - 2) + [style.GREY]


def test_features_within_chance_are_hollow(run):
    features = run.measured["hunter"]["features"]
    upper, lower = hunter.features_figure(features).axes
    shown = features[: hunter.FEATURES]
    assert labels(upper) == [each["feature"] for each in shown]
    for axes, side in ((upper, "score"), (lower, "label")):
        assert points(axes) == [(float(k), each[side]["value"]) for k, each in enumerate(shown)]
        hollow = [line.get_markerfacecolor() == "white" for line in axes.lines if _is_value(line)]
        assert hollow == [each[side]["p"] > 0.05 for each in shown]


def test_words_of_files_are_drawn_as_text():
    rows = [intervals.Row(HOSTILE, state=HOSTILE), intervals.Row("x", value=0.5)]
    figure, (axes,) = style.new_figure(1.0)
    intervals.draw_rows(axes, rows, style.BLUE, "x")
    figure.draw_without_rendering()
    assert r"\u6f22" in labels(axes)[0]


def test_families_and_features_of_any_name_are_drawn(run):
    part = copy.deepcopy(run.measured["hunter"])
    part["families"][0]["family"] = part["features"][0]["feature"] = HOSTILE
    part["families"][1]["score"] = {"state": HOSTILE}
    for figure in (hunter.families_figure(part), hunter.features_figure(part["features"])):
        figure.draw_without_rendering()
        assert labels(figure.axes[0])[0].startswith(r"$\frac{1}$ \u6f22")


def test_words_of_files_break_a_figure_without_the_guard(monkeypatch):
    monkeypatch.setattr(intervals, "plain", str)
    figure, (axes,) = style.new_figure(1.0)
    intervals.draw_rows(axes, [intervals.Row(HOSTILE)], style.BLUE, "x")
    with pytest.raises(UserWarning, match=r"Glyph .* missing"):
        figure.draw_without_rendering()


def test_an_entry_without_a_number_has_no_estimate():
    for told in (None, {}, {"value": None, "ci": None}, {"value": "x", "ci": [1]}, 7):
        assert all(math.isnan(x) for x in intervals.estimate(told))


def test_saliency_profiles_are_means_over_stamps_a_pixel(run):
    arrays = run.saliency
    assert arrays is not None
    found = saliency.profiles(arrays)
    figure = saliency.profiles_figure(found, (1.5, 2.5))
    for axes, view in zip(figure.axes, saliency.VIEWS, strict=True):
        drawn = {str(line.get_label()): line.get_xydata() for line in axes.lines}
        for name, label in saliency.CLASSES.items():
            rows = arrays["label"] == label
            mean = arrays[view][rows].astype(float).mean(0)
            mean = mean if view == "occlusion" else mean.sum(-1)
            if view == "integrated_gradients":
                mean = mean / arrays["annulus_pixels"]
            np.testing.assert_array_equal(drawn[name][:, 0], np.arange(32) + 0.5)
            np.testing.assert_allclose(drawn[name][:, 1], mean, rtol=1e-5, atol=1e-9)
            low, high = found[view][name][:, 1:].T
            assert ((low <= drawn[name][:, 1]) & (drawn[name][:, 1] <= high)).all()
        assert len(axes.collections) == 2  # shaded intervals
        pixels = [patch for patch in axes.patches if patch.get_label() == "θ_E of the lenses"]
        assert pixels[0].get_x() == pytest.approx(1.5 / schema.PIXEL_SCALE_ARCSEC)


def test_intervals_of_profiles_widen_with_the_scatter_of_bricks():
    """Two bricks that differ: the standard error is that of bricks, not of 200 stamps."""
    values = np.repeat([[0.0], [1.0], [0.0], [1.0]], 50, axis=0)
    bricks = np.repeat(["a", "b", "c", "d"], 50)
    wide, narrow = (saliency._mean(values, names)[0] for names in (bricks, np.arange(200)))
    assert wide[0] == narrow[0] == 0.5
    assert wide[2] - wide[1] > 3 * (narrow[2] - narrow[1])


def test_maps_are_blue_for_a_lens_and_vermillion_against():
    parts = np.zeros(schema.STAMP_SHAPE)
    parts[10, 20], parts[40, 50] = 0.1, -0.1
    gradient = np.zeros(schema.STAMP_SHAPE)
    gradient[10:20, 20:30] = -2.0  # more than the half per cent that is beyond the scale
    (slope, signed), largest = saliency.map_pictures(gradient + 1e-3, parts + 1e-6)
    np.testing.assert_allclose(signed[10, 20], to_rgb(style.BLUE), atol=0.01)
    np.testing.assert_allclose(signed[40, 50], to_rgb(style.VERMILLION), atol=0.01)
    assert largest > 0
    assert slope[10, 20].sum() > slope[0, 0].sum()
    blank = np.zeros(schema.STAMP_SHAPE)
    (_, nothing), _ = saliency.map_pictures(blank, blank)
    np.testing.assert_allclose(nothing, 1.0, atol=0.01)
