"""AdaMax: Adam with a decaying maximum of |g| where Adam has a root mean square.

    mₜ = β₁ mₜ₋₁ + (1 - β₁) gₜ              m̂ₜ = mₜ / (1 - β₁ᵗ)
    uₜ = max(β₂ uₜ₋₁, |gₜ| + ε)
    θₜ = θₜ₋₁ - λ m̂ₜ / uₜ

Kingma & Ba, "Adam: A Method for Stochastic Optimization", 2015, algorithm 2, which has no ε: it
divides 0 by 0 where every gradient is 0. Here it stands where Optax and PyTorch put it.
https://arxiv.org/abs/1412.6980
"""

from __future__ import annotations

from gradtx.atoms.moments import decayed_max, momentum
from gradtx.atoms.pointwise import absolute, offset
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain, ratio
from gradtx.contract.hyperparameters import Decay, NonNegative, Rate
from gradtx.contract.transformation import Composite, GradientTransformation

__all__ = ["adamax", "scale_by_adamax"]


class scale_by_adamax(Composite):
    """AdaMax's direction, m̂ / u, without the learning rate.

    Args:
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂, the decay of the maximum, in [0, 1).
        eps: ε, added to each |g|, at least 0; the paper's is 0.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8

    def expand(self) -> GradientTransformation:
        return ratio(momentum(self.b1), chain(absolute(), offset(self.eps), decayed_max(self.b2)))


class adamax(Composite):
    """AdaMax: `scale_by_adamax`, then the learning rate.

    No entry moves by much more than λ in a step; the paper's λ is 2e-3.

    Args:
        learning_rate: λ, a number or a schedule.
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂, the decay of the maximum, in [0, 1).
        eps: ε, added to each |g|, at least 0; the paper's is 0.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8

    def expand(self) -> GradientTransformation:
        return chain(scale_by_adamax.of(self).expand(), scale_by_learning_rate(self.learning_rate))
