"""Clips by a threshold that is given: of the norm of all leaves, or of a leaf's root mean square."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.contract.hyperparameters import Positive
from gradtx.contract.reach import LEAF, OTHERS
from gradtx.contract.transformation import EmptyState, GradientTransformation
from gradtx.numerics.dispatch import either_way
from gradtx.tree import PyTree

__all__ = ["UNIT", "clip_by_block_rms", "clip_by_global_norm", "squares_in_units"]

UNIT = 2.0**33
"""Squares are summed in this many thresholds: see `squares_in_units`."""


class clip_by_global_norm(GradientTransformation, reach=OTHERS):
    """Scale all updates so that their common 2-norm is at most c: u · min(1, c / ‖u‖).

    One scalar times the updates, which fuses into what comes after: no clipped copy of the tree
    is ever stored. Below the threshold the updates pass through bit by bit. Norms are right up to
    10²³ c; beyond that the squares overflow and the updates become zero. A NaN anywhere makes
    every update NaN, and an infinite entry becomes NaN: neither is hidden.

    Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks", 2013,
    algorithm 1. https://arxiv.org/abs/1211.5063

    Args:
        max_norm: c, above 0, in the units of the updates.

    Examples:
        >>> tx = gradtx.clip_by_global_norm(1.0)
        >>> tx.update(jnp.asarray([3.0, 4.0]), tx.init(None))[0]
        Array([0.6, 0.8], dtype=float32)
    """

    max_norm: Positive

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        leaves = jax.tree.leaves(updates)
        if not leaves:
            return updates, state
        relative = tree.length(squares_in_units(leaves, self.max_norm)) * UNIT  # ‖u‖ / c
        factor = 1.0 / jnp.maximum(relative, jnp.ones_like(relative))
        return jax.tree.map(lambda u: numerics.times(u, factor), updates), state


def squares_in_units(leaves: list[jax.Array], threshold: Any) -> list[jax.Array]:
    """‖u‖² of each leaf, in units of 2³³ c, squared.

    What underflows there is below 1e-9 c and cannot matter to the clip; what overflows is above
    1e23 c. Summed in plain units, gradients of 1e20 would overflow, and a rescue pass would cost
    a second read of every gradient.
    """
    # Each leaf has a unit of its own, because equal ones are merged by XLA for CPU into one
    # broadcast in memory that every leaf's sum then reads: 4 more bytes per parameter.
    squares = []
    for i, u in enumerate(leaves):
        own = 1 + i * 2.0**-20
        unit = own / UNIT / threshold
        squares.append(_squares_in(u, numerics.beside(unit, u), numerics.beside(own**-2, u)))
    return squares


@either_way
def _squares_in(u: jax.Array, unit: jax.Array, back: jax.Array) -> jax.Array:
    return numerics.times(numerics.total(numerics.abs_sq(numerics.times(u, unit))), back)


class clip_by_block_rms(GradientTransformation, reach=LEAF):
    """Scale each leaf so that its root mean square is at most c: u / max(1, rms(u) / c).

    Shazeer & Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", 2018,
    algorithm 4 (update clipping). https://arxiv.org/abs/1804.04235

    Args:
        threshold: c, above 0.
    """

    threshold: Positive

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        def bound(u: jax.Array) -> jax.Array:
            return numerics.divide_above_one(u, numerics.rms(u) / numerics.like(self.threshold, u))

        return jax.tree.map(bound, updates), state
