"""LAMB: AdamW whose every leaf steps by the size of its parameters, for very large batches.

    rₜ = m̂ₜ / (sqrt(v̂ₜ + ε_root) + ε) + w θₜ₋₁         m̂ and v̂ as in Adam
    θₜ = θₜ₋₁ - λ ‖θₜ₋₁‖ / ‖rₜ‖ · rₜ                   leaf by leaf; λ rₜ where a norm is 0

You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes", 2020,
algorithm 2 with φ(z) = z. https://arxiv.org/abs/1904.00962
"""

from __future__ import annotations

from gradtx.atoms.decay import add_decoupled_weight_decay
from gradtx.atoms.norms import scale_by_trust_ratio
from gradtx.atoms.pointwise import unless_off
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain
from gradtx.contract.hyperparameters import Decay, NonNegative, Number, Rate
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.optimizers.adam import scale_by_adam
from gradtx.rules.masks import Mask
from gradtx.values.value import optional, static

__all__ = ["lamb"]


class lamb(Composite):
    """LAMB: Adam's direction and the weight decay, scaled by the trust ratio, then the learning rate.

    Args:
        learning_rate: λ, a number or a schedule: how far a leaf moves, relative to its size.
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂, the decay of the average of their squares, in [0, 1).
        eps: ε, outside the root, at least 0.
        eps_root: ε_root, inside the root, at least 0.
        weight_decay: w; it shares in the trust ratio.
        mask: the leaves that decay: a tree of booleans, a function of the parameters, or a
            regular expression on the leaf's path; None is all.

    Raises:
        ValueError: update is called without the parameters.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-6
    eps_root: NonNegative = optional(default=0.0)
    weight_decay: Number = optional(default=0.0)
    mask: Mask | None = static(default=None)

    def expand(self) -> GradientTransformation:
        decay = unless_off(self.weight_decay, add_decoupled_weight_decay, self.mask)
        rate = scale_by_learning_rate(self.learning_rate)
        return chain(scale_by_adam.of(self).expand(), decay, scale_by_trust_ratio(), rate)
