"""ResNet-18 (He et al. 2016, arXiv:1512.03385) for small stamps, as pure functions.

The only file that imports flax. Parameters and batch statistics are plain nested dicts of
float32 arrays; nothing here holds state, so evaluation cannot move the batch statistics.

    model = build(width=64, asinh_softening=3.0, conv="auto", dtype="auto")
    variables = init(model, seed=0)
    logits, batch_stats = apply_train(model, variables, inputs)
    logits = apply_eval(model, variables, inputs)

Convolutions have two equal forms: 'lax', `lax.conv` as it is (accelerators), and 'patches', with
what XLA is slow at on a CPU written as matrix products; a test holds one to the other.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import serialization
from jax import lax

from lensjax import schema

Variables = dict[str, Any]
STAGES = (2, 2, 2, 2)  # blocks a stage: ResNet-18
LAST_NORM = "last_norm"  # of a block; its scale starts at zero, so that blocks start as identity


def conv_lax(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolution padded by k // 2: x [n, h, w, c], kernel [k, k, c, d] -> [n, h', w', d]."""
    pad = kernel.shape[0] // 2
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def patches(x: jax.Array, size: int, stride: int) -> jax.Array:
    """Every pixel a size x size kernel sees: x [n, h, w, c] -> [n, h', w', size * size * c]."""
    return jnp.concatenate(_shifted(x, size, stride, 0.0), axis=-1)


