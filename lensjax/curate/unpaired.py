"""What each row gives to an unpaired run: its stamp, its control, or nothing.

Not the rule: lensjax.data.manifest has the only one, and a run uses it with its data.seed. Here it
is asked of the rows of a data root, without their stamps.

    >>> member = unpaired_members(rows, lrg, bins, split, seed=42)
"""

from __future__ import annotations

import numpy as np

from lensjax import schema
from lensjax.data.manifest import manifest_mask
from lensjax.data.rows import STAMP_KINDS, FileRows, kind_codes, stamps_of


def unpaired_members(
    rows: FileRows, lrg: np.ndarray, bins: dict[str, np.ndarray], split: np.ndarray, seed: int
) -> np.ndarray:
    """int8 [n], index into split_table.MEMBERS: what the unpaired run of `seed` takes of each row;
    of a host either stamps or controls. lrg: int [n], numbers of the hosts in the order of their
    names, which is all that the rule looks at; split: int8 [n], index into schema.SPLITS. Rows
    with faults, and in no split, give nothing."""
    member = np.zeros(len(rows), np.int8)
    for k in range(len(schema.SPLITS)):
        stamps = stamps_of(rows, rows.good & (split == k))
        kinds, kind = np.unique(kind_codes(rows, stamps), return_inverse=True)
        words = [STAMP_KINDS[code] for code in kinds.tolist()]
        table = {
            "lrg_id": lrg[stamps.row],
            "label": np.array([word == "" for word in words], np.int8)[kind],
            "negative_kind": np.array(words)[kind],
            **{name: values[stamps.row] for name, values in bins.items()},
        }
        taken = manifest_mask(table, "unpaired", seed)
        member[stamps.row[taken]] = stamps.member[taken] + 1
    return member
