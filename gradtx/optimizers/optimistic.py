"""Optimistic steps: what the gradient will be is guessed from how it changed, for games of two players.

    uₜ = α gₜ + β (gₜ - gₜ₋₁)                           the first step, without a change, is α g₁
    θₜ = θₜ₋₁ - λ uₜ

Where plain descent and ascent circle around the solution of a game, such as that of generative adversarial
networks, this spirals in. Optimistic Adam does the same with Adam's direction in place of g.

Mokhtari, Ozdaglar & Pattathil, "A Unified Analysis of Extra-gradient and Optimistic Gradient Methods for
Saddle Point Problems: Proximal Point Approach", 2019. https://arxiv.org/abs/1901.08511
Daskalakis et al., "Training GANs with Optimism", 2017. https://arxiv.org/abs/1711.00141
"""

from __future__ import annotations

import dataclasses

from gradtx.atoms.moments import difference
from gradtx.atoms.pointwise import scale
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import add, chain
from gradtx.contract.hyperparameters import Decay, DtypeName, NonNegative, Number, Rate
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.optimizers.adam import scale_by_adam
from gradtx.values.value import optional, static

__all__ = [
    "optimistic_adam",
    "optimistic_adam_v2",
    "optimistic_gradient_descent",
    "scale_by_optimistic_gradient",
]


class scale_by_optimistic_gradient(Composite):
    """α gₜ + β (gₜ - gₜ₋₁), and α g₁ at the first step.

    Args:
        alpha: α, the weight of the updates.
        beta: β, the weight of their change since the last step.
    """

    alpha: Number = 1.0
    beta: Number = 1.0

    def expand(self) -> GradientTransformation:
        return add(scale(self.alpha), chain(difference(), scale(self.beta)))


class optimistic_gradient_descent(Composite):
    """Optimistic gradient descent: `scale_by_optimistic_gradient`, then the learning rate.

    Both players of a game take such steps at the same time. α = β = 1 is the method of the
    analyses; a larger β looks further ahead.

    Args:
        learning_rate: λ, a number or a schedule.
        alpha: α, the weight of the gradient.
        beta: β, the weight of its change since the last step.
    """

    learning_rate: Rate
    alpha: Number = 1.0
    beta: Number = 1.0

    def expand(self) -> GradientTransformation:
        direction = scale_by_optimistic_gradient.of(self)
        return chain(direction.expand(), scale_by_learning_rate(self.learning_rate))


class optimistic_adam(Composite):
    """Optimistic Adam in the first form of its arguments: the update is -λ rₜ - o (rₜ - rₜ₋₁).

    r is Adam's direction, plain as in the paper; Optax's default is `nesterov=True`. Optax advises
    `optimistic_adam_v2`; what that calls its learning rate multiplies the whole update.

    Args:
        learning_rate: λ, a number or a schedule.
        optimism: o, the weight of the change; None is λ, as in the paper.
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂, the decay of the average of their squares, in [0, 1).
        eps: ε, outside the root, at least 0.
        eps_root: ε_root, inside the root, at least 0.
        mu_dtype: of the first moment's state; None is the parameters', at least float32.
        nesterov: look one step ahead, as NAdam does.
    """

    learning_rate: Rate
    optimism: Number | None = None
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = optional(default=0.0)
    mu_dtype: DtypeName | None = static(default=None)
    nesterov: bool = static(default=False, kw_only=True)

    def expand(self) -> GradientTransformation:
        optimism = self.learning_rate if self.optimism is None else self.optimism
        ahead = scale_by_optimistic_gradient(self.learning_rate, optimism)
        return chain(scale_by_adam.of(self).expand(), ahead.expand(), scale_by_learning_rate(1.0))


class optimistic_adam_v2(Composite):
    """Optimistic Adam: `scale_by_adam`, `scale_by_optimistic_gradient`, then the learning rate.

    For the two players of a game, such as a generator and its critic, where Adam's steps circle; the
    paper's learning rate is 1e-4 with β₁ = 0.5 and β₂ = 0.9. Adam's direction is plain as in the paper;
    Optax's default is `nesterov=True`.

    Args:
        learning_rate: λ, a number or a schedule.
        alpha: α, the weight of Adam's direction.
        beta: β, the weight of its change since the last step.
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂, the decay of the average of their squares, in [0, 1).
        eps: ε, outside the root, at least 0.
        eps_root: ε_root, inside the root, at least 0.
        mu_dtype: of the first moment's state; None is the parameters', at least float32.
        nesterov: look one step ahead, as NAdam does.
    """

    learning_rate: Rate
    alpha: Number = dataclasses.field(default=1.0, kw_only=True)
    beta: Number = dataclasses.field(default=1.0, kw_only=True)
    b1: Decay = dataclasses.field(default=0.9, kw_only=True)
    b2: Decay = dataclasses.field(default=0.999, kw_only=True)
    eps: NonNegative = dataclasses.field(default=1e-8, kw_only=True)
    eps_root: NonNegative = optional(default=0.0, kw_only=True)
    mu_dtype: DtypeName | None = static(default=None, kw_only=True)
    nesterov: bool = static(default=False, kw_only=True)

    def expand(self) -> GradientTransformation:
        ahead = scale_by_optimistic_gradient.of(self)
        rate = scale_by_learning_rate(self.learning_rate)
        return chain(scale_by_adam.of(self).expand(), ahead.expand(), rate)
