"""Optax's `inject_hyperparams`: a factory's numbers in the state, where a program reads and sets them.

    tx = optax.inject_hyperparams(optax.adamw)(learning_rate=1e-3)
    state = tx.init(params)
    state.hyperparams["learning_rate"] = 3e-4          used by the next update

In gradtx's own words it is `tunable(adamw(1e-3), "learning_rate")`, which is told the transformation
and not its factory, and needs no guesses.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax import InjectStatefulHyperparamsState as State

import gradtx
from gradtx import numerics
from gradtx.contract.extras import reports
from gradtx.contract.facts import read_by
from gradtx.contract.transformation import GradientTransformation
from gradtx.interop.bridge import from_optax
from gradtx.interop.optax.states import Way, inward, outward
from gradtx.interop.optax.transformation import Transformation, makes
from gradtx.schedules.schedule import Adaptive, as_schedule, read
from gradtx.tree import PyTree
from gradtx.values.kinds import Kind, Maybe, Real, as_looked_up, kind_of
from gradtx.values.value import Value, is_off, static
from gradtx.values.wording import nearest

__all__ = ["inject_hyperparams", "inject_stateful_hyperparams"]


_WAY = Way(masked=True)  # a mask may be around it


class injected(GradientTransformation, own_clock=True, takes_any_extra=True):
    """A factory's transformation, made anew of the numbers in the state. Made by `inject_hyperparams`.

    Args:
        factory: numbers and other arguments by name -> a transformation, gradtx's or Optax's.
        numbers: its arguments that are kept in the state.
        scheduled: those that are functions of the step, or schedules with a state.
        others: those that stay as they are.
        dtype: of the numbers in the state; None is float32, or float64 where x64 is enabled.
    """

    factory: Callable[..., Any] = static()
    numbers: dict[str, Any]
    scheduled: dict[str, Any] = static()
    others: dict[str, Any] = static()
    dtype: Any = static(default=None)

    def init(self, params: PyTree) -> State:
        numbers = {name: self._number(name, value) for name, value in self.numbers.items()}
        start = numerics.counter()
        memory = {name: _begin(schedule) for name, schedule in self.scheduled.items()}
        numbers |= {name: self._level(name, memory[name], {}) for name in self.scheduled}
        made = self._made(numbers)
        return State(start, numbers, memory, outward(made, made.init(params), _WAY))

    def update(
        self, updates: PyTree, state: State, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, State]:
        self._check(state.hyperparams)
        numbers = {name: self._number(name, state.hyperparams[name]) for name in self.numbers}
        memory = state.hyperparams_states
        before = {n: _follow(s, memory[n], extra) for n, s in self.scheduled.items()}
        for name in self.scheduled:
            level, last = self._level(name, before[name], extra), jnp.result_type(state.hyperparams[name])
            numbers[name] = level.astype(last) if jnp.issubdtype(last, jnp.floating) else level
        with as_looked_up():
            tx = self._made(numbers)
            own = inward(tx, state.inner_state, _WAY)
            updates, inner = tx.update(updates, own, params, **read_by(tx, extra))
            inner = outward(tx, inner, _WAY)
        after = {n: _advance(s, before[n], extra) for n, s in self.scheduled.items()}
        return updates, State(numerics.safe_increment(state.count), numbers, after, inner)

    def _made(self, numbers: dict[str, Any]) -> GradientTransformation:
        made = self.factory(**self.others, **numbers)
        return made.running if isinstance(made, Transformation) else from_optax(made)

    def _number(self, name: str, value: Any) -> jax.Array:
        """`value` as an array: a number that is set in place, perhaps of Python, keeps the state's dtype."""
        given = self.numbers[name]
        fixed = isinstance(given, (jax.Array, np.ndarray, np.generic)) and not getattr(
            given, "weak_type", False
        )
        if fixed:
            return jnp.asarray(value, given.dtype)
        wanted = jnp.result_type(float) if self.dtype is None else self.dtype
        whole = isinstance(given, int) and not jnp.issubdtype(jnp.result_type(value), jnp.inexact)
        return jnp.asarray(value, jnp.int32 if whole else wanted)

    def _level(self, name: str, memory: Any, extra: dict[str, Any]) -> jax.Array:
        schedule = self.scheduled[name]
        if isinstance(schedule, Adaptive):
            level = schedule.level(memory)
        elif isinstance(schedule, gradtx.Schedule):
            level = read(self, name, schedule, memory.count)
        else:
            level = jnp.asarray(schedule(memory, **extra))
        return level if self.dtype is None else jnp.asarray(level, self.dtype)

    def _check(self, found: dict[str, Any]) -> None:
        known = [*self.numbers, *self.scheduled]
        for name in found:
            if name not in known:
                raise ValueError(
                    f"inject_hyperparams: there is no hyperparameter {name!r} in the state of "
                    f"{self.factory.__name__}.{nearest(name, known)} There: {', '.join(known) or 'none'}."
                )


# Optax's class has no public name. Its form is asked for, not an array: that would start JAX's backend.
WrappedState = type(jax.eval_shape(optax.schedules.WrappedSchedule(lambda step: step).init))


def _begin(schedule: Any) -> Any:
    if isinstance(schedule, Adaptive):
        return schedule.start()
    return WrappedState(numerics.counter()) if isinstance(schedule, gradtx.Schedule) else schedule.init()


