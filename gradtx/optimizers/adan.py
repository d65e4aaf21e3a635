"""Adan: Adam with Nesterov's momentum, written with the change of the gradient since the last step.

    Δₜ = gₜ - gₜ₋₁,  Δ₁ = 0
    mₜ = β₁ mₜ₋₁ + (1 - β₁) gₜ                          m̂ₜ = mₜ / (1 - β₁ᵗ)
    vₜ = β₂ vₜ₋₁ + (1 - β₂) Δₜ                          v̂ₜ = vₜ / (1 - β₂ᵗ)
    nₜ = β₃ nₜ₋₁ + (1 - β₃) (gₜ + β₂ Δₜ)²               n̂ₜ = nₜ / (1 - β₃ᵗ)
    θₜ = (θₜ₋₁ - λ (m̂ₜ + β₂ v̂ₜ) / (sqrt(n̂ₜ + ε_root) + ε)) / (1 + λ w)

Xie et al., "Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models", 2022, algorithm 1,
whose β is 1 - β here, with the bias corrections of its authors' code. https://arxiv.org/abs/2208.06677

Optax multiplies Δ and v̂ by 1 - β₂ instead of β₂: 0.08 for 0.92 at the defaults
(https://github.com/google-deepmind/optax/pull/1715). Its `adan` has an ε_root of 1e-8, which the paper has
not, and subtracts λ w θ: `eps_root=1e-8, proximal=False`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from gradtx import numerics
from gradtx.atoms.decay import add_proximal_weight_decay, decoupled
from gradtx.atoms.moments import difference, momentum, rms
from gradtx.atoms.pointwise import scale, unless_off
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain, divided
from gradtx.contract.hyperparameters import Decay, NonNegative, Number, Rate
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.rules.masks import Mask
from gradtx.tree import PyTree
from gradtx.values.value import optional, static

__all__ = ["adan", "difference_ratio", "scale_by_adan"]


class DifferenceRatioState(NamedTuple):
    difference: PyTree
    of_gradient: PyTree
    of_difference: PyTree
    denominator: PyTree


class difference_ratio(GradientTransformation, reach=ENTRY):
    """(of_gradient(g) + of_difference(Δ)) / (denominator(g + c Δ) + ε), where Δ = `difference` of g.

    A `ratio` whose two sides share one difference, so that the last gradient is kept once.

    Args:
        of_gradient: reads the updates.
        of_difference: reads their change since the last step.
        denominator: reads the updates that look ahead, g + c Δ; its results are not negative.
        ahead: c, how far to look ahead.
        eps: ε, at least 0.
    """

    of_gradient: GradientTransformation
    of_difference: GradientTransformation
    denominator: GradientTransformation
    ahead: Number
    eps: NonNegative = optional(default=0.0)

    def init(self, params: PyTree) -> DifferenceRatioState:
        parts = (difference(), self.of_gradient, self.of_difference, self.denominator)
        return DifferenceRatioState(*(part.init(params) for part in parts))

    def update(
        self, updates: PyTree, state: DifferenceRatioState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, DifferenceRatioState]:
        def run(part: GradientTransformation, updates: PyTree, state: PyTree) -> tuple[PyTree, PyTree]:
            return part.update(updates, state, params, **extra)

        change, last = difference().update(updates, state.difference)
        change = jax.tree.map(numerics.finite, change)  # of two finite numbers, however large
        looked = jax.tree.map(lambda g, d: g + numerics.like(self.ahead, g) * d, updates, change)
        mean, of_gradient = run(self.of_gradient, updates, state.of_gradient)
        trend, of_difference = run(self.of_difference, change, state.of_difference)
        bottom, denominator = run(self.denominator, looked, state.denominator)
        quotient = divided(jax.tree.map(lambda m, v: m + v, mean, trend), bottom, self.eps)
        return quotient, DifferenceRatioState(last, of_gradient, of_difference, denominator)


class scale_by_adan(Composite):
    """Adan's direction, (m̂ + β₂ v̂) / (sqrt(n̂ + ε_root) + ε), without the learning rate and the decay.

    Args:
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂, the decay of the average of their changes, in [0, 1).
        b3: β₃, the decay of the average of squares, in [0, 1).
        eps: ε, outside the root, at least 0.
        eps_root: ε_root, inside the root, at least 0.
    """

    b1: Decay = 0.98
    b2: Decay = 0.92
    b3: Decay = 0.99
    eps: NonNegative = 1e-8
    eps_root: NonNegative = optional(default=0.0)

    def expand(self) -> GradientTransformation:
        trend = chain(momentum(self.b2), scale(self.b2))
        return difference_ratio(
            momentum(self.b1), trend, rms(self.b3, self.eps_root), ahead=self.b2, eps=self.eps
        )


class adan(Composite):
    """Adan: `scale_by_adan`, then the learning rate and the weight decay.

    It bears learning rates 5 to 10 times Adam's; the authors' weight decay is 0.02. It keeps four
    numbers for each parameter, where Adam keeps two.

    Args:
        learning_rate: λ, a number or a schedule.
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂, the decay of the average of their changes, in [0, 1).
        b3: β₃, the decay of the average of squares, in [0, 1).
        eps: ε, outside the root, at least 0.
        eps_root: ε_root, inside the root, at least 0; 1e-8 in Optax.
        weight_decay: w, at least 0.
        mask: the leaves that decay: a tree of booleans, a function of the parameters, or a
            regular expression on the leaf's path; None is all.
        proximal: divide by 1 + λ w, as in the paper; False takes λ w θ off, as Optax does.

    Raises:
        ValueError: update is called without the parameters while there is a weight decay.
    """

    learning_rate: Rate
    b1: Decay = 0.98
    b2: Decay = 0.92
    b3: Decay = 0.99
    eps: NonNegative = 1e-8
    eps_root: NonNegative = optional(default=0.0)
    weight_decay: NonNegative = optional(default=0.0)
    mask: Mask | None = static(default=None)
    proximal: bool = static(default=True, kw_only=True)

    def expand(self) -> GradientTransformation:
        direction = scale_by_adan.of(self).expand()
        if not self.proximal:
            return decoupled.of(self, direction=direction).expand()
        decay = unless_off(
            self.weight_decay, lambda w: add_proximal_weight_decay(self.learning_rate, w, self.mask)
        )
        return chain(direction, scale_by_learning_rate(self.learning_rate), decay)
