"""A batch, divided into micro-batches: the i-th of n has the rows i, i + n, i + 2n, ..."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx import tree
from gradtx.tree import MismatchError, PyTree, quoted

__all__ = ["check_divides", "check_size", "divided", "from_start", "one_part", "reshape_batch_axis", "sizes"]


def reshape_batch_axis(tree: PyTree, microbatch_size: int, axis: int = 0) -> PyTree:
    """Each leaf's batch axis as two, the number of the micro-batch and the row in it.

    The i-th of n micro-batches has the rows i, i + n, i + 2n, ...; a batch that is divided between devices
    stays divided in the second axis.

    Args:
        tree: arrays that have a batch axis each.
        microbatch_size: how many rows in each micro-batch; divides the batch's size.
        axis: where the batch axis is; negative from the end.

    Raises:
        ValueError: a leaf has no such axis, or the size does not divide it; with its path.
    """
    check_size("reshape_batch_axis", microbatch_size)
    for name, rows in sizes("reshape_batch_axis", tree, axis).items():
        check_divides("reshape_batch_axis", microbatch_size, rows, f" of {quoted(name)}" if name else "")

    def two(x: jax.Array) -> jax.Array:
        at = from_start(axis, x)
        return jnp.swapaxes(divided(x, at, microbatch_size), at, at + 1)

    return jax.tree.map(two, tree)


def one_part(tree: PyTree, axis: int, index: Any) -> PyTree:
    """One micro-batch of a divided tree."""

    def one(x: jax.Array) -> jax.Array:
        at = axis if axis >= 0 else axis + x.ndim - 1
        return jax.lax.dynamic_index_in_dim(x, index, at + 1, keepdims=False)

    return jax.tree.map(one, tree)


def divided(x: jax.Array, axis: int, size: int) -> jax.Array:
    """The batch axis as two: the row in a micro-batch, and the number of the micro-batch."""
    return jnp.reshape(x, (*x.shape[:axis], size, x.shape[axis] // size, *x.shape[axis + 1 :]))


def from_start(axis: int, x: jax.Array) -> int:
    """An axis, counted from the start."""
    return axis if axis >= 0 else axis + x.ndim


def sizes(owner: str, batch: PyTree, axis: int) -> dict[str, int]:
    """The name of each leaf, and the size of its batch axis."""
    found = {}
    for name, x in zip(tree.leaf_names(batch), jax.tree.leaves(batch), strict=True):
        shape = jnp.shape(x)
        if not -len(shape) <= axis < len(shape):
            raise MismatchError(f"{owner}: {_argument(name)} of shape {shape} has no batch axis {axis}.")
        found[name] = shape[axis]
    return found


def check_size(owner: str, size: Any) -> None:
    """Refuse anything but a number of rows."""
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
        raise ValueError(f"{owner}(microbatch_size={size!r}): expected a whole number of rows, at least 1.")


def check_divides(owner: str, size: int, whole: int, where: str = "") -> None:
    """Refuse a size that leaves rows over."""
    if whole % size:
        raise MismatchError(
            f"{owner}(microbatch_size={size}): the batch's size{where}, {whole}, is not divisible by it."
        )


def _argument(name: str) -> str:
    return f"the leaf at {quoted(name)}" if name else "an argument"
