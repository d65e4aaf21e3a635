"""Which dtype to compute in, and numbers in the precision of a leaf."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["cast", "like", "norm_dtype", "wide_dtype", "wider"]


def wide_dtype(dtype: Any) -> Any:
    """The dtype to accumulate and compute in: at least float32, whatever arrives.

    A bfloat16 average with decay 0.999 stalls at a quarter of its limit: 1e-3 of it is below the
    eight bits of its mantissa.
    """
    dtype = jnp.dtype(dtype)
    narrow = jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 32
    return jnp.dtype(jnp.float32) if narrow else dtype


def wider(a: Any, b: Any) -> Any:
    """The dtype that holds both; by a rule of its own, so that strict promotion need not be lifted."""
    a, b = jnp.dtype(a), jnp.dtype(b)
    if a == b:
        return a
    real = max((jnp.finfo(a).dtype, jnp.finfo(b).dtype), key=lambda d: (jnp.finfo(d).bits, d.name))
    if jnp.issubdtype(a, jnp.complexfloating) or jnp.issubdtype(b, jnp.complexfloating):
        return jnp.dtype(jnp.complex128 if jnp.finfo(real).bits == 64 else jnp.complex64)
    return real


def like(scalar: Any, leaf: Any) -> Any:
    """`scalar` in the precision of `leaf`, so that a float32 scalar never promotes a leaf."""
    if isinstance(scalar, (int, float)):
        return scalar
    return scalar.astype(jnp.finfo(leaf.dtype).dtype)


def cast(x: jax.Array, dtype: Any) -> jax.Array:
    """`x` in `dtype`; itself where it is that already."""
    return x if x.dtype == dtype else x.astype(dtype)


def norm_dtype(leaf: Any) -> Any:
    """The dtype of a leaf's norm: real, and at least float32."""
    return jnp.finfo(wide_dtype(jnp.result_type(leaf))).dtype
