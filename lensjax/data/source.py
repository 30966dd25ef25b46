"""Sources: where the stamps of a run come from, behind one small interface.

Not the cache (`prepared`) and not the checks: a source reads, validates and says what it is by
its digest. `sim` simulates the embedded default data; the others read a user's files, each in a
format of its own.

    >>> source = open_source(config.data, config.population)
    >>> train = source.read("train", findings=None)
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lensjax import schema
from lensjax.data.stamps import validate
from lensjax.data.stampset import Finding, StampSet, build_table, canonical
from lensjax.data.versions import require_safe
from lensjax.progress import progress_bar
from lensjax.schema import ExitCode, LensjaxError

log = logging.getLogger(__name__)

_VALIDATE_CHUNK = 256


class Source(Protocol):
    """What every source offers."""

    def digest(self) -> str:
        """SHA-256, in hex, of all that decides the stamps."""
        ...

    def splits(self) -> tuple[str, ...]:
        """The splits that can be read."""
        ...

    def read(self, split: str, findings: list[Finding] | None) -> StampSet:
        """The validated stamps of `split` in canonical order. With a list, all that is wrong is
        appended and left out; with None the first ERROR is raised as LensjaxError."""
        ...


@dataclass(frozen=True)
class SimulatedSource:
    """The embedded default data: pairs and look-alikes of each split (train, val, test), Einstein
    radii uniform in `theta_e` (arcsec), arc SNR log-uniform in `arc_snr`."""

    seed: int
    pairs: tuple[int, int, int]
    lookalikes: tuple[int, int, int]
    hosts_per_brick: int
    theta_e: tuple[float, float]
    arc_snr: tuple[float, float]

    def digest(self) -> str:
        """SHA-256 of the parameters and of the simulator's own source files."""
        sha = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode())
        spec = importlib.util.find_spec("lensjax.simulate")
        roots = spec.submodule_search_locations if spec else None
        for root in map(Path, roots or ()):
            for path in sorted(root.rglob("*.py")):
                sha.update(f"\n{path.relative_to(root).as_posix()}\n".encode())
                sha.update(path.read_bytes())
        return sha.hexdigest()

    def splits(self) -> tuple[str, ...]:
        """All of schema.SPLITS."""
        return schema.SPLITS

    def read(self, split: str, findings: list[Finding] | None) -> StampSet:
        """Simulate `split`; its stamps are validated like any other's."""
        # jax comes with the simulator: whoever reads prepared or user data does not need it here
        from lensjax.simulate import simulate_split

        k = self.splits().index(split)
        total = self.pairs[k] + self.lookalikes[k]
        with progress_bar(total=total, desc=f"simulating {split}", unit="host") as bar:
            columns, stamps = simulate_split(
                split,
                seed=self.seed,
                n_pairs=self.pairs[k],
                n_lookalikes=self.lookalikes[k],
                theta_e=self.theta_e,
                arc_snr=self.arc_snr,
                hosts_per_brick=self.hosts_per_brick,
                progress=bar.update,
            )
        table = build_table(columns)
        made = StampSet(split, table, np.ascontiguousarray(stamps, np.float32), "simulate")
        return canonical(_without_faults(made, findings))


def _without_faults(made: StampSet, findings: list[Finding] | None) -> StampSet:
    """`made` less the pairs with a fault; the first is raised where there is no list."""
    faulty: set[str] = set()
    for start in range(0, len(made), _VALIDATE_CHUNK):
        for cause in validate(made.stamps[start : start + _VALIDATE_CHUNK]):
            row = start + cause.row
            where = f"simulated {made.table['stamp_id'][row]} band {cause.band}"
            one = Finding("stamps", "ERROR", cause.message, where, ExitCode.DATA_INVALID)
            if findings is None:
                raise one.error("This is a defect of the simulator or of its parameters")
            findings.append(one)
            faulty.add(str(made.table["pair_id"][row]))
    if not faulty:
        return made
    keep = ~np.isin(made.table["pair_id"], sorted(faulty))
    table = {name: column[keep] for name, column in made.table.items()}
    return StampSet(made.split, table, made.stamps[keep], made.reader)


def _open_simulated(data: Any, population: Any) -> Source:
    def three(name: str) -> tuple[int, int, int]:
        train, val, test = (int(x) for x in getattr(data, name))
        return train, val, test

    def span(name: str) -> tuple[float, float]:
        low, high = (float(x) for x in getattr(population, name))
        return low, high

    return SimulatedSource(
        seed=int(data.seed),
        pairs=three("pairs"),
        lookalikes=three("lookalikes"),
        hosts_per_brick=int(data.hosts_per_brick),
        theta_e=span("theta_e"),
        arc_snr=span("arc_snr"),
    )


def _open_files(name: str, data: Any) -> Source:
    # pyarrow, astropy and h5py are for those who read files
    require_safe("pyarrow", "26", "older versions run code from hostile Parquet files")
    from lensjax.data.files import FileSource
    from lensjax.data.kinds import format_of

    if not data.root:
        raise LensjaxError(
            ExitCode.USAGE, f"data.source={name} needs data.root", remedy="--config.data.root=DIR"
        )
    manifest = None
    if data.manifest:
        from lensjax.data.paths import open_filesystem
        from lensjax.data.split_manifest import read

        filesystem, inside = open_filesystem(data.manifest)
        if not filesystem.isfile(inside):
            raise LensjaxError(
                ExitCode.USAGE, "no such file", data.manifest, "Check --config.data.manifest"
            )
        manifest = read(data.manifest)
    form = format_of(name, data)
    other = [x for x in manifest.file.names if not x.endswith(form.endings)] if manifest else []
    if other:
        raise LensjaxError(
            ExitCode.USAGE,
            f"is of {schema.printable(other[0])}, which data.source={name} does not read",
            f"--config.data.manifest={data.manifest}",
            "Give the --config.data.source that reads all files of the manifest",
        )
    return FileSource(
        str(data.root),
        form,
        Path(data.cache_dir).expanduser(),
        manifest=manifest,
    )


SIMULATED = "sim"
FLAT_SOURCES = ("fits", "npz", "npy", "hdf5")  # where a stamp may stand alone
SOURCES = (SIMULATED, "parquet", *FLAT_SOURCES)


def open_source(data: Any, population: Any) -> Source:
    """The source that the `data` and `population` parts of a config describe (attributes:
    configs/common.py). A data.root turns the default source, sim, into parquet. Raises
    LensjaxError (USAGE) for an unknown source, naming the nearest, and for a missing root."""
    name = str(data.source)
    if name == SIMULATED and data.root:
        log.info("data.root is set: data.source is parquet")
        name = "parquet"
    if name not in SOURCES:
        near = difflib.get_close_matches(name, SOURCES, n=1, cutoff=0.0)[0]
        raise LensjaxError(
            ExitCode.USAGE, f"unknown source {name!r}", "data.source", f"Did you mean {near!r}?"
        )
    return _open_simulated(data, population) if name == SIMULATED else _open_files(name, data)