def _follow(schedule: Any, memory: Any, extra: dict[str, Any]) -> Any:
    """The memory of a level that follows a report, with the report of this update in it."""
    if not isinstance(schedule, Adaptive):
        return memory
    return schedule.follow(memory, **{n: extra[n] for n in reports(schedule) if n in extra})


def _advance(schedule: Any, memory: Any, extra: dict[str, Any]) -> Any:
    if isinstance(schedule, Adaptive):
        return memory
    if isinstance(schedule, gradtx.Schedule):
        return WrappedState(numerics.safe_increment(memory.count))
    return schedule.update(memory, **extra)


def inject_hyperparams(
    inner_factory: Callable[..., Any],
    static_args: str | Iterable[str] = (),
    hyperparam_dtype: Any = None,
) -> Callable[..., GradientTransformation]:
    """A factory like `inner_factory` whose transformation has its numbers in the state.

    They are in `state.hyperparams`, a dictionary by the names of the factory's arguments: read them
    there, and set them there. One that is a schedule follows it, whatever is set. What gradtx's own
    factories declare is not guessed: a flag, a count, a dtype or a mask is not one of these numbers.

    Unlike Optax's, which takes the parameters' dtype for them, and for bfloat16 makes 0.999 a 1, they
    are float32.

    Args:
        inner_factory: makes a transformation of its arguments: a class of gradtx, or any function.
        static_args: arguments that stay as they are: functions that are not schedules, whole numbers.
        hyperparam_dtype: of the numbers in the state; None is float32, or float64 where x64 is enabled.

    Raises:
        ValueError: a static argument is not one of the factory's.
    """
    fixed = {static_args} if isinstance(static_args, str) else set(static_args)
    signature = inspect.signature(inner_factory)
    for name in fixed - signature.parameters.keys():
        raise ValueError(
            f"inject_hyperparams(static_args={name!r}): {inner_factory.__name__} has no such argument."
            f"{nearest(name, signature.parameters)}"
        )
    declared = _declared(inspect.unwrap(inner_factory))

    @makes
    @functools.wraps(inner_factory, updated=())
    def factory(*args: Any, **kwargs: Any) -> GradientTransformation:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        roles: dict[str, dict[str, Any]] = {"number": {}, "schedule": {}, "other": {}}
        for name, value in bound.arguments.items():
            role = "other" if name in fixed else declared.get(name, _guess)(value)
            roles[role][name] = (
                as_schedule("inject_hyperparams", name, value) if _is_bare(role, value) else value
            )
        return injected(inner_factory, roles["number"], roles["schedule"], roles["other"], hyperparam_dtype)

    return factory


def inject_stateful_hyperparams(
    inner_factory: Callable[..., Any],
    static_args: str | Iterable[str] = (),
    hyperparam_dtype: Any = None,
) -> Callable[..., GradientTransformation]:
    """`inject_hyperparams`; Optax's deprecated name of it."""
    warnings.warn(
        "inject_stateful_hyperparams is deprecated: use inject_hyperparams.", DeprecationWarning, stacklevel=2
    )
    return inject_hyperparams(inner_factory, static_args, hyperparam_dtype)


# ---------------------------------------------------------------- what an argument is


def _guess(value: Any) -> str:
    """The role of an argument that nothing is known of, by what was given for it."""
    if isinstance(value, (gradtx.Schedule, optax.schedules.StatefulSchedule)):
        return "schedule"
    if isinstance(value, (bool, np.bool_, type, GradientTransformation, optax.GradientTransformation)):
        return "other"
    if isinstance(value, (int, float, jax.Array, np.ndarray, np.generic)):
        dtype = jnp.result_type(value)
        real = jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)
        return "number" if real else "other"
    return "schedule" if callable(value) else "other"


def _number_or_off(value: Any) -> str:
    """The role of one of gradtx's own options: one that is off stays off, since it may exclude others."""
    off = is_off(value) or (isinstance(value, int) and value == 0)
    return "other" if off else _guess(value)


def _declared(factory: Any) -> dict[str, Callable[[Any], str]]:
    """argument -> what says its role, for those of which something is declared."""
    found: dict[str, Callable[[Any], str]] = {}
    if isinstance(factory, type) and issubclass(factory, Value):
        for field in dataclasses.fields(factory):
            if field.metadata.get("static"):
                found[field.name] = _stays
            elif field.metadata.get("optional") and field.kw_only:
                found[field.name] = _number_or_off
    for name, kind in _kinds(factory).items():
        of = kind.inner if isinstance(kind, Maybe) else kind
        if not isinstance(of, Real):  # a flag, a count, a dtype, a mask
            found[name] = _stays
    return found


def _kinds(factory: Any) -> dict[str, Kind]:
    try:
        hints = typing.get_type_hints(factory, include_extras=True)
    except (NameError, TypeError, AttributeError):  # what has no hints, or names that can't be looked up
        return {}
    kinds = {n: kind_of(hint, GradientTransformation.kinds) for n, hint in hints.items()}
    return {n: kind for n, kind in kinds.items() if kind is not None}


def _stays(value: Any) -> str:
    return "other"


def _is_bare(role: str, value: Any) -> bool:
    return role == "schedule" and not isinstance(value, optax.schedules.StatefulSchedule)
