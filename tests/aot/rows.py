"""What is compiled: every exported optimizer, and settings that change what a step moves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import gradtx
from gradtx import GradientTransformation, chain, clip_by_global_norm


def gpt2_small(layers: int, dtype: Any = jnp.float32) -> dict[str, Any]:
    """The shapes of GPT-2 small, of which each layer repeats the first.

    Radford et al., "Language Models are Unsupervised Multitask Learners", 2019: width 768, 50257
    tokens, 1024 positions.
    """

    def array(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype)

    def norm() -> dict[str, Any]:
        return {"scale": array(768), "bias": array(768)}

    def dense(inputs: int, outputs: int) -> dict[str, Any]:
        return {"kernel": array(inputs, outputs), "bias": array(outputs)}

    tree: dict[str, Any] = {"tokens": array(50257, 768), "positions": array(1024, 768), "norm": norm()}
    for i in range(layers):
        tree[f"layer{i}"] = {
            "norm1": norm(),
            "attention": {"in": dense(768, 2304), "out": dense(768, 768)},
            "norm2": norm(),
            "mlp": {"in": dense(768, 3072), "out": dense(3072, 768)},
        }
    return tree


@dataclasses.dataclass(frozen=True)
class Row:
    """One optimizer, and what a loop written by hand for it would move.

    That is: read the gradient, read and write the parameter and the state, and read `again` what a
    norm of the whole leaf, or of all, is needed for before the step can be taken.
    """

    make: Callable[[], GradientTransformation]
    again: int = 0  # bytes per parameter
    dtype: Any = jnp.float32

    def shapes(self, layers: int) -> tuple[Any, Any]:
        """Parameters and state."""
        params = gpt2_small(layers, self.dtype)
        return params, jax.eval_shape(self.make().init, params)

    def by_hand(self, layers: int) -> float:
        """Bytes per parameter."""
        params, state = self.shapes(layers)
        return (3 * _bytes(params) + 2 * _bytes(state)) / count(params) + self.again


def count(tree: Any) -> int:
    """How many numbers a tree has."""
    return sum(x.size for x in jax.tree.leaves(tree))


def _bytes(tree: Any) -> int:
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


# They read a gradient for each example, of which there are as many as one likes.
PER_EXAMPLE = {"dpsgd"}


def exported() -> dict[str, type]:
    """The optimizers among the public names: those in `gradtx/optimizers` with a learning rate."""
    return {
        name: value
        for name, value in vars(gradtx).items()
        if getattr(value, "__module__", "").startswith("gradtx.optimizers.")
        and "learning_rate" in getattr(value, "__dataclass_fields__", ())
        and value.is_composite  # a piece may have the rate in it
        and name not in PER_EXAMPLE
    }


R = 1e-3
# The norms of parameter and direction come first. LAMB's second pass reads p, m and v again, from
# which it makes the direction anew; LARS's reads p and g, NovoGrad's g. StableAdamW compares g with the new
# v. Fromage has the norms of p and g. Adafactor's means read g, its clip g again, and its scale p; SM3's
# maxima read g again. C-AdamW counts the entries that agree, and makes the direction anew of m, v and g.
_AGAIN = {
    "adafactor": 12,
    "cadamw": 12,
    "fromage": 8,
    "lamb": 12,
    "lars": 8,
    "novograd": 4,
    "sm3": 4,
    "stable_adamw": 8,
}
# What is left out, by target.
NOT_COMPILED = {
    ("tpu-v5e", "galore"): "XLA compiles the decompositions of these matrices for more than eight minutes",
}
# Where all leaves wait for a sum: DoG's second pass reads p and g, MoMo's the new moments and p. A start that
# is remembered is read and not written, 4 less.
_AGAIN |= {"cocob": -4, "dog": 8 - 4, "dowg": 8 - 4, "momo": 8, "momo_adam": 12, "prodigy": -4}


def rows_for(target: str) -> list[str]:
    """The names of the rows that are compiled for a target."""
    return [name for name in ROWS if (target, name) not in NOT_COMPILED]


def quadratic(params: Any, goal: Any) -> jax.Array:
    """½ Σ (θ - x)²: an objective whose gradient costs no more than to read one, for what calls it."""
    differences = jax.tree.leaves(jax.tree.map(jnp.subtract, params, goal))
    return sum((jnp.sum(jnp.square(d)) for d in differences), jnp.zeros(())) / 2


def _clipped(make: Callable[[], GradientTransformation]) -> Callable[[], GradientTransformation]:
    return lambda: chain(clip_by_global_norm(1.0), make())


def _plain(name: str) -> Row:
    return Row(lambda: getattr(gradtx, name)(R), again=_AGAIN.get(name, 0))


# Not here: float64 and complex64, which a TPU computes in pieces (88 bytes per parameter for 56), and
# complex128, on which its compiler aborts the process.
ROWS = {name: _plain(name) for name in sorted(exported())} | {
    # How often a line search calls the objective is not known.
    "lbfgs": Row(lambda: gradtx.lbfgs(R, linesearch=None)),
    # As its authors use it; products in float32 take XLA for TPU half a minute to compile.
    "muon": Row(lambda: gradtx.muon(R, muon_weight_dimension_numbers="kernel$", compute_in="bfloat16")),
    "sgd momentum": Row(lambda: gradtx.sgd(R, 0.9)),
    "sgd nesterov": Row(lambda: gradtx.sgd(R, 0.9, nesterov=True)),
    "rmsprop centered momentum": Row(lambda: gradtx.rmsprop(R, centered=True, momentum=0.9)),
    "adamw float16": Row(lambda: gradtx.adamw(R), dtype=jnp.float16),
    "adamw bfloat16": Row(lambda: gradtx.adamw(R), dtype=jnp.bfloat16),
    "adamw bfloat16, first moment bfloat16": Row(
        lambda: gradtx.adamw(R, mu_dtype="bfloat16"), dtype=jnp.bfloat16
    ),
    "adamw, first moment bfloat16": Row(lambda: gradtx.adamw(R, mu_dtype="bfloat16")),
    "adamw bfloat16, both moments bfloat16": Row(
        lambda: gradtx.adamw(R, mu_dtype="bfloat16", nu_dtype="bfloat16"), dtype=jnp.bfloat16
    ),
    "clip, sgd": Row(_clipped(lambda: gradtx.sgd(R)), again=4),
    "clip, sgd momentum": Row(_clipped(lambda: gradtx.sgd(R, 0.9)), again=4),
    "clip, lion": Row(_clipped(lambda: gradtx.lion(R)), again=4),
    "clip, adamw": Row(_clipped(lambda: gradtx.adamw(R)), again=4),
    "clip, adamw bfloat16": Row(_clipped(lambda: gradtx.adamw(R)), again=2, dtype=jnp.bfloat16),
}
