"""One training step, compiled so that it copies nothing.

A step takes parameters and state, and returns new ones of the same shapes. If the old ones are
*donated*, XLA writes the new ones into their memory: an optimizer then needs no more memory than
its state, and moves no byte twice. There is a trap: `jax.jit` gives the k-th donated array of a
shape and dtype to the k-th output of that shape and dtype, in flattening order and whatever the
names are.

    step(params, state, grads) -> (params, state)   donate_argnums=(0, 1)   copies nothing
    step(grads, state, params) -> (params, state)   donate_argnums=(1, 2)   m's memory goes to params,
                                                                            v's to m, params' to v

The second computes the same, and for AdamW copies two of the three arrays on a GPU (44 bytes per
parameter instead of 28) and moves 72 instead of 40 on a CPU. `make_step` has the first order, and
`gradtx.needless_copies` finds the second in a step that you wrote yourself.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import jax

from gradtx.contract.facts import read_by
from gradtx.contract.foreign import as_transformation
from gradtx.contract.transformation import GradientTransformation
from gradtx.tree import PyTree, name, quoted
from gradtx.tree.updates import apply_updates
from gradtx.values.value import first_of_equal, kept

__all__ = ["make_step", "make_train_step"]


def make_step(tx: GradientTransformation) -> Callable[..., tuple[PyTree, PyTree]]:
    """A compiled `(params, state, grads, **extra) -> (params, state)` that copies nothing.

    The parameters and the state that go in are donated: use those that come out, and copy before
    the call what is needed after it. Equal transformations get the same function as long as one of them is
    held, so that building one anew compiles nothing anew.

        step = gradtx.make_step(tx)
        params, state = step(params, tx.init(params), grads)

    Args:
        tx: the optimizer; its numbers become constants of the program.

    Returns:
        A function made by `jax.jit`. Extra arguments of `tx.update` are passed by name, as arrays.

    Raises:
        TypeError: `tx` is not a transformation.
        ValueError: when it is called: two leaves are one array.

    Examples:
        >>> tx, params = gradtx.sgd(0.5), jnp.ones(2)
        >>> params, state = gradtx.make_step(tx)(params, tx.init(params), jnp.ones(2))
        >>> params
        Array([0.5, 0.5], dtype=float32)
    """
    return kept(_step, first_of_equal(_checked("make_step", tx)))


def make_train_step(
    loss: Callable[..., Any], tx: GradientTransformation, has_aux: bool = False
) -> Callable[..., tuple[PyTree, PyTree, Any]]:
    """A compiled `(params, state, *batch) -> (params, state, loss)` that copies nothing.

    The parameters and the state that go in are donated, the batch is not. The optimizer gets the
    loss, its gradient and the loss function as `value`, `grad` and `value_fn` if it reads them; the function
    also as `obj_fn`, and its gradient's as `grad_fn`. Integers among the parameters, which `masked` or
    `partition` keep out, stay as they are.

        step = gradtx.make_train_step(lambda params, x, y: ((model(params, x) - y) ** 2).mean(), tx)
        for x, y in batches:
            params, state, value = step(params, state, x, y)

    Args:
        loss: `(params, *batch)` -> the loss, a number. Hold on to the step, or pass the same function each
            time: a new lambda is compiled anew. A step that nobody holds is forgotten, with its program.
        tx: the optimizer; its numbers become constants of the program.
        has_aux: whether `loss` returns `(loss, more)`; the step then returns that pair.

    Raises:
        TypeError: `tx` is not a transformation.
    """
    key = loss, first_of_equal(_checked("make_train_step", tx)), has_aux
    try:
        step = _train_steps.get(key)
    except TypeError:  # an array among the numbers of tx
        return _train_step(*key)
    if step is None:
        step = _train_steps[key] = _train_step(*key)
    return step


def _step(tx: Any) -> Step:
    def step(params: PyTree, state: PyTree, grads: PyTree, **extra: Any) -> tuple[PyTree, PyTree]:
        updates, state = tx.update(grads, state, params, **extra)
        return apply_updates(params, updates), state

    return Step(step, "parameters", "state", "gradients")


def _train_step(loss: Callable[..., Any], tx: GradientTransformation, has_aux: bool) -> Step:
    def step(params: PyTree, state: PyTree, *batch: Any) -> tuple[PyTree, PyTree, Any]:
        def value_fn(params: PyTree) -> jax.Array:
            return loss(params, *batch)[0] if has_aux else loss(params, *batch)

        def grad_fn(params: PyTree, i: int) -> PyTree:
            return jax.grad(value_fn, allow_int=True)(params)

        result, grads = jax.value_and_grad(loss, has_aux=has_aux, allow_int=True)(params, *batch)
        value = result[0] if has_aux else result
        extra = {"value": value, "grad": grads, "value_fn": value_fn, "obj_fn": value_fn, "grad_fn": grad_fn}
        extra = read_by(tx, extra)
        updates, state = tx.update(grads, state, params, **extra)
        return apply_updates(params, updates), state, result

    return Step(step, "parameters", "state", "batch")


def _checked(owner: str, tx: Any) -> GradientTransformation:
    # What stands for a value may keep its state in another form: it says what runs then.
    return as_transformation(owner, "tx", getattr(tx, "__gradtx_runs__", tx))


_train_steps: weakref.WeakValueDictionary[Any, Step] = weakref.WeakValueDictionary()
"""(loss, optimizer, has_aux) -> the step, as long as somebody holds it: it holds what they hold."""


class Step:
    """A function made by `jax.jit`, which says which leaves it was given are one array.

    It has the attributes of that function: `lower`, `trace`, `eval_shape`.
    """

    __slots__ = ("__weakref__", "_jitted", "_places")

    def __init__(self, function: Callable[..., Any], *places: str) -> None:
        self._jitted = jax.jit(function, donate_argnums=(0, 1))
        self._places = places

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._jitted(*args, **kwargs)
        except Exception as error:
            if "donate" in str(error):  # in the words of XLA, which knows them by numbers
                _check_tied(self._places, args)
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._jitted, name)


def _check_tied(places: tuple[str, ...], args: tuple[Any, ...]) -> None:
    """Raise ValueError where one array is at two places: its memory can be given away only once."""
    seen: dict[Any, str] = {}
    for (root, *rest), leaf in jax.tree_util.tree_leaves_with_path(args):
        if not isinstance(leaf, jax.Array):
            continue
        which = places[min(root.idx, len(places) - 1)]
        place = f"the {which} at {quoted(name(rest))}"
        try:
            buffer = leaf.unsafe_buffer_pointer()
        except Exception:  # in pieces on several devices, or deleted
            buffer = id(leaf)
        if buffer in seen:
            raise ValueError(
                f"{seen[buffer]} and {place} are one array, whose memory can be given away only once. Keep "
                "tied parameters as one leaf that the loss uses twice, or hand over copies, "
                "jax.tree.map(jnp.copy, params), which are then trained apart."
            )
        seen[buffer] = place
