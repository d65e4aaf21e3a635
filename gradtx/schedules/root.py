"""One over the square root of the step, after a warm-up: a decay without an end."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gradtx.hyperparameters import Schedule
from gradtx.schedules.arithmetic import as_step, number, real
from gradtx.schedules.fields import Level, Period
from gradtx.value import static

__all__ = ["inverse_square_root_schedule"]


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
