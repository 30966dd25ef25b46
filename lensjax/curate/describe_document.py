"""A description of a data set as one JSON document: every number that the page and the table show.

Not the page (`describe_page`). Stamps are named by id, file and row; `index` is a stamp's row in
the scan, by which pictures of it are found.

    >>> told = document(opened, looked, seed=42)
    >>> told["counts"]["splits"]["train"]["hosts"], told["strangest"][0]["items"][0]["value"]
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np

from lensjax import schema
from lensjax.checks.rows import Rows
from lensjax.curate import contact_sheet, describe_counts, describe_strata, outliers, strangeness
from lensjax.curate.describe_source import Opened
from lensjax.curate.outliers import Extreme
from lensjax.curate.pixels import Looked
from lensjax.curate.ranking import Ranking
from lensjax.data.files import FileSource
from lensjax.data.rows import STAMP_KINDS

SCHEMA = "lensjax-describe-1"
DIGITS = 6  # significant, of every number


def document(opened: Opened, looked: Looked, *, seed: int) -> dict[str, Any]:
    """Everything in numbers and words, as strict JSON can hold it (NaN is None)."""
    scan, source = opened.scan, opened.source
    told = {
        "schema": SCHEMA,
        "title": opened.title,
        "reader": opened.reader,
        "data_digest": source.digest(),
        "phase0": shlex.join(["python", "phase0/run_all.py", *opened.phase0]),
        "bands": list(schema.BANDS),
        "files": describe_counts.files(source) if isinstance(source, FileSource) else None,
        "counts": describe_counts.counts(scan),
        "causes": describe_counts.causes(scan.findings),
        "findings": [
            {
                "check": one.check,
                "severity": one.severity,
                "where": one.where,
                "message": one.message,
                "code": int(one.code),
            }
            for one in scan.findings
        ],
        "unusable": [
            {"where": one.where, "causes": list(one.causes), "decoded": one.planes is not None}
            for one in looked.unusable
        ],
        "strata": describe_strata.strata(scan.rows),
        "distributions": describe_strata.distributions(scan),
        "samples": {
            name: [_stamps(scan.rows, mine) for mine in index]
            for name, index in contact_sheet.draw(scan, seed).items()
        },
        "strangest": [_ranking(scan.rows, one) for one in strangeness.rankings(scan, looked)],
        "extremes": {
            "metadata": _extremes(scan.rows, outliers.columns(scan.rows)),
            "sky": _extremes(scan.rows, outliers.outskirts(scan.measured)),
        },
    }
    return rounded(told)


def shown(told: Mapping[str, Any]) -> np.ndarray:
    """int64 [k]: the `index` of every stamp that samples and rankings show."""
    items = [one for sample in told["samples"].values() for one in sample]
    items += [item["stamps"] for ranking in told["strangest"] for item in ranking["items"]]
    return np.array([stamp["index"] for stamps in items for stamp in stamps], np.int64)


def _ranking(rows: Rows, ranking: Ranking) -> dict[str, Any]:
    return {
        "check": ranking.check,
        "name": ranking.name,
        "title": ranking.title,
        "meaning": ranking.meaning,
        "looked_at": ranking.scored,
        "items": [
            {"value": value, "note": note, "stamps": _stamps(rows, index)}
            for value, note, index in zip(
                ranking.values.tolist(), ranking.notes, ranking.rows, strict=True
            )
        ],
    }


def _extremes(rows: Rows, table: Mapping[str, np.ndarray]) -> dict[str, Any]:
    def named(extreme: Extreme) -> dict[str, Any]:
        stamp = _stamp(rows, extreme.row)
        return {"value": extreme.value, "sigmas": extreme.sigmas, "stamp": stamp}

    return {
        name: None if both is None else {"lowest": named(both[0]), "highest": named(both[1])}
        for name, both in outliers.extremes(table).items()
    }


def _stamps(rows: Rows, index: np.ndarray) -> list[dict[str, Any]]:
    return [_stamp(rows, int(row)) for row in index]


def _stamp(rows: Rows, row: int) -> dict[str, Any]:
    """What a stamp is, and where it lies."""
    return {
        "index": row,
        "id": rows.name(row),
        "file": rows.files[rows.file[row]],
        "row": int(rows.row[row]),
        "pair": int(rows.pair[row]),
        "split": schema.SPLITS[rows.split[row]],
        "kind": "lens" if rows.label[row] == 1 else STAMP_KINDS[rows.kind[row]],
        "theta_e_arcsec": float(rows.numbers["theta_e_arcsec"][row]),
        "arc_snr": float(rows.numbers["arc_snr"][row]),
    }


def rounded(value: Any) -> Any:
    """`value` with every float to DIGITS significant digits; what is not finite is None."""
    if isinstance(value, dict):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value
