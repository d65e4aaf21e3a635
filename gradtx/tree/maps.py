"""Maps over trees that fit each other, and trees like others, in dtypes that neither grow nor shrink."""

from __future__ import annotations

import builtins
import functools
import itertools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx import numerics
from gradtx.tree.paths import PyTree, leaf_names, quoted, where
from gradtx.tree.sharded import agreed, filled
from gradtx.values.wording import a_kind, shown

__all__ = [
    "MismatchError",
    "as_arrays",
    "averaged",
    "cast_like",
    "check_arrays",
    "check_like",
    "check_real",
    "copied",
    "full_like",
    "is_finite",
    "map",
    "one_example",
    "real_dtype",
    "widen",
    "zeros_like",
    "zeros_of",
]


class MismatchError(ValueError):
    """Two trees that should fit each other do not; the message names the leaf.

    `owner` is the transformation that was called: the outermost one, as the error rises.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem, self.owner = problem, ""

    def __str__(self) -> str:
        by_name = self.owner and not self.problem.startswith(self.owner)
        return f"{self.owner}: {self.problem}" if by_name else self.problem


def map(f: Callable[..., Any], tree: PyTree, *rest: PyTree, what: str = "state's") -> PyTree:  # noqa: A001
    """`jax.tree.map`, but a leaf that would silently broadcast is refused, with its path.

    Args:
        f: called with one leaf of each tree.
        tree: the updates.
        rest: trees of the same structure and shapes.
        what: whose tree `rest` is, for the message.

    Raises:
        MismatchError: a structure or a leaf's shape differs; the message has the leaf's path.
    """
    structure, leaves = together(tree, rest, what)
    # Not jax.tree.map: it flattens again, and its calls take as long as a small leaf's arithmetic.
    return jax.tree.unflatten(structure, list(builtins.map(f, *leaves)))


def averaged(tree: PyTree, mean: PyTree, weight: Any, *, what: str = "state's") -> PyTree:
    """mean + weight (tree - mean), leaf by leaf: one step of an exponential average; see numerics.lerp.

    Args:
        tree: the updates.
        mean: the average so far, of the same structure and shapes.
        weight: 1 - β.
        what: whose tree `mean` is, for the message.

    Raises:
        MismatchError: a structure or a leaf's shape differs; the message has the leaf's path.
    """
    structure, (new, old) = together(tree, (mean,), what)
    return jax.tree.unflatten(
        structure, list(builtins.map(numerics.lerp, old, new, itertools.repeat(weight)))
    )


def together(tree: PyTree, rest: tuple[PyTree, ...], what: str = "state's") -> tuple[Any, list[list[Any]]]:
    """The structure that all of the trees have, and the leaves of each; see `map`."""
    leaves, structure = jax.tree.flatten(tree)
    every = [leaves]
    for other in rest:
        there, other_structure = jax.tree.flatten(other)
        if structure != other_structure or _shapes_of(leaves) != _shapes_of(there):  # type: ignore[operator]
            check_like(tree, other, what)
        every.append(there)
    return structure, every


def check_like(tree: PyTree, other: PyTree, what: str) -> None:
    """Raise MismatchError unless `other` has the structure and the leaves' shapes of `tree`."""
    leaves, structure = jax.tree.flatten(tree)
    others, other_structure = jax.tree.flatten(other)
    same = structure == other_structure  # type: ignore[operator]  # jax has no stub for treedefs
    if same and _shapes_of(leaves) == _shapes_of(others):
        return
    mine, theirs = _shapes(tree), _shapes(other)
    for path in mine | theirs:
        if mine.get(path) != theirs.get(path):
            arrived, expected = (_described(t.get(path)) for t in (mine, theirs))
            raise MismatchError(
                f"the updates' tree differs from the {what} at {quoted(path)}: {arrived} "
                f"against {expected}. Pass updates for the tree that init was called with."
            )
    raise MismatchError(
        f"the updates' tree has other containers than the {what}: {structure} against "
        f"{other_structure}. Their leaves agree: a tuple may have become a list on the way."
    )


