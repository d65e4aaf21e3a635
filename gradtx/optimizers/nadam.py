"""NAdam: Adam with Nesterov's momentum, which looks one step ahead.

    m̂ₜ = β₁ mₜ / (1 - β₁ᵗ⁺¹) + (1 - β₁) gₜ / (1 - β₁ᵗ)
    θₜ = θₜ₋₁ - λ m̂ₜ / (sqrt(v̂ₜ + ε_root) + ε)

Dozat, "Incorporating Nesterov Momentum into Adam", 2016, algorithm 2 with a constant decay and
Adam's v̂, as in Optax; PyTorch's NAdam warms β₁ up by 1 - 0.96^(0.004 t) / 2.
https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ
"""

from __future__ import annotations

from gradtx.contract.hyperparameters import Decay, DtypeName, NonNegative, Rate
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.optimizers.adam import adam
from gradtx.values.value import optional, static

__all__ = ["nadam"]


class nadam(Composite):
    """NAdam: `adam` with `nesterov=True`.

    Args:
        learning_rate: λ, a number or a schedule.
        b1: β₁, the decay of the average of gradients, in [0, 1).
        b2: β₂, the decay of the average of their squares, in [0, 1).
        eps: ε, outside the root, at least 0.
        eps_root: ε_root, inside the root, at least 0.
        mu_dtype: of the first moment's state; None is the parameters', at least float32.
        nesterov: look one step ahead; False is Adam.
        nu_dtype: of the second moment's state; None is the parameters', at least float32.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = optional(default=0.0)
    mu_dtype: DtypeName | None = static(default=None)
    nesterov: bool = static(default=True, kw_only=True)
    nu_dtype: DtypeName | None = static(default=None, kw_only=True)

    def expand(self) -> GradientTransformation:
        return adam.of(self).expand()
