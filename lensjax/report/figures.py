"""The curves of a report: each function takes arrays and returns a matplotlib Figure.

No files are read and nothing is computed that a test could not read back from the lines. Text from
data is drawn without mathematics (`parse_math=False`): a stray dollar sign cannot break a figure.

    figure = roc_figure({"all non-lenses": (fpr, tpr, 0.97)}, n_negatives=1200, logarithmic=True)
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lensjax import schema
from lensjax.report import style
from lensjax.report.measures import Curve

RocCurve = tuple[np.ndarray, np.ndarray, float]  # fpr, tpr, area

_DASHES = ("-", "--", "-.", ":")
_DECADES = 100.0  # ratio of gradient norms that asks for a logarithmic axis
_FEW = 10  # false positives below which a rate is mostly chance


def plain(words: object) -> str:
    """Text from data in letters that the figures' font has, others as escapes; _ as a space."""
    return str(words).encode("ascii", "backslashreplace").decode().replace("_", " ")


def loss_figure(train: Curve, validation: Curve, expected: np.ndarray) -> Figure:
    """Loss against epoch, the expected range of the training loss shaded.

    Args:
        train, validation: (epochs, losses), any length.
        expected: float [k, 3] of epoch, low, high (measures.expected_band).
    """
    figure, (axes,) = style.new_figure(2.5)
    _band(axes, expected, "expected (training)")
    _line(axes, train, style.BLUE, "-", "o", "training")
    _line(axes, validation, style.VERMILLION, "--", "s", "validation")
    axes.set_ylim(bottom=0.0)
    _epoch_axis(axes, "loss (cross-entropy)")
    axes.legend(loc="upper right")
    return figure


def auroc_figure(
    train: Curve, validation: Curve, expected: np.ndarray, best_epoch: float | None
) -> Figure:
    """AUROC against epoch, the expected range of validation shaded, the best epoch marked.

    Args: as `loss_figure`; best_epoch: 1-based, or None if there is none yet.
    """
    figure, (axes,) = style.new_figure(2.5)
    _band(axes, expected, "expected (validation)")
    _line(axes, train, style.BLUE, "-", "o", "training")
    _line(axes, validation, style.VERMILLION, "--", "s", "validation")
    if best_epoch is not None:
        axes.axvline(best_epoch, color=style.GREY, lw=0.8, ls=":", label="best epoch")
    axes.set_ylim(top=1.0)
    _epoch_axis(axes, "AUROC")
    axes.legend(loc="lower right")
    return figure


def rates_figure(learning_rate: Curve, gradient_norm: Curve) -> Figure:
    """Learning rate and gradient norm against epoch, below each other."""
    figure, (upper, lower) = style.new_figure(3.0, rows=2, sharex=True)
    _line(upper, learning_rate, style.BLACK, "-", "o", "learning rate")
    upper.set_ylabel("learning rate")
    upper.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    _line(lower, gradient_norm, style.GREEN, "-", "o", "gradient norm")
    norms = gradient_norm[1]
    if len(norms) and norms.max() > _DECADES * norms.min() > 0:
        lower.set_yscale("log")
    else:
        lower.set_ylim(bottom=0.0)
    _epoch_axis(lower, "gradient norm")
    return figure


def roc_figure(
    curves: Mapping[str, RocCurve], n_negatives: int, logarithmic: bool = False
) -> Figure:
    """ROC curves, each named with its area.

    Args:
        curves: name -> (false positive rates, true positive rates, AUROC).
        n_negatives: of the first curve; rates of under ten of them are shaded when logarithmic.
        logarithmic: false positive rate on a logarithmic axis, the end that matters on the sky.
    """
    figure, (axes,) = style.new_figure(3.1)
    chance = np.geomspace(1e-4, 1, 50) if logarithmic else np.array([0.0, 1.0])
    axes.plot(chance, chance, color=style.GREY, lw=0.8, ls=":", label="chance")
    colours = (style.BLUE, style.VERMILLION, style.GREEN, style.GREY)
    for (name, (fpr, tpr, area)), colour, dash in zip(
        curves.items(), colours, _DASHES, strict=False
    ):
        axes.plot(
            fpr,
            tpr,
            color=colour,
            ls=dash,
            label=f"{plain(name)}: {area:.3f}",
        )
    if logarithmic:
        low = min(0.1, max(1e-4, 0.5 / max(n_negatives, 1)))
        axes.set_xscale("log")
        axes.set_xlim(low, 1.0)
        axes.axvspan(low, _FEW / max(n_negatives, 1), color=style.PALE, lw=0, zorder=0)
    else:
        axes.set_xlim(0.0, 1.0)
        axes.set_aspect("equal")
    axes.set_ylim(0.0, 1.0)
    axes.set_xlabel("false positive rate")
    axes.set_ylabel("true positive rate")
    axes.legend(loc="lower right", title="AUROC")
    return figure


