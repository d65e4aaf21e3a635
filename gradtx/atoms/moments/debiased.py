"""The moments as optimizers use them: averages with their bias corrections, and division by a root.

Source: none (compositions of an average, a root and a correction; the correction has its source).
"""

from __future__ import annotations

from typing import Any

from gradtx.atoms.moments.averages import ema
from gradtx.atoms.moments.corrections import bias_correction
from gradtx.atoms.pointwise import identity, scale, sqrt, square
from gradtx.combine import add, chain, ratio
from gradtx.contract.hyperparameters import Decay, DtypeName, NonNegative, complement
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.values.value import optional, static

__all__ = ["divide_by_root", "momentum", "nesterov_momentum", "nesterov_terms", "rms"]


class momentum(Composite):
    """A debiased exponential average: ema(β), then bias_correction(β).

    Args:
        decay: β, in [0, 1).
        accumulator_dtype: of the state; None is the parameters', at least float32.
    """

    decay: Decay
    accumulator_dtype: DtypeName | None = static(default=None)

    def expand(self) -> GradientTransformation:
        average = ema(self.decay, accumulator_dtype=self.accumulator_dtype)
        return chain(average, bias_correction(self.decay))


class nesterov_momentum(Composite):
    """A debiased average that looks one step ahead: β mₜ / (1 - βᵗ⁺¹) + (1 - β) gₜ / (1 - βᵗ).

    Dozat, "Incorporating Nesterov Momentum into Adam", 2016, algorithm 2 with a constant decay.
    https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ

    Args:
        decay: β, in [0, 1). Where it changes, the step ahead is taken with the current one, where
            Dozat's has the next.
        accumulator_dtype: of the state; None is the parameters', at least float32.
    """

    decay: Decay
    accumulator_dtype: DtypeName | None = static(default=None)

    def expand(self) -> GradientTransformation:
        of_average, of_gradient = nesterov_terms(self.decay)
        average = ema(self.decay, accumulator_dtype=self.accumulator_dtype)
        return add(chain(average, of_average), of_gradient)


def nesterov_terms(decay: Any) -> tuple[GradientTransformation, GradientTransformation]:
    """The two terms of `nesterov_momentum`: that of the average, and that of the gradient."""
    of_average = chain(bias_correction(decay, ahead=1), scale(decay))
    # The factor first: a large gradient divided by 1 - β may overflow.
    of_gradient = chain(scale(complement(decay)), bias_correction(decay))
    return of_average, of_gradient


class rms(Composite):
    """The root of the debiased average of squares: sqrt(v̂ₜ + ε).

    Args:
        decay: β, in [0, 1).
        eps: ε *inside* the root, at least 0.
        accumulator_dtype: of the state; None is the parameters', at least float32.
    """

    decay: Decay
    eps: NonNegative = optional(default=0.0)
    accumulator_dtype: DtypeName | None = static(default=None)

    def expand(self) -> GradientTransformation:
        average = ema(self.decay, accumulator_dtype=self.accumulator_dtype)
        return chain(square(), average, bias_correction(self.decay), sqrt(self.eps))


class divide_by_root(Composite):
    """g / sqrt(s + ε), where s is what another transformation makes of g.

    Args:
        squares: a transformation whose results are not negative, such as an average of squares.
        eps: ε, at least 0. With ε = 0 an entry whose s is 0 gives 0 / 0.
        eps_in_sqrt: False divides by sqrt(s) + ε instead.
    """

    squares: GradientTransformation
    eps: NonNegative = optional(default=0.0)
    eps_in_sqrt: bool = static(default=True)

    def expand(self) -> GradientTransformation:
        if self.eps_in_sqrt:
            return ratio(identity(), chain(self.squares, sqrt(self.eps)))
        return ratio(identity(), chain(self.squares, sqrt()), self.eps)
