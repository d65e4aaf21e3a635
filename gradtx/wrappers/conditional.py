"""Transformations that run only when a condition holds; else their state stays as it is.

The transformation inside counts its own updates: a schedule in it stands still while it does not run.

Source: none (a step that is left out).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from gradtx import numerics, tree
from gradtx.contract.reach import TREE
from gradtx.contract.running import owner
from gradtx.contract.transformation import Composite, GradientTransformation
from gradtx.numerics.dispatch import cond
from gradtx.tree import PyTree
from gradtx.values.kinds import Choice, Function, Integer
from gradtx.values.value import static

__all__ = ["apply_if_finite", "conditionally_mask", "conditionally_transform", "run_if", "run_when"]


def run_if(
    condition: Any,
    inner: GradientTransformation,
    updates: PyTree,
    state: PyTree,
    params: PyTree | None,
    extra: dict[str, Any],
    otherwise: Callable[[PyTree], PyTree] = tree.zeros_of,
) -> tuple[PyTree, PyTree]:
    """One update of `inner` if the condition holds; else `otherwise(updates)`, and the state as it is.

    A branch: what does not run costs nothing, and a NaN in it goes nowhere.
    """

    def run() -> tuple[PyTree, PyTree]:
        return inner.update(updates, state, params, **extra)

    return cond(condition, run, lambda: (otherwise(updates), state))


Condition = Annotated[Callable[..., Any], Function(1, by_name=True)]
"""A function of the step, and of what is given to it by name."""


class RunWhenState(NamedTuple):
    """How often it was called, and the state of what runs."""

    step: jax.Array  # int32: how many updates have been asked for, whether or not it ran
    inner: PyTree


class run_when(GradientTransformation, reach=TREE, may_skip=True):
    """`inner` at the steps at which a condition holds; at others, the updates as they are, or zero.

    Args:
        inner: the transformation.
        condition: a function of the step, a 0-d int32 array counting from 0, that returns a boolean.
        otherwise: 'pass' leaves the updates as they are, 'zero' makes them zero.
        forward_extra_args: give the condition the extra arguments of the update as well, by name.
    """

    inner: GradientTransformation
    condition: Condition = static()
    otherwise: Annotated[Literal["pass", "zero"], Choice("pass", "zero")] = static(default="pass")
    forward_extra_args: bool = static(default=False)

    @property
    def takes_any_extra(self) -> bool:
        """Whether any extra argument may be given: the condition may read it."""
        return self.forward_extra_args

    def init(self, params: PyTree) -> RunWhenState:
        return RunWhenState(numerics.counter(), self.inner.init(params))

    def update(
        self, updates: PyTree, state: RunWhenState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, RunWhenState]:
        holds = self.condition(state.step, **(extra if self.forward_extra_args else {}))
        other = tree.zeros_of if self.otherwise == "zero" else lambda u: u
        out, inner = run_if(_boolean(self, holds), self.inner, updates, state.inner, params, extra, other)
        return out, RunWhenState(numerics.safe_increment(state.step), inner)


def _boolean(self: GradientTransformation, value: Any) -> jax.Array:
    value = jnp.asarray(value)
    if value.shape != () or value.dtype != jnp.bool_:
        raise TypeError(
            f"{owner() or type(self).__name__}: the condition must return one boolean; it returned "
            f"{value.dtype} of shape {value.shape}."
        )
    return value


class conditionally_transform(Composite, may_skip=True):
    """`inner` at the steps at which a condition holds; at others the updates pass as they are.

    Args:
        inner: the transformation.
        should_transform_fn: a function of the step, which counts updates from 0, that returns a boolean.
        forward_extra_args: give it the extra arguments of the update as well, by name.
    """

    inner: GradientTransformation
    should_transform_fn: Condition = static()
    forward_extra_args: bool = static(default=False)

    def expand(self) -> GradientTransformation:
        return run_when(self.inner, self.should_transform_fn, "pass", self.forward_extra_args)


class conditionally_mask(Composite, may_skip=True):
    """`inner` at the steps at which a condition holds; at others the updates are zero.

    Args:
        inner: the transformation.
        should_transform_fn: a function of the step, which counts updates from 0, that returns a boolean.
        forward_extra_args: give it the extra arguments of the update as well, by name.
    """

    inner: GradientTransformation
    should_transform_fn: Condition = static()
    forward_extra_args: bool = static(default=False)

    def expand(self) -> GradientTransformation:
        return run_when(self.inner, self.should_transform_fn, "zero", self.forward_extra_args)


class ApplyIfFiniteState(NamedTuple):
    """How many updates were not finite, and the state of what runs."""

    notfinite_count: jax.Array  # int32: how many in a row
    last_finite: jax.Array  # bool: whether the last update was finite
    total_notfinite: jax.Array  # int32: how many in all
    inner: PyTree


class apply_if_finite(GradientTransformation, reach=TREE, may_skip=True):
    """`inner` where every entry of the updates is finite; else zero, and `inner` does not see them.

    After `max_consecutive_errors` such updates in a row the next is let through, so that a run which
    has diverged shows it.

    Args:
        inner: the transformation.
        max_consecutive_errors: how many in a row are ignored, at least 0.
    """

    inner: GradientTransformation
    max_consecutive_errors: Annotated[int, Integer(low=0)] = static()

    def init(self, params: PyTree) -> ApplyIfFiniteState:
        in_a_row, total = numerics.counter(), numerics.counter()
        return ApplyIfFiniteState(in_a_row, jnp.ones((), bool), total, self.inner.init(params))

    def update(
        self, updates: PyTree, state: ApplyIfFiniteState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, ApplyIfFiniteState]:
        finite = tree.is_finite(updates)
        in_a_row = jnp.where(finite, 0, numerics.safe_increment(state.notfinite_count))
        let_through = finite | (in_a_row > self.max_consecutive_errors)
        out, inner = run_if(let_through, self.inner, updates, state.inner, params, extra)
        total = jnp.where(finite, state.total_notfinite, numerics.safe_increment(state.total_notfinite))
        return out, ApplyIfFiniteState(in_a_row, finite, total, inner)
