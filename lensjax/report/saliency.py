"""Where in a stamp the model looks: mean saliency against radius, and maps of example stamps.

No model is loaded: the arrays are those of eval/saliency.npz (docs/formats.md), which says nothing
of right or wrong. Means are over stamps, their intervals by resampling bricks.

    figure = profiles_figure(profiles(run.saliency))
    html = saliency(run, Album(run.workdir / "figures"))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from lensjax import schema
from lensjax.gates.bootstrap import brick_sums, ends
from lensjax.gates.statistics import brick_counts
from lensjax.report import sheets, style
from lensjax.report.album import GROUPS, Album, image
from lensjax.report.drawn import note
from lensjax.report.markup import Html, join, tag
from lensjax.report.reading import EXAMPLES, SALIENCY, Arrays, Run
from lensjax.report.words import GROUP_WORDS

CLASSES = {"lenses": 1, "non-lenses": 0}
VIEWS = {  # name -> axis, with its unit
    "gradient": "mean |gradient|\n(log-odds a sky sigma)",
    "integrated_gradients": "integrated gradients\n(log-odds a pixel)",
    "occlusion": "lost by occlusion\n(log-odds an annulus)",
}
EACH = 2  # example stamps of a group
_LOOKS = {"lenses": (style.BLUE, "-"), "non-lenses": (style.ORANGE, "--")}
_CONFIDENCE, _RESAMPLES, _SEED = 0.95, 2000, 0
_PERCENTILE = 99.5  # of a map's absolute values: the end of its colours
_SIGNED = LinearSegmentedColormap.from_list("signed", [style.VERMILLION, "#ffffff", style.BLUE])
_CORE = int(schema.CORE_RADIUS)
_PARTS = ((0, _CORE), (_CORE, 12), (12, schema.PROFILE_RINGS))
Profiles = dict[str, dict[str, np.ndarray]]


def radial(arrays: Arrays) -> dict[str, np.ndarray]:
    """Every view of every stamp against radius, float64 [n, 32]: the gradient summed over bands;
    integrated gradients summed over bands, a pixel; occlusion, an annulus."""
    return {
        "gradient": arrays["gradient"].sum(-1, dtype=np.float64),
        "integrated_gradients": arrays["integrated_gradients"].sum(-1, dtype=np.float64)
        / arrays["annulus_pixels"],
        "occlusion": arrays["occlusion"].astype(np.float64),
    }


def profiles(arrays: Arrays) -> Profiles:
    """view -> class -> mean and the ends of its 95 % interval, float64 [32, 3]; a class without
    stamps is left out."""
    views = radial(arrays)
    groups = {name: arrays["label"] == label for name, label in CLASSES.items()}
    return {
        view: {
            name: _mean(values[rows], arrays["brick"][rows])
            for name, rows in groups.items()
            if rows.any()
        }
        for view, values in views.items()
    }


def _mean(values: np.ndarray, bricks: np.ndarray) -> np.ndarray:
    """Mean of each column of [n, k] and its interval by resampling bricks: [k, 3]."""
    names, home = np.unique(bricks, return_inverse=True)
    rows = np.concatenate([values, np.ones((len(values), 1))], axis=1)
    totals = brick_sums(rows, home.reshape(-1), len(names))
    drawn = brick_counts(len(names), _RESAMPLES, _SEED) @ totals
    means, of_resamples = values.mean(0), drawn[:, :-1] / drawn[:, -1:]
    found = [
        (float(mean), *ends(column, float(mean), _CONFIDENCE, len(names)))
        for mean, column in zip(means, of_resamples.T, strict=True)
    ]
    return np.array(found)


def profiles_figure(found: Profiles, theta_e: Sequence[float] = ()) -> Figure:
    """A panel for each view: mean of each class against radius, its interval shaded. theta_e:
    (least, largest) of the lenses, arcsec, marked."""
    radius = np.arange(schema.PROFILE_RINGS) + 0.5
    figure, panels = style.new_figure(5.6, rows=len(VIEWS), sharex=True)
    for axes, (view, name) in zip(panels, VIEWS.items(), strict=True):
        if len(theta_e):
            low, high = np.array(theta_e) / schema.PIXEL_SCALE_ARCSEC
            axes.axvspan(low, high, color=style.PALE, lw=0, zorder=0, label="θ_E of the lenses")
        axes.axhline(0.0, color=style.GREY, lw=0.6)
        axes.axvline(schema.CORE_RADIUS, color=style.GREY, lw=0.8, ls=":", label="core")
        for group, told in found[view].items():
            colour, dash = _LOOKS[group]
            axes.fill_between(radius, told[:, 1], told[:, 2], color=colour, alpha=0.25, lw=0)
            axes.plot(radius, told[:, 0], color=colour, ls=dash, label=group)
        axes.set_ylabel(name, fontsize=style.FONT_POINTS - 1)
        axes.margins(x=0)
    panels[0].legend(loc="upper right")
    panels[-1].set_xlabel(f"radius (pixels of {schema.PIXEL_SCALE_ARCSEC} arcsec)")
    return figure


def saliency(run: Run, album: Album) -> Html:
    """Profiles of a sample of test, and maps of a few examples."""
    arrays = run.saliency
    if arrays is None:
        return note(f"{SALIENCY} is not drawn: {run.why_without(SALIENCY)}.")
    counts = {name: int((arrays["label"] == label).sum()) for name, label in CLASSES.items()}
    if not sum(counts.values()):
        return note(f"{SALIENCY} holds no stamp.")
    n = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    theta_e = arrays["theta_e_arcsec"][np.isfinite(arrays["theta_e_arcsec"])]
    span = (float(theta_e.min()), float(theta_e.max())) if len(theta_e) else ()
    figure = album.add(
        "saliency_profiles",
        profiles_figure(profiles(arrays), span),
        f"Mean saliency against radius of {n}, three views.",
        join(
            [
                f"Mean saliency against radius, {n} of test, 95 % intervals over bricks shaded. "
                "Positive: for a lens. From above: absolute gradient, and integrated gradients "
                f"({int(arrays['steps'][0])} steps from a stamp filled with its sky), summed over "
                "bands; what the logit loses when an annulus one pixel wide is filled. Noise "
                "counts in both classes: compare them, not one with zero. ",
                _in_words(arrays),
            ]
        ),
    )
    return tag("div", figure, tag("div", _maps(run, arrays, album)), class_="figures side")


def _in_words(arrays: Arrays) -> str:
    """How much of the logit's change from the filled stamp comes from where."""
    parts = arrays["integrated_gradients"].sum(-1, dtype=np.float64)
    told = []
    for name, label in CLASSES.items():
        rows = arrays["label"] == label
        if rows.any():
            shares = ", ".join(
                f"{parts[rows, low:high].sum(1).mean():+.2f} from {low} to {high} px"
                for low, high in _PARTS
            )
            change = (arrays["logit"] - arrays["logit_baseline"])[rows].mean()
            told.append(f"{name}: {change:+.2f} log-odds in the mean, of which {shares}")
    return f"Integrated over annuli, {'; '.join(told)}."


