"""Simplified AdEMAMix: one long velocity and the gradient itself, over Adam's root mean square.

    mₜ = β₁ mₜ₋₁ + gₜ
    vₜ = β₂ vₜ₋₁ + (1 - β₂) gₜ²              v̂ₜ = vₜ / (1 - β₂ᵗ)
    θₜ = θₜ₋₁ - λ ((mₜ + α gₜ) / (sqrt(v̂ₜ + ε_root) + ε) + w θₜ₋₁)

Morwani, Vyas, Zhang & Kakade, "Connections between Schedule-Free Optimizers, AdEMAMix, and Accelerated
SGD Variants", 2025. https://arxiv.org/abs/2502.02431
"""

from __future__ import annotations

from gradtx.atoms.decay import decoupled
from gradtx.atoms.moments import rms, trace
from gradtx.atoms.pointwise import scale, unless_off
from gradtx.combine import add, chain, ratio
from gradtx.contract.hyperparameters import Decay, NonNegative, Number, Rate
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.rules.masks import Mask
from gradtx.values.value import is_off, optional, static

__all__ = ["scale_by_simplified_ademamix", "simplified_ademamix"]


class scale_by_simplified_ademamix(Composite):
    """(m + α g) / (sqrt(v̂ + ε_root) + ε), without the learning rate and the decay.

    Args:
        b1: β₁, the decay of the velocity, in [0, 1).
        b2: β₂, the decay of the average of squares, in [0, 1).
        alpha: α, the weight of the gradient beside the velocity.
        eps: ε, outside the root, at least 0.
        eps_root: ε_root, inside the root, at least 0.
    """

    b1: Decay = 0.99
    b2: Decay = 0.95
    alpha: Number = optional(default=0.0)
    eps: NonNegative = 1e-8
    eps_root: NonNegative = optional(default=0.0)

    def expand(self) -> GradientTransformation:
        # A chain of these two has the state of their sum.
        top = (chain if is_off(self.alpha) else add)(trace(self.b1), unless_off(self.alpha, scale))
        return ratio(top, rms(self.b2, self.eps_root), self.eps)


class simplified_ademamix(Composite):
    """Simplified AdEMAMix: `scale_by_simplified_ademamix`, then decoupled weight decay, then the rate.

    The velocity is a sum, not an average: the steps are up to 1 / (1 - β₁) times as long as Adam's,
    so λ is that much smaller. The authors' best α falls with the batch size, from about 100 at
    32 thousand tokens to nearly 0 at a million.

    Args:
        learning_rate: λ, a number or a schedule.
        b1: β₁, the decay of the velocity, in [0, 1).
        b2: β₂, the decay of the average of squares, in [0, 1).
        alpha: α, the weight of the gradient beside the velocity.
        eps: ε, outside the root, at least 0.
        eps_root: ε_root, inside the root, at least 0.
        weight_decay: w; what a step takes off a parameter is λ w θ.
        mask: the leaves that decay: a tree of booleans, a function of the parameters, or a
            regular expression on the leaf's path; None is all.

    Raises:
        ValueError: update is called without the parameters while there is a weight decay.
    """

    learning_rate: Rate
    b1: Decay = 0.99
    b2: Decay = 0.95
    alpha: Number = optional(default=0.0)
    eps: NonNegative = 1e-8
    eps_root: NonNegative = optional(default=0.0)
    weight_decay: Number = optional(default=0.0)
    mask: Mask | None = static(default=None)

    def expand(self) -> GradientTransformation:
        return decoupled.of(self, direction=scale_by_simplified_ademamix.of(self).expand()).expand()