def class_histogram(counts: Mapping[str, np.ndarray], edges: np.ndarray) -> Figure:
    """Logits of lenses against all negatives together, in stamps a bin.

    Args:
        counts: group -> int [bins]; 'lens' and the kinds of negative (measures.histograms).
        edges: float [bins + 1].
    """
    figure, (axes,) = style.new_figure(2.5)
    negatives = [group for name, group in counts.items() if name != "lens"]
    classes = {
        "lenses": (counts.get("lens"), style.BLUE, "-"),
        "non-lenses": (np.sum(negatives, axis=0) if negatives else None, style.ORANGE, "--"),
    }
    for name, (group, colour, dash) in classes.items():
        if group is None:
            continue
        label = f"{name} (n = {int(group.sum())})"
        axes.stairs(group, edges, fill=True, color=colour, alpha=0.25, lw=0)
        axes.stairs(group, edges, color=colour, ls=dash, lw=1.4, label=label)
    axes.set_xlabel("logit (score = 1 / (1 + exp(-logit)))")
    axes.set_ylabel("stamps a bin")
    axes.set_ylim(top=axes.get_ylim()[1] * 1.25)  # room for the names
    axes.legend(loc="upper center", ncols=2, columnspacing=1.0)
    return figure


def kind_histograms(counts: Mapping[str, np.ndarray], edges: np.ndarray) -> Figure:
    """Logits of lenses and of every kind of negative, one row each under one axis, in stamps a
    bin. Arguments as `class_histogram`."""
    figure, rows = style.new_figure(0.6 + 0.55 * len(counts), rows=len(counts), sharex=True)
    for axes, (name, group) in zip(rows, counts.items(), strict=True):
        colour = style.KIND_COLOURS.get(name, style.GREY)
        axes.stairs(group, edges, fill=True, color=colour, lw=0)
        axes.stairs(group, edges, color=style.BLACK, lw=0.5)
        axes.set_title(
            f"{plain(name)} (n = {int(group.sum())})", loc="left", pad=2, parse_math=False
        )
        axes.set_ylim(0, max(1, int(group.max())) * 1.1)
        axes.yaxis.set_major_locator(_whole(2))
    rows[-1].set_xlabel("logit")
    figure.supylabel("stamps a bin", fontsize=style.FONT_POINTS)
    return figure


def reliance_figure(radii: np.ndarray, observed: np.ndarray, expected: np.ndarray) -> Figure:
    """AUROC against masked radius, beside what geometry alone predicts.

    Args:
        radii: pixels [k]; observed, expected: AUROC [k].
    """
    figure, (axes,) = style.new_figure(2.7)
    axes.plot(radii, observed, color=style.BLUE, marker="o", ms=4, label="this model")
    if np.isfinite(expected).any():
        axes.plot(
            radii,
            expected,
            color=style.VERMILLION,
            ls="--",
            marker="s",
            ms=4,
            mfc="white",
            label="geometry alone (matched filter)",
        )
    axes.axvline(schema.CORE_RADIUS, color=style.GREY, lw=0.8, ls=":")
    axes.text(
        schema.CORE_RADIUS,
        1.0,
        " core",
        transform=axes.get_xaxis_transform(),
        va="top",
        color=style.GREY,
    )
    axes.set_xticks(radii)
    axes.set_xlabel(f"masked radius (pixels of {schema.PIXEL_SCALE_ARCSEC} arcsec)")
    axes.set_ylabel("AUROC")
    axes.legend(loc="lower left")
    return figure


def _line(axes: Axes, curve: Curve, colour: str, dash: str, marker: str, label: str) -> None:
    """A named line; nothing for an empty curve, so that no legend names what is not there."""
    if len(curve[0]):
        size = 3.0 if len(curve[0]) <= 20 else 0.0
        axes.plot(*curve, color=colour, ls=dash, marker=marker, ms=size, label=label)


def _band(axes: Axes, expected: np.ndarray, label: str) -> None:
    if len(expected) > 1:
        axes.fill_between(*expected.T, color=style.PALE, lw=0, zorder=0, label=label)
    elif len(expected):
        epoch, low, high = expected[0]
        axes.plot([epoch, epoch], [low, high], color=style.PALE, lw=8, zorder=0, label=label)


def _epoch_axis(axes: Axes, name: str) -> None:
    axes.set_xlabel("epoch")
    axes.set_ylabel(name)
    axes.xaxis.set_major_locator(_whole(8))


def _whole(n: int) -> MaxNLocator:
    """At most `n` ticks, on whole numbers."""
    return MaxNLocator(n, integer=True)
