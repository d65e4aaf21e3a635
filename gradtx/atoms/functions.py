"""Transformations of a function: of the whole tree, or leaf by leaf.

Source: none (a frame for functions of your own; their source is yours to name).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from gradtx.contract.reach import LEAF, TREE
from gradtx.contract.transformation import EmptyState, GradientTransformation
from gradtx.tree import PyTree
from gradtx.values.value import static

__all__ = ["stateless", "stateless_with_tree_map"]


class stateless(GradientTransformation, reach=TREE):
    """f(updates, params), without a state. It compares by the function itself.

    Args:
        f: a function of the updates and the parameters, which are None if `update` has none; returns
            updates of the same structure and shapes.
    """

    f: Callable[[PyTree, Any], PyTree] = static()

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        return self.f(updates, params), state


class stateless_with_tree_map(GradientTransformation, reach=LEAF):
    """f(update, param) for each leaf, without a state. It compares by the function itself.

    Args:
        f: a function of a leaf of the updates and its parameter, which is None if `update` has none;
            returns an array of the same shape.
    """

    f: Callable[[Any, Any], Any] = static()

    def update(
        self, updates: PyTree, state: EmptyState, params: PyTree | None = None
    ) -> tuple[PyTree, EmptyState]:
        if params is None:
            return jax.tree.map(lambda u: self.f(u, None), updates), state
        return jax.tree.map(self.f, updates, params), state
