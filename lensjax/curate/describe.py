"""`python -m lensjax.data describe`: what is in a data root, or in the simulated set, to look at.

Not a verdict: findings are listed, nothing is judged or repaired; phase0/run_all.py judges. Writes
describe.html (all in one file), describe.json (every number) and pictures into a folder.

    $ python -m lensjax.data describe /data/stamps --out=described
    $ python -m lensjax.data describe --config=configs/b3.py:demo
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from lensjax import configuration, schema
from lensjax.checks.command import DEFAULT_CONFIG
from lensjax.configuration import Config, usage
from lensjax.curate.describe_source import Opened, open_data
from lensjax.curate.pixels import look
from lensjax.data.files import FileSource
from lensjax.data.paths import local_path
from lensjax.data.source import Source, open_source
from lensjax.runs.files import refusal, write_json
from lensjax.runs.logs import say
from lensjax.schema import ExitCode, LensjaxError

PROG = "python -m lensjax.data describe"
HELP = "what is in a data root: counts, strata, histograms, stamps to look at, the strangest"
_EPILOG = (
    "exit codes: 0 described, 2 usage or no such folder, 10 no stamp could be read, 12 or 17 a "
    "manifest that is another's or leads out of the root, 16 cannot be written"
)
# What is also a flag of this command.
_FIELDS = {"root": "data.root", "source": "data.source", "manifest": "data.manifest"}


def main(argv: Sequence[str]) -> int:
    """Describe, print a table, write the files. Raises LensjaxError, whose code is the command's:
    DATA_INVALID where no stamp could be read (the files are written all the same)."""
    parser = configuration.Parser(
        prog=PROG, description=f"{HELP[0].upper()}{HELP[1:]}.", epilog=_EPILOG
    )
    parser.add_argument("root", nargs="?", metavar="ROOT", help="folder of train/, val/, test/")
    parser.add_argument("--source", metavar="FORMAT", help="parquet, fits, npz, npy or hdf5")
    parser.add_argument("--manifest", metavar="FILE", help="of python -m lensjax.data split")
    parser.add_argument("--out", metavar="DIR", default="described", help="what is written")
    configuration.add_config_flag(parser, required=False)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    flags, overrides = parser.parse_all(argv)
    if flags.config is None and flags.root is None:
        usage("nothing to describe", remedy="Give a folder, or --config=FILE")
    for flag, field in _FIELDS.items():
        value = getattr(flags, flag)
        if value is None:
            continue
        if field in dict(overrides):
            name = "ROOT" if flag == "root" else f"--{flag}"
            usage(f"{name} and --config.{field} name the {flag} twice")
        overrides = [*overrides, (field, value)]
    config = configuration.load_config(flags.config or DEFAULT_CONFIG, overrides)
    source = open_source(config.data, config.population)
    out = _folder(flags.out, source)
    phase0 = [] if flags.config is None else [f"--config={flags.config}"]
    phase0 += [] if flags.root is None else [f"--data={flags.root}"]
    phase0 += [f"--config.{k}={v}" for k, v in overrides if flags.root is None or k != "data.root"]
    told = _describe(open_data(config, source, tuple(phase0)), config, out)
    if told["counts"]["all"]["stamps"]:
        return int(ExitCode.OK)
    first = next((one for one in told["findings"] if one["severity"] != "NOTE"), None)
    where, why = (first["where"], f" ({first['message']})") if first else ("", "")
    raise LensjaxError(
        ExitCode.DATA_INVALID,
        f"no stamp could be read{why}",
        where,
        f"All {len(told['findings'])} findings are in {out / 'describe.json'}",
    )


def _describe(opened: Opened, config: Config, out: Path) -> dict[str, Any]:
    # matplotlib is for those who draw: other commands, and worker processes, do without
    from lensjax.curate.contact_sheet import Pictures
    from lensjax.curate.describe_document import document, shown
    from lensjax.curate.describe_page import write_pages
    from lensjax.curate.describe_table import show

    looked = look(opened.scan, opened.source, workers=config.data.workers)
    told = document(opened, looked, seed=int(config.seed))
    pictures = Pictures(opened.scan, [shown(told)])
    try:
        write_json(out / "describe.json", told)
        page = write_pages(out, told, opened.scan.rows, looked, pictures)
    except OSError as error:
        raise _unwritable(error, out) from error
    show(told)
    say(f"page: {page}")
    say(f"numbers: {out / 'describe.json'}; pictures: {page.parent / 'pictures'}")
    say(f"nothing was judged; for a verdict: {schema.printable(told['phase0'])}")
    return told


def _folder(name: str, source: Source) -> Path:
    """The folder to write into, made before anything is read. Raises LensjaxError: USAGE for an
    address, and for one among the data, where the next reading would find files that are none of
    its own; RESOURCE where it cannot be made."""
    out = Path(os.path.realpath(local_path(name, "--out")))
    if isinstance(source, FileSource) and isinstance(source.filesystem, LocalFileSystem):
        folders = {f"{source.root}/{split}" for split in schema.SPLITS}
        folders |= {os.path.dirname(path) for path in source.files.values()}
        if {Path(os.path.realpath(folder)) for folder in folders} & {out, *out.parents}:
            usage("--out is among the data", str(out), "Name another folder with --out=DIR")
    try:
        (out / "pictures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(error, out) from error
    return out


def _unwritable(error: OSError, out: Path) -> LensjaxError:
    known = refusal(error)
    what = known.what if known else error.strerror or str(error)
    return LensjaxError(
        ExitCode.RESOURCE, f"cannot be written to ({what})", str(out), "Name another with --out=DIR"
    )
