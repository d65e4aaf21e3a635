"""L-DoG: DoG whose step is measured for each leaf by itself; see `dog`.

Ivgi, Hinder & Carmon, "DoG is SGD's Best Friend: A Parameter-Free Dynamic Step Size Schedule", 2023,
equation (L-DoG). https://arxiv.org/abs/2302.12022
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.contract.hyperparameters import DtypeName, NonNegative, Number, Positive
from gradtx.contract.reach import LEAF
from gradtx.contract.transformation import GradientTransformation, need_params
from gradtx.tree import PyTree
from gradtx.values.value import static

__all__ = ["scale_by_distance_over_gradients"]


class DistanceOverGradientsState(NamedTuple):
    distance: PyTree  # r̄ of each leaf
    squares: PyTree  # G of each leaf
    start: PyTree  # θ₀


class scale_by_distance_over_gradients(GradientTransformation, reach=LEAF):
    """L-DoG's direction: DoG's, each leaf by itself.

    The square of a float32 gradient above 1.8e19 is infinite, and so is what sums it up: from then on
    the leaf stands still.

    Args:
        reps_rel: α of r_ε = α (1 + ‖θ₀‖), above 0; 1e-4 for models with batch normalisation.
        eps: ε, inside the root, at least 0. With ε = 0 a first gradient of zeros gives 0 / 0.
        param_dtype: of the copy of θ₀; None is the parameters', at least float32, where Optax's is float32.
        global_scale: a factor; -1 descends, without `scale_by_learning_rate`.

    Raises:
        ValueError: update is called without the parameters.
    """

    reps_rel: Positive = 1e-6
    eps: NonNegative = 1e-8
    param_dtype: DtypeName | None = static(default=None)
    global_scale: Number = 1.0

    def init(self, params: PyTree) -> DistanceOverGradientsState:
        def first(p: Any) -> jax.Array:
            size = numerics.norm(jnp.asarray(p))
            return numerics.like(self.reps_rel, size) * (1 + size)

        squares = jax.tree.map(lambda p: jnp.zeros((), numerics.norm_dtype(p)), params)
        start = tree.copied(params, self.param_dtype)
        return DistanceOverGradientsState(jax.tree.map(first, params), squares, start)

    def update(
        self, updates: PyTree, state: DistanceOverGradientsState, params: PyTree | None = None
    ) -> tuple[PyTree, DistanceOverGradientsState]:
        def farther(p: Any, r: jax.Array, start: jax.Array) -> jax.Array:
            wide = jnp.asarray(p, numerics.wide_dtype(p.dtype))
            return jnp.maximum(
                r, numerics.cast(numerics.norm(wide - numerics.cast(start, wide.dtype)), r.dtype)
            )

        def more(g: jax.Array, s: jax.Array) -> jax.Array:
            return s + numerics.cast(jnp.sum(numerics.abs_sq(g)), s.dtype)

        def scaled(g: jax.Array, r: jax.Array, s: jax.Array) -> jax.Array:
            rate = numerics.like(self.global_scale, r) * (r / numerics.root(s + numerics.like(self.eps, s)))
            return numerics.times(g, rate)

        distance = jax.tree.map(farther, need_params(self, params), state.distance, state.start)
        squares = jax.tree.map(more, updates, state.squares)
        after = DistanceOverGradientsState(distance, squares, state.start)
        return jax.tree.map(scaled, updates, distance, squares), after
