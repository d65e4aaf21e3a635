"""Trees of arrays: checked maps, dtypes that neither grow nor shrink, and leaves with names.

`None`, empty containers and Optax's `MaskedNode` are subtrees without leaves: they pass through
every function here, and no state is kept for them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx import numerics
from gradtx.dispatch import cond

__all__ = [
    "MismatchError",
    "PyTree",
    "cast_like",
    "check_like",
    "copied",
    "dot",
    "full_like",
    "global_norm",
    "inner",
    "is_finite",
    "leaf_paths",
    "map",
    "one_example",
    "paths",
    "real_dtype",
    "total",
    "totals",
    "unwrap_variables",
    "widen",
    "zeros_like",
    "zeros_of",
]

PyTree = Any


class MismatchError(ValueError):
    """Two trees that should fit each other do not; the message names the leaf.

    `owner` is the transformation that was called: the outermost one, as the error rises.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem, self.owner = problem, ""

    def __str__(self) -> str:
        return f"{self.owner}: {self.problem}" if self.owner else self.problem


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
    for other in rest:
        check_like(tree, other, what)
    return jax.tree.map(f, tree, *rest)


def check_like(tree: PyTree, other: PyTree, what: str) -> None:
    """Raise MismatchError unless `other` has the structure and the leaves' shapes of `tree`."""
    leaves, structure = jax.tree.flatten(tree)
    others, other_structure = jax.tree.flatten(other)
    if structure == other_structure and all(  # type: ignore[operator]  # jax has no stub for treedefs
        np.shape(a) == np.shape(b) for a, b in zip(leaves, others, strict=True)
    ):
        return
    mine, theirs = _shapes(tree), _shapes(other)
    for path in mine | theirs:
        if mine.get(path) != theirs.get(path):
            arrived, expected = (_described(t.get(path)) for t in (mine, theirs))
            raise MismatchError(
                f"the updates' tree differs from the {what} at {path or 'the root'}: {arrived} "
                f"against {expected}. Pass updates for the tree that init was called with."
            )
    raise MismatchError(
        f"the updates' tree has other containers than the {what}: {structure} against "
        f"{other_structure}. Their leaves agree: a tuple may have become a list on the way."
    )


def one_example(tree: PyTree) -> PyTree:
    """The shapes and dtypes of one example's leaves, of a tree whose leaves have a first axis of examples.

    Raises:
        MismatchError: a leaf has no such axis, or another number of examples; with its path.
    """
    others: list[tuple[str, int]] = []

    def first(path: Any, leaf: Any) -> jax.ShapeDtypeStruct:
        name, shape = jax.tree_util.keystr(path) or "the root", np.shape(leaf)
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
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): np.shape(leaf) for path, leaf in flat}


def _described(shape: tuple[int, ...] | None) -> str:
    return "nothing" if shape is None else f"shape {shape}"


def widen(tree: PyTree) -> PyTree:
    """Every leaf in at least float32; leaves that are wide already are returned as they are.

    Raises:
        MismatchError: a leaf holds integers or booleans, which have no gradient.
    """

    def wide(path: Any, leaf: Any) -> Any:
        dtype = jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise MismatchError(
                f"the updates at {jax.tree_util.keystr(path) or 'the root'} are {dtype.name}: "
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
        same = isinstance(x, jax.Array) and x.dtype == dtype and not jax.typeof(x).weak_type
        return x if same else jnp.asarray(x).astype(dtype)

    return jax.tree.map(cast, tree, like)


def full_like(tree: PyTree, value: Any, dtype: Any = None) -> PyTree:
    """An accumulator for `tree`: its structure and shapes, filled with `value`.

    Args:
        tree: the parameters, or a tree of placeholders without leaves.
        value: a number.
        dtype: of the accumulator; None is each leaf's own, at least float32.

    Raises:
        MismatchError: a leaf holds integers or booleans.
    """

    def start(path: Any, leaf: Any) -> jax.Array:
        own = jnp.result_type(leaf)
        _check_inexact(path, own)
        wanted = numerics.wide_dtype(own) if dtype is None else jnp.dtype(dtype)
        if isinstance(leaf, jax.Array):
            return jnp.full_like(leaf, value, dtype=wanted)  # keeps the leaf's sharding
        return jnp.full(np.shape(leaf), value, wanted)

    return jax.tree_util.tree_map_with_path(start, tree)


def _check_inexact(path: Any, dtype: Any) -> None:
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise MismatchError(
            f"the parameters at {jax.tree_util.keystr(path) or 'the root'} are {dtype.name}: "
            "expected floating-point or complex numbers. Keep integer leaves out with "
            "partition or masked."
        )


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
        MismatchError: a leaf is no array but its shape, which has no values; or it holds integers.
    """

    def copy(path: Any, leaf: Any) -> jax.Array:
        if isinstance(leaf, jax.ShapeDtypeStruct):
            raise MismatchError(
                "the state begins with a copy of the parameters, and "
                f"{jax.tree_util.keystr(path) or 'the root'} is a shape without values. "
                "For the shapes of the state call jax.eval_shape(tx.init, params)."
            )
        own = jnp.result_type(leaf)
        _check_inexact(path, own)
        return jnp.array(leaf, numerics.wide_dtype(own) if dtype is None else jnp.dtype(dtype), copy=True)

    return jax.tree_util.tree_map_with_path(copy, tree)


def zeros_of(tree: PyTree) -> PyTree:
    """New zeros in the place of a tree's arrays, with their dtypes: 0 · x would keep a NaN."""
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), tree)


