"""Arithmetic on steps that keeps float32's digits: whole numbers as long as possible, then one rounding.

A step is an int32 up to 2³¹ - 1, of which float32 keeps 24 bits. So phases, distances and numbers
of cycles are computed in whole numbers. What falls and what rises along a way are two shares, each
computed from its own end, because 1 - share has lost the digits of a small result.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx.schedules.fields import LAST

__all__ = ["Shares", "as_step", "mix", "number", "phase", "power", "real", "shares", "shares_between"]


class Shares(NamedTuple):
    """How much of the first level, and how much of the second; they add up to one."""

    down: jax.Array
    up: jax.Array


def real(x: Any) -> jax.Array:
    """`x` in the precision of schedules: float64 where x64 is enabled, else float32."""
    return jnp.asarray(x, float)


def number(x: Any) -> Any:
    """`x` for arithmetic: a Python number as it is, so that it is rounded last; else as `real`."""
    return x if isinstance(x, (int, float)) else real(x)


def as_step(owner: Any, step: Any) -> jax.Array:
    """The step as whole numbers of at least 32 bits, signed.

    Raises:
        TypeError: it is not a whole number.
    """
    step = jnp.asarray(step)
    if not jnp.issubdtype(step.dtype, jnp.integer):
        raise TypeError(
            f"{type(owner).__name__}: the step must be a whole number, not {step.dtype}; it counts updates "
            "from 0."
        )
    return step if step.dtype == jnp.int64 else step.astype(jnp.int32)


def phase(step: jax.Array, period: int) -> tuple[jax.Array, jax.Array]:
    """(how many periods have passed, how many steps of this one); the period may exceed int32."""
    return (step * 0, step) if period > LAST else (step // period, step % period)


def mix(first: Any, second: Any, weights: Shares) -> jax.Array:
    """The level between two."""
    return number(first) * weights.down + number(second) * weights.up


def shares(step: jax.Array, begin: int, steps: int) -> Shares:
    """Along a straight way: (1, 0) until `begin`, (0, 1) from `begin + steps` on."""
    passed = jnp.clip(step - begin, 0, steps)
    return Shares(real(steps - passed) / steps, real(passed) / steps)


def shares_between(step: jax.Array, begin: float, end: float) -> Shares:
    """`shares` for a way whose ends are any numbers, `begin` below `end`; they may lie beyond int32."""
    whole = end - begin
    up, down = _distance(step, begin) / whole, -_distance(step, end) / whole
    return Shares(jnp.clip(down, 0, 1), jnp.clip(up, 0, 1))


def _distance(step: jax.Array, place: float) -> jax.Array:
    """step - place: in whole numbers as far as they go, then what is left of `place`."""
    nearest = min(max(math.floor(place), 0), LAST)
    return real(step - nearest) + (nearest - place)


def power(base: Any, count: jax.Array, per: int = 1) -> jax.Array:
    """base to the power of count / per, for count >= 0; it stops short of overflow.

    Correct to rounding where the base is a Python number. The rounding error of a traced base
    comes in `count / per` times.
    """
    if isinstance(base, (int, float)):
        return _power_of_two(math.log2(base) / per, count)
    exponent = real(count) / per * jnp.log(real(base))
    return jnp.exp(jnp.minimum(exponent, math.log(2) * _most_twos()))


def _power_of_two(rate: float, count: jax.Array) -> jax.Array:
    """2 to the power of rate × count.

    A product of 50 has in float32 an error of 4e-6 that goes into the result. So the count is cut
    into three pieces of 11 bits and the rate into 13 bits and the rest: each product is exact, and
    so is what it leaves when its nearest whole number is taken away.
    """
    twos, part = jnp.zeros_like(real(count)), jnp.zeros_like(real(count))
    for shift in (0, 11, 22):
        piece = real((count >> shift) & 2047)
        unit = math.ldexp(rate, shift)
        head = _first_bits(unit, 13)
        product = piece * head
        twos += jnp.round(product)
        part += (product - jnp.round(product)) + piece * (unit - head)
    # 2^-1100 is zero in float64 too; of numbers that are far beyond, `part` has kept no digit.
    twos = jnp.clip(twos, -1100, _most_twos()).astype(jnp.int32)
    return jnp.ldexp(jnp.exp2(jnp.clip(part, -2, 2)), twos)


def _most_twos() -> int:
    return int(jnp.finfo(real(0.0).dtype).maxexp) - 3


def _first_bits(x: float, bits: int) -> float:
    mantissa, exponent = math.frexp(x)
    return math.ldexp(round(math.ldexp(mantissa, bits)), exponent - bits)