def map_pictures(gradient: np.ndarray, parts: np.ndarray) -> tuple[list[np.ndarray], float]:
    """Maps of one stamp as pictures [64, 64, 3] in 0..1, summed over bands, and the largest part
    (log-odds a pixel) that has a colour of its own.

    gradient: absolute values on cividis, dark to bright; parts (integrated gradients): blue for a
    lens, vermillion against, white at zero. Both float [64, 64, 3].
    """
    slope, part = np.abs(gradient).sum(-1), parts.sum(-1)
    steepest, largest = (float(np.percentile(np.abs(each), _PERCENTILE)) for each in (slope, part))
    bright = np.clip(slope / (steepest or 1.0), 0, 1)
    signed = np.clip(part / (largest or 1.0), -1, 1)
    return [style.CIVIDIS(bright)[..., :3], _SIGNED((signed + 1) / 2)[..., :3]], largest


def _maps(run: Run, arrays: Arrays, album: Album) -> Html:
    """A few example stamps of each group: in colour, as the model sees them, and their maps."""
    examples = run.examples
    if examples is None:
        return note(f"Without {EXAMPLES} there are no stamps to draw maps on.")
    if not np.array_equal(examples["stamp_id"], arrays["example_stamp_id"]):
        return note(f"Maps are not drawn: {SALIENCY} and {EXAMPLES} are of other stamps.")
    cards, pictures, titles = [], [], []
    for group in GROUPS:
        for row in sheets.ranked(examples, group)[:EACH]:
            four, told = _four(examples, arrays, row)
            pictures += four
            titles += [*_titles(group), f"integrated\n{told}"]
            cards.append(_card(GROUP_WORDS[group][0], str(examples["stamp_id"][row]), four, told))
    if not cards:
        return note("There are no examples to draw maps on.")
    album.save("saliency_examples", sheets.contact_sheet(np.stack(pictures), titles, columns=8))
    key = tag(
        "p",
        f"{len(cards)} examples: the stamp in colour, as the model sees it, the absolute gradient "
        "(dark to bright), and integrated gradients (blue: for a lens, vermillion: against), "
        "summed over bands, each map on its own scale. ",
        tag("span", "figures/saliency_examples.png, .pdf", class_="file"),
    )
    return join([tag("h3", "On example stamps"), key, tag("div", *cards, class_="stamps four")])


def _titles(group: str) -> tuple[str, str, str]:
    """What is above the first three pictures of a stamp, short enough for their width."""
    return GROUP_WORDS[group][0].replace("confident ", "confident\n"), "model's input", "|gradient|"


def _four(examples: Arrays, arrays: Mapping[str, Any], row: int) -> tuple[list[np.ndarray], str]:
    """The pictures of one stamp, and the scale of the last."""
    maps, largest = map_pictures(
        arrays["example_gradient"][row], arrays["example_integrated_gradients"][row]
    )
    stamp = sheets.composite(examples["stamps"][row])
    return [
        stamp,
        sheets.input_composite(examples["inputs"][row]),
        *maps,
    ], f"±{largest:.2g} a pixel"


def _card(group: str, stamp_id: str, pictures: list[np.ndarray], scale: str) -> Html:
    names = ("in colour", "as the model sees it", "absolute gradient", "integrated gradients")
    shown = (
        image(sheets.png(picture), f"Stamp {stamp_id}, {name}")
        for picture, name in zip(pictures, names, strict=True)
    )
    caption = tag(
        "figcaption",
        f"{group}; integrated gradients to {scale}",
        tag("span", stamp_id, class_="file"),
    )
    return tag("figure", *shown, caption)
