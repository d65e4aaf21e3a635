"""Fromage: each leaf turns by a fixed angle, and keeps its size.

    θₜ = (θₜ₋₁ - λ ‖θₜ₋₁‖ / ‖gₜ‖ · gₜ) / sqrt(1 + λ²)          leaf by leaf

A step at right angles to θ would lengthen it by the root, which is divided by.

Bernstein, Vahdat, Yue & Liu, "On the distance between two neural networks and the stability of
learning", 2020, algorithm 1. https://arxiv.org/abs/2002.03432
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.atoms.norms import scale_by_trust_ratio
from gradtx.combine import chain
from gradtx.contract.hyperparameters import NonNegative, Rate
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import Composite, EmptyState, GradientTransformation, need_params
from gradtx.tree import PyTree
from gradtx.values.value import optional

__all__ = ["fromage", "turn_by_learning_rate"]


class turn_by_learning_rate(GradientTransformation, reach=ENTRY):
    """What takes θ to (θ - λ u) / sqrt(1 + λ²). Of u as long as θ and at right angles to it: a turn.

    Args:
        learning_rate: λ, the tangent of the angle.

    Raises:
        ValueError: update is called without the parameters.
    """

    learning_rate: Rate

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        rate: Any = self.learning_rate  # no schedule by now
        length = jnp.sqrt(1 + jnp.asarray(rate, float) ** 2)
        # 1 - 1 / sqrt(1 + λ²) without the cancellation, which leaves no digit of it at λ = 1e-4.
        along, shrink = rate / length, rate * rate / (length * (length + 1))

        def turned(u: jax.Array, p: jax.Array) -> jax.Array:
            return -(numerics.times(u, along) + numerics.times(numerics.cast(p, u.dtype), shrink))

        return tree.map(turned, updates, need_params(self, params), what="parameters'"), state


class fromage(Composite):
    """Fromage: `scale_by_trust_ratio`, then `turn_by_learning_rate`.

    Its learning rate needs little tuning: 0.01 is a fair start everywhere. It keeps no state. Parameters
    that start at zero hardly move: give them another start, or `min_norm` a larger value.

    A leaf whose norm is beyond float32, as of gradients above 1.8e19, takes no step along its gradient
    at that update.

    Args:
        learning_rate: λ, a number or a schedule: how far a leaf turns.
        min_norm: the least that either norm is taken to be, at least 0; the authors' code, with 0, steps by
            λ g where a norm is 0.

    Raises:
        ValueError: update is called without the parameters.
    """

    learning_rate: Rate
    min_norm: NonNegative = optional(default=1e-6)

    def expand(self) -> GradientTransformation:
        return chain(scale_by_trust_ratio(self.min_norm), turn_by_learning_rate(self.learning_rate))
