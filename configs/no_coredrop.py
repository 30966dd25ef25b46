"""no_coredrop: the baseline without core dropout.

Claim: against the baseline, what masking the core is worth.

    python main.py --config=configs/no_coredrop.py:demo --workdir=runs/no_coredrop
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """The config in the size of `variant`: '' (full), demo or tiny."""
    config = common.experiment("no_coredrop", variant)
    config.data.pairing = "paired"
    config.preprocessing.name = "raw_robust"
    config.augment.hard_negative_fraction = 0.4
    return config
