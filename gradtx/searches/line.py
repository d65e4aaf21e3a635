"""The objective along a line: φ(η) = f(θ + η u), its slope φ'(η), and what counts as enough of a descent."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.contract.extras import arguments_of
from gradtx.contract.hyperparameters import Hyperparameter, Scalar
from gradtx.contract.transformation import GradientTransformation, need_params
from gradtx.numerics.dispatch import cond
from gradtx.tree import PyTree, inner_product
from gradtx.tree.updates import apply_updates

__all__ = [
    "Line",
    "Unbounded",
    "along",
    "at_least_zero",
    "choose",
    "guess",
    "print_if",
    "scaled",
    "slope",
]


class _NoneIfInfinite(Hyperparameter):
    """A number in a range; infinity is None, which needs no arithmetic and prints as its source."""

    def accept(self, owner: str, name: str, value: Any) -> Any:
        infinite = isinstance(value, float) and math.isinf(value) and value > 0
        return None if value is None or infinite else super().accept(owner, name, value)


Unbounded = Annotated[Scalar | None, _NoneIfInfinite(0, open_low=True)]
"""A number above 0, or None, which is infinity."""


class Line(NamedTuple):
    """Where a search goes, and what is known at its start."""

    objective: Callable[[PyTree], Any]  # f, of the parameters alone
    params: PyTree  # θ
    updates: PyTree  # u
    value: jax.Array  # f(θ), in the dtype of the search
    grad: PyTree  # ∇f(θ), in at least float32
    slope: jax.Array  # φ'(0)

    def at(self, step: jax.Array) -> PyTree:
        """θ + η u, rounded as the parameters will be if the updates have their dtype."""
        return apply_updates(self.params, tree.cast_like(scaled(self.updates, step), self.params))


def along(
    search: GradientTransformation,
    updates: PyTree,
    params: PyTree | None,
    dtype: Any,
    value: Any,
    grad: PyTree,
    value_fn: Callable[..., Any],
    extra: dict[str, Any],
) -> Line:
    """The line of a search, from what its update was given.

    Args:
        search: whose line it is, for messages.
        updates: u.
        params: θ.
        dtype: of the search's numbers.
        value: f(θ).
        grad: its gradient there.
        value_fn: f.
        extra: all other arguments of the update; those that f takes by name are its own.

    Raises:
        ValueError: there are no parameters, or the gradient's tree is not that of the updates.
    """
    params = need_params(search, params)
    tree.check_like(updates, grad, "gradient's")
    grad = tree.widen(grad)
    return Line(
        functools.partial(value_fn, **arguments_of(value_fn, extra)),
        params,
        updates,
        jnp.asarray(value).astype(dtype),
        grad,
        slope(grad, updates, dtype),
    )


def slope(grad: PyTree, updates: PyTree, dtype: Any) -> jax.Array:
    """φ' = Re Σ g u, of g as jax.grad gives it: for complex parameters, the steepest ascent's conjugate."""
    return inner_product(grad, updates, dtype, bilinear=True)


def guess(last: jax.Array, factor: Any, most: Any) -> jax.Array:
    """Where to begin: the last step times a factor, and at most `most`.

    A last step of 0 says that none was found, and nothing about where to begin now.
    """
    top = jnp.asarray(1.0 if most is None else most, last.dtype)
    if factor is None:
        return top
    grown = numerics.times(last, factor)
    return jnp.where(last > 0, grown if most is None else jnp.minimum(grown, top), top)


def at_least_zero(error: jax.Array) -> jax.Array:
    """How far the condition is violated; infinity if that is NaN."""
    return jnp.where(jnp.isnan(error), jnp.inf, jnp.maximum(error, 0.0)).astype(error.dtype)


def choose(condition: Any, yes: PyTree, no: PyTree) -> PyTree:
    """One of two trees."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def print_if(condition: Any, message: str, **numbers: Any) -> None:
    """Print from inside a compiled program, if the condition holds."""
    cond(condition, lambda: jax.debug.print(message, ordered=False, **numbers), lambda: None)


def scaled(updates: PyTree, step: jax.Array) -> PyTree:
    """η u, and 0 where η is 0: nothing else comes out of a direction that is not finite."""

    def times(u: jax.Array) -> jax.Array:
        return jnp.where(step == 0, jnp.zeros_like(u), numerics.times(u, step))

    return jax.tree.map(times, updates)
