"""The commands of phase0/: a config (or a data root) in, a table and an exit code out.

Not the checks: `run` has them. `phase0/run_all.py` runs all and writes phase0_summary.json, the
other scripts run their own.

    $ python phase0/run_all.py --config=configs/b3.py --out=phase0_summary.json
    $ python phase0/check_pairs.py --data=/data/stamps
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from rich.console import Console

from lensjax import configuration, gates
from lensjax.checks.cache import store_summary
from lensjax.checks.result import CHECKS, Summary
from lensjax.checks.run import record_of, run_checks, scan_source
from lensjax.checks.scan import scan_sets
from lensjax.data import prepared
from lensjax.data.paths import local_path
from lensjax.data.source import SIMULATED, open_source
from lensjax.runs.files import write_json
from lensjax.runs.logs import run_command
from lensjax.schema import ExitCode, LensjaxError

WITHOUT_DATA = {"protocol", "anchors", "contaminants"}
# What is also a flag of these commands.
_FIELDS = {"data": "data.root", "anchors": "data.anchors", "contaminants": "data.contaminants"}
DEFAULT_CONFIG = "configs/b3.py"  # what --data alone is read with
_EPILOG = "exit codes: 0 passed, 10 data invalid, 11 leak or split, 12 mismatch, 17 refused input"


def main(
    argv: Sequence[str] | None = None, *, only: Collection[str] = CHECKS, out: str | None = None
) -> int:
    """Runs the checks named in `only` on the data of the config in `argv` (default: the command
    line); writes the summary to --out or `out`, if either is given. The exit code: the last line
    on the screen says what it is for."""
    argv = sys.argv[1:] if argv is None else argv
    return run_command(lambda words: _main(words, only, out), argv)


def _main(argv: Sequence[str], only: Collection[str], out: str | None) -> int:
    parser = configuration.Parser(description="Data checks, before every run.", epilog=_EPILOG)
    configuration.add_config_flag(parser, required=False)
    parser.add_argument("--data", metavar="ROOT", help="folder of train/, val/, test/")
    parser.add_argument("--anchors", metavar="FILE", help="CSV of real lenses")
    parser.add_argument("--contaminants", metavar="FILE", help="CSV of real look-alikes")
    parser.add_argument("--out", metavar="FILE", default=out, help="where to write the summary")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    flags, overrides = parser.parse_all(argv)
    if flags.config is None and flags.data is None:
        configuration.usage("nothing to check", remedy="Give --config=FILE or --data=ROOT")
    for flag, field in _FIELDS.items():
        value = getattr(flags, flag)
        if value is None:
            continue
        if field in dict(overrides):
            configuration.usage(f"--{flag} and --config.{field} name the {flag} twice")
        overrides = [*overrides, (field, value)]
    config = configuration.load_config(flags.config or DEFAULT_CONFIG, overrides)
    path = local_path(flags.out, "--out") if flags.out else None
    if path:
        _forget(path)
    summary = _check(config, only)
    summary.print(Console(), written=flags.out)
    if path:
        _write(path, summary)
    if not summary.all_passed:
        raise summary.error()
    return int(ExitCode.OK)


def _check(config: configuration.Config, only: Collection[str]) -> Summary:
    protocol = gates.load_protocol(configuration.protocol_path(config))
    simulated = config.data.source == SIMULATED
    told = {
        "protocol": protocol.document,
        "protocol_digest": protocol.digest,
        "proportions": config.data.proportions,
        "simulated": simulated,
        "anchors": config.data.anchors,
        "contaminants": config.data.contaminants,
        "only": only,
    }
    if set(only) <= WITHOUT_DATA:
        return run_checks(scan_sets({}), data_digest="", **told)
    source = open_source(config.data, config.population)
    reader, cache_dir = config.data.reader, Path(config.data.cache_dir).expanduser()
    # A user's files are read each time, so that what is checked is what lies there now.
    if simulated and prepared.is_prepared(cache_dir, source.digest(), reader):
        sets = {
            split: prepared.load(cache_dir, source.digest(), split, reader)
            for split in source.splits()
        }
        scan = scan_sets(sets)
    else:
        scan, sets = scan_source(source, workers=config.data.workers)
    digest = source.digest()  # of files: known from the scan
    summary = run_checks(scan, data_digest=digest, record=record_of(source), **told)
    if set(only) == set(CHECKS):
        store_summary(cache_dir, summary)
        if simulated and sets and summary.all_passed:
            name = f"simulated_{config.variant}"
            prepared.prepare(sets, cache_dir, digest, reader, config=name)
    return summary


def _forget(path: Path) -> None:
    """Remove an earlier summary: whatever stops this phase 0, that one is not its."""
    if path.is_file():
        path.unlink()


def _write(path: Path, summary: Summary) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, summary.to_json())
    except OSError as error:
        raise LensjaxError(
            ExitCode.RESOURCE, f"cannot be written ({error.strerror})", str(path), "Give --out=FILE"
        ) from error
