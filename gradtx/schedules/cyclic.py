"""Up and down again, cycle after cycle."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp

from gradtx.schedules.exact.arithmetic import Shares, mix, phase
from gradtx.schedules.exact.pairs import Exact, multiply, pick, subtract, whole
from gradtx.schedules.exact.powers import power
from gradtx.schedules.fields import Factor, Level, Period
from gradtx.schedules.schedule import Precise
from gradtx.values.kinds import Choice
from gradtx.values.value import static

__all__ = ["cyclic_schedule"]

_MODES = ("triangular", "triangular2", "exp_range")
Mode = Annotated[Literal["triangular", "triangular2", "exp_range"], Choice(*_MODES)]


class cyclic_schedule(Precise):
    """A straight line from a to a peak and one back, again and again; the peaks may decay towards a.

    The peak is b in mode 'triangular'; a + (b - a) / 2ᶜ in cycle c = 0, 1, ... in mode
    'triangular2'; a + (b - a) rˢᵗᵉᵖ at every step in mode 'exp_range'.

    With b below a it goes down first: a momentum that falls while the learning rate rises.

    Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, section 3.1.
    https://arxiv.org/abs/1506.01186

    Args:
        init_value: a, the level at step 0, before it, and between cycles.
        peak_value: b, the first cycle's peak; 'exp_range' reaches it only for r = 1.
        up_steps: from a to the peak, at least 1.
        down_steps: and back, at least 1; None is as many.
        mode: 'triangular', 'triangular2' or 'exp_range'.
        decay_rate: r of 'exp_range', above 0, per step; the other modes have no use for it.
    """

    init_value: Level
    peak_value: Level
    up_steps: Period = static(default=2000)
    down_steps: Period | None = static(default=None)
    mode: Mode = static(default="triangular")
    decay_rate: Factor = 1.0

    def at(self, step: jax.Array) -> Exact:
        rise, fall = self.up_steps, self.down_steps or self.up_steps
        cycle, at = phase(step, rise + fall)
        rising, past = at <= rise, jnp.maximum(at - rise, 0)
        each = pick(rising, Fraction(1, rise), Fraction(1, fall))
        down, up = jnp.where(rising, rise - at, past), jnp.where(rising, at, fall - past)
        way = Shares(*(multiply(whole(n, max(rise, fall)), each) for n in (down, up)))
        return mix(self.init_value, self._peak(step, cycle), way)

    def _peak(self, step: jax.Array, cycle: jax.Array) -> Any:
        if self.mode == "triangular":
            return self.peak_value
        left = power(0.5, cycle) if self.mode == "triangular2" else power(self.decay_rate, step)
        return mix(self.init_value, self.peak_value, Shares(subtract(1.0, left), left))
