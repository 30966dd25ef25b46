"""The rows of a data root as a format gives them, without stamps: every number checked.

Not the stamps (a format's blocks are) and not the checks. A row is a stamp with its control, or a
stamp alone; `stamp_table` makes one line a stamp of it.

    >>> rows, findings = read_rows(form, filesystem, shards)
    >>> table = stamp_table(rows, stamps_of(rows, rows.good), hosts, bins)
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import fsspec
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from lensjax import schema
from lensjax.data.formats import KINDS, LENS, NUMBERS, PAIR, WORDS, Format, Shard, finding
from lensjax.data.stampset import Finding, build_table
from lensjax.schema import ExitCode, LensjaxError

BINS = {"psf_bin": "psf_fwhm_arcsec", "depth_bin": "psf_depth"}  # what each bin is of
BAND_SET = "".join(schema.BANDS)
SAME_HOST_ARCSEC = 0.1
MAX_NEAR = 10_000_000  # pairs of positions, each of which takes 16 bytes
USUAL = (  # columns that the checks need to prove anything
    "brickname", "ra", "dec", "theta_e_arcsec", "arc_snr", "psf_fwhm_arcsec", "psf_depth",
)  # fmt: skip
_NEEDED = (*USUAL[1:], *BINS)  # numbers that a file has in every row or none
_SINGLE = tuple(name for name in NUMBERS if schema.TABLE_COLUMNS.get(name) == "f4")
_NAMED_AT_ONCE = 2**16
_CODED = ("brickname", "region_split", "bandset", "kind")  # words that recur


class Coded(NamedTuple):
    """A column of words that recur: `code` int32 [n], indices into `names`."""

    code: np.ndarray
    names: tuple[str, ...]

    def values(self) -> np.ndarray:
        """str [n]."""
        return np.array(self.names or ("",), dtype=str)[self.code]


@dataclass
class FileRows:
    """All rows of a root, shard after shard: `numbers` float64 [n] by formats.NUMBERS, `words` by
    formats.WORDS but `task_id`, which is bytes (UTF-8) [n]; index of the shard and row in it;
    `split` int8 [n], index into schema.SPLITS (-1: not used); and `good` bool [n]: nothing is
    wrong with what is said of the row."""

    shards: list[Shard]
    shard: np.ndarray
    row: np.ndarray
    numbers: dict[str, np.ndarray]
    words: dict[str, Coded]
    task_id: np.ndarray
    split: np.ndarray
    good: np.ndarray

    def __len__(self) -> int:
        return len(self.good)

    def where(self, index: int) -> str:
        """File and row of row `index`, for messages."""
        return f"{self.shards[self.shard[index]].name} row {self.row[index]}"

    def starts(self) -> np.ndarray:
        """int64 [shards + 1]: the first row of each shard, and the number of rows."""
        return np.cumsum([0, *(shard.rows for shard in self.shards)])

    def has(self, column: str) -> np.ndarray:
        """bool [n]: the rows whose file has `column`."""
        return np.array([column in shard.columns for shard in self.shards] or [True])[self.shard]

    def kinds(self, *words: str) -> np.ndarray:
        """bool [n]: the rows of these kinds."""
        names = self.words["kind"].names
        return np.isin(self.words["kind"].code, [k for k, x in enumerate(names) if x in words])


def read_rows(
    form: Format, filesystem: fsspec.AbstractFileSystem, shards: Sequence[Shard]
) -> tuple[FileRows, list[Finding]]:
    """The rows of `shards` and all that is wrong with them. Rows that cannot be used have good
    False; `split` follows the folder's name."""
    room = sum(shard.rows for shard in shards)  # filled in place: a million rows are 100 MB
    numbers = {name: np.empty(room) for name in NUMBERS}
    words = {name: _Coder(room) for name in _CODED}
    sound, findings, ids, n = [], [], [], 0
    for shard in shards:
        columns, found = form.metadata(filesystem, shard)
        findings += found
        if any(one.severity == "ERROR" for one in found):
            continue
        at = slice(n, n + shard.rows)
        for name, column in numbers.items():
            column[at] = columns[name]
        for name, coder in words.items():
            coder.put(at, columns[name])
        ids.append(_ids(columns["task_id"]))
        sound.append(shard)
        n += shard.rows
    sizes = [shard.rows for shard in sound]
    splits = [schema.SPLITS.index(x.split) if x.split in schema.SPLITS else -1 for x in sound]
    rows = FileRows(
        shards=sound,
        shard=np.repeat(np.arange(len(sound), dtype=np.int32), sizes),
        row=np.concatenate([np.zeros(0, np.int32), *(np.arange(k, dtype=np.int32) for k in sizes)]),
        numbers={name: column[:n] for name, column in numbers.items()},
        words={name: coder.coded(n) for name, coder in words.items()},
        task_id=np.concatenate([np.zeros(0, "S1"), *ids]),
        split=np.repeat(np.array(splits, np.int8), sizes),
        good=np.ones(n, bool),
    )
    return rows, findings + _absent(rows) + _row_findings(rows) + _band_findings(rows)


