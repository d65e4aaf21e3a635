"""DP-SGD: gradient descent on clipped gradients of single examples, with noise.

    ḡₜ = (Σᵢ gₜᵢ min(1, C / ‖gₜᵢ‖) + N(0, σ² C² I)) / B
    θₜ = θₜ₋₁ - λ ḡₜ

Abadi et al., "Deep Learning with Differential Privacy", 2016, algorithm 1. https://arxiv.org/abs/1607.00133
"""

from __future__ import annotations

from gradtx.atoms.privacy import differentially_private_aggregate
from gradtx.combine import chain
from gradtx.contract.hyperparameters import KeptShare, NonNegative, Rate
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.optimizers.sgd import need_momentum, sgd
from gradtx.values.keys import Key
from gradtx.values.value import static

__all__ = ["dpsgd"]


class dpsgd(Composite):
    """DP-SGD: `differentially_private_aggregate`, then `sgd`.

    It takes gradients of single examples, with a leading axis in every leaf:
    `jax.vmap(jax.grad(loss), (None, 0))(params, batch)`. Large batches and a C near the median norm of
    an example's gradient are a fair start.

    Args:
        learning_rate: λ, a number or a schedule.
        l2_norm_clip: C, at least 0: the norm to which each example's gradient is clipped.
        noise_multiplier: σ, at least 0; what it is worth in ε and δ an accountant says.
        seed: a whole number or a key of jax.random, for the noise.
        momentum: μ, in [0, 1]; None keeps no velocity.
        nesterov: look one step ahead, as in `sgd`.

    Raises:
        ValueError: nesterov without a momentum.
    """

    learning_rate: Rate
    l2_norm_clip: NonNegative
    noise_multiplier: NonNegative
    seed: Key = static()
    momentum: KeptShare | None = None
    nesterov: bool = static(default=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        need_momentum(self, "nesterov", self.nesterov)

    def expand(self) -> GradientTransformation:
        private = differentially_private_aggregate(self.l2_norm_clip, self.noise_multiplier, self.seed)
        return chain(private, sgd(self.learning_rate, self.momentum, self.nesterov).expand())
