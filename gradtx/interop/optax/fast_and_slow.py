"""Lookahead with Optax's parameters, which are both the fast weights and the slow ones."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
from optax import GradientTransformationExtraArgs, LookaheadState

import gradtx
from gradtx import tree
from gradtx.interop.optax.transformation import Transformation, plain
from gradtx.tree import PyTree
from gradtx.wrappers import lookahead as ours

__all__ = ["LookaheadParams", "lookahead"]


class LookaheadParams(NamedTuple):
    """The weights that are trained, and those to evaluate."""

    fast: PyTree  # take the gradient here
    slow: PyTree

    @classmethod
    def init_synced(cls, params: PyTree) -> LookaheadParams:
        """Both at the same place."""
        return cls(fast=params, slow=params)


def lookahead(
    fast_optimizer: Any, sync_period: Any, slow_step_size: Any, reset_state: bool = False
) -> GradientTransformationExtraArgs:
    """`gradtx.lookahead`, of parameters that are `LookaheadParams`, as Optax has it.

    Of any other parameters, whose slow weights are then in the state as in gradtx: they are what `init`
    was given. The updates that `LookaheadParams` get are `LookaheadParams` too.

    Args:
        fast_optimizer: the optimizer of the fast weights.
        sync_period: every how many steps both come together, at least 1.
        slow_step_size: how far the slow weights go towards the fast ones, in [0, 1].
        reset_state: begin with a new state of the fast optimizer whenever they have come together.
    """
    tx = Transformation(gradtx.lookahead(plain(fast_optimizer), sync_period, slow_step_size, reset_state))

    def init(params: PyTree) -> Any:
        both = isinstance(params, LookaheadParams)
        if not both and jax.tree.leaves(params):  # nothing but placeholders stands for both
            return tx.init(params)
        state = tx.init(params.fast if both else params)
        return LookaheadState(state.inner, state.step)

    def update(updates: PyTree, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        if not isinstance(state, LookaheadState):
            return tx.update(updates, state, params, **extra)
        if not isinstance(params, LookaheadParams):
            raise ValueError(
                "lookahead: this state was made of LookaheadParams, so update needs them too: "
                "update(updates, state, params)."
            )
        slow = tree.widen(params.slow)
        held = ours.LookaheadState(state.steps_since_sync, slow, state.fast_state)
        fast, after = tx.update(updates, held, params.fast, **extra)
        moved = jax.tree.map(lambda new, old: new - old, after.slow, slow)
        moved = tree.cast_like(moved, params.slow)
        return LookaheadParams(fast, moved), LookaheadState(after.inner, after.step)

    return GradientTransformationExtraArgs(init, update)
