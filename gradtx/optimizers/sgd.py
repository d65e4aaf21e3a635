"""Gradient descent: plain, with momentum, with Nesterov's look-ahead.

    θₜ = θₜ₋₁ - λ gₜ                                             no momentum: no state
    vₜ = μ vₜ₋₁ + gₜ                 θₜ = θₜ₋₁ - λ vₜ            λ outside the velocity
    mₜ = μ mₜ₋₁ + λ gₜ               θₜ = θₜ₋₁ - mₜ              λ inside: `rate_inside=True`
    vₜ = μ vₜ₋₁ + (1 - τ) gₜ,  v₁ = g₁                           with dampening τ
    vₜ = μ vₜ₋₁ + gₜ                 θₜ = θₜ₋₁ - λ (μ vₜ + gₜ)   `nesterov=True`

While λ is constant m = λ v, so inside and outside are the same path. After a drop of λ the velocity
inside still carries the old, larger steps, and the one outside is scaled down at once.

Nesterov's original form takes the gradient where momentum alone would carry the parameters, at
φ = θ - μ m. That is plain momentum with gradients at `look_ahead(tx, state, params)`. Written for φ
instead of θ it is `nesterov=True`, which takes its gradient where it stands: the same path of φ,
for every schedule if λ is inside, and for a constant λ if it is outside.

Polyak, "Some methods of speeding up the convergence of iteration methods", 1964.
https://doi.org/10.1016/0041-5553(64)90137-5
Nesterov, "A method for solving the convex programming problem with convergence rate O(1/k²)", 1983.
https://www.mathnet.ru/eng/dan46009
Sutskever, Martens, Dahl & Hinton, "On the importance of initialization and momentum in deep
learning", 2013, equations 1 to 4. https://proceedings.mlr.press/v28/sutskever13.html
"""

from __future__ import annotations

from typing import Any

from gradtx.atoms.moments import dampen, trace
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain
from gradtx.contract.hyperparameters import Decay, DtypeName, KeptShare, Rate
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.values.value import is_off, optional, static

__all__ = ["sgd"]


class sgd(Composite):
    """Gradient descent, with momentum or without.

    The defaults are Optax's, and with `momentum` PyTorch's too; `rate_inside=True` is Keras' form.
    A learning rate of 0.1 with a momentum of 0.9 is a fair start for image networks. For a decay
    of the weights chain `add_l2_penalty` in front, as PyTorch's `weight_decay` does.

    Robbins & Monro, "A Stochastic Approximation Method", 1951; momentum: see `trace`.
    https://doi.org/10.1214/aoms/1177729586

    Args:
        learning_rate: λ, a number or a schedule.
        momentum: μ, in [0, 1], usually 0.9; None keeps neither a velocity nor a state.
        nesterov: look one step ahead by stepping along μ vₜ + gₜ.
        accumulator_dtype: of the velocity; None is the parameters', at least float32.
        dampening: τ, in [0, 1): scales every gradient but the first by 1 - τ, as in PyTorch. With a number,
            0 too, the state counts the updates; None does without the counter.
        rate_inside: multiply by the learning rate before the velocity instead of after it.

    Raises:
        ValueError: nesterov or dampening without a momentum, or both together: the look-ahead
            would count the gradient once damped and once whole.
    """

    learning_rate: Rate
    momentum: KeptShare | None = None
    nesterov: bool = static(default=False)
    accumulator_dtype: DtypeName | None = static(default=None)
    dampening: Decay | None = optional(default=None, kw_only=True)
    rate_inside: bool = static(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        need_momentum(self, "nesterov", self.nesterov)
        need_momentum(self, "dampening", not is_off(self.dampening))
        if self.nesterov and not is_off(self.dampening):
            raise ValueError(
                "sgd(nesterov=True): dampening must be 0, because the look-ahead would count the "
                "gradient once damped and once whole."
            )

    def expand(self) -> GradientTransformation:
        rate = scale_by_learning_rate(self.learning_rate)
        if self.momentum is None:
            return chain(rate)
        velocity: GradientTransformation = trace(self.momentum, self.nesterov, self.accumulator_dtype)
        if self.dampening is not None:
            velocity = chain(dampen(self.dampening), velocity)
        return chain(rate, velocity) if self.rate_inside else chain(velocity, rate)


def need_momentum(self: Any, name: str, given: bool) -> None:
    """Raise ValueError where an option of the velocity is given and there is no velocity."""
    if given and self.momentum is None:
        raise ValueError(
            f"{type(self).__name__}({name}={getattr(self, name)!r}): without momentum there is no "
            f"velocity, and {name} would do nothing. Set momentum, usually to 0.9."
        )
