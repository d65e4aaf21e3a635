"""Which transformations count their own steps, and where a schedule is looked up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from gradtx.contract.memo import remembered
from gradtx.schedules.schedule import Schedule
from gradtx.values.value import Value

__all__ = ["follows", "inside", "is_transformation"]


def is_transformation(x: Any) -> bool:
    """Whether `x` is one of gradtx's transformations: they are defined a floor above."""
    return isinstance(x, Value) and hasattr(type(x), "made_of")


def inside(tx: Any, is_leaf: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """`is_leaf`, for what runs by the clock of `tx`: what has a clock of its own is a leaf."""

    def leaf(x: Any) -> bool:
        other_clock = x is not tx and is_transformation(x) and (tx.own_clock or x.own_clock)
        return other_clock or is_leaf(x)

    return leaf


def follows(tx: Any) -> bool:
    """Whether there are schedules in `tx` that it has to look up at every update."""
    return remembered(_follows, tx)


def _follows(tx: Any) -> bool:
    nodes = jax.tree.leaves(tx, is_leaf=inside(tx, lambda x: isinstance(x, Schedule)))
    return any(isinstance(x, Schedule) for x in nodes)
