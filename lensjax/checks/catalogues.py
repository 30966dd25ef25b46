"""Catalogues of anchors (real lenses) and contaminants (real look-alikes): CSV with a header.

Proves that there are enough of them, once each, with usable positions. Cannot prove that a
lens is one. Nothing given, or too few, is NOT PROVEN; a file that cannot be read is an error.

    >>> outcome = check_anchors("anchors.csv", minimum=30, min_theta_e_arcsec=0.5)
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import numpy as np

from lensjax.checks.labels import ARC_RANGES
from lensjax.checks.result import CODE_ORDER, Outcome
from lensjax.checks.sky import nearest_arcsec, repeats
from lensjax.data.paths import open_filesystem
from lensjax.data.stampset import Finding
from lensjax.schema import ExitCode, LensjaxError

MAX_BYTES = 20_000_000  # about 200,000 rows; a larger file is not a catalogue of these
MAX_ROWS = 200_000
MAX_LINE_BYTES = 2**16
SHOWN = 20  # names of columns in one message
QUALITY = "theta_e_quality"
SAME_OBJECT_ARCSEC = 5.0
ANCHOR_COLUMNS = ("name", "ra", "dec", "theta_e_arcsec")
CONTAMINANT_COLUMNS = ("name", "ra", "dec", "category")


def read_catalogue(path: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows of a CSV file (local, or an fsspec address) as text: `columns` and, if there,
    theta_e_quality; errors count them from 0, without the header, as everywhere.

    Raises:
        LensjaxError: DATA_INVALID if it cannot be read, is not UTF-8 text, lacks one of `columns`
            or has a row of another length; REFUSED_INPUT beyond 20 MB, 200,000 rows or 64 KiB a
            line, or with NUL bytes; USAGE and RESOURCE as open_filesystem.
    """
    where = path
    filesystem, inside = open_filesystem(path)
    try:
        with filesystem.open(inside, "rb") as file:
            raw = cast(bytes, file.read(MAX_BYTES + 1))
    except OSError as error:
        why = "no such file" if isinstance(error, FileNotFoundError) else error.strerror or error
        remedy = "Check the name, and that this user may read the file"
        raise LensjaxError(
            ExitCode.DATA_INVALID, f"cannot be read ({why})", where, remedy
        ) from error
    if what := _beyond_bounds(raw):
        raise LensjaxError(ExitCode.REFUSED_INPUT, what, where, "A catalogue is a CSV file")
    try:
        reader = csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True)
        names = [name.strip() for name in reader.fieldnames or ()]
        missing = [name for name in columns if name not in names]
        if missing or len(set(names)) < len(names):
            what = f"missing columns {missing}" if missing else "a column is named twice"
            has = f"has {names[:SHOWN]}" + (" and more" if len(names) > SHOWN else "")
            remedy = f"Its first line must name {', '.join(columns)}, each once"
            raise LensjaxError(ExitCode.DATA_INVALID, f"{what}, {has}", where, remedy)
        reader.fieldnames, kept = names, {*columns, QUALITY} & {*names}
        rows = []
        for row in reader:
            if None in row or None in row.values():
                raise LensjaxError(
                    ExitCode.DATA_INVALID,
                    f"{_fields(row)} fields, the first line names {len(names)}",
                    f"{where} row {len(rows)}",
                    "Write as many fields in each row; one with a comma in quotes",
                )
            rows.append({name: row[name] for name in kept})
    except (UnicodeDecodeError, csv.Error) as error:
        remedy = "Save it as comma-separated text in UTF-8"
        what = f"not a CSV text ({error})"
        raise LensjaxError(ExitCode.DATA_INVALID, what, where, remedy) from error
    return rows


def _fields(row: Mapping[Any, Any]) -> int:
    """How many fields a row of csv.DictReader has: None is the key of those beyond the header, and
    the value of those that are missing."""
    return sum(value is not None for key, value in row.items() if key) + len(row.get(None) or ())


