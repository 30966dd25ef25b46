"""B4: unpaired stamps, residual profile, light core masking.

Claim: r < 3 px in 30 % of the stamps, B3's last stage from the start: is the schedule needed?

    python main.py --config=configs/b4.py:demo --workdir=runs/b4
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """The config in the size of `variant`: '' (full), demo or tiny."""
    config = common.experiment("b4", variant)
    config.data.pairing = "unpaired"
    config.core_dropout.schedule = ((0.0, 3.0, 0.3),)
    return config
