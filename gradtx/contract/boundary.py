"""What surrounds every `init` and `update`, so that no transformation has to do it itself.

- Updates are computed in at least float32 and come out, rounded once, in the dtype they came in.
- Updates and parameters must have one structure and the same shapes, a state must be of the
  class that `init` is annotated to return, extra arguments must be known: errors name the leaf or
  the argument, and the outermost transformation.
- Where there are schedules, the outermost transformation looks them up: see `runtime.py`.
- What is leafwise is traced once per shape.
"""

from __future__ import annotations

import builtins
import contextlib
import contextvars
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from gradtx import tree
from gradtx.contract.clock import follows
from gradtx.contract.extras import check_extra, keywords
from gradtx.contract.leafwise import update_each
from gradtx.contract.reach import is_leafwise, takes_examples
from gradtx.contract.runtime import HyperparamsState, advance, begin
from gradtx.tree import MismatchError, PyTree
from gradtx.values.value import per_class

__all__ = ["InitCall", "guard_init", "guard_update", "init_calls", "state_class"]


class InitCall(NamedTuple):
    """One call of an `init`, and those that it made."""

    tx: Any
    state: PyTree
    inner: list[InitCall]


_calls: contextvars.ContextVar[list[InitCall] | None] = contextvars.ContextVar("calls", default=None)


@contextlib.contextmanager
def init_calls() -> Iterator[list[InitCall]]:
    """The calls of `init` that are made meanwhile: who makes which part of a state."""
    calls: list[InitCall] = []
    token = _calls.set(calls)
    try:
        yield calls
    finally:
        _calls.reset(token)


def guard_init(init: Callable[..., Any]) -> Callable[..., Any]:
    """`init` of a transformation, guarded."""

    @functools.wraps(init)
    def guarded(self: Any, params: PyTree) -> Any:
        calls = _calls.get()
        if calls is None:
            return named(self, params)
        with init_calls() as inner:
            state = named(self, params)
        calls.append(InitCall(self, state, inner))
        return state

    def named(self: Any, params: PyTree) -> Any:
        try:
            return begin(self, params, {}) if follows(self) else init(self, params)
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
                one = tree.one_example(updates) if takes_examples(self) else updates
                tree.check_like(one, params, "parameters'")
            if follows(self):
                _check_state(self, state, HyperparamsState)
                out, after = advance(self, wide, state, params, extra)
                return tree.cast_like(out, updates), after
            if is_leafwise(self) and (fast := update_each(self, wide, state, params)) is not None:
                return tree.cast_like(fast[0], updates), fast[1]
            mine = extra if takes_all else {n: v for n, v in extra.items() if n in reads}
            _check_state(self, state, state_class(type(self)))
            out, after = update(self, wide, state, params, **mine)
            return tree.cast_like(out, updates), after
        except MismatchError as error:
            error.owner = type(self).__name__
            raise

    return guarded


@per_class
def state_class(cls: type[Any]) -> type | None:
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
        f"the state is of type {type(state).__name__}, expected {expected.__name__} for {self!r}. It "
        "belongs to another transformation, was restored without its structure, or was made while a "
        "schedule was a number, or a number a schedule: make one with init(params), or go on with "
        "resume(tx, state, params)."
    )
