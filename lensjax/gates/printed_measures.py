"""What is measured beside the gates, as plain text for a terminal; all of it is in measures.json.

Not the report (lensjax.report). The verdict's own table is lensjax.gates.printed's.

    print("\n".join(measures_lines(judged["measures"])))
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lensjax.gates.within import CONTROLS, LENSES, LOOKALIKES

Entry = Mapping[str, Any]

SIDES = (CONTROLS, LOOKALIKES, LENSES)
_TITLE = "measured beside the gates (measures.json has all of it; nothing here decides the verdict)"
_HUNTER = (
    "what the score follows within a class (share of its variance), arcs' strength and kinds of "
    "look-alikes taken off; and what tells the label (AUROC)"
)
_COLUMNS = (
    *("", "score", "95 % interval", "by chance", *SIDES),
    *("label", "95 % interval", "by chance", ""),
)
_RIGHT = (1, 4, 5, 6, 7)
_LISTED = 5  # features
_CHANCE = 0.05  # of the largest of all features, under the null
_COLUMN_NAMES = {
    "theta_e_arcsec": "theta_E",
    "arc_snr": "arc SNR",
    "psf_fwhm_arcsec": "seeing",
    "psf_depth": "depth",
}


def measures_lines(told: Entry) -> list[str]:
    """Lines of text; a part that could not be measured is one line with the reason."""
    parts = {
        "worst bins": _strata,
        "ranking": _ranking,
        "calibration": _calibration,
        "on the sky": _on_sky,
        "completeness": _selection,
        "anchors": lambda all_: _anchors(all_["anchors"]),
        "contaminants": lambda all_: _contaminants(all_["contaminants"]),
        "training": _training,
    }
    sources = {
        "worst bins": "strata",
        "on the sky": "calibration",
        "completeness": "selection",
        "anchors": "catalogues",
        "contaminants": "catalogues",
    }
    lines = [_TITLE]
    for name, words in parts.items():
        part = told[sources.get(name, name)]
        said = [part["state"]] if "state" in part else words(part)
        lines += [f"  {name if k == 0 else '':14}{line}" for k, line in enumerate(said)]
    return [*lines, "", *_hunter(told["hunter"])]


def number(value: float | None) -> str:
    """Three decimals, or a dash."""
    return "-" if value is None else f"{round(value, 3) + 0.0:.3f}"


def interval(ends: Sequence[float | None] | None) -> str:
    """[low, high], or a dash."""
    if ends is None or None in ends:
        return "-"
    return f"[{number(ends[0])}, {number(ends[1])}]"


def aligned(rows: Sequence[Sequence[str]], right: Iterable[int]) -> list[str]:
    """Rows of cells as lines; the columns `right` are numbers, the last is not padded."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        cells = [
            text.rjust(width) if k in right else text.ljust(width)
            for k, (text, width) in enumerate(zip(row[:-1], widths, strict=True))
        ]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return lines


def _both(told: Entry) -> str:
    return f"{number(told['value'])} {interval(told['ci'])}"


def _bin(ends: Sequence[float | None]) -> str:
    low, high = ends
    if low is None or high is None:
        return "all" if low == high else f"below {high:.4g}" if low is None else f"from {low:.4g}"
    return f"{low:.4g}-{high:.4g}"


def _strata(part: Entry) -> list[str]:
    lines = []
    for name, told in part.items():
        if told["worst"] is None:
            lines.append(f"{_COLUMN_NAMES[name]}: no bin with both classes")
            continue
        worst, spread = told["bins"][told["worst"]], told["spread"]
        wide = spread.get("state") or f"spread {_both(spread)}"
        lines.append(f"{_COLUMN_NAMES[name]} {_bin(worst['bin'])}: {_both(worst)}; {wide}")
    return lines


def _ranking(part: Entry) -> list[str]:
    rates = [
        f"at FPR {each['fpr']:g} {_both(each)}"
        + (f" {each['verdict']} ({each['reason']})" if "verdict" in each else "")
        for each in part["tpr_at_fpr"]
    ]
    counts = [
        f"before false positive {max(each['false_positives'], 1)} {_both(each)}"
        for each in part["tpr_at_false_positives"]
    ]
    recall = [
        f"@{each['k']} {number(each['value'])} of at most {number(each['ceiling'])}"
        for each in part["recall_at"]
    ]
    at = part["precision_at_recall"]
    return [
        "; ".join(["TPR", *rates]).replace("TPR; ", "TPR ", 1),
        "; ".join(["TPR", *counts]).replace("TPR; ", "TPR ", 1),
        f"recall {', '.join(recall)}",
        f"precision at recall {at['recall']:g}: {_both(at['precision'])} in test",
    ]


def _calibration(part: Entry) -> list[str]:
    return [
        f"{'as it is' if name == 'none' else name}: ECE {_both(told['ece'])} (perfect reads "
        f"{number(told['ece']['floor'])}), Brier {_both(told['brier'])}"
        for name, told in part["maps"].items()
    ]


