"""Optax's classes of states that have no public name, and those of states without content."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

__all__ = [
    "BACKTRACKING_INFO",
    "DEBIASED_RMS",
    "DISTANCE",
    "MASKED_NOTHING",
    "NOTHING",
    "OPTIMISTIC",
    "WEIGHT_DECAY_SCHEDULE",
]


def _class_of(tx: Any, get: Any = lambda state: state) -> type:
    """A class of Optax's that has no public name. No array is made: that would start JAX's backend."""
    return type(get(jax.eval_shape(tx.init, jax.ShapeDtypeStruct((), jnp.float32))))


WEIGHT_DECAY_SCHEDULE = _class_of(optax.add_decayed_weights(lambda step: step))
DEBIASED_RMS = _class_of(optax.scale_by_rms(bias_correction=True))
OPTIMISTIC = _class_of(optax.scale_by_optimistic_gradient())
DISTANCE = _class_of(optax.scale_by_distance_over_gradients())
BACKTRACKING_INFO = _class_of(optax.scale_by_backtracking_linesearch(1), lambda state: state.info)
NOTHING = optax.EmptyState()
MASKED_NOTHING = optax.MaskedState(NOTHING)
