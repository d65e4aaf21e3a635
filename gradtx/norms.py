"""Scaling a leaf to the size of its parameters."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.anatomy import Reach
from gradtx.hyperparameters import NonNegative, Positive
from gradtx.transformation import EmptyState, GradientTransformation, need_params
from gradtx.tree import PyTree
from gradtx.value import optional

__all__ = ["scale_by_trust_ratio", "trust_ratio"]


class scale_by_trust_ratio(GradientTransformation):
    """Scale each leaf to the size of its parameters: u · c ‖θ‖ / (‖u‖ + ε), and u where a norm is 0.

    You, Gitman & Ginsburg, "Large Batch Training of Convolutional Networks", 2017, equation 6.
    https://arxiv.org/abs/1708.03888

    Args:
        min_norm: the least that either norm is taken to be, at least 0.
        trust_coefficient: c, above 0: how far a layer may move, relative to its size.
        eps: ε, at least 0.

    Raises:
        ValueError: update is called without the parameters.
    """

    reach: ClassVar[Reach] = Reach.LEAF
    min_norm: NonNegative = optional(default=0.0)
    trust_coefficient: Positive = 1.0
    eps: NonNegative = optional(default=0.0)

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        def scaled(u: jax.Array, p: jax.Array) -> jax.Array:
            sizes = [numerics.cast(numerics.norm(x), numerics.norm(u).dtype) for x in (p, u)]
            least = numerics.like(self.min_norm, sizes[0])
            param, update = (jnp.maximum(x, least) for x in sizes)
            return u * trust_ratio(param, update, self.trust_coefficient, self.eps)

        return tree.map(scaled, updates, need_params(self, params), what="parameters'"), state


def trust_ratio(param: jax.Array, update: jax.Array, coefficient: Any, eps: Any) -> jax.Array:
    """c ‖θ‖ / (‖u‖ + ε) of two norms, and 1 where one of them is 0."""
    ratio = numerics.like(coefficient, param) * param / (update + numerics.like(eps, update))
    # Zero parameters must be able to leave zero, and zero updates must not become NaN.
    return jnp.where((param == 0) | (update == 0), jnp.ones_like(ratio), ratio)
