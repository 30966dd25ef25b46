"""`python -m lensjax.data prepare`: a config's data checked and written as a set to train on.

Not another way in: main.py does the same before its first step, and finds it done. Phase 0 comes
first; data that fail it are not prepared.

    $ python -m lensjax.data prepare --config=configs/b3.py --config.data.root=/data/stamps
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from lensjax import configuration, gates, schema
from lensjax.checks.cache import cached_summary, checks_digest, store_summary
from lensjax.checks.result import Summary
from lensjax.checks.run import record_of, run_checks, scan_source
from lensjax.checks.scan import Scan
from lensjax.configuration import Config
from lensjax.data import prepared
from lensjax.data.files import FileSource
from lensjax.data.source import SIMULATED, Source, open_source
from lensjax.data.stampset import Finding, StampSet
from lensjax.data.watch import Watch
from lensjax.runs.logs import say
from lensjax.schema import ExitCode, LensjaxError

log = logging.getLogger(__name__)

HELP = "check the data of a config and write the set that training reads"


@dataclass(frozen=True)
class Scanned:
    """What was seen of a source; StampSets where they had to be made for it; and a watch that began
    before the first byte was read."""

    scan: Scan
    sets: dict[str, StampSet] | None
    watch: Watch


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
    seen = scanned or _scan(config, source)
    summary = run_checks(
        seen.scan,
        protocol=protocol.document,
        protocol_digest=protocol.digest,
        data_digest=digest,
        **told,
    )
    _require_unchanged(source, digest, seen.watch)
    store_summary(cache, summary)
    if summary.all_passed:
        name = f"simulated_{config.variant}" if simulated else None
        sets = seen.sets or _read(source, seen.scan)
        _require_unchanged(source, digest, seen.watch)
        prepared.prepare(sets, cache, digest, data.reader, config=name)
    return summary


def _require_unchanged(source: Source, digest: str, watch: Watch) -> None:
    """What was checked, what was read and what `digest` is of are the same bytes: otherwise stamps
    that no check has seen would be trained on, and called by the digest of others.

    Raises:
        LensjaxError: exit 10, naming the files that were changed meanwhile."""
    watch.look()
    if source.digest() != digest:
        raise LensjaxError(
            ExitCode.DATA_INVALID,
            "the data were changed between their digest and the data checks",
            remedy="Run again when nothing writes to them",
        )


def _read(source: Source, scan: Scan) -> dict[str, StampSet]:
    """All stamps again, to be written down. Rows that the scan set aside are left out: as many, and
    no more.

    Raises:
        LensjaxError: exit 10 if what can be read now is not what was checked, with the cause."""
    sets = {}
    for number, split in enumerate(schema.SPLITS):
        left_out: list[Finding] = []  # the scan has named them
        sets[split] = source.read(split, left_out)
        judged = int((scan.rows.split == number).sum())
        if len(sets[split]) != judged:
            cause = next((f for f in reversed(left_out) if f.severity != "NOTE"), None)
            raise LensjaxError(
                ExitCode.DATA_INVALID,
                f"{judged} stamps of {split} were checked and {len(sets[split])} can be read now"
                + (f" ({cause.message})" if cause else ""),
                cause.where if cause else "",
                "Run again: files that change or fail meanwhile are not trained on",
            )
    return sets


def _scan(config: Config, source: Source) -> Scanned:
    log.info(
        "simulating the default data, once (the simulator is compiled first)"
        if config.data.source == SIMULATED
        else f"reading all stamps of {config.data.root}"
    )
    watch = Watch(*([source.keys] if isinstance(source, FileSource) else []))
    scan, sets = scan_source(source, workers=config.data.workers)
    return Scanned(scan, sets, watch)


def main(argv: Sequence[str]) -> int:
    """The command. Raises LensjaxError (10, 11, 12, 17) for data that fail phase 0, and for a
    prepared set that is damaged (10, 12)."""
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
    prepared.verify(cache, digest, reader)  # of one that is found, only its manifest was read
    rows = prepared.rows(cache, digest, reader)
    counted = ", ".join(f"{split} {n}" for split, n in rows.items())
    say(f"prepared: {counted} stamps in {folder}")
    return int(ExitCode.OK)
