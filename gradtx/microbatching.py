"""A function, evaluated over one part of its batch after the other, so that less has to fit into memory.

Of n micro-batches the i-th has the rows i, i + n, i + 2n, ...: where a batch is divided between devices,
each of them then has its share of every micro-batch.

Folklore: the sum over a batch, computed in parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics
from gradtx.tree import MismatchError, PyTree
from gradtx.value import Value, nearest, static

__all__ = ["Accumulator", "microbatch"]


class Accumulator(Value):
    """How the results of the micro-batches become one: a fold.

    Args:
        init: makes the memory from the shapes and dtypes of one result.
        update: (memory, result, number of the micro-batch) -> memory.
        finalize: makes the result of all from the memory.
    """

    init: Callable[[PyTree], PyTree] = static()
    update: Callable[[PyTree, PyTree, Any], PyTree] = static()
    finalize: Callable[[PyTree], PyTree] = static()


def microbatch(
    fun: Callable[..., Any],
    argnums: int | Sequence[int],
    microbatch_size: int | None,
    accumulator: Any = "sum",
    *,
    argnames: str | Sequence[str] = (),
    in_axes: int | Sequence[int] = 0,
    num_real_microbatches: Any = None,
) -> Callable[..., Any]:
    """`fun`, evaluated over micro-batches in a loop, and its results put together.

        grad = gradtx.microbatch(jax.grad(loss), argnums=1, microbatch_size=32, accumulator="mean")
        grads = grad(params, batch)

    Sums and means are computed in at least float32 and rounded once, at the end; Optax's are in the
    result's dtype.

    Args:
        fun: any function of arrays.
        argnums: the positions of the arguments that have a batch axis, trees of arrays each.
        microbatch_size: how many rows in each micro-batch; divides the batch's size. None returns `fun`.
        accumulator: how results become one: 'sum'; 'mean', by the number of all micro-batches;
            'running_mean', by the number of those that are run; 'concat', along the first axis, in the
            rows' order; an `Accumulator`; or a tree of these that is a prefix of the results. Optax's are
            taken too.
        argnames: the same for arguments given by name.
        in_axes: the batch axis: one for all, or one for each of `argnums` and `argnames`.
        num_real_microbatches: stop after so many, which may be an array: for batches of several sizes
            with one compiled program.

    Raises:
        ValueError: batch sizes differ, or the size of a micro-batch does not divide them.
        TypeError: an accumulator is unknown, or takes the mean of whole numbers.
    """
    if microbatch_size is None:
        return fun
    numbers = [argnums] if isinstance(argnums, int) else list(argnums)
    names = [argnames] if isinstance(argnames, str) else list(argnames)
    every = [in_axes] * (len(numbers) + len(names)) if isinstance(in_axes, int) else list(in_axes)
    axes: dict[int | str, int] = dict(zip([*numbers, *names], every, strict=True))

    def batched(*args: Any, **kwargs: Any) -> Any:
        given = {k: args[k] if isinstance(k, int) else kwargs[k] for k in axes}
        count = _count(given, axes, microbatch_size)
        parts = {k: _divided(tree, axes[k], microbatch_size, count) for k, tree in given.items()}

        def at(index: Any) -> Any:
            own = {
                k: jax.tree.map(
                    lambda x, axis=axes[k]: jax.lax.dynamic_index_in_dim(x, index, axis + 1, keepdims=False),
                    tree,
                )
                for k, tree in parts.items()
            }
            named = {name: own.get(name, x) for name, x in kwargs.items()}
            return fun(*(own.get(i, x) for i, x in enumerate(args)), **named)

        shapes = jax.eval_shape(at, 0)
        kinds = jax.tree.leaves(accumulator, is_leaf=_is_fold)
        structure: Any = jax.tree.structure(accumulator, is_leaf=_is_fold)  # jax has no types for treedefs
        folds = [_fold(kind, count) for kind in kinds]
        of = structure.flatten_up_to(shapes)

        def step(index: Any, memory: list[Any]) -> list[Any]:
            results = structure.flatten_up_to(at(index))
            return [fold.update(m, x, index) for fold, m, x in zip(folds, memory, results, strict=True)]

        stop = count if num_real_microbatches is None else num_real_microbatches
        start = [fold.init(like) for fold, like in zip(folds, of, strict=True)]
        end = jax.lax.fori_loop(0, stop, step, start)
        return structure.unflatten(
            [fold.finalize(m, like) for fold, m, like in zip(folds, end, of, strict=True)]
        )

    return batched


class _Fold(NamedTuple):
    """An accumulator whose end knows the shapes and dtypes of one result."""

    init: Callable[[PyTree], PyTree]
    update: Callable[[PyTree, PyTree, Any], PyTree]
    finalize: Callable[[PyTree, PyTree], PyTree]


def _is_fold(x: Any) -> bool:
    return isinstance(x, (str, Accumulator)) or hasattr(x, "finalize") or hasattr(x, "name")


def _fold(kind: Any, count: int) -> _Fold:
    if hasattr(kind, "finalize"):
        return _Fold(kind.init, kind.update, lambda memory, like: kind.finalize(memory))
    name = str(getattr(kind, "name", kind)).lower()  # Optax's are members of an enumeration
    if name not in _NAMED:
        raise TypeError(
            f"microbatch: expected an accumulator among {', '.join(_NAMED)}, or an Accumulator, not {kind!r}."
            f"{nearest(name, _NAMED)}"
        )
    return _NAMED[name](count)


def _wide(like: Any) -> Any:
    return jnp.zeros(like.shape, numerics.wide_dtype(like.dtype))


def _real(like: Any) -> Any:
    if not jnp.issubdtype(like.dtype, jnp.inexact):
        raise TypeError(f"microbatch: a mean is of floating-point numbers, not of {like.dtype}.")
    return _wide(like)


def _leafwise(init: Any, update: Any, finalize: Any) -> _Fold:
    return _Fold(
        lambda like: jax.tree.map(init, like),
        lambda memory, value, index: jax.tree.map(lambda m, x: update(m, x, index), memory, value),
        lambda memory, like: jax.tree.map(lambda m, x: finalize(m, x).astype(x.dtype), memory, like),
    )


def _plus(memory: jax.Array, value: jax.Array, index: Any) -> jax.Array:
    return memory + value.astype(memory.dtype)


def _towards(memory: jax.Array, value: jax.Array, index: Any) -> jax.Array:
    return numerics.lerp(memory, value, 1.0 / (index + 1.0))


def _sum(count: int) -> _Fold:
    return _leafwise(_wide, _plus, lambda memory, like: memory)


def _mean(count: int) -> _Fold:
    return _leafwise(_real, _plus, lambda memory, like: memory / count)


def _running_mean(count: int) -> _Fold:
    return _leafwise(_real, _towards, lambda memory, like: memory)


def _concat(count: int) -> _Fold:
    def room(like: Any) -> jax.Array:
        rows, *rest = like.shape
        return jnp.zeros((rows, count, *rest), like.dtype)

    def put(memory: jax.Array, value: jax.Array, index: Any) -> jax.Array:
        return jax.lax.dynamic_update_index_in_dim(memory, value, index, 1)

    return _leafwise(room, put, lambda memory, like: memory.reshape(-1, *memory.shape[2:]))


_NAMED: dict[str, Callable[[int], _Fold]] = {
    "sum": _sum,
    "mean": _mean,
    "running_mean": _running_mean,
    "concat": _concat,
}


def _count(given: dict[Any, PyTree], axes: dict[Any, int], size: int) -> int:
    """How many micro-batches there are."""
    rows = {x.shape[axes[k]] for k, tree in given.items() for x in jax.tree.leaves(tree)}
    if len(rows) != 1:
        raise MismatchError(f"microbatch: the batch axes must be of one size; they are of {sorted(rows)}.")
    (whole,) = rows
    if whole % size:
        raise MismatchError(
            f"microbatch(microbatch_size={size}): it does not divide the batch's size, {whole}."
        )
    return whole // size


def _divided(tree: PyTree, axis: int, size: int, count: int) -> PyTree:
    return jax.tree.map(lambda x: x.reshape(*x.shape[:axis], size, count, *x.shape[axis + 1 :]), tree)
