"""The words of lensjax: bands, shapes, units, column and array names, exit codes.

Declared once, here; validated at the boundary (`lensjax.data`), assumed after it.
Imports the standard library and numpy alone, so that the gates can use it anywhere.

    >>> from lensjax import schema
    >>> schema.BANDS
    ('g', 'r', 'z')
"""

from __future__ import annotations

import enum

import numpy as np

# -- stamps ---------------------------------------------------------------------------------
BANDS = ("g", "r", "z")
R_BAND = BANDS.index("r")
STAMP_SIZE = 64  # pixels a side
STAMP_SHAPE = (STAMP_SIZE, STAMP_SIZE, len(BANDS))  # [height, width, band], float32, nanomaggies
PIXEL_SCALE_ARCSEC = 0.262  # DESI Legacy Imaging Surveys
ZERO_POINT = 22.5  # magnitude of one nanomaggy
CENTRE = (STAMP_SIZE - 1) / 2  # 31.5: the one centre, of rows and of columns
CORE_RADIUS = 5.0  # pixels; the core is r < 5
CORE_BOX = slice(27, 37)  # rows and columns of the core box
OUTER_ANNULUS = (20.0, 32.0)  # pixels, lower end included
MASK_RADII = (0, 3, 5, 7, 10, 15)  # pixels, of the core reliance curve
PROFILE_RINGS = 32  # annuli k <= r < k + 1 kept in the evaluation arrays

# -- rows -----------------------------------------------------------------------------------
SPLITS = ("train", "val", "test")
NEGATIVE_KINDS = ("control", "ring", "spiral", "merger", "blue_companion")
LOOKALIKES = NEGATIVE_KINDS[1:]
PAIRINGS = ("paired", "unpaired")
THETA_E_BINS = (0.5, 0.75, 1.0, 1.5, 2.0, 2.5)  # arcsec

# One row a stamp. Rows with label 0 have NaN in theta_e_arcsec, arc_snr and arc_snr_shot: an
# arc_snr of 0 means "injected, but invisible", never "no arc".
TABLE_COLUMNS: dict[str, str] = {
    "stamp_id": "U64",  # unique
    "pair_id": "U64",  # shared by a stamp and its control; a look-alike's is its own
    "lrg_id": "U64",  # the host galaxy
    "brick": "U16",  # 0.25 deg x 0.25 deg tile of sky
    "ra": "f8",  # degrees
    "dec": "f8",  # degrees
    "split": "U5",  # train, val or test
    "label": "i1",  # 1: lensed arc; 0: none
    "negative_kind": "U16",  # NEGATIVE_KINDS; empty for label 1
    "theta_e_arcsec": "f4",  # Einstein radius
    "arc_snr": "f4",  # integrated over the stamp, r band, sky noise only
    "arc_snr_shot": "f4",  # with the shot noise of the control's galaxies; NaN where unknown
    "psf_fwhm_arcsec": "f4",  # r band
    "psf_depth": "f4",  # 5-sigma point source, r band, magnitudes
    "psf_bin": "i1",
    "depth_bin": "i1",
    "ebv": "f4",  # magnitudes; NaN where unknown
    "pixel_scale_arcsec": "f4",
    "source_file": "U255",  # where the row was read, relative to the data root
    "source_row": "i4",
}

# Evaluation arrays, eval/{val,test}.npz (docs/formats.md has shapes and units).
EVAL_TABLE_COLUMNS = (
    "stamp_id",
    "pair_id",
    "lrg_id",
    "brick",
    "label",
    "negative_kind",
    "theta_e_arcsec",
    "arc_snr",
    "arc_snr_shot",
    "psf_fwhm_arcsec",
    "psf_depth",
    "psf_bin",
    "depth_bin",
    "ebv",
    "pixel_scale_arcsec",
)

# Ranges that a healthy run keeps to, by epoch (1-based); outside them training warns and the
# report shades them. No gate reads them.
EXPECTED_TRAIN_LOSS = {1: (0.3, 1.0), 5: (0.15, 0.5), 10: (0.1, 0.3)}
EXPECTED_VAL_AUROC = {1: (0.55, 0.70), 5: (0.70, 0.85), 10: (0.80, 0.92)}


# Signs of an unhealthy run: likely cause, and what to do. Training warns of them every epoch, the
# gates' measures list them. No gate reads them.
MEMORISED_LOSS = 0.01  # training loss below
OVERFITTING_GAP = 0.1  # train less validation AUROC above
SHORTCUT_AUC = 0.80  # core LR AUC above
RED_FLAGS: dict[str, tuple[str, str]] = {
    "loss_not_finite": (
        "NaN in the data, or exploding gradients",
        "Check data validation, reduce the learning rate",
    ),
    "perfect_auroc": ("a leak, or a trivial task", "Check split integrity and the core gates"),
    "core_shortcut": (
        "the central 10 x 10 pixels give the class away, and core dropout cannot change that",
        "Change the preprocessing or the data, and look at the model's core gates",
    ),
    "memorised": ("memorised", "Regularise, stop early"),
    "overfitting": ("overfitting", "More augmentation, less capacity"),
}


class ExitCode(enum.IntEnum):
    """Exit codes of every command; any other is a bug."""

    OK = 0
    USAGE = 2
    STALLED = 3
    DATA_INVALID = 10
    LEAK = 11
    MISMATCH = 12
    IN_USE = 13
    NO_CHECKPOINT = 14
    NON_FINITE = 15
    RESOURCE = 16
    REFUSED_INPUT = 17
    GATE_FAILED = 20
    INCONCLUSIVE = 21
    GATE_INPUT_INVALID = 22
    STOPPED = 75


class LensjaxError(Exception):
    """What went wrong, where, and what to do: one line for the reader, and an exit code.

    `what`, `where` and `remedy` may hold text from files: control characters are escaped.
    """

    def __init__(self, code: ExitCode, what: str, where: str = "", remedy: str = ""):
        self.code, self.what, self.where, self.remedy = code, what, where, remedy
        super().__init__(what)

    def __reduce__(self) -> tuple:
        """From a worker process whole: the default would call with `what` alone."""
        return type(self), (self.code, self.what, self.where, self.remedy)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return printable(f"{text}. {self.remedy}" if self.remedy else text)


def printable(text: str) -> str:
    """`text` with control and other unprintable characters escaped, so that a file name cannot
    write to the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def radius_map() -> np.ndarray:
    """Distance of every pixel from the centre (31.5, 31.5): float64 [64, 64], pixels."""
    offset = np.arange(STAMP_SIZE) - CENTRE
    return np.hypot(offset[:, None], offset[None, :])


# -- words of the config ----------------------------------------------------------------------
# Here, so that a config can be checked without jax; the rooms of the same name have the functions.
PREPROCESSINGS = ("raw_robust", "residual_radial_profile")
DROPOUT_MODES = ("outer_median", "zero", "noise")  # what a masked core is filled with
CONVOLUTIONS = ("auto", "lax", "patches")
MODEL_DTYPES = ("auto", "float32", "bfloat16")

# Columns that may tell the label by themselves: asked by phase 0 and by a gate.
METADATA = ("psf_fwhm_arcsec", "psf_depth", "ebv")

# -- noise --------------------------------------------------------------------------------------
MAD_TO_SIGMA = 1.4826  # of a normal distribution
MIN_MAD_OF_RANGE = 1e-6  # of a band; a smaller MAD of the outer annulus is an error (contracts.md)
