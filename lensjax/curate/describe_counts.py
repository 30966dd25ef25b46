"""What there is, counted: files, bytes, rows, stamps, hosts, bricks, findings by cause.

Not what the numbers are (`describe_strata`). Everything returned can be written as JSON.

    >>> counts(scan)["splits"]["train"]["positives"]
    1200
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from lensjax import schema
from lensjax.checks.rows import ARC_NUMBERS, NUMBERS, Rows
from lensjax.checks.scan import Scan
from lensjax.data.files import FileSource
from lensjax.data.rows import STAMP_KINDS
from lensjax.data.stampset import SEVERITIES, Finding, stamps_bytes

_FILE = re.compile(r" \([^()]*\.[A-Za-z]\w*\)")
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?(?![\w])")


def files(source: FileSource) -> dict[str, Any]:
    """Files and bytes of a source of files, in all and by folder of the root, by ending; rows, and
    the band sets that they name ('' where they name none)."""
    rows = source.listing[0]
    sizes = {name: int(source.filesystem.size(path) or 0) for name, path in source.files.items()}
    folders: dict[str, dict[str, int]] = {}
    for name, size in sizes.items():
        folder = folders.setdefault(posixpath.dirname(name), {"files": 0, "bytes": 0})
        folder["files"] += 1
        folder["bytes"] += size
    code, names = rows.words["bandset"]
    return {
        "format": source.form.name,
        "files": len(sizes),
        "bytes": sum(sizes.values()),
        "folders": folders,
        "endings": dict(sorted(Counter(_ending(name) for name in sizes).items())),
        "rows": len(rows),
        "rows_by_split": {
            name: int((rows.split == k).sum()) for k, name in enumerate(schema.SPLITS)
        },
        "rows_in_no_split": int((rows.split < 0).sum()),
        "bandsets": {names[k]: int((code == k).sum()) for k in range(len(names))},
    }


def _ending(name: str) -> str:
    """'.parquet' of 'train/part-0.snappy.parquet'."""
    return posixpath.splitext(name)[1]


def counts(scan: Scan) -> dict[str, Any]:
    """Stamps, classes, kinds, pairs, hosts and bricks of each split and of all; pixel scales; and
    of each column how many of the stamps that should have it do not."""
    rows = scan.rows
    every = np.ones(len(rows), bool)
    splits = {name: _of(scan, rows.of_split(name)) for name in schema.SPLITS}
    hosts = max(sum(one["hosts"] for one in splits.values()), 1)
    for one in splits.values():
        one["share_of_hosts"] = one["hosts"] / hosts
    scales, number = np.unique(rows.numbers["pixel_scale_arcsec"], return_counts=True)
    return {
        "splits": splits,
        "all": _of(scan, every),
        "rows_set_aside": scan.set_aside,
        "pixel_bytes": stamps_bytes(len(rows)),
        "pixel_scales": [
            {"arcsec": x, "stamps": k}
            for x, k in zip(scales.tolist(), number.tolist(), strict=True)
        ],
        "unknown": {name: _unknown(rows, name) for name in NUMBERS},
    }


def _of(scan: Scan, mine: np.ndarray) -> dict[str, Any]:
    rows = scan.rows
    kinds = np.bincount(rows.kind[mine & (rows.label == 0)], minlength=len(STAMP_KINDS))
    named = [k for k in np.unique(rows.brick[mine]).tolist() if rows.bricks[k]]
    return {
        "stamps": int(mine.sum()),
        "positives": int((rows.label[mine] == 1).sum()),
        "negatives": int((rows.label[mine] == 0).sum()),
        "kinds": {kind: int(kinds[STAMP_KINDS.index(kind)]) for kind in schema.NEGATIVE_KINDS},
        "pairs": int(mine[scan.pairs[:, 0]].sum()),
        "hosts": len(np.unique(rows.host[mine])),
        "bricks": len(named),
        "without_brick": int(mine.sum() - np.isin(rows.brick[mine], named).sum()),
    }


def _unknown(rows: Rows, name: str) -> int:
    """Stamps (of columns about arcs: lenses) whose number is NaN."""
    concerned = rows.label == 1 if name in ARC_NUMBERS else np.ones(len(rows), bool)
    return int(np.isnan(rows.numbers[name][concerned]).sum())


def causes(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Findings that differ in numbers alone, counted together, with the first of them; the gravest
    first."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for one in findings:
        groups.setdefault((one.severity, one.check, cause(one.message)), []).append(one)
    order = sorted(groups.items(), key=lambda item: (SEVERITIES.index(item[0][0]), -len(item[1])))
    return [
        {
            "severity": severity,
            "check": check,
            "cause": told,
            "count": len(found),
            "first": {"where": found[0].where, "message": found[0].message},
        }
        for (severity, check, told), found in order
    ]


def cause(message: str) -> str:
    """`message` without its numbers and file in brackets: '3 NaN' and '17 NaN' have one cause."""
    return _NUMBER.sub("N", _FILE.sub("", message))
