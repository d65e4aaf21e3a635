"""C-AdamW: AdamW that moves an entry only where its direction and the gradient agree.

    uₜ = m̂ₜ / (sqrt(v̂ₜ) + ε)                            m̂ and v̂ as in Adam
    φₜ = 1 where uₜ gₜ > 0, else 0
    θₜ = θₜ₋₁ - λ (uₜ φₜ · n / (Σ φₜ + ξ) + w θₜ₋₁)      leaf by leaf, n: the leaf's number of entries

Liang, Chen, Liu & Liu, "Cautious Optimizers: Improving Training with One Line of Code", 2024, algorithm 2.
https://arxiv.org/abs/2411.16085
"""

from __future__ import annotations

from gradtx.atoms.decay import decoupled
from gradtx.contract.hyperparameters import Decay, DtypeName, NonNegative, Number, Positive, Rate
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.optimizers.adam import scale_by_adam
from gradtx.rules.masks import Mask
from gradtx.values.value import optional, static
from gradtx.wrappers.cautious import cautious

__all__ = ["cadamw"]


class cadamw(Composite):
    """C-AdamW: AdamW with `cautious` around Adam's direction; the decay is taken as it is.

    Its settings are AdamW's, which it is meant to replace without new tuning. For another optimizer write
    `chain(cautious(direction), scale_by_learning_rate(1e-3))`.

    Args:
        learning_rate: λ, a number or a schedule.
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂, the decay of the average of their squares, in [0, 1).
        eps: ε, outside the root, at least 0.
        eps_root: inside the root, at least 0.
        mu_dtype: of the first moment's state; None is the parameters', at least float32.
        weight_decay: w; what a step takes off a parameter is λ w θ.
        mask: the leaves that decay: a tree of booleans, a function of the parameters, or a
            regular expression on the leaf's path; None is all.
        slack: ξ, above 0, beside the number of entries that agree.

    Raises:
        ValueError: update is called without the parameters while there is a weight decay.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = optional(default=0.0)
    mu_dtype: DtypeName | None = static(default=None)
    weight_decay: Number = optional(default=1e-4)
    mask: Mask | None = static(default=None)
    slack: Positive = 1.0

    def expand(self) -> GradientTransformation:
        direction = cautious(scale_by_adam.of(self).expand(), self.slack)
        return decoupled.of(self, direction=direction).expand()
