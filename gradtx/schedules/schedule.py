"""The protocol of schedules: numbers that depend on the step, or on what training reports.

A field says what it accepts by its annotation:

    class ema(GradientTransformation):
        decay: Decay

Any number may be given as a `Schedule`, and a bare function of the step becomes one. The
transformation that holds it keeps a counter and sees the schedule's value at the current step.

Source: none (arithmetic on numbers that depend on the step).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.schedules.exact import pairs
from gradtx.schedules.exact.arithmetic import LAST
from gradtx.schedules.exact.pairs import Exact
from gradtx.values.kinds import Flag, Function, Integer, Real, Text
from gradtx.values.value import Value, static
from gradtx.values.wording import shown

__all__ = [
    "Adaptive",
    "Precise",
    "Schedule",
    "affine",
    "as_schedule",
    "as_step",
    "before_rounding",
    "from_function",
    "read",
]


class Schedule(Value, abstract=True):
    """A number that depends on the step: a value (prints, compares, hashes), called with the step.

    The step counts updates from 0, in whole numbers up to 2³¹ - 1, where counters stop. Before 0 a schedule
    stays at its first level, one that comes again and again too. A fraction of a step is refused, and so is
    a number beyond 2³¹ - 1, unless jax has 64-bit types. An array of steps gives an array of levels.
    """

    def __call__(self, step: jax.typing.ArrayLike) -> jax.Array:
        """The scheduled number at `step`, which counts from 0: a 0-d floating-point array.

        Raises:
            TypeError: the step is not a whole number.
            ValueError: it is beyond 2³¹ - 1.
        """
        raise NotImplementedError


class Precise(Schedule, abstract=True):
    """A schedule that computes with more digits than it returns, so that it rounds once.

    Schedules that hold others go on with what `at` says, before it is rounded.
    """

    def at(self, step: jax.Array) -> Exact:
        """The number at `step`, which is a whole number: a Python number, or a pair."""
        raise NotImplementedError

    def __call__(self, step: jax.typing.ArrayLike) -> jax.Array:
        return pairs.rounded(self.at(as_step(self, step)))


class Adaptive(Schedule, abstract=True):
    """A number that follows what training reports: a plateau of the loss, say.

    It is a schedule wherever one is expected, in other schedules too, but not a function of the step:
    `start` makes its memory, `follow` renews that before each update, and `level` reads it. What
    `follow` needs to know are its keyword-only arguments; they become extra arguments of `update`.
    """

    def start(self) -> Any:
        """The memory before the first update."""
        raise NotImplementedError

    def follow(self, memory: Any) -> Any:
        """The memory after one more report."""
        raise NotImplementedError

    def level(self, memory: Any) -> Any:
        """The number that the memory stands for."""
        raise NotImplementedError

    def __call__(self, step: jax.typing.ArrayLike) -> jax.Array:
        raise TypeError(
            f"{type(self).__name__} is not a function of the step: it follows what training reports. Give it "
            "to a transformation as a hyperparameter, and the report to update."
        )


class known_level(Schedule):
    """A number in the place of a schedule: a level that has been looked up for this step.

    Args:
        level: the number.
    """

    level: Any

    def __call__(self, step: jax.typing.ArrayLike) -> Any:
        return self.level


class from_function(Schedule):
    """A schedule from any function of the step, such as one of Optax's.

    It prints and compares by the function itself, so two lambdas are two schedules; the schedules
    of gradtx compare by their numbers.

    Args:
        function: takes the step, a 0-d int32 array counting from 0, and returns a number. Called by hand
            it is given whatever step it is called with, those below 0 and fractions too.
    """

    function: Callable[[Any], Any] = static()

    def __call__(self, step: jax.typing.ArrayLike) -> jax.Array:
        return self.function(step)


def as_schedule(owner: str, name: str, value: Any) -> Schedule:
    """A schedule as it is; a function of the step as a schedule."""
    if isinstance(value, Schedule):
        return value
    if callable(value) and not isinstance(value, type):
        return from_function(Function(1).accept(owner, name, value))
    raise TypeError(
        f"{owner}({name}={shown(value)}): {name} must be a schedule or a function of the step. "
        "For a number that stays, use constant_schedule."
    )


def as_step(owner: Any, step: Any) -> jax.Array:
    """The step as int32, or int64 where it needs that and jax has it; 0 where it is below.

    Raises:
        TypeError: it is not a whole number.
        ValueError: it is too large for the integers that jax has.
    """
    most = jnp.iinfo(jnp.result_type(int)).max
    given: Any = step if isinstance(step, jax.Array) else np.asarray(step)
    whole = jnp.issubdtype(given.dtype, jnp.integer)
    if given.dtype == object:  # integers beyond 64 bits, or no numbers
        whole = all(isinstance(x, int) for x in given.flat)
    if not whole:
        raise TypeError(
            f"{type(owner).__name__}: the step must be a whole number, not {given.dtype}; it counts updates "
            "from 0."
        )
    if isinstance(given, np.ndarray):
        if given.size and given.max() > most:
            raise ValueError(
                f"{type(owner).__name__}: the step is {given.max()}, expected at most {most}, where counters "
                "stop. For more, enable jax's 64-bit types."
            )
        given = jnp.asarray(np.maximum(given, 0), given.dtype if given.dtype.itemsize < 8 else int)
    largest = jnp.iinfo(given.dtype).max
    dtype = jnp.int64 if largest > LAST and most > LAST else jnp.int32
    if largest > jnp.iinfo(dtype).max:
        given = jnp.minimum(given, given.dtype.type(jnp.iinfo(dtype).max))
    return jnp.maximum(given.astype(dtype), 0)


def read(owner: Any, name: str, schedule: Schedule, step: jax.Array) -> jax.Array:
    """Read a schedule at `step`, checked, in float64 where x64 is enabled, else in float32.

    Args:
        owner: the value that holds it, or the name of one, for the message.
        name: the field that it is held in.
        schedule: the schedule.
        step: counting from 0.

    Raises:
        TypeError: it returned no number.
        ValueError: it returned more than one number.
    """
    level: Any = schedule(step)
    who = owner if isinstance(owner, str) else type(owner).__name__
    try:
        level = jnp.asarray(level, float)
    except (TypeError, ValueError):
        raise TypeError(
            f"{who}: {name} returned {level!r} at one step: expected one number. It is {schedule!r}."
        ) from None
    if level.shape not in ((), step.shape):
        raise ValueError(
            f"{who}: {name} returned shape {level.shape} at one step: expected one number. "
            f"It is {schedule!r}."
        )
    return level


def before_rounding(owner: Any, name: str, schedule: Schedule, step: jax.Array) -> Exact:
    """Read a schedule without rounding, where it computes with more digits; see `read`."""
    if isinstance(schedule, Precise):
        return schedule.at(step)
    return pairs.pair(read(owner, name, schedule, step))


class affine(Precise):
    """offset + slope · schedule, as a schedule.

    Args:
        schedule: the schedule.
        slope: what to multiply it by.
        offset: what to add.
    """

    schedule: Schedule
    slope: float = 1.0
    offset: float = 0.0

    def at(self, step: jax.Array) -> Exact:
        level = before_rounding(self, "schedule", self.schedule, step)
        return pairs.add(pairs.number(self.offset), pairs.multiply(pairs.number(self.slope), level))


class _ScheduleKind:
    accept = staticmethod(as_schedule)


Schedule.kinds = {
    float: Real(),
    int: Integer(),
    bool: Flag(),
    str: Text(),
    Schedule: _ScheduleKind(),
}
