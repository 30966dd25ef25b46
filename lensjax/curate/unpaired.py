"""What each row gives to an unpaired run: its stamp, its control, or nothing.

Not the rule: lensjax.data.manifest has the only one, and a run uses it with its data.seed. Here it
is asked of the rows of a data root, without their stamps.

    >>> member = unpaired_members(rows, host, names, bins, split, seed=42)
"""

from __future__ import annotations

import numpy as np

from lensjax import schema
from lensjax.data.manifest import manifest_mask
from lensjax.data.rows import STAMP_KINDS, FileRows, kind_codes, stamps_of


def unpaired_members(
    rows: FileRows,
    host: np.ndarray,
    names: np.ndarray,
    bins: dict[str, np.ndarray],
    split: np.ndarray,
    seed: int,
) -> np.ndarray:
    """int8 [n], index into split_table.MEMBERS: what the unpaired run of `seed` takes of each row;
    of a host either stamps or controls. host: int [n], index into its `names`; split: int8 [n],
    index into schema.SPLITS. Rows with faults, and in no split, give nothing."""
    # the rule looks at the order of host ids alone, and ranks have the order of the names
    rank = np.unique(names, return_inverse=True)[1].reshape(-1)[host]
    member = np.zeros(len(rows), np.int8)
    for k in range(len(schema.SPLITS)):
        stamps = stamps_of(rows, rows.good & (split == k))
        kind = kind_codes(rows, stamps)
        table = {
            "lrg_id": rank[stamps.row],
            "label": (kind == 0).astype(np.int8),
            "negative_kind": np.array(STAMP_KINDS)[kind],
            **{name: values[stamps.row] for name, values in bins.items()},
        }
        taken = manifest_mask(table, "unpaired", seed)
        member[stamps.row[taken]] = stamps.member[taken] + 1
    return member