def _on_sky(part: Entry) -> list[str]:
    sky = part["on_sky"]
    lines = [f"at a prevalence of {sky['prevalence']:g}, precision of what is flagged above"]
    for each in sky["thresholds"]:
        value, (low, high) = each["precision"]["value"], each["precision"]["ci"]
        told = "none flagged" if low is None else f"at least {low:.2g}"
        if value is not None:
            told = f"{value:.2g} [{low:.2g}, {high:.2g}]"
        lines.append(f"  {each['threshold']}: {told}")
    return lines


def _selection(part: Entry) -> list[str]:
    empty = sum(each["n"] == 0 for each in part["cells"])
    few = f" {part['verdict']} ({part['reason']})" if "verdict" in part else ""
    lines = [
        f"{_both(part['completeness'])} at FPR {part['fpr_on_val']:g} on val{few}; "
        f"{empty} of {len(part['cells'])} cells empty"
    ]
    for name, edges in part["axes"].items():
        cells = [
            f"{_bin([edges[k], edges[k + 1]])} {number(cell['value'])}"
            for k, cell in enumerate(part["margins"][name])
            if cell["n"]
        ]
        lines.append(f"by {_COLUMN_NAMES[name]}: {', '.join(cells)}")
    return lines


def _anchors(part: Entry) -> list[str]:
    if "state" in part:
        return [part["state"]]
    recall = [f"@{each['k']} {_both(each)}" for each in part["recall_at"]]
    above = [f"score {each['score']:g} {_both(each)}" for each in part["recall_above"]]
    return [
        *_trained_on(part),
        f"{part['n']} of which {part['missing']} without a score, counted as missed; recall "
        f"{', '.join(recall)} among {part['negatives']} negatives",
        f"recall above {', '.join(above)}",
    ]


def _contaminants(part: Entry) -> list[str]:
    if "state" in part:
        return [part["state"]]
    lines = _trained_on(part)
    for name, told in {"all": part, **part["by_class"]}.items():
        above = [f"{each['score']:g} {_both(each)}" for each in told["fpr_above"]]
        lines.append(
            f"{name or 'no class'}: {told['n']} of which {told['missing']} without a score, "
            f"counted as false alarms; FPR above {', '.join(above)}"
        )
    return lines


def _trained_on(part: Entry) -> list[str]:
    known = part.get("trained_on")
    return [f"{known} ARE HOSTS OF TRAINING STAMPS: their scores prove nothing"] if known else []


def _training(part: Entry) -> list[str]:
    raised = [
        f"RED FLAG {each['flag'].replace('_', ' ')}: {each['cause']}. {each['action']}"
        for each in part["flags"]
        if each["raised"]
    ]
    outside = [
        f"{each['measure']} at epoch {each['epoch']} is {each['is']} the range of the full run, "
        f"{each['expected'][0]:g}-{each['expected'][1]:g}"
        for each in part["ranges"]
        if each["is"] in ("above", "below")
    ]
    return [*raised, *outside] or [f"{part['epochs']} epochs, no red flag, inside the ranges"]


def _hunter(part: Entry) -> list[str]:
    if "state" in part:
        return [_HUNTER, f"  {part['state']}"]
    families = part["families"]
    rows = [
        (
            each["family"],
            *_cells(each["score"]),
            *(number(each["score"].get(side)) for side in SIDES),
            *_cells(each["label"]),
            each["reading"],
        )
        for each in families
    ]
    lines = [_HUNTER, *(f"  {line}" for line in aligned([_COLUMNS, *rows], _RIGHT))]
    if "value" in part["together"]:
        lines.append(f"  all of it together: {_both(part['together'])} of the score's variance")
    honest = ", ".join(f"{name} {number(value)}" for name, value in part["honest"].items())
    lines.append(f"  taken off as honest: {honest or 'nothing'}")
    lines += [f"  {line}" for line in _features(part["features"])]
    return lines + [f"  {each['family']}: {each['action']}" for each in families if each["action"]]


def _features(listed: Sequence[Entry]) -> list[str]:
    """The first few that go with the score beyond chance."""
    scored = [each for each in listed if "value" in each["score"]]
    found = [each for each in scored if each["score"]["p"] <= _CHANCE]
    if not found:
        least = min((each["score"]["p"] for each in scored), default=None)
        return [f"none of {len(scored)} single features beyond chance (least p {number(least)})"]
    lines = []
    for each in found[:_LISTED]:
        p = number(each["score"]["p"])
        lines.append(f"{each['feature']}: rank correlation {_both(each['score'])}, p {p}")
    return lines


def _cells(told: Entry) -> tuple[str, str, str]:
    if told.get("value") is None:
        return "-", "-", told.get("state", "-")
    return number(told["value"]), interval(told["ci"]), interval(told["null"]["ci"])
