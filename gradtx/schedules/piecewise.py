"""Levels at given steps, each a multiple of the one before: held in between, or interpolated.

Source: none (levels that somebody chose by hand).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from gradtx.schedules.exact.arithmetic import Shares, mix, shares_between
from gradtx.schedules.exact.pairs import Exact, multiply, number, pick
from gradtx.schedules.exact.shapes import SHAPES
from gradtx.schedules.fields import Interpolation, Level
from gradtx.schedules.schedule import Precise
from gradtx.values.kinds import Integer, Maybe, Real
from gradtx.values.value import static
from gradtx.values.wording import shown

__all__ = ["piecewise_constant_schedule", "piecewise_interpolate_schedule", "through"]


class _Scales:
    """step -> factor, sorted by step; factors at least 0."""

    def accept(self, owner: str, name: str, value: Any) -> dict[int, Any] | None:
        if not isinstance(value, Mapping):
            raise TypeError(f"{owner}({name}={shown(value)}): {name} must be a dict of step: factor.")
        steps = sorted(Integer(low=0).accept(owner, f"{name}: a boundary", b) for b in value)
        return {b: Real(0).accept(owner, f"{name}[{b}]", value[b]) for b in steps} or None


Scales = Annotated[Mapping[int, float] | None, Maybe(_Scales())]


def _levels(init_value: Any, scales: Mapping[int, Any] | None) -> list[tuple[int, Any]]:
    """(step, level) from step 0 on."""
    level = number(init_value)
    found = [(0, level)]
    for boundary, factor in sorted((scales or {}).items()):
        level = multiply(level, number(factor))
        found.append((boundary, level))
    return found


class piecewise_constant_schedule(Precise):
    """A level that is multiplied at given steps, and held in between.

    Args:
        init_value: the level before the first boundary.
        boundaries_and_scales: step -> what to multiply by from that step on, at least 0.

    Raises:
        ValueError: a boundary is not a step, or a scale is negative.
    """

    init_value: Level
    boundaries_and_scales: Scales = None

    def at(self, step: jax.Array) -> Exact:
        (_, level), *rest = _levels(self.init_value, self.boundaries_and_scales)
        for boundary, after in rest:
            level = pick(step >= boundary, after, level)
        return level


class piecewise_interpolate_schedule(Precise):
    """From level to level through given steps, along straight lines or half cosines.

    The level at a boundary is the level at the boundary before, times the boundary's scale; the
    last one is held.

    Args:
        interpolate_type: 'linear' or 'cosine'.
        init_value: the level at step 0.
        boundaries_and_scales: step -> the level there as a multiple of the one before, at least 0.

    Raises:
        ValueError: a boundary is not a step, or a scale is negative.
    """

    interpolate_type: Interpolation = static()
    init_value: Level
    boundaries_and_scales: Scales = None

    def at(self, step: jax.Array) -> Exact:
        knots = _levels(self.init_value, self.boundaries_and_scales)
        return through(step, knots, SHAPES[self.interpolate_type])


def through(
    step: jax.Array, knots: Sequence[tuple[float, Exact]], shape: Callable[[Shares], Shares]
) -> Exact:
    """The level on the way through knots (step, level), held before the first and after the last.

    Knots may lie between two steps. One that does not lie behind its predecessor is a jump.
    """
    level = knots[0][1]
    for (begin, first), (end, second) in itertools.pairwise(knots):
        inside = range(math.ceil(begin), math.ceil(end))
        if inside:
            held = jnp.clip(step, inside[0], inside[-1])
            way = shape(shares_between(held, begin, end))
            level = pick(step >= inside[0], mix(first, second, way), level)
        level = pick(step >= math.ceil(max(begin, end)), second, level)
    return level
