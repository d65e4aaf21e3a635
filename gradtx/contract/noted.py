"""The types of a state: its leaves have the shapes and dtypes that `init` gave them for such parameters.

A leaf of another shape would be broadcast, one of another dtype would be kept so for ever. `init` notes the
types on the transformation, so that an update compares lists; a state from elsewhere is compared with what
`init` would make, which is traced once for each kind of parameters.
"""

from __future__ import annotations

import contextlib
import contextvars
import operator
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradtx import tree
from gradtx.contract.mirror import flat
from gradtx.contract.protocol import Transformation
from gradtx.tree import MismatchError, PyTree
from gradtx.values.value import Value, kept

__all__ = ["any_state", "check_state", "note_state"]

# By way of `aval` in half of the time: a tracer's shape is a property of Python's.
_WIDE = {jnp.dtype("float32"), jnp.dtype("float64")}
_SHAPE, _DTYPE = operator.attrgetter("aval.shape"), operator.attrgetter("aval.dtype")


class _Types(NamedTuple):
    """Shapes and dtypes of a tree's leaves."""

    structure: Any
    shapes: list[tuple[int, ...]]
    dtypes: list[Any]

    @classmethod
    def of(cls, tree: PyTree) -> _Types:
        leaves, structure = flat(tree)
        try:
            return cls(structure, list(map(_SHAPE, leaves)), list(map(_DTYPE, leaves)))
        except AttributeError:  # NumPy's arrays, Python's numbers
            return cls(structure, list(map(np.shape, leaves)), [_dtype(x) for x in leaves])


class _Noted(NamedTuple):
    """What `init` made of parameters of these types."""

    params: _Types
    x64: bool  # whether jax had 64-bit types
    state: _Types


_MOST = 16  # kinds of parameters of which a transformation notes the state: one is usual


def _no_notes(tx: Value) -> list[_Noted]:
    return []


_any_state: contextvars.ContextVar[bool] = contextvars.ContextVar("any_state", default=False)


@contextlib.contextmanager
def any_state() -> Iterator[None]:
    """Meanwhile a state may have leaves of other shapes and dtypes: to see what an update makes of them."""
    token = _any_state.set(True)
    try:
        yield
    finally:
        _any_state.reset(token)


def note_state(tx: Transformation, params: PyTree, state: PyTree) -> None:
    """Note the types of a state that `init` has made."""
    try:
        noted = _Noted(_Types.of(params), _x64(), _Types.of(state))
    except TypeError:  # leaves that are no arrays: such an init has its own words
        return
    notes = _notes(tx)
    if noted.params.shapes and noted not in notes:
        notes.append(noted)
        del notes[:-_MOST]


def _notes(tx: Transformation) -> list[_Noted]:
    value: Any = tx
    return kept(_no_notes, value)


def _x64() -> bool:
    return bool(jnp.result_type(float) == jnp.float64)


def check_state(tx: Transformation, state: PyTree, updates: PyTree, params: PyTree | None) -> None:
    """Raise MismatchError where a leaf of the state has another shape or dtype than `init` made.

    A state of other containers is left to whoever reads it. Without parameters, the dtypes that `init` saw
    are not known: a state is then compared with what was noted for leaves of these shapes, if anything. One
    that was made here while jax had 64-bit types goes on where it has none, and the other way round.

    Args:
        tx: the transformation.
        state: its state.
        updates: as it sees them.
        params: as it sees them, or None.
    """
    try:
        arrived, like = _Types.of(state), _Types.of(updates if params is None else params)
    except TypeError:
        return
    notes, x64 = _notes(tx), _x64()
    found = [n for n in notes if _fits(n, like, params is not None)]
    if params is not None and not any(n.x64 == x64 for n in found):
        try:
            note_state(tx, params, jax.eval_shape(tx.init, params))
        except Exception:  # an init that needs numbers; what is wrong shows where it is used
            return
        found = [n for n in notes if _fits(n, like, True)]
    wrong: list[tuple[int, _Noted]] = []
    for n in found:
        if n.state.shapes == arrived.shapes and n.state.dtypes == arrived.dtypes:
            return
        same: Any = n.state.structure == arrived.structure
        if not same:
            return
        at = next(_differences(arrived, n.state, state), None)
        if at is None:
            return
        wrong.append((at, n))
    if wrong and not _any_state.get():
        at, n = next((w for w in wrong if w[1].x64 == x64), wrong[-1])
        path = jax.tree_util.tree_leaves_with_path(state)[at][0]
        raise MismatchError(
            f"the state's leaf at {tree.quoted(tree.name(path, 'state'))} is "
            f"{_described(arrived, at)}, expected {_described(n.state, at)}, as init makes it for these "
            "parameters. Hand on the state that init or the last update returned; restore one with its own "
            "shapes and dtypes, or make it fit with resume(tx, state, params)."
        )


def _fits(noted: _Noted, like: _Types, dtypes: bool) -> bool:
    if noted.params.shapes != like.shapes or (dtypes and noted.params.dtypes != like.dtypes):
        return False
    return bool(noted.params.structure == like.structure)


def _differences(arrived: _Types, expected: _Types, state: PyTree) -> Iterator[int]:
    """The numbers of the leaves that differ.

    A Python number stands for any array that can hold it, and so does a hyperparameter that was set by hand.
    The memory of a stateful hyperparameter is its own.
    """
    for i, (path, leaf) in enumerate(jax.tree_util.tree_leaves_with_path(state)):
        own, wanted = _dtype(leaf), _dtype_of(expected.dtypes[i])
        if arrived.shapes[i] != expected.shapes[i]:
            yield i
        elif own != wanted:
            words = {_word(key) for key in path}
            set_there = "hyperparams" in words and {own, wanted} <= _WIDE  # by x64, or without
            by_hand = isinstance(leaf, (int, float)) or "hyperparams" in words
            whole = jnp.issubdtype(own, jnp.integer) and jnp.issubdtype(wanted, jnp.inexact)
            if not set_there and not (by_hand and whole) and "hyperparams_states" not in words:
                yield i


def _word(key: Any) -> Any:
    return getattr(key, "name", getattr(key, "key", None))


def _dtype(x: Any) -> Any:
    """The dtype that an array has in jax: of NumPy's double where there are no 64 bits, single."""
    dtype = getattr(x, "dtype", None)
    return jnp.result_type(x) if dtype is None else _dtype_of(dtype)


def _dtype_of(dtype: Any) -> Any:
    known = isinstance(dtype, np.dtype) and dtype.kind in "iufc"
    return jax.dtypes.canonicalize_dtype(dtype) if known else dtype


def _described(types: _Types, at: int) -> str:
    return f"{types.dtypes[at]}[{','.join(map(str, types.shapes[at]))}]"
