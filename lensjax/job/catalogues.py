"""Real lenses and look-alikes to be scored: the rows of a catalogue, and which stamp is of which.

Not a check (phase 0 judges the catalogues) and not a verdict: a row without a stamp stays, without
a score, and the gates count it against the model.

    >>> catalogues = open_catalogues(config, protocol)                  # before training: all read
    >>> arrays = catalogues["anchors"].arrays(logits)                   # after it: what is written
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lensjax import gates, schema
from lensjax.checks.catalogues import (
    ANCHOR_COLUMNS,
    CONTAMINANT_COLUMNS,
    SAME_OBJECT_ARCSEC,
    category,
    read_catalogue,
    sift,
)
from lensjax.checks.protocol import phase0_rules
from lensjax.checks.sky import chord, nearest_arcsec, unit_vectors
from lensjax.configuration import Config
from lensjax.data.digests import combined, hash_address
from lensjax.data.flat import FlatStamps, read_flat
from lensjax.data.kinds import TOLD, format_of
from lensjax.data.source import SIMULATED
from lensjax.data.told import SAME_SCALE
from lensjax.gates.arrays import CATALOGUES
from lensjax.schema import ExitCode, LensjaxError

log = logging.getLogger(__name__)

MAX_WORD = 64  # characters of a name or class: an array of them is as wide for every row
SHOWN = 5  # stamps in one message
_COLUMNS = {"anchors": ANCHOR_COLUMNS, "contaminants": CONTAMINANT_COLUMNS}
_FIELD = re.compile(rf"\bdata\.({'|'.join(TOLD)})\b")


@dataclass(frozen=True)
class Catalogue:
    """The rows that count of a catalogue, `names` and `classes` str [n] (class: empty for
    anchors), `ra` and `dec` float64 [n], degrees, and its stamps: `rows` int64 [m], the row that
    each is of, `stamps` float32 [m, 64, 64, 3], nanomaggies, `pixel_scale_arcsec` float64 [m].
    `folder` is where they lie, `left_out` and `spare` count rows that do not count and stamps of no
    row; `digest` is SHA-256, in hex, of the bytes of all files."""

    names: np.ndarray
    classes: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    rows: np.ndarray
    stamps: np.ndarray
    pixel_scale_arcsec: np.ndarray
    folder: str
    left_out: int
    spare: int
    digest: str

    def arrays(self, logits: np.ndarray) -> dict[str, np.ndarray]:
        """The arrays of the gates, each [n], of `logits` float32 [m]; NaN without a stamp."""
        scores = np.full(len(self.names), np.nan, np.float32)
        scores[self.rows] = logits
        return {"name": self.names, "class": self.classes, "logit": scores}

    def among(self, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        """int64: the rows with a stamp that lie within 5 arcsec of a position, degrees [k]."""
        mine = self.ra[self.rows], self.dec[self.rows]
        return self.rows[np.isfinite(nearest_arcsec(*mine, ra, dec, SAME_OBJECT_ARCSEC)[0])]


def open_catalogues(config: Config, protocol: gates.Protocol) -> dict[str, Catalogue]:
    """Those of 'anchors' and 'contaminants' whose stamps the config names.

    Raises:
        LensjaxError: exit 10 for a catalogue or stamp that is wrong, a name that is there twice,
            two stamps of one row, a stamp far from the row of its name, no stamp of any row, or
            another pixel scale than simulated stamps have (a user's own are known once they are
            loaded: `require_same_scale`); 2, 16, 17 as `read_flat`.
    """
    limits = phase0_rules(protocol.document).limits
    least = {"anchors": limits["anchor_theta_e_arcsec"], "contaminants": None}
    told = config.catalogue_stamps
    found = {name: _open(config, name, least[name]) for name in CATALOGUES if told[name]}
    if config.data.source == SIMULATED:
        require_same_scale(found, np.array([schema.PIXEL_SCALE_ARCSEC]))
    return found


def _open(config: Config, name: str, min_theta_e_arcsec: float | None) -> Catalogue:
    told, path = config.catalogue_stamps, config.data[name]
    rows = read_catalogue(path, _COLUMNS[name])
    found = sift(rows, min_theta_e_arcsec)
    usable = np.flatnonzero(found.usable).tolist()
    for k in usable:
        for word in (rows[k]["name"], rows[k].get("category", "")):
            if len(word) > MAX_WORD:
                what = f"longer than {MAX_WORD} characters: {word[:MAX_WORD]}..."
                raise LensjaxError(ExitCode.DATA_INVALID, what, f"{path} row {k}")
    names = [rows[k]["name"] for k in usable]
    try:
        cache = Path(config.data.cache_dir).expanduser()
        stamps = read_flat(told[name], format_of(told.source, told), cache)
    except LensjaxError as error:
        raise _renamed(error) from error
    ra, dec = found.ra[usable], found.dec[usable]
    rows_of = match(names, ra, dec, stamps, where=path)
    mine = np.flatnonzero(rows_of >= 0)
    catalogue = Catalogue(
        names=np.array(names, str),
        classes=np.array([category(rows[k]) if name == "contaminants" else "" for k in usable]),
        ra=ra,
        dec=dec,
        rows=rows_of[mine],
        stamps=stamps.stamps if len(mine) == len(stamps) else stamps.stamps[mine],
        pixel_scale_arcsec=stamps.pixel_scale_arcsec[mine],
        folder=told[name],
        left_out=len(rows) - len(usable),
        spare=len(stamps) - len(mine),
        digest=combined({"catalogue": hash_address(path), "stamps": stamps.digest}),
    )
    _tell(name, catalogue, [stamps.where[k] for k in np.flatnonzero(rows_of < 0)])
    return catalogue


def _renamed(error: LensjaxError) -> LensjaxError:
    """`error` of a reader, which names the fields of the training data."""
    what, where, remedy = (
        _FIELD.sub(r"catalogue_stamps.\1", text) for text in (error.what, error.where, error.remedy)
    )
    return LensjaxError(error.code, what, where, remedy)


def match(
    names: list[str], ra: np.ndarray, dec: np.ndarray, stamps: FlatStamps, *, where: str
) -> np.ndarray:
    """The catalogue row that each stamp is of, int64 [m]: that of its name, else the nearest
    within 5 arcsec; -1 for none. ra, dec: of the rows, float64 [n], degrees; `where`: their file.

    Raises:
        LensjaxError: exit 10 for a name that is there twice, a stamp more than 5 arcsec from the
            row of its name, two stamps of one row, and no stamp of any row.
    """
    known = {name: k for k, name in enumerate(names)}
    if len(known) < len(names):
        twice = next(name for k, name in enumerate(names) if known[name] != k)
        raise LensjaxError(
            ExitCode.DATA_INVALID,
            f"name {twice!r} is there twice, at different positions",
            where,
            "Stamps are found by name: give each object its own",
        )
    row = np.array([known.get(str(name), -1) for name in stamps.ids], np.int64)
    placed = np.isfinite(stamps.ra) & np.isfinite(stamps.dec)
    _require_near(names, ra, dec, stamps, row, np.flatnonzero(placed & (row >= 0)))
    left = np.flatnonzero(placed & (row < 0))
    nearest = nearest_arcsec(stamps.ra[left], stamps.dec[left], ra, dec, SAME_OBJECT_ARCSEC)[1]
    row[left] = np.where(nearest < len(names), nearest, -1)
    order = np.argsort(row, kind="stable")
    same = np.flatnonzero((row[order[1:]] == row[order[:-1]]) & (row[order[1:]] >= 0))
    if len(same):
        first, second = order[same[0]], order[same[0] + 1]
        raise LensjaxError(
            ExitCode.DATA_INVALID,
            f"a second stamp of {names[row[second]]!r} (the other is {stamps.where[first]})",
            stamps.where[second],
            "Leave one of them out",
        )
    if not (row >= 0).any():
        raise LensjaxError(
            ExitCode.DATA_INVALID,
            f"none of its {len(names)} rows that count has one of the {len(stamps)} stamps: no "
            f"task_id is a name, no position within {SAME_OBJECT_ARCSEC:g} arcsec",
            where,
            "Give the stamps of this catalogue",
        )
    return row


def _require_near(
    names: list[str],
    ra: np.ndarray,
    dec: np.ndarray,
    stamps: FlatStamps,
    row: np.ndarray,
    named: np.ndarray,
) -> None:
    """Raises LensjaxError for the first of the stamps `named` that is far from its row."""
    of = row[named]
    apart = unit_vectors(stamps.ra[named], stamps.dec[named]) - unit_vectors(ra[of], dec[of])
    far = named[np.linalg.norm(apart, axis=1) > chord(SAME_OBJECT_ARCSEC)]
    if len(far):
        raise LensjaxError(
            ExitCode.DATA_INVALID,
            f"more than {SAME_OBJECT_ARCSEC:g} arcsec from {names[row[far[0]]]!r}, whose name it "
            "has",
            stamps.where[far[0]],
            "Correct the name or the position",
        )


def _tell(name: str, catalogue: Catalogue, spare: list[str]) -> None:
    n, m = len(catalogue.names), len(catalogue.rows)
    log.info(
        "%s: %d of %d rows have a stamp, %d have none and count against the model; %d rows more "
        "do not count (position, theta_E or a repeat)",
        *(name, m, n, n - m, catalogue.left_out),
    )
    if spare:
        shown = ", ".join(map(schema.printable, spare[:SHOWN]))
        more = ", ..." if len(spare) > SHOWN else ""
        log.warning("%s: %d stamps of no row are not scored: %s%s", name, len(spare), shown, more)


def require_same_scale(catalogues: Mapping[str, Catalogue], pixel_scale_arcsec: np.ndarray) -> None:
    """Raises LensjaxError (exit 10) for stamps of another pixel scale than all of those of the
    run, float [k], arcsec: an arc would look smaller or larger than any that was learnt."""
    known = np.unique(pixel_scale_arcsec.astype(np.float64))
    for name, catalogue in catalogues.items():
        scales = np.unique(catalogue.pixel_scale_arcsec)
        other = [s for s in scales if not np.isclose(s, known, rtol=SAME_SCALE, atol=0).any()]
        if not other:
            continue
        ours = ", ".join(f"{scale:.4g}" for scale in known[:SHOWN])
        reachable = any(
            math.isclose(s, schema.PIXEL_SCALE_ARCSEC, rel_tol=SAME_SCALE) for s in known
        )
        raise LensjaxError(
            ExitCode.DATA_INVALID,
            f"stamps of {name} have {other[0]:.4g} arcsec a pixel, those of the run {ours}",
            catalogue.folder,
            "Add --config.catalogue_stamps.resample=True"
            if reachable
            else "Cut them out at the pixel scale of the run",
        )


def digests(catalogues: Mapping[str, Catalogue]) -> dict[str, str | None]:
    """What decides the scores of each catalogue; None for one that is not scored."""
    return {name: catalogues[name].digest if name in catalogues else None for name in CATALOGUES}
