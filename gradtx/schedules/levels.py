"""One level, or from one to another along a straight line or a power of it.

Source: none (lines, powers and constants; none has a known first use as a schedule).
"""

from __future__ import annotations

import jax

from gradtx.schedules.exact.arithmetic import mix, shares
from gradtx.schedules.exact.pairs import Exact, number
from gradtx.schedules.exact.shapes import raised
from gradtx.schedules.fields import Factor, Level, Period, Steps
from gradtx.schedules.schedule import Precise
from gradtx.values.value import static

__all__ = ["constant_schedule", "linear_schedule", "polynomial_schedule"]


class constant_schedule(Precise):
    """The same number at every step.

    Args:
        value: the number.
    """

    value: Level

    def at(self, step: jax.Array) -> Exact:
        return number(self.value)


class linear_schedule(Precise):
    """From one level to another in a straight line: a + (b - a) x.

    x is the share of `transition_steps` that has passed since `transition_begin`, in [0, 1].

    Args:
        init_value: a, the level until `transition_begin`.
        end_value: b, the level from `transition_begin + transition_steps` on.
        transition_steps: how many steps it takes, at least 1.
        transition_begin: the step at which it begins.
    """

    init_value: Level
    end_value: Level
    transition_steps: Period = static()
    transition_begin: Steps = static(default=0)

    def at(self, step: jax.Array) -> Exact:
        way = shares(step, self.transition_begin, self.transition_steps)
        return mix(self.init_value, self.end_value, way)


class polynomial_schedule(Precise):
    """From one level to another along a power of the remaining time: b + (a - b)(1 - x)ᵖ.

    x is the share of `transition_steps` that has passed since `transition_begin`, in [0, 1].

    Args:
        init_value: a, the level until `transition_begin`.
        end_value: b, the level from `transition_begin + transition_steps` on.
        power: p, above 0; 1 is a straight line.
        transition_steps: how many steps it takes, at least 1.
        transition_begin: the step at which it begins.
    """

    init_value: Level
    end_value: Level
    power: Factor
    transition_steps: Period = static()
    transition_begin: Steps = static(default=0)

    def at(self, step: jax.Array) -> Exact:
        way = shares(step, self.transition_begin, self.transition_steps)
        return mix(self.init_value, self.end_value, raised(way, self.power))
