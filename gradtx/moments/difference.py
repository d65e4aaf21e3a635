"""How much the updates change from one step to the next."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.anatomy import Reach
from gradtx.transformation import GradientTransformation
from gradtx.tree import PyTree

__all__ = ["difference"]


class DifferenceState(NamedTuple):
    step: jax.Array  # int32: how many updates have been made
    previous: PyTree  # the last updates, at least float32


class difference(GradientTransformation):
    """gₜ - gₜ₋₁, and 0 at the first step, which has none before it."""

    reach: ClassVar[Reach] = Reach.ENTRY

    def init(self, params: PyTree) -> DifferenceState:
        return DifferenceState(jnp.zeros((), jnp.int32), tree.zeros_like(params))

    def update(
        self, updates: PyTree, state: DifferenceState, params: PyTree | None = None
    ) -> tuple[PyTree, DifferenceState]:
        def change(g: jax.Array, last: jax.Array) -> jax.Array:
            return jnp.where(state.step == 0, jnp.zeros_like(g), g - numerics.cast(last, g.dtype))

        changes = tree.map(change, updates, state.previous)
        last = tree.cast_like(updates, state.previous)
        return changes, DifferenceState(numerics.safe_increment(state.step), last)
