"""no_hardneg: the baseline without hard negatives.

Claim: against the baseline, what shuffled arcs among the negatives are worth.

    python main.py --config=configs/no_hardneg.py:demo --workdir=runs/no_hardneg
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """The config in the size of `variant`: '' (full), demo or tiny."""
    config = common.experiment("no_hardneg", variant)
    config.data.pairing = "paired"
    config.preprocessing.name = "raw_robust"
    config.core_dropout.schedule = ((0.0, 5.0, 0.5),)
    return config
