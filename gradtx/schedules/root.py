"""Powers of the step: one over its root, after a warm-up, and any power that grows; neither has an end."""

from __future__ import annotations

import jax

from gradtx.schedules.exact.pairs import Exact, add, divide, multiply, number, pair, pick, root, whole
from gradtx.schedules.exact.powers import exp2, log2
from gradtx.schedules.fields import Factor, Level, Period
from gradtx.schedules.schedule import Precise
from gradtx.values.value import static

__all__ = ["inverse_square_root_schedule", "power_schedule"]


class inverse_square_root_schedule(Precise):
    """Up in a straight line to a peak, then down as 1 / √t: p min(t / W, √(W / t)).

    t = step + 1 counts updates from 1, as the paper does; it is never below. The paper's ("Noam")
    levels for a model of width d are those of a peak of 1 / √(d W); its W is 4000.

    Vaswani et al., "Attention Is All You Need", 2017, equation 3. https://arxiv.org/abs/1706.03762

    Args:
        peak_value: p, the level of the W-th update.
        warmup_steps: W, at least 1.
    """

    peak_value: Level
    warmup_steps: Period = static()

    def at(self, step: jax.Array) -> Exact:
        updates = add(whole(step), 1)  # not in whole numbers: 2³¹ is not an int32
        rise, fall = divide(updates, self.warmup_steps), root(divide(pair(self.warmup_steps), updates))
        return multiply(number(self.peak_value), pick(step < self.warmup_steps, rise, fall))


class power_schedule(Precise):
    """A power of the step, which counts from 0: c · stepᵖ. It starts at 0, which it is before, and grows
    without an end.

    Source: none (a power of the step; ADOPT's clip uses one).

    Args:
        power: p, above 0.
        scale: c.
    """

    power: Factor
    scale: Level = 1.0

    def at(self, step: jax.Array) -> Exact:
        begun = step > 0
        grown = exp2(multiply(log2(pick(begun, whole(step), 1.0)), number(self.power)))
        return multiply(number(self.scale), pick(begun, grown, 0.0))