def _shapes_of(leaves: list[Any]) -> list[tuple[int, ...]]:
    try:
        return list(builtins.map(_SHAPE, leaves))  # without a call of Python's for each leaf at every step
    except AttributeError:  # NumPy's arrays, Python's numbers
        return list(builtins.map(np.shape, leaves))


_SHAPE = operator.attrgetter("aval.shape")  # in half of the time: a tracer's shape is a property of Python's


def one_example(tree: PyTree) -> PyTree:
    """The shapes and dtypes of one example's leaves, of a tree whose leaves have a first axis of examples.

    Raises:
        MismatchError: a leaf has no such axis, or another number of examples; with its path.
    """
    others: list[tuple[str, int]] = []

    def first(path: Any, leaf: Any) -> jax.ShapeDtypeStruct:
        name, shape = where(path, tree), np.shape(leaf)
        other, examples = others[0] if others else (name, shape[0] if shape else None)
        if not shape or shape[0] != examples:
            seen = f"{shape[0]} examples, not {examples} as {other}" if shape else "no axis"
            raise MismatchError(
                f"the leaf at {name} has {seen}: expected gradients of single examples, with a first axis "
                "of examples in every leaf, as jax.vmap(jax.grad(loss), (None, 0)) gives them."
            )
        others.append((name, shape[0]))
        return jax.ShapeDtypeStruct(shape[1:], jnp.result_type(leaf))

    return jax.tree_util.tree_map_with_path(first, tree)


def _shapes(tree: PyTree) -> dict[str, tuple[int, ...]]:
    return dict(zip(leaf_names(tree), builtins.map(np.shape, jax.tree.leaves(tree)), strict=True))


def _described(shape: tuple[int, ...] | None) -> str:
    return "nothing" if shape is None else f"shape {shape}"


def as_arrays(tree: PyTree) -> PyTree:
    """The tree with arrays in the place of Python's numbers; other leaves are returned as they are."""
    if not any(isinstance(x, (int, float, complex)) for x in jax.tree.leaves(tree)):
        return tree
    return jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, (int, float, complex)) else x, tree)


def check_arrays(tree: PyTree, inexact: bool = False) -> None:
    """Raise MismatchError where a parameter is not an array, nor stands for one: a function, a text.

    Args:
        tree: the parameters.
        inexact: also where it holds integers or booleans.
    """
    if not inexact and all(map(_is_array, jax.tree.leaves(tree))):
        return
    for path, x in jax.tree_util.tree_leaves_with_path(tree):
        if not _is_array(x):
            raise _no_array(path, x, tree)
        if inexact:
            _dtype_of(path, x, tree)


def _is_array(x: Any) -> bool:
    return isinstance(x, (int, float, complex)) or (
        hasattr(x, "shape") and not isinstance(x, (type, np.dtype))
    )


def _no_array(path: Any, leaf: Any, tree: PyTree) -> MismatchError:
    return MismatchError(
        f"the parameter at {where(path, tree)} is {a_kind(leaf)}, {shown(leaf)}: expected an array. Keep "
        "what is not trained out with partition or masked."
    )


def check_real(tree: PyTree, what: str) -> None:
    """Raise MismatchError where a leaf is complex, for what has no meaning there.

    Args:
        tree: parameters or updates.
        what: which of them, for the message.
    """
    if not any(jnp.iscomplexobj(x) for x in jax.tree.leaves(tree)):
        return
    for path, x in jax.tree_util.tree_leaves_with_path(tree):
        if jnp.iscomplexobj(x):
            raise MismatchError(
                f"the {what} at {where(path, tree)} are {jnp.result_type(x).name}, and this is for real "
                "numbers only. Put split_real_and_imaginary around it, or keep the leaf out "
                "with partition or masked."
            )


def widen(tree: PyTree) -> PyTree:
    """Every leaf in at least float32; leaves that are wide already are returned as they are.

    Raises:
        MismatchError: a leaf holds integers or booleans, which have no gradient.
    """

    def wide(path: Any, leaf: Any) -> Any:
        dtype = jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise MismatchError(
                f"the updates at {where(path, tree)} are {dtype.name}: "
                "expected floating-point or complex numbers. Keep integer leaves out with "
                "partition or masked, or take gradients of the floating-point leaves only."
            )
        target = numerics.wide_dtype(dtype)
        if isinstance(leaf, jax.Array) and dtype == target:
            return leaf
        return jnp.asarray(leaf, target)

    leaves = jax.tree.leaves(tree)
    if all(isinstance(x, jax.Array) and x.dtype in (jnp.float32, jnp.float64) for x in leaves):
        return tree
    return jax.tree_util.tree_map_with_path(wide, tree)


