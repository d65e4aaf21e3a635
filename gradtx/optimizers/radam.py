"""RAdam: Adam that waits until its second moment can be trusted, and then takes it in gradually.

    θₜ = θₜ₋₁ - λ rₜ m̂ₜ / (sqrt(v̂ₜ + ε_root) + ε)     where ρₜ ≥ threshold
    θₜ = θₜ₋₁ - λ m̂ₜ                                  before

    ρ∞ = 2 / (1 - β₂) - 1              ρₜ = ρ∞ - 2 t β₂ᵗ / (1 - β₂ᵗ)
    rₜ² = (ρₜ - 4)(ρₜ - 2) ρ∞ / ((ρ∞ - 4)(ρ∞ - 2) ρₜ)

Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", 2020, algorithm 2, with the
threshold of the authors' code; the paper's is ρₜ > 4, and it has no ε. The authors' code and PyTorch add ε
to the root of the uncorrected second moment, which is `eps_hat=True`; the default adds it to the corrected
one, as Optax does, and at ε = 1e-2 their steps are up to 8 % apart. In float32 Optax loses ρₜ
to cancellation: at β₂ = 0.999 its first rectified step is half a percent off, at β₂ = 0.9999 it
takes that step at t = 2 instead of 6. https://arxiv.org/abs/1908.03265
"""

from __future__ import annotations

from gradtx.atoms.moments import bias_correction, ema, momentum, nesterov_momentum, rectify, rms
from gradtx.atoms.pointwise import offset, sqrt, square
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain, ratio
from gradtx.contract.hyperparameters import Decay, NonNegative, Number, Rate
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.values.value import optional, static

__all__ = ["radam", "scale_by_radam"]


class scale_by_radam(Composite):
    """RAdam's direction, r m̂ / (sqrt(v̂ + ε_root) + ε), or m̂ at first, without the learning rate.

    Args:
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂, the decay of the average of their squares, in [0, 1); up to 0.6 it is never used.
        eps: ε, outside the root, at least 0.
        eps_root: ε_root, inside the root, at least 0.
        threshold: the least ρₜ with which the second moment is used; above 4 in any case.
        nesterov: look one step ahead, as NAdam does.
        eps_hat: add ε to the root of the uncorrected second moment, as the authors' code does.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = optional(default=0.0)
    threshold: Number = 5.0
    nesterov: bool = static(default=False, kw_only=True)
    eps_hat: bool = static(default=False, kw_only=True)

    def expand(self) -> GradientTransformation:
        look = nesterov_momentum if self.nesterov else momentum
        size = chain(rms(self.b2, self.eps_root), offset(self.eps))
        if self.eps_hat:
            root = chain(square(), ema(self.b2), sqrt(self.eps_root), offset(self.eps))
            size = chain(root, bias_correction(self.b2, root=True))
        return ratio(look(self.b1), chain(size, rectify(self.b2, self.threshold)))


class radam(Composite):
    """RAdam: `scale_by_radam`, then the learning rate.

    Does without a warm-up of the learning rate. Its first five steps are λ m̂, as large as the
    gradients are.

    Args:
        learning_rate: λ, a number or a schedule.
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂, the decay of the average of their squares, in [0, 1); up to 0.6 it is never used.
        eps: ε, outside the root, at least 0.
        eps_root: ε_root, inside the root, at least 0.
        threshold: the least ρₜ with which the second moment is used; above 4 in any case.
        nesterov: look one step ahead, as NAdam does.
        eps_hat: add ε to the root of the uncorrected second moment, as the authors' code does.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = optional(default=0.0)
    threshold: Number = 5.0
    nesterov: bool = static(default=False, kw_only=True)
    eps_hat: bool = static(default=False, kw_only=True)

    def expand(self) -> GradientTransformation:
        return chain(scale_by_radam.of(self).expand(), scale_by_learning_rate(self.learning_rate))