def _ids(task_id: np.ndarray) -> np.ndarray:
    """Ids as UTF-8 bytes, those over 62 characters shortened (a suffix for the member follows)."""
    if task_id.dtype.itemsize > 4 * 62:
        task_id = np.array([shorten(task, 62) for task in task_id.tolist()] or [""])[: len(task_id)]
    return np.char.encode(task_id, "utf-8")


class _Coder:
    """A column of words that recur, coded part by part."""

    def __init__(self, room: int):
        self._code, self._codes = np.zeros(room, np.int32), {}

    def put(self, at: slice, words: np.ndarray) -> None:
        names, inverse = np.unique(words, return_inverse=True)
        mine = [self._codes.setdefault(name, len(self._codes)) for name in names.tolist()]
        self._code[at] = np.array(mine, np.int32)[inverse.reshape(-1)]

    def coded(self, n: int) -> Coded:
        return Coded(self._code[:n], tuple(self._codes))


def _absent(rows: FileRows) -> list[Finding]:
    """One note for each usual column that files do not have (nor have from elsewhere, as FITS has
    positions), with the name nearest to it among those that nothing reads: what is unknown is never
    passed over in silence."""
    findings, starts = [], rows.starts()
    for name in USUAL:
        column = rows.words.get(name)
        unknown = (
            np.isnan(rows.numbers[name])
            if column is None
            else np.isin(column.code, [k for k, word in enumerate(column.names) if not word])
        )
        without = [
            shard
            for shard, a, b in zip(rows.shards, starts[:-1], starts[1:], strict=True)
            if name not in shard.columns and unknown[a:b].all()
        ]
        if without:
            spare = [x for x in without[0].columns if x not in NUMBERS and x not in WORDS]
            near = difflib.get_close_matches(name, spare, n=1, cutoff=0.6)
            hint = f" (nearest: {near[0]!r})" if near else ""
            message = f"no column {name!r} in {len(without)} of {len(rows.shards)} files{hint}"
            findings.append(finding(f"{message}: unknown", without[0].name, severity="NOTE"))
    return findings


def _row_findings(rows: FileRows) -> list[Finding]:
    """One finding for each row with an impossible number or word; the row is marked not good. A
    value that is unknown (NaN) in a whole set is for the checks to judge; in a row whose file has
    the column it is a fault."""
    x = rows.numbers
    with np.errstate(invalid="ignore"):
        tests = {
            "ra": (np.isinf(x["ra"]), "not finite"),
            "dec": (np.abs(x["dec"]) > 90, "outside -90..90 degrees"),
            "theta_e_arcsec": (x["theta_e_arcsec"] < 0, "negative"),
            "arc_snr": (x["arc_snr"] < 0, "negative"),
            "arc_snr_shot": (x["arc_snr_shot"] < 0, "negative"),
            "psf_fwhm_arcsec": (x["psf_fwhm_arcsec"] <= 0, "not positive"),
            "pixel_scale_arcsec": (~(x["pixel_scale_arcsec"] > 0), "not positive"),
            "is_control": (
                rows.kinds(PAIR) & (x["is_control"] != 0),
                "a control where a stamp with an arc is expected",
            ),
        }
        for name in BINS:
            bad = (x[name] != np.rint(x[name])) | (np.abs(x[name]) > 127)
            tests[name] = (bad & ~np.isnan(x[name]), "not a small integer")
    unknown = {name: rows.has(name) & np.isnan(x[name]) for name in _NEEDED}
    for name in ("theta_e_arcsec", "arc_snr"):
        unknown[name] &= rows.kinds(PAIR, LENS)
    found = [(name, bad, what) for name, (bad, what) in tests.items()]
    found += [(name, bad, "expected a number") for name, bad in unknown.items()]
    for name in _SINGLE:
        beyond = np.abs(x[name]) > np.finfo(np.float32).max
        found.append((name, beyond, "not finite in single precision"))
    findings = []
    for name, bad, what in found:
        for index in np.flatnonzero(bad):
            message = f"{name} is {x[name][index]:g}: {what}"
            findings.append(finding(message, rows.where(int(index)), severity="QUARANTINE"))
        rows.good &= ~bad
    return findings + _word_findings(rows)


