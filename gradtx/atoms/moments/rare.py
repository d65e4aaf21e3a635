"""An average of what is too costly to compute at every update."""

from __future__ import annotations

from typing import NamedTuple

import jax

from gradtx import numerics, tree
from gradtx.contract.hyperparameters import Decay
from gradtx.contract.reach import TREE
from gradtx.contract.transformation import GradientTransformation
from gradtx.numerics.dispatch import cond
from gradtx.tree import PyTree
from gradtx.values.kinds import AtLeastOne
from gradtx.values.value import static

__all__ = ["rare_ema"]


class RareEmaState(NamedTuple):
    step: jax.Array  # int32: how many updates have been made
    mean: PyTree  # structure and shapes of the parameters, at least float32
    inner: PyTree


class rare_ema(GradientTransformation, reach=TREE, may_skip=True):
    """An average of what another transformation makes of the updates, renewed at every k-th update.

        hₜ = β hₜ₋₁ + (1 - β) f(gₜ)    if t mod k = 1, else hₜ₋₁;    h₀ = 0

    Between renewals f is not computed, and its state and schedules stand still.

    Liu et al., "Sophia: A Scalable Stochastic Second-order Optimizer for Language Model Pre-training",
    2023, whose estimate of the Hessian is renewed so. https://arxiv.org/abs/2305.14342

    Args:
        inner: f.
        decay: β, in [0, 1).
        every: k, at least 1.
        renew_after: return the average as it was before this update's renewal.
    """

    inner: GradientTransformation
    decay: Decay
    every: AtLeastOne = static()
    renew_after: bool = static(default=False)

    def init(self, params: PyTree) -> RareEmaState:
        return RareEmaState(numerics.counter(), tree.zeros_like(params), self.inner.init(params))

    def update(
        self, updates: PyTree, state: RareEmaState, params: PyTree | None = None, **extra: object
    ) -> tuple[PyTree, RareEmaState]:
        def renew() -> tuple[PyTree, PyTree]:
            made, inner = self.inner.update(updates, state.inner, params, **extra)
            weight = numerics.complement(self.decay)
            mean = tree.averaged(made, state.mean, weight)
            return tree.cast_like(mean, state.mean), inner

        tree.check_like(updates, state.mean, "state's")
        mean, inner = cond(state.step % self.every == 0, renew, lambda: (state.mean, state.inner))
        out = state.mean if self.renew_after else mean
        return out, RareEmaState(numerics.safe_increment(state.step), mean, inner)
