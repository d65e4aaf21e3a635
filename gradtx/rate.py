"""The last step of every optimizer: the learning rate, and the sign that makes updates descend."""

from __future__ import annotations

from typing import ClassVar

import jax

from gradtx import numerics
from gradtx.anatomy import Reach
from gradtx.hyperparameters import Number, Rate, negative
from gradtx.pointwise import scale
from gradtx.transformation import Composite, EmptyState, GradientTransformation
from gradtx.tree import PyTree
from gradtx.value import static

__all__ = ["scale_by_learning_rate", "scale_by_schedule"]


class scale_by_learning_rate(GradientTransformation):
    """Multiply by -λ, so that adding the updates descends.

    A schedule and a number that agree give the same bits: both are rounded once, to the
    precision of the updates.

    Args:
        learning_rate: λ; a number, or a schedule that is read at the current step, from 0.
        flip_sign: multiply by -λ; False multiplies by λ.
    """

    reach: ClassVar[Reach] = Reach.ENTRY
    learning_rate: Rate
    flip_sign: bool = static(default=True, kw_only=True)

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        factor = negative(self.learning_rate) if self.flip_sign else self.learning_rate
        return jax.tree.map(lambda u: u * numerics.like(factor, u), updates), state


class scale_by_schedule(Composite):
    """Multiply by a schedule's value at the current step; the sign is the schedule's.

    Args:
        step_size_fn: a schedule, or any function of the step, which counts from 0.
    """

    step_size_fn: Number

    def expand(self) -> GradientTransformation:
        return scale(self.step_size_fn)
