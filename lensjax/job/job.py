"""One run as the stages pass it on: what it was told, where it writes, on which data.

job = Job(config, workdir, protocol, source, source.digest(), debug=False)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lensjax import configuration, gates
from lensjax.configuration import Config
from lensjax.curate.prepare import Scanned
from lensjax.data.source import Source
from lensjax.gates.arrays import CATALOGUES
from lensjax.job.catalogues import Catalogue, digests
from lensjax.runs.workdir import Workdir


@dataclass(frozen=True)
class Job:
    """One run: what it was told, where it writes, under which protocol, on which data."""

    config: Config
    workdir: Workdir
    protocol: gates.Protocol
    source: Source
    data_digest: str
    debug: bool
    scanned: Scanned | None = None  # the files, if they had to be read for their digest
    catalogues: Mapping[str, Catalogue] = field(default_factory=dict)  # to be scored, by name

    @property
    def cache(self) -> Path:
        """Where prepared data, checked data and compiled programs are kept between runs."""
        return cache_of(self.config)

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides the arrays, places left out: another config is another
        run."""
        config = configuration.to_json(self.config)
        for name in ("root", "manifest", "cache_dir", "workers"):
            del config["data"][name]
        for name in CATALOGUES:
            del config["catalogue_stamps"][name]
            if name in self.catalogues:
                del config["data"][name]  # its bytes are in its digest
        del config["protocol"]
        told = {
            "config": config,
            "data": self.data_digest,
            "catalogues": digests(self.catalogues),
            "protocol": self.protocol.digest,
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def cache_of(config: Config) -> Path:
    """The folder of `data.cache_dir`."""
    return Path(config.data.cache_dir).expanduser()
