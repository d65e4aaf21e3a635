"""REX: nearly a straight line at first, steeper and steeper towards the end of the budget."""

from __future__ import annotations

import jax

from gradtx.schedules.exact.arithmetic import mix, shares
from gradtx.schedules.exact.pairs import Exact
from gradtx.schedules.exact.shapes import reflected
from gradtx.schedules.fields import Level, Period
from gradtx.schedules.schedule import Precise
from gradtx.values.value import static

__all__ = ["rex_schedule"]


class rex_schedule(Precise):
    """From a to b along b + (a - b)(1 - x) / (½ + ½ (1 - x)), then b: a reflected exponential.

    Chen, Wolfe & Kyrillidis, "REX: Revisiting Budgeted Training with an Improved Schedule", 2022,
    where b is 0. https://arxiv.org/abs/2107.04197

    Args:
        init_value: a.
        transition_steps: the steps that x takes from 0 to 1, at least 1: the whole budget.
        end_value: b.
    """

    init_value: Level
    transition_steps: Period = static()
    end_value: Level = 0.0

    def at(self, step: jax.Array) -> Exact:
        way = reflected(shares(step, 0, self.transition_steps))
        return mix(self.init_value, self.end_value, way)
