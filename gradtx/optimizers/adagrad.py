"""Adagrad: a learning rate per entry, divided by the root of the sum of all its squared gradients.

    Gₜ = Gₜ₋₁ + gₜ²
    θₜ = θₜ₋₁ - λ gₜ / sqrt(Gₜ + ε)           with ε outside:  / (sqrt(Gₜ) + ε)

Duchi, Hazan & Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
Optimization", 2011, figure 1 with diagonal matrices. https://jmlr.org/papers/v12/duchi11a.html

The paper adds its δ outside the root and starts at 0, and so does PyTorch, with 1e-10; Optax and
the defaults here put ε inside and start at 0.1, which keeps the first steps small.
"""

from __future__ import annotations

from gradtx.atoms.moments import divide_by_root, running_sum
from gradtx.atoms.pointwise import identity, infinite_where_zero, square
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain
from gradtx.contract.hyperparameters import NonNegative, Rate
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.values.value import is_off, optional, static

__all__ = ["adagrad", "scale_by_rss"]


class scale_by_rss(Composite):
    """Adagrad's direction: the gradient over the root of the sum of its squares so far.

    Args:
        initial_accumulator_value: G₀, at least 0.
        eps: ε, at least 0. With ε = 0 an entry whose sum is 0 has the update 0, not 0 / 0: what
            never had a gradient stays where it is, as in Optax.
        eps_in_sqrt: add ε inside the root; False adds it outside.
    """

    initial_accumulator_value: NonNegative = 0.1
    eps: NonNegative = optional(default=1e-7)
    eps_in_sqrt: bool = static(default=True, kw_only=True)

    def expand(self) -> GradientTransformation:
        never = infinite_where_zero() if is_off(self.eps) else identity()
        total = chain(square(), running_sum(self.initial_accumulator_value), never)
        return divide_by_root(total, self.eps, self.eps_in_sqrt).expand()


class adagrad(Composite):
    """Adagrad: `scale_by_rss`, then the learning rate.

    Rare features keep large steps, which suits sparse data. The steps only ever shrink, like
    1 / sqrt(t). PyTorch's: `initial_accumulator_value=0, eps=1e-10, eps_in_sqrt=False`; its
    `lr_decay` is a schedule λ / (1 + step · lr_decay), its `weight_decay` an `add_l2_penalty` in front.

    The square of a float32 gradient above 1.8e19 is infinite, and so is what sums it up: from then on
    the entry stands still.

    Args:
        learning_rate: λ, a number or a schedule.
        initial_accumulator_value: G₀, at least 0.
        eps: ε, at least 0. With ε = 0 an entry whose sum is 0 stays where it is.
        eps_in_sqrt: add ε inside the root, as Optax does; False adds it outside, as PyTorch does.
    """

    learning_rate: Rate
    initial_accumulator_value: NonNegative = 0.1
    eps: NonNegative = optional(default=1e-7)
    eps_in_sqrt: bool = static(default=True, kw_only=True)

    def expand(self) -> GradientTransformation:
        return chain(scale_by_rss.of(self).expand(), scale_by_learning_rate(self.learning_rate))
