"""The table of a Parquet data set: every column but the stamps, checked row by row.

Not the stamps (`parquet` reads them). One row of a file becomes two of the table: the stamp with
its arc (label 1) and its control (label 0, arc columns NaN).

    >>> rows, findings = read_rows(filesystem, shards, "train")
    >>> table = stamp_table(rows, hosts, bins)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import fsspec
import numpy as np
import pyarrow as pa
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from lensjax import schema
from lensjax.data import parquet_files
from lensjax.data.parquet_files import BAND_SET, Shard, finding
from lensjax.data.stampset import Finding, build_table
from lensjax.schema import ExitCode

BIN_COLUMNS = ("psf_bin", "depth_bin")
SAME_HOST_ARCSEC = 0.1
_NUMBERS = ("ra", "dec", "theta_e_arcsec", "arc_snr", "psf_fwhm_arcsec", "psf_depth")
_OPTIONAL_NUMBERS = ("arc_snr_shot", "ebv", "pixel_scale_arcsec", *BIN_COLUMNS, "is_control")
_WORDS = ("task_id", "brickname", "region_split", "bandset")


@dataclass
class Rows:
    """The rows of one split in file order: `numbers` float64 [n], `words` str [n] (a column that
    no file has is absent), shard index and row in the file, and `good` bool [n]."""

    split: str
    shards: list[Shard]
    shard: np.ndarray
    row: np.ndarray
    numbers: dict[str, np.ndarray]
    words: dict[str, np.ndarray]
    good: np.ndarray
    has_bins: bool

    def where(self, index: int) -> str:
        """File and row of row `index`, for messages."""
        return f"{self.shards[self.shard[index]].name} row {self.row[index]}"


def read_rows(
    filesystem: fsspec.AbstractFileSystem, shards: list[Shard], split: str
) -> tuple[Rows, list[Finding]]:
    """The rows of `shards` without their stamps, and what is wrong with them. Rows with an
    ERROR have good False."""
    findings: list[Finding] = []
    numbers: dict[str, list[np.ndarray]] = {n: [] for n in (*_NUMBERS, *_OPTIONAL_NUMBERS)}
    words: dict[str, list[np.ndarray]] = {name: [] for name in _WORDS}
    sound = []
    for shard in shards:
        try:
            with parquet_files.open_shard(filesystem, shard.path) as file:
                columns = file.read(columns=_wanted(shard), use_threads=False)
            part = _shard_columns(columns, shard)
        except (pa.ArrowException, OSError, ValueError, _NotNumbers) as error:
            message = (
                str(error)
                if isinstance(error, _NotNumbers)
                else (parquet_files.damaged_rows(error, 0))
            )
            findings.append(finding(message, shard.name))
            continue
        sound.append(shard)
        for name, column in part.items():
            (numbers if name in numbers else words)[name].append(column)
    n = sum(shard.rows for shard in sound)
    rows = Rows(
        split=split,
        shards=sound,
        shard=np.repeat(np.arange(len(sound)), [shard.rows for shard in sound]),
        row=np.concatenate([np.arange(0), *(np.arange(shard.rows) for shard in sound)]),
        numbers={k: np.concatenate([np.zeros(0), *v]) for k, v in numbers.items()},
        words={k: np.concatenate([np.zeros(0, "U1"), *v]) for k, v in words.items()},
        good=np.ones(n, bool),
        has_bins=all(name in shard.columns for shard in sound for name in BIN_COLUMNS),
    )
    return rows, findings + _row_findings(rows) + _file_findings(rows)


class _NotNumbers(Exception):
    """A column that should hold numbers does not."""


def _wanted(shard: Shard) -> list[str]:
    names = (*_NUMBERS, *_OPTIONAL_NUMBERS, *_WORDS, "psfdepth_r", *parquet_files.PSF_COLUMNS)
    return [name for name in dict.fromkeys(names) if name in shard.columns]


def _shard_columns(columns: pa.Table, shard: Shard) -> dict[str, np.ndarray]:
    """Columns of one shard under the schema's names; absent optional ones filled as documented:
    arc_snr_shot and ebv NaN, pixel scale that of the survey, bins and is_control 0, words empty."""
    psf = next(name for name in parquet_files.PSF_COLUMNS if name in shard.columns)
    source = {"psf_fwhm_arcsec": psf, "psf_depth": "psfdepth_r"}
    absent = {"arc_snr_shot": np.nan, "ebv": np.nan}
    absent |= {"pixel_scale_arcsec": schema.PIXEL_SCALE_ARCSEC}
    part: dict[str, np.ndarray] = {}
    for name in (*_NUMBERS, *_OPTIONAL_NUMBERS):
        given = source.get(name, name)
        if given not in columns.column_names:
            part[name] = np.full(shard.rows, absent.get(name, 0.0))
            continue
        try:
            column = columns[given].cast(pa.float64(), safe=False)
        except pa.ArrowException as error:
            kind = columns[given].type
            raise _NotNumbers(f"column {given!r} is {kind}, expected numbers") from error
        part[name] = column.to_numpy(zero_copy_only=False)
    for name in _WORDS:
        if name in columns.column_names:
            values = columns[name].to_pylist()
            part[name] = np.array(["" if value is None else str(value) for value in values])
        else:
            part[name] = np.full(shard.rows, "")
    if "task_id" not in columns.column_names:
        stem = shard.name.removesuffix(".parquet").replace("/", "-")
        part["task_id"] = np.array([f"{stem}-{row:07d}" for row in range(shard.rows)])
    return part


def _row_findings(rows: Rows) -> list[Finding]:
    """One finding for each row with an impossible number; the row is marked not good."""
    x = rows.numbers
    tests = {
        "ra": (~np.isfinite(x["ra"]), "not finite"),
        "dec": (~(np.abs(x["dec"]) <= 90), "outside -90..90 degrees"),
        "theta_e_arcsec": (~(x["theta_e_arcsec"] >= 0), "NaN or negative"),
        "arc_snr": (~(x["arc_snr"] >= 0), "NaN or negative"),
        "arc_snr_shot": (x["arc_snr_shot"] < 0, "negative"),
        "psf_fwhm_arcsec": (~(x["psf_fwhm_arcsec"] > 0), "NaN or not positive"),
        "psf_depth": (~np.isfinite(x["psf_depth"]), "not finite"),
        "pixel_scale_arcsec": (~(x["pixel_scale_arcsec"] > 0), "NaN or not positive"),
        "is_control": (x["is_control"] != 0, "a control where a stamp with an arc is expected"),
    }
    for name in BIN_COLUMNS:
        sound = (x[name] == np.rint(x[name])) & (np.abs(x[name]) <= 127)
        tests[name] = (~sound, "not a small integer")
    findings = []
    for name, (bad, what) in tests.items():
        for index in np.flatnonzero(bad):
            message = f"{name} is {x[name][index]:g}: {what}"
            findings.append(finding(message, rows.where(int(index))))
        rows.good &= ~bad
    for index in np.flatnonzero(rows.words["brickname"] == ""):
        findings.append(finding("brickname is empty", rows.where(int(index))))
        rows.good[index] = False
    return findings


def _file_findings(rows: Rows) -> list[Finding]:
    """One finding for each file and value: rows of another split, stamps in another band set."""
    findings = []
    for name, expected in (("region_split", rows.split), ("bandset", BAND_SET)):
        values = rows.words[name]
        for k, shard in enumerate(rows.shards):
            if name not in shard.columns:
                continue
            mine = values[rows.shard == k]
            others, counts = np.unique(mine[mine != expected], return_counts=True)
            for value, count in zip(others.tolist(), counts.tolist(), strict=True):
                if name == "bandset":
                    message = f"band-order mismatch: bandset {value!r}, expected {BAND_SET!r}"
                    findings.append(finding(f"{message} ({count} rows)", shard.name))
                    continue
                message = f"region_split {value!r} in the folder {expected} ({count} rows)"
                findings.append(Finding("splits", "ERROR", message, shard.name, ExitCode.LEAK))
    return findings


def host_ids(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Host ids U64 [n] from positions in degrees, float64 [n]: positions within 0.1 arcsec of
    each other (chained) are one host, named after its smallest position, so that neither
    rounding nor float32 columns split a host at the edge of a cell."""
    positions, inverse = np.unique(np.stack([ra % 360.0, dec], 1), axis=0, return_inverse=True)
    lon, lat = np.deg2rad(positions).T
    unit = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], 1)
    same = (
        KDTree(unit)
        .query_pairs(np.deg2rad(SAME_HOST_ARCSEC / 3600), output_type="ndarray")
        .reshape(-1, 2)
    )
    links = coo_array((np.ones(len(same)), (same[:, 0], same[:, 1])), (len(unit), len(unit)))
    _, host = connected_components(links, directed=False)
    first = np.unique(host, return_index=True)[1]
    names = np.array([f"J{a:09.5f}{d:+09.5f}" for a, d in positions[first]], dtype="U64")
    return names[host[inverse.reshape(-1)]]


