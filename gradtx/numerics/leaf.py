"""Arithmetic of one leaf: which way to multiply by a number.

    u * s                    a researcher's own formula: right for float32 leaves and Python numbers
    numerics.times(u, s)     the library: keeps the dtype of u for any number s (traced, float32, real where u
                             is complex), traces in a fifth of the time, and is dispatched as one call
    numerics.like(s, u)      a number that goes into jnp or an operator: s in the precision of u, so that a
                             float32 number does not promote a bfloat16 leaf, under strict promotion too

`over`, `plus`, `minus` and `total` are to division, sums, differences and `sum` what `times` is to products.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradtx.numerics.decays import Scalar
from gradtx.numerics.dispatch import either_way
from gradtx.numerics.dtypes import cast, wider

__all__ = [
    "Square",
    "abs_sq",
    "beside",
    "counter",
    "cube_root",
    "divide_above_one",
    "finite",
    "lerp",
    "minus",
    "over",
    "plus",
    "plus_times",
    "root",
    "safe_increment",
    "times",
    "times_square",
    "total",
    "within",
]


_add, _minus, _mul, _div = (either_way(f) for f in (lax.add, lax.sub, lax.mul, lax.div))
_square = either_way(lax.square)
_sum = either_way(lambda x: lax.reduce_sum(x, tuple(range(x.ndim))))


def times(x: jax.Array, y: Any) -> jax.Array:
    """x · y for a leaf x and a number, or an array that broadcasts to its shape, y; in the dtype of x."""
    return _by(_mul, x, y)


def over(x: jax.Array, y: Any) -> jax.Array:
    """x / y; see times."""
    return _by(_div, x, y)


def within(quotient: jax.Array, denominator: jax.Array) -> jax.Array:
    """The quotient, or 0 where its denominator is infinite, which inf / inf would make NaN.

    Args:
        quotient: n / d.
        denominator: d, real.
    """
    return jnp.where(jnp.isposinf(denominator), jnp.zeros_like(quotient), quotient)


def finite(x: jax.Array) -> jax.Array:
    """x with the largest number in the place of an infinity, so that it may be divided by one; NaN stays."""
    return x if jnp.issubdtype(x.dtype, jnp.complexfloating) else _clamped(x)


@either_way
def _clamped(x: jax.Array) -> jax.Array:
    most = jnp.finfo(x.dtype).max
    return lax.clamp(np.asarray(-most, x.dtype), x, np.asarray(most, x.dtype))


def total(x: jax.Array) -> jax.Array:
    """The sum of all entries, in the dtype of x; see times."""
    return _sum(x)


def plus(x: jax.Array, y: Any) -> jax.Array:
    """x + y; see times."""
    return _add(x, _beside(x, y))


def root(x: jax.Array) -> jax.Array:
    """sqrt(x), entry by entry; where x is 0 its derivative is taken to be 0.

    The derivative from the right is infinite there, and times the 0 by which an average of zeros changes with
    its decay it is NaN; of |g|, the root of g², 0 is the mean of the two one-sided derivatives.
    """
    return _sqrt(x)


def cube_root(x: jax.Array) -> jax.Array:
    """The cube root, entry by entry; where x is 0 its derivative is taken to be 0, as in `root`."""
    return _cbrt(x)


def _of_zero_too(root: Any, power: int) -> Any:
    """The root of that power, with the derivative 0 where it is 0; the program without it is the same."""

    @jax.custom_jvp
    def of(x: jax.Array) -> jax.Array:
        return root(x)

    @of.defjvp
    def slope(primals: Any, tangents: Any) -> Any:
        (x,), (t,) = primals, tangents
        y = of(x)
        above = lax.ne(y, lax.full_like(y, 0))
        nonzero = lax.select(above, y, lax.full_like(y, 1))
        by = lax.div(lax.full_like(y, 1 / power), lax.integer_pow(nonzero, power - 1))
        return y, lax.mul(t, lax.select(above, by, lax.full_like(y, 0)))

    return either_way(of)


_sqrt, _cbrt = _of_zero_too(lax.sqrt, 2), _of_zero_too(lax.cbrt, 3)


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
    """`number` as a real scalar in the leaf's precision, ready for an `either_way` operation."""
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


class Square:
    """|x|² that has not been computed yet: `lerp` takes it, and is finite where the square alone is not.

    Args:
        root: x, a leaf; real or complex.
    """

    __slots__ = ("root",)

    def __init__(self, root: jax.Array) -> None:
        self.root = root

    @property
    def shape(self) -> tuple[int, ...]:
        """That of x."""
        return self.root.shape

    @property
    def dtype(self) -> Any:
        """The square's, which is real."""
        return jnp.finfo(self.root.dtype).dtype


