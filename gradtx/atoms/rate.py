"""The last step of every optimizer: the learning rate, and the sign that makes updates descend; factors
that change while training runs.

Source: none (multiplication by a number; what makes the number has its own source).
"""

from __future__ import annotations

import dataclasses

import jax

from gradtx import numerics
from gradtx.atoms.pointwise import scale
from gradtx.contract.hyperparameters import Number, Rate, negative
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import Composite, EmptyState, GradientTransformation
from gradtx.schedules.fields import Period, Steps
from gradtx.schedules.plateau import Mode, Reduction, Tolerance, plateau_schedule
from gradtx.tree import PyTree
from gradtx.values.value import static

__all__ = ["reduce_on_plateau", "scale_by_learning_rate", "scale_by_schedule"]


class scale_by_learning_rate(GradientTransformation, reach=ENTRY):
    """Multiply by -λ, so that adding the updates descends.

    A schedule and a number that agree give the same bits: both are rounded once, to the
    precision of the updates.

    Args:
        learning_rate: λ; a number, or a schedule that is read at the current step, from 0.
        flip_sign: multiply by -λ; False multiplies by λ.

    Examples:
        >>> tx = gradtx.scale_by_learning_rate(0.5)
        >>> tx.update(jnp.ones(2), tx.init(None))[0]
        Array([-0.5, -0.5], dtype=float32)
    """

    learning_rate: Rate
    flip_sign: bool = static(default=True, kw_only=True)

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        factor = negative(self.learning_rate) if self.flip_sign else self.learning_rate
        return jax.tree.map(lambda u: numerics.times(u, factor), updates), state


class scale_by_schedule(Composite):
    """Multiply by a schedule's value at the current step; the sign is the schedule's.

    Args:
        step_size_fn: a schedule, or any function of the step, which counts from 0.
    """

    step_size_fn: Number

    def expand(self) -> GradientTransformation:
        return scale(self.step_size_fn)


class reduce_on_plateau(Composite):
    """Multiply by a factor that falls when a metric has stopped improving: `scale(plateau_schedule(1.0))`.

    Behind an optimizer it lowers the learning rate, whatever that is. The metric is given to each
    update: update(updates, state, params, value=loss). Formula, source and differences from PyTorch
    and Optax: `plateau_schedule`.

    Args:
        factor: in (0, 1); what the scale is multiplied by.
        patience: how many metrics in a row may fail to improve without consequence, at least 0.
        rtol: by what part of |best| a metric has to be better, at least 0.
        atol: by how much it has to be better besides, at least 0.
        cooldown: for how many metrics after a reduction none counts as bad, at least 0.
        accumulation_size: how many updates make a metric, the mean of their values; at least 1.
        min_scale: the scale never falls below this, at least 0.
        mode: 'min' for a metric that should fall, 'max' for one that should rise.
        eps: a reduction of the scale by no more than this is not made, at least 0.

    Raises:
        TypeError: at an update without `value`.
    """

    factor: Reduction = 0.1
    patience: Steps = static(default=10)
    rtol: Tolerance = 1e-4
    atol: Tolerance = 0.0
    cooldown: Steps = static(default=0)
    accumulation_size: Period = static(default=1)
    min_scale: Tolerance = 0.0
    mode: Mode = static(default="min", kw_only=True)
    eps: Tolerance = dataclasses.field(default=1e-8, kw_only=True)

    def expand(self) -> GradientTransformation:
        return scale(plateau_schedule.of(self, init_value=1.0, min_value=self.min_scale))
