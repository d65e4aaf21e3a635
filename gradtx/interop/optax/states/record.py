"""What a transformation keeps itself: a state of one class."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gradtx.contract.facts import facts
from gradtx.contract.transformation import GradientTransformation
from gradtx.interop.optax.states.codec import Codec, Way, unfit
from gradtx.schedules.schedule import Schedule
from gradtx.tree import PyTree
from gradtx.tree.standins import MaskedNode
from gradtx.values.value import kept

__all__ = ["COUNT", "FIRST", "Also", "Record", "is_masked", "with_other_stand_ins"]

COUNT = object()
"""Stands for the number of updates, which Optax has once."""

FIRST = object()
"""Stands for whether there has been no update yet."""


class _Plan(NamedTuple):
    """Where the fields of Optax's state are in gradtx's."""

    places: dict[str, tuple[Any, ...]]  # Optax's field -> the way in gradtx's state
    steps: list[tuple[Any, ...]]  # where gradtx counts
    constants: list[tuple[Any, ...]]  # what follows from the transformation
    skeleton: PyTree


class Record(Codec):
    """A state of one class.

    Args:
        theirs: Optax's class.
        places: Optax's field -> the way to it in gradtx's state, where * is any part of it: `numerator*mean`;
            or COUNT, or FIRST. None is left out here.
    """

    def __init__(self, theirs: type, **places: Any) -> None:
        self.theirs, self._places = theirs, places
        self._plan_of = self._plan  # one object, which the plan is kept under

    def _plan(self, tx: GradientTransformation) -> _Plan | None:
        """Where everything is; None where Optax's state can't hold it all."""
        state = jax.eval_shape(tx.init, jax.ShapeDtypeStruct((), jnp.float32))
        if facts(tx).follows:
            state = state.inner
        nodes = [way for way, _ in _nodes(state, ())]
        places: dict[str, tuple[Any, ...]] = {}
        for name, pattern in self._places.items():
            if isinstance(pattern, str):
                places[name] = next(w for w in nodes if fnmatch.fnmatchcase(".".join(map(str, w)), pattern))
        leaves = [way for way, node in _nodes(state, ()) if not isinstance(node, tuple) and node is not None]
        left = [way for way in leaves if not any(way[: len(p)] == p for p in places.values())]
        steps = [way for way in left if way[-1] == "step"]
        constants = [way for way in left if way[-1] == "log"]
        changing = constants and any(isinstance(x, Schedule) for x in _decays(tx))
        if changing or len(steps) + len(constants) < len(left):
            return None
        return _Plan(places, steps, constants, state)

    def out(self, tx: Any, state: PyTree, way: Way) -> PyTree:
        plan = kept(self._plan_of, tx)
        if plan is None:
            return state
        new = {n: self._there(_get(state, p), optax.MaskedNode, way) for n, p in plan.places.items()}
        for name, place in self._places.items():
            if place is COUNT:
                new[name] = _get(state, plan.steps[0]) if plan.steps else way.count
                if plan.steps:
                    way.counts.append(new[name])
            elif place is FIRST:
                new[name] = _get(state, plan.steps[0]) == 0
            elif place is None:
                new[name] = None
        return self.theirs(**new)

    def back(self, tx: Any, state: PyTree, way: Way) -> PyTree:
        plan = kept(self._plan_of, tx)
        if plan is None:
            return state
        if not isinstance(state, self.theirs):
            if type(state) is type(plan.skeleton):
                return state  # gradtx's own
            raise unfit(state, self.theirs.__name__)
        new: dict[tuple[Any, ...], Any] = {
            p: self._there(getattr(state, n), MaskedNode, way) for n, p in plan.places.items()
        }
        count = next((getattr(state, n) for n, p in self._places.items() if p is COUNT), None)
        if count is not None and plan.steps:
            way.counts.append(count)
            new |= dict.fromkeys(plan.steps, count)
        elif plan.steps:
            first = next(getattr(state, n) for n, p in self._places.items() if p is FIRST)
            new |= dict.fromkeys(plan.steps, jnp.where(first, 0, 1).astype(jnp.int32))
        if plan.constants:
            start = tx.init(jnp.zeros(()))
            start = start.inner if facts(tx).follows else start
            new |= {place: _get(start, place) for place in plan.constants}
        return _put(plan.skeleton, (), new)

    def _there(self, tree: PyTree, stand_in: Any, way: Way) -> PyTree:
        return with_other_stand_ins(tree, stand_in) if way.masked else tree

    def lacks_count(self, tx: Any) -> bool:
        plan = kept(self._plan_of, tx)
        return COUNT in self._places.values() and plan is not None and not plan.steps


def _decays(tx: GradientTransformation) -> Iterator[Any]:
    for field in dataclasses.fields(tx):
        if field.name not in ("learning_rate", "rate"):
            held = getattr(tx, field.name)
            yield from held if isinstance(held, tuple) else (held,)


def _nodes(node: PyTree, way: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], PyTree]]:
    """Every node of a state and the way to it, what holds others in front of them."""
    if way:
        yield way, node
    if isinstance(node, tuple):
        for key, child in zip(getattr(node, "_fields", range(len(node))), node, strict=True):
            yield from _nodes(child, (*way, key))


def _get(node: PyTree, way: tuple[Any, ...]) -> PyTree:
    for key in way:
        node = node[key] if isinstance(key, int) else getattr(node, key)
    return node


def _put(node: PyTree, way: tuple[Any, ...], new: Mapping[tuple[Any, ...], Any]) -> PyTree:
    """The skeleton with everything in its place."""
    if way in new:
        return new[way]
    if not isinstance(node, tuple):
        return node
    keys = getattr(node, "_fields", range(len(node)))
    children = [_put(child, (*way, key), new) for key, child in zip(keys, node, strict=True)]
    return type(node)(*children) if hasattr(node, "_fields") else tuple(children)


def with_other_stand_ins(tree: PyTree, make: Any) -> PyTree:
    """A tree with something else in the place of every leaf that is left out.

    Args:
        tree: gradtx's or Optax's.
        make: what to put there.
    """
    return jax.tree.map(lambda x: make() if is_masked(x) else x, tree, is_leaf=is_masked)


def is_masked(x: object) -> bool:
    """Whether this stands for a leaf that is left out."""
    return isinstance(x, (MaskedNode, optax.MaskedNode))


class Also(Codec):
    """A record, and a function of its state for each direction."""

    def __init__(self, record: Record, out: Any, back: Any) -> None:
        self._record, self._out, self._back = record, out, back

    def out(self, tx: Any, state: PyTree, way: Way) -> PyTree:
        new = self._record.out(tx, state, way)
        return self._out(tx, new) if isinstance(new, self._record.theirs) else new

    def back(self, tx: Any, state: PyTree, way: Way) -> PyTree:
        theirs = isinstance(state, self._record.theirs)
        return self._record.back(tx, self._back(tx, state) if theirs else state, way)

    def lacks_count(self, tx: Any) -> bool:
        return self._record.lacks_count(tx)
