"""What all experiments share: the simulated default data, ResNet-18, AdamW, 50 epochs.

One field, one comment: unit or reason. An experiment file changes what it is about
(`data.pairing`, `preprocessing`, `core_dropout`, `augment`); the variants change size alone:

    full    50 epochs; 20,000 simulated hosts, or your own stamps (--config.data.root=DIR)
    demo    10 epochs of a narrow ResNet-18; 8,100 hosts with wide, bright arcs: minutes on 2 cores
    tiny    2 epochs; 120 hosts: seconds, for tests; never evidence

Hosts are those of train, val and test together.
"""

from __future__ import annotations

import difflib

from ml_collections import ConfigDict, config_dict

from lensjax.schema import ExitCode, LensjaxError

VARIANTS = ("full", "demo", "tiny")
NO_DROPOUT = ((0.0, 0.0, 0.0),)


def experiment(name: str, variant: str) -> ConfigDict:
    """The common config of experiment `name` in the size of `variant` ('' is full).

    Raises:
        LensjaxError: exit 2 for an unknown variant.
    """
    variant = variant or "full"
    if variant not in VARIANTS:
        close = difflib.get_close_matches(variant, VARIANTS, n=1, cutoff=0.0)[0]
        raise LensjaxError(
            ExitCode.USAGE, f"unknown variant {variant!r}", f"{name}", f"Did you mean :{close}?"
        )
    config = ConfigDict()
    config.experiment = name
    config.variant = variant
    config.seed = 42  # initialisation, order of stamps, augmentation
    config.protocol = "configs/protocols/default.json"  # thresholds, fixed before training
    config.epochs = 50
    config.batch_size = 128  # stamps, over all devices together
    config.patience = 15  # epochs without a better validation AUROC before training ends
    config.deterministic = False  # ask the accelerator for bitwise repeatable kernels

    config.data = ConfigDict()
    config.data.source = "sim"  # sim, parquet, fits, npz, npy, hdf5
    config.data.root = config_dict.placeholder(str)  # folder of train/, val/, test/
    config.data.manifest = config_dict.placeholder(str)  # of python -m lensjax.data split
    config.data.unit = ""  # of fits, npz, npy, hdf5; empty: the files say it
    config.data.zero_point = config_dict.placeholder(float)  # magnitude of one unit (a second)
    config.data.pixel_scale_arcsec = config_dict.placeholder(float)  # likewise
    config.data.bands = ""  # of cubes, as grz; empty: the files say it
    config.data.resample = False  # of fits: to 0.262 arcsec a pixel
    # processes that read and check; 0: one a processor; a set of a few seconds is read by one
    config.data.workers = 0
    config.data.anchors = config_dict.placeholder(str)  # CSV of real lenses
    config.data.contaminants = config_dict.placeholder(str)  # CSV of real look-alikes
    config.data.cache_dir = "~/.cache/lensjax"  # prepared sets, once each
    config.data.reader = "auto"  # tf.data where TensorFlow is installed, else arrays
    config.data.seed = 42  # of the simulated set and of the unpaired manifest
    config.data.pairing = "unpaired"  # paired, unpaired: do the classes share hosts?
    config.data.proportions = (0.70, 0.15, 0.15)  # of hosts in train, val, test; held within 0.03
    config.data.pairs = (11_200, 2_400, 2_400)  # simulated hosts with an arc and a control
    config.data.lookalikes = (2_800, 600, 600)  # rings, spirals, mergers, blue companions
    config.data.hosts_per_brick = 20  # a brick is 0.25 deg x 0.25 deg

    # stamps of those real lenses and look-alikes, which evaluation scores; each a flat folder
    config.catalogue_stamps = ConfigDict()
    config.catalogue_stamps.anchors = config_dict.placeholder(str)  # of the rows of data.anchors
    config.catalogue_stamps.contaminants = config_dict.placeholder(str)  # of data.contaminants
    config.catalogue_stamps.source = "fits"  # fits, npz, npy, hdf5; the rest as of data.source
    config.catalogue_stamps.unit = ""
    config.catalogue_stamps.zero_point = config_dict.placeholder(float)
    config.catalogue_stamps.pixel_scale_arcsec = config_dict.placeholder(float)
    config.catalogue_stamps.bands = ""
    config.catalogue_stamps.resample = False

    config.population = ConfigDict()  # of the simulated arcs
    config.population.theta_e = (0.5, 2.5)  # Einstein radius, arcsec, uniform
    config.population.arc_snr = (3.0, 50.0)  # integrated, r band, sky noise only, log-uniform

    config.preprocessing = ConfigDict()
    config.preprocessing.name = "residual_radial_profile"  # raw_robust, residual_radial_profile
    config.preprocessing.clip = 100.0  # sky sigmas; 10 would cut 29 % of the core's pixels

    config.augment = ConfigDict()
    config.augment.dihedral = True  # flips and 90-degree rotations, drawn anew every epoch
    config.augment.hard_negative_fraction = 0.0  # of training controls, drawn anew every epoch

    config.core_dropout = ConfigDict()
    # (from this fraction of the epochs on, radius in pixels, probability per stamp), ...
    config.core_dropout.schedule = NO_DROPOUT
    config.core_dropout.mode = "outer_median"  # outer_median, zero, noise
    config.core_dropout.soft_edge_px = 0.0  # width of the ramp at the edge; 0: a hard edge

    config.model = ConfigDict()
    config.model.width = 64  # channels of the first stage
    config.model.asinh_softening = 3.0  # sky sigmas; inputs x become asinh(x / softening); 0: off
    config.model.conv = "auto"  # lax, patches; auto picks by backend, the numbers agree
    config.model.dtype = "auto"  # bfloat16 on accelerators, float32 on a CPU

    config.optimizer = ConfigDict()  # AdamW, cosine with linear warm-up
    config.optimizer.learning_rate = 1e-4  # peak
    config.optimizer.final_learning_rate = 1e-6
    config.optimizer.weight_decay = 1e-4  # kernels only
    config.optimizer.warmup_fraction = 0.02  # of all steps
    config.optimizer.clip_norm = 1.0  # of the whole gradient; 0: off
    config.optimizer.label_smoothing = 0.0  # 0.1 trains towards 0.05 and 0.95
    config.optimizer.ema_decay = 0.0  # of the evaluated weights; 0: the weights themselves

    # Training has diverged, and stops, where its loss, as a mean of 20 steps, is over `factor`
    # times its running median (ln 2 at least, the loss of a model that knows nothing) for `steps`
    # steps. At 10 that is 6.9 nats or more: of 731 epochs of 89 runs none had a mean over 1.8,
    # first steps and warm-up included.
    config.divergence = ConfigDict()
    config.divergence.factor = 10.0
    config.divergence.steps = 60  # three looks: not one odd batch, nor a change of the schedule

    config.checkpoint = ConfigDict()
    config.checkpoint.every_steps = 2_000  # beside one at the end of each epoch
    if variant == "demo":
        _demo(config)
    if variant == "tiny":
        _tiny(config)
    return config


def _demo(config: ConfigDict) -> None:
    """A population plain enough for minutes of training; no gate is softened."""
    config.epochs = 10
    config.batch_size = 64
    config.patience = 10
    config.data.proportions = (0.49, 0.255, 0.255)
    config.data.pairs = (3_200, 1_640, 1_640)
    config.data.lookalikes = (800, 410, 410)
    config.population.theta_e = (1.5, 2.5)
    config.population.arc_snr = (8.0, 50.0)
    config.model.width = 16
    config.optimizer.learning_rate = 2e-3
    config.optimizer.warmup_fraction = 0.1


def _tiny(config: ConfigDict) -> None:
    """Everything runs, nothing is learnt."""
    config.epochs = 2
    config.batch_size = 16
    config.data.proportions = (0.5, 0.25, 0.25)
    config.data.pairs = (48, 24, 24)
    config.data.lookalikes = (12, 6, 6)
    config.data.hosts_per_brick = 6
    config.population.theta_e = (1.5, 2.5)
    config.population.arc_snr = (8.0, 50.0)
    config.model.width = 4
    config.optimizer.learning_rate = 2e-3
