"""Kinds of fields that schedules have: levels, counts of steps, boundaries, names of shapes, schedules."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import jax
import numpy as np

from gradtx.schedules.schedule import Schedule, as_schedule
from gradtx.values.kinds import AtLeastOne, Choice, Integer, Real
from gradtx.values.wording import shown

__all__ = [
    "Boundaries",
    "Factor",
    "Interpolation",
    "Level",
    "Parts",
    "Period",
    "Share",
    "Steps",
    "ascending",
]


Level = Annotated[float | jax.Array | np.ndarray | np.number, Real()]
"""A level: any finite number, traced or not; an array is a sweep's, to be mapped over."""
Factor = Annotated[float | jax.Array | np.ndarray | np.number, Real(0, open_low=True)]
"""A number above 0."""
Share = Annotated[float, Real(0, 1, fixed=True)]
"""A part of the whole, in [0, 1]; static where it says how many steps."""


Steps = Annotated[int, Integer(low=0)]
"""How many steps, or at which."""
Period = AtLeastOne


def ascending(owner: str, name: str, value: Any, *, strictly: bool) -> tuple[int, ...]:
    """Steps in increasing order, checked; equal neighbours only where not `strictly`."""
    value = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(value, Iterable) or isinstance(value, (str, jax.Array)):
        raise TypeError(f"{owner}({name}={shown(value)}): {name} must be a sequence of steps.")
    steps = tuple(Integer(low=0).accept(owner, f"{name}[{i}]", b) for i, b in enumerate(value))
    if any(a > b or (strictly and a == b) for a, b in itertools.pairwise(steps)):
        raise ValueError(f"{owner}({name}={steps}): {name} must increase.")
    return steps


class _Ascending:
    """Steps in order; the same step may be there twice."""

    def accept(self, owner: str, name: str, value: Any) -> tuple[int, ...]:
        return ascending(owner, name, value, strictly=False)


Boundaries = Annotated[tuple[int, ...], _Ascending()]


Interpolation = Annotated[Literal["linear", "cosine"], Choice("linear", "cosine")]


class _Parts:
    """Schedules, at least one; functions of the step become schedules."""

    def accept(self, owner: str, name: str, value: Any) -> tuple[Schedule, ...]:
        if not isinstance(value, (tuple, list)):
            raise TypeError(f"{owner}({name}={shown(value)}): {name} must be a tuple of schedules.")
        if not value:
            raise ValueError(f"{owner}: {name} must have at least one schedule.")
        return tuple(as_schedule(owner, f"{name}[{i}]", s) for i, s in enumerate(value))


Parts = Annotated[tuple[Schedule, ...], _Parts()]
