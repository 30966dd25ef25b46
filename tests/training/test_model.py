"""ResNet-18: the two forms of a convolution agree, and evaluation moves nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from lensjax.training import model as resnet

apply_eval = jax.jit(resnet.apply_eval, static_argnums=0)
apply_train = jax.jit(resnet.apply_train, static_argnums=0)


def build(width=4, **changes):
    return dataclasses.replace(
        resnet.build(width=width, asinh_softening=3.0, conv="patches", dtype="float32"), **changes
    )


def small(**changes):
    """One block: little to compile."""
    return build(stages=(1,), **changes)


@pytest.mark.parametrize(("size", "stride"), [(7, 2), (3, 1), (3, 2), (1, 1), (1, 2)])
@pytest.mark.parametrize("side", [16, 4, 2])  # as many pixels as XLA is fast at, and fewer
def test_patches_convolution_is_lax_convolution(size, stride, side):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, side, side, 3), np.float32)
    kernel = rng.standard_normal((size, size, 3, 5), np.float32)

    @jax.jit
    def both(kernel):
        forms = (resnet.conv_lax, resnet.conv_patches)
        outputs = [form(x, kernel, stride) for form in forms]
        grads = [
            jax.grad(lambda x, k, f=f: (f(x, k, stride) ** 2).sum(), argnums=(0, 1))(x, kernel)
            for f in forms
        ]
        return outputs, grads

    outputs, (want, got) = both(kernel)
    np.testing.assert_allclose(*outputs, atol=2e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-2), want, got)


def test_max_pool_is_that_of_flax_and_its_gradient_too():
    x = np.random.default_rng(3).standard_normal((2, 8, 8, 3), np.float32)

    def theirs(x):
        return nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))

    np.testing.assert_array_equal(resnet.max_pool(x), theirs(x))
    grads = [jax.grad(lambda x, f=f: (f(x) ** 2).sum())(x) for f in (resnet.max_pool, theirs)]
    np.testing.assert_allclose(*grads, rtol=1e-6)


@pytest.mark.parametrize("stride", [1, 2])
def test_spread_is_the_transpose_of_patches(stride):
    rng = np.random.default_rng(4)
    x = rng.standard_normal((2, 8, 8, 3), np.float32)
    seen = resnet.patches(x, 3, stride)
    columns = rng.standard_normal(seen.shape).astype(np.float32)
    back = resnet.spread(columns, 3, stride, x.shape)
    assert float((seen * columns).sum()) == pytest.approx(float((x * back).sum()), rel=1e-4)


def test_full_width_is_the_resnet18_of_the_paper():
    shapes = jax.eval_shape(
        lambda key: build(width=64).init(key, jnp.zeros((1, 64, 64, 3)), train=False),
        jax.random.key(0),
    )
    # torchvision's resnet18 with one output: 11,176,512 before the head, 513 in it
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == 11_176_512 + 513


def test_initialisation_is_a_function_of_the_seed_alone():
    first, again, other = (resnet.init(build(), seed) for seed in (1, 1, 2))
    assert jax.tree.all(jax.tree.map(np.array_equal, first, again))
    assert not jax.tree.all(jax.tree.map(np.array_equal, first["params"], other["params"]))
    kernel = resnet.init(build(width=64), 0)["params"]["Block_0"]["Conv_0"]["kernel"]
    assert abs(kernel.std() / np.sqrt(2 / (9 * 64)) - 1) < 0.02


def test_evaluation_does_not_move_batch_statistics_training_does():
    """Old flaw 11: a training-mode pass in preflight changed the real model."""
    model, x = small(), np.random.default_rng(1).standard_normal((4, 64, 64, 3), np.float32)
    variables = resnet.init(model, 0)
    alone = apply_eval(model, variables, x[:1])
    batch = apply_eval(model, variables, x)
    np.testing.assert_allclose(alone, batch[:1], atol=1e-5)
    _, moved = apply_train(model, variables, x)
    assert not jax.tree.all(jax.tree.map(np.array_equal, variables["batch_stats"], moved))


def test_asinh_softening_and_dtype_are_used():
    x = 50 * np.random.default_rng(2).standard_normal((2, 64, 64, 3)).astype(np.float32)
    variables = resnet.init(small(), 3)
    plain, half = small(asinh_softening=0.0), small(dtype=jnp.dtype("bfloat16"))
    want = apply_eval(small(), variables, x)
    assert not np.allclose(want, apply_eval(plain, variables, x))
    got = apply_eval(half, variables, x)
    assert got.dtype == jnp.float32 and 0 < np.abs(got - want).max() < 0.3
