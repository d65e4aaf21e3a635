"""Sophia: momentum divided by the Hessian's diagonal where that is positive, and bounded entry by entry.

    hₜ = β₂ hₜ₋₁ + (1 - β₂) ĥₜ    if t mod k = 1, else hₜ₋₁;    h₀ = 0, ĥₜ an estimate of diag(∇²f(θₜ₋₁))
    mₜ = β₁ mₜ₋₁ + (1 - β₁) gₜ                                   m̂ₜ = mₜ / (1 - β₁ᵗ)
    θₜ = θₜ₋₁ - λ (clip(m̂ₜ / max(γ hₜ, ε), ρ) + w θₜ₋₁)

Liu et al., "Sophia: A Scalable Stochastic Second-order Optimizer for Language Model Pre-training", 2023,
algorithm 3, with ρ = 1. https://arxiv.org/abs/2305.14342

The bias correction is that of the authors' code of Sophia-H and of Optax; algorithm 3 has none:
`bias_correction=False`. Optax and the authors' code renew h after the step, so that the first steps are
signs of the momentum; algorithm 3 does before, and so does this: `renew_after=True` is the other.
"""

from __future__ import annotations

from typing import Annotated

from gradtx.atoms.curvature import hutchinson_estimator_diag_hessian
from gradtx.atoms.decay import decoupled
from gradtx.atoms.moments import ema, momentum, rare_ema
from gradtx.atoms.pointwise import at_least, clip, scale, unless_off
from gradtx.combine import chain, ratio
from gradtx.contract.hyperparameters import Decay, DtypeName, Number, Positive, Rate
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.rules.masks import Mask
from gradtx.telemetry.prints import print_win_rate
from gradtx.values.kinds import AtLeastOne, Integer
from gradtx.values.value import optional, static

__all__ = ["scale_by_sophia", "sophia"]


class scale_by_sophia(Composite, real_only=True):
    """Sophia's direction, clip(m̂ / max(γ h, ε), ρ), without the learning rate and the decay.

    Args:
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂, the decay of the average of estimates, in [0, 1).
        eps: ε, above 0.
        gamma: γ, above 0.
        clip_threshold: ρ, above 0; None clips nothing.
        update_interval: k, at least 1.
        hessian_diagonal_fn: what estimates the diagonal: a transformation that returns it.
        mu_dtype: of the momentum's state; None is the parameters', at least float32.
        verbose: print the share of entries that are not clipped.
        print_win_rate_every_n_steps: how often; 0 is never.
        bias_correction: divide the momentum by the weight that it has gathered.
        renew_after: renew h after the step, as Optax does, not before.

    Raises:
        ValueError: update is called without the parameters.
        TypeError: `obj_fn`, or what else the estimator needs, is missing.
    """

    b1: Decay = 0.965
    b2: Decay = 0.99
    eps: Positive = 1e-8
    gamma: Positive = 0.01
    clip_threshold: Positive | None = 1.0
    update_interval: AtLeastOne = static(default=10)
    hessian_diagonal_fn: GradientTransformation = hutchinson_estimator_diag_hessian()
    mu_dtype: DtypeName | None = static(default=None)
    verbose: bool = static(default=False)
    print_win_rate_every_n_steps: Annotated[int, Integer(low=0)] = static(default=0)
    bias_correction: bool = static(default=True, kw_only=True)
    renew_after: bool = static(default=False, kw_only=True)

    def expand(self) -> GradientTransformation:
        top: GradientTransformation = momentum(self.b1, self.mu_dtype)
        if not self.bias_correction:
            top = ema(self.b1, accumulator_dtype=self.mu_dtype)
        diagonal = rare_ema(self.hessian_diagonal_fn, self.b2, self.update_interval, self.renew_after)
        newton = ratio(top, chain(diagonal, scale(self.gamma), at_least(self.eps)))
        bound, every = self.clip_threshold, self.print_win_rate_every_n_steps if self.verbose else 0
        told = print_win_rate(bound, every) if every and bound is not None else chain()
        return chain(newton, told, unless_off(bound, clip))


class sophia(Composite, real_only=True):
    """Sophia: `scale_by_sophia`, then decoupled weight decay, then the learning rate.

    For language models, with a learning rate like Lion's. γ is set so that 10 to 50 % of the entries are
    not clipped: print them with `verbose`, and raise γ where they are fewer. It needs the objective as
    `obj_fn`, a function of the parameters; once in k updates two more gradients are computed:

        tx.update(grads, state, params, obj_fn=lambda params: loss(params, batch))

    Real parameters only.

    Args:
        learning_rate: λ, a number or a schedule.
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂, the decay of the average of estimates, in [0, 1).
        eps: ε, above 0.
        weight_decay: w; what a step takes off a parameter is λ w θ.
        weight_decay_mask: the leaves that decay: a tree of booleans, a function of the parameters, or a
            regular expression on the leaf's path; None is all.
        gamma: γ, above 0; 0.01 for Hutchinson's estimator, 0.05 for `gauss_newton_bartlett_diag_hessian`.
        clip_threshold: ρ, above 0; None clips nothing.
        update_interval: k, at least 1.
        hessian_diagonal_fn: what estimates the diagonal: a transformation that returns it.
        mu_dtype: of the momentum's state; None is the parameters', at least float32.
        verbose: print the share of entries that are not clipped.
        print_win_rate_every_n_steps: how often; 0 is never.
        bias_correction: divide the momentum by the weight that it has gathered.
        renew_after: renew h after the step, as Optax does, not before.

    Raises:
        ValueError: update is called without the parameters.
        TypeError: `obj_fn`, or what else the estimator needs, is missing.
    """

    learning_rate: Rate
    b1: Decay = 0.965
    b2: Decay = 0.99
    eps: Positive = 1e-8
    weight_decay: Number = optional(default=1e-4)
    weight_decay_mask: Mask | None = static(default=None)
    gamma: Positive = 0.01
    clip_threshold: Positive | None = 1.0
    update_interval: AtLeastOne = static(default=10)
    hessian_diagonal_fn: GradientTransformation = hutchinson_estimator_diag_hessian()
    mu_dtype: DtypeName | None = static(default=None)
    verbose: bool = static(default=False)
    print_win_rate_every_n_steps: Annotated[int, Integer(low=0)] = static(default=0)
    bias_correction: bool = static(default=True, kw_only=True)
    renew_after: bool = static(default=False, kw_only=True)

    def expand(self) -> GradientTransformation:
        direction = scale_by_sophia.of(self).expand()
        return decoupled.of(self, direction=direction, mask=self.weight_decay_mask).expand()
