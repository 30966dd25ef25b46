"""The comparison as tables, and those as Markdown and HTML: the same cells in both.

Not the numbers (compare; all of them in compare_csv), and not the report of a run (lensjax.report).
Names from files are text: they cannot become markup.

    markdown(document), html(document)
"""

from __future__ import annotations

import html as escapes
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lensjax.gates.compare_csv import flattened
from lensjax.gates.compare_experiments import SEEDS_FOR_A_CLAIM
from lensjax.gates.protocol import GATES
from lensjax.schema import printable

Entry = Mapping[str, Any]
NONE = "-"  # a number that there is not
_TITLE = "Comparison of runs"
# What Markdown would take for markup: not an interval, a name with underscores, nor a lone < or &.
_MARKUP = re.compile(
    r"[\\`*|~]|\](?=[(\[:])|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|<(?=[\w/!?])|&(?=[\w#])"
)
_HEADLINES = re.compile(
    r"ranking\.|calibration\.maps\.\w+\.(ece|brier)$|selection\.(fpr|completeness)$"
)
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; margin: 2rem auto; max-width: 75rem;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .3rem; }
p, li { max-width: 46rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .87rem; }
th, td { text-align: left; vertical-align: top; padding: .28rem .7rem .28rem 0;
  border-bottom: 1px solid #ddd; white-space: nowrap; }
td.long { white-space: normal; min-width: 14rem; }
thead th { border-bottom: 2px solid #1a1a1a; }
tbody th { font-weight: 600; position: sticky; left: 0; background: #fff; }
"""


@dataclass(frozen=True)
class Table:
    """Cells of text; the first column names the row. `told`: what the table is of."""

    title: str
    told: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


def tables(document: Entry) -> list[Table]:
    """All tables of a comparison, the verdicts first."""
    experiments = document["experiments"]
    found = [_verdicts(experiments), _judged(experiments), _means(document)]
    for reference in [each["name"] for each in experiments[:-1]]:
        found.append(_differences(document, reference))
    for experiment in experiments:
        found += [_seeds(document, experiment), _gates_of_seeds(experiment)]
        found += _measured(experiment)
    return found


def _verdicts(experiments: Sequence[Entry]) -> Table:
    rows = []
    for each in experiments:
        runs = ", ".join(f"{_seed(run)} {run['verdict']}" for run in each["runs"])
        why = each["reason"] or "all required gates passed"
        claims = "allowed" if each["claims"] else "no claim"
        what = f"{each['mode']}, {each['preprocessing']}"
        rows.append((each["name"], each["verdict"], runs, each["worst_run"], why, what, claims))
    told = (
        "An experiment's verdict is that of its worst seed. A claim takes "
        f"{SEEDS_FOR_A_CLAIM} seeds that are evidence."
    )
    columns = ("experiment", "verdict", "seeds", "worst", "why", "data", "claims")
    return Table("Verdicts", told, columns, rows)


def _judged(experiments: Sequence[Entry]) -> Table:
    rows = []
    for name in GATES:
        cells = [_gate(each["gates"][name], _passed(each, name)) for each in experiments]
        rows.append((name, _needs(experiments[0]["gates"][name], name), *cells))
    told = (
        "Each gate as judged, on the rows of each run's own manifest, in its worst seed (and how "
        "many seeds PASS)."
    )
    columns = ("gate", "needs", *(each["name"] for each in experiments))
    return Table("Gates, worst seed", told, columns, rows)


def _passed(experiment: Entry, gate: str) -> str:
    n = len(experiment["runs"])
    return f" ({experiment['gates'][gate]['passed']} of {n})" if n > 1 else ""


def _means(document: Entry) -> Table:
    experiments = document["experiments"]
    rows = [
        (name, _better(document, name), *(_mean(each["measures"][name]) for each in experiments))
        for name in _shown(document)
    ]
    told = (
        "On all rows of test, whatever each run's manifest: mean over seeds [95 % over bricks and "
        "seeds; over bricks alone for one seed], and least to largest seed."
    )
    columns = ("measure", "better", *(each["name"] for each in experiments))
    return Table("Means over seeds", told, columns, rows)


def _mean(entry: Entry) -> str:
    if entry["mean"] is None:
        return entry["reason"]
    among = f" ({_number(entry['min'])} to {_number(entry['max'])})"
    return f"{_number(entry['mean'])} {_ends(entry['ci'])}{among if len(entry['runs']) > 1 else ''}"


def _differences(document: Entry, reference: str) -> Table:
    pairs = [each for each in document["differences"] if each["reference"] == reference]
    rows = []
    for name in _shown(document):
        cells = [_difference(pair["measures"][name]) for pair in pairs]
        rows.append((name, _better(document, name), *cells))
    told = (
        f"Each experiment less {reference}, means over seeds, paired on the same stamps [95 % over "
        "bricks and seeds; over bricks alone, marked 'no claim', where a side has one seed]. "
        f"'claim': adjusted p below 0.05 ({document['adjustment']})."
    )
    columns = ("measure", "better", *(pair["experiment"] for pair in pairs))
    return Table(f"Differences from {reference}", told, columns, rows)


def _difference(entry: Entry) -> str:
    if entry["value"] is None:
        return entry["reason"]
    if entry["value"] == 0.0 and entry["ci_bricks"] == [0.0, 0.0]:
        return "the same"
    if entry["ci"] is None:
        return f"{_signed(entry['value'])} {_ends(entry['ci_bricks'], _signed)} no claim"
    adjusted = f" p {entry['p_adjusted']:.2g}"
    mark = " claim" if entry["claim"] else ""
    return f"{_signed(entry['value'])} {_ends(entry['ci'], _signed)}{adjusted}{mark}"


def _seeds(document: Entry, experiment: Entry) -> Table:
    runs, rows = experiment["runs"], []
    for name in _shown(document):
        entry = experiment["measures"][name]
        cells = [_value(run) or run["reason"] for run in entry["runs"]]
        rows.append((name, *cells, entry.get("worst", NONE)))
    told = "On all rows of test: every seed [95 % over bricks]."
    columns = ("measure", *map(_seed, runs), "worst")
    return Table(f"Seeds of {experiment['name']}", told, columns, rows)


def _gates_of_seeds(experiment: Entry) -> Table:
    rows = [
        (name, *(_gate(run["judged"]["gates"][name]) for run in experiment["runs"]))
        for name in GATES
    ]
    told = "As judged, on the rows of each run's own manifest."
    columns = ("gate", *map(_seed, experiment["runs"]))
    return Table(f"Verdicts of {experiment['name']}", told, columns, rows)


def _measured(experiment: Entry) -> list[Table]:
    """The headlines of each run's measures.json; all of it is in the CSV."""
    found = [dict(flattened(run["judged"].get("measures", {}))) for run in experiment["runs"]]
    names = [name for name in found[0] if _HEADLINES.match(name)]
    rows = [(name, *(_headline(each.get(name)) for each in found)) for name in names]
    told = "As judged, on the rows of each run's own manifest."
    columns = ("measure", *map(_seed, experiment["runs"]))
    return [Table(f"Measures of {experiment['name']}", told, columns, rows)] if rows else []


def _headline(entry: Entry | None) -> str:
    return NONE if entry is None else f"{_value(entry)} {entry.get('verdict', '')}".strip()


# -- cells ----------------------------------------------------------------------------------------


def _shown(document: Entry) -> list[str]:
    """All gates' measures, and others that any experiment has."""
    experiments = document["experiments"]
    return [
        name
        for name in document["better"]
        if name in GATES or any(each["measures"][name]["mean"] is not None for each in experiments)
    ]


def _seed(run: Entry) -> str:
    other = " (other protocol)" if run["other_protocol"] else ""
    return (run["name"] if run["seed"] is None else f"seed {run['seed']}") + other


def _gate(gate: Entry, more: str = "") -> str:
    warn = " warn" if gate["warn"] else ""
    return f"{_value(gate)} {gate['verdict']}{warn}{more}".strip()


def _needs(gate: Entry, name: str) -> str:
    if gate["threshold"] is None:
        return NONE
    return f"{GATES[name]} {gate['threshold']:g}{'' if gate['required'] else ', reported'}"


def _better(document: Entry, name: str) -> str:
    return {">": "higher", "<": "lower"}.get(document["better"][name], NONE)


def _value(entry: Entry) -> str:
    if entry["value"] is None:
        return ""
    return f"{_number(entry['value'])} {_ends(entry['ci'])}"


def _number(value: float) -> str:
    return f"{value:.3f}"


def _signed(value: float) -> str:
    return f"{value:+.3f}"


def _ends(ends: Sequence[float | None] | None, form: Any = _number) -> str:
    if ends is None or None in ends:
        return f"[{NONE}]"
    return f"[{form(ends[0])}, {form(ends[1])}]"


# -- Markdown and HTML ----------------------------------------------------------------------------


def _head(document: Entry) -> list[str]:
    """What is compared, in sentences."""
    rows = "; ".join(
        f"{each['n_pos']} lenses and {each['n_neg']} others in {each['n_bricks']} bricks"
        for each in document["stamps"]
    )
    data = ", ".join(digest[:12] for digest in document["data_digests"])
    protocol = document["protocol"]
    return [
        f"Test stamps: {rows}. Data {data}. Protocol {protocol['name']}, "
        f"{protocol['digest'][:12]}; {document['resamples']} resamples of bricks, shared by all.",
        *document["notes"],
    ]


def markdown(document: Entry) -> str:
    """All tables as Markdown."""
    lines = [f"# {_TITLE}", "", *(f"- {_plain(text)}" for text in _head(document))]
    for table in tables(document):
        lines += ["", f"## {_plain(table.title)}", "", _plain(table.told), "", *_aligned(table)]
    return "\n".join(lines) + "\n"


def verdict_lines(document: Entry) -> str:
    """The first table alone, for a terminal."""
    return "\n".join(_aligned(_verdicts(document["experiments"])))


def _aligned(table: Table) -> list[str]:
    rows = [[_plain(cell) for cell in row] for row in (table.columns, *table.rows)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(table.columns))]
    lines = [
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |"
        for row in rows
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return _MARKUP.sub(r"\\\g<0>", printable(text))


def html(document: Entry) -> str:
    """All tables as one page that needs no network."""
    parts = [f"<h1>{_TITLE}</h1>", "<ul>"]
    parts += [f"<li>{_text(text)}</li>" for text in _head(document)]
    parts.append("</ul>")
    for table in tables(document):
        parts += [f"<h2>{_text(table.title)}</h2>", f"<p>{_text(table.told)}</p>"]
        head = "".join(f'<th scope="col">{_text(name)}</th>' for name in table.columns)
        parts.append(f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>')
        for first, *rest in table.rows:
            cells = "".join(
                f"<td{' class=long' if column == 'why' else ''}>{_text(cell)}</td>"
                for cell, column in zip(rest, table.columns[1:], strict=True)
            )
            parts.append(f'<tr><th scope="row">{_text(first)}</th>{cells}</tr>')
        parts.append("</tbody></table></div>")
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_TITLE}</title><style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _text(text: str) -> str:
    return escapes.escape(printable(text), quote=True)
