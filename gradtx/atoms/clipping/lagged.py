"""A clip by the norm of the step before, which is known before the first gradient is.

    fₜ = min(1, c / ‖gₜ₋₁‖)                          one factor for all leaves
    uₜ = gₜ · min(fₜ, c / ‖gₜ‖)                      leaf by leaf, ‖gₜ‖ is the leaf's own

It differs from `clip_by_global_norm` in three ways:

- The length of a clipped update is c ‖gₜ‖ / ‖gₜ₋₁‖, not c: c times what the norm has changed by. Where
  norms move slowly that is nearly the same, and the direction is kept.
- The first large step is not shortened by fₜ, for nobody has seen it. What remains is a bound that
  the clip by the global norm implies: no leaf's update is longer than c, and all together are no
  longer than c √L for L leaves.
- The step after a large one is shortened by as much as the large one should have been.

The clip is that of Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks",
2013, algorithm 1; that it takes the norm of the step before is an idea of gradtx.
https://arxiv.org/abs/1211.5063
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics
from gradtx.atoms.clipping.fixed import UNIT, squares_in_units
from gradtx.contract.hyperparameters import Positive
from gradtx.contract.transformation import GradientTransformation
from gradtx.tree import PyTree
from gradtx.values.value import static

__all__ = ["clip_by_lagged_norm"]


class LaggedNormState(NamedTuple):
    # Each leaf's, and not the norm of all: whatever adds them up would be one kernel on a GPU with
    # the sums over the leaves, and the first gradient would be kept until the last is there.
    norms: PyTree  # of the step before, 0-d for each leaf; 0 before the first


class clip_by_lagged_norm(GradientTransformation):
    """Clip by the global norm of the step before: no gradient waits for the others.

    For training whose norms are above c at most steps and move slowly. Wrong where single large
    steps are to be stopped, or where the norm changes at once, with a new batch size or data set:
    use `clip_by_global_norm`, or `leafwise_zclip`.

    The first update is bounded leaf by leaf only. Below the threshold the updates pass through bit
    by bit. A NaN makes its leaf NaN, and an infinite entry becomes NaN: neither is hidden; a leaf's
    norm that is not finite is not remembered, but the one before it.

    Args:
        max_norm: c, above 0, in the units of the updates.
        bound_leaves: also bound each leaf's norm by c. False leaves the first large step as it is,
            and a NaN where it is, and on an accelerator reads each gradient once instead of twice.
    """

    max_norm: Positive
    bound_leaves: bool = static(default=True, kw_only=True)

    def init(self, params: PyTree) -> LaggedNormState:
        return LaggedNormState(jax.tree.map(lambda p: jnp.zeros((), numerics.norm_dtype(p)), params))

    def update(
        self, updates: PyTree, state: LaggedNormState, params: PyTree | None = None
    ) -> tuple[PyTree, LaggedNormState]:
        structure: Any  # jax has no types for treedefs
        leaves, structure = jax.tree.flatten(updates)
        if not leaves:
            return updates, state
        c: Any = self.max_norm  # no schedule by now
        known = structure.flatten_up_to(state.norms)
        before = _together(known)
        own = [numerics.root(square) * UNIT for square in squares_in_units(leaves, c)]

        def clipped(u: jax.Array, norm: jax.Array) -> jax.Array:
            longest = numerics.cast(numerics.over(before, c), norm.dtype)
            longest = jnp.maximum(longest, jnp.ones_like(norm))
            return numerics.times(u, 1.0 / (jnp.maximum(longest, norm) if self.bound_leaves else longest))

        def remembered(norm: jax.Array, old: jax.Array) -> jax.Array:
            new = numerics.cast(numerics.times(norm, c), old.dtype)
            return jnp.where(jnp.isfinite(new), new, old)

        bounded = map(clipped, leaves, own)
        return structure.unflatten(bounded), LaggedNormState(structure.unflatten(map(remembered, own, known)))


def _together(norms: list[jax.Array]) -> jax.Array:
    """The norm of all from that of each, finite and not 0 wherever it is."""
    dtype = functools.reduce(numerics.wider, (n.dtype for n in norms))
    norms = [numerics.cast(n, dtype) for n in norms]
    largest = functools.reduce(jnp.maximum, norms)
    unit = jnp.where(largest > 0, largest, jnp.ones_like(largest))
    return largest * numerics.root(sum((jnp.square(n / unit) for n in norms), jnp.zeros((), dtype)))