def _word_findings(rows: FileRows) -> list[Finding]:
    findings = []
    for name, sound in (("kind", lambda word: word in KINDS), ("brickname", bool)):
        column = rows.words[name]
        wrong = [k for k, word in enumerate(column.names) if not sound(word)]
        bad = np.isin(column.code, wrong)
        if name == "brickname":  # absent altogether: the checks say what cannot be proven
            bad &= rows.has(name)
        for index in np.flatnonzero(bad):
            word = column.names[column.code[index]]
            what = f"{name} is {word!r}, expected one of {', '.join(KINDS)}"
            message = what if name == "kind" else f"{name} is empty"
            findings.append(finding(message, rows.where(int(index)), severity="QUARANTINE"))
        rows.good &= ~bad
    return findings


def _band_findings(rows: FileRows) -> list[Finding]:
    """One finding for each file and band set that is not ours."""
    return [
        finding(
            f"band-order mismatch: bandset {value!r}, expected {BAND_SET!r} ({count} rows)", name
        )
        for name, value, count in _others(rows, "bandset", BAND_SET)
    ]


def folder_findings(rows: FileRows) -> list[Finding]:
    """One finding (exit 11) for each file and split that its rows name and its folder does not."""
    findings = []
    for split in schema.SPLITS:
        for name, value, count in _others(rows, "region_split", split):
            if name.startswith(f"{split}/"):
                message = f"region_split {value!r} in the folder {split} ({count} rows)"
                findings.append(finding(message, name, check="splits", code=ExitCode.LEAK))
    return findings


def _others(rows: FileRows, column: str, expected: str) -> list[tuple[str, str, int]]:
    """Shard name, word and number of rows for each word of a column that is not `expected`."""
    code, names = rows.words[column]
    wrong = np.isin(code, [k for k, word in enumerate(names) if word != expected])
    wrong &= rows.has(column)
    found, counts = np.unique(
        np.stack([rows.shard[wrong], code[wrong]], 1), axis=0, return_counts=True
    )
    return [
        (rows.shards[shard].name, names[k], count)
        for (shard, k), count in zip(found.tolist(), counts.tolist(), strict=True)
    ]


