"""Adadelta: Adagrad with a window, and with the size of past steps in place of a learning rate.

    E[g²]ₜ = ρ E[g²]ₜ₋₁ + (1 - ρ) gₜ²
    uₜ     = sqrt(E[u²]ₜ₋₁ + ε) / sqrt(E[g²]ₜ + ε) · gₜ
    E[u²]ₜ = ρ E[u²]ₜ₋₁ + (1 - ρ) uₜ²
    θₜ     = θₜ₋₁ - λ uₜ                                λ = 1 in the paper

Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, algorithm 1.
https://arxiv.org/abs/1212.5701

Texts that print the first line only, and a λ, describe RMSprop: see `rmsprop`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.atoms.decay import add_l2_penalty
from gradtx.atoms.moments import EmaState, ema
from gradtx.atoms.pointwise import square, unless_off
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain
from gradtx.contract.hyperparameters import Number, Positive, PositiveDecay, Rate
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.rules.masks import Mask
from gradtx.tree import PyTree
from gradtx.values.value import optional, static

__all__ = ["adadelta", "scale_by_adadelta", "scale_by_past_rms"]


class PastRmsState(NamedTuple):
    squares: PyTree  # the state of what stands under the root
    past: EmaState  # the average of the squares of what has been returned


class scale_by_past_rms(GradientTransformation, reach=ENTRY):
    """Scale to the size of what it has returned so far: uₜ = sqrt(E[u²]ₜ₋₁ + ε) / sqrt(sₜ + ε) · gₜ.

    Args:
        squares: what makes s of g, such as an average of squares; never negative.
        decay: ρ of the average E[u²], in (0, 1).
        eps: ε, above 0: it is all there is over the fraction at the first step.
    """

    squares: GradientTransformation
    decay: PositiveDecay
    eps: Positive = 1e-6

    def init(self, params: PyTree) -> PastRmsState:
        return PastRmsState(self.squares.init(params), ema(self.decay).init(params))

    def update(
        self, updates: PyTree, state: PastRmsState, params: PyTree | None = None
    ) -> tuple[PyTree, PastRmsState]:
        keep: Any = self.decay  # no schedule by now
        change = numerics.complement(self.decay)
        under, squares = self.squares.update(updates, state.squares, params)

        def squared(g: jax.Array, s: jax.Array, past: jax.Array) -> jax.Array:
            past, eps = numerics.cast(past, s.dtype), numerics.like(self.eps, s)
            # Finite, where the average of squares is not: such an entry stands still.
            square = jnp.minimum(numerics.abs_sq(g), jnp.finfo(s.dtype).max)
            return (past + eps) * (numerics.cast(square, s.dtype) / (s + eps))

        # u comes from the average after this step, by
        #     E[u²]ₜ + ρ ε = (E[u²]ₜ₋₁ + ε) (ρ (s + ε) + (1 - ρ) g²) / (s + ε).
        # Reading the old average would make XLA for CPU copy it before it is overwritten: 8 bytes of
        # temporary memory for every parameter.
        def scaled(g: jax.Array, s: jax.Array, past: jax.Array) -> jax.Array:
            over = numerics.cast(past, s.dtype) + numerics.like(keep * self.eps, s)
            square = numerics.cast(numerics.abs_sq(g), s.dtype)
            below = (
                numerics.like(keep, s) * (s + numerics.like(self.eps, s)) + numerics.like(change, s) * square
            )
            return g / jnp.sqrt(below) * jnp.sqrt(over)

        steps = tree.map(squared, updates, under, state.past.mean)
        mean, past = ema(self.decay).update(steps, state.past)
        return jax.tree.map(scaled, updates, under, mean), PastRmsState(squares, past)


class scale_by_adadelta(Composite):
    """Adadelta's direction: the gradient over its own root mean square, times that of past steps.

    Args:
        rho: ρ, the decay of both averages of squares, in (0, 1).
        eps: ε, inside both roots, above 0; the first step has the size sqrt(ε / (1 - ρ)).
    """

    rho: PositiveDecay = 0.9
    eps: Positive = 1e-6

    def expand(self) -> GradientTransformation:
        return scale_by_past_rms(chain(square(), ema(self.rho)), self.rho, self.eps)


class adadelta(Composite):
    """Adadelta: `scale_by_adadelta`, then the learning rate.

    With a learning rate of None or 1 and `rho=0.95` this is the paper's; with 1 and the other
    defaults it is PyTorch's. (In Optax, None leaves out the minus sign as well, and ascends.)

    Args:
        learning_rate: λ, a number or a schedule; None is 1.
        rho: ρ, the decay of both averages of squares, in (0, 1).
        eps: ε, inside both roots, above 0; the first step has the size sqrt(ε / (1 - ρ)).
        weight_decay: of an L2 penalty, which enters both averages as in Optax and PyTorch.
        weight_decay_mask: the leaves that are penalised; None is all.

    Raises:
        ValueError: update is called without the parameters while there is a weight decay.
    """

    learning_rate: Rate | None = None
    rho: PositiveDecay = 0.9
    eps: Positive = 1e-6
    weight_decay: Number = optional(default=0.0)
    weight_decay_mask: Mask | None = static(default=None)

    def expand(self) -> GradientTransformation:
        rate = scale_by_learning_rate(1.0 if self.learning_rate is None else self.learning_rate)
        penalty = unless_off(self.weight_decay, add_l2_penalty, self.weight_decay_mask)
        return chain(penalty, scale_by_adadelta.of(self).expand(), rate)
