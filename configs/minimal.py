"""minimal: the baseline without hard negatives and without core dropout.

Claim: the control of the ablations; its core gates show the shortcut unhindered.

    python main.py --config=configs/minimal.py:demo --workdir=runs/minimal
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """The config in the size of `variant`: '' (full), demo or tiny."""
    config = common.experiment("minimal", variant)
    config.data.pairing = "paired"
    config.preprocessing.name = "raw_robust"
    return config