def _beyond_bounds(raw: bytes) -> str:
    """What about the bytes of a catalogue is beyond bounds; empty if nothing is."""
    if len(raw) > MAX_BYTES:
        return f"larger than {MAX_BYTES:,} bytes"
    if b"\0" in raw:
        return "holds NUL bytes"
    if max(raw.count(b"\n"), raw.count(b"\r")) > MAX_ROWS + 1:
        return f"more than {MAX_ROWS:,} rows"
    longest = max(map(len, raw.splitlines()), default=0)
    return f"a line of more than {MAX_LINE_BYTES:,} bytes" if longest > MAX_LINE_BYTES else ""


class Sifted(NamedTuple):
    """Which rows of a catalogue count, bool [n] each, with their positions, float64 [n], degrees:
    `placed` have one, `in_range` of these a theta_E that can be used (all, where none is asked
    for), `again` of these are within 5 arcsec of one before."""

    ra: np.ndarray
    dec: np.ndarray
    placed: np.ndarray
    in_range: np.ndarray
    again: np.ndarray

    @property
    def usable(self) -> np.ndarray:
        """The rows that count."""
        return self.in_range & ~self.again


def sift(rows: list[dict[str, str]], min_theta_e_arcsec: float | None = None) -> Sifted:
    """Rows of `read_catalogue` sifted; of anchors, with the smallest theta_E that counts: none
    counts that is beyond what one can be (labels.ARC_RANGES), or not finite. Raises LensjaxError
    (DATA_INVALID) for a crowd of positions."""
    placed, ra, dec = _positions(rows)
    in_range = placed
    if min_theta_e_arcsec is not None:  # False for NaN
        theta_e, largest = _numbers(rows, "theta_e_arcsec"), ARC_RANGES["theta_e_arcsec"][1]
        in_range = placed & (theta_e >= min_theta_e_arcsec) & (theta_e <= largest)
    return Sifted(ra, dec, placed, in_range, _repeats(ra, dec, in_range))


def check_anchors(path: str | None, *, minimum: int, min_theta_e_arcsec: float) -> Outcome:
    """NOT PROVEN without a file or with fewer than `minimum` usable anchors: finite position,
    theta_E of at least `min_theta_e_arcsec` and at most 30 arcsec, not closer than 5 arcsec to one
    before. Those left out are counted and noted."""
    if path is None:
        return Outcome("", not_proven="No catalogue of anchors given.")
    try:
        rows = read_catalogue(path, ANCHOR_COLUMNS)
        found = sift(rows, min_theta_e_arcsec)
    except LensjaxError as error:
        return _refused("anchors", path, error)
    usable = int(found.usable.sum())
    quality = Counter(row.get(QUALITY, "unknown") for row in rows)
    counts = {
        "rows": len(rows),
        "usable": usable,
        "without_position": int((~found.placed).sum()),
        "theta_e_out_of_range": int((found.placed & ~found.in_range).sum()),
        "repeated": int(found.again.sum()),
        "repeated_names": _repeated_names(rows),
        "theta_e_quality": dict(quality),
    }
    notes = _notes("anchors", str(path), counts)
    short = f"{usable} usable anchors, {minimum} needed." if usable < minimum else ""
    return Outcome(f"{usable} of {len(rows)} anchors usable.", notes, counts, not_proven=short)


