"""Functions of each entry by itself; none has a state.

Source: none (elementary functions and constants, entry by entry).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.contract.hyperparameters import NonNegative, Number, Positive
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import EmptyState, GradientTransformation
from gradtx.tree import PyTree
from gradtx.values.value import is_off, optional

__all__ = [
    "absolute",
    "at_least",
    "clip",
    "identity",
    "infinite_where_zero",
    "offset",
    "scale",
    "set_to_zero",
    "sign",
    "sqrt",
    "square",
    "tanh",
    "unless_off",
]


class identity(GradientTransformation, reach=ENTRY):
    """Return the updates as they are."""

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        return updates, state


def unless_off(
    number: Any, part: Callable[..., GradientTransformation], *rest: Any
) -> GradientTransformation:
    """part(number, *rest); `identity` where the number is off, so that the part keeps its place in a state.

    A state that was made with the term then fits the transformation without it, and the other way round.

    Args:
        number: what is held by an `optional` field.
        part: makes the term, which keeps nothing in the state, of its number.
        rest: its further arguments.
    """
    return identity() if is_off(number) else part(number, *rest)


class set_to_zero(GradientTransformation, reach=ENTRY):
    """Return zeros, whatever arrives: the parameters stay as they are. NaN does not come through."""

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        return tree.zeros_of(updates), state


class scale(GradientTransformation, reach=ENTRY):
    """Multiply by a number: factor · g.

    Args:
        step_size: the factor; any finite number, or a schedule.
    """

    step_size: Number

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        return _each(lambda u: numerics.times(u, self.step_size), updates), state


class offset(GradientTransformation, reach=ENTRY):
    """Add a number: g + c.

    Args:
        amount: c, any finite number.
    """

    amount: Number

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        return _each(lambda u: numerics.plus(u, self.amount), updates), state


class square(GradientTransformation, reach=ENTRY):
    """|g|²; real also where g is complex.

    In front of an `ema` in a chain the square itself may be too large for its dtype: its average is finite
    wherever (1 - β) |g|² is.
    """

    not_yet = numerics.Square

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        return _each(numerics.abs_sq, updates), state


class sqrt(GradientTransformation, reach=ENTRY):
    """sqrt(g + ε).

    Args:
        eps: ε *inside* the root, at least 0.
    """

    eps: NonNegative = optional(default=0.0)

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        if is_off(self.eps):
            return _each(numerics.root, updates), state
        return _each(lambda u: numerics.root(numerics.plus(u, self.eps)), updates), state


class sign(GradientTransformation, reach=ENTRY):
    """sign(g): -1, 0 or 1; g / |g| where g is complex."""

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        return _each(jnp.sign, updates), state


class tanh(GradientTransformation, reach=ENTRY):
    """tanh(g): a smooth sign, g where g is small."""

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        return _each(jnp.tanh, updates), state


class infinite_where_zero(GradientTransformation, reach=ENTRY):
    """g, but ∞ where g is 0. In a denominator: what is divided by it becomes 0, not NaN."""

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        return _each(lambda u: jnp.where(u == 0, jnp.full_like(u, jnp.inf), u), updates), state


class at_least(GradientTransformation, reach=ENTRY):
    """max(g, c). In a denominator: what is divided by it stays bounded. A NaN stays NaN.

    Args:
        least: c, any finite number.
    """

    least: Number

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        return _each(lambda u: jnp.maximum(u, numerics.like(self.least, u)), updates), state


class absolute(GradientTransformation, reach=ENTRY):
    """|g|."""

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        return _each(jnp.abs, updates), state


class clip(GradientTransformation, reach=ENTRY, real_only=True):
    """Bound each entry: min(max(g, -δ), δ). A NaN stays NaN.

    Args:
        max_delta: δ, above 0.
    """

    max_delta: Positive

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        def bound(u: jax.Array) -> jax.Array:
            most = numerics.like(self.max_delta, u)
            return jnp.clip(u, -most, most)

        return _each(bound, updates), state


def _each(f: Callable[[Any], Any], updates: PyTree) -> PyTree:
    return jax.tree.map(f, updates)
