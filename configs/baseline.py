"""baseline: paired raw_robust stamps with hard negatives and core dropout.

Claim: the ablations' full recipe. 40 % of the training controls carry the azimuthally shuffled arc
of their partner, so that flux alone, or flux in the core, is no evidence; half of all stamps have
the core masked. no_hardneg, no_coredrop and minimal switch each off.

    python main.py --config=configs/baseline.py:demo --workdir=runs/baseline
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """The config in the size of `variant`: '' (full), demo or tiny."""
    config = common.experiment("baseline", variant)
    config.data.pairing = "paired"
    config.preprocessing.name = "raw_robust"
    config.augment.hard_negative_fraction = 0.4
    config.core_dropout.schedule = ((0.0, 5.0, 0.5),)
    return config
