"""`python -m lensjax.data split`: the metadata of a data root in, a split manifest out.

Not the readers of stamps: no stamp is read, and no file of the root is changed.

    $ python -m lensjax.data split /data/stamps --out=split.parquet --proportions=0.70,0.15,0.15
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lensjax import schema
from lensjax.configuration import LARGEST_SEED, Parser, usage
from lensjax.curate import metadata
from lensjax.curate.metadata import Metadata
from lensjax.curate.split import Settings, SkyRows, split_rows
from lensjax.curate.summary import STRATUM, summarise
from lensjax.curate.unpaired import unpaired_members
from lensjax.curate.verify import verify
from lensjax.data.formats import LENS, PAIR
from lensjax.data.paths import local_path
from lensjax.data.rows import host_ids
from lensjax.data.split_manifest import is_split_manifest, write
from lensjax.data.split_table import Asked, SplitManifest
from lensjax.runs.logs import say
from lensjax.schema import ExitCode, LensjaxError

PROG = "python -m lensjax.data split"
HELP = "brick-disjoint, guard-banded, stratified splits of a data root, as a manifest"
SUFFIX = ".parquet"
MOST_GUARD_DEG = 10.0
MOST_SEPARATION_ARCSEC = 3600.0
_EPILOG = (
    "exit codes: 0 written, 2 usage, 10 data invalid, 11 no such split can be made, "
    "16 cannot be written, 17 refused input"
)


def main(argv: Sequence[str]) -> int:
    """Split, verify, print what became of it, write."""
    parser = Parser(prog=PROG, description=HELP, epilog=_EPILOG)
    parser.add_argument("root", metavar="ROOT", help="folder or address of stamps, or a table")
    parser.add_argument("--out", required=True, metavar="FILE.parquet", help="the manifest")
    parser.add_argument(
        "--proportions",
        default="0.70,0.15,0.15",
        metavar="A,B,C",
        help="of the hosts in train, val and test",
    )
    parser.add_argument(
        "--seed", type=int, default=42, help="of the split and of the unpaired manifest (data.seed)"
    )
    parser.add_argument(
        "--guard-band", type=float, default=0.05, metavar="DEG", help="between splits"
    )
    parser.add_argument(
        "--separation",
        type=float,
        default=24.0,
        metavar="ARCSEC",
        help="between hosts of different splits, however narrow the guard band",
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    flags, overrides = parser.parse_all(argv)
    if overrides:
        usage("a split takes no config fields", remedy=f"See {PROG} --help")
    settings = Settings(
        _proportions(flags.proportions),
        int(_within("--seed", flags.seed, LARGEST_SEED)),
        _within("--guard-band", flags.guard_band, MOST_GUARD_DEG),
        _within("--separation", flags.separation, MOST_SEPARATION_ARCSEC),
    )
    out = _writable(flags.out)
    _make(metadata.read(flags.root), settings, out)
    return int(ExitCode.OK)


def _proportions(text: str) -> tuple[float, float, float]:
    try:
        train, val, test = (float(part) for part in text.split(","))
    except ValueError:
        usage(f"{text!r} is not three numbers", "--proportions", "As --proportions=0.70,0.15,0.15")
    if not (min(train, val, test) > 0 and math.isclose(train + val + test, 1.0, abs_tol=0.01)):
        usage(f"{text} are not three shares above 0 that add up to 1", "--proportions")
    return train, val, test


def _within(flag: str, value: float, most: float) -> float:
    if not 0 <= value <= most:
        usage(f"{value:g} is not within 0 .. {most:g}", flag)
    return value


def _writable(name: str) -> Path:
    """Raises LensjaxError: USAGE for what is no local file name ending in SUFFIX, and for a file
    that is there and is no split manifest: it would be lost. RESOURCE where no file can be."""
    path = local_path(name, "--out")
    if path.suffix != SUFFIX:
        usage(f"is not a file ending in {SUFFIX}", f"--out={name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        there = path.exists()
    except OSError as error:
        what = f"cannot be written ({error.strerror})"
        raise LensjaxError(ExitCode.RESOURCE, what, name, "Give another --out") from error
    if there and not _is_manifest(path):
        usage("is there, and is no split manifest: it would be lost", f"--out={name}")
    return path


def _is_manifest(path: Path) -> bool:
    try:
        return is_split_manifest(pq.read_metadata(path).metadata)
    except (pa.ArrowException, OSError):
        return False


def _make(found: Metadata, settings: Settings, out: Path) -> None:
    """Split the rows found, verify, print, judge, write."""
    rows, numbers = found.rows, found.rows.numbers
    for note in found.notes:
        say(f"note: {schema.printable(note)}")
    host, names = host_ids(numbers["ra"], numbers["dec"])
    names = np.char.decode(names, "utf-8")
    rank = np.empty(len(names), np.int32)
    rank[np.argsort(names.astype("S"), kind="stable")] = np.arange(len(names))
    lrg_id = _texts(pa.array(names).take(pa.array(host)))
    del names  # three times the bytes of the same in Arrow
    brick = rows.words["brickname"]
    sky = SkyRows(
        numbers["ra"],
        numbers["dec"],
        brick.code,
        host,
        found.bins["psf_bin"].astype(np.int64) * STRATUM + found.bins["depth_bin"],
        rows.kinds(PAIR, LENS).astype(np.int64),
        rows.kinds(PAIR, *schema.NEGATIVE_KINDS).astype(np.int64),
    )
    split = split_rows(sky, settings)
    verify(sky, split, settings.reach_arcsec)
    unpaired = unpaired_members(rows, rank[host], found.bins, split, settings.seed)
    summary = summarise(sky, split, unpaired)
    for line in ("", *summary.lines(settings)):
        say(line)
    summary.judge(settings)
    manifest = SplitManifest(
        Asked(**asdict(settings), root=found.root, bin_edges=found.edges),
        found.file,
        found.row,
        _texts(pa.array(rows.task_id).cast(pa.string())),
        lrg_id,
        brick,
        numbers["ra"],
        numbers["dec"],
        split,
        unpaired,
    )
    digest, name = write(out, manifest), schema.printable(str(out))
    say(f"verified and written: {name} ({len(manifest):,} rows, digest {digest[:12]})")


def _texts(values: pa.Array | pa.ChunkedArray) -> pa.StringArray:
    """In one piece: pyarrow cuts what it makes of long numpy arrays."""
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
