"""A warm-up first: a straight line up, in front of what comes then.

Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017, section 2.2.
https://arxiv.org/abs/1706.02677
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp

from gradtx.schedules.exact.arithmetic import mix, shares
from gradtx.schedules.exact.pairs import Exact, multiply, pick
from gradtx.schedules.exact.shapes import SHAPES, cosine, raised
from gradtx.schedules.exponential import exponential_decay
from gradtx.schedules.fields import Factor, Level, Period, Steps
from gradtx.schedules.levels import linear_schedule
from gradtx.schedules.schedule import Precise, Schedule, before_rounding
from gradtx.values.kinds import Choice
from gradtx.values.value import static

__all__ = [
    "warmup_constant_schedule",
    "warmup_cosine_decay_schedule",
    "warmup_exponential_decay_schedule",
    "warmup_stable_decay_schedule",
    "with_warmup",
]

Decay = Annotated[Literal["linear", "cosine", "sqrt"], Choice(*SHAPES)]


class warmup_constant_schedule(Precise):
    """A straight line from a to the peak, which is held.

    Args:
        init_value: a, the level at step 0: with 0, the first update does nothing.
        peak_value: the level from `warmup_steps` on.
        warmup_steps: steps of warm-up, at least 1.
    """

    init_value: Level
    peak_value: Level
    warmup_steps: Period = static()

    def at(self, step: jax.Array) -> Exact:
        line = linear_schedule(self.init_value, self.peak_value, self.warmup_steps)
        return line.at(step)


class warmup_cosine_decay_schedule(Precise):
    """A straight line from a to the peak, then half a cosine down to b, then b.

    As in Optax, `decay_steps` is the length of the whole schedule, the warm-up included, and the
    first step's level is `init_value`: with 0, the first update does nothing.

    Loshchilov & Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, equation 5, behind a
    warm-up. https://arxiv.org/abs/1608.03983
    Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017, section 2.2.
    https://arxiv.org/abs/1706.02677

    Args:
        init_value: a, the level at step 0.
        peak_value: the level at `warmup_steps`.
        warmup_steps: steps of warm-up; 0 starts at the peak.
        decay_steps: steps in all, more than `warmup_steps`.
        end_value: b, the level from `decay_steps` on.
        exponent: of the cosine; see cosine_decay_schedule.

    Raises:
        ValueError: decay_steps is not above warmup_steps.
    """

    init_value: Level
    peak_value: Level
    warmup_steps: Steps = static()
    decay_steps: Steps = static()
    end_value: Level = 0.0
    exponent: Factor = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.decay_steps <= self.warmup_steps:
            raise ValueError(
                f"warmup_cosine_decay_schedule(warmup_steps={self.warmup_steps}, "
                f"decay_steps={self.decay_steps}): decay_steps counts the warm-up too, so it must "
                "be larger."
            )

    def at(self, step: jax.Array) -> Exact:
        rise = self.warmup_steps
        way = raised(cosine(shares(step, rise, self.decay_steps - rise)), self.exponent)
        fall = mix(self.peak_value, self.end_value, way)
        return _risen(step, self.init_value, self.peak_value, rise, fall)


class warmup_exponential_decay_schedule(Precise):
    """A straight line from a to the peak, which is then multiplied by r every T steps.

    Args:
        init_value: a, the level at step 0: with 0, the first update does nothing.
        peak_value: the level at `warmup_steps`.
        warmup_steps: steps of warm-up; 0 starts at the peak.
        transition_steps: T, at least 1.
        decay_rate: r, above 0.
        transition_begin: how many steps after the warm-up the decay begins.
        staircase: change only at whole multiples of T.
        end_value: a bound that the decay does not cross; see exponential_decay.
    """

    init_value: Level
    peak_value: Level
    warmup_steps: Steps = static()
    transition_steps: Period = static()
    decay_rate: Factor
    transition_begin: Steps = static(default=0)
    staircase: bool = static(default=False)
    end_value: Level | None = None

    def at(self, step: jax.Array) -> Exact:
        rise = self.warmup_steps
        decay = exponential_decay.of(self, init_value=self.peak_value)
        fall = decay.at(jnp.maximum(step - rise, 0))
        return _risen(step, self.init_value, self.peak_value, rise, fall)


class warmup_stable_decay_schedule(Precise):
    """A straight line from a to the peak, which is held, and a way down to b, which is held.

    The middle may be as long as the budget allows; a short way down ends a run at any time.

    Hu et al., "MiniCPM: Unveiling the Potential of Small Language Models with Scalable Training
    Strategies", 2024, section 4. https://arxiv.org/abs/2404.06395
    The shape 1 - √x: Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed Training
    Durations", 2024. https://arxiv.org/abs/2405.18392

    Args:
        init_value: a, the level at step 0: with 0, the first update does nothing.
        peak_value: the level between warm-up and decay.
        warmup_steps: steps of warm-up; 0 starts at the peak.
        stable_steps: steps at the peak.
        decay_steps: steps of decay, at least 1, without those before (unlike
            warmup_cosine_decay_schedule's, which count all).
        end_value: b.
        decay_type: 'linear', 'cosine', or 'sqrt' for 1 - √x.
    """

    init_value: Level
    peak_value: Level
    warmup_steps: Steps = static()
    stable_steps: Steps = static()
    decay_steps: Period = static()
    end_value: Level = 0.0
    decay_type: Decay = static(default="linear")

    def at(self, step: jax.Array) -> Exact:
        rise = self.warmup_steps
        since = jnp.maximum(step - rise, 0)
        way = SHAPES[self.decay_type](shares(since, self.stable_steps, self.decay_steps))
        fall = mix(self.peak_value, self.end_value, way)
        return _risen(step, self.init_value, self.peak_value, rise, fall)


class with_warmup(Precise):
    """Any schedule after a warm-up: a straight line from c s(0) to s(0), then s from its start.

    s counts its steps from the end of the warm-up. For a warm-up *over* the first steps of a
    schedule, multiply it: multiply_schedules(linear_schedule(0.0, 1.0, 100), s).

    Args:
        schedule: s; a schedule, or a function of the step.
        warmup_steps: steps of warm-up; 0 is s itself.
        init_factor: c, the share of s(0) to begin with: with 0, the first update does nothing.
    """

    schedule: Schedule
    warmup_steps: Steps = static()
    init_factor: Level = 0.0

    def at(self, step: jax.Array) -> Exact:
        rise = self.warmup_steps
        level = before_rounding(self, "schedule", self.schedule, jnp.maximum(step - rise, 0))
        return multiply(level, _risen(step, self.init_factor, 1.0, rise, 1.0))


def _risen(step: jax.Array, first: Any, peak: Any, steps: int, after: Exact) -> Exact:
    """A straight line to the peak in `steps`, and what comes then."""
    if steps == 0:
        return after
    return pick(step < steps, mix(first, peak, shares(step, 0, steps)), after)
