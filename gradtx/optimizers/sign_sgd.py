"""Sign descent: every entry moves by the learning rate, whatever the size of its gradient.

    θₜ = θₜ₋₁ - λ sign(gₜ)                                sign_sgd
    mₜ = β mₜ₋₁ + (1 - β) gₜ     θₜ = θₜ₋₁ - λ sign(mₜ)   signum

Bernstein, Wang, Azizzadenesheli & Anandkumar, "signSGD: Compressed Optimisation for Non-Convex
Problems", 2018, algorithms 1 (signSGD) and 2 (Signum). https://arxiv.org/abs/1802.04434
"""

from __future__ import annotations

from gradtx.atoms.moments import ema
from gradtx.atoms.pointwise import sign
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain
from gradtx.contract.hyperparameters import Decay, DtypeName, Rate
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.values.value import static

__all__ = ["scale_by_sign", "sign_sgd", "signum"]


class scale_by_sign(Composite):
    """The sign of each entry; Optax's name for `sign`."""

    def expand(self) -> GradientTransformation:
        return sign()


class sign_sgd(Composite):
    """Sign descent: the sign of the gradient, then the learning rate.

    An entry whose gradient is 0 stays. Learning rates are as small as Adam's, 1e-4 to 1e-3.

    Args:
        learning_rate: λ, a number or a schedule: how far every entry moves.
    """

    learning_rate: Rate

    def expand(self) -> GradientTransformation:
        return chain(sign(), scale_by_learning_rate(self.learning_rate))


class signum(Composite):
    """Signum: the sign of the average gradient, then the learning rate.

    Args:
        learning_rate: λ, a number or a schedule: how far every entry moves.
        beta: β, the decay of the average, in [0, 1).
        accumulator_dtype: of the average; None is the parameters', at least float32.
    """

    learning_rate: Rate
    beta: Decay = 0.9
    accumulator_dtype: DtypeName | None = static(default=None)

    def expand(self) -> GradientTransformation:
        average = ema(self.beta, accumulator_dtype=self.accumulator_dtype)
        return chain(average, sign(), scale_by_learning_rate(self.learning_rate))
