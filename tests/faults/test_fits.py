"""D21: what FITS files do otherwise than numpy expects: converted exactly, or refused by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.faults.cases import Case, Sets, assert_harm, assert_refused, parametrize
from tests.faults.fits_roots import (
    FITS,
    ROW,
    FitsRoot,
    card,
    file_of,
    header,
    padded,
    sound_fits,
)

SCALE = 2.0**-12  # of integers: exact in float32
WHERE = rf"train/stamps\.csv row {ROW} band r: "


def integers(plane: np.ndarray) -> np.ndarray:
    """The pixels as multiples of SCALE, int32 [64, 64], less 3.0: what is in the file."""
    return np.rint((plane.astype(np.float64) - 3.0) / SCALE).astype(np.int32)


def scaled(plane: np.ndarray) -> bytes:
    """Signed integers, with BSCALE and BZERO."""
    cards = header(32, BSCALE=SCALE, BZERO=3.0)
    return file_of(cards, integers(plane).astype(">i4").tobytes())


def unsigned(plane: np.ndarray) -> bytes:
    """Unsigned integers, which FITS keeps as signed ones with BZERO = 2^15."""
    counts = np.rint(plane * 4096 + 2000).astype(np.uint16)
    stored = (counts.astype(np.int32) - 32768).astype(">i2")
    return file_of(header(16, BSCALE=1.0, BZERO=32768.0), stored.tobytes())


def masked(plane: np.ndarray) -> bytes:
    """One pixel is blank."""
    stored = integers(plane)
    stored[5, 6] = -(2**31)
    cards = header(32, BSCALE=SCALE, BZERO=3.0, BLANK=-(2**31))
    return file_of(cards, stored.astype(">i4").tobytes())


def not_a_number(plane: np.ndarray) -> bytes:
    changed = plane.copy()
    changed[5, 6] = np.nan
    return file_of(header(-32), changed.astype(">f4").tobytes())


def without_end(plane: np.ndarray) -> bytes:
    """The second block of the header is lost: BZERO, and END."""
    first = padded((header(32, BSCALE=SCALE)).encode(), b" ")
    whole = file_of(first.decode() + card("BZERO", 3.0), integers(plane).astype(">i4").tobytes())
    return whole[: len(first)] + whole[len(first) + 2880 :]


def spoil(encode: Callable[[np.ndarray], bytes]) -> Callable[[FitsRoot], None]:
    def plant(root: FitsRoot) -> None:
        root.spoilt = encode

    return plant


def seen(sets: Sets) -> np.ndarray:
    """Band r of the stamp, float32 [64, 64]."""
    ids = sets["train"].table
    (row,) = np.flatnonzero((ids["source_row"] == ROW) & (ids["label"] == 1))
    return sets["train"].stamps[row][..., 1]


def case(cause: str, encode: Callable[[np.ndarray], bytes], harm, *off: str) -> Case:
    told = {"off": off, "harm": harm, "make": sound_fits, "argv": (FITS,)}
    return Case(10, cause, "stamps", spoil(encode), **told)


def off_by_three(sets: Sets) -> bool:
    """BZERO was lost, and nobody said so."""
    true = sound_fits().pixels["train"][0, ROW, 1]
    return bool(np.allclose(seen(sets), true - 3.0, atol=SCALE))


CASES = {
    "D21 blank": case(
        WHERE + "1 NaN",
        *(masked, lambda sets: np.isnan(seen(sets)[5, 6]), "pixels"),
    ),
    "D21 NaN": case(
        WHERE + "1 NaN",
        *(not_a_number, lambda sets: np.isnan(seen(sets)[5, 6]), "pixels"),
    ),
    "D21 END": case(
        rf"row {ROW}.*: no END card.*stamp-{ROW}_r\.fits", without_end, off_by_three, "END", "pairs"
    ),
}


@parametrize("proves", CASES)
def test_refused(case, run, plant):
    assert_refused(case, run, plant(case))


@parametrize("harm", CASES)
def test_without_the_guard_it_goes_through(case, run, plant):
    assert_harm(case, run, plant(case))


ENCODINGS = {
    "big-endian": (None, lambda plane: plane),
    "scaled": (scaled, lambda plane: (3.0 + SCALE * integers(plane)).astype(np.float32)),
    "unsigned": (unsigned, lambda plane: np.rint(plane * 4096 + 2000).astype(np.float32)),
}


@pytest.fixture(params=ENCODINGS)
def encoded(request, plant):
    """A root all of whose files are encoded so, and how a plane must be read."""
    encode, expected = ENCODINGS[request.param]

    def plant_all(root: FitsRoot) -> None:
        if encode is not None:
            root.encode = root.spoilt = encode

    return plant(Case(0, "", "", plant_all, make=sound_fits)), expected


def stamps(sets: Sets) -> np.ndarray:
    """float32 [n, 3, 64, 64] of train, in the order of rows, stamps first."""
    table = sets["train"].table
    order = np.lexsort([table["source_row"], -table["label"].astype(int)])
    return np.moveaxis(sets["train"].stamps[order], -1, 1)


@pytest.mark.proves("D21")
def test_it_is_converted_exactly(run, encoded):
    root, expected = encoded
    ended = run.prepare(root, FITS, off=["units"])  # counts of a camera, on purpose
    assert ended.code == 0, ended.err
    true = sound_fits().pixels["train"].reshape(-1, 3, 64, 64)
    np.testing.assert_array_equal(stamps(run.sets()), expected(true))


@pytest.mark.harm("D21")
def test_without_the_conversion_the_pixels_are_others(run, encoded):
    root, expected = encoded
    off = ["pixels", "units", "pairs", "duplicates", "byte order", "BZERO"]
    assert run.prepare(root, FITS, off=off).code == 0
    true = expected(sound_fits().pixels["train"].reshape(-1, 3, 64, 64))
    assert (stamps(run.sets()) != true).mean() > 0.9
