"""Arithmetic on steps that keeps all of float32's digits: whole numbers, then pairs, then one rounding.

A step is an int32 up to 2³¹ - 1, of which float32 keeps 24 bits. So phases, distances and numbers
of cycles are computed in whole numbers, and what follows in pairs of floats (`gradtx.pairs`), until the
schedule rounds its level. What falls and what rises along a way are two shares, each computed from
its own end, because 1 - share has lost the digits of a small result.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

import jax
from jax import lax

from gradtx.schedules.exact.pairs import Exact, Pair, add, multiply, number, whole

__all__ = ["LAST", "Shares", "mix", "phase", "shares", "shares_between"]


class Shares(NamedTuple):
    """How much of the first level, and how much of the second; they add up to one."""

    down: Pair
    up: Pair


def phase(step: jax.Array, period: int) -> tuple[jax.Array, jax.Array]:
    """(how many periods have passed, how many steps of this one); the period may exceed int32."""
    return (step * 0, step) if period > LAST else (step // period, step % period)


def mix(first: Any, second: Any, weights: Shares) -> Exact:
    """The level between two."""
    return add(multiply(number(first), weights.down), multiply(number(second), weights.up))


def shares(step: jax.Array, begin: int, steps: int) -> Shares:
    """Along a straight way: (1, 0) until `begin`, (0, 1) from `begin + steps` on."""
    passed = lax.clamp(step.dtype.type(0), step - begin, step.dtype.type(steps))
    each = Fraction(1, steps)
    down, up = (multiply(whole(n, steps), each) for n in (steps - passed, passed))
    return Shares(down, up)


def shares_between(step: jax.Array, begin: float, end: float) -> Shares:
    """`shares` at a step from `begin` to `end`, which are any numbers, the former below the latter."""
    each = 1 / (Fraction(end) - Fraction(begin))
    up, down = multiply(_distance(step, begin), each), multiply(_distance(step, end), -each)
    return Shares(down, up)


def _distance(step: jax.Array, place: float) -> Exact:
    """step - place: in whole numbers as far as they go, then what is left of `place`."""
    nearest = min(max(math.floor(place), 0), LAST)
    return add(whole(step - nearest), Fraction(nearest) - Fraction(place))


LAST = 2**31 - 1
"""The largest step: int32's last number, where the counters of transformations stop."""
