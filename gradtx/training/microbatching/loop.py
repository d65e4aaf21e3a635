"""The loop over micro-batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.training.microbatching.division import (
    check_divides,
    check_size,
    divided,
    from_start,
    one_part,
    sizes,
)
from gradtx.training.microbatching.folds import fold_of, is_fold
from gradtx.tree import MismatchError, PyTree

__all__ = ["Parts", "microbatch"]


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
        ValueError: batch sizes differ, the size of a micro-batch does not divide them, or there are fewer
            micro-batches than are to be run.
        TypeError: an argument is not there, or an accumulator is unknown or takes the mean of whole numbers.
    """
    if microbatch_size is None:
        return fun
    numbers = [argnums] if isinstance(argnums, int) else list(argnums)
    names = [argnames] if isinstance(argnames, str) else list(argnames)
    every = [in_axes] * (len(numbers) + len(names)) if isinstance(in_axes, int) else list(in_axes)
    if len(every) != len(numbers) + len(names):
        raise ValueError(
            f"microbatch(in_axes={in_axes!r}): expected one batch axis for all, or one for each of "
            f"argnums={argnums!r} and argnames={argnames!r}."
        )
    parts = Parts("microbatch", microbatch_size, accumulator, num_real_microbatches)
    axes: dict[int | str, int] = dict(zip([*numbers, *names], every, strict=True))
    return lambda *args, **kwargs: parts.run(fun, axes, args, kwargs)


class Parts(NamedTuple):
    """How a batch is divided, and what becomes of the parts' results."""

    owner: str  # the public function, for messages
    size: int | None
    accumulator: Any
    stop: Any

    def run(
        self,
        fun: Callable[..., Any],
        axes: Mapping[int | str, int],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        of_rows: bool = False,
    ) -> Any:
        """`fun` of one part after the other. Where it gives a result for each row, they are aggregated."""
        given = {k: self._argument(k, args, kwargs) for k in axes}
        size, count = self._sizes(given, axes)
        parts = {
            k: jax.tree.map(lambda x, axis=axes[k]: divided(x, from_start(axis, x), size), tree)
            for k, tree in given.items()
        }

        def at(index: Any) -> Any:
            own = {k: one_part(tree, axes[k], index) for k, tree in parts.items()}
            named = {name: own.get(name, x) for name, x in kwargs.items()}
            return fun(*(own.get(i, x) for i, x in enumerate(args)), **named)

        kinds = jax.tree.leaves(self.accumulator, is_leaf=is_fold)
        structure: Any = jax.tree.structure(self.accumulator, is_leaf=is_fold)  # jax has no types for it
        folds = [fold_of(self.owner, kind, count, of_rows) for kind in kinds]
        of = [
            fold.like(x)
            for fold, x in zip(folds, structure.flatten_up_to(jax.eval_shape(at, 0)), strict=True)
        ]

        def step(index: Any, memory: list[Any]) -> list[Any]:
            results = structure.flatten_up_to(at(index))
            return [
                fold.update(m, fold.value(x, like), index)
                for fold, like, m, x in zip(folds, of, memory, results, strict=True)
            ]

        stop = self._stop(count)
        start = [fold.init(like) for fold, like in zip(folds, of, strict=True)]
        once = isinstance(stop, int) and stop == 1  # needs no loop
        end = step(jnp.asarray(0), start) if once else jax.lax.fori_loop(0, stop, step, start)
        return structure.unflatten(
            [fold.finalize(m, like) for fold, m, like in zip(folds, end, of, strict=True)]
        )

    def _argument(self, key: int | str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> PyTree:
        if isinstance(key, str):
            if key in kwargs:
                return kwargs[key]
            raise TypeError(
                f"{self.owner}: the argument {key!r} has a batch axis and is not given by name; given are "
                f"{sorted(kwargs)}."
            )
        if 0 <= key < len(args):
            return args[key]
        raise TypeError(
            f"{self.owner}: the argument at position {key} has a batch axis; {len(args)} are given by "
            "position, from 0."
        )

    def _sizes(self, given: Mapping[int | str, PyTree], axes: Mapping[int | str, int]) -> tuple[int, int]:
        """How many rows a micro-batch has, and how many of them there are."""
        rows = {n for k, tree in given.items() for n in sizes(self.owner, tree, axes[k]).values()}
        if len(rows) != 1:
            raise MismatchError(
                f"{self.owner}: the batch axes must be of one size; they are of {sorted(rows)}."
            )
        (whole,) = rows
        if self.size is None:
            return whole, 1
        check_size(self.owner, self.size)
        check_divides(self.owner, self.size, whole)
        return self.size, whole // self.size

    def _stop(self, count: int) -> Any:
        """How many micro-batches to run; beyond the last the loop would take it again."""
        if self.size is None or self.stop is None:
            return count
        if not isinstance(self.stop, (int, np.integer)):
            return jnp.minimum(self.stop, count)
        if not 0 <= self.stop <= count:
            raise ValueError(
                f"{self.owner}(num_real_microbatches={self.stop}): there are {count} micro-batches of "
                f"{self.size} rows."
            )
        return int(self.stop)
