"""Schedules of schedules: one after the other, products, sums, and a clock that counts epochs.

Source: none (arithmetic on schedules; each of them has its own source).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.schedules.exact.arithmetic import LAST
from gradtx.schedules.exact.pairs import Exact, add, multiply, pick
from gradtx.schedules.fields import Parts, Period, ascending
from gradtx.schedules.schedule import Precise, Schedule, affine, as_schedule, before_rounding
from gradtx.values.kinds import several
from gradtx.values.value import static

__all__ = ["add_schedules", "join_schedules", "multiply_schedules", "per_epoch", "scale_schedule"]


class join_schedules(Precise):
    """One schedule after another; each counts from the boundary at which it takes over.

    Args:
        schedules: schedules, or functions of the step.
        boundaries: the steps at which the second, the third, ... take over; increasing.

    Raises:
        ValueError: not one boundary fewer than schedules, or not increasing.
    """

    schedules: Parts
    boundaries: tuple[int, ...] = static()

    def __post_init__(self) -> None:
        super().__post_init__()
        name, count = "join_schedules", len(self.schedules)
        ends = ascending(name, "boundaries", self.boundaries, strictly=True)
        if len(ends) != count - 1:
            raise ValueError(f"{name}: {count} schedules need {count - 1} boundaries, not {len(ends)}.")
        object.__setattr__(self, "boundaries", ends)

    def at(self, step: jax.Array) -> Exact:
        begins, ends = (0, *self.boundaries), (*self.boundaries, LAST)
        level: Exact = 0.0
        for i, (begin, end, schedule) in enumerate(zip(begins, ends, self.schedules, strict=True)):
            # Not outside of its own steps: what overflows there is not chosen, but makes NaN of a gradient.
            local = jnp.clip(step - begin, 0, max(end - begin - 1, 0))
            here = before_rounding(self, f"schedules[{i}]", schedule, local)
            level = pick(step < begin, level, here) if begin else here
        return level


class _Together(Precise, abstract=True):
    """Several schedules at the same step; nested ones of the same kind are one."""

    schedules: Parts

    def _open(self, schedules: tuple[Any, ...]) -> None:
        name, cls = type(self).__name__, type(self)
        parts = [as_schedule(name, f"schedules[{i}]", s) for i, s in enumerate(schedules)]
        flat = [p for part in parts for p in (part.schedules if isinstance(part, cls) else (part,))]
        object.__setattr__(self, "schedules", tuple(flat))
        self.__post_init__()

    def _arguments(self) -> Any:
        return ((None, part) for part in self.schedules)

    @classmethod
    def _rebuild(cls, fields: dict[str, Any]) -> Any:
        return cls(*several(cls.__name__, "schedules", fields["schedules"]))

    def _read(self, step: jax.Array) -> list[Exact]:
        return [before_rounding(self, f"schedules[{i}]", s, step) for i, s in enumerate(self.schedules)]


class multiply_schedules(_Together):
    """The product of schedules, all read at the same step. Associative: a product in it is opened.

    PyTorch's ChainedScheduler is the product of a schedule and of others that begin at 1.

    Args:
        schedules: schedules, or functions of the step; at least one.
    """

    def __init__(self, *schedules: Schedule | Callable[[Any], Any]) -> None:
        self._open(schedules)

    def at(self, step: jax.Array) -> Exact:
        return functools.reduce(multiply, self._read(step))


class add_schedules(_Together):
    """The sum of schedules, all read at the same step. Associative: a sum in it is opened.

    Args:
        schedules: schedules, or functions of the step; at least one.
    """

    def __init__(self, *schedules: Schedule | Callable[[Any], Any]) -> None:
        self._open(schedules)

    def at(self, step: jax.Array) -> Exact:
        return functools.reduce(add, self._read(step))


def scale_schedule(schedule: Any, factor: Any) -> affine:
    """A schedule times a number, which is data: `affine` with that slope.

    Args:
        schedule: a schedule, or a function of the step.
        factor: what to multiply it by.
    """
    return affine(schedule, slope=factor)


class per_epoch(Precise):
    """A schedule of epochs as one of batches: s(⌊step / n⌋).

    It acts together with an optimizer that adapts at every batch, multiplicatively:
    adam(per_epoch(step_decay_schedule(1e-3, 30), 500)) divides Adam's step by ten every 30 epochs.

    Args:
        schedule: s; a schedule, or a function of the epoch, which counts from 0.
        steps_per_epoch: n, how many updates an epoch has, at least 1.
    """

    schedule: Schedule
    steps_per_epoch: Period = static()

    def at(self, step: jax.Array) -> Exact:
        return before_rounding(self, "schedule", self.schedule, step // self.steps_per_epoch)
