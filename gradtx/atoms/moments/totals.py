"""Sums and maxima of all updates so far.

Source: none (a sum and a maximum; the optimizers that keep them have their sources).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.contract.hyperparameters import Decay, Number
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import GradientTransformation
from gradtx.tree import PyTree
from gradtx.values.value import optional

__all__ = ["decayed_max", "running_max", "running_sum"]


class RunningSumState(NamedTuple):
    total: PyTree  # structure and shapes of the parameters, at least float32


class running_sum(GradientTransformation, reach=ENTRY):
    """The sum of all updates so far: Gₜ = Gₜ₋₁ + gₜ.

    Args:
        start: G₀, the value of every entry before the first update.
    """

    start: Number = optional(default=0.0)

    def init(self, params: PyTree) -> RunningSumState:
        return RunningSumState(tree.full_like(params, self.start))

    def update(
        self, updates: PyTree, state: RunningSumState, params: PyTree | None = None
    ) -> tuple[PyTree, RunningSumState]:
        total = tree.map(lambda g, s: s + numerics.cast(g, s.dtype), updates, state.total)
        return total, RunningSumState(total)


class RunningMaxState(NamedTuple):
    largest: PyTree  # structure and shapes of the parameters, at least float32


class running_max(GradientTransformation, reach=ENTRY):
    """The largest value so far, entry by entry, and at least 0: maxₜ = max(maxₜ₋₁, gₜ)."""

    def init(self, params: PyTree) -> RunningMaxState:
        return RunningMaxState(tree.zeros_like(params))

    def update(
        self, updates: PyTree, state: RunningMaxState, params: PyTree | None = None
    ) -> tuple[PyTree, RunningMaxState]:
        largest = tree.map(lambda g, u: jnp.maximum(u, numerics.cast(g, u.dtype)), updates, state.largest)
        return largest, RunningMaxState(largest)


class decayed_max(GradientTransformation, reach=ENTRY):
    """The largest value so far, forgotten exponentially: uₜ = max(β uₜ₋₁, gₜ).

    Kingma & Ba, "Adam: A Method for Stochastic Optimization", 2015, algorithm 2, the infinity norm.
    https://arxiv.org/abs/1412.6980

    Args:
        decay: β, in [0, 1).
    """

    decay: Decay

    def init(self, params: PyTree) -> RunningMaxState:
        return RunningMaxState(tree.zeros_like(params))

    def update(
        self, updates: PyTree, state: RunningMaxState, params: PyTree | None = None
    ) -> tuple[PyTree, RunningMaxState]:
        # u - (1 - β) u, not β u: a rounded β is wrong the same way at every step.
        weight = numerics.complement(self.decay)

        def larger(g: jax.Array, u: jax.Array) -> jax.Array:
            return jnp.maximum(u - numerics.times(u, weight), numerics.cast(g, u.dtype))

        largest = tree.map(larger, updates, state.largest)
        return largest, RunningMaxState(largest)
