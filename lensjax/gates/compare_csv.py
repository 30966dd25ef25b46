"""The comparison as CSV: one number a row, all of them, to compute with.

Not the tables for reading (compare_table), which hold the same numbers, rounded further. Text from
files cannot become a formula of a spreadsheet.

    csv_text(document).splitlines()[0]
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from lensjax.schema import printable

Entry = Mapping[str, Any]
COLUMNS = (
    "kind",  # judged: on the run's own manifest; run, experiment, difference: on all rows
    "experiment",
    "against",
    "run",
    "seed",
    "measure",
    "value",
    "low",
    "high",
    "low_bricks",
    "high_bricks",
    "min",
    "max",
    "p",
    "p_adjusted",
    "claim",
    "verdict",
    "reason",
)
_FORMULA = ("=", "+", "-", "@")  # how a cell begins that a spreadsheet computes


def csv_text(document: Entry) -> str:
    """All numbers of a comparison as CSV with a header; empty cells where there is none."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in _rows(document):
        writer.writerow([_cell(row.get(column)) for column in COLUMNS])
    return buffer.getvalue()


def _rows(document: Entry) -> Iterator[dict[str, Any]]:
    for experiment in document["experiments"]:
        of = {"experiment": experiment["name"]}
        for k, run in enumerate(experiment["runs"]):
            own = {**of, "run": run["name"], "seed": run["seed"]}
            yield {"kind": "verdict", **own, "verdict": run["verdict"], "reason": run["reason"]}
            for name, found in flattened(run["judged"]):
                yield {"kind": "judged", **own, "measure": name, **_number(found)}
            for name, entry in experiment["measures"].items():
                yield {"kind": "run", **own, "measure": name, **_number(entry["runs"][k])}
        for name, entry in experiment["measures"].items():
            mean = {**entry, "value": entry["mean"]}
            yield {
                "kind": "experiment",
                **of,
                "run": entry.get("worst"),
                "measure": name,
                **_number(mean),
                "min": entry.get("min"),
                "max": entry.get("max"),
            }
    for pair in document["differences"]:
        of = {"experiment": pair["experiment"], "against": pair["reference"]}
        for name, entry in pair["measures"].items():
            low, high = entry["ci_bricks"] or (None, None)
            more = {key: entry[key] for key in ("p", "p_adjusted", "claim")}
            bricks = {"low_bricks": low, "high_bricks": high}
            yield {"kind": "difference", **of, "measure": name, **_number(entry), **bricks, **more}


def _number(entry: Entry) -> dict[str, Any]:
    low, high = entry.get("ci") or (None, None)
    found = {"value": entry.get("value"), "low": low, "high": high}
    return {**found, "verdict": entry.get("verdict"), "reason": entry.get("reason")}


def flattened(judged: Entry, name: str = "") -> Iterator[tuple[str, Entry]]:
    """Every value with an interval inside a judgement, whatever its depth, by its path: `gates.
    auroc_test`, `gates.auroc_test.detail.tpr_at_fpr[fpr=0.01]`."""
    if "value" in judged and "ci" in judged:
        yield name, judged
    for key, inner in judged.items():
        path = f"{name}.{key}" if name else str(key)
        if isinstance(inner, Mapping):
            yield from flattened(inner, path)
        elif isinstance(inner, list):
            entries = [each for each in inner if isinstance(each, Mapping)]
            for label, each in zip(_labels(entries), entries, strict=True):
                yield from flattened(each, f"{path}[{label}]")


def _labels(entries: list[Entry]) -> list[str]:
    """What tells the entries of a list apart: their first field, as `fpr=0.01`, or their number."""
    labels = []
    for entry in entries:
        key, value = next(iter(entry.items()), ("", None))
        if isinstance(value, list):
            value = "-".join("" if end is None else str(end) for end in value)
        labels.append(f"{key}={value}")
    counts = any(label.startswith(("n=", "value=")) for label in labels)
    return list(map(str, range(len(labels)))) if counts else labels


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, str):
        text = printable(value)
        return f"'{text}" if text.startswith(_FORMULA) else text
    return value
