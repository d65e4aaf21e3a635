"""MoMo: momentum whose steps are no longer than a model of the loss with a lower bound asks for.

    f̄ₜ = β f̄ₜ₋₁ + (1 - β) fₜ        dₜ = β dₜ₋₁ + (1 - β) gₜ        γₜ = β γₜ₋₁ + (1 - β) ⟨gₜ, θₜ₋₁⟩
    hₜ = (1 + λ w) (f̄ₜ - γₜ) + ⟨dₜ, θₜ₋₁⟩                           what the model says here
    τₜ = min(λ / ρₜ, max(hₜ - (1 + λ w) ρₜ f*, 0) / Σ dₜ² / Dₜ)
    θₜ = (θₜ₋₁ - τₜ dₜ / Dₜ) / (1 + λ w)

    MoMo         the averages begin at the first loss and gradient; ρₜ = 1, Dₜ = 1
    MoMo-Adam    they begin at 0; ρₜ = 1 - βᵗ, Dₜ = sqrt(v̂ₜ) + ε as in Adam

Schaipp, Ohana, Eickenberg, Defazio & Gower, "MoMo: Momentum Models for Adaptive Learning Rates", 2023,
algorithms 1 to 3, as in its authors' code. https://arxiv.org/abs/2305.07583

Optax does not divide the step by 1 + λ w, and makes none where Σ d² / D is below 2.2e-16.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.atoms.decay import add_proximal_weight_decay
from gradtx.atoms.moments import rms
from gradtx.atoms.moments.corrections import Decays, after, no_decays, weight
from gradtx.atoms.pointwise import offset, unless_off
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import chain
from gradtx.contract.hyperparameters import Decay, NonNegative, Number, Rate
from gradtx.contract.reach import OTHERS
from gradtx.contract.transformation import Composite, EmptyState, GradientTransformation, need_params
from gradtx.tree import PyTree
from gradtx.values.value import is_off, optional, static

__all__ = ["momo", "momo_adam", "scale_by_momo"]


class MomoState(NamedTuple):
    decays: Decays  # of the averages
    loss: jax.Array  # f̄
    along: jax.Array  # γ
    lower_bound: jax.Array  # f*
    mean: PyTree  # d, of the parameters' structure and shapes, in at least float32
    denominator: PyTree  # the state of what makes D


class scale_by_momo(GradientTransformation, reach=OTHERS):
    """τ d / D: MoMo's step, upwards, without the weight decay.

    Args:
        rate: λ, the longest step.
        decay: β of the averages, in [0, 1).
        lower_bound: f*, a number below which the loss is known not to fall.
        weight_decay: w of an `add_proximal_weight_decay` with the same λ behind it, at least 0.
        adapt_lower_bound: raise f* where the model says that the loss stays above it.
        denominator: what makes D of the gradients, such as a root mean square; None is 1.
        debiased: whether the averages begin at 0, and their weight is counted.

    Raises:
        ValueError: update is called without the parameters.
        TypeError: update is called without `value`.
    """

    rate: Rate = 1.0
    decay: Decay = 0.9
    lower_bound: Number = 0.0
    weight_decay: NonNegative = optional(default=0.0)
    adapt_lower_bound: bool = static(default=False)
    denominator: GradientTransformation | None = None
    debiased: bool = static(default=False)

    def init(self, params: PyTree) -> MomoState:
        # A copy of the bound: what a schedule said is kept by itself.
        numbers = jnp.zeros((), float), jnp.zeros((), float), jnp.array(self.lower_bound, float)
        below = EmptyState() if self.denominator is None else self.denominator.init(params)
        return MomoState(no_decays(self.decay), *numbers, tree.zeros_like(params), below)

    def update(
        self, updates: PyTree, state: MomoState, params: PyTree | None = None, *, value: Any, **extra: Any
    ) -> tuple[PyTree, MomoState]:
        params = need_params(self, params)
        given = jnp.asarray(value, float)
        share = numerics.complement(self.decay)
        if not self.debiased:
            share = jnp.where(state.decays.step == 0, 1.0, share)
        decays = after(state.decays, self.decay)
        trust = weight(decays) if self.debiased else jnp.ones((), float)
        mean = tree.map(lambda g, d: numerics.lerp(d, g, share), updates, state.mean)
        loss = numerics.lerp(state.loss, given, share)
        direction, below = mean, state.denominator
        if self.denominator is not None:
            extra = {"value": value, **extra}
            roots, below = self.denominator.update(updates, below, params, **extra)
            direction = jax.tree.map(lambda d, r: d / numerics.cast(r, d.dtype), mean, roots)

        # ⟨d, θ⟩ - γ, of whose two averages the newest terms are equal: without them less cancels.
        def older(d: jax.Array, u: jax.Array, g: jax.Array, p: jax.Array) -> jax.Array:
            return tree.inner(d - numerics.times(numerics.cast(g, d.dtype), share), p)

        newest, beyond, squares = tree.totals(
            (lambda d, u, g, p: tree.inner(g, p), older, lambda d, u, g, p: tree.inner(d, u)),
            *(mean, direction, updates, params),
        )
        along = numerics.lerp(state.along, newest, share)
        excess = beyond - (1 - share) * state.along

        rate, bound = jnp.asarray(self.rate, float), state.lower_bound
        least, modelled, stretch = jnp.asarray(self.lower_bound, float), loss + excess, jnp.ones((), float)
        if not is_off(self.weight_decay):
            pull = numerics.times(rate, self.weight_decay)
            stretch, modelled = 1 + pull, modelled + pull * (loss - along)
        if self.adapt_lower_bound:
            lowered = jnp.maximum(modelled / (2 * stretch * trust), least)
            bound = jnp.where(modelled < stretch * trust * bound, lowered, bound)
        gap = jnp.maximum(modelled - stretch * trust * bound, 0.0)
        known = squares > 0  # else d is 0, and so is the step
        size = jnp.where(known, jnp.minimum(rate / trust, gap / jnp.where(known, squares, 1.0)), 0.0)
        if self.adapt_lower_bound:
            bound = jnp.maximum((loss + excess - size * squares / 2) / trust, least)
        step = jax.tree.map(lambda u: numerics.times(u, size), direction)
        return step, MomoState(decays, loss, along, bound, tree.cast_like(mean, state.mean), below)


class momo(Composite):
    """MoMo: momentum with an adaptive step; `learning_rate` is its upper bound.

    Each update needs the loss that the gradient is of: update(updates, state, params, value=loss);
    `make_train_step` passes it. A constant rate of 1 is a fair choice where momentum would do.

    Args:
        learning_rate: λ, the longest step; a number or a schedule.
        beta: β of the averages, in [0, 1).
        lower_bound: f*, a number below which the loss can't fall: 0 for most losses.
        weight_decay: w, at least 0.
        adapt_lower_bound: find f* while training runs, from `lower_bound` on: where the loss stays
            far above any bound that is known.
        bias_correction: begin the averages at 0, and count their weight, as in MoMo-Adam.

    Raises:
        ValueError: update is called without the parameters.
        TypeError: update is called without `value`.
    """

    learning_rate: Rate = 1.0
    beta: Decay = 0.9
    lower_bound: Number = 0.0
    weight_decay: NonNegative = optional(default=0.0)
    adapt_lower_bound: bool = static(default=False)
    bias_correction: bool = static(default=False, kw_only=True)

    def expand(self) -> GradientTransformation:
        return _decayed(self, decay=self.beta, debiased=self.bias_correction)


class momo_adam(Composite):
    """MoMo-Adam: Adam with an adaptive step; `learning_rate` is its upper bound.

    Each update needs the loss that the gradient is of: update(updates, state, params, value=loss);
    `make_train_step` passes it. A constant rate of 0.01, or a little less, is a fair choice.

    Args:
        learning_rate: λ, the longest step; a number or a schedule.
        b1: β of the averages, in [0, 1).
        b2: β₂, the decay of the average of squares, in [0, 1).
        eps: ε, outside the root, at least 0. With ε = 0 an entry without a gradient gives 0 / 0.
        lower_bound: f*, a number below which the loss can't fall: 0 for most losses.
        weight_decay: w, at least 0.
        adapt_lower_bound: find f* while training runs, from `lower_bound` on.

    Raises:
        ValueError: update is called without the parameters.
        TypeError: update is called without `value`.
    """

    learning_rate: Rate = 1e-2
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    lower_bound: Number = 0.0
    weight_decay: NonNegative = optional(default=0.0)
    adapt_lower_bound: bool = static(default=False)

    def expand(self) -> GradientTransformation:
        root = chain(rms(self.b2), offset(self.eps))
        return _decayed(self, decay=self.b1, denominator=root, debiased=True)


def _decayed(tx: Any, **options: Any) -> GradientTransformation:
    step = scale_by_momo.of(tx, rate=tx.learning_rate, **options)
    decay = unless_off(tx.weight_decay, lambda w: add_proximal_weight_decay(tx.learning_rate, w))
    return chain(step, scale_by_learning_rate(1.0), decay)
