"""One update: gather, augment, forward, backward, apply. Pure, jitted once, on 1 device or many.

    step = make_train_step(model, recipe)
    state, loss = step(state, source, batch)

`source` holds the arrays that rows are gathered from, `batch` says which rows, in which epoch, at
which learning rate, augmented or not. Both are traced: preflight runs the very program that trains.
All randomness comes from (seed, epoch, stamp id), so a batch is the same whenever it is computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from lensjax.training import augment, hard_negatives
from lensjax.training import model as resnet
from lensjax.training.preprocess import preprocess

State = dict[str, Any]
Source = dict[str, jax.Array]
Batch = dict[str, jax.Array]
TrainStep = Callable[[State, Source, Batch], tuple[State, jax.Array]]
Examine = Callable[[State, Source, Batch], dict[str, Any]]
Update = Callable[[State, jax.Array, jax.Array, jax.Array], tuple[State, jax.Array, Any]]


@dataclass(frozen=True)
class Recipe:
    """The values a step is bound to. Radii in pixels; schedules hold one entry an epoch."""

    seed: int
    dihedral: bool
    hard_negative_fraction: float
    preprocessing: str
    clip: float
    dropout_radius: tuple[float, ...]
    dropout_probability: tuple[float, ...]
    dropout_mode: str
    soft_edge_px: float
    weight_decay: float
    clip_norm: float
    label_smoothing: float
    ema_decay: float


def make_optimizer(recipe: Recipe) -> optax.GradientTransformation:
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) without the learning rate, which the batch
    brings: clipped by global norm, decay on kernels only."""
    clip = optax.clip_by_global_norm(recipe.clip_norm) if recipe.clip_norm else optax.identity()

    def kernels(params):
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    decay = optax.add_decayed_weights(recipe.weight_decay, mask=kernels)
    return optax.chain(clip, optax.scale_by_adam(), decay)


def learning_rate(
    step: int, total: int, *, peak: float, final: float, warmup_fraction: float
) -> float:
    """Linear warm-up to `peak`, half a cosine to `final` at step `total` (arXiv:1608.03983)."""
    warmup = max(1, round(total * warmup_fraction))
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return final + (peak - final) * 0.5 * (1 + math.cos(math.pi * progress))


def init_state(model: resnet.ResNet18, recipe: Recipe) -> State:
    """The state before the first step: plain nested dicts of arrays.

    `bad_step` is -1, or the step at which something was not finite: from then on the state
    does not move. `sums` are of the running epoch.
    """
    variables = resnet.init(model, recipe.seed)
    state = {
        "step": np.int32(0),
        "bad_step": np.int32(-1),
        "params": variables["params"],
        "batch_stats": variables["batch_stats"],
        "opt_state": resnet.plain(make_optimizer(recipe).init(variables["params"])),
        "sums": {"loss": np.float32(0), "grad_norm": np.float32(0), "steps": np.float32(0)},
    }
    if recipe.ema_decay:
        state["ema"] = variables
    return jax.tree.map(jnp.array, state)


def evaluated_variables(state: State) -> resnet.Variables:
    """The weights that evaluation judges: the moving average where there is one."""
    if "ema" in state:
        return state["ema"]
    return {"params": state["params"], "batch_stats": state["batch_stats"]}


def augmented(recipe: Recipe, source: Source, batch: Batch) -> tuple[jax.Array, jax.Array]:
    """The model's inputs float32 [b, 64, 64, 3] and labels float32 [b] of one batch.

    In this order: hard negatives (raw pixels, then preprocessed), the dihedral group, core dropout.
    """
    rows, epochs, on = batch["rows"], batch["epochs"], batch["augment"]
    labels = source["labels"][rows].astype(jnp.float32)
    inputs = source["inputs"][rows]
    fill = source["fill_median"][rows], source["fill_sigma"][rows]
    keys = augment.stamp_keys(jax.random.key(recipe.seed), epochs, source["ids"][rows])
    symmetry, shuffle, chosen, dropout = jax.vmap(lambda k: tuple(jax.random.split(k, 4)))(keys)
    if recipe.hard_negative_fraction:
        partner = source["partner"][rows]
        control, stamp = source["stamps"][rows], source["stamps"][jnp.maximum(partner, 0)]
        hard = preprocess(
            hard_negatives.hard_negative(shuffle, stamp, control), recipe.preprocessing, recipe.clip
        )
        draw = jax.vmap(jax.random.uniform)(chosen) < recipe.hard_negative_fraction * on
        use = draw & (labels == 0) & (partner >= 0)
        inputs = jnp.where(use[:, None, None, None], hard, inputs)
        median, sigma = augment.core_fill(hard)
        here = use[:, None]
        fill = jnp.where(here, median, fill[0]), jnp.where(here, sigma, fill[1])
    if recipe.dihedral:
        inputs = augment.dihedral(augment.draw_dihedral(symmetry) * on.astype(jnp.int32), inputs)
    if any(recipe.dropout_probability):
        epoch = jnp.minimum(epochs, len(recipe.dropout_radius) - 1)
        inputs = augment.core_dropout(
            dropout,
            inputs,
            fill,
            jnp.asarray(recipe.dropout_radius, jnp.float32)[epoch],
            jnp.asarray(recipe.dropout_probability, jnp.float32)[epoch] * on,
            mode=recipe.dropout_mode,
            soft_edge_px=recipe.soft_edge_px,
        )
    return inputs, labels


