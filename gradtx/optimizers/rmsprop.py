"""RMSprop: the gradient over its recent root mean square, or standard deviation.

    vₜ = γ vₜ₋₁ + (1 - γ) gₜ²
    θₜ = θₜ₋₁ - λ gₜ / sqrt(vₜ + ε)           with ε outside:  / (sqrt(vₜ) + ε)
    mₜ = γ mₜ₋₁ + (1 - γ) gₜ                  centered: vₜ - mₜ² in place of vₜ

Tieleman & Hinton, "Lecture 6.5 - RMSProp", COURSERA: Neural Networks for Machine Learning, 2012.
https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf
Centered, with momentum and the learning rate inside it: Graves, "Generating Sequences With
Recurrent Neural Networks", 2013, equations 38 to 45. https://arxiv.org/abs/1308.0850

vₜ is the average *square* of the gradient, its raw second moment. It is the variance only where the
mean is 0; `centered=True` takes the mean off.
"""

from __future__ import annotations

from gradtx.atoms.moments import bias_correction, divide_by_root, ema, squared_deviation
from gradtx.atoms.pointwise import square
from gradtx.combine import chain
from gradtx.contract.hyperparameters import Decay, KeptShare, NonNegative, Rate
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.optimizers.sgd import need_momentum, sgd
from gradtx.values.value import static

__all__ = ["rmsprop", "scale_by_rms", "scale_by_stddev"]


class scale_by_rms(Composite):
    """RMSprop's direction: the gradient over the root of the average of its squares.

    Args:
        decay: γ, the decay of the average, in [0, 1).
        eps: ε, at least 0.
        initial_scale: v₀, at least 0.
        eps_in_sqrt: add ε inside the root; False adds it outside.
        bias_correction: divide v by 1 - γᵗ, the weight that the gradients have gathered; for a v₀
            of 0. With ε outside, that is Adam without momentum.
    """

    decay: Decay = 0.9
    eps: NonNegative = 1e-8
    initial_scale: NonNegative = 0.0
    eps_in_sqrt: bool = static(default=True)
    bias_correction: bool = static(default=False)

    def expand(self) -> GradientTransformation:
        return _divide_by_root_average(self, square())


class scale_by_stddev(Composite):
    """Centered RMSprop's direction: the gradient over its running standard deviation.

    The variance is averaged from squared deviations, so it is never negative, and keeps its digits
    where the gradient hardly varies. Optax and PyTorch subtract m² from v, which rounding can make
    negative there, and its root NaN.

    Args:
        decay: γ, the decay of mean and variance, in [0, 1).
        eps: ε, at least 0.
        initial_scale: the variance at the start, at least 0.
        eps_in_sqrt: add ε inside the root; False adds it outside.
        bias_correction: debias both averages. The variance of one gradient is then 0, so that the
            first step is g / sqrt(ε), or g / ε, before the learning rate: choose ε for it.
    """

    decay: Decay = 0.9
    eps: NonNegative = 1e-8
    initial_scale: NonNegative = 0.0
    eps_in_sqrt: bool = static(default=True)
    bias_correction: bool = static(default=False)

    def expand(self) -> GradientTransformation:
        return _divide_by_root_average(self, squared_deviation(self.decay, self.bias_correction))


def _divide_by_root_average(
    self: scale_by_rms | scale_by_stddev, squares: GradientTransformation
) -> GradientTransformation:
    average = chain(squares, ema(self.decay, self.initial_scale))
    if self.bias_correction:
        average = chain(average, bias_correction(self.decay))
    return divide_by_root(average, self.eps, self.eps_in_sqrt).expand()


class rmsprop(Composite):
    """RMSprop: `scale_by_rms` or `scale_by_stddev`, then `sgd` with or without momentum.

    The lecture's decay is 0.9, with 1e-3 for the learning rate; 0.5 follows faster changes.
    PyTorch's: `decay=0.99, eps_in_sqrt=False, rate_inside=False`.

    Args:
        learning_rate: λ, a number or a schedule.
        decay: γ, the decay of the averages, in [0, 1).
        eps: ε, at least 0.
        initial_scale: v₀, at least 0.
        eps_in_sqrt: add ε inside the root, as TensorFlow does; False adds it outside.
        centered: divide by the standard deviation instead of the root mean square.
        momentum: μ of a velocity of the scaled gradients, in [0, 1]; None keeps none.
        nesterov: let that velocity look one step ahead.
        bias_correction: divide each average by the weight that it has gathered.
        rate_inside: multiply by the learning rate before the velocity, as Optax and TensorFlow do;
            False multiplies after it, as PyTorch does. They differ only when λ changes.

    Raises:
        ValueError: nesterov without a momentum.
    """

    learning_rate: Rate
    decay: Decay = 0.9
    eps: NonNegative = 1e-8
    initial_scale: NonNegative = 0.0
    eps_in_sqrt: bool = static(default=True)
    centered: bool = static(default=False)
    momentum: KeptShare | None = None
    nesterov: bool = static(default=False)
    bias_correction: bool = static(default=False)
    rate_inside: bool = static(default=True, kw_only=True)

    def expand(self) -> GradientTransformation:
        need_momentum(self, "nesterov", self.nesterov)  # here, so that the error names rmsprop
        direction = scale_by_stddev if self.centered else scale_by_rms
        return chain(direction.of(self).expand(), sgd.of(self).expand())