def is_finite(tree: PyTree) -> jax.Array:
    """Whether every entry of every leaf is finite."""
    leaves = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)]
    return functools.reduce(jnp.logical_and, leaves, jnp.ones((), bool))


def real_dtype(tree: PyTree) -> Any:
    """The dtype of one real number about all leaves: the widest of theirs, and at least float32."""
    dtypes = [numerics.norm_dtype(x) for x in jax.tree.leaves(tree)]
    return functools.reduce(numerics.wider, dtypes) if dtypes else jnp.dtype(jnp.result_type(float))


def total(f: Callable[..., Any], tree: PyTree, *rest: PyTree) -> jax.Array:
    """The sum of f over the entries of all leaves: in float64 where x64 is enabled, else float32.

    Args:
        f: a function of one leaf of each tree, real and in at least float32.
        tree: a tree.
        rest: trees of the same structure.
    """
    return _added([jnp.sum(x) for x in jax.tree.leaves(jax.tree.map(f, tree, *rest))])


def totals(fs: tuple[Callable[..., Any], ...], tree: PyTree, *rest: PyTree) -> tuple[jax.Array, ...]:
    """The `total` of each function, over the same trees: on a GPU each leaf has one reduction for all.

    Once two reductions have read an array, XLA for GPU copies it before it is overwritten in their kernel;
    after one it does not. XLA for TPU stores what a reduction of tuples reads: elsewhere there is one each.

    Args:
        fs: functions of one leaf of each tree, real and in at least float32; all of one shape.
        tree: a tree.
        rest: trees of the same structure.
    """
    flat = [jax.tree.leaves(t) for t in (tree, *rest)]
    sums = [
        jax.lax.platform_dependent(
            *(f(*leaves) for f in fs), cuda=_at_once, rocm=_at_once, default=_one_by_one
        )
        for leaves in zip(*flat, strict=True)
    ]
    return tuple(_added([of[i] for of in sums]) for i in range(len(fs)))


def _one_by_one(*terms: jax.Array) -> tuple[jax.Array, ...]:
    return tuple(jnp.sum(x) for x in terms)


@jax.custom_jvp
def _at_once(*terms: jax.Array) -> tuple[jax.Array, ...]:
    def add(some: tuple[jax.Array, ...], more: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        return tuple(a + b for a, b in zip(some, more, strict=True))

    zeros = tuple(jnp.zeros((), x.dtype) for x in terms)
    return tuple(jax.lax.reduce(terms, zeros, add, tuple(range(terms[0].ndim))))


@_at_once.defjvp
def _tangents_at_once(terms: Any, tangents: Any) -> Any:
    """Of sums; jax differentiates no reduction of tuples."""
    return _at_once(*terms), _one_by_one(*tangents)


def _added(sums: list[jax.Array]) -> jax.Array:
    if not sums:
        return jnp.zeros((), float)
    # The barrier keeps XLA from adding them up anew in the kernel of each leaf that reads the total: of 100
    # leaves a step of `polyak_sgd` had 23,617 lines instead of 3,751.
    return jnp.sum(jax.lax.optimization_barrier(jnp.stack([x.astype(float) for x in sums])))


def dot(tree: PyTree, other: PyTree) -> jax.Array:
    """The inner product of two trees, in the dtypes of the first; real also where they are complex."""
    return total(inner, tree, other)


def inner(a: jax.Array, b: Any) -> jax.Array:
    """The terms of the inner product of two leaves, whose `total` is `dot`."""
    b = numerics.cast(b, a.dtype)
    return (a.conj() * b).real if jnp.issubdtype(a.dtype, jnp.complexfloating) else a * b


def global_norm(tree: PyTree) -> jax.Array:
    """The 2-norm of all leaves together, in at least float32; 0 for a tree without leaves.

    Finite wherever the norm itself is: where the squares overflow or vanish, they are summed
    again, divided by the largest entry (a second pass that runs only then).
    """
    leaves = [x.astype(numerics.wide_dtype(x.dtype)) for x in jax.tree.leaves(tree) if x.size]
    if not leaves:
        return jnp.zeros(())
    dtype = real_dtype(leaves)

    def total(scale: Any) -> Any:
        return sum(jnp.sum(numerics.abs_sq(numerics.times(x, scale))).astype(dtype) for x in leaves)

    def scaled(_: jax.Array) -> jax.Array:
        largest = jnp.stack([jnp.max(jnp.abs(x)).astype(dtype) for x in leaves]).max()
        usable = jnp.isfinite(largest) & (largest > 0)
        unit = jnp.where(usable, largest, jnp.ones_like(largest))
        # Two factors, because 1 / unit overflows where unit is subnormal.
        half = jax.lax.rsqrt(unit)
        sums = sum(
            jnp.sum(numerics.abs_sq(numerics.times(numerics.times(x, half), half))).astype(dtype)
            for x in leaves
        )
        return jnp.where(usable, unit * jnp.sqrt(sums), largest)

    plain = total(1.0)
    tiny = jnp.finfo(dtype).tiny * 1e7  # below this, squares have lost digits to underflow
    return cond((plain < jnp.inf) & (plain > tiny), jnp.sqrt, scaled, plain)


def paths(tree: PyTree) -> list[str]:
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
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        held = len(jax.tree.leaves(leaf))
        leaves.extend([name] * held)
        if not held:
            empty.append(name)
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
