"""Powers of the step: one over its root, after a warm-up, and any power that grows; neither has an end."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gradtx.hyperparameters import Schedule
from gradtx.schedules.arithmetic import as_step, number, real
from gradtx.schedules.fields import Factor, Level, Period
from gradtx.value import static

__all__ = ["inverse_square_root_schedule", "power_schedule"]


class inverse_square_root_schedule(Schedule):
    """Up in a straight line to a peak, then down as 1 / √t: p min(t / W, √(W / t)).

    t = step + 1 counts updates from 1, as the paper does. The paper's ("Noam") levels for a model
    of width d are those of a peak of 1 / √(d W); its W is 4000.

    Vaswani et al., "Attention Is All You Need", 2017, equation 3. https://arxiv.org/abs/1706.03762

    Args:
        peak_value: p, the level of the W-th update.
        warmup_steps: W, at least 1.
    """

    peak_value: Level
    warmup_steps: Period = static()

    def __call__(self, step: jax.typing.ArrayLike) -> jax.Array:
        updates = real(as_step(self, step)) + 1  # added as a float: 2³¹ is no int32
        rise, fall = updates / self.warmup_steps, jnp.sqrt(self.warmup_steps / updates)
        return number(self.peak_value) * jnp.minimum(rise, fall)


class power_schedule(Schedule):
    """A power of the step, which counts from 0: c · stepᵖ. It starts at 0 and grows without an end.

    Folklore: a power of the step; ADOPT's clip uses one.

    Args:
        power: p, above 0.
        scale: c.
    """

    power: Factor
    scale: Level = 1.0

    def __call__(self, step: jax.typing.ArrayLike) -> jax.Array:
        return number(self.scale) * jnp.power(real(as_step(self, step)), number(self.power))
