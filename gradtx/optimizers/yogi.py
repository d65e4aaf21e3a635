"""Yogi: Adam whose second moment steps by (1 - β₂) g², towards g², instead of by the distance.

    mₜ = β₁ mₜ₋₁ + (1 - β₁) gₜ                          m̂ₜ = mₜ / (1 - β₁ᵗ)
    vₜ = vₜ₋₁ - (1 - β₂) sign(vₜ₋₁ - gₜ²) gₜ²           v̂ₜ = vₜ / (1 - β₂ᵗ)
    θₜ = θₜ₋₁ - λ m̂ₜ / (sqrt(v̂ₜ + ε_root) + ε)

Zaheer et al., "Adaptive Methods for Nonconvex Optimization", 2018, algorithm 2, which has no bias
correction: `bias_correction=False`. Optax corrects, and starts m at 1e-6 too, which moves
parameters that have no gradient; the paper and its authors' code start it at 0, and so does this.
https://papers.nips.cc/paper/8186-adaptive-methods-for-nonconvex-optimization
"""

from __future__ import annotations

from gradtx.atoms.moments import bias_correction, ema, signed_ema
from gradtx.atoms.pointwise import sqrt, square
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain, ratio
from gradtx.contract.hyperparameters import Decay, NonNegative, Number, Rate
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.values.value import optional, static

__all__ = ["scale_by_yogi", "yogi"]


class scale_by_yogi(Composite):
    """Yogi's direction, m̂ / (sqrt(v̂ + ε_root) + ε), without the learning rate.

    Args:
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂; 1 - β₂ is how much of a squared gradient v moves by; in [0, 1).
        eps: ε, outside the root, at least 0.
        eps_root: ε_root, inside the root, at least 0.
        initial_accumulator_value: v₀, at least 0. (The paper suggests the squared gradient of a
            large first batch, its first author 1e-6.)
        initial_mean: m₀; 1e-6 in Optax.
        bias_correction: divide each moment by the weight that an average from 0 would have
            gathered; False in the paper.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-3
    eps_root: NonNegative = optional(default=0.0)
    initial_accumulator_value: NonNegative = optional(default=1e-6)
    initial_mean: Number = optional(default=0.0, kw_only=True)
    bias_correction: bool = static(default=True, kw_only=True)

    def expand(self) -> GradientTransformation:
        correct_mu = bias_correction(self.b1) if self.bias_correction else chain()
        correct_nu = bias_correction(self.b2) if self.bias_correction else chain()
        squares = chain(square(), signed_ema(self.b2, self.initial_accumulator_value), correct_nu)
        average = chain(ema(self.b1, self.initial_mean), correct_mu)
        return ratio(average, chain(squares, sqrt(self.eps_root)), self.eps)


class yogi(Composite):
    """Yogi: `scale_by_yogi`, then the learning rate.

    The effective learning rate rises slowly after a burst of large gradients, where Adam's shoots
    up. The authors use ten times Adam's learning rate, such as 1e-2.

    Args:
        learning_rate: λ, a number or a schedule.
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂; 1 - β₂ is how much of a squared gradient v moves by; in [0, 1).
        eps: ε, outside the root, at least 0.
        eps_root: ε_root, inside the root, at least 0.
        initial_accumulator_value: v₀, at least 0.
        initial_mean: m₀; 1e-6 in Optax.
        bias_correction: divide each moment by the weight that an average from 0 would have
            gathered; False in the paper.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-3
    eps_root: NonNegative = optional(default=0.0, kw_only=True)
    initial_accumulator_value: NonNegative = optional(default=1e-6, kw_only=True)
    initial_mean: Number = optional(default=0.0, kw_only=True)
    bias_correction: bool = static(default=True, kw_only=True)

    def expand(self) -> GradientTransformation:
        return chain(scale_by_yogi.of(self).expand(), scale_by_learning_rate(self.learning_rate))
