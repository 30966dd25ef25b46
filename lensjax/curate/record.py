"""`python -m lensjax.data record ROOT`: vouch for a data root as it is now.

Writes ROOT/manifest.json, to which every later reading is held: the SHA-256 of each file and of
the labels of each split (lensjax.data.record). Data that fail phase 0 are not vouched for.

    $ python -m lensjax.data record /data/stamps
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from lensjax import configuration, gates
from lensjax.checks.command import DEFAULT_CONFIG
from lensjax.checks.run import run_checks, scan_source
from lensjax.checks.scan import label_digests
from lensjax.data.files import FileSource
from lensjax.data.record import FILE, make_record, write_record
from lensjax.data.source import open_source
from lensjax.runs.logs import say
from lensjax.schema import ExitCode, LensjaxError

HELP = "write ROOT/manifest.json: what the files and labels are now"


def main(argv: Sequence[str]) -> int:
    """The command. Raises LensjaxError: 10, 11, 12 or 17 for data that fail phase 0, 2 where a
    manifest is there and --replace is not given, 16 where it cannot be written."""
    parser = configuration.Parser(
        prog="python -m lensjax.data record",
        description=f"{HELP[0].upper()}{HELP[1:]}.",
    )
    parser.add_argument("root", metavar="ROOT", help="folder of train/, val/, test/")
    parser.add_argument("--replace", action="store_true", help="replace a manifest that is there")
    configuration.add_config_flag(parser, required=False)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    flags, overrides = parser.parse_all(argv)
    overrides = [*overrides, ("data.root", flags.root)]
    config = configuration.load_config(flags.config or DEFAULT_CONFIG, overrides)
    source = open_source(config.data, config.population)
    assert isinstance(source, FileSource)  # the root makes it one
    path = f"{source.root}/{FILE}"
    there = source.filesystem.isfile(path)
    if there and not flags.replace:
        configuration.usage("is there already", path, "Give --replace to vouch for the data anew")
    protocol = gates.load_protocol(configuration.protocol_path(config))
    source.record = None  # what one that is there says is not held against the data
    scan, _ = scan_source(source, workers=config.data.workers)
    digests = source.file_digests()
    summary = run_checks(
        scan,
        protocol=protocol.document,
        protocol_digest=protocol.digest,
        data_digest=source.digest(),
        proportions=config.data.proportions,
        simulated=False,
    )
    if not summary.all_passed:
        summary.print(Console())
        raise summary.error()
    labels = label_digests(scan.rows)
    try:
        write_record(source.filesystem, source.root, make_record(digests, labels))
    except OSError as error:
        what = f"cannot be written ({error.strerror or error})"
        raise LensjaxError(
            ExitCode.RESOURCE, what, path, "Make the folder writable, or copy it"
        ) from error
    say(f"recorded: {len(digests)} files, {len(scan.rows)} stamps in {path}")
    return int(ExitCode.OK)
