"""A function of one row, evaluated at every row of a batch, a micro-batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from gradtx.training.microbatching.loop import Parts
from gradtx.tree import PyTree

__all__ = ["IndividualOutputs", "micro_grad", "micro_vmap"]


def micro_vmap(
    fun: Callable[..., Any],
    in_axes: int | Sequence[int | None] = 0,
    out_axes: Any = 0,
    *,
    microbatch_size: int | None = None,
    vmap_fn: Callable[..., Callable[..., Any]] = jax.vmap,
    accumulator: Any = "concat",
    num_real_microbatches: Any = None,
) -> Callable[..., Any]:
    """`jax.vmap(fun)`, evaluated over micro-batches in a loop, and the rows' results put together.

        norms = gradtx.micro_vmap(norm_of_gradient, in_axes=(None, 0), microbatch_size=32)(params, batch)

    As in `microbatch`, sums and means are computed in at least float32. Arguments by name are mapped over
    their first axis, as by `jax.vmap`; and a single `in_axes` is that of every argument, where Optax's is
    that of the only one.

    Args:
        fun: any function of arrays: of one row of the batch.
        in_axes: the batch axis of each argument, a tree of arrays, or None where it has none; one for all.
        out_axes: 0: what has a batch axis has it first.
        microbatch_size: how many rows in each micro-batch; divides the batch's size. None is all of them, a
            micro-batch like any other: an `Accumulator` begins, adds and ends. Optax only aggregates rows.
        vmap_fn: called as `vmap_fn(fun, in_axes, out_axes)`: `jax.vmap`, with arguments of its own.
        accumulator: how the rows' results become one, as in `microbatch`: 'concat' keeps each; 'sum', 'mean'
            and 'running_mean' are over the rows; an `Accumulator` has to have an `aggregate`.
        num_real_microbatches: stop after so many, which may be an array.

    Raises:
        ValueError: batch sizes differ, or the size of a micro-batch does not divide them; there are fewer
            micro-batches than are to be run.
        TypeError: an argument has no axis in `in_axes`; an accumulator is unknown or has no `aggregate`.
    """
    if out_axes != 0:
        raise NotImplementedError(
            f"micro_vmap(out_axes={out_axes!r}): expected 0, results have their batch axis first. "
            "Move it with jax.numpy.moveaxis."
        )
    parts = Parts("micro_vmap", microbatch_size, accumulator, num_real_microbatches)

    def mapped(*args: Any, **kwargs: Any) -> Any:
        own = _axis_of_each(in_axes, len(args))
        axes: dict[int | str, int] = {i: axis for i, axis in enumerate(own) if axis is not None}
        axes |= dict.fromkeys(kwargs, 0)
        if not axes:
            raise ValueError(f"micro_vmap(in_axes={in_axes!r}): no argument has a batch axis.")
        return parts.run(vmap_fn(fun, own, out_axes), axes, args, kwargs, of_rows=True)

    return mapped


class IndividualOutputs(NamedTuple):
    """The other results of `micro_grad`: for every row of the batch, along a leading axis."""

    values: PyTree  # the function's
    metrics: PyTree  # of the gradients
    aux: PyTree  # what the function returned besides, or None


def micro_grad(
    fun: Callable[..., Any],
    has_aux: bool = False,
    argnums: int | Sequence[int] = 0,
    *,
    batch_argnums: int | Sequence[int] = 1,
    keep_batch_dim: bool = True,
    microbatch_size: int | None = None,
    accumulator: Any = "sum",
    transform_fn: Callable[[PyTree], PyTree] = lambda grads: grads,
    metrics_fn: Callable[[PyTree], PyTree] = lambda grads: None,
    num_real_microbatches: Any = None,
) -> Callable[..., tuple[PyTree, IndividualOutputs]]:
    """The gradient at each row of a batch, changed row by row and then summed: (sum, `IndividualOutputs`).

        clipped = gradtx.micro_grad(loss, microbatch_size=32, accumulator="mean",
                                    transform_fn=lambda g: gradtx.clip_by_global_norm(1.0).update(g, ())[0])
        grads, each = clipped(params, batch)        # each.values: the loss of every row

    Rows' gradients exist for one micro-batch at a time. Arguments by name are mapped over their first
    axis, as by `jax.vmap`.

    Args:
        fun: the function to differentiate, of parameters and a batch of any size.
        has_aux: whether it returns a pair, of which the second is not differentiated.
        argnums: the positions of the arguments to differentiate by.
        batch_argnums: the positions of those that have a batch axis, their first.
        keep_batch_dim: hand `fun` each row as a batch of one; False hands it the row.
        microbatch_size: how many rows in each micro-batch; divides the batch's size. None is all of them, a
            micro-batch like any other: an `Accumulator` begins, adds and ends. Optax only aggregates rows.
        accumulator: how the rows' gradients become one, as in `micro_vmap`.
        transform_fn: what becomes of a row's gradient before that: a clip, its square, several of these.
        metrics_fn: what to keep of a row's gradient as it was, such as its norm.
        num_real_microbatches: stop after so many, which may be an array; rows that are not run have zeros.

    Raises:
        ValueError, TypeError: as `micro_vmap`.
    """
    batched = [batch_argnums] if isinstance(batch_argnums, int) else list(batch_argnums)
    parts = Parts("micro_grad", microbatch_size, (accumulator, "concat"), num_real_microbatches)

    def whole(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        return fun(*args, **kwargs) if has_aux else (fun(*args, **kwargs), None)

    value_and_grad = jax.value_and_grad(whole, argnums, has_aux=True)

    def at_row(*args: Any, **kwargs: Any) -> tuple[PyTree, IndividualOutputs]:
        if keep_batch_dim:
            args = tuple(
                jax.tree.map(lambda v: v[None], x) if i in batched else x for i, x in enumerate(args)
            )
        (value, aux), grads = value_and_grad(*args, **kwargs)
        return transform_fn(grads), IndividualOutputs(value, metrics_fn(grads), aux)

    def grad(*args: Any, **kwargs: Any) -> tuple[PyTree, IndividualOutputs]:
        axes: dict[int | str, int] = dict.fromkeys([*batched, *kwargs], 0)
        every = tuple(axes.get(i) for i in range(len(args)))
        result: tuple[PyTree, IndividualOutputs] = parts.run(
            jax.vmap(at_row, every), axes, args, kwargs, of_rows=True
        )
        return result

    return grad


def _axis_of_each(in_axes: Any, count: int) -> tuple[int | None, ...]:
    """in_axes of `micro_vmap`, for each argument by position."""
    own = (in_axes,) * count if isinstance(in_axes, int) else tuple(in_axes)
    if len(own) != count or not all(axis is None or isinstance(axis, int) for axis in own):
        raise TypeError(
            f"micro_vmap(in_axes={in_axes!r}): expected an axis or None for each of the {count} arguments "
            "given by position."
        )
    return own
