"""B1: unpaired stamps, residual profile, no core masking.

Claim: A1 with hosts of their own for each class, as on the sky. Against A1 it shows what pairing
hides or gives away: the classes are matched in PSF and depth bins, not pixel by pixel.

    python main.py --config=configs/b1.py:demo --workdir=runs/b1
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """The config in the size of `variant`: '' (full), demo or tiny."""
    config = common.experiment("b1", variant)
    config.data.pairing = "unpaired"
    return config
