"""The data that are described, opened and scanned: a user's files, or the simulated set.

Not a description. The simulated set is read where it is prepared, and otherwise made anew: it is
not kept, which main.py and phase0/run_all.py do.

    >>> opened = open_data(config, source, phase0=("--data=/data/stamps",))
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lensjax.checks.run import scan_source
from lensjax.checks.scan import Scan, scan_sets
from lensjax.configuration import Config
from lensjax.data import prepared
from lensjax.data.files import FileSource
from lensjax.data.source import Source
from lensjax.data.stampset import StampSet


@dataclass(frozen=True)
class Opened:
    """What is described: its name for the reader, its `source` and `scan`, what
    read it, and the `phase0` flags that name the same data."""

    title: str
    source: Source
    scan: Scan
    reader: str
    phase0: tuple[str, ...]


def open_data(config: Config, source: Source, phase0: tuple[str, ...]) -> Opened:
    """The scan of `source`, which `config` describes. Raises LensjaxError: RESOURCE if a worker
    process is killed, DATA_INVALID or MISMATCH for a damaged prepared set."""
    if isinstance(source, FileSource):
        scan, _ = scan_source(source, workers=config.data.workers)
        return Opened(str(config.data.root), source, scan, source.form.name, phase0)
    sets, scan = _simulated(config, source)
    reader = next(iter(sets.values())).reader
    title = f"simulated set of {config.experiment}:{config.variant}, seed {config.data.seed}"
    return Opened(title, source, scan, reader, phase0)


def _simulated(config: Config, source: Source) -> tuple[dict[str, StampSet], Scan]:
    cache, reader = Path(config.data.cache_dir).expanduser(), config.data.reader
    digest = source.digest()
    if prepared.is_prepared(cache, digest, reader):
        sets = {name: prepared.load(cache, digest, name, reader) for name in source.splits()}
        return sets, scan_sets(sets)
    scan, made = scan_source(source, workers=config.data.workers)
    assert made is not None  # a source that is not of files is read as sets
    return made, scan
