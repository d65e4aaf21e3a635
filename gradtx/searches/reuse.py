"""The value and the gradient that a line search has left in the state, instead of computing them again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradtx import tree
from gradtx.numerics.dispatch import cond
from gradtx.tree import PyTree

__all__ = ["value_and_grad_from_state"]


def value_and_grad_from_state(value_fn: Callable[..., Any]) -> Callable[..., tuple[jax.Array, PyTree]]:
    """`jax.value_and_grad(value_fn)`, which looks into the state first.

        value_and_grad = gradtx.value_and_grad_from_state(loss)
        value, grad = value_and_grad(params, state=state)
        updates, state = tx.update(grad, state, params, value=value, grad=grad, value_fn=loss)

    A line search ends with the value and the gradient at the parameters that it leads to. They are found
    wherever in the state the search is. Before the first update, and where the value is not finite, they
    are computed. Right only while the objective is the same at the next step: no new batch.

    Args:
        value_fn: (params, *args, **kwargs) -> a number.

    Returns:
        (params, *args, state=..., **kwargs) -> (value, gradient), the gradient in the parameters' dtypes.

    Raises:
        ValueError: the state holds no value and gradient, or several, or those of other leaves.
    """

    def value_and_grad(params: PyTree, *args: Any, state: PyTree, **kwargs: Any) -> tuple[jax.Array, PyTree]:
        value, grad = _kept(state)
        tree.check_like(params, grad, "kept gradient's")
        kept = value, tree.cast_like(grad, params)

        def compute() -> tuple[jax.Array, PyTree]:
            now, back = jax.value_and_grad(value_fn)(params, *args, **kwargs)
            return jnp.asarray(now, value.dtype), back

        return cond(jnp.isfinite(value), lambda: kept, compute)

    return value_and_grad


def _kept(state: PyTree) -> tuple[jax.Array, PyTree]:
    nodes = jax.tree_util.tree_flatten_with_path(state, is_leaf=_keeps)[0]
    found = [(tree.quoted(tree.name(path)), node) for path, node in nodes if _keeps(node)]
    if len(found) != 1:
        where = f"{len(found)}: {', '.join(path for path, _ in found)}" if found else "none"
        raise ValueError(
            f"value_and_grad_from_state: expected one line search's state, found {where}. Give it the state "
            "of a transformation with one line search in it."
        )
    ((path, node),) = found
    if node.grad is None:
        raise ValueError(
            f"value_and_grad_from_state: the line search at {path} keeps no gradient: make it "
            "with store_grad=True."
        )
    return node.value, node.grad


def _keeps(x: Any) -> bool:
    return isinstance(x, tuple) and {"value", "grad"} <= set(getattr(x, "_fields", ()))