def lerp(old: jax.Array, new: jax.Array | Square, weight: Scalar) -> jax.Array:
    """old + weight (new - old), for a weight in (0, 1]; finite wherever that is.

    Not decay * old + (1 - decay) * new: in float32 those two factors round apart and do not sum
    to one, which biases the average at every step. An infinite average stays so, instead of becoming
    inf - inf.

    Args:
        old: what is moved.
        new: where to; a `Square` of 1e20 is infinite in float32, a thousandth of it is not.
        weight: how far.
    """
    dtype = wider(old.dtype, new.dtype)
    old = cast(old, dtype)
    weight = beside(weight, old)
    if isinstance(weight, np.ndarray) and weight == 1:  # nothing is left of the old one, infinite or not
        return cast(abs_sq(new.root) if isinstance(new, Square) else new, dtype)
    if isinstance(new, Square) and jnp.issubdtype(dtype, jnp.complexfloating):
        real = lerp(lax.real(old), new, weight)  # the average of real squares, kept as the parameters are
        return lax.complex(real, lax.full_like(real, 0))
    if isinstance(new, Square):
        root = new.root if jnp.finfo(new.root.dtype).bits == jnp.finfo(dtype).bits else _wide(new.root, dtype)
        return _lerp_to_square(old, root, weight)
    new = cast(new, dtype)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return lax.complex(*(_lerp(part(old), part(new), weight) for part in (lax.real, lax.imag)))
    return _lerp(old, new, weight)


def _wide(x: jax.Array, real: Any) -> jax.Array:
    return cast(x, jnp.promote_types(real, jnp.complex64) if jnp.iscomplexobj(x) else real)


@either_way
def _lerp(old: jax.Array, new: jax.Array, weight: jax.Array) -> jax.Array:
    # In halves, which are exact, the difference does not overflow. Nothing is read twice, or XLA would store
    # a quotient that is averaged.
    half = minus(times(new, 0.5), times(_finite(old), 0.5))
    return plus(old, times(half, weight + weight))


@either_way
def _lerp_to_square(old: jax.Array, root: jax.Array, weight: jax.Array) -> jax.Array:
    beyond = minus(abs_sq(root), old)
    mixed = plus(minus(old, times(_finite(old), weight)), times_square(root, weight))
    return lax.select(lax.is_finite(beyond), plus(old, times(beyond, weight)), mixed)


def _finite(x: jax.Array) -> jax.Array:
    """The largest number instead of an infinite one: what is taken off an infinite average leaves it so."""
    most = jnp.finfo(x.dtype).max
    return lax.clamp(-most, x, most)


def abs_sq(x: jax.Array) -> jax.Array:
    """|x|²: real, also for complex x, without the square root of abs."""
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return _add(_square(lax.real(x)), _square(lax.imag(x)))
    return _square(x)


def times_square(x: jax.Array, weight: Any) -> jax.Array:
    """weight |x|², which may be finite where |x|² is not; real."""
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return _add(*(_mul(times(part, weight), part) for part in (lax.real(x), lax.imag(x))))
    return _mul(times(x, weight), x)


def counter() -> jax.Array:
    """A counter at zero: an int32 also where 64-bit types are enabled, so that a state keeps its type."""
    return jnp.zeros((), jnp.int32)


def safe_increment(count: Any) -> jax.Array:
    """count + 1, held at the largest number of its dtype instead of wrapping to a negative one.

    Args:
        count: an integer or a real number, of any shape.

    Raises:
        ValueError: it is a boolean or complex, which has no largest number.
    """
    count = jnp.asarray(count)
    if not jnp.issubdtype(count.dtype, jnp.integer) and not jnp.issubdtype(count.dtype, jnp.floating):
        raise ValueError(f"safe_increment: expected an integer or a real number, not {count.dtype}.")
    return _increment(count)


@either_way
def _increment(count: jax.Array) -> jax.Array:
    limits = jnp.iinfo if jnp.issubdtype(count.dtype, jnp.integer) else jnp.finfo
    below = lax.lt(count, _beside(count, limits(count.dtype).max))
    return lax.add(count, lax.convert_element_type(below, count.dtype))


def divide_above_one(x: jax.Array, size: jax.Array) -> jax.Array:
    """x / max(1, size): what has a size above 1 is brought down to it."""
    return over(x, jnp.maximum(size, jnp.ones_like(size)))
