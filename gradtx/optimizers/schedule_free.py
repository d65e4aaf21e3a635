"""Schedule-free SGD and AdamW: neither a schedule nor the length of the run is needed.

    λₜ = λ min(1, t / T)                          a warm-up over T steps
    uₜ = -λₜ (gₜ + w yₜ)                          SGD
    uₜ = -λₜ (gₜ / (sqrt(v̂ₜ) + ε) + w yₜ)         AdamW without momentum

and z, x and y as in `schedule_free`.

Defazio et al., "The Road Less Scheduled", 2024, algorithm 1. https://arxiv.org/abs/2405.15682

v is debiased as in its authors' code; the paper multiplies λₜ by sqrt(1 - β₂ᵗ) instead, the same but for ε.
"""

from __future__ import annotations

from typing import Any

from gradtx.atoms.decay import add_decoupled_weight_decay, decoupled
from gradtx.atoms.moments import rms
from gradtx.atoms.pointwise import identity, unless_off
from gradtx.combine import chain, ratio
from gradtx.contract.hyperparameters import Decay, DtypeName, NonNegative, Number, Rate
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.optimizers.sgd import sgd
from gradtx.schedules import linear_schedule, multiply_schedules, warmup_constant_schedule
from gradtx.schedules.schedule import Schedule
from gradtx.values.kinds import AtLeastOne
from gradtx.values.value import optional, static
from gradtx.wrappers.schedule_free import Mix, schedule_free

__all__ = ["schedule_free_adamw", "schedule_free_sgd"]

Warmup = AtLeastOne


def _warmed(rate: Any, steps: int | None) -> Any:
    """λ min(1, t / T), where t counts from 1."""
    if steps is None or steps == 1:
        return rate
    if isinstance(rate, Schedule):
        return multiply_schedules(linear_schedule(1.0 / steps, 1.0, steps - 1), rate)
    return warmup_constant_schedule(rate / steps, rate, steps - 1)


class schedule_free_sgd(Composite):
    """SGD, schedule-free: evaluate at `schedule_free_eval_params(state, params)`.

    It bears learning rates 10 to 50 times those of SGD with a schedule. The warm-up is the paper's,
    which ends at its T-th step and never has a rate of 0; Optax's begins with 0 and is a step behind.

    Args:
        learning_rate: λ, a number or a schedule, which should not decay.
        warmup_steps: T, at least 1; None leaves the warm-up out.
        b1: β, in (0, 1]: the share of the average in the parameters.
        weight_decay: w; what a step takes off z is λ w y. None leaves the decay out.
        weight_lr_power: p, at least 0: steps are averaged with weights λᵖ.
        state_dtype: of z; None is the parameters', at least float32.
    """

    learning_rate: Rate = 1.0
    warmup_steps: Warmup | None = static(default=None)
    b1: Mix = 0.9
    weight_decay: Number | None = optional(default=None)
    weight_lr_power: NonNegative = 2.0
    state_dtype: DtypeName | None = static(default=None)

    def expand(self) -> GradientTransformation:
        rate = _warmed(self.learning_rate, self.warmup_steps)
        base = chain(unless_off(self.weight_decay, add_decoupled_weight_decay), sgd(rate).expand())
        return schedule_free(base, rate, self.b1, self.weight_lr_power, self.state_dtype)


class schedule_free_adamw(Composite):
    """AdamW, schedule-free: evaluate at `schedule_free_eval_params(state, params)`.

    With the warm-up and decay that AdamW had, try its learning rate, and up to ten times it. It keeps
    two numbers for each parameter, as AdamW does. The warm-up is the paper's, which ends at its T-th step
    and never has a rate of 0; Optax's begins with 0 and is a step behind.

    Args:
        learning_rate: λ, a number or a schedule, which should not decay.
        warmup_steps: T, at least 1; None leaves the warm-up out.
        b1: β, in (0, 1]: the share of the average in the parameters, in the place of momentum.
        b2: β₂, the decay of the average of squares, in [0, 1).
        eps: ε, outside the root, at least 0.
        weight_decay: w; what a step takes off z is λ w y.
        weight_lr_power: p, at least 0: steps are averaged with weights λᵖ.
        state_dtype: of z; None is the parameters', at least float32.
    """

    learning_rate: Rate = 0.0025
    warmup_steps: Warmup | None = static(default=None)
    b1: Mix = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    weight_decay: Number = optional(default=0.0)
    weight_lr_power: NonNegative = 2.0
    state_dtype: DtypeName | None = static(default=None)

    def expand(self) -> GradientTransformation:
        rate = _warmed(self.learning_rate, self.warmup_steps)
        base = decoupled(ratio(identity(), rms(self.b2), self.eps), rate, self.weight_decay).expand()
        return schedule_free(base, rate, self.b1, self.weight_lr_power, self.state_dtype)
