"""What a transformation is made of, and what each piece of it keeps: asked of `init`, which runs abstractly.

No array is made. A piece keeps those leaves of its state that it does not have from the pieces in it.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from gradtx.contract.boundary import InitCall, init_calls
from gradtx.contract.runtime import HyperparamsState
from gradtx.contract.transformation import GradientTransformation
from gradtx.tree import PyTree
from gradtx.tree import name as name_of
from gradtx.values.value import Value

__all__ = ["Array", "Kept", "Piece", "held", "nbytes", "pieces"]


class Array(NamedTuple):
    """An array that is not there: how many entries it has, and of how many bytes."""

    size: int
    itemsize: int

    @property
    def nbytes(self) -> int:
        """What it takes."""
        return self.size * self.itemsize


class Kept(NamedTuple):
    """One field of a state."""

    name: str
    arrays: tuple[Array, ...]
    paths: tuple[str, ...]  # where in the field each stands: a leaf's path, where it mirrors the parameters

    @property
    def nbytes(self) -> int:
        """What it takes."""
        return sum(array.nbytes for array in self.arrays)


class Piece(NamedTuple):
    """A transformation in a composition."""

    label: str  # what the piece around it calls it; '' where it has a place and no name
    value: Any
    keeps: tuple[Kept, ...]  # of its own
    parts: tuple[Piece, ...]
    counted: bool = True  # or its state is that of the piece around it, which maps it over layers

    @property
    def kept(self) -> list[Kept]:
        """What it and its parts keep."""
        return [*self.keeps, *(kept for part in self.parts for kept in part.kept)]


_NAMES = (jax.tree_util.GetAttrKey, jax.tree_util.DictKey)


def nbytes(leaf: Any) -> Array:
    """The size of an array, of its shape and dtype, or of a tracer."""
    dtype = leaf.dtype if hasattr(leaf, "dtype") else np.dtype(np.result_type(leaf))
    return Array(int(np.prod(np.shape(leaf), dtype=object)), dtype.itemsize)


def pieces(tx: GradientTransformation, params: PyTree) -> Piece:
    """The composition of `tx` as a tree, with what each piece keeps for these parameters.

    Args:
        tx: a transformation.
        params: the parameters, or their shapes and dtypes.
    """
    found: list[Piece] = []

    def init(params: PyTree) -> Any:
        with init_calls() as calls:
            state = tx.init(params)
        found.append(_piece("", tx, calls[-1], counted=True))
        return state

    jax.eval_shape(init, params)
    return found[-1]


def held(value: Value) -> list[tuple[str, Value]]:
    """The transformations in a value, or a composite's expansion: what each is called, and itself."""
    if isinstance(value, GradientTransformation) and value.is_composite:
        return [("", value.made_of()[0])]
    found: list[tuple[str, Value]] = []
    for field in dataclasses.fields(value):
        inside = getattr(value, field.name)
        if isinstance(inside, Mapping):
            found += [(str(name), x) for name, x in inside.items()]
        elif isinstance(inside, (tuple, list)):
            found += [("", x) for x in inside]
        else:
            found.append((field.name, inside))
    return [(name, x) for name, x in found if isinstance(x, GradientTransformation)]


def _piece(label: str, value: Any, call: InitCall, counted: bool) -> Piece:
    """The piece for one call of `init`: `value` as it was written; `call.tx` has numbers for schedules."""
    mine = {id(leaf) for leaf in jax.tree.leaves(call.state)}
    # Under vmap a part's own leaves are others than those in the state around it, which count for its holder.
    there = [counted and all(id(x) in mine for x in jax.tree.leaves(made.state)) for made in call.inner]
    own = _own(call, there) if counted else ()
    if isinstance(call.state, HyperparamsState) and [type(c.tx) for c in call.inner] == [type(call.tx)]:
        same = _piece(label, value, call.inner[0], there[0])  # itself, with the schedules looked up
        return same._replace(keeps=(*own, *same.keeps))
    written = held(value)
    parts = []
    for made, is_there in zip(call.inner, there, strict=True):
        at = next((i for i, (_, x) in enumerate(written) if type(x) is type(made.tx)), None)
        name, part = ("", made.tx) if at is None else written.pop(at)
        parts.append(_piece(name, part, made, is_there))
    return Piece(label, value, own, tuple(parts), counted)


def _own(call: InitCall, there: list[bool]) -> tuple[Kept, ...]:
    """The leaves of a state that are of none of its parts, by field."""
    parts = [made.state for made, is_there in zip(call.inner, there, strict=True) if is_there]
    theirs = collections.Counter(id(leaf) for leaf in jax.tree.leaves(parts))
    fields: dict[str, list[tuple[str, Array]]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(call.state):
        if theirs[id(leaf)] > 0:
            theirs[id(leaf)] -= 1
            continue
        at = next((i for i, key in enumerate(path) if isinstance(key, _NAMES)), None)
        name = "state" if at is None else str(getattr(path[at], "name", None) or path[at].key)
        rest = path if at is None else path[at + 1 :]
        fields.setdefault(name, []).append((name_of(rest), nbytes(leaf)))
    return tuple(
        Kept(name, tuple(array for _, array in leaves), tuple(path for path, _ in leaves))
        for name, leaves in fields.items()
    )
