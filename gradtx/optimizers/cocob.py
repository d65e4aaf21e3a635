"""COCOB: each parameter bets a part of what it has won on the sign of its next gradient.

    Lₜ = max(Lₜ₋₁, |gₜ|),  L₀ = ε          the largest gradient yet
    Gₜ = Gₜ₋₁ + |gₜ|
    Rₜ = max(Rₜ₋₁ - (θₜ₋₁ - θ₀) gₜ, 0)     what has been won
    Cₜ = Cₜ₋₁ - gₜ
    θₜ = θ₀ + Cₜ / (Lₜ max(Gₜ + Lₜ, α Lₜ)) · (Lₜ + Rₜ)

Orabona & Tommasi, "Training Deep Networks without Learning Rates Through Coin Betting", 2017, algorithm 2,
whose gradients are the negative ones here, and whose L₀ is 0. https://arxiv.org/abs/1705.07795
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.atoms.decay import add_l2_penalty
from gradtx.atoms.pointwise import unless_off
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain
from gradtx.contract.hyperparameters import NonNegative, Number, Positive, Rate
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import Composite, GradientTransformation, need_params
from gradtx.rules.masks import Mask
from gradtx.tree import PyTree
from gradtx.values.value import optional, static

__all__ = ["cocob", "scale_by_cocob"]


class CocobState(NamedTuple):
    """Trees of the parameters' structure and shapes, in at least float32."""

    start: PyTree  # θ₀
    descent: PyTree  # C
    largest: PyTree  # L
    absolute: PyTree  # G
    reward: PyTree  # R


class scale_by_cocob(GradientTransformation, reach=ENTRY, real_only=True):
    """COCOB's way from θ to its next θ. It stands last, and needs no learning rate. Real parameters only.

    Args:
        alpha: α, above 0: the first bets are L / (α L) of a unit, 0.01 at the default.
        eps: ε, at least 0, the largest gradient before the first. With ε = 0 an entry whose gradients
            have all been 0 gives 0 / 0.

    Raises:
        ValueError: update is called without the parameters.
    """

    alpha: Positive = 100.0
    eps: NonNegative = 1e-8

    def init(self, params: PyTree) -> CocobState:
        zeros = [tree.zeros_like(params) for _ in range(3)]
        return CocobState(tree.copied(params), zeros[0], tree.full_like(params, self.eps), zeros[1], zeros[2])

    def update(
        self, updates: PyTree, state: CocobState, params: PyTree | None = None
    ) -> tuple[PyTree, CocobState]:
        params = need_params(self, params)

        def gained(g: jax.Array, r: jax.Array, start: jax.Array, p: jax.Array) -> jax.Array:
            return jnp.maximum(r - numerics.cast(g, r.dtype) * (numerics.cast(p, r.dtype) - start), 0)

        def bet(size: jax.Array, *of: jax.Array) -> jax.Array:
            start, descent, absolute, reward, p = of
            stake = size * jnp.maximum(absolute + size, numerics.times(size, self.alpha))
            won = numerics.within(descent / stake * (size + reward), stake)
            return (start - numerics.cast(p, size.dtype)) + won

        wide = tree.map(lambda g, s: numerics.cast(g, s.dtype), updates, state.start)
        reward = tree.map(gained, wide, state.reward, state.start, params)
        descent = tree.map(lambda g, c: c - g, wide, state.descent)
        largest = tree.map(lambda g, s: jnp.maximum(s, jnp.abs(g)), wide, state.largest)
        absolute = tree.map(lambda g, s: s + jnp.abs(g), wide, state.absolute)
        moves = tree.map(bet, largest, state.start, descent, absolute, reward, params)
        return moves, CocobState(state.start, descent, largest, absolute, reward)


class cocob(Composite, real_only=True):
    """COCOB: stochastic descent by betting on coins, without a learning rate.

    It keeps five numbers for each parameter, where Adam keeps two. A parameter's steps depend on the
    signs and the relative sizes of its gradients alone: a loss that is multiplied by a number trains alike.

    The start, θ₀, is what `init` was given: call it with the parameters that training starts from.
    Real parameters only.

    The square of a float32 gradient above 1.8e19 is infinite, and so is what sums it up: from then on
    the entry returns to its start and stands still.

    Args:
        learning_rate: multiplies the gradients, so that it hardly matters; a number or a schedule.
        alpha: α, above 0: larger is more careful at the start.
        eps: ε, at least 0, the largest gradient before the first.
        weight_decay: w of a penalty: w θ is added to the gradient.
        mask: the leaves that decay: a tree of booleans, a function of the parameters, or a
            regular expression on the leaf's path; None is all.

    Raises:
        ValueError: update is called without the parameters.
    """

    learning_rate: Rate = 1.0
    alpha: Positive = 100.0
    eps: NonNegative = 1e-8
    weight_decay: Number = optional(default=0.0)
    mask: Mask | None = static(default=None)

    def expand(self) -> GradientTransformation:
        penalty = unless_off(self.weight_decay, add_l2_penalty, self.mask)
        rate = scale_by_learning_rate(self.learning_rate, flip_sign=False)
        return chain(penalty, rate, scale_by_cocob.of(self))
