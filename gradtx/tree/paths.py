"""The name of a leaf: 'encoder/kernel', in every message, mask, rule and report.

It joins the keys on the way to the leaf: those of dictionaries, the indices of lists, the names of fields.
"""

from __future__ import annotations

from typing import Any

import jax

__all__ = ["PyTree", "leaf_names", "leaf_paths", "name", "quoted", "unwrap_variables", "where"]

PyTree = Any


def name(path: Any, root: str = "") -> str:
    """The name of the place that a path of `jax.tree_util` leads to, as 'encoder/kernel'.

    Args:
        path: keys, as `jax.tree_util.tree_leaves_with_path` returns them.
        root: what the tree itself is called, as 'updates' in 'updates/encoder/kernel'; it is the name of
            an empty path.
    """
    below = jax.tree_util.keystr(tuple(path), simple=True, separator="/")
    return "/".join(part for part in (root, below) if part)


def quoted(name: str) -> str:
    """A leaf's name in a message: 'encoder/kernel' in quotes, or 'the root' for a tree that is one leaf."""
    return repr(name) if name else "the root"


def where(path: Any, tree: PyTree) -> str:
    """The leaf at a path of `tree`, for a message: its `quoted` name, which is the one that masks match."""
    held_by, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=_is_variable)
    to_variables = (at for at, x in held_by if _is_variable(x) and at == tuple(path[: len(at)]))
    return quoted(name(next(to_variables, path)))


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
