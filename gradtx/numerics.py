"""Scalar arithmetic that keeps float32's seven digits where the textbook form loses them."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradtx.dispatch import either_way

__all__ = [
    "abs_sq",
    "average_length",
    "beside",
    "cast",
    "complement",
    "divide_above_one",
    "lerp",
    "like",
    "log_decay",
    "minus",
    "norm",
    "norm_dtype",
    "over",
    "plus",
    "plus_times",
    "rms",
    "root",
    "safe_increment",
    "safe_norm",
    "safe_root_mean_squares",
    "square_root",
    "times",
    "total",
    "wide_dtype",
    "wider",
]

Scalar = Any
"""A Python number or an array: a field of an atom, whose schedules the contract has read."""


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


_add, _minus, _mul, _div = (either_way(f) for f in (lax.add, lax.sub, lax.mul, lax.div))
_square, _sqrt = either_way(lax.square), either_way(lax.sqrt)
_sum = either_way(lambda x: lax.reduce_sum(x, tuple(range(x.ndim))))


def times(x: jax.Array, y: Any) -> jax.Array:
    """x · y for a leaf x and a number, or an array that broadcasts to its shape, y; in the dtype of x."""
    return _by(_mul, x, y)


def over(x: jax.Array, y: Any) -> jax.Array:
    """x / y; see times."""
    return _by(_div, x, y)


def total(x: jax.Array) -> jax.Array:
    """The sum of all entries, in the dtype of x; see times."""
    return _sum(x)


def plus(x: jax.Array, y: Any) -> jax.Array:
    """x + y; see times."""
    return _add(x, _beside(x, y))


def root(x: jax.Array) -> jax.Array:
    """sqrt(x), entry by entry."""
    return _sqrt(x)


def minus(x: jax.Array, y: Any) -> jax.Array:
    """x - y; see times."""
    return _minus(x, _beside(x, y))


def plus_times(x: jax.Array, y: jax.Array, weight: Any) -> jax.Array:
    """x + weight · y for leaves x and y of one dtype; see times."""
    return _plus_times(x, y, beside(weight, y))


@either_way
def _plus_times(x: jax.Array, y: jax.Array, weight: jax.Array) -> jax.Array:
    return plus(x, times(y, weight))


def beside(number: Any, leaf: jax.Array) -> Any:
    """A number as an operand of what goes `either_way`: a real one, in the precision of the leaf."""
    if isinstance(number, (int, float)):
        return np.asarray(number, jnp.finfo(leaf.dtype).dtype)
    return number


def _by(f: Any, x: jax.Array, y: Any) -> jax.Array:
    if jnp.issubdtype(x.dtype, jnp.complexfloating) and not np.iscomplexobj(y):
        # Each part by the number: as a complex one it would turn an infinite part into NaN.
        real, imag = lax.real(x), lax.imag(x)
        y = _beside(real, y)
        return lax.complex(f(real, y), f(imag, y))
    return f(x, _beside(x, y))


def _beside(x: jax.Array, y: Any) -> Any:
    if isinstance(y, (int, float)):
        return np.asarray(y, x.dtype)
    y = cast(y, x.dtype)
    return y if y.ndim == 0 or y.shape == x.shape else jnp.broadcast_to(y, x.shape)


def complement(decay: Scalar) -> Scalar:
    """1 - decay; in Python's float64 where decay is a Python number, and rounded once."""
    return 1.0 - decay


def lerp(old: jax.Array, new: jax.Array, weight: Scalar) -> jax.Array:
    """old + weight (new - old).

    Not decay * old + (1 - decay) * new: in float32 those two factors round apart and do not sum
    to one, which biases the average at every step.
    """
    dtype = wider(old.dtype, new.dtype)
    old, new = cast(old, dtype), cast(new, dtype)
    return _lerp(old, new, beside(weight, old))


@either_way
def _lerp(old: jax.Array, new: jax.Array, weight: jax.Array) -> jax.Array:
    return plus(old, times(minus(new, old), weight))


def log_decay(decay: Scalar, dtype: Any) -> Any:
    """log(decay) for a decay in [0, 1): in Python where it is a Python number; finite for 0.

    As log1p(decay - 1) where it is an array, because decay - 1 is exact near one. Of 0 it is the
    logarithm of the smallest normal number: a product with that is 0 beside any other weight.
    """
    least = math.log(jnp.finfo(dtype).tiny)
    if isinstance(decay, (int, float)):
        return max(math.log(decay), least) if decay > 0 else least
    return jnp.maximum(jnp.log1p(decay.astype(dtype) - 1), least)


def average_length(decay: Scalar, step: jax.Array) -> tuple[jax.Array, Any]:
    """(ρₜ, ρ∞): how many equal weights have the mean age of an exponential average's weights.

    ρ∞ = 2 / (1 - β) - 1 and ρₜ = ρ∞ - 2 t βᵗ / (1 - βᵗ), which cancels where t (1 - β) is small:
    for β = 0.9999 float32 would say 7.5 for 5 at step 5. There, with L = -log β and
    c(y) = y coth(y) - 1, it is computed as t - (2 / L) (c(t L / 2) - c(L / 2)), whose terms are
    of the size of the result.

    Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", 2020, algorithm 2.
    https://arxiv.org/abs/1908.03265
    """
    count = step.astype(float)
    rate = -log_decay(decay, count.dtype)
    limit = (1 + like(decay, count)) / like(complement(decay), count)
    x = count * rate
    excess = _coth_excess(jnp.minimum(x, 2.0) / 2) - _coth_excess(jnp.minimum(rate, 2.0) / 2)
    near = count - 2 / rate * excess
    far = limit - 2 * count / jnp.expm1(x)
    return jnp.where(x < 2, near, far), limit


def _coth_excess(y: Any) -> Any:
    """y coth(y) - 1 for y in [0, 1], to float64's last digit: Lambert's continued fraction."""
    tail: Any = 0.0
    for odd in range(19, 1, -2):
        tail = y * y / (odd + tail)
    return tail


def abs_sq(x: jax.Array) -> jax.Array:
    """|x|²: real, also for complex x, without the square root of abs."""
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return _add(_square(lax.real(x)), _square(lax.imag(x)))
    return _square(x)


def safe_increment(count: Any) -> jax.Array:
    """count + 1, held at the largest number of its dtype instead of wrapping to a negative one."""
    return _increment(jnp.asarray(count))


@either_way
def _increment(count: jax.Array) -> jax.Array:
    limits = jnp.iinfo if jnp.issubdtype(count.dtype, jnp.integer) else jnp.finfo
    below = lax.lt(count, _beside(count, limits(count.dtype).max))
    return lax.add(count, lax.convert_element_type(below, count.dtype))


def norm(x: jax.Array, axis: Any = None, keepdims: bool = False) -> jax.Array:
    """The 2-norm of one leaf, or along axes of it, accumulated in at least float32; real."""
    return jnp.sqrt(jnp.sum(abs_sq(cast(x, wide_dtype(x.dtype))), axis=axis, keepdims=keepdims))


def norm_dtype(leaf: Any) -> Any:
    """The dtype of a leaf's norm: real, and at least float32."""
    return jnp.finfo(wide_dtype(jnp.result_type(leaf))).dtype


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


def square_root(number: Scalar) -> Scalar:
    """sqrt(number): in Python where it is a Python number."""
    return math.sqrt(number) if isinstance(number, (int, float)) else jnp.sqrt(number)


def divide_above_one(x: jax.Array, size: jax.Array) -> jax.Array:
    """x / max(1, size): what has a size above 1 is brought down to it."""
    return over(x, jnp.maximum(size, jnp.ones_like(size)))
