"""DoWG, distance over weighted gradients: DoG whose later gradients count for more.

    r̄ₜ² = max(r_ε², maxᵢ ‖θᵢ - θ₀‖²)                   how far it has been from its start, i < t
    vₜ = vₜ₋₁ + r̄ₜ² ‖gₜ‖²
    θₜ = θₜ₋₁ - λ r̄ₜ² / (sqrt(vₜ) + ε) · gₜ

Khaled, Mishchenko & Jin, "DoWG Unleashed: An Efficient Universal Parameter-Free Gradient Descent Method",
2023, algorithm 1, with the ε of its authors' code. https://arxiv.org/abs/2305.16284
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.contract.hyperparameters import NonNegative, Number, Positive, Rate
from gradtx.contract.reach import OTHERS
from gradtx.contract.transformation import Composite, GradientTransformation, need_params
from gradtx.optimizers.dog import penalised, squared_distance
from gradtx.rules.masks import Mask
from gradtx.tree import PyTree
from gradtx.values.value import optional, static

__all__ = ["dowg", "scale_by_dowg"]


class DowgState(NamedTuple):
    squared_distance: jax.Array  # r̄²
    squares: jax.Array  # v
    start: PyTree  # θ₀, in at least float32


class scale_by_dowg(GradientTransformation, reach=OTHERS):
    """r̄² / (sqrt(v) + ε) · g: DoWG without the learning rate.

    Args:
        init_estim_sq_dist: r_ε², above 0; None is ε.
        eps: ε, outside the root, at least 0.

    Raises:
        ValueError: update is called without the parameters.
    """

    init_estim_sq_dist: Positive | None = None
    eps: NonNegative = 1e-4

    def init(self, params: PyTree) -> DowgState:
        first = self.eps if self.init_estim_sq_dist is None else self.init_estim_sq_dist
        # A copy: what a schedule said is kept by itself.
        return DowgState(jnp.array(first, float), jnp.zeros((), float), tree.copied(params))

    def update(
        self, updates: PyTree, state: DowgState, params: PyTree | None = None
    ) -> tuple[PyTree, DowgState]:
        moved = squared_distance(need_params(self, params), state.start)
        distance = jnp.maximum(state.squared_distance, moved)
        squares = state.squares + distance * tree.total(numerics.abs_sq, updates)
        rate = distance / (numerics.root(squares) + numerics.like(self.eps, squares))
        scaled = jax.tree.map(lambda g: numerics.times(g, rate), updates)
        return scaled, DowgState(distance, squares, state.start)


class dowg(Composite):
    """DoWG: DoG whose later gradients count for more, so that the steps grow quicker.

    The start, θ₀, is what `init` was given: call it with the parameters that training starts from.

    The square of a float32 gradient above 1.8e19 is infinite, and so is what sums it up: from then on
    all parameters stand still.

    Args:
        learning_rate: λ, a number or a schedule; 1 is meant.
        init_estim_sq_dist: r_ε², a guess of the squared distance to the solution that is too small, above 0;
            None is ε.
        eps: ε, outside the root, at least 0.
        weight_decay: w of a penalty: w θ is added to the gradient.
        mask: the leaves that decay: a tree of booleans, a function of the parameters, or a
            regular expression on the leaf's path; None is all.

    Raises:
        ValueError: update is called without the parameters.
    """

    learning_rate: Rate = 1.0
    init_estim_sq_dist: Positive | None = None
    eps: NonNegative = 1e-4
    weight_decay: Number | None = optional(default=None)
    mask: Mask | None = static(default=None)

    def expand(self) -> GradientTransformation:
        return penalised(self, scale_by_dowg.of(self))
