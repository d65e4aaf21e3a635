"""AdamW: Adam whose weight decay is decoupled from the gradient.

    θₜ = θₜ₋₁ - λₜ (m̂ₜ / (sqrt(v̂ₜ) + ε) + w θₜ₋₁)

Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019, algorithm 2, with the
learning rate times the decay, as in PyTorch and Optax. https://arxiv.org/abs/1711.05101
"""

from __future__ import annotations

from gradtx.atoms.decay import decoupled
from gradtx.contract.hyperparameters import Decay, DtypeName, NonNegative, Number, Rate
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.optimizers.adam import scale_by_adam
from gradtx.rules.masks import Mask
from gradtx.values.value import optional, static

__all__ = ["adamw"]


class adamw(Composite):
    """AdamW: Adam's direction, then decoupled weight decay, then the learning rate.

    The usual choice for transformers, with b2 0.95 to 0.999 and a decay of 0.01 to 0.1 on the
    matrices only (`mask="kernel$"`).

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
        nesterov: look one step ahead; NAdamW.
        bias_correction: divide each moment by the weight it has gathered.
        eps_hat: add ε to the root of the uncorrected second moment, as TensorFlow does.
        nu_dtype: of the second moment's state; None is the parameters', at least float32.
        independent_decay: take off w θ whatever the learning rate is, as the paper has it with a
            schedule multiplier of 1; w is then much smaller, such as 1e-5.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = optional(default=0.0)
    mu_dtype: DtypeName | None = static(default=None)
    weight_decay: Number = optional(default=1e-4)
    mask: Mask | None = static(default=None)
    nesterov: bool = static(default=False, kw_only=True)
    bias_correction: bool = static(default=True, kw_only=True)
    eps_hat: bool = static(default=False, kw_only=True)
    nu_dtype: DtypeName | None = static(default=None, kw_only=True)
    independent_decay: bool = static(default=False, kw_only=True)

    def expand(self) -> GradientTransformation:
        direction = scale_by_adam.of(self).expand()
        return decoupled.of(self, direction=direction, independent=self.independent_decay).expand()
