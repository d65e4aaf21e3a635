"""Half a cosine down: then held, up again, or from the top again.

Loshchilov & Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, equation 5.
https://arxiv.org/abs/1608.03983
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.schedules.exact.arithmetic import LAST, Shares, mix, phase, shares
from gradtx.schedules.exact.pairs import Exact, Pair, add, dtype, multiply, number, pair, whole
from gradtx.schedules.exact.shapes import cosine, raised
from gradtx.schedules.fields import Factor, Level, Period
from gradtx.schedules.schedule import Precise
from gradtx.values.value import static

__all__ = ["cosine_annealing_schedule", "cosine_decay_schedule", "cosine_warm_restarts_schedule"]


class cosine_decay_schedule(Precise):
    """Half a cosine from a to α a, then held: a ((1 - α)(½ (1 + cos πx))ᵉ + α).

    Loshchilov & Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, equation 5,
    without restarts. https://arxiv.org/abs/1608.03983

    Args:
        init_value: a.
        decay_steps: the steps that x takes from 0 to 1, at least 1.
        alpha: α, the share of a that is left at the end.
        exponent: e, above 0.
    """

    init_value: Level
    decay_steps: Period = static()
    alpha: Level = 0.0
    exponent: Factor = 1.0

    def at(self, step: jax.Array) -> Exact:
        way = shares(step, 0, self.decay_steps)
        return multiply(number(self.init_value), mix(1.0, self.alpha, raised(cosine(way), self.exponent)))


class cosine_annealing_schedule(Precise):
    """Half a cosine from a to b, and back, and so on: b + (a - b) ½ (1 + cos(π step / T)).

    It is a until step 0, has a period of 2T from there on and never jumps. PyTorch's
    CosineAnnealingLR does the same, though its name and most uses suggest that it ends at T: that
    is `periodic=False`. From the top again at T is cosine_warm_restarts_schedule.

    Loshchilov & Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, equation 5.
    https://arxiv.org/abs/1608.03983

    Args:
        init_value: a.
        transition_steps: T, half a period, at least 1.
        end_value: b, the level at T.
        periodic: come back up after T; False holds b.
    """

    init_value: Level
    transition_steps: Period = static()
    end_value: Level = 0.0
    periodic: bool = static(default=True)

    def at(self, step: jax.Array) -> Exact:
        half = self.transition_steps
        if self.periodic:
            _, step = phase(step, 2 * half)
            step = jnp.where(step > half, half - (step - half), step)
        return mix(self.init_value, self.end_value, cosine(shares(step, 0, half)))


class cosine_warm_restarts_schedule(Precise):
    """Half a cosine from a to b, then from a again: b + (a - b) ½ (1 + cos(π t / Tᵢ)).

    t counts the steps since the last restart, and cycle i takes Tᵢ = T mⁱ steps. The level jumps
    from almost b to a. For cycles that differ otherwise, or begin with a warm-up: sgdr_schedule.

    Loshchilov & Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, equation 5.
    https://arxiv.org/abs/1608.03983

    Args:
        init_value: a.
        transition_steps: T, the steps of the first cycle, at least 1.
        growth: m, a whole number: how many times longer each cycle is than the one before.
        end_value: b.
    """

    init_value: Level
    transition_steps: Period = static()
    growth: Period = static(default=1)
    end_value: Level = 0.0

    def at(self, step: jax.Array) -> Exact:
        way = (
            _in_cycle(step, *_cycles(self.transition_steps, self.growth))
            if self.growth > 1
            else shares(phase(step, self.transition_steps)[1], 0, self.transition_steps)
        )
        return mix(self.init_value, self.end_value, cosine(way))


def _cycles(first: int, growth: int) -> tuple[list[int], list[int]]:
    """Where the cycles begin, and how long they are: all, since they grow, that begin within int32."""
    begins, lengths = [0], [first]
    while begins[-1] + lengths[-1] <= LAST:
        begins.append(begins[-1] + lengths[-1])
        lengths.append(lengths[-1] * growth)
    return begins, lengths


def _in_cycle(step: jax.Array, begins: list[int], lengths: list[int]) -> Shares:
    """The shares of the cycle that `step` is in; the end of the last one may lie beyond int32."""
    ends = [a + b for a, b in zip(begins, lengths, strict=True)]
    cycle = sum(((step >= b).astype(jnp.int32) for b in begins[1:]), jnp.zeros_like(step, jnp.int32))

    def of_cycle(values: list[int]) -> jax.Array:
        return jnp.asarray(np.asarray(values, step.dtype))[cycle]

    def pair_of_cycle(values: list[Any]) -> Pair:
        highs, lows = zip(*map(pair, values), strict=True)
        return Pair(
            *(jnp.asarray(np.asarray([x or 0.0 for x in part], dtype()))[cycle] for part in (highs, lows))
        )

    each = pair_of_cycle([Fraction(1, length) for length in lengths])
    inside = [min(end, LAST) for end in ends]
    beyond = pair_of_cycle([a - b for a, b in zip(ends, inside, strict=True)])
    passed, left = whole(step - of_cycle(begins)), add(whole(of_cycle(inside) - step), beyond)
    return Shares(multiply(left, each), multiply(passed, each))
