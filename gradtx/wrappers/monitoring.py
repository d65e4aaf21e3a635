"""Measures of what passes through a chain, kept in the state by name; the updates pass as they are.

Folklore: a measurement, and no method of optimization.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import tree
from gradtx.anatomy import Reach
from gradtx.transformation import GradientTransformation
from gradtx.tree import PyTree
from gradtx.value import static

__all__ = ["snapshot"]


class SnapshotState(NamedTuple):
    """What was measured at the last update."""

    measurement: dict[str, PyTree]  # name -> what the measure returned; zeros before the first update


class snapshot(GradientTransformation):
    """Measure the updates that pass, and keep what was measured in the state, by name.

    `state.measurement[name]` has it, and optax.tree.get(state, name). Within a chain the measure sees
    what the part in front returned.

    Args:
        measure_name: the name.
        measure: a function of the updates that returns arrays.
    """

    reach: ClassVar[Reach] = Reach.TREE
    measure_name: str = static()
    measure: Callable[[PyTree], PyTree] = static()

    def init(self, params: PyTree) -> SnapshotState:
        def zero(shape: Any) -> jax.Array:
            return jnp.zeros(shape.shape, shape.dtype)

        shapes = jax.eval_shape(self.measure, tree.zeros_like(params))
        return SnapshotState({self.measure_name: jax.tree.map(zero, shapes)})

    def update(
        self, updates: PyTree, state: SnapshotState, params: PyTree | None = None
    ) -> tuple[PyTree, SnapshotState]:
        return updates, SnapshotState({self.measure_name: self.measure(updates)})
