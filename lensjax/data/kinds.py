"""The formats of files by the name that `data.source` gives them.

Not the formats themselves.

    >>> form = format_of("parquet", config.data)
"""

from __future__ import annotations

from typing import Any

from lensjax.data.formats import Format
from lensjax.data.parquet import ParquetFormat


def format_of(name: str, data: Any) -> Format:
    """The format called `name`, told what the `data` part of a config says of the files."""
    del data
    return {"parquet": ParquetFormat}[name]()
