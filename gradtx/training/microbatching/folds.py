"""How the results of the micro-batches become one.

Source: none (the sum over a batch, computed in parts).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics
from gradtx.tree import PyTree
from gradtx.values.value import Value, static
from gradtx.values.wording import nearest

__all__ = ["Accumulator", "Fold", "fold_of", "is_fold"]


class Accumulator(Value):
    """How the results of the micro-batches become one: a fold.

    Args:
        init: makes the memory from the shapes and dtypes of one result.
        update: (memory, result, number of the micro-batch) -> memory.
        finalize: makes the result of all from the memory.
        aggregate: makes one result from those of a micro-batch's rows, which have a leading axis; what
            `micro_vmap` and `micro_grad` need.
    """

    init: Callable[[PyTree], PyTree] = static()
    update: Callable[[PyTree, PyTree, Any], PyTree] = static()
    finalize: Callable[[PyTree], PyTree] = static()
    aggregate: Callable[[PyTree], PyTree] | None = static(default=None)


class Fold(NamedTuple):
    """An accumulator whose end knows the shapes and dtypes of one result."""

    like: Callable[[PyTree], PyTree]  # shapes and dtypes: of `fun`'s output -> of one micro-batch's result
    value: Callable[[PyTree, PyTree], PyTree]  # the result, from what the function returns
    init: Callable[[PyTree], PyTree]
    update: Callable[[PyTree, PyTree, Any], PyTree]
    finalize: Callable[[PyTree, PyTree], PyTree]


def is_fold(x: Any) -> bool:
    """Whether this is an accumulator, not a tree of them."""
    return isinstance(x, (str, Accumulator)) or hasattr(x, "finalize") or hasattr(x, "name")


def fold_of(owner: str, kind: Any, count: int, of_rows: bool) -> Fold:
    """The fold that an accumulator is.

    Args:
        owner: the public function, for messages.
        kind: a name, or an `Accumulator`; Optax's too.
        count: how many micro-batches there are.
        of_rows: whether a micro-batch gives a result for each of its rows.
    """
    if hasattr(kind, "finalize"):
        return _own_fold(owner, kind, of_rows)
    name = str(getattr(kind, "name", kind)).lower()  # Optax's are members of an enumeration
    if name not in _NAMED:
        raise TypeError(
            f"{owner}: expected an accumulator among {', '.join(_NAMED)}, or an Accumulator, not {kind!r}."
            f"{nearest(name, _NAMED)}"
        )
    together, leafwise = _NAMED[name]
    init, update, finalize = leafwise(owner, count)

    def result(x: jax.Array, dtype: Any = None) -> jax.Array:
        return together(x, axis=0, dtype=dtype) if together and of_rows else x

    return Fold(
        lambda given: jax.eval_shape(lambda x: jax.tree.map(result, x), given),
        lambda given, like: jax.tree.map(lambda x, y: result(x, numerics.wide_dtype(y.dtype)), given, like),
        lambda like: jax.tree.map(init, like),
        lambda memory, value, index: jax.tree.map(lambda m, x: update(m, x, index), memory, value),
        lambda memory, like: jax.tree.map(lambda m, x: finalize(m).astype(x.dtype), memory, like),
    )


def _own_fold(owner: str, kind: Any, of_rows: bool) -> Fold:
    """That of an `Accumulator`, ours or Optax's."""
    together = kind.aggregate if of_rows else lambda x: x
    if together is None:
        raise TypeError(f"{owner}: {kind!r} has no aggregate, which makes one result from those of rows.")
    return Fold(
        lambda given: jax.eval_shape(together, given),
        lambda given, like: together(given),
        kind.init,
        kind.update,
        lambda memory, like: kind.finalize(memory),
    )


class _Leafwise(NamedTuple):
    """A fold of each leaf by itself."""

    init: Callable[[Any], jax.Array]
    update: Callable[[jax.Array, jax.Array, Any], jax.Array]
    finalize: Callable[[jax.Array], jax.Array]


def _plus(memory: jax.Array, value: jax.Array, index: Any) -> jax.Array:
    return memory + value.astype(memory.dtype)


def _towards(memory: jax.Array, value: jax.Array, index: Any) -> jax.Array:
    return numerics.lerp(memory, value, 1.0 / (index + 1.0))


def _zeros(like: Any) -> jax.Array:
    return jnp.zeros(like.shape, numerics.wide_dtype(like.dtype))


def _real_zeros(owner: str) -> Callable[[Any], jax.Array]:
    def init(like: Any) -> jax.Array:
        if not jnp.issubdtype(like.dtype, jnp.inexact):
            raise TypeError(f"{owner}: a mean is of floating-point numbers, not of {like.dtype}.")
        return _zeros(like)

    return init


def _sum(owner: str, count: int) -> _Leafwise:
    return _Leafwise(_zeros, _plus, lambda memory: memory)


def _mean(owner: str, count: int) -> _Leafwise:
    return _Leafwise(_real_zeros(owner), _plus, lambda memory: memory / count)


def _running_mean(owner: str, count: int) -> _Leafwise:
    return _Leafwise(_real_zeros(owner), _towards, lambda memory: memory)


def _concat(owner: str, count: int) -> _Leafwise:
    def room(like: Any) -> jax.Array:
        if not like.shape:
            raise TypeError(f"{owner}: 'concat' puts rows together, and a result has no axis of rows.")
        rows, *rest = like.shape
        return jnp.broadcast_to(jnp.zeros_like(like)[:, None], (rows, count, *rest))  # keeps the sharding

    def put(memory: jax.Array, value: jax.Array, index: Any) -> jax.Array:
        return jax.lax.dynamic_update_index_in_dim(memory, value, index, 1)

    return _Leafwise(room, put, lambda memory: memory.reshape(-1, *memory.shape[2:]))


_NAMED: dict[str, tuple[Callable[..., jax.Array] | None, Callable[[str, int], _Leafwise]]] = {
    "sum": (jnp.sum, _sum),
    "mean": (jnp.mean, _mean),
    "running_mean": (jnp.mean, _running_mean),
    "concat": (None, _concat),
}
"""How rows become one result, and results become one."""
