"""Which axes of a leaf make up a matrix, and which leaves are matrices at all.

    None                                             the method's own rule: by the number of axes
    "kernel$"                                        these leaves, by their last two axes
    matrix_axes(0, (1, 2))                           these axes, in every leaf that has two or more
    by_path(("attention", matrix_axes(0, (1, 2))), (".*", None))
    a tree of matrix_axes and None, or a prefix of one; a function of the parameters that returns one

Axes that are neither rows nor columns are a batch: each matrix in it is treated by itself, so that a
leaf of stacked layers has the results of its layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax

from gradtx.contract.running import owner
from gradtx.rules.by_path import by_path, checked_pattern, is_function, select
from gradtx.rules.masks import Rule
from gradtx.tree import MismatchError, PyTree, leaf_names, quoted
from gradtx.values.kinds import Function, Integer
from gradtx.values.value import Value, static
from gradtx.values.wording import shown

__all__ = ["Axes", "Matrix", "as_matrix", "axes_of", "last_two", "matrix_axes", "only_two"]


class _AxisOrAxes:
    """A whole number, or a tuple of them."""

    def accept(self, owner: str, name: str, value: Any) -> int | tuple[int, ...]:
        if isinstance(value, (tuple, list)):
            return tuple(Integer().accept(owner, name, axis) for axis in value)
        return Integer().accept(owner, name, value)


AxisOrAxes = Annotated[Any, _AxisOrAxes()]


class matrix_axes(Value):
    """The axes of a weight that are the rows of a matrix, and those that are its columns.

    Optax's `MuonDimensionNumbers` and `GaLoreDimensionNumbers`, for both of which this is the name here;
    where this is expected those are taken as well.

    Source: none (a way to read an array as a matrix, not a method of optimization).

    Args:
        reduction_axis: the rows: the axis, or axes, over which x W sums. Negative ones count from the end.
        output_axis: the columns: the axis or axes that are left in x W.

    Raises:
        TypeError: an axis is not a whole number.
    """

    reduction_axis: AxisOrAxes = static(default=0)
    output_axis: AxisOrAxes = static(default=1)


def _is_axes(x: Any) -> bool:
    return isinstance(x, matrix_axes) or (hasattr(x, "reduction_axis") and hasattr(x, "output_axis"))


def _is_answer(x: Any) -> bool:
    return x is None or _is_axes(x)


class _AxesRule(Rule):
    """A field that tells matrices apart: see the module's docstring."""

    def __init__(self) -> None:
        super().__init__(matrix_axes, "matrix_axes")

    def accept(self, owner: str, name: str, value: Any) -> Any:
        def own(x: Any) -> Any:
            if x is None or isinstance(x, matrix_axes):
                return x
            if _is_axes(x):
                return matrix_axes(x.reduction_axis, x.output_axis)
            raise TypeError(
                f"{owner}: {name} must be matrix_axes, a tree of them and None, by_path rules that answer "
                f"with them, a function of the parameters, or a regular expression; it holds {shown(x)}."
            )

        if is_function(value):
            return Function(1).accept(owner, name, value)
        if isinstance(value, str):
            return checked_pattern(owner, name, value)
        if isinstance(value, by_path):
            return by_path(*((pattern, own(answer)) for pattern, answer in value.rules))
        return jax.tree.map(own, value, is_leaf=_is_answer)


Axes = Annotated[Any, _AxesRule()]
"""Which leaves are matrices, and by which axes: see `gradtx.matrices.axes`."""


class _Answer:
    """A leaf for `select`, which matches trees by path: jax does not count matrix_axes and None as leaves."""

    def __init__(self, axes: matrix_axes | None) -> None:
        self.axes = axes


def last_two(leaf: Any) -> matrix_axes | None:
    """The last two axes, where there are two: any axes in front are a batch."""
    return matrix_axes(-2, -1) if leaf.ndim >= 2 else None


def only_two(leaf: Any) -> matrix_axes | None:
    """Both axes, where there are just two."""
    return matrix_axes() if leaf.ndim == 2 else None


def axes_of(
    rule: Any, tree: PyTree, default: Callable[[Any], matrix_axes | None]
) -> list[matrix_axes | None]:
    """For each leaf of `tree` the axes that make it a matrix, or None.

    Args:
        rule: what a field of the kind `Axes` holds.
        tree: updates or parameters.
        default: the answer for a leaf where the rule is None.

    Raises:
        MismatchError: the rule does not fit the tree, or the axes a leaf; with the leaf's path.
    """
    leaves = jax.tree.leaves(tree)
    if rule is None:
        return [default(x) for x in leaves]
    if isinstance(rule, matrix_axes):
        found = [rule if x.ndim >= 2 else None for x in leaves]
    elif leaves:
        found = [x.axes for x in jax.tree.leaves(select(_answers(rule, tree), tree))]
    else:
        return []
    for leaf, axes, path in zip(leaves, found, leaf_names(tree), strict=True):
        if axes is not None:
            _layout(leaf, axes, path)
    return found


def _answers(rule: Any, tree: PyTree) -> Any:
    """The rule as one that `select` reads."""
    if isinstance(rule, str):
        return by_path((rule, _Answer(matrix_axes(-2, -1))), ("", _Answer(None)))
    if isinstance(rule, by_path):
        return by_path(*((pattern, _Answer(axes)) for pattern, axes in rule.rules))
    given = (
        Axes.__metadata__[0].accept(owner(), "what the function for the matrix_axes returns", rule(tree))
        if is_function(rule)
        else rule
    )
    return jax.tree.map(_Answer, given, is_leaf=_is_answer)


class _Layout(NamedTuple):
    batch: tuple[int, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]


def _layout(leaf: Any, axes: matrix_axes, name: str) -> _Layout:
    def own(given: Any) -> tuple[int, ...]:
        return tuple(range(leaf.ndim)[a] for a in (given if isinstance(given, tuple) else (given,)))

    try:
        rows, columns = own(axes.reduction_axis), own(axes.output_axis)
    except IndexError:
        rows = columns = ()
    if not rows or not columns or len({*rows, *columns}) < len(rows) + len(columns):
        raise MismatchError(
            f"the leaf at {quoted(name)} has shape {leaf.shape}, which {axes!r} makes no matrix."
        )
    batch = tuple(a for a in range(leaf.ndim) if a not in rows and a not in columns)
    return _Layout(batch, rows, columns)


class Matrix(NamedTuple):
    """A leaf as a matrix, or a batch of them, and the way back."""

    shape: tuple[int, ...]  # (..., rows, columns)
    of: Callable[[jax.Array], jax.Array]
    back: Callable[[jax.Array], jax.Array]


def as_matrix(leaf: Any, axes: matrix_axes) -> Matrix:
    """How a leaf is brought to the shape (..., rows, columns)."""
    layout = _layout(leaf, axes, "a leaf")
    order = (*layout.batch, *layout.rows, *layout.columns)
    sizes = tuple(leaf.shape[a] for a in order)
    inverse = tuple(order.index(a) for a in range(leaf.ndim))
    batch = tuple(leaf.shape[a] for a in layout.batch)
    flat = (*batch, *(math.prod(leaf.shape[a] for a in axes) for axes in (layout.rows, layout.columns)))
    if order == tuple(range(leaf.ndim)) and flat == leaf.shape:
        return Matrix(flat, lambda x: x, lambda x: x)
    return Matrix(
        flat,
        lambda x: x.transpose(order).reshape(flat),
        lambda x: x.reshape(sizes).transpose(inverse),
    )
