"""Slow copies of parameters: averages to evaluate, and targets that change now and then."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from gradtx import numerics
from gradtx.tree import PyTree
from gradtx.tree.updates import has_no_gradient

__all__ = ["incremental_update", "periodic_update"]


def incremental_update(new_tensors: PyTree, old_tensors: PyTree, step_size: Any) -> PyTree:
    """old + s (new - old): one step of an average of parameters, in the dtypes of the old ones.

    Computed in at least float32. An average that moves little at a time has to be kept so as well:
    in bfloat16 it stalls. (Optax's result has the wider of the two dtypes.)

    Polyak & Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992.

    Args:
        new_tensors: the parameters now; a leaf that is None stays None, and integers are handed on.
        old_tensors: the average so far.
        step_size: s, in [0, 1].
    """

    def step(new: Any, old: Any) -> Any:
        if new is None or has_no_gradient(new):
            return new
        wide = numerics.wide_dtype(numerics.wider(jnp.result_type(new), jnp.result_type(old)))
        moved = numerics.lerp(jnp.asarray(old, wide), jnp.asarray(new, wide), step_size)
        return moved.astype(jnp.result_type(old))

    return jax.tree.map(step, new_tensors, old_tensors, is_leaf=lambda x: x is None)


def periodic_update(new_tensors: PyTree, old_tensors: PyTree, steps: Any, update_period: Any) -> PyTree:
    """The new parameters at every k-th step, and in between the old ones, in whose dtypes they are.

    Mnih et al., "Human-level control through deep reinforcement learning", 2015, the target network.

    Args:
        new_tensors: the parameters now.
        old_tensors: the copy.
        steps: how many steps have been made; at 0 the copy is renewed.
        update_period: k, at least 1.
    """
    due = jnp.mod(jnp.asarray(steps), jnp.asarray(update_period)) == 0
    return jax.tree.map(
        lambda new, old: jnp.where(due, jnp.asarray(new, jnp.result_type(old)), old), new_tensors, old_tensors
    )
