"""Shapes: how the straight way from one level to another is bent.

A shape takes and gives two shares, (down, up): what is left of the first level and what there is
of the second. Each is computed from the one that it is close to, so that both ends keep their
digits: cos falls to 1e-9 with seven of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from gradtx.schedules.arithmetic import Shares, number

__all__ = ["SHAPES", "cosine", "linear", "raised", "reflected", "square_root"]


def linear(way: Shares) -> Shares:
    """A straight line."""
    return way


def cosine(way: Shares) -> Shares:
    """Half a cosine: ½ (1 + cos πx) = sin²(π/2 (1 - x))."""
    return Shares(*(jnp.square(jnp.sin(math.pi / 2 * share)) for share in way))


def square_root(way: Shares) -> Shares:
    """1 - √x falls steeply at first. As (1 - x) / (1 + √x)."""
    root = jnp.sqrt(way.up)
    return Shares(way.down / (1 + root), root)


def reflected(way: Shares) -> Shares:
    """REX: (1 - x) / (½ + ½ (1 - x)) falls steeply at last."""
    return Shares(2 * way.down / (1 + way.down), way.up / (1 + way.down))


def raised(way: Shares, exponent: Any) -> Shares:
    """The falling share to a power: downᵉ and 1 - downᵉ, the latter from log(1 - up)."""
    if isinstance(exponent, float) and exponent == 1:
        return way
    exponent = number(exponent)
    before_end = way.up < 1
    up = -jnp.expm1(exponent * jnp.log1p(-jnp.where(before_end, way.up, 0.5)))
    return Shares(way.down**exponent, jnp.where(before_end, up, 1.0))


SHAPES: dict[str, Callable[[Shares], Shares]] = {
    "linear": linear,
    "cosine": cosine,
    "sqrt": square_root,
}
"""Those that a schedule names."""
