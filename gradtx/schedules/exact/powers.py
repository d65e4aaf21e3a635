"""Powers of pairs: 2ˣ and log₂ x, each by its whole part and a series, of which the first terms are pairs.

In float32, log₂ x of a number near one has a relative error below 1e-9, and 2ˣ one below 1e-9 besides what
the error of x makes of it.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
from jax import lax

from gradtx.schedules.exact.pairs import (
    Exact,
    Pair,
    add,
    divide,
    dtype,
    multiply,
    negative,
    pair,
    pick,
    subtract,
    traced_once,
    whole,
)

__all__ = ["exp2", "exp2_less_one", "log2", "polynomial", "power"]


def power(base: Any, count: jax.Array, per: int = 1) -> Exact:
    """base to the power of count / per, for count ≥ 0; it stops short of overflow."""
    if not isinstance(base, (int, float)):
        return exp2(divide(multiply(log2(pair(base)), whole(count)), per))
    return 1.0 if base == 1 else exp2(multiply(math.log2(base) / per, whole(count)))


@traced_once
def exp2(x: Pair) -> Pair:
    """2ˣ; it stops short of overflow, and is 0 where it would be no normal number."""
    scale, rest = _raised(x)
    least = np.asarray(_exponents()[0], scale.dtype)
    return pick(lax.lt(x.high, least), 0.0, _scaled(add(1.0, rest), scale))


@traced_once
def exp2_less_one(x: Pair) -> Pair:
    """2ˣ - 1, with its digits where x is small."""
    scale, rest = _raised(x)
    return add(_scaled(rest, scale), subtract(Pair(scale), 1.0))


@traced_once
def log2(x: Pair, less: Pair | None = None) -> Pair:
    """log₂ x, for x > 0.

    With x = 2ᵏ m and m near one it is k + 2 / log 2 · artanh((m - 1) / (m + 1)).

    Args:
        x: the number.
        less: 1 - x, where that is known with more digits than x tells.
    """
    most = float(_exponents()[1])
    twos = lax.round(lax.mul(lax.log(x.high), np.asarray(1 / math.log(2), x.high.dtype)))
    twos = lax.clamp(np.asarray(-most, twos.dtype), twos, np.asarray(most, twos.dtype))
    near = _scaled(x, _two_to(lax.neg(twos)))
    over = subtract(near, 1.0)
    if less is not None:
        over = pick(lax.eq(twos, np.zeros((), twos.dtype)), negative(less), over)
    small = divide(over, add(near, 1.0))
    square = lax.mul(small.high, small.high)
    first, *others = _ARTANH
    rest = lax.mul(square, polynomial(square, others[: 7 if square.dtype == np.float32 else None]))
    return add(Pair(twos), multiply(small, add(first, Pair(rest))))


def polynomial(x: jax.Array, coefficients: Any) -> jax.Array:
    """c₀ + c₁ x + c₂ x² + ..., in single floats."""
    *others, last = (np.asarray(c, x.dtype) for c in coefficients)
    total: Any = last
    for c in reversed(others):
        total = lax.add(lax.mul(total, x), c)
    return total


_ARTANH = [2 / math.log(2) / (2 * k + 1) for k in range(13)]
_EXP = [1 / math.factorial(k + 3) for k in range(14)]


def _raised(x: Pair) -> tuple[jax.Array, Pair]:
    """2ˣ as scale · (1 + rest), with a power of two and |rest| < ½; x is held in the range of exponents."""
    least, most = (np.asarray(n, x.high.dtype) for n in _exponents())
    held = lax.clamp(least, x.high, most)
    twos = lax.round(held)
    part = Pair(lax.sub(held, twos))
    if x.low is not None:
        part = add(part, pick(lax.eq(held, x.high), Pair(x.low), 0.0))
    y = multiply(part, math.log(2))
    cubic = polynomial(y.high, _EXP[: 7 if y.high.dtype == np.float32 else None])
    inner = add(0.5, Pair(lax.mul(y.high, cubic)))  # y + y² (½ + y (1/6 + ...)) = eʸ - 1
    return _two_to(twos), add(y, multiply(multiply(y, y), inner))


def _exponents() -> tuple[int, int]:
    """Of the smallest normal number, and a little below the largest."""
    limits = np.finfo(dtype())
    return int(limits.minexp), int(limits.maxexp) - 3


def _two_to(n: jax.Array) -> jax.Array:
    """2ⁿ for a whole n that is a normal number's: the exponent's bits."""
    limits = np.finfo(n.dtype)
    integer = np.dtype(f"int{limits.bits}")
    biased = lax.convert_element_type(n, integer) + integer.type(limits.maxexp - 1)
    return lax.bitcast_convert_type(lax.shift_left(biased, integer.type(limits.nmant)), n.dtype)


def _scaled(x: Pair, scale: jax.Array) -> Pair:
    """x times a power of two."""
    return Pair(lax.mul(x.high, scale), None if x.low is None else lax.mul(x.low, scale))
