"""The boundary around every `init` and `update`, so that no transformation has to check and convert itself.

The outermost call crosses the boundary:

- Updates are computed in at least float32 and come out, rounded once, in the dtype they came in.
- Updates and parameters must have one structure and the same shapes, extra arguments must be known. Errors
  name the leaf or the argument, and the transformation that was called.
- What no update touches is not looked at: see `arriving`.
- The state's leaves are those that `init` makes: see `noted`.

A call of what a transformation holds runs inside (see `running`), and does only what is its own:

- It is handed those of the extra arguments that it reads, so that whoever holds it may hand on all of them.
- Its state must be of the class that `init` is annotated to return.
- Where it has schedules of its own, it looks them up: see `runtime`.
- What is leafwise is traced once per shape.
- An exception is given a note that says in which part it was raised.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax

from gradtx import tree
from gradtx.contract.arriving import arrive, without_integers
from gradtx.contract.extras import check_extra, keywords
from gradtx.contract.facts import Facts, facts
from gradtx.contract.leafwise import update_each
from gradtx.contract.noted import check_state, note_state
from gradtx.contract.protocol import Extras, Transformation
from gradtx.contract.running import Frame, is_told, running, tell
from gradtx.contract.runtime import HyperparamsState, advance, begin
from gradtx.contract.sweeps import checked
from gradtx.tree import MismatchError, PyTree
from gradtx.values.kinds import is_traced

__all__ = ["InitCall", "guard_init", "guard_update", "init_calls"]


class InitCall(NamedTuple):
    """One call of an `init`, and those that it made."""

    tx: Transformation
    params: PyTree
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


def guard_init(init: Callable[..., PyTree], keeps: bool = True) -> Callable[..., PyTree]:
    """`init` of a transformation, with what surrounds it.

    Args:
        init: as the class defines it.
        keeps: whether it may keep something of the parameters.
    """

    @functools.wraps(init)
    def bounded(self: Transformation, params: PyTree) -> PyTree:
        calls = _calls.get()
        if calls is None:
            return run(self, params)
        with init_calls() as inner:
            state = run(self, params)
        calls.append(InitCall(self, params, state, inner))
        return state

    def run(self: Transformation, params: PyTree) -> PyTree:
        known = facts(self)
        frame = Frame(self, known.runs, known.parts, running.get(), each=False)
        token = running.set(frame)
        try:
            outermost = frame.around is None
            if outermost:
                checked(self)
                params = tree.as_arrays(params)
                if known.names_leaves:
                    params = without_integers(self, params)
            if keeps and not known.parts:
                tree.check_arrays(params)
            if self.real_only:
                tree.check_real(params, "parameters")
            state = begin(self, params, {}) if known.follows else init(self, params)
            if outermost:
                note_state(self, params, state)
            return state
        except Exception as error:
            error = _about_leaves(error, params)
            tell(error, frame)
            if isinstance(error, MismatchError):
                error.owner = type(self).__name__
            raise error
        finally:
            running.reset(token)

    return bounded


def _about_leaves(error: Exception, params: PyTree) -> Exception:
    """The error, or one that names the parameter that is not an array, if that may be why."""
    ours = isinstance(error, MismatchError) or not isinstance(error, (TypeError, ValueError, AttributeError))
    if ours or is_told(error):
        return error
    try:
        tree.check_arrays(params, inexact=True)
    except MismatchError as reason:
        return reason
    return error


def guard_update(update: Callable[..., PyTree], expands: bool = False) -> Callable[..., PyTree]:
    """`update` of a transformation, with what surrounds it.

    Args:
        update: as the class defines it.
        expands: whether it is that of composites: what they expand to is then run in its place.
    """

    reads, takes_all = keywords(update)

    @functools.wraps(update)
    def bounded(
        self: Transformation, updates: PyTree, state: PyTree, params: PyTree | None = None, **extra: PyTree
    ) -> tuple[PyTree, PyTree]:
        known = facts(self)
        around = running.get()
        given, back = updates, None
        if around is not None:
            for part in around.parts:
                if part is self:
                    frame = Frame(self, known.runs, known.parts, around, around.each)
                    break
            else:
                around = None
        if around is None:
            traced = any(map(is_traced, jax.tree.leaves(updates)))
            frame = Frame(self, known.runs, known.parts, running.get(), each=traced)
        token = running.set(frame)
        try:
            if around is None:
                given, params, extra, back = arrive(self, updates, params, extra, known.names_leaves)
                params = tree.as_arrays(params)
                updates = _enter(self, known, given, state, params, extra)
            if self.real_only:
                tree.check_real(updates, "updates")
            if known.follows:
                _check_state(self, state, HyperparamsState)
                out, after = advance(self, updates, state, params, extra)
            elif (
                frame.each
                and known.leafwise
                and (fast := update_each(frame, updates, state, params)) is not None
            ):
                out, after = fast
            else:
                if known.state is not None and not isinstance(state, known.state):
                    _check_state(self, state, known.state)
                if expands:
                    out, after = known.run(known.runs, updates, state, params, **known.own(extra))
                else:
                    mine = extra if takes_all else {n: v for n, v in extra.items() if n in reads}
                    out, after = update(self, updates, state, params, **mine)
        except Exception as error:
            tell(error, frame)
            if around is None and isinstance(error, MismatchError):
                error.owner = type(self).__name__
                raise error.with_traceback(None) from None  # what is below is told by the note
            raise
        finally:
            running.reset(token)
        if around is not None:
            return out, after
        out = tree.cast_like(out, given)
        return (out if back is None else back(out)), after

    return bounded


def _enter(
    self: Transformation, known: Facts, updates: PyTree, state: PyTree, params: PyTree | None, extra: Extras
) -> PyTree:
    """The updates in at least float32, after everything has been looked at that came from outside."""
    if extra or known.extras.needed:
        check_extra(type(self).__name__, known.extras, extra)
    checked(self)
    wide = tree.widen(updates)
    one = tree.one_example(updates) if known.takes_examples else updates
    if params is not None:
        tree.check_like(one, params, "parameters'")
    check_state(self, state, one, params)
    return wide


def _check_state(self: Transformation, state: PyTree, expected: type) -> None:
    if isinstance(state, expected):
        return
    raise MismatchError(
        f"the state is of type {type(state).__name__}, expected {expected.__name__} for {self!r}. It "
        "belongs to another transformation, was restored without its structure, or was made while a "
        "schedule was a number, or a number a schedule: make one with init(params), or go on with "
        "resume(tx, state, params)."
    )