def host_ids(ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hosts from positions in degrees, float64 [n]: `host` int32 [n] and the hosts' names (S19):
    positions within 0.1 arcsec of each other (chained) are one host, named after its smallest
    position, so that neither rounding nor float32 columns split a host at the edge of a cell.
    Raises LensjaxError (DATA_INVALID) for a crowd: more than ten million pairs of different
    positions that close."""
    if len(ra) == 0:
        return np.zeros(0, np.int32), np.zeros(0, "S19")
    positions, inverse = _distinct(ra % 360.0, dec)
    lon, lat = np.deg2rad(positions).T
    unit = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], 1)
    tree, radius = KDTree(unit), np.deg2rad(SAME_HOST_ARCSEC / 3600)
    if tree.count_neighbors(tree, radius) > 2 * MAX_NEAR + len(unit):
        what = (
            f"more than {MAX_NEAR:,} pairs of different positions within {SAME_HOST_ARCSEC} arcsec"
        )
        remedy = "Give the rows of one host one ra and dec"
        raise LensjaxError(ExitCode.DATA_INVALID, what, "ra, dec", remedy)
    same = tree.query_pairs(radius, output_type="ndarray").reshape(-1, 2)
    links = coo_array((np.ones(len(same), bool), (same[:, 0], same[:, 1])), (len(unit), len(unit)))
    _, host = connected_components(links, directed=False)
    first = np.unique(host, return_index=True)[1]
    named = positions[first]
    names = np.empty(len(named), "S19")
    for start in range(0, len(named), _NAMED_AT_ONCE):
        part = named[start : start + _NAMED_AT_ONCE].tolist()
        names[start : start + len(part)] = [b"J%09.5f%+09.5f" % (a, d) for a, d in part]
    return host[inverse].astype(np.int32), names


def _distinct(ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct positions, float64 [m, 2] in order, and which of them each is, int32 [n]."""
    order = np.lexsort((dec, ra))
    new = np.append(True, (np.diff(ra[order]) != 0) | (np.diff(dec[order]) != 0))
    inverse = np.empty(len(ra), np.int32)
    inverse[order] = np.cumsum(new, dtype=np.int32) - 1
    first = order[new]
    return np.stack([ra[first], dec[first]], 1), inverse


def quartile_edges(values: np.ndarray) -> np.ndarray:
    """The three inner quartiles, float64 [3]: edges of bins 0..3 where a set has none."""
    return np.quantile(values, (0.25, 0.5, 0.75))


class Stamps(NamedTuple):
    """Stamps as members of rows: `row` int64 [m], index into FileRows, and `member` int8 [m] (0:
    the stamp, 1: its control)."""

    row: np.ndarray
    member: np.ndarray


def stamps_of(rows: FileRows, mine: np.ndarray) -> Stamps:
    """The stamps of the rows `mine` (bool [n]): all stamps first, then the controls of pairs."""
    first = np.flatnonzero(mine)
    second = np.flatnonzero(mine & rows.kinds(PAIR))
    member = np.repeat(np.array([0, 1], np.int8), [len(first), len(second)])
    return Stamps(np.concatenate([first, second]), member)


STAMP_KINDS = ("", *schema.NEGATIVE_KINDS)  # '' for a lensed arc


def kind_codes(rows: FileRows, stamps: Stamps) -> np.ndarray:
    """int8 [m]: what each stamp is, an index into STAMP_KINDS."""
    code, names = rows.words["kind"]
    known = [STAMP_KINDS.index(word) if word in STAMP_KINDS else 0 for word in names]
    kind = np.array(known or [0], np.int8)[code[stamps.row]]
    return np.where(stamps.member == 1, STAMP_KINDS.index("control"), kind).astype(np.int8)


def stamp_ids(rows: FileRows, stamps: Stamps) -> np.ndarray:
    """Ids of stamps, bytes [m]: those of a pair end in -s and -c."""
    pair = rows.kinds(PAIR)[stamps.row]
    suffix = np.where(pair, np.where(stamps.member == 1, b"-c", b"-s"), b"")
    return np.char.add(rows.task_id[stamps.row], suffix)


def stamp_table(
    rows: FileRows, stamps: Stamps, hosts: np.ndarray, bins: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The table of `stamps`; `hosts` str [m] of them, `bins` int [n] by row."""
    index, kind, x = stamps.row, kind_codes(rows, stamps), rows.numbers
    files = np.array([shorten(shard.name, 255) for shard in rows.shards] or [""])
    bricks = np.array([shorten(name, 16) for name in rows.words["brickname"].names] or [""])
    columns = {
        "stamp_id": np.char.decode(stamp_ids(rows, stamps), "utf-8"),
        "pair_id": np.char.decode(rows.task_id[index], "utf-8"),
        "lrg_id": hosts,
        "brick": bricks[rows.words["brickname"].code[index]],
        "split": np.array(schema.SPLITS)[rows.split[index]],
        "label": (kind == 0).astype(np.int8),
        "negative_kind": np.array(STAMP_KINDS)[kind],
        "source_file": files[rows.shard[index]],
        "source_row": rows.row[index],
        **{name: values[index] for name, values in bins.items()},
    }
    for name in ("theta_e_arcsec", "arc_snr", "arc_snr_shot"):
        columns[name] = np.where(kind == 0, x[name][index], np.nan)
    for name in ("ra", "dec", "psf_fwhm_arcsec", "psf_depth", "ebv", "pixel_scale_arcsec"):
        columns[name] = x[name][index]
    return build_table(columns)


def shorten(text: str, width: int) -> str:
    """`text` if it fits into `width` characters, else its beginning and a hash of all of it, so
    that ids which differ stay different."""
    if len(text) <= width:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[: min(16, width - 2)]
    return f"{text[: width - len(digest) - 1]}~{digest}"
