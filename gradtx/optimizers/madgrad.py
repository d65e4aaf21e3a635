"""MADGRAD: dual averaging, from the first parameters, with the cube root of Adagrad's sum.

    λₜ = (λ + ε) sqrt(t)
    sₜ = sₜ₋₁ + λₜ gₜ,  νₜ = νₜ₋₁ + λₜ gₜ²
    zₜ = θ₀ - sₜ / (νₜ^⅓ + ε)
    θₜ = μ θₜ₋₁ + (1 - μ) zₜ

Defazio & Jelassi, "Adaptivity without Compromise: A Momentumized, Adaptive, Dual Averaged Gradient Method
for Stochastic Optimization", 2021, algorithm 1; with the ε in λₜ of the authors' code and of Optax.
https://arxiv.org/abs/2101.11075
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.atoms.decay import add_l2_penalty
from gradtx.atoms.pointwise import unless_off
from gradtx.combine import chain
from gradtx.contract.hyperparameters import Decay, NonNegative, Number, Rate
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import Composite, GradientTransformation, need_params
from gradtx.tree import PyTree
from gradtx.values.value import optional

__all__ = ["madgrad", "scale_by_madgrad"]


class MadgradState(NamedTuple):
    step: jax.Array  # int32: how many updates have been made
    total: PyTree  # s; structure and shapes of the parameters, at least float32
    squares: PyTree  # ν; the same
    start: PyTree  # θ₀; the same


class scale_by_madgrad(GradientTransformation, reach=ENTRY, real_only=True):
    """MADGRAD's step, (1 - μ) (zₜ - θₜ₋₁), which has the learning rate and the sign in it.

    Real parameters only.

    Args:
        learning_rate: λ, a number or a schedule.
        momentum: μ, in [0, 1).
        eps: ε, at least 0; 0 may be better where gradients are very small, and leaves entries whose
            gradients have all been 0 where they are.

    Raises:
        ValueError: update is called without the parameters.
    """

    learning_rate: Rate
    momentum: Decay = 0.9
    eps: NonNegative = 1e-6

    def init(self, params: PyTree) -> MadgradState:
        return MadgradState(
            numerics.counter(), tree.zeros_like(params), tree.zeros_like(params), tree.copied(params)
        )

    def update(
        self, updates: PyTree, state: MadgradState, params: PyTree | None = None
    ) -> tuple[PyTree, MadgradState]:
        params = need_params(self, params)
        rate: Any = self.learning_rate  # no schedule by now
        step = numerics.safe_increment(state.step)
        factor = (rate + self.eps) * jnp.sqrt(step.astype(float))

        def summed(g: jax.Array, s: jax.Array) -> jax.Array:
            return s + numerics.times(numerics.cast(g, s.dtype), factor)

        def squared(g: jax.Array, v: jax.Array) -> jax.Array:
            return v + numerics.times(numerics.abs_sq(numerics.cast(g, v.dtype)), factor)

        def moved(g: jax.Array, p: jax.Array, start: jax.Array, s: jax.Array, v: jax.Array) -> jax.Array:
            size = numerics.cube_root(v) + numerics.like(self.eps, v)
            dual = s / jnp.where(size > 0, size, jnp.ones_like(size))
            away = (start - numerics.cast(p, start.dtype)) - dual
            return numerics.cast(numerics.times(away, numerics.complement(self.momentum)), g.dtype)

        total = tree.map(summed, updates, state.total)
        squares = tree.map(squared, updates, state.squares)
        out = tree.map(moved, updates, params, state.start, total, squares)
        return out, MadgradState(step, total, squares, state.start)


class madgrad(Composite, real_only=True):
    """MADGRAD: the L2 penalty, then `scale_by_madgrad`.

    Learning rates are neither SGD's nor Adam's, and worth a sweep from 1e-4 to 1e-1; it needs less weight
    decay than either, often none. It keeps the first parameters, and so starts anew where it is made anew.
    Real parameters only.

    The square of a float32 gradient above 1.8e19 is infinite, and so is what sums it up: from then on
    the entry stays where its average is.

    Args:
        learning_rate: λ, a number or a schedule.
        momentum: μ, in [0, 1).
        weight_decay: w, an L2 penalty: w θ is added to the gradient.
        eps: ε, at least 0.

    Raises:
        ValueError: update is called without the parameters.
    """

    learning_rate: Rate
    momentum: Decay = 0.9
    weight_decay: Number = optional(default=0.0)
    eps: NonNegative = 1e-6

    def expand(self) -> GradientTransformation:
        penalty = unless_off(self.weight_decay, add_l2_penalty)
        return chain(penalty, scale_by_madgrad.of(self))
