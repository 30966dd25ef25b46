"""A1: paired stamps, residual profile, no core masking.

Claim: the plain way. Stamp and control of one host stand on both sides of the label, so that
nothing but the arc (and what preprocessing leaves of it in the core) can tell them apart; the model
may still lean on the core, which `core_only_auroc` and `core_reliance` show.

    python main.py --config=configs/a1.py:demo --workdir=runs/a1
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant: str = "") -> ConfigDict:
    """The config in the size of `variant`: '' (full), demo or tiny."""
    config = common.experiment("a1", variant)
    config.data.pairing = "paired"
    return config
