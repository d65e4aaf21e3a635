"""Levels that are multiplied again and again: smoothly, every so many steps, or at given steps.

Source: none (decay by a factor is as old as training by gradients).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gradtx.schedules.exact.pairs import Exact, below, multiply, number, pick
from gradtx.schedules.exact.powers import power
from gradtx.schedules.fields import Boundaries, Factor, Level, Period, Steps
from gradtx.schedules.schedule import Precise
from gradtx.values.value import static

__all__ = ["exponential_decay", "multi_step_schedule", "step_decay_schedule"]


class exponential_decay(Precise):
    """Multiply by r every T steps: a rˣ, with x = (step - begin) / T, or its floor.

    Args:
        init_value: a.
        transition_steps: T, at least 1.
        decay_rate: r, above 0.
        transition_begin: the step at which it begins; a before.
        staircase: change only at whole multiples of T.
        end_value: a bound that the level does not cross: a lower one for r < 1, else an upper one.
    """

    init_value: Level
    transition_steps: Period = static()
    decay_rate: Factor
    transition_begin: Steps = static(default=0)
    staircase: bool = static(default=False)
    end_value: Level | None = None

    def at(self, step: jax.Array) -> Exact:
        passed = jnp.maximum(step - self.transition_begin, 0)
        if self.staircase:
            factor = power(self.decay_rate, passed // self.transition_steps)
        else:
            factor = power(self.decay_rate, passed, self.transition_steps)
        level = multiply(number(self.init_value), factor)
        if self.end_value is None:
            return level
        end = number(self.end_value)
        upper = jnp.asarray(self.decay_rate) >= 1
        return pick(below(level, end) == upper, level, end)


class step_decay_schedule(Precise):
    """Multiply by r at every T-th step: a r^⌊step / T⌋.

    Args:
        init_value: a.
        transition_steps: T, at least 1.
        decay_rate: r, above 0.
    """

    init_value: Level
    transition_steps: Period = static()
    decay_rate: Factor = 0.1

    def at(self, step: jax.Array) -> Exact:
        stairs = exponential_decay(self.init_value, self.transition_steps, self.decay_rate, staircase=True)
        return stairs.at(step)


class multi_step_schedule(Precise):
    """Multiply by r at each of the given steps: a rᵏ, with k of them reached.

    For a factor of its own at each step, see piecewise_constant_schedule.

    Args:
        init_value: a.
        boundaries: the steps, in order; at one that is there twice, r acts twice.
        decay_rate: r, above 0.

    Raises:
        ValueError: the boundaries are not in order.
    """

    init_value: Level
    boundaries: Boundaries = static()
    decay_rate: Factor = 0.1

    def at(self, step: jax.Array) -> Exact:
        reached = sum(
            ((step >= b).astype(jnp.int32) for b in self.boundaries), jnp.zeros_like(step, jnp.int32)
        )
        return multiply(number(self.init_value), power(self.decay_rate, reached))
