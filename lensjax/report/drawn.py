"""The sections of a report that are pictures: training curves, ROC and scores, core reliance,
examples. Each takes the run and an album, and returns HTML; what is absent is said in words.

    html = scores(run, Album(run.workdir / "figures"))
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import expit

from lensjax import schema
from lensjax.gates import core
from lensjax.report import figures, measures, sheets
from lensjax.report.album import GROUPS, Album, image
from lensjax.report.markup import Html, join, tag
from lensjax.report.reading import Arrays, Run
from lensjax.report.words import GROUP_WORDS, entries, interval, number

SHOWN = 12  # examples of a group
_BEST_KNOWN = (int, float)


def note(sentence: str) -> Html:
    """What is not shown, and why."""
    return tag("p", sentence, class_="note")


def training(run: Run, album: Album) -> Html:
    """Loss, AUROC, learning rate and gradient norm by epoch."""
    names = ("train_loss", "val_loss", "train_auroc", "val_auroc", "learning_rate", "grad_norm")
    curves = {name: measures.series(run.metrics, name) for name in names}
    epochs = max((curve[0].max() for curve in curves.values() if len(curve[0])), default=0.0)
    if not epochs:
        return note("No epoch was finished, so there is no training curve.")
    best = run.results.get("best_epoch")
    best = float(best) if isinstance(best, _BEST_KNOWN) else None
    loss_band = measures.expected_band(schema.EXPECTED_TRAIN_LOSS, epochs)
    auroc_band = measures.expected_band(schema.EXPECTED_VAL_AUROC, epochs)
    return tag(
        "div",
        album.add(
            "training_loss",
            figures.loss_figure(curves["train_loss"], curves["val_loss"], loss_band),
            f"Loss by epoch, training and validation, {epochs:.0f} epochs. "
            + _ends("training loss", curves["train_loss"]),
            "Loss by epoch. Shaded: where the training loss of a full run is expected.",
        ),
        album.add(
            "training_auroc",
            figures.auroc_figure(curves["train_auroc"], curves["val_auroc"], auroc_band, best),
            "AUROC by epoch, training and validation. "
            + _ends("validation AUROC", curves["val_auroc"]),
            "AUROC by epoch. Shaded: where that of validation is expected in a full run; training "
            "is measured on fixed stamps without augmentation.",
        ),
        album.add(
            "training_rates",
            figures.rates_figure(curves["learning_rate"], curves["grad_norm"]),
            "Learning rate and gradient norm by epoch. "
            + _ends("gradient norm", curves["grad_norm"]),
            "Learning rate and norm of the gradient (mean of the epoch) before clipping.",
        ),
        class_="figures",
    )


def _ends(name: str, curve: measures.Curve) -> str:
    """Where a curve begins and ends, in words."""
    if not len(curve[1]):
        return f"No {name} was recorded."
    return f"The {name} goes from {number(curve[1][0])} to {number(curve[1][-1])}."


def scores(run: Run, album: Album) -> Html:
    """ROC curves and score histograms of the judged test rows."""
    if run.test is None:
        return note("There are no test arrays, so there is no ROC curve and no histogram.")
    rows = measures.judged(run.test)
    left_out = int(run.test["in_manifest"].astype(bool).sum()) - len(rows["label"])
    curves = roc_curves(rows, None if run.val is None else measures.judged(run.val))
    if not len(rows["label"]):
        return note("No test stamp has a finite score.")
    parts = (
        [_roc(curves, rows, album)]
        if curves
        else [note("The test rows hold one class only: there is no ROC curve.")]
    )
    counts, edges = measures.histograms(measures.score_groups(rows))
    told = ", ".join(f"{name.replace('_', ' ')} {int(c.sum()):,}" for name, c in counts.items())
    parts += [
        album.add(
            "scores_by_class",
            figures.class_histogram(counts, edges),
            f"Histogram of logits of lenses and of non-lenses: {told}.",
            f"Scores by class, {len(rows['label']):,} test stamps.",
        ),
        album.add(
            "scores_by_kind",
            figures.kind_histograms(counts, edges),
            f"Histograms of logits, one for each kind of stamp: {told}.",
            "The same by kind of non-lens, each on its own scale; control: the host without an "
            "arc.",
        ),
    ]
    if left_out:
        parts.append(note(f"{left_out:,} test rows without a finite score are left out here."))
    return tag("div", *parts, class_="figures two")


def roc_curves(test: Arrays, val: Arrays | None) -> dict[str, figures.RocCurve]:
    """Curves of these rows: against all non-lenses, controls and look-alikes alone, and validation;
    those with one class only are left out, and all if the test rows have one."""
    if not np.isfinite(measures.auroc(test["label"], test["logit"])):
        return {}
    kinds = {"look-alikes alone": schema.LOOKALIKES, "controls alone": ("control",)}
    groups = {"all non-lenses": test}
    groups |= {name: measures.against(test, kind) for name, kind in kinds.items()}
    if val is not None:
        groups["validation, all"] = val
    return {
        name: (*measures.roc(rows["label"], rows["logit"]), area)
        for name, rows in groups.items()
        if np.isfinite(area := measures.auroc(rows["label"], rows["logit"]))
    }


def _roc(curves: dict[str, figures.RocCurve], rows: Arrays, album: Album) -> Html:
    n_positives, n_negatives = (int((rows["label"] == label).sum()) for label in (1, 0))
    areas = ", ".join(f"{name} {area:.3f}" for name, (_, _, area) in curves.items())
    return join(
        [
            album.add(
                "roc",
                figures.roc_figure(curves, n_negatives),
                f"ROC curves. AUROC: {areas}.",
                f"ROC curves of the test rows that the gates judge, {n_positives:,} lenses and "
                f"{n_negatives:,} non-lenses.",
            ),
            album.add(
                "roc_log_fpr",
                figures.roc_figure(curves, n_negatives, logarithmic=True),
                f"The same ROC curves on a logarithmic false positive rate. AUROC: {areas}.",
                "The same at low false positive rates, which decide what is found on the sky. "
                "Shaded: fewer than ten of all non-lenses, mostly chance.",
            ),
        ]
    )


def reliance(run: Run, album: Album) -> Html:
    """AUROC with ever more of the core masked, beside what geometry predicts."""
    if run.test is None:
        return note("There are no test arrays, so there is no core reliance curve.")
    rows = measures.judged(run.test)
    finite = np.isfinite(rows["logit_core_masked"]).all(1)
    rows = {name: column[finite] for name, column in rows.items()}
    observed = measures.reliance(rows["label"], rows["logit_core_masked"])
    if not np.isfinite(observed).all():
        return note("The test rows hold one class only: there is no core reliance curve.")
    expected, source = expected_curve(run, rows, float(observed[0]))
    gate = entries(run.gates.get("gates")).get("core_reliance", {})
    drop = f"AUROC(0) - AUROC(7) = {observed[0] - observed[schema.MASK_RADII.index(7)]:.3f}"
    if interval(gate.get("ci")) != interval(None):
        drop += f" (95 % interval {interval(gate['ci'])})"
    if np.isfinite(expected).all():
        drop += f"; geometry alone: {expected[0] - expected[schema.MASK_RADII.index(7)]:.3f}"
    points = ", ".join(
        f"{radius} px {number(value)}"
        for radius, value in zip(schema.MASK_RADII, observed.tolist(), strict=True)
    )
    return tag(
        "div",
        album.add(
            "core_reliance",
            figures.reliance_figure(np.array(schema.MASK_RADII), observed, expected),
            f"AUROC against masked radius: {points}.",
            join([f"{drop}. ", source, f" {len(rows['label']):,} test stamps."]),
        ),
        class_="figures one",
    )


_MATCHED_FILTER = (
    "Dashed: a matched filter that uses the arc outside the mask alone, AUROC(r) = mean over "
    "lenses of Φ(k q(r) / √2) with q(r) the arc's signal to noise outside r and k such that "
    "AUROC(0) is this model's; masking of non-lenses is not in it. "
)
_FROM_GATES = "Dashed: what geometry alone predicts, as the gates computed it (core_reliance). "
_READING = "A model below the dashed line leans on the core more than the arcs' light does."


def expected_curve(run: Run, rows: Arrays, unmasked: float) -> tuple[np.ndarray, str]:
    """What geometry predicts for each of schema.MASK_RADII, and how, in words: the list that the
    gates stored as `expected` in the detail of core_reliance, or else a matched filter's; NaN where
    no lens has a finite signal to noise."""
    detail = entries(run.gates.get("gates")).get("core_reliance", {}).get("detail")
    judged = detail.get("expected") if isinstance(detail, dict) else None
    if isinstance(judged, list) and len(judged) == len(schema.MASK_RADII):
        return np.array([measures.as_number(value) for value in judged]), _FROM_GATES + _READING
    lenses = rows["arc_snr_outside"][rows["label"] == 1].astype(np.float64)
    if not np.isfinite(lenses).all(axis=1).any():
        return np.full(len(schema.MASK_RADII), np.nan), _MATCHED_FILTER + _READING
    return core.expected_curve(lenses, unmasked), _MATCHED_FILTER + _READING


def examples(run: Run, album: Album) -> Html:
    """The most confident mistakes first, then the most confident right answers."""
    if run.examples is None:
        return note("There are no example stamps (eval/examples.npz).")
    key = tag(
        "p",
        "Each example: the stamp in colour (red z, green r, blue g; the Legacy Surveys asinh "
        "stretch, the same for all), and beside it what the model sees, where sky noise is "
        f"one unit. A side is {schema.STAMP_SIZE * schema.PIXEL_SCALE_ARCSEC:.1f} arcsec. "
        "Score = 1 / (1 + exp(-logit)).",
    )
    return join([key, *(_group(run.examples, group, album) for group in GROUPS)])


def _group(every: Arrays, group: str, album: Album) -> Html:
    """One contact sheet: on the page as pictures with captions, in figures/ as one figure."""
    title, meaning = GROUP_WORDS[group]
    rows = sheets.ranked(every, group)
    heading = tag("h3", title)
    if not len(rows):
        return join([heading, note("None.")])
    rows = rows[:SHOWN]
    pictures = np.stack([sheets.composite(every["stamps"][row]) for row in rows])
    captions = [_caption(every, int(row)) for row in rows]
    titles = ["\n".join(_caption(every, int(row), figures.plain)) for row in rows]
    album.save(f"examples_{group}", sheets.contact_sheet(pictures, titles))
    cards = [
        _card(str(every["stamp_id"][row]), caption, picture, every["inputs"][row])
        for row, caption, picture in zip(rows, captions, pictures, strict=True)
    ]
    where = tag("span", f"figures/examples_{group}.png, .pdf", class_="file")
    return join([heading, tag("p", f"{meaning} ", where), tag("div", *cards, class_="stamps")])


def _card(stamp_id: str, caption: tuple[str, str], picture: np.ndarray, seen: np.ndarray) -> Html:
    return tag(
        "figure",
        image(sheets.png(picture), f"Stamp {stamp_id} in colour: {', '.join(caption)}"),
        image(sheets.png(sheets.input_composite(seen)), f"Stamp {stamp_id} as the model sees it"),
        tag("figcaption", caption[0], tag("br"), caption[1], tag("span", stamp_id, class_="file")),
    )


def _caption(every: Arrays, row: int, kind: Callable[[str], str] = str) -> tuple[str, str]:
    """What a stamp is, and what the model says; `kind` turns the kind of a negative into text."""
    logit = float(every["logit"][row])
    if every["label"][row] == 1:
        theta_e, snr = (float(every[name][row]) for name in ("theta_e_arcsec", "arc_snr"))
        what = f'θ_E {number(theta_e, 2)}", SNR {number(snr, 0)}'
    else:
        what = kind(str(every["negative_kind"][row]) or "unnamed").replace("_", " ")
    return what, f"score {number(float(expit(logit)))} (logit {number(logit, 1)})"
