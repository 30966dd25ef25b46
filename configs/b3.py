"""B3: unpaired stamps, residual profile, core masking scheduled from wide to narrow.

Claim: masked wide and often at first (r < 7 px, 70 %), the network must learn arcs before it may
look at cores; then r < 5 px, 50 %, and r < 3 px, 30 %, so that small arcs are not lost.

    python main.py --config=configs/b3.py:demo --workdir=runs/b3
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """The config in the size of `variant`: '' (full), demo or tiny."""
    config = common.experiment("b3", variant)
    config.data.pairing = "unpaired"
    config.core_dropout.schedule = ((0.0, 7.0, 0.7), (0.2, 5.0, 0.5), (0.6, 3.0, 0.3))
    return config
