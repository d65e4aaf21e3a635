"""What surrounds every `init` and `update`, so that no transformation has to do it itself.

- Updates are computed in at least float32 and come out, rounded once, in the dtype they came in.
- Updates and parameters must have one structure and the same shapes, a state must be of the
  class that `init` is annotated to return, extra arguments must be known: errors name the leaf or
  the argument, and the outermost transformation.
- A field that holds a schedule is read at the current step, which the state then counts.
- What is leafwise is traced once per shape.
"""

from __future__ import annotations

import builtins
import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.anatomy import check_extra, is_leafwise, keywords
from gradtx.hyperparameters import Schedule, read, schedules_in
from gradtx.leafwise import update_each
from gradtx.tree import MismatchError, PyTree
from gradtx.value import per_class

__all__ = ["ScheduledState", "guard_init", "guard_update"]


class ScheduledState(NamedTuple):
    """Around the state of a transformation that has a schedule in a field."""

    step: jax.Array  # int32: how many updates have been made, and where the schedules are read
    inner: PyTree  # the transformation's own state


def guard_init(init: Callable[..., Any]) -> Callable[..., Any]:
    """`init` of a transformation, guarded."""

    @functools.wraps(init)
    def guarded(self: Any, params: PyTree) -> Any:
        start = jnp.zeros((), jnp.int32)
        try:
            if _has_schedules(self):
                return ScheduledState(start, init(_at(self, start), params))
            return init(self, params)
        except MismatchError as error:
            error.owner = type(self).__name__
            raise

    return guarded


def guard_update(update: Callable[..., Any]) -> Callable[..., Any]:
    """`update` of a transformation, guarded."""
    reads, takes_all = keywords(update)

    @functools.wraps(update)
    def guarded(
        self: Any, updates: PyTree, state: PyTree, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, PyTree]:
        try:
            check_extra(self, extra)
            wide = tree.widen(updates)
            if params is not None:
                tree.check_like(updates, params, "parameters'")
            if is_leafwise(self) and (fast := update_each(self, wide, state, params)) is not None:
                return tree.cast_like(fast[0], updates), fast[1]
            mine = extra if takes_all else {n: v for n, v in extra.items() if n in reads}
            if _has_schedules(self):
                _check_state(self, state, ScheduledState)
                now = _at(self, state.step)
                _check_state(self, state.inner, _state_class(type(self)))
                out, inner = update(now, wide, state.inner, params, **mine)
                after = ScheduledState(numerics.safe_increment(state.step), inner)
            else:
                _check_state(self, state, _state_class(type(self)))
                out, after = update(self, wide, state, params, **mine)
            return tree.cast_like(out, updates), after
        except MismatchError as error:
            error.owner = type(self).__name__
            raise

    return guarded


def _has_schedules(self: Any) -> bool:
    """A composite hands its schedules on to its atoms, which keep the step."""
    return not self.is_composite and bool(schedules_in(self))


def _at(self: Any, step: jax.Array) -> Any:
    """`self` with its schedules read at `step`: built as unflatten does, since they are traced."""
    now = object.__new__(type(self))
    for name, held in vars(self).items():
        if isinstance(held, Schedule):
            held = read(self, f"the schedule in {name}", held, step)
        object.__setattr__(now, name, held)
    return now


@per_class
def _state_class(cls: type[Any]) -> type | None:
    """The class that `init` is annotated to return, where it is one that can be checked."""
    annotation = inspect.signature(inspect.unwrap(cls.init)).return_annotation
    if isinstance(annotation, str):
        scope = inspect.unwrap(cls.init).__globals__
        annotation = scope.get(annotation, getattr(builtins, annotation, None))
    unknown = annotation is Any or annotation is inspect.Signature.empty
    return annotation if isinstance(annotation, type) and not unknown else None


def _check_state(self: Any, state: Any, expected: type | None) -> None:
    if expected is None or isinstance(state, expected):
        return
    raise MismatchError(
        f"the state is of type {type(state).__name__}, expected {expected.__name__} for {self!r}. "
        "It belongs to another transformation, or was restored without its structure: make one "
        "with init(params)."
    )
