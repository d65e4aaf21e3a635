"""Adam = RMSprop + momentum + bias correction.

    mₜ = β₁ mₜ₋₁ + (1 - β₁) gₜ              m̂ₜ = mₜ / (1 - β₁ᵗ)
    vₜ = β₂ vₜ₋₁ + (1 - β₂) gₜ²             v̂ₜ = vₜ / (1 - β₂ᵗ)
    θₜ = θₜ₋₁ - λ m̂ₜ / (sqrt(v̂ₜ + ε_root) + ε)

Kingma & Ba, "Adam: A Method for Stochastic Optimization", 2015, algorithm 1.
https://arxiv.org/abs/1412.6980
"""

from __future__ import annotations

from gradtx.atoms.moments import bias_correction, ema, momentum, nesterov_momentum, rms
from gradtx.atoms.pointwise import offset, sqrt, square
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain, ratio
from gradtx.contract.hyperparameters import Decay, DtypeName, NonNegative, Rate
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.values.value import optional, static

__all__ = ["adam", "scale_by_adam"]


class scale_by_adam(Composite):
    """Adam's direction, m̂ / (sqrt(v̂ + ε_root) + ε), without the learning rate.

    An entry with a gradient so large that v̂ is beyond the range of its dtype (in float32 above 3.4e38) stands
    still: while v̂ is, and for good where v itself is, which takes a gradient of 5.8e20 with β₂ = 0.999.

    Args:
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂, the decay of the average of their squares, in [0, 1).
        eps: ε, outside the root, at least 0.
        eps_root: ε_root, inside the root, at least 0; the article's and RMSprop's place for ε.
        mu_dtype: of the first moment's state; None is the parameters', at least float32.
        nesterov: look one step ahead; NAdam.
        bias_correction: divide each moment by the weight it has gathered. Without it the first
            step is (1 - β₁) / sqrt(1 - β₂) times as large: 3.16 times at the defaults.
        eps_hat: the paper's more efficient form at the end of its section 2, which is
            TensorFlow's: ε is added to the root of the *uncorrected* v, so it counts for less as
            training goes on.
        nu_dtype: of the second moment's state; None is the parameters', at least float32.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = optional(default=0.0)
    mu_dtype: DtypeName | None = static(default=None)
    nesterov: bool = static(default=False, kw_only=True)
    bias_correction: bool = static(default=True, kw_only=True)
    eps_hat: bool = static(default=False, kw_only=True)
    nu_dtype: DtypeName | None = static(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.bias_correction and (self.nesterov or self.eps_hat):
            raise ValueError(
                "scale_by_adam(bias_correction=False): nesterov and eps_hat are forms of the bias "
                "correction; leave them out."
            )

    def expand(self) -> GradientTransformation:
        if not self.bias_correction:
            average = ema(self.b1, accumulator_dtype=self.mu_dtype)
            squares = chain(square(), ema(self.b2, accumulator_dtype=self.nu_dtype))
            return ratio(average, chain(squares, sqrt(self.eps_root)), self.eps)
        look = nesterov_momentum if self.nesterov else momentum
        if self.eps_hat:
            squares = chain(square(), ema(self.b2, accumulator_dtype=self.nu_dtype))
            root = chain(sqrt(self.eps_root), offset(self.eps), bias_correction(self.b2, root=True))
            return ratio(look(self.b1, self.mu_dtype), chain(squares, root))
        return ratio(look(self.b1, self.mu_dtype), rms(self.b2, self.eps_root, self.nu_dtype), self.eps)


class adam(Composite):
    """Adam: `scale_by_adam`, then the learning rate.

    The usual choice where nothing is known; 1e-3 is a fair start for the learning rate, 3e-4 for
    transformers. For a decay of the weights use `adamw`; for Adam with an L2 penalty, whose
    gradient enters both moments, chain `add_l2_penalty` in front.

    Args:
        learning_rate: λ, a number or a schedule.
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂, the decay of the average of their squares, in [0, 1).
        eps: ε, outside the root, at least 0.
        eps_root: ε_root, inside the root, at least 0.
        mu_dtype: of the first moment's state; None is the parameters', at least float32.
        nesterov: look one step ahead; NAdam.
        bias_correction: divide each moment by the weight it has gathered.
        eps_hat: add ε to the root of the uncorrected second moment, as TensorFlow does.
        nu_dtype: of the second moment's state; None is the parameters', at least float32.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = optional(default=0.0)
    mu_dtype: DtypeName | None = static(default=None)
    nesterov: bool = static(default=False, kw_only=True)
    bias_correction: bool = static(default=True, kw_only=True)
    eps_hat: bool = static(default=False, kw_only=True)
    nu_dtype: DtypeName | None = static(default=None, kw_only=True)

    def expand(self) -> GradientTransformation:
        return chain(scale_by_adam.of(self).expand(), scale_by_learning_rate(self.learning_rate))