def quartile_edges(values: np.ndarray) -> np.ndarray:
    """The three inner quartiles, float64 [3]: edges of bins 0..3 where a set has none."""
    return np.quantile(values, (0.25, 0.5, 0.75))


def stamp_table(
    rows: Rows, hosts: np.ndarray, bins: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The table of all 2 n stamps of `rows`: n with an arc, then their n controls; `hosts` U64
    [n] and `bins` int [n] of psf and depth."""
    n = len(rows.good)
    nan, both = np.full(n, np.nan), np.repeat([True, False], n)
    pair = np.array([shorten(task, 62) for task in rows.words["task_id"]], dtype="U64")
    files = np.array([shorten(shard.name, 255) for shard in rows.shards] or [""])
    member = np.where(both, "-s", "-c")
    x = rows.numbers
    columns = {
        "stamp_id": np.char.add(np.tile(pair, 2), member),
        "pair_id": np.tile(pair, 2),
        "lrg_id": np.tile(hosts, 2),
        "brick": np.tile([shorten(b, 16) for b in rows.words["brickname"]] or [""], 2)[: 2 * n],
        "split": np.full(2 * n, rows.split),
        "label": both.astype(np.int8),
        "negative_kind": np.where(both, "", "control"),
        "theta_e_arcsec": np.concatenate([x["theta_e_arcsec"], nan]),
        "arc_snr": np.concatenate([x["arc_snr"], nan]),
        "arc_snr_shot": np.concatenate([x["arc_snr_shot"], nan]),
        "source_file": np.tile(files[rows.shard] if n else files[:0], 2),
        "source_row": np.tile(rows.row, 2),
        **{name: np.tile(values, 2) for name, values in bins.items()},
    }
    for name in ("ra", "dec", "psf_fwhm_arcsec", "psf_depth", "ebv", "pixel_scale_arcsec"):
        columns[name] = np.tile(x[name], 2)
    return build_table(columns)


def shorten(text: str, width: int) -> str:
    """`text` if it fits into `width` characters, else its beginning and a hash of all of it, so
    that ids which differ stay different."""
    if len(text) <= width:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[: min(16, width - 2)]
    return f"{text[: width - len(digest) - 1]}~{digest}"
