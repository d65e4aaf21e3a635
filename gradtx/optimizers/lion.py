"""Lion: the sign of a momentum that looks ahead with β₁ and remembers with β₂.

    uₜ = sign(β₁ mₜ₋₁ + (1 - β₁) gₜ)
    mₜ = β₂ mₜ₋₁ + (1 - β₂) gₜ
    θₜ = θₜ₋₁ - λ (uₜ + w θₜ₋₁)

Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023, program 1 and algorithm 2.
https://arxiv.org/abs/2302.06675
"""

from __future__ import annotations

from typing import Annotated, Literal

from gradtx.atoms.decay import decoupled
from gradtx.atoms.moments import two_decay_ema
from gradtx.atoms.pointwise import clip, scale, sign, tanh
from gradtx.combine import chain
from gradtx.contract.hyperparameters import Decay, DtypeName, Number, Positive, PositiveDecay, Rate
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.rules.masks import Mask
from gradtx.values.kinds import Choice
from gradtx.values.value import optional, static

__all__ = ["lion", "scale_by_lion"]

Mode = Annotated[Literal["hard", "smooth", "refined"], Choice("hard", "smooth", "refined")]


class scale_by_lion(Composite):
    """Lion's direction, without the learning rate and the weight decay.

    The paper's is 'hard'. The other modes are Optax's; they depend on the size of the gradient,
    which 'hard' does not. With weight decay: `decoupled(scale_by_lion(mode="smooth"), 1e-4, 1e-3)`.

    Args:
        b1: β₁, which the direction reads the momentum with, in [0, 1).
        b2: β₂, which the momentum is kept with, in (0, 1).
        mu_dtype: of the momentum; None is the parameters', at least float32.
        mode: what becomes of c = β₁ m + (1 - β₁) g: 'hard' sign(c), 'smooth' tanh(s c), 'refined'
            c itself between -1 and 1 and its sign beyond.
        smooth_beta: s of 'smooth', above 0, in units of one over the gradient.

    Raises:
        ValueError: an unknown mode.
    """

    b1: Decay = 0.9
    b2: PositiveDecay = 0.99
    mu_dtype: DtypeName | None = static(default=None)
    mode: Mode = static(default="hard", kw_only=True)
    smooth_beta: Positive = optional(default=1.0, kw_only=True)

    def expand(self) -> GradientTransformation:
        momentum = two_decay_ema(self.b1, self.b2, self.mu_dtype)
        if self.mode == "smooth":
            return chain(momentum, scale(self.smooth_beta), tanh())
        return chain(momentum, sign() if self.mode == "hard" else clip(1.0))


class lion(Composite):
    """Lion: `scale_by_lion`, then decoupled weight decay, then the learning rate.

    Half of Adam's state. Every entry moves by λ, so λ is 3 to 10 times smaller than AdamW's and
    the weight decay as many times larger.

    Args:
        learning_rate: λ, a number or a schedule.
        b1: β₁, which the direction reads the momentum with, in [0, 1).
        b2: β₂, which the momentum is kept with, in (0, 1).
        mu_dtype: of the momentum; None is the parameters', at least float32.
        weight_decay: w; what a step takes off a parameter is λ w θ.
        mask: the leaves that decay: a tree of booleans, a function of the parameters, or a
            regular expression on the leaf's path; None is all.

    Raises:
        ValueError: update is called without the parameters while there is a weight decay.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: PositiveDecay = 0.99
    mu_dtype: DtypeName | None = static(default=None)
    weight_decay: Number = optional(default=1e-3)
    mask: Mask | None = static(default=None)

    def expand(self) -> GradientTransformation:
        return decoupled.of(self, direction=scale_by_lion.of(self).expand()).expand()
