"""Norms of one array."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from gradtx.numerics.dtypes import cast, norm_dtype, wide_dtype
from gradtx.numerics.leaf import abs_sq, root

__all__ = ["norm", "rms", "safe_norm", "safe_root_mean_squares"]


def norm(x: jax.Array, axis: Any = None, keepdims: bool = False) -> jax.Array:
    """The 2-norm of one leaf, or along axes of it, accumulated in at least float32; real."""
    return root(jnp.sum(abs_sq(cast(x, wide_dtype(x.dtype))), axis=axis, keepdims=keepdims))


def rms(x: jax.Array) -> jax.Array:
    """The root mean square of one leaf, accumulated in at least float32; 0 of no entries."""
    return norm(x) / max(x.size, 1) ** 0.5


def safe_norm(x: Any, min_norm: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> jax.Array:  # noqa: A002
    """max(‖x‖, min_norm), whose derivative is 0, not NaN, where the norm is at most min_norm.

    The root in a norm has no derivative at 0, and a maximum multiplies that by 0. Unlike in Optax, the
    squares of narrow leaves are summed in float32; the result has the dtype of x.

    Args:
        x: an array.
        min_norm: the least that is returned.
        ord: which norm, as for jnp.linalg.norm; None is the 2-norm.
        axis: along which axis, or axes; None is all.
        keepdims: keep those axes, with one entry each.
    """
    x = jnp.asarray(x)
    wide = cast(x, wide_dtype(x.dtype))
    size = jnp.linalg.norm(wide, ord, axis, keepdims=True)
    least = jnp.asarray(min_norm, size.dtype)
    small = size <= least
    inside = jnp.where(small, jnp.ones_like(wide), wide)
    norms = jnp.where(small, least, jnp.linalg.norm(inside, ord, axis, keepdims=True))
    return cast(norms if keepdims else jnp.squeeze(norms, axis), jnp.finfo(x.dtype).dtype)


def safe_root_mean_squares(x: Any, min_rms: Any) -> jax.Array:
    """max(rms(x), min_rms), whose derivative is 0, not NaN, where the root is at most min_rms.

    Args:
        x: an array; the mean of none is 0.
        min_rms: the least that is returned.
    """
    x = jnp.asarray(x)
    root = max(x.size, 1) ** 0.5
    return safe_norm(jnp.ravel(x), jnp.asarray(min_rms, norm_dtype(x)) * root) / root
