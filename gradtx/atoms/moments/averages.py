"""Exponential averages: plain, stepping by a sign, read with one decay and kept with another."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.contract.hyperparameters import Decay, DtypeName, Number, PositiveDecay
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import GradientTransformation
from gradtx.tree import PyTree
from gradtx.values.value import optional, static

__all__ = ["ema", "signed_ema", "two_decay_ema"]


class EmaState(NamedTuple):
    mean: PyTree  # structure and shapes of the parameters, at least float32


class ema(GradientTransformation, reach=ENTRY):
    """Exponential moving average: mₜ = β mₜ₋₁ + (1 - β) gₜ, as m + (1 - β)(g - m).

    Plain: it starts at `start` and is not debiased. `momentum` is this and `bias_correction`.
    (Optax's `ema` debiases by default.) Of finite updates it is finite; an infinite average stays so.

    Source: none (exponential smoothing is older than its use for gradients).

    Args:
        decay: β, in [0, 1); it averages over about 1 / (1 - β) steps.
        start: m₀, the value of every entry before the first update.
        accumulator_dtype: of the state; None is the parameters', at least float32. The average is
            returned before it is rounded to that dtype.

    Examples:
        >>> tx = gradtx.ema(0.9)
        >>> tx.update(jnp.ones(2), tx.init(jnp.ones(2)))[0]
        Array([0.1, 0.1], dtype=float32)
    """

    decay: Decay
    start: Number = optional(default=0.0)
    accumulator_dtype: DtypeName | None = static(default=None)
    averages_squares: ClassVar[bool] = True
    """Whether the updates of this may be a `numerics.Square`: that of a `square` in front of it."""

    def init(self, params: PyTree) -> EmaState:
        return EmaState(tree.full_like(params, self.start, self.accumulator_dtype))

    def update(
        self, updates: PyTree, state: EmaState, params: PyTree | None = None
    ) -> tuple[PyTree, EmaState]:
        weight = numerics.complement(self.decay)
        mean = tree.averaged(updates, state.mean, weight)
        return mean, EmaState(tree.cast_like(mean, state.mean))


class signed_ema(GradientTransformation, reach=ENTRY):
    """An average of g ≥ 0 that steps by (1 - β) gₜ, up or down: vₜ = vₜ₋₁ - (1 - β) sign(vₜ₋₁ - gₜ) gₜ.

    However far g has fallen below v, v follows in small steps; an `ema` would fall by the distance.

    Zaheer et al., "Adaptive Methods for Nonconvex Optimization", 2018, algorithm 2.
    https://papers.nips.cc/paper/8186-adaptive-methods-for-nonconvex-optimization

    Args:
        decay: β, in [0, 1).
        start: v₀, the value of every entry before the first update.
        accumulator_dtype: of the state; None is the parameters', at least float32. The average is
            returned before it is rounded to that dtype.
    """

    decay: Decay
    start: Number = optional(default=0.0)
    accumulator_dtype: DtypeName | None = static(default=None)
    averages_squares: ClassVar[bool] = True
    """As in `ema`."""

    def init(self, params: PyTree) -> EmaState:
        return EmaState(tree.full_like(params, self.start, self.accumulator_dtype))

    def update(
        self, updates: PyTree, state: EmaState, params: PyTree | None = None
    ) -> tuple[PyTree, EmaState]:
        weight = numerics.complement(self.decay)

        def step(g: jax.Array | numerics.Square, v: jax.Array) -> jax.Array:
            dtype = numerics.wider(g.dtype, v.dtype)
            v = numerics.cast(v, dtype)
            if isinstance(g, numerics.Square):
                root = numerics.cast(g.root, numerics.wider(g.root.dtype, dtype))
                square, part = numerics.abs_sq(root), numerics.times_square(root, weight)
                g, part = numerics.cast(square, dtype), numerics.cast(part, dtype)
            else:
                g = numerics.cast(g, dtype)
                part = numerics.times(g, weight)
            # Equal, they may both be infinite.
            return jnp.where(v == g, v, v - jnp.sign(v - g) * part)

        mean = tree.map(step, updates, state.mean)
        return mean, EmaState(tree.cast_like(mean, state.mean))


class two_decay_ema(GradientTransformation, reach=ENTRY):
    """An average that is read with one decay and kept with another: β₁ mₜ₋₁ + (1 - β₁) gₜ.

    What it keeps is mₜ = β₂ mₜ₋₁ + (1 - β₂) gₜ. With β₁ < β₂ the current gradient counts for more
    in what it returns than in what it remembers; with β₁ = β₂ it is `ema`.

    Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023, program 1.
    https://arxiv.org/abs/2302.06675

    Args:
        read: β₁, in [0, 1).
        decay: β₂, in (0, 1), usually above β₁.
        accumulator_dtype: of the state; None is the parameters', at least float32.
    """

    read: Decay
    decay: PositiveDecay
    accumulator_dtype: DtypeName | None = static(default=None)

    def init(self, params: PyTree) -> EmaState:
        return ema(0.0, accumulator_dtype=self.accumulator_dtype).init(params)

    def update(
        self, updates: PyTree, state: EmaState, params: PyTree | None = None
    ) -> tuple[PyTree, EmaState]:
        mean, kept = ema(self.decay).update(updates, state)
        # The new mean and g have all that is needed. Reading the old mean instead would make XLA for
        # CPU copy it before it is overwritten: 4 bytes of temporary memory for every parameter.
        decay: Any = self.decay  # no schedule by now
        weight = (decay - self.read) / decay
        return tree.averaged(updates, mean, weight), kept
