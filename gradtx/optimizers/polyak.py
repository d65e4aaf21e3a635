"""Polyak's step: as long as it takes a linear model of the loss to reach the least value.

    θₜ = θₜ₋₁ - s min((fₜ - f*) / (‖gₜ‖² + ε), γ) gₜ

Loizou, Vaswani, Laradji & Lacoste-Julien, "Stochastic Polyak Step-size for SGD: An Adaptive Learning Rate for
Fast Convergence", 2021, SPS_max with c = 1. https://arxiv.org/abs/2002.10542
Garrigos, Gower & Schaipp, "Function Value Learning: Adaptive Learning Rates Based on the Polyak Stepsize and
Function Splitting in ERM", 2023: SPS+, with max(fₜ - f*, 0). https://arxiv.org/abs/2307.14528
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain
from gradtx.contract.hyperparameters import NonNegative, Number, Positive, Rate
from gradtx.contract.reach import OTHERS
from gradtx.contract.transformation import Composite, EmptyState, GradientTransformation
from gradtx.tree import PyTree
from gradtx.values.kinds import Choice
from gradtx.values.value import static

__all__ = ["polyak_sgd", "scale_by_polyak"]

Variant = Annotated[Literal["sps", "sps+"], Choice("sps", "sps+")]


class scale_by_polyak(GradientTransformation, reach=OTHERS):
    """min((f - f*) / (‖g‖² + ε), γ) g, with the norm of all leaves together; 0 where ‖g‖² + ε is 0.

    Optax returns 0 where ‖g‖² + ε is at most 2.2e-16 already.

    Args:
        f_min: f*, the least value of the loss.
        max_learning_rate: γ, above 0.
        eps: ε, at least 0.
        variant: 'sps' climbs where the loss is below f*; 'sps+' stays.

    Raises:
        TypeError: update is called without `value`, the loss.
    """

    f_min: Number = 0.0
    max_learning_rate: Positive = 1.0
    eps: NonNegative = 0.0
    variant: Variant = static(default="sps")

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None, *, value: Any
    ) -> tuple[PyTree, EmptyState]:
        squares = tree.total(numerics.abs_sq, updates)
        squares = squares + numerics.like(self.eps, squares)
        gap = jnp.asarray(value, float) - jnp.asarray(self.f_min, float)
        if self.variant == "sps+":
            gap = jnp.maximum(gap, 0.0)
        known = squares > 0
        size = jnp.minimum(gap / jnp.where(known, squares, 1.0), jnp.asarray(self.max_learning_rate, float))
        rate = jnp.where(known, size, 0.0)
        return jax.tree.map(lambda g: numerics.times(g, rate), updates), state


class polyak_sgd(Composite):
    """Gradient descent with Polyak's step. Each update needs the loss: update(..., value=loss).

    For models that can fit their data, whose loss has a known least value. A wrong f* makes it diverge, or
    stop too early. The factor s multiplies the whole step, as its formula says; in Optax the step is measured
    behind it, so that it divides.

    Args:
        max_learning_rate: γ, above 0, the longest step.
        scaling: s, a number or a schedule.
        f_min: f*, the least value of the loss.
        eps: ε, at least 0.
        variant: 'sps' climbs where the loss is below f*; 'sps+' stays.

    Raises:
        TypeError: update is called without `value`.
    """

    max_learning_rate: Positive = 1.0
    scaling: Rate = 1.0
    f_min: Number = 0.0
    eps: NonNegative = 0.0
    variant: Variant = static(default="sps")

    def expand(self) -> GradientTransformation:
        return chain(scale_by_polyak.of(self), scale_by_learning_rate(self.scaling))
