"""`python -m lensjax.data prepare`: a config's data checked and written as a set to train on.

Not another way in: main.py does the same before its first step, and finds it done. Phase 0 comes
first; data that fail it are not prepared.

    $ python -m lensjax.data prepare --config=configs/b3.py --config.data.root=/data/stamps
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lensjax import configuration, gates
from lensjax.checks.cache import cached_summary, checks_digest, store_summary
from lensjax.checks.result import Summary
from lensjax.checks.run import record_of, run_checks, scan_source
from lensjax.checks.scan import Scan
from lensjax.configuration import Config
from lensjax.data import prepared
from lensjax.data.files import FileSource
from lensjax.data.source import SIMULATED, Source, open_source
from lensjax.data.stampset import Finding, StampSet
from lensjax.runs.logs import say
from lensjax.schema import ExitCode

log = logging.getLogger(__name__)

HELP = "check the data of a config and write the set that training reads"
Scanned = tuple[Scan, dict[str, StampSet] | None]  # as lensjax.checks.run.scan_source gives it


def scan_if_new(config: Config, source: Source) -> Scanned | None:
    """The scan of files that were never hashed: they are hashed on the way, and so read once. None
    where the digest is known without reading."""
    if isinstance(source, FileSource) and source.unhashed():
        return _scan(config, source)
    return None


def check_and_prepare(
    config: Config,
    protocol: gates.Protocol,
    source: Source,
    digest: str,
    scanned: Scanned | None = None,
) -> Summary:
    """Phase 0, skipped when data, protocol and checks are unchanged since it passed; the set is
    prepared if it passes. `digest` is the source's, `scanned` what `scan_if_new` gave."""
    data = config.data
    simulated = data.source == SIMULATED
    cache = Path(data.cache_dir).expanduser()
    told = {
        "proportions": data.proportions,
        "simulated": simulated,
        "anchors": data.anchors,
        "contaminants": data.contaminants,
        "record": record_of(source),
    }
    summary = cached_summary(cache, digest, protocol.digest, checks_digest(**told))
    ready = prepared.is_prepared(cache, digest, data.reader)
    if summary is not None and summary.all_passed and ready:
        log.info("data, protocol and checks are unchanged since phase 0 passed")
        return summary
    scan, sets = scanned or _scan(config, source)
    summary = run_checks(
        scan,
        protocol=protocol.document,
        protocol_digest=protocol.digest,
        data_digest=digest,
        **told,
    )
    store_summary(cache, summary)
    if summary.all_passed:
        name = f"simulated_{config.variant}" if simulated else None
        left_out: list[Finding] = []  # the scan has named them
        sets = sets or {split: source.read(split, left_out) for split in source.splits()}
        prepared.prepare(sets, cache, digest, data.reader, config=name)
    return summary


def _scan(config: Config, source: Source) -> Scanned:
    log.info(
        "simulating the default data, once (the simulator is compiled first)"
        if config.data.source == SIMULATED
        else f"reading all stamps of {config.data.root}"
    )
    return scan_source(source, workers=config.data.workers)


def main(argv: Sequence[str]) -> int:
    """The command. Raises LensjaxError (10, 11, 12, 17) for data that fail phase 0."""
    parser = configuration.Parser(
        prog="python -m lensjax.data prepare",
        description=f"{HELP.capitalize()}.",
    )
    configuration.add_config_flag(parser)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    flags, overrides = parser.parse_all(argv)
    config = configuration.load_config(flags.config, overrides)
    protocol = gates.load_protocol(configuration.protocol_path(config))
    source = open_source(config.data, config.population)
    scanned = scan_if_new(config, source)
    digest = source.digest()
    summary = check_and_prepare(config, protocol, source, digest, scanned)
    summary.print(Console())
    if not summary.all_passed:
        raise summary.error()
    cache, reader = Path(config.data.cache_dir).expanduser(), config.data.reader
    folder = prepared.folder_of(cache, digest, prepared.resolve_reader(reader))
    rows = prepared.rows(cache, digest, reader)
    counted = ", ".join(f"{split} {n}" for split, n in rows.items())
    say(f"prepared: {counted} stamps in {folder}")
    return int(ExitCode.OK)
