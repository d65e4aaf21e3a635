"""AdaMaxW: AdaMax whose weight decay is decoupled from the gradient.

    θₜ = θₜ₋₁ - λₜ (m̂ₜ / uₜ + w θₜ₋₁)

Kingma & Ba, "Adam: A Method for Stochastic Optimization", 2015, algorithm 2, with the decay of
Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019, algorithm 2.
https://arxiv.org/abs/1412.6980 and https://arxiv.org/abs/1711.05101
"""

from __future__ import annotations

from gradtx.atoms.decay import decoupled
from gradtx.contract.hyperparameters import Decay, NonNegative, Number, Rate
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.optimizers.adamax import scale_by_adamax
from gradtx.rules.masks import Mask
from gradtx.values.value import optional, static

__all__ = ["adamaxw"]


class adamaxw(Composite):
    """AdaMaxW: AdaMax's direction, then decoupled weight decay, then the learning rate.

    Args:
        learning_rate: λ, a number or a schedule.
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂, the decay of the maximum, in [0, 1).
        eps: ε, added to each |g|, at least 0.
        weight_decay: w; what a step takes off a parameter is λ w θ.
        mask: the leaves that decay: a tree of booleans, a function of the parameters, or a
            regular expression on the leaf's path; None is all.
        independent_decay: take off w θ whatever the learning rate is; w is then much smaller,
            such as 1e-5.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    weight_decay: Number = optional(default=1e-4)
    mask: Mask | None = static(default=None)
    independent_decay: bool = static(default=False, kw_only=True)

    def expand(self) -> GradientTransformation:
        direction = scale_by_adamax.of(self).expand()
        return decoupled.of(self, direction=direction, independent=self.independent_decay).expand()
