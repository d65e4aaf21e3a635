"""How much of a model training has changed."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx import numerics
from gradtx.tree import PyTree, where

__all__ = ["share_moved"]


def share_moved(before: PyTree, after: PyTree, threshold: float = 1e-5) -> jax.Array:
    """The share of parameters that differ by more than a threshold: #{|θ' - θ| > τ} / #{θ}.

    Mukherjee et al., "Do We Need Adam? Surprisingly Strong and Sparse Reinforcement Learning with SGD in
    LLMs", 2026, compare optimizers so. https://arxiv.org/abs/2602.07729
    A parameter in bfloat16 can't move by less than its rounding, which at 0.01 is 6e-5: steps below half of
    that are lost.

    Args:
        before: the parameters then; a leaf that is None is not counted.
        after: the parameters now, of the same structure and shapes.
        threshold: τ, at least 0; 0 counts whatever has changed at all.

    Returns:
        A number from 0 to 1; 0 if there are no parameters.

    Raises:
        ValueError: the trees or their shapes differ, or the threshold is negative.
    """
    if threshold < 0:
        raise ValueError(f"share_moved(threshold={threshold!r}): threshold must be at least 0.")

    def count(path: Any, old: Any, new: Any) -> jax.Array:
        if np.shape(old) != np.shape(new):
            raise ValueError(
                f"share_moved: the parameter at {where(path, before)} has shape "
                f"{np.shape(old)} before and {np.shape(new)} after."
            )
        wide = numerics.wide_dtype(numerics.wider(jnp.result_type(old), jnp.result_type(new)))
        apart = jnp.abs(jnp.asarray(new, wide) - jnp.asarray(old, wide))
        return jnp.sum(apart > threshold, dtype=jnp.int32).astype(float)

    moved = jax.tree.leaves(jax.tree_util.tree_map_with_path(count, before, after))
    total = sum(np.size(leaf) for leaf in jax.tree.leaves(before))
    return sum(moved, jnp.zeros((), float)) / max(total, 1)
