"""SM3: Adagrad in the memory of one number for each row, column, ... of a leaf.

    νₜ(i, j) = min(rₜ₋₁(i), cₜ₋₁(j)) + gₜ(i, j)²
    rₜ(i) = maxⱼ νₜ(i, j),  cₜ(j) = maxᵢ νₜ(i, j)
    mₜ = β₁ mₜ₋₁ + (1 - β₁) gₜ / sqrt(νₜ + ε)
    θₜ = θₜ₋₁ - λ mₜ

ν is never below Adagrad's sum of squares, and near it where rows and columns tell the entries' sizes.

Anil et al., "Memory-Efficient Adaptive Optimization", 2019: SM3-II, the tighter of its two, with the
momentum of its experiments. There ε is 0 and 0 / 0 is 0. https://arxiv.org/abs/1901.11150
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.atoms.moments import ema
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain
from gradtx.contract.hyperparameters import Decay, KeptShare, NonNegative, Rate
from gradtx.contract.reach import LEAF
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.tree import PyTree
from gradtx.tree.sharded import along
from gradtx.values.value import optional

__all__ = ["divide_by_cover_root", "scale_by_sm3", "sm3"]


class CoverState(NamedTuple):
    largest: PyTree  # for each leaf a tuple: for each axis, the maxima of ν over all others; at least float32


class divide_by_cover_root(GradientTransformation, reach=LEAF):
    """g / sqrt(ν + ε), and 0 where ν is 0: ν sums squares, from what is known of each row and column.

    A vector, or a scalar, is its own cover: ν is Adagrad's sum. (Optax refuses scalars.)

    Args:
        decay: β of the sum, in [0, 1]: β min + (1 - β) g² below 1, and min + g² at 1.
        eps: ε, inside the root, at least 0.
    """

    decay: KeptShare = 1.0
    eps: NonNegative = optional(default=1e-8)

    def init(self, params: PyTree) -> CoverState:
        def zeros(p: Any) -> tuple[jax.Array, ...]:
            return tuple(along(p, axes, numerics.norm_dtype(p)) for axes in _axes(p))

        return CoverState(jax.tree.map(zeros, params))

    def update(
        self, updates: PyTree, state: CoverState, params: PyTree | None = None
    ) -> tuple[PyTree, CoverState]:
        def like(u: jax.Array) -> tuple[jax.ShapeDtypeStruct, ...]:
            shapes = (tuple(u.shape[a] for a in axes) for axes in _axes(u))
            return tuple(jax.ShapeDtypeStruct(shape, numerics.norm_dtype(u)) for shape in shapes)

        tree.check_like(jax.tree.map(like, updates), state.largest, "state's maxima")
        decay: Any = self.decay  # no schedule by now
        share = jnp.where(decay == 1, 1.0, numerics.complement(decay))

        def summed(u: jax.Array, cover: tuple[jax.Array, ...]) -> jax.Array:
            wide = [jnp.expand_dims(x, _others(u, i)) for i, x in enumerate(cover)]
            least = functools.reduce(jnp.minimum, wide)
            square = numerics.cast(numerics.abs_sq(u), least.dtype)
            return numerics.times(least, decay) + numerics.times(square, share)

        def divided(u: jax.Array, nu: jax.Array) -> jax.Array:
            seen = nu > 0  # what is not chosen is finite, or a derivative would be NaN
            root = jax.lax.rsqrt(jnp.where(seen, nu, jnp.ones_like(nu)) + numerics.like(self.eps, nu))
            return numerics.times(u, jnp.where(seen, root, jnp.zeros_like(nu)))

        def largest(nu: jax.Array) -> tuple[jax.Array, ...]:
            return tuple(jnp.max(nu, axis=_others(nu, i), initial=0.0) for i in range(max(nu.ndim, 1)))

        sums = jax.tree.map(summed, updates, state.largest)
        return jax.tree.map(divided, updates, sums), CoverState(jax.tree.map(largest, sums))


def _others(x: Any, axis: int) -> tuple[int, ...]:
    return tuple(a for a in range(x.ndim) if a != axis)


def _axes(x: Any) -> list[tuple[int, ...]]:
    """The axes of each array of a leaf's cover: one for each axis; a scalar is its own cover."""
    return [(a,) for a in range(len(x.shape))] or [()]


class scale_by_sm3(Composite):
    """SM3's direction, without the learning rate.

    Args:
        b1: β₁, the decay of the average of steps, in [0, 1); None keeps no average in the state.
        b2: β₂, how much of the sums is kept, in [0, 1]; the paper's is 1.
        eps: ε, inside the root, at least 0; the paper's is 0.
    """

    b1: Decay | None = 0.9
    b2: KeptShare = 1.0
    eps: NonNegative = optional(default=1e-8)

    def expand(self) -> GradientTransformation:
        average = chain() if self.b1 is None else ema(self.b1)
        return chain(divide_by_cover_root(self.b2, self.eps), average)


class sm3(Composite):
    """SM3: `scale_by_sm3`, then the learning rate.

    For very large sparse or embedding matrices where memory is short. As in Adagrad the steps shrink for
    ever; learning rates are large, 0.1 and above, with a warm-up.

    The square of a float32 gradient above 1.8e19 is infinite, and so is what sums it up: from then on
    the entry stands still, with others in its row and column if all their maxima are infinite.

    Args:
        learning_rate: λ, a number or a schedule.
        momentum: β₁, the decay of the average of steps, in [0, 1); None keeps no average in the state.
    """

    learning_rate: Rate
    momentum: Decay | None = 0.9

    def expand(self) -> GradientTransformation:
        return chain(scale_by_sm3(self.momentum).expand(), scale_by_learning_rate(self.learning_rate))
