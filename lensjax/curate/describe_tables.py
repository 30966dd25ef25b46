"""The tables of a description's page. Each takes part of the document and returns HTML.

Not the numbers and no judgement; text from files is escaped by lensjax.report.markup.

    html = count_table(told)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lensjax import schema
from lensjax.curate.describe_stamps import where
from lensjax.curate.differences import DRAWS
from lensjax.data.stampset import SEVERITIES
from lensjax.report.drawn import note
from lensjax.report.markup import NONE, Html, join, pairs, table, tag
from lensjax.report.words import MESSAGE, number, share, shortened

SHOWN_CAUSES = 20
SHOWN_STRATA = 40
SIZE_WORDS = (
    "Each count is followed by its share of the split. Under a table: how far val and test are "
    "from train, as half the summed differences of shares (0: alike, 1: nothing in common), and in "
    f"brackets what chance stays below in 95 % of {DRAWS} draws, in which whole bricks change "
    "splits; bold: larger than that."
)
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def size(n: int) -> str:
    """Bytes in words: 128400000 is '128 MB'."""
    value, unit = float(n), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {_UNITS[unit]}"


def severities(told: Mapping[str, Any]) -> str:
    """'2 ERROR, 1 NOTE', of all findings."""
    found = [one["severity"] for one in told["findings"]]
    counted = [f"{found.count(name):,} {name}" for name in SEVERITIES if name in found]
    return ", ".join(counted) or "none"


def overview(told: Mapping[str, Any]) -> Html:
    """The whole in a few lines."""
    counts, files = told["counts"], told["files"]
    every = counts["all"]
    scales = counts["pixel_scales"]
    listed = ", ".join(f"{one['arcsec']:.4g} arcsec ({one['stamps']:,})" for one in scales[:6])
    items: list[tuple[object, object]] = [("read as", told["reader"])]
    if files is not None:
        endings = ", ".join(f"{n:,} {name or 'without'}" for name, n in files["endings"].items())
        items.append(("files", f"{files['files']:,} ({endings or 'none'}), {size(files['bytes'])}"))
        items.append(("rows", _rows(files, counts)))
        bandsets = ", ".join(
            f"{name or 'not said'} ({n:,} rows)" for name, n in files["bandsets"].items()
        )
        items.append(("band sets named", shortened(bandsets, MESSAGE) or NONE))
    items += [
        ("stamps", f"{every['stamps']:,}, {size(counts['pixel_bytes'])} of pixels as float32"),
        ("bands", ", ".join(told["bands"])),
        ("pixel scales", listed + (f" and {len(scales) - 6} more" if len(scales) > 6 else "")),
        ("hosts", f"{every['hosts']:,} in {every['bricks']:,} bricks{_without(every)}"),
        ("unknown numbers", _unknown(counts["unknown"])),
        ("findings", severities(told)),
        ("digest of the data", tag("code", told["data_digest"])),
    ]
    return pairs(items)


def _rows(files: Mapping[str, Any], counts: Mapping[str, Any]) -> str:
    told = f"{files['rows']:,}; set aside as unusable {counts['rows_set_aside']:,}"
    aside = files["rows_in_no_split"]
    return told + (f"; in no split {aside:,}" if aside else "")


def _without(every: Mapping[str, Any]) -> str:
    n = every["without_brick"]
    return f"; {n:,} stamps without a brick" if n else ""


def _unknown(unknown: Mapping[str, int]) -> str:
    told = [f"{name} {n:,}" for name, n in unknown.items() if n]
    return ", ".join(told) or "none"


def count_table(told: Mapping[str, Any]) -> Html:
    """Stamps, classes, kinds, hosts, bricks and files by split."""
    counts = told["counts"]
    columns = [*(counts["splits"][name] for name in schema.SPLITS), counts["all"]]
    rows: list[tuple[object, ...]] = [
        (name, *(number(one[key]) for one in columns))
        for key, name in (("stamps", "stamps"), ("positives", "lenses"), ("negatives", "others"))
    ]
    for kind in schema.NEGATIVE_KINDS:
        if counts["all"]["kinds"][kind]:
            name = f"of them {kind.replace('_', ' ')}"
            rows.append((name, *(number(one["kinds"][kind]) for one in columns)))
    rows += [
        (name, *(number(one[key]) for one in columns))
        for key, name in (("pairs", "pairs"), ("hosts", "hosts"), ("bricks", "bricks"))
    ]
    hosts = counts["all"]["hosts"]
    rows.append(("share of hosts", *(share(one["hosts"], hosts) for one in columns)))
    rows.append(("share of lenses", *(share(one["positives"], one["stamps"]) for one in columns)))
    return table(("", *schema.SPLITS, "all"), rows, "Stamps, hosts and bricks by split.")


def causes_table(told: Mapping[str, Any]) -> Html:
    """Findings by cause, the gravest and most frequent first."""
    if not told["causes"]:
        return note("Nothing: every file could be read, and every stamp used.")
    rows = [
        (
            one["severity"],
            one["check"],
            shortened(one["cause"], MESSAGE),
            number(one["count"]),
            shortened(f"{one['first']['where']}: {one['first']['message']}", MESSAGE),
        )
        for one in told["causes"][:SHOWN_CAUSES]
    ]
    caption = f"{len(told['findings']):,} findings ({severities(told)}) by cause; N: any number."
    if (more := len(told["causes"]) - len(rows)) > 0:
        caption += f" {more:,} more causes are in describe.json, with every finding."
    return table(("severity", "check", "cause", "how often", "first"), rows, caption)


def strata_table(told: Mapping[str, Any], title: str) -> Html:
    """Counts and shares by stratum and split; strata that hold nothing are left out."""
    totals = {split: sum(counts) for split, counts in told["counts"].items()}
    held = [
        k for k in range(len(told["strata"])) if any(told["counts"][s][k] for s in schema.SPLITS)
    ]
    if not held:
        return note(f"{title}: there are none.")
    rows = [
        (
            told["strata"][k],
            *(_part(told["counts"][split][k], totals[split]) for split in schema.SPLITS),
        )
        for k in held[:SHOWN_STRATA]
    ]
    parts = [table(("stratum", *schema.SPLITS), rows, title)]
    if len(held) > SHOWN_STRATA:
        parts.append(note(f"{len(held) - SHOWN_STRATA} more are in describe.json."))
    gaps = [
        join([f"{split} ", _against_chance(gap)])
        for split, gap in told["variation_from_train"].items()
    ]
    parts.append(tag("p", "From train: ", gaps[0], "; ", gaps[1], ".", class_="meaning"))
    return join(parts)


def _part(part: int, whole: int) -> str:
    """'412 (23.1 %)'."""
    return f"{part:,} ({100 * part / whole:.1f} %)" if whole else NONE


def _against_chance(gap: Mapping[str, Any]) -> Html:
    """'0.041 (0.060)': the number and what chance gives; bold where that is less."""
    value, chance = gap["value"], gap.get("chance")
    if value is None:
        return Html(NONE)
    told = f"{value:.3f}"
    if chance is None:
        return join([told])
    beyond = value > chance
    return tag("span", f"{told} ({chance:.3f})", class_="gap beyond" if beyond else "gap")


def differences_table(told: Mapping[str, Any]) -> Html:
    """Kolmogorov-Smirnov distances, quantities down and comparisons across."""
    tables = {name: one["differences"] for name, one in told["distributions"].items()}
    across = list(dict.fromkeys(key for one in tables.values() for key in one))
    rows = [
        (
            name,
            *(_against_chance(one[key]) if key in one else NONE for key in across),
        )
        for name, one in tables.items()
        if one
    ]
    if not rows:
        return note("There are no two groups to be compared.")
    words = tag(
        "p",
        "Kolmogorov-Smirnov distance: the largest gap between the cumulative shares of two groups "
        f"(0: alike, 1: apart). In brackets, chance: what it stays below in 95 % of {DRAWS} draws, "
        "in which whole bricks change splits; bold: larger, as one in twenty is by chance. Lens "
        "from other has no such level here: phase 0 judges whether these numbers give the label "
        "away (metadata_shortcut, survey_shortcut).",
    )
    return join([words, table(("quantity", *across), rows, "How far groups are apart.")])


def extremes_table(told: Mapping[str, Any], title: str) -> Html:
    """Lowest and highest of each column, with robust sigmas from its median, and where."""
    rows: list[tuple[object, ...]] = []
    for name, both in told.items():
        if both is None:
            rows.append((name, NONE, NONE))
        else:
            rows.append((name, _extreme(both["lowest"]), _extreme(both["highest"])))
    caption = f"{title}: lowest and highest, in robust sigmas from the median in brackets."
    return table(("column", "lowest", "highest"), rows, caption)


def _extreme(one: Mapping[str, Any]) -> Html:
    value = f"{one['value']:.5g} ({one['sigmas']:+.1f}) "
    return join([value, tag("span", where(one["stamp"]), class_="file")])
