"""Hyperparameters that are known only while training runs: schedules, levels that follow what training
reports, and numbers that are set from outside.

A transformation is a pytree, and its numbers and schedules are nodes in it. Where there is one that has
to be looked up, the outermost transformation keeps a `HyperparamsState`, and every `update` first
puts the current numbers in place:

    numbers set from outside  ->  levels that follow a report  ->  schedules, at the current step

What is then run holds numbers only, so that no transformation has to know of schedules.

A transformation with `own_clock`, which may skip the updates of what it holds, counts for itself: what
it holds looks up its own schedules.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import PyTreeDef

from gradtx import numerics
from gradtx.contract.clock import inside
from gradtx.contract.extras import reports
from gradtx.contract.names import named
from gradtx.contract.protocol import Transformation, is_transformation
from gradtx.contract.running import as_part
from gradtx.schedules.schedule import Adaptive, Schedule, known_level, read
from gradtx.tree import PyTree
from gradtx.tree.paths import name
from gradtx.values.kinds import as_looked_up
from gradtx.values.value import Value

__all__ = [
    "HyperparamsState",
    "advance",
    "at_step",
    "begin",
    "check_numbers",
    "held_in",
    "hyperparameters_of",
    "later",
    "levels_of",
    "numbers_of",
    "with_held",
]


class HyperparamsState(NamedTuple):
    """Around the state of the outermost transformation, if there are hyperparameters to look up."""

    step: jax.Array  # int32: how many updates have been made, and where the schedules are read
    hyperparams: dict[str, jax.Array]  # name -> number, of those that `tunable` chose
    scheduled: dict[str, jax.Array]  # name -> what the schedule said at the last update
    memory: dict[str, PyTree]  # name -> the state of a level that follows what training reports
    inner: PyTree  # the transformation's own state


def numbers_of(tx: Transformation) -> dict[str, PyTree]:
    """Every number in `tx` by its name: those in schedules too."""
    return {name: x for name, x in _named(tx, lambda x: False)[0] if not isinstance(x, Value)}


def hyperparameters_of(tx: Transformation) -> list[str]:
    """The names of the numbers in `tx`, and of the schedules."""
    return list(dict.fromkeys([*(name for name, _ in _of(tx, Schedule)), *numbers_of(tx)]))


def check_numbers(tx: Transformation, changed: Mapping[str, PyTree]) -> None:
    """Raise what the constructors in `tx` say to these numbers, by name."""
    tx = _put(tx, lambda x: False, lambda name, number: changed.get(name, number))
    jax.tree.map(_check, tx, is_leaf=lambda x: isinstance(x, Value) and x is not tx)
    tx.__post_init__()  # type: ignore[attr-defined]


def _check(x: object) -> None:
    if isinstance(x, Value):
        check_numbers(x, {})  # type: ignore[arg-type]


_later: contextvars.ContextVar[Iterator[HyperparamsState] | None] = contextvars.ContextVar(
    "later", default=None
)


@contextlib.contextmanager
def later(held: Sequence[HyperparamsState]) -> Iterator[None]:
    """States that are made meanwhile begin at the steps and numbers of these, in the order of `held_in`."""
    token = _later.set(iter(held))
    try:
        yield
    finally:
        _later.reset(token)


def begin(tx: Transformation, params: PyTree, chosen: Mapping[str, PyTree]) -> HyperparamsState:
    """The state before the first update.

    Args:
        tx: the transformation.
        params: as for its `init`.
        chosen: names and numbers that are to be kept in the state.
    """
    held = _later.get()
    given = None if held is None else next(held, None)
    if given is None:
        start, memory = numerics.counter(), {name: level.start() for name, level in levels_of(tx)}
    else:
        start, memory, chosen = given.step, given.memory, given.hyperparams
        tx = _put(tx, lambda x: False, lambda name, number: chosen.get(name, number))
    now, scheduled = _at(tx, start, memory)
    tuned = {name: jnp.asarray(number, jnp.result_type(float)) for name, number in chosen.items()}
    with as_looked_up():
        inner = now.init(params)
    return HyperparamsState(start, tuned, scheduled, memory, inner)


def levels_of(tx: Transformation) -> list[tuple[str, Adaptive]]:
    """The levels in `tx` that follow what training reports, by their names."""
    return _of(tx, Adaptive)


def at_step(
    tx: Transformation, step: jax.Array | None, memory: list[PyTree], inner: PyTree
) -> HyperparamsState:
    """The state after so many updates.

    Args:
        tx: the transformation.
        step: how many; None where no schedule is read.
        memory: the states of its levels, in the order of `levels_of`.
        inner: the transformation's own state.
    """
    levels = dict(zip([name for name, _ in levels_of(tx)], memory, strict=True))
    step = numerics.counter() if step is None else step
    _, scheduled = _at(tx, jnp.maximum(step - 1, 0), levels)
    return HyperparamsState(step, {}, scheduled, levels, inner)


def advance(
    tx: Transformation,
    updates: PyTree,
    state: HyperparamsState,
    params: PyTree | None,
    extra: dict[str, PyTree],
) -> tuple[PyTree, HyperparamsState]:
    """One update of `tx`, with the hyperparameters of this step."""
    tuned = {name: _as_float(number) for name, number in state.hyperparams.items()}
    if tuned:
        tx = _put(tx, lambda x: False, lambda name, number: tuned.get(name, number))
    memory = {
        name: level.follow(state.memory[name], **{n: v for n, v in extra.items() if n in reports(level)})
        for name, level in levels_of(tx)
    }
    now, scheduled = _at(tx, state.step, memory)
    with as_looked_up():
        out, inner = as_part(now).update(updates, state.inner, params, **extra)
    step = numerics.safe_increment(state.step)
    return out, HyperparamsState(step, tuned, scheduled, memory, inner)


def _as_float(number: Any) -> jax.Array:
    """A number that may have been set by hand, as `begin` keeps it."""
    kept = isinstance(number, jax.Array) and jnp.issubdtype(number.dtype, jnp.floating)
    return number if kept else jnp.asarray(number, float)


def held_in(state: PyTree, at: str = "") -> Iterator[tuple[str, HyperparamsState]]:
    """Every `HyperparamsState` in a state, those inside others too, and the way to it."""
    for path, held in jax.tree_util.tree_flatten_with_path(state, is_leaf=_is_held)[0]:
        if _is_held(held):
            where = name(path, at)
            yield where, held
            yield from held_in(held.inner, f"{where}/inner" if where else "inner")


def with_held(state: PyTree, new: Callable[[HyperparamsState], HyperparamsState]) -> PyTree:
    """The state with each `HyperparamsState` replaced, in the order of `held_in`; `inner` is kept."""

    def visit(x: PyTree) -> PyTree:
        return new(x)._replace(inner=with_held(x.inner, new)) if _is_held(x) else x

    return jax.tree.map(visit, state, is_leaf=_is_held)


def _is_held(x: object) -> bool:
    return isinstance(x, HyperparamsState)


def _at(
    tx: Transformation, step: jax.Array, memory: dict[str, PyTree]
) -> tuple[Transformation, dict[str, jax.Array]]:
    """`tx` with numbers where it has schedules, and those numbers by name."""

    def level(name: str, node: PyTree) -> PyTree:
        return known_level(node.level(memory[name])) if isinstance(node, Adaptive) else node

    tx = _put(tx, lambda x: isinstance(x, Adaptive), level)
    found = {
        name: read(tx, f"the schedule in {name}", schedule, step) for name, schedule in _of(tx, Schedule)
    }
    return _put(tx, lambda x: isinstance(x, Schedule), lambda name, node: found.get(name, node)), found


def _of(tx: Transformation, cls: type) -> list[tuple[str, PyTree]]:
    pairs, _ = _named(tx, lambda x: isinstance(x, cls))
    return [(name, node) for name, node in pairs if isinstance(node, cls)]


def _put(
    tx: Transformation, is_leaf: Callable[[object], bool], new: Callable[[str, PyTree], PyTree]
) -> Transformation:
    pairs, structure = _named(tx, is_leaf)
    return jax.tree.unflatten(structure, [new(name, node) for name, node in pairs])


def _named(
    tx: Transformation, is_leaf: Callable[[object], bool]
) -> tuple[list[tuple[str, PyTree]], PyTreeDef]:
    value: Any = tx  # a value too, which a protocol can't say
    return named(value, is_transformation, inside(tx, is_leaf))
