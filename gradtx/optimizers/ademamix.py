"""AdEMAMix: Adam whose numerator adds a second, much longer average of the gradients.

    m₁ₜ = β₁ m₁ₜ₋₁ + (1 - β₁) gₜ             m̂₁ₜ = m₁ₜ / (1 - β₁ᵗ)
    m₂ₜ = β₃ m₂ₜ₋₁ + (1 - β₃) gₜ             not corrected: it fills slowly
    vₜ = β₂ vₜ₋₁ + (1 - β₂) gₜ²              v̂ₜ = vₜ / (1 - β₂ᵗ)
    θₜ = θₜ₋₁ - λ ((m̂₁ₜ + α m₂ₜ) / (sqrt(v̂ₜ + ε_root) + ε) + w θₜ₋₁)

Pagliardini, Ablin & Grangier, "The AdEMAMix Optimizer: Better, Faster, Older", 2024.
https://arxiv.org/abs/2409.03137
"""

from __future__ import annotations

from gradtx.atoms.decay import decoupled
from gradtx.atoms.moments import ema, momentum, rms
from gradtx.atoms.pointwise import scale
from gradtx.combine import add, chain, ratio
from gradtx.contract.hyperparameters import Decay, DtypeName, NonNegative, Number, Rate
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.rules.masks import Mask
from gradtx.values.value import optional, static

__all__ = ["ademamix", "scale_by_ademamix"]


class scale_by_ademamix(Composite):
    """AdEMAMix's direction, (m̂₁ + α m₂) / (sqrt(v̂ + ε_root) + ε), without the learning rate and the decay.

    Args:
        b1: β₁, the decay of the short average of gradients, in [0, 1).
        b2: β₂, the decay of the average of their squares, in [0, 1).
        b3: β₃, the decay of the long average of gradients, in [0, 1).
        alpha: α, the weight of the long average. (Optax's default is 6 here and 5 in `ademamix`.)
        eps: ε, outside the root, at least 0.
        eps_root: ε_root, inside the root, at least 0.
        mu_dtype: of the state of both averages of gradients; None is the parameters', at least
            float32. (Optax's is that of the average of squares too.)
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    b3: Decay = 0.9999
    alpha: Number = 6.0
    eps: NonNegative = 1e-8
    eps_root: NonNegative = optional(default=0.0)
    mu_dtype: DtypeName | None = static(default=None)

    def expand(self) -> GradientTransformation:
        slow = chain(ema(self.b3, accumulator_dtype=self.mu_dtype), scale(self.alpha))
        both = add(momentum(self.b1, self.mu_dtype), slow)
        return ratio(both, rms(self.b2, self.eps_root), self.eps)


class ademamix(Composite):
    """AdEMAMix: `scale_by_ademamix`, then decoupled weight decay, then the learning rate.

    For long runs, with AdamW's learning rate and decay: the long average needs about 1 / (1 - β₃)
    steps to fill, so that a run of some thousand steps wants a β₃ of 0.999. The paper's α is 4 to
    10; to be safe at the start it lets α grow in a straight line over the run, as in
    `alpha=linear_schedule(0.0, 5.0, steps)`, and β₃ too, from β₁. Old gradients mislead where the
    data change.

    Args:
        learning_rate: λ, a number or a schedule.
        b1: β₁, the decay of the short average of gradients, in [0, 1).
        b2: β₂, the decay of the average of their squares, in [0, 1).
        b3: β₃, the decay of the long average of gradients, in [0, 1).
        alpha: α, the weight of the long average.
        eps: ε, outside the root, at least 0.
        eps_root: ε_root, inside the root, at least 0.
        mu_dtype: of the state of both averages of gradients; None is the parameters', at least
            float32.
        weight_decay: w; what a step takes off a parameter is λ w θ.
        mask: the leaves that decay: a tree of booleans, a function of the parameters, or a
            regular expression on the leaf's path; None is all.

    Raises:
        ValueError: update is called without the parameters while there is a weight decay.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    b3: Decay = 0.9999
    alpha: Number = 5.0
    eps: NonNegative = 1e-8
    eps_root: NonNegative = optional(default=0.0)
    mu_dtype: DtypeName | None = static(default=None)
    weight_decay: Number = optional(default=0.0)
    mask: Mask | None = static(default=None)

    def expand(self) -> GradientTransformation:
        return decoupled.of(self, direction=scale_by_ademamix.of(self).expand()).expand()
