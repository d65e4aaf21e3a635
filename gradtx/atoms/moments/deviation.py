"""Squared deviations from a running mean: the variance, without the cancellation."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.atoms.moments.corrections import Decays, after, no_decays, weight
from gradtx.contract.hyperparameters import Decay
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import GradientTransformation
from gradtx.tree import PyTree
from gradtx.values.value import static

__all__ = ["squared_deviation"]


class SquaredDeviationState(NamedTuple):
    mean: PyTree  # structure and shapes of the parameters, at least float32
    decays: Decays | None  # of the mean; None where it is not debiased


class squared_deviation(GradientTransformation, reach=ENTRY):
    """|gₜ - mₜ₋₁| |gₜ - mₜ|, where m is an average of g: the average of these is the variance.

        ema(β) of g²  -  (ema(β) of g)²  =  ema(β) of |gₜ - mₜ₋₁| |gₜ - mₜ|

    On the left float32 subtracts two nearly equal numbers: where the gradient hardly varies the
    difference is rounding noise, and as often negative as not. On the right nothing is negative.
    With mₜ = mₜ₋₁ + k (gₜ - mₜ₋₁) the product is |gₜ - mₜ|² / (1 - k). Here k = 1 - β, as in `ema`;
    debiased, k = (1 - β) / wₜ with the weight wₜ = 1 - Πβ of that average, so that m is the mean of
    `momentum`, and the average of these, after `bias_correction`, the debiased average of squares
    minus the square of that mean.

    Welford, "Note on a method for calculating corrected sums of squares and products", 1962.
    https://doi.org/10.1080/00401706.1962.10490022
    With weights: West, "Updating mean and variance estimates: an improved method", 1979.
    https://doi.org/10.1145/359146.359153

    Args:
        decay: β, in [0, 1); that of the average behind it.
        debiased: whether a bias correction follows that average.
    """

    decay: Decay
    debiased: bool = static(default=False)

    def init(self, params: PyTree) -> SquaredDeviationState:
        return SquaredDeviationState(
            tree.zeros_like(params), no_decays(self.decay) if self.debiased else None
        )

    def update(
        self, updates: PyTree, state: SquaredDeviationState, params: PyTree | None = None
    ) -> tuple[PyTree, SquaredDeviationState]:
        rest: Any = self.decay  # no schedule by now
        share, decays = numerics.complement(self.decay), state.decays
        if decays is not None:
            before, decays = weight(decays), after(decays, self.decay)
            total = weight(decays)
            share, rest = share / total, rest * before / total  # which sum to 1
        # rest is exactly 0 at a first step that is debiased: one gradient varies by 0.
        nonzero = jnp.where(rest > 0, rest, 1.0)
        stretch = jnp.where(rest > 0, 1.0 / nonzero, 0.0)

        def deviate(g: jax.Array, m: jax.Array) -> jax.Array:
            return numerics.abs_sq(g - numerics.cast(m, g.dtype)) * numerics.like(stretch, g)

        mean = tree.averaged(updates, state.mean, share)
        squares = jax.tree.map(deviate, updates, mean)
        return squares, SquaredDeviationState(tree.cast_like(mean, state.mean), decays)
