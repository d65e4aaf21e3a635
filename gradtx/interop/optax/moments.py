"""Optax's functions of a moment: what the transformations of gradtx do, of trees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradtx import numerics
from gradtx.tree import PyTree

__all__ = ["bias_correction", "update_infinity_moment", "update_moment", "update_moment_per_elem_norm"]


def bias_correction(moment: PyTree, decay: Any, count: jax.typing.ArrayLike) -> PyTree:
    """moment / (1 - decayᵗ), which float32 keeps at any decay; `gradtx.bias_correction` is a transformation.

    Args:
        moment: averages that started at zero.
        decay: of the averages.
        count: t, how many updates have been averaged.
    """
    count = jnp.asarray(count, float)
    weight = -jnp.expm1(count * numerics.log_decay(decay, count.dtype))
    return jax.tree.map(lambda m: numerics.over(m, weight), moment)


def update_moment(updates: PyTree, moments: PyTree, decay: Any, order: int) -> PyTree:
    """One step of an exponential average of the updates' power: m + (1 - decay)(gᵏ - m).

    Args:
        updates: g; a leaf that is None stays None.
        moments: m.
        decay: of the average.
        order: k.
    """
    return _averaged(lambda g: g if order == 1 else g**order, updates, moments, decay)


def update_moment_per_elem_norm(updates: PyTree, moments: PyTree, decay: Any, order: int) -> PyTree:
    """`update_moment` of |g|, for complex updates: with order 2 the average of |g|².

    Args:
        updates: g; a leaf that is None stays None.
        moments: m.
        decay: of the average.
        order: k.
    """

    def power(g: jax.Array) -> jax.Array:
        if not jnp.iscomplexobj(g):
            return g if order == 1 else g**order
        return numerics.abs_sq(g) if order == 2 else jnp.abs(g) ** order

    return _averaged(power, updates, moments, decay)


def _averaged(power: Callable[[Any], Any], updates: PyTree, moments: PyTree, decay: Any) -> PyTree:
    weight = numerics.complement(decay)

    def step(g: Any, m: Any) -> Any:
        if g is None:
            return None
        return numerics.cast(numerics.lerp(jnp.asarray(m), power(jnp.asarray(g)), weight), jnp.result_type(m))

    return jax.tree.map(step, updates, moments, is_leaf=lambda x: x is None)


def update_infinity_moment(updates: PyTree, moments: PyTree, decay: Any, eps: Any) -> PyTree:
    """One step of a decayed maximum: max(|g| + eps, decay · m); `gradtx.decayed_max` is a transformation.

    Args:
        updates: g; a leaf that is None stays None.
        moments: m.
        decay: in [0, 1).
        eps: added to |g|.
    """
    weight = numerics.complement(decay)

    def step(g: Any, m: Any) -> Any:
        if g is None:
            return None
        size = jnp.abs(jnp.asarray(g))
        m = numerics.cast(jnp.asarray(m), size.dtype)
        return jnp.maximum(size + numerics.like(eps, size), m - numerics.times(m, weight))

    return jax.tree.map(step, updates, moments, is_leaf=lambda x: x is None)
