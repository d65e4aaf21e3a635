"""AdaBelief: Adam that divides by how far the gradient is from its prediction, its own average.

    mₜ = β₁ mₜ₋₁ + (1 - β₁) gₜ                          m̂ₜ = mₜ / (1 - β₁ᵗ)
    sₜ = β₂ sₜ₋₁ + (1 - β₂) (gₜ - mₜ)² + ε_root         ŝₜ = sₜ / (1 - β₂ᵗ)
    θₜ = θₜ₋₁ - λ m̂ₜ / (sqrt(ŝₜ) + ε)

Zhuang et al., "AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed Gradients", 2020,
algorithm 2. There, in the authors' code and in Optax ε_root enters s at *every* step; what that
comes to is ε_root / (1 - β₂) in ŝ, from the first step on. (The paper's appendix still adds it
once; algorithm 2 is right, say the authors.) https://arxiv.org/abs/2010.07468
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from gradtx import numerics, tree
from gradtx.atoms.moments import bias_correction, ema, nesterov_terms
from gradtx.atoms.pointwise import sqrt, square, unless_off
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain, divided
from gradtx.contract.hyperparameters import Decay, NonNegative, Rate
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import Composite, EmptyState, GradientTransformation
from gradtx.tree import PyTree
from gradtx.values.value import optional, static

__all__ = ["adabelief", "add_drift", "belief", "scale_by_belief"]


class BeliefState(NamedTuple):
    prediction: PyTree
    numerator: PyTree
    look_ahead: PyTree
    denominator: PyTree


class belief(GradientTransformation, reach=ENTRY):
    """(numerator(m) + look_ahead(g)) / (denominator(g - m) + ε), where m = prediction(g).

    A `ratio` whose two sides share one prediction, so that its state is kept once.

    Args:
        prediction: what the updates are compared with, such as their average.
        numerator: reads the prediction.
        denominator: reads the updates minus the prediction; its results are not negative.
        eps: ε, at least 0.
        look_ahead: reads the updates; what it returns is added to the numerator. None adds nothing.
    """

    prediction: GradientTransformation
    numerator: GradientTransformation
    denominator: GradientTransformation
    eps: NonNegative = optional(default=0.0)
    look_ahead: GradientTransformation | None = None

    def init(self, params: PyTree) -> BeliefState:
        parts = (self.prediction, self.numerator, self.look_ahead, self.denominator)
        return BeliefState(*(EmptyState() if part is None else part.init(params) for part in parts))

    def update(
        self, updates: PyTree, state: BeliefState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, BeliefState]:
        def run(part: GradientTransformation, updates: PyTree, state: PyTree) -> tuple[PyTree, PyTree]:
            return part.update(updates, state, params, **extra)

        predicted, prediction = run(self.prediction, updates, state.prediction)
        surprise = tree.map(numerics.minus, updates, predicted)
        top, numerator = run(self.numerator, predicted, state.numerator)
        look_ahead = state.look_ahead
        if self.look_ahead is not None:
            ahead, look_ahead = run(self.look_ahead, updates, look_ahead)
            top = jax.tree.map(numerics.plus, top, ahead)
        bottom, denominator = run(self.denominator, surprise, state.denominator)
        return divided(top, bottom, self.eps), BeliefState(prediction, numerator, look_ahead, denominator)


class add_drift(GradientTransformation, reach=ENTRY):
    """g + c / (1 - β): what a debiased average gains from c being added to it at every step.

    At step t these add up to c (1 - βᵗ) / (1 - β), and the bias correction divides by 1 - βᵗ. Adding
    them one by one would round the average once more per step, and every time the same way.

    Args:
        drift: c, at least 0.
        decay: β of the average, in [0, 1).
    """

    drift: NonNegative
    decay: Decay

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        gained = self.drift / numerics.complement(self.decay)
        return jax.tree.map(lambda u: numerics.plus(u, gained), updates), state


class scale_by_belief(Composite):
    """AdaBelief's direction, m̂ / (sqrt(ŝ) + ε), without the learning rate.

    Args:
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂, the decay of the average of squared surprises, in [0, 1).
        eps: ε, outside the root, at least 0.
        eps_root: added to s at every step, at least 0.
        nesterov: look one step ahead, as NAdam does.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-16
    eps_root: NonNegative = optional(default=1e-16)
    nesterov: bool = static(default=False, kw_only=True)

    def expand(self) -> GradientTransformation:
        drift = unless_off(self.eps_root, add_drift, self.b2)
        deviation = chain(square(), ema(self.b2), bias_correction(self.b2), drift, sqrt())
        if not self.nesterov:
            return belief(ema(self.b1), bias_correction(self.b1), deviation, self.eps)
        of_average, of_gradient = nesterov_terms(self.b1)
        return belief(ema(self.b1), of_average, deviation, self.eps, of_gradient)


class adabelief(Composite):
    """AdaBelief: `scale_by_belief`, then the learning rate.

    Long steps where the gradient is what was expected, short ones where it is not. The authors
    advise ε and ε_root of 1e-16 where Adam is better than SGD, and 1e-8 where SGD is better.

    Args:
        learning_rate: λ, a number or a schedule.
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂, the decay of the average of squared surprises, in [0, 1).
        eps: ε, outside the root, at least 0.
        eps_root: added to s at every step, at least 0.
        nesterov: look one step ahead, as NAdam does.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-16
    eps_root: NonNegative = optional(default=1e-16)
    nesterov: bool = static(default=False, kw_only=True)

    def expand(self) -> GradientTransformation:
        return chain(scale_by_belief.of(self).expand(), scale_by_learning_rate(self.learning_rate))
