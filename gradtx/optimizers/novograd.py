"""NovoGrad: momentum of gradients that are divided by the size of their leaf, with the decay inside.

    vₜ = β₂ vₜ₋₁ + (1 - β₂) ‖gₜ‖²,  v₁ = ‖g₁‖²          one number for each leaf
    mₜ = β₁ mₜ₋₁ + gₜ / (sqrt(vₜ + ε_root) + ε) + w θₜ₋₁
    θₜ = θₜ₋₁ - λ mₜ

Ginsburg et al., "Stochastic Gradient Methods with Layer-wise Adaptive Moments for Training of Deep
Networks", 2019. https://arxiv.org/abs/1905.11286
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics
from gradtx.atoms.decay import add_decoupled_weight_decay
from gradtx.atoms.moments import trace
from gradtx.atoms.pointwise import unless_off
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain
from gradtx.contract.hyperparameters import Decay, DtypeName, NonNegative, Rate
from gradtx.contract.reach import LEAF
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.tree import PyTree
from gradtx.values.value import optional, static

__all__ = ["divide_by_leaf_norm", "novograd", "scale_by_novograd"]


class LeafNormState(NamedTuple):
    step: jax.Array  # int32: how many norms have been averaged
    squares: PyTree  # for each leaf, the average of its squared norm; at least float32


class divide_by_leaf_norm(GradientTransformation, reach=LEAF):
    """g / (sqrt(v + ε_root) + ε), where v averages the squared norm of the leaf, from the first one on.

    Args:
        decay: β of the average, in [0, 1).
        eps: ε, outside the root, at least 0. With ε = 0 a leaf of zeros gives 0 / 0.
        eps_root: ε_root, inside the root, at least 0.
    """

    decay: Decay
    eps: NonNegative = optional(default=0.0)
    eps_root: NonNegative = optional(default=0.0)

    def init(self, params: PyTree) -> LeafNormState:
        squares = jax.tree.map(lambda p: jnp.zeros((), numerics.norm_dtype(p)), params)
        return LeafNormState(numerics.counter(), squares)

    def update(
        self, updates: PyTree, state: LeafNormState, params: PyTree | None = None
    ) -> tuple[PyTree, LeafNormState]:
        share = jnp.where(state.step == 0, 1.0, numerics.complement(self.decay))

        def average(g: jax.Array, v: jax.Array) -> jax.Array:
            return numerics.lerp(v, numerics.cast(jnp.sum(numerics.abs_sq(g)), v.dtype), share)

        def divided(g: jax.Array, v: jax.Array) -> jax.Array:
            size = numerics.root(v + numerics.like(self.eps_root, v)) + numerics.like(self.eps, v)
            return numerics.over(g, size)

        squares = jax.tree.map(average, updates, state.squares)
        after = LeafNormState(numerics.safe_increment(state.step), squares)
        return jax.tree.map(divided, updates, squares), after


class scale_by_novograd(Composite):
    """NovoGrad's direction, without the learning rate.

    Args:
        b1: β₁, the decay of the velocity, in [0, 1).
        b2: β₂, the decay of the average of squared norms, in [0, 1).
        eps: ε, outside the root, at least 0.
        eps_root: ε_root, inside the root, at least 0.
        weight_decay: w, which goes through the velocity.
        mu_dtype: of the velocity's state; None is the parameters', at least float32.

    Raises:
        ValueError: update is called without the parameters while there is a weight decay.
    """

    b1: Decay = 0.9
    b2: Decay = 0.25
    eps: NonNegative = 1e-8
    eps_root: NonNegative = optional(default=0.0)
    weight_decay: NonNegative = optional(default=0.0)
    mu_dtype: DtypeName | None = static(default=None)

    def expand(self) -> GradientTransformation:
        decay = unless_off(self.weight_decay, add_decoupled_weight_decay)
        scaled = divide_by_leaf_norm(self.b2, self.eps, self.eps_root)
        return chain(scaled, decay, trace(self.b1, accumulator_dtype=self.mu_dtype))


class novograd(Composite):
    """NovoGrad: `scale_by_novograd`, then the learning rate.

    Half of Adam's state; robust at the start, without a warm-up, and for large batches. The paper's
    decays are 0.95 and 0.98. The velocity is a sum: in the long run a leaf's step is up to
    λ / (1 - β₁) long.

    The square of a float32 gradient above 1.8e19 is infinite, and so is what sums it up: from then on
    its leaf goes on by the velocity and the weight decay alone.

    Args:
        learning_rate: λ, a number or a schedule.
        b1: β₁, the decay of the velocity, in [0, 1).
        b2: β₂, the decay of the average of squared norms, in [0, 1).
        eps: ε, outside the root, at least 0.
        eps_root: ε_root, inside the root, at least 0.
        weight_decay: w, which goes through the velocity.

    Raises:
        ValueError: update is called without the parameters while there is a weight decay.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.25
    eps: NonNegative = 1e-6
    eps_root: NonNegative = optional(default=0.0)
    weight_decay: NonNegative = optional(default=0.0)

    def expand(self) -> GradientTransformation:
        return chain(scale_by_novograd.of(self).expand(), scale_by_learning_rate(self.learning_rate))
