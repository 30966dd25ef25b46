"""Small synthetic stamps (a galaxy, arcs, rings, noise), and one compiled step for all tests."""

import jax
import numpy as np
import pytest

from lensjax import schema
from lensjax.data.manifest import manifest_mask
from lensjax.data.stampset import StampSet, build_table, canonical
from lensjax.training import model as resnet
from lensjax.training.divergence import Limit
from lensjax.training.feed import Predictor, TrainFeed, data_mesh, model_inputs, replicated
from lensjax.training.loop import Plan
from lensjax.training.step import Recipe, init_state, make_train_step

RADIUS = schema.radius_map().astype(np.float32)
ANGLE = np.arctan2(*(np.indices(RADIUS.shape) - schema.CENTRE)).astype(np.float32)
SIGMA = np.array([0.02, 0.03, 0.05], np.float32)  # nanomaggies a pixel, sky
SHAPE = {"name": "residual_radial_profile", "clip": 100.0}
BATCH = 16


def galaxy(rng):
    """A round galaxy and sky noise: float32 [64, 64, 3]."""
    profile = np.exp(-RADIUS / rng.uniform(2, 4))[..., None] * np.float32([0.5, 1.0, 1.5])
    return profile + SIGMA * rng.standard_normal(schema.STAMP_SHAPE, np.float32) + 0.01


def arc(rng, theta_e):
    """A bright arc over a third of a circle of `theta_e` arcsec: float32 [64, 64, 3]."""
    ring = np.exp(-(((RADIUS - theta_e / schema.PIXEL_SCALE_ARCSEC) / 1.3) ** 2))
    bent = np.exp(2.5 * (np.cos(ANGLE - rng.uniform(-3, 3)) - 1))
    return (ring * bent)[..., None] * np.float32([0.4, 0.3, 0.25])


def make_set(split, pairs, lookalikes, seed=0):
    """`pairs` lenses with their controls, and `lookalikes` ring galaxies, in canonical order."""
    rng = np.random.default_rng([seed, schema.SPLITS.index(split)])
    rows, stamps = [], []

    def add(name, host, label, kind, theta_e, stamp):
        rows.append(
            {
                "stamp_id": f"{split}{host:03d}{name}",
                "pair_id": f"{split}{host:03d}",
                "lrg_id": f"{split}{host:03d}",
                "brick": f"{split}{host // 4:03d}",
                "ra": 10.0 * schema.SPLITS.index(split) + 0.1 * host,
                "dec": 1.0,
                "split": split,
                "label": label,
                "negative_kind": kind,
                "theta_e_arcsec": theta_e,
                "arc_snr": 20.0 if label else np.nan,
                "arc_snr_shot": 19.0 if label else np.nan,
                "psf_fwhm_arcsec": 1.2,
                "psf_depth": 23.5,
                "psf_bin": host % 2,
                "depth_bin": 0,
                "ebv": np.nan,
                "pixel_scale_arcsec": schema.PIXEL_SCALE_ARCSEC,
                "source_file": "made",
                "source_row": len(rows),
            }
        )
        stamps.append(stamp.astype(np.float32))

    for host in range(pairs):
        control, theta_e = galaxy(rng), rng.uniform(1.5, 2.5)
        add("c", host, 0, "control", np.nan, control)
        add("s", host, 1, "", theta_e, control + arc(rng, theta_e))
    for host in range(pairs, pairs + lookalikes):
        ring = np.exp(-(((RADIUS - rng.uniform(5, 9)) / 1.3) ** 2))[..., None]
        add("r", host, 0, "ring", np.nan, galaxy(rng) + 0.2 * ring)
    table = build_table({name: [row[name] for row in rows] for name in schema.TABLE_COLUMNS})
    return canonical(StampSet(split, table, np.stack(stamps), "arrays"))


@pytest.fixture(scope="session")
def train_set():
    return make_set("train", pairs=24, lookalikes=6)


@pytest.fixture(scope="session")
def val_set():
    return make_set("val", pairs=12, lookalikes=4)


def make_recipe(**changes):
    """All that a recipe can have, switched on, and `changes`."""
    values = {
        "seed": 7,
        "dihedral": True,
        "hard_negative_fraction": 0.5,
        "preprocessing": SHAPE["name"],
        "clip": SHAPE["clip"],
        "dropout_radius": (7.0, 5.0, 3.0),
        "dropout_probability": (0.7, 0.5, 0.3),
        "dropout_mode": "outer_median",
        "soft_edge_px": 0.0,
        "weight_decay": 1e-4,
        "clip_norm": 1.0,
        "label_smoothing": 0.0,
        "ema_decay": 0.9,
    }
    return Recipe(**values | changes)


def not_finite(state, source, batch):
    """What `make_examine` gives of a batch whose loss is NaN."""
    rows = np.asarray(batch["rows"])
    inputs, labels = np.asarray(source["inputs"])[rows], np.asarray(source["labels"])[rows]
    made = {"inputs": inputs, "labels": labels.astype(np.float32), "loss": np.float32(np.nan)}
    return {**made, "gradient": state["params"], "new": state}


class Bench:
    """A model, its step and its data, compiled once for all tests."""

    def __init__(self, train_set, val_set):
        self.recipe = make_recipe()
        self.model = resnet.ResNet18(4, 3.0, "patches", stages=(1, 1, 1, 1))  # half to compile
        self.train_step = make_train_step(self.model, self.recipe)
        self.examine = not_finite  # the real one compiles as long as the step: test_numerics has it
        self.limit = Limit(10.0, 60)
        self.predict = Predictor(self.model)
        self.mesh = data_mesh(BATCH)
        mask = manifest_mask(train_set.table, "unpaired", 42)
        self.feed = TrainFeed(
            train_set, mask, self.mesh, seed=7, batch_size=BATCH, hard_negatives=True, **SHAPE
        )
        self.val_inputs = model_inputs(val_set.stamps, **SHAPE)
        self.val_labels = val_set.table["label"]

    def state(self):
        """A fresh state: a step donates the one that it is given."""
        return jax.device_put(init_state(self.model, self.recipe), replicated(self.mesh))

    def plan(self, **changes):
        values = {"epochs": 3, "batch_size": BATCH, "patience": 9, "checkpoint_steps": 1000}
        values |= {"peak": 3e-3, "final": 1e-5, "warmup_fraction": 0.1}
        return Plan(**values | changes)


@pytest.fixture(scope="session")
def bench(train_set, val_set):
    return Bench(train_set, val_set)


@pytest.fixture(autouse=True, scope="session")
def small_chunks():
    """Chunks of a few stamps: the sets here are small, and several chunks are then needed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lensjax.training.feed.CHUNK", 16)
        yield


def same(a, b):
    """Are two trees equal, bit for bit?"""
    return jax.tree.structure(a) == jax.tree.structure(b) and jax.tree.all(
        jax.tree.map(lambda x, y: np.array_equal(np.asarray(x), np.asarray(y)), a, b)
    )
