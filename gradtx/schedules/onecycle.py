"""One cycle: up to a peak that would be too high for long, down, and far below where it began.

Smith & Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning
Rates", 2018. https://arxiv.org/abs/1708.07120
"""

from __future__ import annotations

from typing import Annotated, Any

import jax

from gradtx.schedules.exact.pairs import Exact, divide, number
from gradtx.schedules.exact.shapes import SHAPES, cosine, linear
from gradtx.schedules.fields import Factor, Interpolation, Level, Period, Share
from gradtx.schedules.piecewise import through
from gradtx.schedules.schedule import Precise
from gradtx.values.kinds import Real
from gradtx.values.value import static

__all__ = ["cosine_onecycle_schedule", "linear_onecycle_schedule", "onecycle_schedule"]

Start = Annotated[float, Real(0, 1, open_high=True, why="1 would leave nothing for the way down", fixed=True)]


def _ends(self: Any) -> tuple[Any, Any, Any]:
    """The level at the start, at the peak, and at the end."""
    start = divide(number(self.peak_value), number(self.div_factor))
    return start, number(self.peak_value), divide(start, number(self.final_div_factor))


class linear_onecycle_schedule(Precise):
    """Straight lines from p/d up to the peak p, back to p/d, and down to p/(d f), which is held.

    Smith & Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning
    Rates", 2018. https://arxiv.org/abs/1708.07120

    Args:
        transition_steps: T, steps in all, at least 1.
        peak_value: p.
        pct_start: the share of T that the way up takes, in [0, 1]; rounded down to a step.
        pct_final: the share of T after which p/d is reached again, at least `pct_start`.
        div_factor: d, above 0.
        final_div_factor: f, above 0.

    Raises:
        ValueError: pct_final is below pct_start.
    """

    transition_steps: Period = static()
    peak_value: Level
    pct_start: Share = static(default=0.3)
    pct_final: Share = static(default=0.85)
    div_factor: Factor = 25.0
    final_div_factor: Factor = 1e4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pct_final < self.pct_start:
            raise ValueError(
                f"linear_onecycle_schedule(pct_start={self.pct_start}, pct_final={self.pct_final}): "
                "pct_final must be at least pct_start: both are shares of the whole."
            )

    def at(self, step: jax.Array) -> Exact:
        start, peak, end = _ends(self)
        steps = self.transition_steps
        up, back = int(self.pct_start * steps), int(self.pct_final * steps)
        return through(step, [(0, start), (up, peak), (back, start), (steps, end)], linear)


class cosine_onecycle_schedule(Precise):
    """Half cosines from p/d up to the peak p and down to p/(d f), which is held.

    Smith & Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning
    Rates", 2018, in whose cycle the lines are straight. https://arxiv.org/abs/1708.07120

    Args:
        transition_steps: T, steps in all, at least 1.
        peak_value: p.
        pct_start: the share of T that the way up takes, in [0, 1]; rounded down to a step.
        div_factor: d, above 0.
        final_div_factor: f, above 0.
    """

    transition_steps: Period = static()
    peak_value: Level
    pct_start: Share = static(default=0.3)
    div_factor: Factor = 25.0
    final_div_factor: Factor = 1e4

    def at(self, step: jax.Array) -> Exact:
        start, peak, end = _ends(self)
        steps = self.transition_steps
        knots = [(0, start), (int(self.pct_start * steps), peak), (steps, end)]
        return through(step, knots, cosine)


class onecycle_schedule(Precise):
    """One cycle that is over at the last of its steps, T - 1, as PyTorch counts it.

    From p/d up to the peak p and down to p/(d f); with three phases back to p/d in between, as long
    as the way up. The peak lies at s T - 1, which may be between two steps. After the last step the
    level is held, where PyTorch's OneCycleLR raises an error.

    Smith & Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning
    Rates", 2018. https://arxiv.org/abs/1708.07120

    Args:
        transition_steps: T, steps in all, at least 2.
        peak_value: p.
        pct_start: s, the share of T that the way up takes, in [0, 1); in [0, ½] with three phases.
        interpolate_type: 'cosine' or 'linear'.
        div_factor: d, above 0.
        final_div_factor: f, above 0.
        three_phase: come back to p/d first, then go down.

    Raises:
        ValueError: T is 1, or three phases have no room.
    """

    transition_steps: Period = static()
    peak_value: Level
    pct_start: Start = static(default=0.3)
    interpolate_type: Interpolation = static(default="cosine")
    div_factor: Factor = 25.0
    final_div_factor: Factor = 1e4
    three_phase: bool = static(default=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.transition_steps < 2:
            raise ValueError(
                "onecycle_schedule(transition_steps=1): transition_steps must be at least 2; "
                "the last step is the cycle's end."
            )
        if self.three_phase and self.pct_start > 0.5:
            raise ValueError(
                f"onecycle_schedule(pct_start={self.pct_start}, three_phase=True): pct_start must be at "
                "most 0.5: the way down takes as long as the way up."
            )

    def at(self, step: jax.Array) -> Exact:
        start, peak, end = _ends(self)
        up, last = self.pct_start * self.transition_steps, self.transition_steps - 1
        back = [(2 * up - 2, start)] if self.three_phase else []
        knots = [(0, start), (up - 1, peak), *back, (last, end)]
        return through(step, knots, SHAPES[self.interpolate_type])
