"""How much the updates change from one step to the next.

Source: none (a finite difference in time).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import GradientTransformation
from gradtx.tree import PyTree

__all__ = ["difference"]


class DifferenceState(NamedTuple):
    step: jax.Array  # int32: how many updates have been made
    previous: PyTree  # the last updates, at least float32


class difference(GradientTransformation, reach=ENTRY):
    """gₜ - gₜ₋₁, and 0 at the first step, which has none before it."""

    def init(self, params: PyTree) -> DifferenceState:
        return DifferenceState(numerics.counter(), tree.zeros_like(params))

    def update(
        self, updates: PyTree, state: DifferenceState, params: PyTree | None = None
    ) -> tuple[PyTree, DifferenceState]:
        # This is g: what is equal to the last one is the last one. Written like that it comes from the
        # last one's place, and a single kernel reads that and writes this. XLA for GPU would copy g
        # itself, and XLA for TPU, if `now` below were g, what made it. On a CPU it moves 4 bytes more.
        def same(g: jax.Array, last: jax.Array) -> jax.Array:
            g = numerics.cast(g, last.dtype)
            return jnp.where(g == last, last, g)

        first = state.step == 0

        def change(g: jax.Array, now: jax.Array, last: jax.Array) -> jax.Array:
            d = numerics.cast(now, g.dtype) - numerics.cast(last, g.dtype)
            return jnp.where(first, jnp.zeros_like(d), d)

        previous = tree.map(same, updates, state.previous)
        changes = tree.map(change, updates, previous, state.previous)
        return changes, DifferenceState(numerics.safe_increment(state.step), previous)
