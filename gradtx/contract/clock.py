"""Whose steps a schedule counts: those of the outermost transformation, or of one with a clock of its own."""

from __future__ import annotations

from collections.abc import Callable

import jax

from gradtx.contract.protocol import Transformation, is_transformation
from gradtx.schedules.schedule import Schedule

__all__ = ["follows", "inside"]


def inside(tx: Transformation, is_leaf: Callable[[object], bool]) -> Callable[[object], bool]:
    """Wrap `is_leaf` so that a traversal of `tx` stops at transformations that count their own steps."""

    def leaf(x: object) -> bool:
        if x is not tx and is_transformation(x) and (tx.own_clock or x.own_clock):  # type: ignore[attr-defined]
            return True
        return is_leaf(x)

    return leaf


def follows(tx: Transformation) -> bool:
    """Whether there are schedules in `tx` that it has to look up at every update."""
    nodes = jax.tree.leaves(tx, is_leaf=inside(tx, lambda x: isinstance(x, Schedule)))
    return any(isinstance(x, Schedule) for x in nodes)
