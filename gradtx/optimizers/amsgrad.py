"""AMSGrad: Adam whose second moment never falls, so that its step sizes never grow.

    mₜ = β₁ mₜ₋₁ + (1 - β₁) gₜ              m̂ₜ = mₜ / (1 - β₁ᵗ)
    vₜ = β₂ vₜ₋₁ + (1 - β₂) gₜ²             v̂ₜ = max(v̂ₜ₋₁, vₜ / (1 - β₂ᵗ))
    θₜ = θₜ₋₁ - λ m̂ₜ / (sqrt(v̂ₜ + ε_root) + ε)

Reddi, Kale & Kumar, "On the Convergence of Adam and Beyond", 2018, algorithm 2, which has neither
bias correction nor ε: `bias_correction_mu=False, bias_correction_nu=False`. Both are Optax's.
https://arxiv.org/abs/1904.09237
"""

from __future__ import annotations

from gradtx.atoms.moments import bias_correction, ema, momentum, running_max
from gradtx.atoms.pointwise import sqrt, square
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain, ratio
from gradtx.contract.hyperparameters import Decay, DtypeName, NonNegative, Rate
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.values.value import optional, static

__all__ = ["amsgrad", "scale_by_amsgrad"]


class scale_by_amsgrad(Composite):
    """AMSGrad's direction, m̂ / (sqrt(v̂ + ε_root) + ε), without the learning rate.

    Args:
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂, the decay of the average of their squares, in [0, 1).
        eps: ε, outside the root, at least 0.
        eps_root: ε_root, inside the root, at least 0.
        mu_dtype: of the first moment's state; None is the parameters', at least float32.
        bias_correction_mu: divide the first moment by the weight it has gathered; False in the paper.
        bias_correction_nu: divide the second by its weight; False in the paper. Then the maximum
            remembers the first gradient's whole square for ever, where the paper's takes it in
            with weight 1 - β₂.
        correct_maximum: take the maximum of the uncorrected v and correct that, as PyTorch does:
            max(v₁, …, vₜ) / (1 - β₂ᵗ), which does fall in the first steps.
        nu_dtype: of the second moment's state; None is the parameters', at least float32.

    Raises:
        ValueError: correct_maximum without bias_correction_nu.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = optional(default=0.0)
    mu_dtype: DtypeName | None = static(default=None)
    bias_correction_mu: bool = static(default=True)
    bias_correction_nu: bool = static(default=True)
    correct_maximum: bool = static(default=False, kw_only=True)
    nu_dtype: DtypeName | None = static(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.correct_maximum and not self.bias_correction_nu:
            raise ValueError(
                "scale_by_amsgrad(correct_maximum=True): there is no correction of the maximum "
                "with bias_correction_nu=False; leave one of them out."
            )

    def expand(self) -> GradientTransformation:
        look = momentum if self.bias_correction_mu else ema
        squares = chain(square(), ema(self.b2, accumulator_dtype=self.nu_dtype))
        correct = bias_correction(self.b2) if self.bias_correction_nu else chain()
        steps = (running_max(), correct) if self.correct_maximum else (correct, running_max())
        average = look(self.b1, accumulator_dtype=self.mu_dtype)
        return ratio(average, chain(squares, *steps, sqrt(self.eps_root)), self.eps)


class amsgrad(Composite):
    """AMSGrad: `scale_by_amsgrad`, then the learning rate.

    For problems on which Adam does not converge: rare, large gradients that carry the signal.

    Args:
        learning_rate: λ, a number or a schedule.
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂, the decay of the average of their squares, in [0, 1).
        eps: ε, outside the root, at least 0.
        eps_root: ε_root, inside the root, at least 0.
        mu_dtype: of the first moment's state; None is the parameters', at least float32.
        bias_correction_mu: divide the first moment by the weight it has gathered; False in the paper.
        bias_correction_nu: divide the second by its weight; False in the paper.
        correct_maximum: correct the maximum instead of its terms, as PyTorch does.
        nu_dtype: of the second moment's state; None is the parameters', at least float32.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = optional(default=0.0)
    mu_dtype: DtypeName | None = static(default=None)
    bias_correction_mu: bool = static(default=True)
    bias_correction_nu: bool = static(default=True)
    correct_maximum: bool = static(default=False, kw_only=True)
    nu_dtype: DtypeName | None = static(default=None, kw_only=True)

    def expand(self) -> GradientTransformation:
        return chain(scale_by_amsgrad.of(self).expand(), scale_by_learning_rate(self.learning_rate))
