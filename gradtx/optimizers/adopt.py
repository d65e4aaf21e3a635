"""ADOPT: Adam that divides each gradient by what came before it, and averages afterwards.

    v₁ = g₁²,  θ₁ = θ₀                                  the first step only measures
    mₜ = β₁ mₜ₋₁ + (1 - β₁) clip(gₜ / max(sqrt(vₜ₋₁), ε), -cₜ, cₜ)
    θₜ = θₜ₋₁ - λ mₜ
    vₜ = β₂ vₜ₋₁ + (1 - β₂) gₜ²                         cₜ = (t - 1)^¼

vₜ₋₁ does not know gₜ: a gradient is not shortened by its own size, so that the method converges for any
β₂, where Adam's β₂ has to suit the problem.

Taniguchi et al., "ADOPT: Modified Adam Can Converge with Any β₂ with the Optimal Rate", 2024. The clip is
its authors' later addition, against gradients that are nearly zero at first: `use_clipping=False` is the
method without it. https://arxiv.org/abs/2411.02853
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.atoms.moments import ema
from gradtx.atoms.pointwise import scale
from gradtx.atoms.rate import scale_by_learning_rate
from gradtx.combine import add, chain
from gradtx.contract.hyperparameters import (
    Decay,
    DtypeName,
    NonNegative,
    PositiveDecay,
    Rate,
    complement,
)
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.schedules import power_schedule
from gradtx.tree import PyTree
from gradtx.values.value import static

__all__ = ["adopt", "divide_by_past_root", "scale_by_adopt"]


class PastRootState(NamedTuple):
    step: jax.Array  # int32: how many updates have been averaged
    squares: PyTree  # structure and shapes of the parameters, at least float32


class divide_by_past_root(GradientTransformation, reach=ENTRY):
    """clip(gₜ / max(sqrt(vₜ₋₁), ε), -c, c), where v averages g²; 0 at the first step, which has no v.

    The average starts at the first square, v₁ = g₁².

    Args:
        decay: β of the average, in (0, 1).
        eps: ε, at least 0: the least that is divided by. With ε = 0 an entry whose v is 0 gives 0 / 0.
        bound: c, above 0; None does not clip.
    """

    decay: PositiveDecay
    eps: NonNegative = 1e-6
    bound: NonNegative | None = None

    def init(self, params: PyTree) -> PastRootState:
        return PastRootState(numerics.counter(), tree.zeros_like(params))

    def update(
        self, updates: PyTree, state: PastRootState, params: PyTree | None = None
    ) -> tuple[PyTree, PastRootState]:
        decay: Any = self.decay  # no schedule by now
        first = state.step == 0
        share, rest = jnp.where(first, 1.0, numerics.complement(decay)), jnp.where(first, 1.0, decay)

        def divided(g: jax.Array, v: jax.Array) -> jax.Array:
            quotient = g / jnp.maximum(numerics.root(v), numerics.like(self.eps, v))
            return jnp.where(first, jnp.zeros_like(g), quotient)

        # vₜ₋₁ comes from vₜ. Reading the old average would make XLA for CPU copy it before it is
        # overwritten: 8 bytes moved for every parameter. Digits are lost where (1 - β) g² is much more
        # than vₜ₋₁, and there the bound hides it: without one, the old average is read.
        def bounded(g: jax.Array, v: jax.Array) -> jax.Array:
            added = numerics.times(numerics.abs_sq(g), share)
            # Finite, where v is not: such an entry stands still.
            before = (v - jnp.minimum(added, jnp.finfo(v.dtype).max)) / numerics.like(rest, v)
            most = numerics.like(self.bound, g)
            return jnp.clip(divided(g, jnp.maximum(before, jnp.zeros_like(v))), -most, most)

        new = tree.map(lambda g, v: numerics.lerp(v, numerics.Square(g), share), updates, state.squares)
        out = (
            tree.map(divided, updates, state.squares)
            if self.bound is None
            else jax.tree.map(bounded, updates, new)
        )
        after = PastRootState(numerics.safe_increment(state.step), tree.cast_like(new, state.squares))
        return out, after


class scale_by_adopt(Composite, real_only=True):
    """ADOPT's direction, without the learning rate.

    Args:
        b1: β₁, the decay of the average of scaled gradients, in [0, 1).
        b2: β₂, the decay of the average of squares, in (0, 1).
        eps: ε, at least 0: the least that a gradient is divided by.
        mu_dtype: of the first moment's state; None is the parameters', at least float32.
        nesterov: look one step ahead: β₁ mₜ + (1 - β₁) times the scaled gradient.
        use_clipping: bound the scaled gradients.
        clip_value_fn: c, a number or a function of the step, which counts from 0; at least 0.
    """

    b1: Decay = 0.9
    b2: PositiveDecay = 0.9999
    eps: NonNegative = 1e-6
    mu_dtype: DtypeName | None = static(default=None)
    nesterov: bool = static(default=False, kw_only=True)
    use_clipping: bool = static(default=True, kw_only=True)
    clip_value_fn: NonNegative = dataclasses.field(default=power_schedule(0.25), kw_only=True)

    def expand(self) -> GradientTransformation:
        bound = self.clip_value_fn if self.use_clipping else None
        average: GradientTransformation = ema(self.b1, accumulator_dtype=self.mu_dtype)
        if self.nesterov:
            average = add(chain(average, scale(self.b1)), scale(complement(self.b1)))
        return chain(divide_by_past_root(self.b2, self.eps, bound), average)


class adopt(Composite, real_only=True):
    """ADOPT: `scale_by_adopt`, then the learning rate.

    Adam's learning rates are a start, such as 1e-3; β₂ need not be tuned. The first step moves
    nothing. Keep the clip where parameters start at zero, as last layers often do. Real parameters only.

    Args:
        learning_rate: λ, a number or a schedule.
        b1: β₁, the decay of the average of scaled gradients, in [0, 1).
        b2: β₂, the decay of the average of squares, in (0, 1).
        eps: ε, at least 0: the least that a gradient is divided by.
        mu_dtype: of the first moment's state; None is the parameters', at least float32.
        nesterov: look one step ahead: β₁ mₜ + (1 - β₁) times the scaled gradient.
        use_clipping: bound the scaled gradients.
        clip_value_fn: c, a number or a function of the step, which counts from 0; at least 0.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: PositiveDecay = 0.9999
    eps: NonNegative = 1e-6
    mu_dtype: DtypeName | None = static(default=None)
    nesterov: bool = static(default=False, kw_only=True)
    use_clipping: bool = static(default=True, kw_only=True)
    clip_value_fn: NonNegative = dataclasses.field(default=power_schedule(0.25), kw_only=True)

    def expand(self) -> GradientTransformation:
        return chain(scale_by_adopt.of(self).expand(), scale_by_learning_rate(self.learning_rate))
