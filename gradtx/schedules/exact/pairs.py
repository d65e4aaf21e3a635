"""Numbers as pairs of floats, high + low: twice the digits where there is no wider type, as in float32.

    x = high + low,  |low| ≤ half a last place of high

A sum of two floats is a pair without an error (Knuth). For a product the factors are cut into halves, whose
products have room in one float (Dekker). All that is multiplied are halves, and what lies far below the last
place: whether XLA contracts a · b + c or not makes no difference. In float32 a product, a quotient or a root
has a relative error below 2⁻³⁵ = 3e-11, and a sum one of 2⁻⁴⁶ of its terms. All is plain arithmetic, which is
differentiated and mapped as it stands.

A Python number is a number too, with all its digits: it becomes a pair where it meets one.

Dekker, "A floating-point technique for extending the available precision", 1971.
Knuth, "The Art of Computer Programming", volume 2, section 4.2.2, theorem B.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradtx.values.kinds import is_traced

__all__ = [
    "Exact",
    "Pair",
    "add",
    "below",
    "divide",
    "dtype",
    "multiply",
    "negative",
    "number",
    "pair",
    "pick",
    "root",
    "rounded",
    "subtract",
    "traced_once",
    "whole",
]


class Pair(NamedTuple):
    """high + low; a low of None is a zero that is known before anything runs."""

    high: Any
    low: Any = None


Exact = Any
"""A Python number (also a Fraction), or a Pair."""


traced_once: Any = functools.partial(jax.jit, inline=True)
"""Makes an operation that is traced once, then copied into what calls it: a third of the time of its parts.

