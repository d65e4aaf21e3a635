"""Leaves and their names, as 'encoder/kernel'."""

from __future__ import annotations

from typing import Any

import jax

__all__ = ["PyTree", "leaf_names", "leaf_paths", "name", "unwrap_variables"]

PyTree = Any


def name(path: Any) -> str:
    """The name of one leaf by its path of keys, as masks match it: 'dense/kernel'; '' for the root."""
    return jax.tree_util.keystr(tuple(path), simple=True, separator="/")


def leaf_names(tree: PyTree) -> list[str]:
    """The name of each leaf, as 'encoder/kernel', in the order of `jax.tree.leaves`.

    A Flax nnx Variable counts as the leaf that it holds: 'encoder/kernel', not '.../value'.
    """
    return leaf_paths(tree)[0]


def leaf_paths(tree: PyTree) -> tuple[list[str], list[str]]:
    """The names of the leaves, and of the places that hold none (None, an empty or masked node)."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda x: _is_variable(x) or _is_leafless(x))
    leaves: list[str] = []
    empty: list[str] = []
    for path, leaf in flat:
        held = len(jax.tree.leaves(leaf))
        leaves.extend([name(path)] * held)
        if not held:
            empty.append(name(path))
    return leaves, empty


def unwrap_variables(tree: PyTree) -> PyTree:
    """The tree with each Flax nnx Variable replaced by what it holds."""
    return jax.tree.map(lambda x: jax.tree.leaves(x)[0] if _is_variable(x) else x, tree, is_leaf=_is_variable)


def _is_variable(x: Any) -> bool:
    return hasattr(type(x), "get_metadata") and hasattr(type(x), "get_value")


def _is_leafless(x: Any) -> bool:
    """Whether `x` is a node without children, not one whose children have no leaves."""
    children = jax.tree_util.default_registry.flatten_one_level(x)
    return children is not None and not list(children[0])