def _shifted(x: jax.Array, size: int, stride: int, fill: float) -> list[jax.Array]:
    """x [n, h, w, c], padded by size // 2 with `fill`, as each place of a kernel sees it."""
    pad = size // 2
    n, h, w, c = x.shape
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)), constant_values=fill)
    rows, cols = stride * ((h - 1) // stride) + 1, stride * ((w - 1) // stride) + 1
    return [
        lax.slice(x, (0, i, j, 0), (n, i + rows, j + cols, c), (1, stride, stride, 1))
        for i in range(size)
        for j in range(size)
    ]


def max_pool(x: jax.Array) -> jax.Array:
    """3 x 3 maximum, stride 2: x [n, h, w, c] -> [n, h / 2, w / 2, c].

    Equal maxima share the gradient. That of XLA's own window maximum takes a quarter of a training
    step on a CPU.
    """
    return functools.reduce(jnp.maximum, _shifted(x, 3, 2, -jnp.inf))


def spread(columns: jax.Array, size: int, stride: int, shape: tuple[int, ...]) -> jax.Array:
    """The transpose of `patches`: [n, h', w', size * size * c] -> sums at the pixels seen, `shape`
    [n, h, w, c]."""
    pad, (_, h, w, c), (rows, cols) = size // 2, shape, columns.shape[1:3]
    high, wide = stride * (rows - 1) + 1, stride * (cols - 1) + 1
    zero = jnp.zeros((), columns.dtype)
    total = jnp.zeros((columns.shape[0], h + 2 * pad, w + 2 * pad, c), columns.dtype)
    for number in range(size * size):
        i, j = divmod(number, size)
        down = (i, h + 2 * pad - high - i, stride - 1)
        across = (j, w + 2 * pad - wide - j, stride - 1)
        piece = columns[..., number * c : (number + 1) * c]
        total += lax.pad(piece, zero, [(0, 0, 0), down, across, (0, 0, 0)])
    return total[:, pad : pad + h, pad : pad + w]


def _is_small(shape: tuple[int, ...], stride: int) -> bool:
    """Has the output at most 2 x 2 pixels? There `lax.conv` is 100 times slower than a matrix
    product (2 x 2 x 512, batch 128, 2 cores: 2.5 s against 14 ms)."""
    return max(shape[1:3]) <= 2 * stride


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv_patches(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """`conv_lax`, with what XLA's CPU backend is slow at as a matrix product of patches: outputs of
    few pixels, and their and strided convolutions' gradients to the input."""
    if not _is_small(x.shape, stride):
        return conv_lax(x, kernel, stride)
    return patches(x, kernel.shape[0], stride) @ kernel.reshape(-1, kernel.shape[-1])


def _conv_forward(x, kernel, stride):
    return conv_patches(x, kernel, stride), (x, kernel)


def _conv_backward(stride, saved, gradient):
    x, kernel = saved
    _, to_kernel = jax.vjp(lambda k: conv_lax(x, k, stride), kernel)
    if stride > 1 or _is_small(x.shape, stride):
        columns = gradient @ kernel.reshape(-1, kernel.shape[-1]).T
        to_x = spread(columns, kernel.shape[0], stride, x.shape)
    else:
        to_x = conv_lax(gradient, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), 1)
    return to_x, *to_kernel(gradient)


conv_patches.defvjp(_conv_forward, _conv_backward)


class Conv(nn.Module):
    """A convolution without bias; kernel float32 [k, k, c, features]."""

    features: int
    size: int
    stride: int
    form: str
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.zeros, shape)  # values: see `init`
        convolve = conv_lax if self.form == "lax" else conv_patches
        return convolve(x.astype(self.dtype), kernel.astype(self.dtype), self.stride)


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, figure 2 and option B)."""

    features: int
    stride: int
    form: str
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        def norm(name: str):
            return nn.BatchNorm(not train, momentum=0.9, dtype=self.dtype, name=name)

        y = Conv(self.features, 3, self.stride, self.form, self.dtype)(x)
        y = nn.relu(norm("first_norm")(y))
        y = Conv(self.features, 3, 1, self.form, self.dtype)(y)
        y = norm(LAST_NORM)(y)
        if x.shape != y.shape:
            x = Conv(self.features, 1, self.stride, self.form, self.dtype)(x)
            x = norm("shortcut_norm")(x)
        return nn.relu(x + y)


class ResNet18(nn.Module):
    """inputs float32 [n, 64, 64, 3] (preprocessed, in sky sigmas) -> logits float32 [n].

    Attributes:
        width: channels of the first stage (64 in the paper); the stages have 1, 2, 4, 8 times it.
        asinh_softening: inputs x become asinh(x / softening), which keeps faint arcs and bright
            cores on one scale; 0 leaves them as they are.
        form: 'lax' or 'patches', see the module docstring.
        dtype: of the computation; parameters are float32.
        stages: blocks of each stage.
    """

    width: int
    asinh_softening: float
    form: str
    dtype: Any = jnp.float32
    stages: tuple[int, ...] = STAGES

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        x = jnp.arcsinh(inputs / self.asinh_softening) if self.asinh_softening else inputs
        x = Conv(self.width, 7, 2, self.form, self.dtype)(x)
        x = nn.relu(nn.BatchNorm(not train, momentum=0.9, dtype=self.dtype)(x))
        x = max_pool(x)
        for stage, blocks in enumerate(self.stages):
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                x = Block(self.width * 2**stage, stride, self.form, self.dtype)(x, train)
        x = x.mean(axis=(1, 2)).astype(jnp.float32)
        return nn.Dense(1)(x)[:, 0]


def build(*, width: int, asinh_softening: float, conv: str, dtype: str) -> ResNet18:
    """The model for this machine: 'auto' picks the convolution and the dtype by backend.

    bfloat16 where the accelerator multiplies it (GPU, TPU), float32 on a CPU.
    """
    on_cpu = jax.default_backend() == "cpu"
    form = ("patches" if on_cpu else "lax") if conv == "auto" else conv
    kind = ("float32" if on_cpu else "bfloat16") if dtype == "auto" else dtype
    return ResNet18(width, asinh_softening, form, jnp.dtype(kind))


def init(model: ResNet18, seed: int) -> Variables:
    """Fresh variables {'params': ..., 'batch_stats': ...}, float32 numpy, from `seed` alone.

    Kernels are He-normal by fan-out (He et al. 2015, arXiv:1502.01852, eq. 14), the last scale of
    each block zero (Goyal et al. 2017, arXiv:1706.02677, section 5.1), other scales and variances
    one, the rest zero. Drawn by numpy: the same bits on every machine, and no compilation.
    """
    stamp = jax.ShapeDtypeStruct((1, *schema.STAMP_SHAPE), jnp.float32)
    shapes = jax.eval_shape(
        lambda key, x: model.init(key, x, train=False), jax.random.key(0), stamp
    )
    draw = np.random.Generator(np.random.Philox(key=seed))

    def value(path, leaf) -> np.ndarray:
        names = [entry.key for entry in path]
        if names[-1] == "kernel":
            fan_out = math.prod(leaf.shape[:-2]) * leaf.shape[-1]
            kernel = draw.standard_normal(leaf.shape) * math.sqrt(2.0 / fan_out)
            return kernel.astype(np.float32)
        one = names[-1] == "var" or (names[-1] == "scale" and LAST_NORM not in names)
        return np.full(leaf.shape, float(one), np.float32)

    return jax.tree_util.tree_map_with_path(value, shapes)


def apply_train(
    model: ResNet18, variables: Variables, inputs: jax.Array
) -> tuple[jax.Array, Variables]:
    """Logits [n] and the moved batch statistics."""
    logits, moved = model.apply(variables, inputs, train=True, mutable=["batch_stats"])
    return logits, dict(moved)["batch_stats"]


def apply_eval(model: ResNet18, variables: Variables, inputs: jax.Array) -> jax.Array:
    """Logits [n] with the batch statistics as they are."""
    logits = model.apply(variables, inputs, train=False)
    assert isinstance(logits, jax.Array)  # and no collections: none is mutable
    return logits


def count_parameters(variables: Variables) -> int:
    """Number of trained values."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def plain(tree: Any) -> Any:
    """Any pytree (an optax state) as plain nested dicts of arrays."""
    return serialization.to_state_dict(tree)


def restored(template: Any, tree: Any) -> Any:
    """The inverse of `plain`, in the structure of `template`."""
    return serialization.from_state_dict(template, tree)
