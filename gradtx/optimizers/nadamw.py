"""NAdamW: NAdam whose weight decay is decoupled from the gradient.

    θₜ = θₜ₋₁ - λₜ (m̂ₜ / (sqrt(v̂ₜ + ε_root) + ε) + w θₜ₋₁),   m̂ₜ as in NAdam

Dozat, "Incorporating Nesterov Momentum into Adam", 2016, algorithm 2 with a constant decay, and
Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019, algorithm 2.
https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ and https://arxiv.org/abs/1711.05101
"""

from __future__ import annotations

import dataclasses

from gradtx.atoms.decay import decoupled
from gradtx.contract.hyperparameters import Decay, DtypeName, NonNegative, Number, Rate
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.optimizers.adamw import adamw
from gradtx.optimizers.nadam import warming_direction
from gradtx.rules.masks import Mask
from gradtx.values.value import optional, static

__all__ = ["nadamw"]


class nadamw(Composite):
    """NAdamW: `adamw` with `nesterov=True`.

    Args:
        learning_rate: λ, a number or a schedule.
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂, the decay of the average of their squares, in [0, 1).
        eps: ε, outside the root, at least 0.
        eps_root: ε_root, inside the root, at least 0.
        mu_dtype: of the first moment's state; None is the parameters', at least float32.
        weight_decay: w; what a step takes off a parameter is λ w θ.
        mask: the leaves that decay: a tree of booleans, a function of the parameters, or a
            regular expression on the leaf's path; None is all.
        nesterov: look one step ahead; False is AdamW.
        nu_dtype: of the second moment's state; None is the parameters', at least float32.
        independent_decay: take off w θ whatever the learning rate is; w is then much smaller,
            such as 1e-5.
        momentum_decay: ψ, at least 0, of a momentum that warms up: 4e-3 as in PyTorch. None, the default, is
            Optax's constant β₁.

    Raises:
        ValueError: `momentum_decay` without `nesterov`.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = optional(default=0.0)
    mu_dtype: DtypeName | None = static(default=None)
    weight_decay: Number = optional(default=1e-4)
    mask: Mask | None = static(default=None)
    nesterov: bool = static(default=True, kw_only=True)
    nu_dtype: DtypeName | None = static(default=None, kw_only=True)
    independent_decay: bool = static(default=False, kw_only=True)
    momentum_decay: NonNegative | None = dataclasses.field(default=None, kw_only=True)

    def expand(self) -> GradientTransformation:
        if self.momentum_decay is None:
            return adamw.of(self).expand()
        direction = warming_direction(self)
        return decoupled.of(self, direction=direction, independent=self.independent_decay).expand()
