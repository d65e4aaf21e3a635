"""Shapes: how the straight way from one level to another is bent.

A shape takes and gives two shares, (down, up): what is left of the first level and what there is
of the second. Each is computed from the one that it is close to, so that both ends keep their
digits: cos falls to 1e-9 with seven of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jax import lax

from gradtx.schedules.exact.arithmetic import Shares
from gradtx.schedules.exact.pairs import (
    Pair,
    add,
    below,
    divide,
    multiply,
    negative,
    number,
    pick,
    root,
    subtract,
    traced_once,
)
from gradtx.schedules.exact.powers import exp2, exp2_less_one, log2, polynomial

__all__ = ["SHAPES", "cosine", "linear", "raised", "reflected", "square_root"]


def linear(way: Shares) -> Shares:
    """A straight line."""
    return way


@traced_once
def cosine(way: Shares) -> Shares:
    """Half a cosine: ½ (1 + cos πx) = sin²(π/2 (1 - x)), and one minus that: the smaller share's first."""
    falling = below(way.down, way.up)
    small = _sine_squared(pick(falling, way.down, way.up))
    large = subtract(1.0, small)
    return Shares(pick(falling, small, large), pick(falling, large, small))


def _sine_squared(x: Pair) -> Pair:
    """sin²(π/2 x) for x in [0, ½]: x² (π²/4 - π⁴/48 x² + ...), with pairs for the first two terms."""
    first, second, *others = _SINE_SQUARED
    square = multiply(x, x)
    rest = polynomial(square.high, others[: 5 if square.high.dtype == np.float32 else None])
    inner = add(second, Pair(lax.mul(square.high, rest)))
    return multiply(square, add(first, multiply(square, inner)))


_SINE_SQUARED = [(-1) ** k * math.pi ** (2 * k + 2) / (2 * math.factorial(2 * k + 2)) for k in range(12)]


@traced_once
def square_root(way: Shares) -> Shares:
    """1 - √x falls steeply at first. As (1 - x) / (1 + √x)."""
    up = root(way.up)
    return Shares(divide(way.down, add(1.0, up)), up)


@traced_once
def reflected(way: Shares) -> Shares:
    """REX: (1 - x) / (½ + ½ (1 - x)) falls steeply at last."""
    whole = add(1.0, way.down)
    return Shares(divide(multiply(2.0, way.down), whole), divide(way.up, whole))


def raised(way: Shares, exponent: Any) -> Shares:
    """The falling share to a power: downᵉ and 1 - downᵉ, both from the logarithm of down."""
    if isinstance(exponent, float) and exponent == 1:
        return way
    ended = lax.le(way.down.high, np.zeros((), way.down.high.dtype))
    rate = log2(pick(ended, 0.5, way.down), pick(ended, 0.5, way.up))
    twos = multiply(rate, number(exponent))
    return Shares(
        pick(ended, 0.0, exp2(twos)),
        pick(ended, 1.0, negative(exp2_less_one(twos))),
    )


SHAPES: dict[str, Callable[[Shares], Shares]] = {
    "linear": linear,
    "cosine": cosine,
    "sqrt": square_root,
}
"""Those that a schedule names."""
