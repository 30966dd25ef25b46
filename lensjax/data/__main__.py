"""The commands on a data root; they live in lensjax.curate, above the rooms that they need.

python -m lensjax.data split /data/stamps --out=split.parquet
"""

from __future__ import annotations

import sys

from lensjax.curate.command import main

if __name__ == "__main__":
    sys.exit(main())
