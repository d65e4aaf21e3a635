"""Lookahead: fast weights that explore, and slow ones that follow them every k steps.

    every k steps:   φ = φ + α (θ - φ),   θ = φ

Zhang et al., "Lookahead Optimizer: k steps forward, 1 step back", 2019, algorithm 1.
https://arxiv.org/abs/1907.08610
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.contract.hyperparameters import Hyperparameter, Scalar
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import GradientTransformation, need_params
from gradtx.tree import PyTree
from gradtx.tree.updates import apply_updates
from gradtx.values.kinds import AtLeastOne
from gradtx.values.value import static

__all__ = ["lookahead"]


class LookaheadState(NamedTuple):
    """The slow weights, and the fast optimizer's state."""

    step: jax.Array  # int32: how many updates since the last synchronisation
    slow: PyTree  # φ, in at least float32: the weights to evaluate
    inner: PyTree


class lookahead(GradientTransformation, reach=ENTRY):
    """Steps of another optimizer; every k of them the weights go back towards where they came from.

    The parameters that are trained are the fast ones, θ; the slow ones, φ, are in the state:
    `state.slow`. (Optax's lookahead has both in the parameters.)

    Args:
        fast_optimizer: the optimizer whose steps these are.
        sync_period: k, at least 1; the paper's are 5 and 10.
        slow_step_size: α, in [0, 1]; the paper's are 0.5 and 0.8. A number or a schedule.
        reset_state: begin with a new state of the fast optimizer after each synchronisation.

    Examples:
        >>> tx = gradtx.lookahead(gradtx.sgd(0.1), sync_period=5, slow_step_size=0.5)
        >>> tx.init(jnp.ones(2)).slow
        Array([1., 1.], dtype=float32)
    """

    fast_optimizer: GradientTransformation
    sync_period: AtLeastOne = static(default=6)
    slow_step_size: Annotated[Scalar, Hyperparameter(0, 1)] = 0.5
    reset_state: bool = static(default=False)

    def init(self, params: PyTree) -> LookaheadState:
        return LookaheadState(numerics.counter(), tree.copied(params), self.fast_optimizer.init(params))

    def update(
        self, updates: PyTree, state: LookaheadState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, LookaheadState]:
        params = need_params(self, params)
        fast = self.fast_optimizer
        steps, inner = fast.update(updates, state.inner, params, **extra)
        step = state.step + 1
        sync = step == self.sync_period
        alpha: Any = self.slow_step_size  # no schedule by now
        moved = apply_updates(tree.widen(params), steps)
        # Not a share of 0 in between: what is not finite in the fast weights would be kept.
        slow = tree.map(
            lambda new, old: jnp.where(sync, numerics.cast(numerics.lerp(old, new, alpha), old.dtype), old),
            moved,
            state.slow,
        )
        out = jax.tree.map(
            lambda u, s, p: jnp.where(sync, numerics.cast(s, u.dtype) - numerics.cast(p, u.dtype), u),
            steps,
            slow,
            params,
        )
        if self.reset_state:
            inner = jax.tree.map(lambda new, old: jnp.where(sync, new, old), fast.init(params), inner)
        after = LookaheadState(jnp.where(sync, 0, step), tree.cast_like(slow, state.slow), inner)
        return out, after
