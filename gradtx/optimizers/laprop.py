"""LaProp: RMSprop, then momentum: what is averaged is the normalised gradient.

    vₜ = β₂ vₜ₋₁ + (1 - β₂) gₜ²             v̂ₜ = vₜ / (1 - β₂ᵗ)
    mₜ = β₁ mₜ₋₁ + (1 - β₁) gₜ / (sqrt(v̂ₜ) + ε)
    θₜ = θₜ₋₁ - λ mₜ / (1 - β₁ᵗ)

Ziyin, Wang & Ueda, "LaProp: Separating Momentum and Adaptivity in Adam", 2020, algorithm 1. The
authors' code keeps λ inside m, which is the same while λ is constant. https://arxiv.org/abs/2002.04839
"""

from __future__ import annotations

from gradtx.atoms.moments import momentum, rms
from gradtx.atoms.pointwise import identity
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain, ratio
from gradtx.contract.hyperparameters import Decay, DtypeName, NonNegative, Rate
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.values.value import static

__all__ = ["laprop", "scale_by_laprop"]


class scale_by_laprop(Composite):
    """LaProp's direction, the debiased average of g / (sqrt(v̂) + ε), without the learning rate.

    Args:
        b1: β₁, the decay of the average of normalised gradients, in [0, 1).
        b2: β₂, the decay of the average of squares, in [0, 1); unlike Adam's, it may be below β₁².
        eps: ε, outside the root, at least 0.
        mu_dtype: of the first moment's state; None is the parameters', at least float32.
        nu_dtype: of the second moment's state; None is the parameters', at least float32.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-15
    mu_dtype: DtypeName | None = static(default=None, kw_only=True)
    nu_dtype: DtypeName | None = static(default=None, kw_only=True)

    def expand(self) -> GradientTransformation:
        normalised = ratio(identity(), rms(self.b2, accumulator_dtype=self.nu_dtype), self.eps)
        return chain(normalised, momentum(self.b1, self.mu_dtype))


class laprop(Composite):
    """LaProp: `scale_by_laprop`, then the learning rate.

    No entry moves by more than λ / sqrt(1 - β₂) in a step, whatever b1 is; Adam's bound grows
    without limit as β₂ falls to β₁².

    Args:
        learning_rate: λ, a number or a schedule; the authors' is 4e-4.
        b1: β₁, the decay of the average of normalised gradients, in [0, 1).
        b2: β₂, the decay of the average of squares, in [0, 1); unlike Adam's, it may be below β₁².
        eps: ε, outside the root, at least 0.
        mu_dtype: of the first moment's state; None is the parameters', at least float32.
        nu_dtype: of the second moment's state; None is the parameters', at least float32.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-15
    mu_dtype: DtypeName | None = static(default=None, kw_only=True)
    nu_dtype: DtypeName | None = static(default=None, kw_only=True)

    def expand(self) -> GradientTransformation:
        return chain(scale_by_laprop.of(self).expand(), scale_by_learning_rate(self.learning_rate))