def make_train_step(model: resnet.ResNet18, recipe: Recipe) -> TrainStep:
    """`train_step(state, source, batch) -> (state, loss)`, jitted, the state donated.

    source: `inputs` float32 [n, 64, 64, 3], `labels` int8 [n], `ids` int32 [n], `fill_median` and
        `fill_sigma` float32 [n, 3]; with hard negatives `stamps` (raw, nanomaggies) and `partner`
        int32 [n] (row of the pair's other member, -1 where there is none).
    batch: `rows` int32 [b], `epochs` int32 [b], `learning_rate` and `augment` (0 or 1) float32.
    """
    update = _make_update(model, recipe)

    def train_step(state: State, source: Source, batch: Batch) -> tuple[State, jax.Array]:
        inputs, labels = augmented(recipe, source, batch)
        new, loss, _ = update(state, inputs, labels, batch["learning_rate"])
        return _guarded(state, new), loss

    return jax.jit(train_step, donate_argnums=0)


def make_examine(model: resnet.ResNet18, recipe: Recipe) -> Examine:
    """`examine(state, source, batch)`: all that the step makes of them, unguarded, the state kept.

    For the step that was refused: called once, after the fact, so that looking costs the steps
    nothing. Gives `inputs` float32 [b, 64, 64, 3] and `labels` float32 [b] as the model saw them,
    `loss`, `gradient` (as the parameters) and `new` (the state that was refused).
    """
    update = _make_update(model, recipe)

    def examine(state: State, source: Source, batch: Batch) -> dict[str, Any]:
        inputs, labels = augmented(recipe, source, batch)
        new, loss, grads = update(state, inputs, labels, batch["learning_rate"])
        return {"inputs": inputs, "labels": labels, "loss": loss, "gradient": grads, "new": new}

    return jax.jit(examine)


def _make_update(model: resnet.ResNet18, recipe: Recipe) -> Update:
    """`update(state, inputs, labels, rate) -> (new state, loss, gradient)`, unguarded."""
    optimizer = make_optimizer(recipe)

    def loss_of(params, batch_stats, inputs, labels):
        variables = {"params": params, "batch_stats": batch_stats}
        logits, moved = resnet.apply_train(model, variables, inputs)
        targets = smoothed(labels, recipe.label_smoothing)
        return optax.sigmoid_binary_cross_entropy(logits, targets).mean(), moved

    def update(state: State, inputs: jax.Array, labels: jax.Array, rate: jax.Array):
        params = state["params"]
        (loss, batch_stats), grads = jax.value_and_grad(loss_of, has_aux=True)(
            params, state["batch_stats"], inputs, labels
        )
        grad_norm = optax.tree.norm(grads)
        opt_state = resnet.restored(optimizer.init(params), state["opt_state"])
        updates, opt_state = optimizer.update(grads, opt_state, params)
        params = jax.tree.map(lambda p, u: p - rate * u, params, updates)
        new = {
            **state,
            "step": state["step"] + 1,
            "params": params,
            "batch_stats": batch_stats,
            "opt_state": resnet.plain(opt_state),
            "sums": _added(state["sums"], loss, grad_norm),
        }
        if recipe.ema_decay:
            new["ema"] = _moved(state["ema"], new, recipe.ema_decay)
        return new, loss, grads

    return update


def smoothed(labels: jax.Array, amount: float) -> jax.Array:
    """Targets for labels 0 and 1: amount / 2 and 1 - amount / 2 (arXiv:1512.00567, section 7)."""
    return labels * (1 - amount) + 0.5 * amount


def _added(sums: State, loss: jax.Array, grad_norm: jax.Array) -> State:
    return {
        "loss": sums["loss"] + loss,
        "grad_norm": sums["grad_norm"] + grad_norm,
        "steps": sums["steps"] + 1,
    }


def _moved(ema: State, new: State, decay: float) -> State:
    """The moving average, its memory growing with the steps so that the start is forgotten."""
    step = new["step"].astype(jnp.float32)
    keep = jnp.minimum(decay, (1 + step) / (10 + step))
    current = {"params": new["params"], "batch_stats": new["batch_stats"]}
    return jax.tree.map(lambda e, p: e * keep + p * (1 - keep), ema, current)


def _is_finite(new: State) -> jax.Array:
    """Are loss, gradient, parameters and batch statistics finite?

    The sums hold the loss and the gradient's norm, and so every gradient and what Adam makes of
    them. In one vector: a reduction a leaf takes XLA 20 s longer to compile.
    """
    parts = jax.tree.leaves([new["sums"], new["params"], new["batch_stats"]])
    return jnp.isfinite(jnp.concatenate([part.ravel() for part in parts])).all()


def _guarded(old: State, new: State) -> State:
    """`new` if everything is finite and always was, else `old` with `bad_step` set."""
    new = lax.optimization_barrier(new)  # else the update is compiled into each of its readers
    finite = _is_finite(new)
    good = finite & (old["bad_step"] < 0)
    kept = jax.tree.map(lambda a, b: jnp.where(good, b, a), old, new)
    bad_step = jnp.where(finite | (old["bad_step"] >= 0), old["bad_step"], old["step"])
    return {**kept, "bad_step": bad_step}
