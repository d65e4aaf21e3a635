"""Numbers about a decay β that keep their digits where β is near 1."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.numerics.dtypes import like

__all__ = ["average_length", "complement", "log_decay", "square_root"]

Scalar = Any
"""A Python number or an array: a field of an atom, whose schedules the contract has read."""


def complement(decay: Scalar) -> Scalar:
    """1 - decay; in Python's float64 where decay is a Python number, and rounded once."""
    return 1.0 - decay


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


def square_root(number: Scalar) -> Scalar:
    """sqrt(number): in Python where it is a Python number."""
    return math.sqrt(number) if isinstance(number, (int, float)) else jnp.sqrt(number)