def cast_like(tree: PyTree, like: PyTree) -> PyTree:
    """Every leaf in the dtype of the leaf of `like` at its place, rounded once."""

    def cast(x: Any, target: Any) -> Any:
        dtype = target.dtype if isinstance(target, jax.Array) else jnp.result_type(target)
        # A weakly typed number that is kept would be another type, and a second trace.
        same = isinstance(x, jax.Array) and x.dtype == dtype and not x.weak_type
        return x if same else jnp.asarray(x).astype(dtype)

    return jax.tree.map(cast, tree, like)


def full_like(tree: PyTree, value: Any, dtype: Any = None) -> PyTree:
    """An accumulator for `tree`: its structure, shapes and shardings, filled with `value`.

    Args:
        tree: the parameters, or a tree of placeholders without leaves.
        value: a number.
        dtype: of the accumulator; None is each leaf's own, at least float32.

    Raises:
        MismatchError: a leaf holds integers or booleans.
    """

    def start(path: Any, leaf: Any) -> jax.Array:
        own = _dtype_of(path, leaf, tree)
        wanted = numerics.wide_dtype(own) if dtype is None else jnp.dtype(dtype)
        return filled(leaf, value, wanted)

    return jax.tree_util.tree_map_with_path(start, tree)


def _dtype_of(path: Any, leaf: Any, tree: PyTree) -> Any:
    """The dtype of a parameter, which is a floating-point or complex one."""
    if not _is_array(leaf):
        raise _no_array(path, leaf, tree)
    dtype = jnp.result_type(leaf)
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise MismatchError(
            f"the parameters at {where(path, tree)} are {dtype.name}: "
            "expected floating-point or complex numbers. Keep integer leaves out with "
            "partition or masked."
        )
    return dtype


def zeros_like(tree: PyTree, dtype: Any = None) -> PyTree:
    """An accumulator of zeros for `tree`; see full_like."""
    return full_like(tree, 0, dtype)


def copied(tree: PyTree, dtype: Any = None) -> PyTree:
    """A copy of the parameters in memory of its own, for a state that remembers where they were.

    Their own array would be donated twice, with the parameters and with the state.

    Args:
        tree: the parameters, or a tree of placeholders without leaves.
        dtype: of the copy; None is each leaf's own, at least float32.

    Raises:
        MismatchError: a leaf is a shape instead of an array, and has no values; or it holds integers.
    """

    def copy(path: Any, leaf: Any) -> jax.Array:
        if isinstance(leaf, jax.ShapeDtypeStruct):
            raise MismatchError(
                "the state begins with a copy of the parameters, and "
                f"{where(path, tree)} is a shape without values. "
                "For the shapes of the state call jax.eval_shape(tx.init, params)."
            )
        own = _dtype_of(path, leaf, tree)
        return jnp.array(leaf, numerics.wide_dtype(own) if dtype is None else jnp.dtype(dtype), copy=True)

    return jax.tree_util.tree_map_with_path(copy, tree)


def zeros_of(tree: PyTree) -> PyTree:
    """New zeros in the place of a tree's arrays, with their dtypes and shardings: 0 · x would keep a NaN."""
    return jax.tree.map(lambda x: filled(x, 0, x.dtype), tree)


def is_finite(tree: PyTree) -> jax.Array:
    """Whether every entry of every leaf is finite, under shard_map on all devices."""
    leaves = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)]
    here = functools.reduce(jnp.logical_and, leaves, jnp.ones((), bool))
    return agreed(here)


def real_dtype(tree: PyTree) -> Any:
    """The dtype of one real number about all leaves: the widest of theirs, and at least float32."""
    dtypes = [numerics.norm_dtype(x) for x in jax.tree.leaves(tree)]
    return functools.reduce(numerics.wider, dtypes) if dtypes else jnp.dtype(jnp.result_type(float))
