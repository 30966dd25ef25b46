"""B2: unpaired stamps, residual profile, half of the stamps with the core (r < 5 px) masked.

Claim: a network that sees every second core replaced by sky cannot make the core its only
evidence; B1 without it is the control.

    python main.py --config=configs/b2.py:demo --workdir=runs/b2
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """The config in the size of `variant`: '' (full), demo or tiny."""
    config = common.experiment("b2", variant)
    config.data.pairing = "unpaired"
    config.core_dropout.schedule = ((0.0, 5.0, 0.5),)
    return config
