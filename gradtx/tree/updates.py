"""Parameters plus updates."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx import numerics
from gradtx.tree.paths import PyTree, where

__all__ = ["apply_updates", "has_no_gradient"]


def apply_updates(params: PyTree, updates: PyTree) -> PyTree:
    """params + updates, added in at least float32 and rounded once to the parameters' dtype.

    Args:
        params: the parameters; a leaf that is None stays None. One of integers, booleans or keys stays as it
            is, and so does a leaf that is not an array where the updates have None.
        updates: of the same structure and shapes; a leaf that is None leaves its parameter alone.

    Raises:
        ValueError: a shape differs, with the leaf's path.
    """

    def add(path: Any, update: Any, param: Any) -> Any:
        if update is None or param is None or has_no_gradient(param):
            return param
        if np.shape(update) != np.shape(param):
            raise ValueError(
                f"apply_updates: the update at {where(path, updates)} has shape "
                f"{np.shape(update)}, its parameter {np.shape(param)}."
            )
        dtype = jnp.result_type(param)
        if isinstance(update, jax.Array) and update.dtype == dtype == jnp.float32:
            return as_weak_as(param, numerics.plus(update, param))
        wide = numerics.wide_dtype(numerics.wider(dtype, jnp.result_type(update)))
        return as_weak_as(param, (jnp.asarray(param, wide) + jnp.asarray(update, wide)).astype(dtype))

    return jax.tree_util.tree_map_with_path(add, updates, params, is_leaf=lambda x: x is None)


def has_no_gradient(leaf: Any) -> bool:
    """Whether it is an array of integers, booleans or keys; or of float0, which stands for their gradient."""
    return hasattr(leaf, "dtype") and hasattr(leaf, "shape") and not jnp.issubdtype(leaf.dtype, jnp.inexact)


def as_weak_as(param: Any, x: jax.Array) -> jax.Array:
    """`x` with a weak type if the parameter has one: of another type a compiled step would be compiled twice.

    `jnp.array(0.)` and `jnp.full(3, 0.)` have weak types.
    """
    if not getattr(param, "weak_type", False):
        return x
    # Of what jax offers, only full_like takes the weak type over, for single numbers. Axis by axis, because
    # a reshape would change how it is sharded.
    alike = jax.lax.full_like
    for _ in range(x.ndim):
        alike = jax.vmap(alike)
    return alike(param, x)
