"""A description on the terminal: counts, numbers, findings, the strangest of each kind.

Not the page. Text from files is escaped, so that a name cannot write to the terminal.

    >>> show(told)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lensjax import schema
from lensjax.curate.describe_stamps import is_pair, where
from lensjax.curate.describe_tables import severities, size
from lensjax.report.markup import NONE
from lensjax.schema import printable

SHOWN_CAUSES = 10
_QUANTITIES = ("theta_e_arcsec", "arc_snr", *schema.METADATA, *(f"noise_{b}" for b in schema.BANDS))
_LOW, _MIDDLE, _HIGH = 1, 3, 5  # of describe_strata.QUANTILES: 1, 50 and 99 %


def show(told: Mapping[str, Any]) -> None:
    """Print `told` (describe_document) to stdout."""
    console = Console()
    files = told["files"]
    read = f"{told['title']}: read as {told['reader']}"
    if files is not None:
        read += f", {files['files']:,} files, {size(files['bytes'])}, {files['rows']:,} rows"
    console.print(escape(printable(read)), soft_wrap=True, highlight=False)
    console.print(_counts(told["counts"]))
    some = told["counts"]["all"]["stamps"] > 0
    if some:
        console.print(_numbers(told["distributions"]))
    aside = told["counts"]["rows_set_aside"]
    console.print(f"findings: {severities(told)}; rows set aside: {aside:,}", highlight=False)
    for one in told["causes"][:SHOWN_CAUSES]:
        line = f"  {one['severity']}: {one['first']['where']}: {one['first']['message']}"
        if one["count"] > 1:
            line += f" (and {one['count'] - 1:,} more of this cause)"
        console.print(escape(printable(line)), soft_wrap=True, highlight=False)
    if (more := len(told["causes"]) - SHOWN_CAUSES) > 0:
        console.print(f"  and {more:,} more causes, in describe.json", highlight=False)
    if some:
        console.print(_strangest(told["strangest"]))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for k, column in enumerate(columns):
        table.add_column(column, overflow="fold", justify="right" if k else "left")
    return table


def _counts(counts: Mapping[str, Any]) -> Table:
    table = _table("Stamps by split", "", "stamps", "lenses", "others", "pairs", "hosts", "bricks")
    lines = {**{name: counts["splits"][name] for name in schema.SPLITS}, "all": counts["all"]}
    for name, one in lines.items():
        keys = ("stamps", "positives", "negatives", "pairs", "hosts", "bricks")
        table.add_row(name, *(f"{one[key]:,}" for key in keys))
    return table


def _numbers(distributions: Mapping[str, Any]) -> Table:
    """Of lenses, as others share all but the arc with them or are in the page."""
    table = _table("Lenses: median (1 % to 99 %)", "", *schema.SPLITS)
    for name in _QUANTITIES:
        cells = []
        for split in schema.SPLITS:
            found = distributions[name]["groups"][f"{split} lens"]["quantiles"]
            told = NONE
            if found:
                told = f"{found[_MIDDLE]:.3g} ({found[_LOW]:.3g} to {found[_HIGH]:.3g})"
            cells.append(told)
        table.add_row(name, *cells)
    return table


def _strangest(rankings: list[dict[str, Any]]) -> Table:
    table = Table(
        title="The strangest by each check (ten each are on the page)", title_justify="left"
    )
    for column in ("check", "measure", "value", "stamp, where"):
        table.add_column(column, overflow="fold")
    for ranking in rankings:
        if ranking["items"]:
            first = ranking["items"][0]
            value = f"{first['value']:.4g} {first['note']}".rstrip()
            stamps = first["stamps"][:1] if is_pair(first["stamps"]) else first["stamps"]
            places = " and ".join(f"{stamp['id']}, {where(stamp)}" for stamp in stamps)
        else:
            value, places = NONE, ""
        cells = (ranking["check"], ranking["title"], value, places)
        table.add_row(*(escape(printable(cell)) for cell in cells))
    return table
