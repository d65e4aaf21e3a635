"""One trace per shape, instead of one per leaf.

A transformation is *leafwise* if each leaf's update depends on that leaf alone, and on scalars
such as the step: Adam is, a clip by the global norm is not. Such a transformation is traced once
for each shape and dtype that occurs, under a nested `jit`, and called for every leaf; XLA inlines
the calls, so the compiled program is the same. What depends on the counters alone is computed once
for all leaves. With a thousand leaves that is a quarter of the time to trace and lower.

The programs of one update are forgotten when it ends. What a trace depends on besides its arguments
(named axes and their sizes, the mesh, jax's settings, what a function closes over) is then the same for
all leaves that share a program, and nothing has to be compared to know it.

To run a transformation on one leaf, its state is split: where `init` puts a tree that mirrors the
parameters, the leaf's entry; elsewhere (counters) the whole. `init` on a `Hole` tells the two apart.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.tree_util import PyTreeDef

from gradtx.contract.facts import facts
from gradtx.contract.hoist import Hoisted, hoist
from gradtx.contract.mirror import flat, mirror_of
from gradtx.contract.protocol import Transformation
from gradtx.contract.running import Frame
from gradtx.tree import MismatchError, PyTree
from gradtx.values.value import Value

__all__ = ["update_each"]


LEAVES_PER_SHAPE = 8
"""With fewer leaves of a shape, on average, its program costs more time than it saves: measured for AdamW."""


def update_each(
    frame: Frame, updates: PyTree, state: PyTree, params: PyTree | None
) -> tuple[PyTree, PyTree] | None:
    """The update of what is running leaf by leaf, or None where that does not apply.

    It applies while tracing, where shapes repeat, and if the state fits: a state that does not is left
    to the ordinary path, which says what is wrong with it.

    Args:
        frame: the call that is running, of a leafwise transformation.
        updates: in at least float32.
        state: the state of the transformation.
        params: the parameters, of the structure of `updates`, or None.
    """
    leaves, structure = flat(updates)
    if len(leaves) < max(LEAVES_PER_SHAPE, 2):
        return None
    tx = frame.tx
    mirror = mirror_of(tx)
    try:
        parts = mirror.split(state, structure)
    except ValueError:
        return None
    numbers, without_numbers = _arrays_apart(tx)
    shared, shared_structure = flat(
        (numbers, [x for x, m in zip(parts, mirror.mirrors, strict=True) if not m])
    )
    each_param = [None] * len(leaves) if params is None else jax.tree.leaves(params)
    each = [
        flat((u, p, mirror.own(parts, i))) for i, (u, p) in enumerate(zip(leaves, each_param, strict=True))
    ]
    kinds: dict[
        tuple[tuple[object, ...], PyTreeDef], list[int]
    ] = {}  # types and structure -> the leaves that have them
    for i, (own, own_structure) in enumerate(each):
        kinds.setdefault((_types(own), own_structure), []).append(i)
    if len(leaves) < LEAVES_PER_SHAPE * len(kinds):
        return None

    def one(own_structure: PyTreeDef, own: list[PyTree], shared: list[PyTree]) -> tuple[PyTree, PyTree]:
        numbers, common = jax.tree.unflatten(shared_structure, shared)
        whole = (
            without_numbers if isinstance(without_numbers, Value) else without_numbers.with_arrays(numbers)
        )
        update, param, mine = jax.tree.unflatten(own_structure, own)
        known = facts(whole)  # type: ignore[arg-type]
        before = frame.runs, frame.parts
        frame.runs, frame.parts = known.runs, known.parts
        try:
            new, state = known.run(known.runs, update, mirror.assemble(mine, common), param)
        finally:
            frame.runs, frame.parts = before  # with tracers of this trace in them, nothing of it may stay
        mine, common = mirror.take_apart(state)
        return (new, mine), common

    plans: list[_Plan] = []
    frame.each = False
    try:
        for (types, own_structure), alike in kinds.items():
            frame.leaf = updates, alike[0]
            plan = _plan(functools.partial(one, own_structure), types, _types(shared))
            if plan is None:
                return None
            plans.append(plan)
    except MismatchError:
        return None  # the ordinary path names the leaf
    finally:
        frame.each, frame.leaf = True, None
    results: list[PyTree] = [None] * len(leaves)
    counters: list[PyTree] = []
    for plan, alike in zip(plans, kinds.values(), strict=True):
        passed, after = plan.split.once(shared)
        counters = jax.tree.unflatten(plan.shared_results, after)
        for i in alike:
            results[i] = jax.tree.unflatten(plan.results, plan.split.each(each[i][0], passed))
    parts = mirror.gather([kept for _, kept in results], counters)
    return structure.unflatten([new for new, _ in results]), mirror.join(parts, structure)


Types = tuple[PyTree, ...]
"""The types of arrays, as jax.typeof returns them."""


class _Plan(NamedTuple):
    split: Hoisted
    results: PyTreeDef  # structure of a leaf's results
    shared_results: PyTreeDef


def _plan(
    one: Callable[[list[PyTree], list[PyTree]], tuple[PyTree, PyTree]],
    own: Types,
    shared: Types,
) -> _Plan | None:
    """The program for leaves of these types.

    Args:
        one: the arrays of a leaf and what all leaves share -> the leaf's results, and what all share then.
        own: types of the leaf's arrays.
        shared: types of what all leaves share.
    """
    structures: list[PyTree] = []

    def lists(own: list[PyTree], shared: list[PyTree]) -> tuple[list[PyTree], list[PyTree]]:
        (results, structure), (counters, shared_structure) = map(flat, one(own, shared))
        structures[:] = [structure, shared_structure]
        return results, counters

    split = hoist(lists, list(own), list(shared))
    return None if split is None else _Plan(split, *structures)


def _types(values: list[PyTree]) -> Types:
    return tuple(jax.typeof(x) for x in values)


class _WithoutArrays(NamedTuple):
    """A transformation whose arrays are given to the program. Python numbers stay: they are float64."""

    structure: PyTreeDef
    rest: tuple[object, ...]  # its numbers; None where there is an array

    def with_arrays(self, arrays: list[PyTree]) -> Any:
        following = iter(arrays)
        return jax.tree.unflatten(self.structure, [next(following) if x is None else x for x in self.rest])


def _arrays_apart(tx: Transformation) -> tuple[list[PyTree], Any]:
    numbers, structure = flat(tx)
    arrays = [isinstance(x, jax.Array) for x in numbers]
    if not any(arrays):
        return [], tx
    rest = tuple(None if is_array else x for x, is_array in zip(numbers, arrays, strict=True))
    return [x for x, is_array in zip(numbers, arrays, strict=True) if is_array], _WithoutArrays(
        structure, rest
    )
