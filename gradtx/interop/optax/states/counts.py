"""A count beside what counts nothing, where Optax's state has one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

from gradtx import numerics
from gradtx.contract.reach import ENTRY
from gradtx.contract.transformation import GradientTransformation
from gradtx.interop.optax.states.codec import Codec, Way, codec_of, inward, known, outward
from gradtx.tree import PyTree

__all__ = ["CountedState", "counted", "counting"]


class CountedState(NamedTuple):
    """The number of updates, and the state of what makes them."""

    updates: jax.Array  # int32: how many
    inner: PyTree


class counted(GradientTransformation, reach=ENTRY):
    """A transformation that counts its updates, because Optax's state of it has their number."""

    inner: GradientTransformation

    def init(self, params: PyTree) -> CountedState:
        return CountedState(numerics.counter(), self.inner.init(params))

    def update(
        self, updates: PyTree, state: CountedState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, CountedState]:
        updates, inner = self.inner.update(updates, state.inner, params, **extra)
        return updates, CountedState(numerics.safe_increment(state.updates), inner)


class _Counted(Codec):
    def out(self, tx: counted, state: CountedState, way: Way) -> PyTree:
        way.counts.append(state.updates)
        return outward(tx.inner, state.inner, dataclasses.replace(way, count=state.updates))

    def back(self, tx: counted, state: PyTree, way: Way) -> PyTree:
        inner = inward(tx.inner, state, way)  # which says what is wrong with another state
        found: Any = next((_count(x) for x in _states(state) if _count(x) is not None), None)
        way.counts.append(found)
        return CountedState(found, inner)


known[counted] = _Counted()


def _count(state: Any) -> Any:
    """How many updates a state has counted; the schedule-free one begins with 1."""
    if "step_count" in state._fields:
        return state.step_count - 1
    return state.count if "count" in state._fields else None


def _states(node: PyTree) -> Iterator[Any]:
    """The states in a state that have names, the outer in front."""
    if isinstance(node, tuple):
        if hasattr(node, "_fields"):
            yield node
        for child in node:
            yield from _states(child)
    elif isinstance(node, dict):
        for child in node.values():
            yield from _states(child)


def counting(tx: GradientTransformation) -> GradientTransformation:
    """The transformation with a counter wherever Optax's state has one and gradtx's has none."""

    def held(x: object) -> bool:
        return isinstance(x, GradientTransformation) and x is not tx

    inside = [x for x in jax.tree.leaves(tx, is_leaf=held) if held(x)]
    new = [counting(x) for x in inside]
    if any(a is not b for a, b in zip(inside, new, strict=True)):
        each = iter(new)
        tx = jax.tree.map(lambda x: next(each) if held(x) else x, tx, is_leaf=held)
    return counted(tx) if codec_of(tx).lacks_count(tx) else tx