By itself it is one compiled call.
"""


def dtype() -> np.dtype[Any]:
    """float64 where x64 is enabled, else float32."""
    return np.dtype(jnp.result_type(float))


def pair(x: Any) -> Pair:
    """A Python number with as many digits as two floats have, an array as it is."""
    if isinstance(x, Pair):
        return x
    if not _is_python(x):
        return Pair(jnp.asarray(x, float))
    with np.errstate(over="ignore"):
        high = dtype().type(x)
    if not math.isfinite(high):
        return Pair(high)
    low = dtype().type(Fraction(x) - Fraction(float(high)))
    return Pair(high, low if low else None)


def number(x: Any) -> Exact:
    """A Python number as it is, an array as a pair."""
    return x if _is_python(x) else pair(x)


def whole(n: jax.Array, most: int | None = None) -> Pair:
    """A whole number of an int32; of an int64 what two floats hold.

    Args:
        n: the number.
        most: a bound of |n|, where one is known. A small number takes one float.
    """
    bits = np.finfo(dtype()).nmant + 1
    if (bits > 32 and n.dtype != np.int64) or (most is not None and most <= 2**bits):
        return Pair(lax.convert_element_type(n, dtype()))
    return _whole(n)


def rounded(x: Exact) -> jax.Array:
    """The float nearest to it: the one rounding."""
    if _is_python(x):
        return jnp.asarray(x, float)
    return x.high if x.low is None else _rounded(x)


def add(a: Exact, b: Exact) -> Exact:
    """a + b."""
    if _is_python(a) and _is_python(b):
        return a + b
    if _is_python(a) and a == 0:
        return b
    if _is_python(b) and b == 0:
        return a
    a, b = pair(a), pair(b)
    # XLA makes a of (a + b) - b where b is a constant, and so takes the error of that sum for nothing.
    return _add(a, b) if is_traced(a.high) else _add(b, a)


def negative(a: Exact) -> Exact:
    """-a."""
    return -a if _is_python(a) else Pair(*(None if x is None else lax.neg(x) for x in a))


def subtract(a: Exact, b: Exact) -> Exact:
    """a - b."""
    return add(a, negative(b))


def multiply(a: Exact, b: Exact) -> Exact:
    """a · b."""
    if _is_python(a) and _is_python(b):
        return a * b
    for known, other in ((a, b), (b, a)):
        if _is_python(known) and known in (0, 1):
            return other if known else 0.0
    return _multiply(pair(a), pair(b))


def divide(a: Exact, b: Exact) -> Exact:
    """a / b."""
    if _is_python(b):
        return a / b if _is_python(a) else multiply(a, 1 / Fraction(b))
    return _divide(pair(a), b)


def root(a: Pair) -> Pair:
    """√a, for a ≥ 0, where it has no derivative at 0."""
    return _root(a)


def pick(condition: jax.Array, a: Exact, b: Exact) -> Pair:
    """a where the condition holds, else b."""
    return _pick(condition, pair(a), pair(b))


def below(a: Exact, b: Exact) -> jax.Array:
    """Whether a < b, which also pairs of one and the same high say."""
    high = pair(subtract(a, b)).high
    return lax.lt(high, np.zeros((), high.dtype))


# ---------------------------------------------------------------- of parts


def _is_python(x: Any) -> bool:
    return isinstance(x, (int, float, Fraction))


@traced_once
def _whole(n: jax.Array) -> Pair:
    last = lax.bitwise_and(n, n.dtype.type(2 ** ((np.finfo(dtype()).nmant + 1) // 2) - 1))
    return _quick_sum(*(lax.convert_element_type(x, dtype()) for x in (lax.sub(n, last), last)))


@traced_once
def _rounded(x: Pair) -> jax.Array:
    nearest = lax.add(x.high, x.low)
    return _select(lax.is_finite(nearest), nearest, x.high)  # what has overflowed has no low


@traced_once
def _add(a: Pair, b: Pair) -> Pair:
    total = _two_sum(a.high, b.high)
    return _quick_sum(total.high, _sum(total.low, _sum(a.low, b.low)))


@traced_once
def _multiply(a: Pair, b: Pair) -> Pair:
    (p, q), (r, s) = _halves(a.high), _halves(b.high)
    beside = _sum(_times(a.high, b.low), _times(a.low, b.high))
    rest = _sum(lax.add(lax.mul(p, s), lax.mul(q, r)), _sum(lax.mul(q, s), beside))
    product = _quick_sum(lax.mul(p, r), rest)
    # Splitting fails near the smallest normal number, where a half underflows, and at infinity, where it is
    # NaN: there we multiply plain floats.
    single, limits = lax.mul(a.high, b.high), np.finfo(a.high.dtype)
    least = np.ldexp(limits.tiny, limits.nmant + 13)
    ordinary = lax.bitwise_and(lax.gt(lax.abs(single), least), lax.is_finite(single))
    return Pair(
        *(_select(ordinary, x, y) for x, y in zip(product, (single, np.zeros_like(least)), strict=True))
    )


@traced_once
def _divide(a: Pair, b: Pair) -> Pair:
    quotient = lax.div(a.high, b.high)
    left = add(negative(multiply(Pair(quotient), b)), a)  # a may be a constant
    return _quick_sum(quotient, lax.div(left.high, b.high))


@traced_once
def _root(a: Pair) -> Pair:
    near = lax.sqrt(a.high)
    left = subtract(a, multiply(Pair(near), Pair(near)))
    twice = _select(lax.gt(near, np.zeros((), near.dtype)), lax.add(near, near), np.ones((), near.dtype))
    return _quick_sum(near, lax.div(left.high, twice))


@traced_once
def _pick(condition: jax.Array, a: Pair, b: Pair) -> Pair:
    if a.low is None and b.low is None:
        return Pair(_select(condition, a.high, b.high))
    zero = np.zeros((), a.high.dtype)
    lows = (zero if x.low is None else x.low for x in (a, b))
    return Pair(_select(condition, a.high, b.high), _select(condition, *lows))


def _select(condition: Any, a: Any, b: Any) -> jax.Array:
    shapes = [np.shape(x) for x in (condition, a, b)]
    if len({*shapes}) > 1:
        shape = np.broadcast_shapes(*shapes)
        condition, a, b = (jnp.broadcast_to(x, shape) for x in (condition, a, b))
    return lax.select(condition, a, b)


def _two_sum(a: Any, b: Any) -> Pair:
    """a + b, exactly; a must not be a constant."""
    total = lax.add(a, b)
    of_b = lax.sub(total, a)
    return Pair(total, lax.add(lax.sub(a, lax.sub(total, of_b)), lax.sub(b, of_b)))


def _quick_sum(a: Any, b: Any) -> Pair:
    """a + b, exactly where |a| is not below |b|."""
    if b is None:
        return Pair(a)
    total = lax.add(a, b)
    return Pair(total, lax.sub(b, lax.sub(total, a)))


def _halves(x: Any) -> tuple[Any, Any]:
    """x as a sum of its first and its last bits: 12 each of float32's 24, 26 and 27 of float64's."""
    limits = np.finfo(x.dtype)
    bits = (limits.nmant + 1) // 2
    head = lax.reduce_precision(x, limits.nexp, bits - 1)
    return head, lax.sub(x, head)


def _sum(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    return lax.add(a, b)


def _times(a: Any, b: Any) -> Any:
    return None if a is None or b is None else lax.mul(a, b)