def check_contaminants(
    path: str | None, *, minimum: Mapping[str, int], anchors: str | None = None
) -> Outcome:
    """NOT PROVEN without a file or with fewer than `minimum` usable contaminants of a category;
    ERROR (exit 10) for a contaminant within 5 arcsec of one of `anchors`."""
    if path is None:
        return Outcome("", not_proven="No catalogue of contaminants given.")
    try:
        rows = read_catalogue(path, CONTAMINANT_COLUMNS)
        found = sift(rows)
    except LensjaxError as error:
        return _refused("contaminants", path, error)
    usable = np.flatnonzero(found.usable).tolist()
    number = Counter(category(rows[k]) for k in usable)
    counts = {
        "rows": len(rows),
        "usable": dict(sorted(number.items())),
        "without_position": int((~found.placed).sum()),
        "repeated": int(found.again.sum()),
        "repeated_names": _repeated_names(rows),
    }
    findings = _anchors_among(rows, found, anchors, str(path))
    short = [f"{number[k]} of {n} {k}s" for k, n in minimum.items() if number[k] < n]
    return Outcome(
        f"{len(usable)} of {len(rows)} contaminants usable.",
        (*findings, *_notes("contaminants", str(path), counts)),
        counts,
        not_proven=f"Too few: {', '.join(short)}." if short else "",
    )


def _refused(check: str, path: str, error: LensjaxError) -> Outcome:
    """Raises `error` itself where it is not of the file: no such scheme, a store that is shut."""
    if error.code not in CODE_ORDER:
        raise error
    where = error.where or path
    return Outcome("", (Finding(check, "ERROR", error.what, where, error.code, error.remedy),))


def category(row: dict[str, str]) -> str:
    """What a row of contaminants is: 'ring', 'spiral', 'merger', ..."""
    return row["category"].strip().lower()


def _anchors_among(
    rows: list[dict[str, str]], found: Sifted, anchors: str | None, path: str
) -> list[Finding]:
    if anchors is None:
        return []
    try:
        lenses = read_catalogue(anchors, ANCHOR_COLUMNS)
    except LensjaxError:
        return []  # the anchors check reports it
    known, anchor_ra, anchor_dec = _positions(lenses)
    separation, placed = np.full(len(rows), np.inf), found.placed
    separation[placed] = nearest_arcsec(
        *(found.ra[placed], found.dec[placed]),
        *(anchor_ra[known], anchor_dec[known], SAME_OBJECT_ARCSEC),
    )[0]
    return [
        Finding(
            "contaminants",
            "ERROR",
            f"{rows[i]['name']} is an anchor too ({separation[i]:.1f} arcsec)",
            f"{path} row {i}",
            ExitCode.DATA_INVALID,
            "Remove it from one of the two catalogues: a lens is no look-alike",
        )
        for i in np.flatnonzero(np.isfinite(separation))
    ]


def _positions(rows: list[dict[str, str]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which rows have a position, and ra, dec in degrees."""
    ra, dec = _numbers(rows, "ra"), _numbers(rows, "dec")
    return (ra >= 0) & (ra <= 360) & (dec >= -90) & (dec <= 90), ra, dec


def _numbers(rows: list[dict[str, str]], column: str) -> np.ndarray:
    """float64 [n]; NaN for what is not a number."""
    values = np.full(len(rows), np.nan)
    for i, row in enumerate(rows):
        try:
            values[i] = float(row[column])
        except ValueError:
            continue
    return values


def _repeats(ra: np.ndarray, dec: np.ndarray, among: np.ndarray) -> np.ndarray:
    """bool [n]: within 5 arcsec of a row before it."""
    index = np.flatnonzero(among)
    again = np.zeros(len(ra), bool)
    again[index] = repeats(ra[index], dec[index], SAME_OBJECT_ARCSEC)
    return again


def _repeated_names(rows: list[dict[str, str]]) -> int:
    return len(rows) - len({row["name"] for row in rows})


def _notes(check: str, path: str, counts: Mapping[str, object]) -> tuple[Finding, ...]:
    names = {
        "without_position": "rows without a position left out",
        "theta_e_out_of_range": "rows with theta_E unknown or out of range left out",
        "repeated": "rows within 5 arcsec of another left out",
        "repeated_names": "names repeated",
    }
    return tuple(
        Finding(check, "NOTE", f"{counts[key]} {text}", path, ExitCode.DATA_INVALID)
        for key, text in names.items()
        if counts.get(key)
    )
