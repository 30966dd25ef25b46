"""From a config to the objects that train: the only file of this room that sees the config.

trainer = make_trainer(config)
state = init_state(trainer.model, trainer.recipe)
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from jax.sharding import Mesh

from lensjax.configuration import Config
from lensjax.training import model as resnet
from lensjax.training.augment import mask_schedule
from lensjax.training.divergence import Limit
from lensjax.training.feed import Predictor, data_mesh
from lensjax.training.loop import Plan
from lensjax.training.step import Examine, Recipe, TrainStep, make_examine, make_train_step

DETERMINISTIC = "--xla_gpu_deterministic_ops=true"


def ask_for_determinism() -> None:
    """Have XLA choose kernels that give the same bits every time (config `deterministic`).

    XLA reads its flags once, when the first device is asked for: call it before. On a CPU the bits
    are the same anyhow; on a GPU sums of many threads are else in any order, and which kernel is
    the fastest is timed anew.
    """
    given = os.environ.get("XLA_FLAGS", "")
    if DETERMINISTIC not in given.split():
        os.environ["XLA_FLAGS"] = f"{given} {DETERMINISTIC}".strip()


@dataclass(frozen=True)
class Trainer:
    """What a run trains with, bound to its values once."""

    mesh: Mesh
    recipe: Recipe
    plan: Plan
    model: resnet.ResNet18
    train_step: TrainStep
    examine: Examine
    limit: Limit
    predict: Predictor


def make_recipe(config: Config) -> Recipe:
    """The values a training step is bound to."""
    radius, probability = mask_schedule(config.epochs, config.core_dropout.schedule)
    return Recipe(
        seed=config.seed,
        dihedral=config.augment.dihedral,
        hard_negative_fraction=config.augment.hard_negative_fraction,
        preprocessing=config.preprocessing.name,
        clip=config.preprocessing.clip,
        dropout_radius=tuple(float(r) for r in radius),
        dropout_probability=tuple(float(p) for p in probability),
        dropout_mode=config.core_dropout.mode,
        soft_edge_px=config.core_dropout.soft_edge_px,
        weight_decay=config.optimizer.weight_decay,
        clip_norm=config.optimizer.clip_norm,
        label_smoothing=config.optimizer.label_smoothing,
        ema_decay=config.optimizer.ema_decay,
    )


def make_trainer(config: Config) -> Trainer:
    """Everything a run trains with.

    Raises:
        LensjaxError: exit 2 when the batch does not divide over the devices.
    """
    recipe = make_recipe(config)
    model = resnet.build(**config.model.to_dict())
    plan = Plan(
        epochs=config.epochs,
        batch_size=config.batch_size,
        patience=config.patience,
        checkpoint_steps=config.checkpoint.every_steps,
        peak=config.optimizer.learning_rate,
        final=config.optimizer.final_learning_rate,
        warmup_fraction=config.optimizer.warmup_fraction,
    )
    return Trainer(
        mesh=data_mesh(config.batch_size),
        recipe=recipe,
        plan=plan,
        model=model,
        train_step=make_train_step(model, recipe),
        examine=make_examine(model, recipe),
        limit=Limit(config.divergence.factor, config.divergence.steps),
        predict=Predictor(model),
    )
